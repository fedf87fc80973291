-- tend keeps the cursors of groups up to date, finds what they have lost, and keeps the soft bounds of a topic.
--
-- KEYS  1 stream, 2... cursors
-- ARGV  1 how many entries to keep, 0 for no limit, 2 for how many milliseconds, 0 for no limit, 3 how many to
--       remove at most, 4 how far the caller has seen the stream, "0-0" if not at all, 5 how many entries it had ever had
--       then, 6... groups and how far the caller has read for each, by cursor
-- returns {trimmed, groups, changed, last, added, holder}
--   trimmed  how many entries were removed. Only those that every group of the stream has acknowledged are, and none if there
--            is no group
--   groups   for each group {lost, after, before, back, from, to, count}
--     lost, after, before  as of gaps
--     back                 "stream" if the stream lacks what it had, "group" if the group stands before where it stood, else "".
--                          It is said once to all callers
--     from, to, count      the range concerned, and how many entries are missing at least
--   changed  1 if anything has happened to the groups since last time
--   last     the last id of the stream
--   added    how many entries it has ever had
--   holder   {group, idle, lag} of the group that keeps the stream at more than twice its bound: for how many milliseconds none of
--            its consumers has done anything, -1 if it has none, and how many entries it has not got, -1 if that is not known
local stream = KEYS[1]
if redis.call('EXISTS', stream) == 0 then return {0, {}, 0} end
local info = redis.call('XINFO', 'STREAM', stream)
local added, length = field(info, 'entries-added'), field(info, 'length')
local first = field(info, 'first-entry')
local groups, low, lowest = {}, nil, nil
for _, g in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local position = lowwater(stream, g)
  groups[field(g, 'name')] = {g, position}
  if not low or compare(position, low) < 0 then low, lowest = position, g end
end

-- upto is the greatest id there is that is not greater than id. Found by halves: XREVRANGE would be one more right to give.
local function upto(id)
  local low, high = tonumber((first[1]:match('^%d+'))), tonumber((id:match('^%d+')))
  for _ = 1, 64 do
    if low >= high then break end
    local middle = math.ceil((low + high) / 2)
    if redis.call('XRANGE', stream, string.format('%.0f', middle), id, 'COUNT', 1)[1] then low = middle else high = middle - 1 end
  end
  local there = redis.call('XRANGE', stream, string.format('%.0f', low), id, 'COUNT', 1000)
  return there[1] and there[#there][1] or first[1]
end

-- missing is where what the stream lacks begins, and how many entries that are at least; nothing if nothing is known to be missing.
-- What was trimmed or deleted on purpose is not.
local seen, had, last = ARGV[4], tonumber(ARGV[5]), field(info, 'last-generated-id')
local function missing()
  if seen == '0-0' then return end
  if compare(last, seen) < 0 then return last, math.max(had - added, 0) end
  if added < had then return '', had - added end
  if not first or compare(seen, first[1]) < 0 or compare(field(info, 'max-deleted-entry-id'), seen) >= 0 then return end
  if not redis.call('XRANGE', stream, seen, seen, 'COUNT', 1)[1] then return upto(seen), 0 end
end
local lacks, lack = missing()

local found, changed, is = {}, 0, run()

-- back is what of a group went back, as returned. stands, id, n and told: where the group is, and what its cursor says.
local function back(stands, read, id, n, told)
  if lacks then
    if compare(seen, told) > 0 then return {'stream', lacks, lacks == '' and '' or seen, lack} end
  elseif id and n > added then
    return {'stream', '', '', n - added}
  elseif compare(stands, read) < 0 then
    if compare(read, told) > 0 then return {'group', stands, read, 0} end
  elseif id and compare(stands, id) < 0 then
    return {'group', stands, id, 0}
  end
  return {'', '', '', 0}
end

-- later is a position that nothing seen so far is beyond.
local function later(told)
  local ms = string.format('%.0f-0', now())
  for _, id in ipairs({seen, told}) do
    if compare(ms, id) < 0 then ms = id end
  end
  return ms
end

for i = 2, #KEYS do
  local g = groups[ARGV[2 * i + 2]]
  if g then
    local stands = field(g[1], 'last-delivered-id')
    local id, n, by, told = readcursor(KEYS[i])
    local b = back(stands, ARGV[2 * i + 3], id, n, told)
    if b[1] ~= '' then told = later(told) end
    if id ~= g[2] or n ~= added or by ~= is or b[1] ~= '' then
      -- A server without room refuses this; what follows makes room.
      redis.pcall('SET', KEYS[i], cursorof(g[2], added, is, told))
      changed = 1
    end
    found[#found + 1] = {gap(stream, g[1], info, by == is and is ~= '?'), stands, first and first[1] or last, unpack(b)}
  else
    -- The group is gone, and its consumers are about to make it again where its cursor says.
    local id, n = readcursor(KEYS[i])
    if id and n <= added and (not low or compare(id, low) < 0) then low = id end
    found[#found + 1] = {0, '', '', '', '', '', 0}
  end
end

local trimmed, most = 0, tonumber(ARGV[3])
local function trim(upto, limit)
  if limit > 0 then trimmed = trimmed + redis.call('XTRIM', stream, 'MINID', '~', upto, 'LIMIT', math.min(limit, most)) end
end
local keep, age = tonumber(ARGV[1]), tonumber(ARGV[2])
if low and length > 0 then
  if keep > 0 then trim(low, length - keep) end
  if age > 0 then
    local old = string.format('%.0f-0', math.max(now() - age, 0))
    trim(compare(old, low) < 0 and old or low, most)
  end
end

-- holder is looked for after trimming, which ends in the middle where there is more to do.
local function holder()
  local rest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not lowest or not rest or compare(rest[1], low) < 0 and trimmed > 0 then return {} end
  local old = age > 0 and compare(rest[1], string.format('%.0f-0', math.max(now() - 2 * age, 0))) < 0
  if not old and (keep == 0 or redis.call('XLEN', stream) <= 2 * keep) then return {} end
  local idle = -1
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', stream, field(lowest, 'name'))) do
    local i = field(c, 'idle')
    if idle < 0 or i < idle then idle = i end
  end
  return {field(lowest, 'name'), idle, field(lowest, 'lag') or -1}
end
return {trimmed, found, changed, last, added, holder()}
