-- survey says what waits for a group, and whether anything is pending.
--
-- KEYS  1 stream, 2 retry stream; 3 set of what the group failed or deferred, 4 set of
--       delayed messages of the topic
-- ARGV  1 group
-- returns {pending, retries, delayed}
--   pending  how many entries are pending for consumers of the group
--   retries  milliseconds until the first of KEYS[3] is due, 0 if it is, -1 if nothing waits there
--   delayed  likewise for KEYS[4]
local function pending(key)
  local p = redis.pcall('XPENDING', key, ARGV[1])
  return p.err and 0 or p[1]
end
local ms
local function wait(set)
  local head = redis.pcall('ZRANGE', set, 0, 0, 'WITHSCORES') -- a wrong type is the mover's to report
  if head.err or not head[2] then return -1 end
  ms = ms or now()
  return math.max(tonumber(head[2]) - ms, 0)
end
return {pending(KEYS[1]) + pending(KEYS[2]), wait(KEYS[3]), wait(KEYS[4])}
