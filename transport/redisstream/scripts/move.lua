-- move appends what is due to its stream.
--
-- KEYS  1 set, 2 hash (see due.go for the layout), 3 stream
-- ARGV  1 how many at most
-- returns {moved, missing, wait}
--   moved    how many were looked at; if that is the most, there may be more
--   missing  how many of those had nothing in the hash, and are dropped
--   wait     milliseconds until the next is due, 0 if one is, -1 if nothing waits
local ms = now()
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, ARGV[1])
local missing = 0
for _, member in ipairs(due) do
  local packed = redis.call('HGET', KEYS[2], member)
  if packed then
    redis.call('XADD', KEYS[3], '*', unpack(short(cmsgpack.unpack(packed))))
  else
    missing = missing + 1
  end
  redis.call('ZREM', KEYS[1], member)
  redis.call('HDEL', KEYS[2], member)
end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = -1
if head[2] then wait = math.max(tonumber(head[2]) - ms, 0) end
return {#due, missing, wait}
