-- move appends what is due to its stream.
--
-- KEYS  1 set, 2 hash (see due.go for the layout), 3 stream
-- ARGV  1 how many at most
-- returns {moved, missing, wait, bad}
--   moved    how many were looked at; if that is the most, there may be more
--   missing  how many of those had nothing in the hash, and are dropped
--   wait     milliseconds until the next is due, 0 if one is, -1 if nothing waits
--   bad      how many were no message: they leave the set, so that they hold up nothing, and stay in the hash
local ms = now()
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, ARGV[1])
local missing, bad = 0, 0

-- unpacked is the entry that due_put packed, nil if somebody else wrote something else.
local function unpacked(packed)
  local ok, entry = pcall(cmsgpack.unpack, packed)
  if not ok or type(entry) ~= 'table' or #entry == 0 or #entry % 2 == 1 then return nil end
  for _, v in ipairs(entry) do
    if type(v) ~= 'string' and type(v) ~= 'number' then return nil end
  end
  return entry
end

if #due > 0 then
  local no = refused({{'ZADD', KEYS[1], 'XX', 0, ''}, {'ZREM', KEYS[1], ''}, {'HDEL', KEYS[2], ''}})
  if no then return no end
end
for _, member in ipairs(due) do
  local packed = redis.call('HGET', KEYS[2], member)
  local entry = packed and unpacked(packed)
  if entry then
    redis.call('XADD', KEYS[3], '*', unpack(short(entry)))
  elseif packed then
    bad = bad + 1
  else
    missing = missing + 1
  end
  redis.call('ZREM', KEYS[1], member)
  if not packed or entry then redis.call('HDEL', KEYS[2], member) end
end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = -1
if head[2] then wait = math.max(tonumber(head[2]) - ms, 0) end
return {#due, missing, wait, bad}
