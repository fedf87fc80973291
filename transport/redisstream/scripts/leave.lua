-- leave removes a consumer that has nothing pending. XGROUP DELCONSUMER alone would throw away what is pending.
--
-- KEYS  1 stream, 2 retry stream
-- ARGV  1 group, 2 consumer
-- returns how many entries are still pending for the consumer, so that it was kept
local group, consumer = ARGV[1], ARGV[2]
local left = 0
for _, key in ipairs(KEYS) do
  if groupof(key, group) then
    if redis.call('XPENDING', key, group, '-', '+', 1, consumer)[1] then
      left = left + 1
    else
      redis.call('XGROUP', 'DELCONSUMER', key, group, consumer)
    end
  end
end
return left
