-- survey says what waits for a group, and whether anything is pending. It also keeps the bound of the group's dead letters.
--
-- KEYS  1 stream, 2 retry stream; 3 set of what the group failed or deferred, 4 set of
--       delayed messages of the topic; 5 dead letters, 6 set of those that were put, by when they died, 7 how many the bound
--       has removed
-- ARGV  1 group, 2 how many letters to keep, 0 for no limit, 3 for how many milliseconds, 0 for no limit, 4 how many to
--       remove at most
-- returns {pending, retries, delayed, {removed, first, last, looked}}
--   pending  how many entries are pending for consumers of the group
--   retries  milliseconds until the first of KEYS[3] is due, 0 if it is, -1 if nothing waits there
--   delayed  likewise for KEYS[4]
--   removed  how many letters were, and the range of their ids
--   looked   how many ids were beyond the bound, those included that somebody else has deleted; if not 0 there may be more
local ms
local function clock()
  ms = ms or now()
  return ms
end
local function pending(key)
  local p = redis.pcall('XPENDING', key, ARGV[1])
  return p.err and 0 or p[1]
end
local function wait(set)
  local head = redis.pcall('ZRANGE', set, 0, 0, 'WITHSCORES') -- a wrong type is the mover's to report
  if head.err or not head[2] then return -1 end
  return math.max(tonumber(head[2]) - clock(), 0)
end

local dead, put, count = KEYS[5], KEYS[6], KEYS[7]
local keep, age, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

-- excess is what is to be removed now: what died too long ago, or else the oldest of too many.
local function excess(length)
  local ids = {}
  if age > 0 and clock() > age then
    local since = string.format('(%.0f', clock() - age)
    ids = redis.call('ZRANGEBYSCORE', put, '-inf', since, 'LIMIT', 0, most)
    for _, e in ipairs(redis.call('XRANGE', dead, '-', since .. '-0', 'COUNT', most)) do ids[#ids + 1] = e[1] end
  end
  if #ids == 0 and keep > 0 and length > keep then
    for _, e in ipairs(redis.call('XRANGE', dead, '-', '+', 'COUNT', math.min(length - keep, most))) do ids[#ids + 1] = e[1] end
  end
  return ids
end

local function bound()
  local length = redis.pcall('XLEN', dead) -- a wrong type is reported when a letter is to be stored
  if type(length) ~= 'number' or length == 0 or age == 0 and (keep == 0 or length <= keep) then return {0, '', '', 0} end
  if wrongtype(put, 'zset') or wrongtype(count, 'string') then return {0, '', '', 0} end
  local ids = excess(length)
  if #ids == 0 then return {0, '', '', 0} end
  local removed = redis.call('XDEL', dead, unpack(ids))
  redis.call('ZREM', put, unpack(ids))
  local before = tonumber(redis.call('GET', count) or '') or 0
  redis.call('SET', count, string.format('%.0f', before + removed))
  local first, last = ids[1], ids[1]
  for _, id in ipairs(ids) do
    if compare(id, first) < 0 then first = id end
    if compare(last, id) < 0 then last = id end
  end
  return {removed, first, last, #ids}
end
return {pending(KEYS[1]) + pending(KEYS[2]), wait(KEYS[3]), wait(KEYS[4]), bound()}
