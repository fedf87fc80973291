-- begin makes a claim running, unless it is done or runs for another owner.
--
-- KEYS  1 the claim
-- ARGV  1 what it says while it runs for this owner, 2 its expiry in milliseconds
-- returns 0 if it runs for this owner now, -1 if it is done, or how many milliseconds it still has for another
local is = redis.call('GET', KEYS[1])
if is == '1' then return -1 end
if is and is ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[1])
  return left < 0 and tonumber(ARGV[2]) or math.max(left, 1) -- one that does not expire was written by somebody else
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0
