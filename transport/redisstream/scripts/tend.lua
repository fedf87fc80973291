-- tend keeps the cursors of groups up to date, finds what they have lost, and keeps the soft bounds of a topic.
--
-- KEYS  1 stream, 2 quiet, 3... cursors
-- ARGV  1 how many entries to keep, 0 for no limit, 2 for how many milliseconds, 0 for no limit, 3 how many to
--       remove at most, 4 ids that the caller has seen, in order, 5 how many entries it had ever had
--       when the caller looked last, 6 after how many milliseconds a group that nobody reads is given up, 0 for never,
--       7, 8... groups and how far the caller has read for each, by cursor; last how far the stream went when the caller looked last
-- returns {trimmed, groups, changed, last, added, holder, passed, gone}
--   trimmed  how many entries were removed. Only those that every group of the stream has acknowledged are, but for groups given up,
--            and none if there is no other group
--   groups   for each group {lost, after, before, back, from, to, count, away, after, before}
--     lost, after, before  as of gaps
--     back                 "stream" if the stream lacks what it had, "group" if the group stands before where it stood, else "".
--     from, to, count      the range concerned, and how many entries are missing at least. Of a range that several callers know in part
--                          each part is said once: who has seen more is told what lies behind what was said
--     away, after, before  how many entries it has not got because it was given up, and that lost does not count; -1 if that is not known
--   changed  1 if anything has happened to the groups since last time
--   last     the last id of the stream
--   added    how many entries it has ever had
--   holder   {group, idle, lag} of the group that keeps the stream at more than twice its bound: for how many milliseconds none of
--            its consumers has done anything, -1 if it has none, and how many entries it has not got, -1 if that is not known
--   passed   for each group given up that has now lost entries, and had lost none before, {group, quiet, lost}: for how many
--            milliseconds it was seen that nobody reads it, and how many entries, -1 if that is not known. It is said once to all callers
--   gone     {lowest, greatest} of the ids that the caller has seen and the stream lacks, if there are any
local stream, quietkey, after = KEYS[1], KEYS[2], tonumber(ARGV[6])
if redis.call('EXISTS', stream) == 0 then return {0, {}, 0} end
local info = redis.call('XINFO', 'STREAM', stream)
local added, length = field(info, 'entries-added'), field(info, 'length')
local first = field(info, 'first-entry')
local own, groups, low, lowest = {}, {}, nil, nil
for i = 3, #KEYS do own[ARGV[2 * i + 1]] = true end

-- marks are what the quiet key remembers of groups that have not acknowledged all and that nobody reads: for how long that was watched,
-- when last, where the group stood; and of those given up what they have lost: how many entries, -1 if that is not known, after
-- which and before which; and whether that was said.
local clock, marks, marked, given = now(), {}, false, {}
local wrote = redis.call('GET', quietkey)
if wrote then
  local ok, m = pcall(cjson.decode, wrote)
  if ok and type(m) == 'table' then marks = m end
end

-- idle is for how long none of a group's consumers has done anything, -1 if it has none.
local function idle(name)
  local least = -1
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', stream, name)) do
    local i = field(c, 'idle')
    if least < 0 or i < least then least = i end
  end
  return least
end

-- watch notes whether a group is read, and says whether it is given up. One look counts for half of the time at most, so that
-- neither a clock that leaps nor a time when nobody looked gives up a group.
local function watch(name, stands, done)
  local m = marks[name]
  if own[name] or after == 0 or done and not m then return false end
  if not m then
    m = {quiet = 0, seen = clock, stands = stands, lost = 0}
    marks[name], marked = m, true
    return false
  end
  if clock < m.seen then m.seen, marked = clock, true end
  local since, i = clock - m.seen, done and 0 or idle(name)
  if m.stands ~= stands or i >= 0 and i <= since then
    if m.quiet > 0 or m.stands ~= stands or since >= after / 64 then
      m.quiet, m.seen, m.stands, m.said, marked = 0, clock, stands, nil, true
    end
    if done and m.lost == 0 then marks[name], marked = nil, true end
    return false
  end
  if m.quiet < after and since >= after / 64 then
    m.quiet, m.seen, marked = m.quiet + math.min(since, after / 2), clock, true
  end
  return m.quiet >= after
end

for _, g in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local name, position = field(g, 'name'), lowwater(stream, g)
  groups[name] = {g, position}
  if watch(name, field(g, 'last-delivered-id'), compare(position, field(info, 'last-generated-id')) >= 0) then
    given[#given + 1] = g
  elseif not low or compare(position, low) < 0 then
    low, lowest = position, g
  end
end
for name in pairs(marks) do
  if not groups[name] then marks[name], marked = nil, true end
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

-- seen are the marks of the caller, and whether the stream lacks them; gone the lowest and the greatest that it lacks. It may have newer
-- entries all the same: a replica that is promoted takes some while clients still read others from the old master.
-- What was trimmed or deleted on purpose is not lacking.
local seen, gone, had, last = {}, {}, tonumber(ARGV[5]), field(info, 'last-generated-id')
local function lacks(id)
  if compare(last, id) < 0 then return true end
  return first and compare(id, first[1]) >= 0 and compare(field(info, 'max-deleted-entry-id'), id) < 0
    and not redis.call('XRANGE', stream, id, id, 'COUNT', 1)[1]
end
for id in ARGV[4]:gmatch('%S+') do
  local m = {id = id, gone = lacks(id)}
  seen[#seen + 1] = m
  if m.gone then gone[1], gone[2] = gone[1] or id, id end
end
-- An old count tells only of what has happened since.
local counted, least = ARGV[#ARGV], seen[1] and math.max(had - added, 0) or 0

-- atonce is for how many milliseconds an old master may go on: what is lost meanwhile is one loss.
local atonce = 15000
local function millis(id) return tonumber((id:match('^%d+'))) end

local function max(a, b) return compare(a, b) < 0 and b or a end

-- beyond is the range that lacks marks beyond what was told, and how many entries that are at least; nothing if there are none.
-- It begins with what was seen and is still there; but where this server was told of a loss just before that, at the end of it: who reads
-- from one server and looks at another has seen what is there, and is to be lost, in turns.
local function beyond(told)
  local there, from, to
  for _, m in ipairs(seen) do
    if m.gone and compare(m.id, told) > 0 then
      from, to = from or there or compare(last, m.id) < 0 and last or upto(m.id), m.id
    elseif not m.gone then
      there = m.id
    end
  end
  if not to then return end
  if compare(from, told) < 0 or compare(told, '0-0') > 0 and millis(from) - millis(told) < atonce then return told, to, 0 end
  return from, to, compare(counted, told) > 0 and least or 0
end

-- later is a position that nothing seen so far is beyond.
local function later(told)
  return max(max(string.format('%.0f-18446744073709551615', now()), told), seen[1] and seen[#seen].id or told)
end

-- back is what of a group went back, as returned, and up to where that is told then. stands, id, n and told: where the group is, and
-- what its cursor says.
local function back(stands, read, id, n, told)
  local nothing = {'', '', '', 0}
  if gone[1] then
    local from, to, count = beyond(told)
    if not to then return nothing, told end
    return {'stream', from, to, count}, to
  elseif least > 0 then
    if compare(counted, told) <= 0 then return nothing, told end
    return {'stream', '', '', least}, later(told)
  elseif id and n > added then
    return {'stream', '', '', n - added}, later(told)
  elseif compare(stands, read) < 0 then
    if compare(read, told) <= 0 then return nothing, told end
    return {'group', max(stands, told), read, 0}, read
  elseif id and compare(stands, id) < 0 then
    return {'group', stands, id, 0}, max(told, id)
  end
  return nothing, told
end

local found, changed, is = {}, 0, run()

-- away is what a group that has a consumer again lost while it was given up, if gap did not find it.
local function away(name, stands, lost)
  local m = marks[name]
  if not m then return 0, '', '' end
  marks[name], marked = nil, true
  if lost > 0 or m.lost == 0 then return 0, '', '' end
  redis.call('XGROUP', 'SETID', stream, name, stands, 'ENTRIESREAD', -1) -- or gap finds it once more
  return m.lost, m.from, m.to
end

for i = 3, #KEYS do
  local name = ARGV[2 * i + 1]
  local g = groups[name]
  if g then
    local stands = field(g[1], 'last-delivered-id')
    local id, n, by, told = readcursor(KEYS[i])
    -- What another server told says nothing of ids that this one gives out anew.
    if by and by ~= is and by ~= '?' and is ~= '?' then told = '0-0' end
    local b
    b, told = back(stands, ARGV[2 * i + 2], id, n, told)
    if id ~= g[2] or n ~= added or by ~= is or b[1] ~= '' then
      -- A server without room refuses this; what follows makes room. A replica knows nothing that may be told.
      local reply = redis.pcall('SET', KEYS[i], cursorof(g[2], added, is, told))
      if type(reply) == 'table' and reply.err and reply.err:find('READONLY', 1, true) then return reply end
      changed = 1
    end
    local lost = gap(stream, g[1], info, by == is and is ~= '?')
    found[#found + 1] = {lost, stands, first and first[1] or last, b[1], b[2], b[3], b[4], away(name, stands, lost)}
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

-- passed adds to the marks what trimming took from groups that are given up. All of it was new to one that stood before it; of another
-- it is what Redis says that the group had not got, less what is left.
local function passed()
  local news, rest = {}, redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local to, left = rest and rest[1] or last, redis.call('XLEN', stream)
  for _, g in ipairs(given) do
    local name, stands, lost, held = field(g, 'name'), field(g, 'last-delivered-id'), 0, 0
    local m = marks[name]
    if compare(stands, to) < 0 then
      lost = compare(stands, first[1]) < 0 and trimmed or (field(g, 'lag') or -1) - left
      if lost < 0 or lost > trimmed then lost = -1 end
    end
    if field(g, 'pending') > 0 then held = #redis.call('XPENDING', stream, name, '-', before(to), 1000) end
    if lost ~= 0 then
      m.lost, m.from, m.to, marked = (lost < 0 or m.lost < 0) and -1 or m.lost + lost, m.from or stands, to, true
    end
    if (lost ~= 0 or held > 0) and not m.said then
      m.said, marked = 1, true
      news[#news + 1] = {name, m.quiet, lost < 0 and -1 or lost + held}
    end
  end
  return news
end
local news = trimmed > 0 and given[1] and passed() or {}
if marked then
  redis.pcall('SET', quietkey, cjson.encode(marks))
  changed = 1
end

-- holder is looked for after trimming, which ends in the middle where there is more to do.
local function holder()
  local rest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not lowest or not rest or compare(rest[1], low) < 0 and trimmed > 0 then return {} end
  local old = age > 0 and compare(rest[1], string.format('%.0f-0', math.max(now() - 2 * age, 0))) < 0
  if not old and (keep == 0 or redis.call('XLEN', stream) <= 2 * keep) then return {} end
  return {field(lowest, 'name'), idle(field(lowest, 'name')), field(lowest, 'lag') or -1}
end
return {trimmed, found, changed, last, added, holder(), news, gone}
