-- relay stores a message that was staged in another slot, once however often it is tried.
--
-- KEYS  1 mark of this message; 2 its topic's stream, or 2 set and 3 hash (see due.go) if it is delayed
-- ARGV  1 how many milliseconds the mark is kept, 2 when it is due ("-1": now), 3 its member in the set
--       4 how many options of XADD, options, fields and values
-- returns 1, or 0 if it was stored before
local wrong
if ARGV[2] == '-1' then
  wrong = wrongtype(KEYS[2], 'stream')
else
  wrong = wrongtype(KEYS[2], 'zset') or wrongtype(KEYS[3], 'hash')
end
if wrong then return wrong end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local call, options = {'XADD', KEYS[2]}, tonumber(ARGV[4])
for i = 1, options do call[#call + 1] = ARGV[4 + i] end
call[#call + 1] = '*'
local entry = {}
for i = 5 + options, #ARGV do
  call[#call + 1] = ARGV[i]
  entry[#entry + 1] = ARGV[i]
end
-- The mark first: without the right to it the message would be stored again each time.
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
local ok, made
if ARGV[2] == '-1' then
  made = redis.pcall(unpack(call))
  ok = not (type(made) == 'table' and made.err)
else
  ok, made = pcall(due_put, KEYS[2], KEYS[3], ARGV[3], ARGV[2], entry)
end
if not ok then
  redis.call('SET', KEYS[1], '', 'PXAT', 1) -- it is over; DEL would be one more right
  return type(made) == 'table' and made or redis.error_reply(tostring(made))
end
return 1
