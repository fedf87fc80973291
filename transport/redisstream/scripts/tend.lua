-- tend keeps the cursors of groups up to date, finds what they have lost, and keeps the soft bounds of a topic.
--
-- KEYS  1 stream, 2... cursors
-- ARGV  1 how many entries to keep, 0 for no limit, 2 for how many milliseconds, 0 for no limit, 3 how many to
--       remove at most, 4... groups, by cursor
-- returns {trimmed, groups, changed}
--   trimmed  how many entries were removed. Only those that every group of the stream has acknowledged are, and none if there
--            is no group
--   groups   for each group {lost, after, before, back}
--     lost, after, before  as of gaps
--     back                 "stream" if the stream has had fewer entries than it had had last time, "group" if the group stands
--                          before where it stood then, else ""
--   changed  1 if anything has happened to the groups since last time
local stream = KEYS[1]
if redis.call('EXISTS', stream) == 0 then return {0, {}, 0} end
local info = redis.call('XINFO', 'STREAM', stream)
local added, length = field(info, 'entries-added'), field(info, 'length')
local first = field(info, 'first-entry')
local groups, low = {}, nil
for _, g in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local position = lowwater(stream, g)
  groups[field(g, 'name')] = {g, position}
  if not low or compare(position, low) < 0 then low = position end
end

local found, changed, is = {}, 0, run()
for i = 2, #KEYS do
  local g = groups[ARGV[i + 2]]
  if g then
    local back, stands = '', field(g[1], 'last-delivered-id')
    local id, n, by = readcursor(KEYS[i])
    if id and n > added then
      back = 'stream'
    elseif id and compare(stands, id) < 0 then
      back = 'group'
    end
    if id ~= g[2] or n ~= added or by ~= is then
      -- A server without room refuses this; what follows makes room.
      redis.pcall('SET', KEYS[i], string.format('%s %.0f %s', g[2], added, is))
      changed = 1
    end
    found[#found + 1] = {gap(stream, g[1], info, by == is and is ~= '?'), stands, first and first[1] or field(info, 'last-generated-id'), back}
  else
    -- The group is gone, and its consumers are about to make it again where its cursor says.
    local id, n = readcursor(KEYS[i])
    if id and n <= added and (not low or compare(id, low) < 0) then low = id end
    found[#found + 1] = {0, '', '', ''}
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
return {trimmed, found, changed}
