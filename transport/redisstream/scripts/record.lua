#!lua flags=allow-oom
-- record notes what was done with dead letters. It may do so when Redis is full: discarding them is what makes room.
--
-- KEYS  1 acts
-- ARGV  1 how many are kept at least, 2... fields and values
-- returns the id of the act
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 2))
