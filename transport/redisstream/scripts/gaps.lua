-- gaps finds entries that were trimmed before a group read them.
--
-- KEYS  1 stream, 2 cursor
-- ARGV  1 group
-- returns {lost, after, before}: how many since it was last asked, where the group stands, and the first entry there is
local g = groupof(KEYS[1], ARGV[1])
if not g then return {0, '', ''} end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local first = field(info, 'first-entry')
local id, added, by, told = readcursor(KEYS[2])
local is = run()
-- What another server told says nothing of ids that this one gives out anew.
if by and by ~= is and by ~= '?' and is ~= '?' then told = '0-0' end
local lost = gap(KEYS[1], g, info, by == is and is ~= '?')
if id and by ~= is then writecursor(KEYS[2], id, added, is, told) end
return {lost, field(g, 'last-delivered-id'), first and first[1] or field(info, 'last-generated-id')}
