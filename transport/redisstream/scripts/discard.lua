-- discard removes dead letters for good.
--
-- KEYS  1 dead letters, 2 set of letters that were put
-- ARGV  ids of letters
-- returns how many there were
local wrong = wrongtype(KEYS[2], 'zset') or refused({{'ZREM', KEYS[2], ''}})
if wrong then return wrong end
local discarded = redis.call('XDEL', KEYS[1], unpack(ARGV))
redis.call('ZREM', KEYS[2], unpack(ARGV))
return discarded
