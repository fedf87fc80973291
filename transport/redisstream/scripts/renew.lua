-- renew keeps the leases of what a consumer holds. Each lease is (consumer, delivery count): XCLAIM alone would take back what
-- another consumer has by now.
--
-- KEYS  1 a stream
-- ARGV  1 group, 2 consumer, 3... pairs of entry id and delivery count
-- returns {lost, gone, unsettled}, the indexes from 0 of pairs
--   lost  no longer of this consumer
--   gone  were of this consumer, but their entries have been deleted; XCLAIM drops those, so nobody will get them again
--   unsettled  are lost, and not acknowledged: somebody has them or will
local key, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local lost, gone, waiting = {}, {}, {}
for i = 3, #ARGV, 2 do
  local n = (i - 3) / 2
  local p = redis.pcall('XPENDING', key, group, ARGV[i], ARGV[i], 1, consumer)
  if p.err then
    if p.err:sub(1, 7) ~= 'NOGROUP' then return p end
    lost[#lost + 1] = n
    waiting[#waiting + 1] = n
  elseif not p[1] or string.format('%.0f', p[1][4]) ~= ARGV[i + 1] then
    lost[#lost + 1] = n
    if unsettled(key, group, ARGV[i]) then waiting[#waiting + 1] = n end
  elseif #redis.call('XCLAIM', key, group, consumer, 0, ARGV[i], 'JUSTID') == 0 then
    gone[#gone + 1] = n
  end
end
return {lost, gone, waiting}
