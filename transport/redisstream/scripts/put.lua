-- put stores a dead letter, in place of another one or beside the others.
--
-- KEYS  1 dead letters, 2 set of letters that were put, by when they died
-- ARGV  1 id of the letter to replace, "" for none; 2 when the letter died, in milliseconds since 1970, "" for now
--       3... fields and values of the letter
-- returns the id of the letter, or nothing if the one to replace does not exist
local dead, put, replaces, died = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local wrong = wrongtype(put, 'zset')
if wrong then return wrong end
if replaces ~= '' and not redis.call('XRANGE', dead, replaces, replaces)[1] then return false end
local no = refused({{'ZADD', put, 'XX', 0, ''}, {'XDEL', dead, '0-0'}, {'ZREM', put, ''}})
if no then return no end

local entry = {}
for i = 3, #ARGV do entry[i - 2] = ARGV[i] end
local id = redis.call('XADD', dead, '*', unpack(short(entry)))
if died ~= '' then redis.call('ZADD', put, died, id) end
if replaces ~= '' then
  redis.call('XDEL', dead, replaces)
  redis.call('ZREM', put, replaces)
end
return id
