-- release makes a claim absent that runs for its owner.
--
-- KEYS  1 the claim
-- ARGV  1 what it says while it runs for this owner
-- returns whether it did
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
