-- keep lets claims that run for their owners expire later, and begins those again that are absent.
--
-- KEYS  claims
-- ARGV  1 their expiry in milliseconds, 2... what each says while it runs for its owner
-- returns the indexes from 0 of those that are done or run for others
local lost = {}
for i, key in ipairs(KEYS) do
  local is = redis.call('GET', key)
  if is and is ~= ARGV[i + 1] then
    lost[#lost + 1] = i - 1
  else
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
  end
end
return lost
