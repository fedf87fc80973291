-- join makes the group on the topic's stream and on its own retry stream where it is missing.
--
-- KEYS  1 stream, 2 retry stream, 3 cursor
-- ARGV  1 group, 2 where a new group begins: "0", "$" or an entry id, 3 "1" if it may be new, "0" if it has existed
-- returns {what, position, entries, retries}
--   what      "joined" the group was there, "created" at the position, "resumed": only the group was lost, and it goes on
--             at its cursor, "restarted": the stream was lost too, or the cursor, and it begins with what is there
--   entries   how many entries the stream has now
--   retries   1 if the group was there and its retry stream was not
--
-- A group is created with ENTRIESREAD where that is known, so that its lag is right and entries trimmed unread are noticed.
local stream, retry, cursor = KEYS[1], KEYS[2], KEYS[3]
local group = ARGV[1]
local what, at = 'joined', ''
local added, length, last = 0, 0, '0-0'

if redis.call('EXISTS', stream) == 1 then
  local info = redis.call('XINFO', 'STREAM', stream)
  added, length, last = field(info, 'entries-added'), field(info, 'length'), field(info, 'last-generated-id')
end

if not groupof(stream, group) then
  local id, n = readcursor(cursor)
  if id and compare(id, last) <= 0 and n <= added then
    what, at = 'resumed', id
  elseif id or ARGV[3] ~= '1' then
    what, at = 'restarted', '0-0'
  else
    what, at = 'created', ARGV[2]
  end
  local create = {'XGROUP', 'CREATE', stream, group, at, 'MKSTREAM'}
  if at == '0' or at == '0-0' then
    at = '0-0'
    create[7], create[8] = 'ENTRIESREAD', added - length
  elseif at == '$' then
    at = last
    create[7], create[8] = 'ENTRIESREAD', added
  end
  redis.call(unpack(create))
  -- Consumers that noticed it too, by what they had read, need not say it again.
  writecursor(cursor, at, added, run(), what == 'created' and '0-0' or string.format('%.0f-18446744073709551615', now()))
end

local gone = 0
if not groupof(retry, group) then
  if what == 'joined' and ARGV[3] ~= '1' and redis.call('EXISTS', retry) == 0 then gone = 1 end
  redis.call('XGROUP', 'CREATE', retry, group, '0', 'MKSTREAM')
end
return {what, at, length, gone}
