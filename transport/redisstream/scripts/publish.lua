-- publish stores a message, unless its topic knows its id.
--
-- KEYS  1 mark of the id; 2 the topic's stream, or 2 set and 3 hash (see due.go) if the message is delayed
-- ARGV  1 how many milliseconds the mark is kept, 2 delay in milliseconds ("now": none), 3 its member in the set
--       4 how many options of XADD, options, fields and values
-- returns the id of the entry, or when the message is due, or "known"
if redis.call('EXISTS', KEYS[1]) == 1 then return 'known' end
local entry = {}
for i = 5 + ARGV[4], #ARGV do entry[#entry + 1] = ARGV[i] end
-- The mark first: a server that is full refuses the first write of a script, and none after it.
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
local ok, made
if ARGV[2] == 'now' then
  local call = {'XADD', KEYS[2]}
  for i = 5, 4 + ARGV[4] do call[#call + 1] = ARGV[i] end
  call[#call + 1] = '*'
  for _, v in ipairs(entry) do call[#call + 1] = v end
  made = redis.pcall(unpack(call))
  ok = not (type(made) == 'table' and made.err)
else
  local due = now() + ARGV[2]
  ok, made = pcall(due_put, KEYS[2], KEYS[3], ARGV[3], due, entry)
  if ok then made = due end
end
if not ok then
  redis.call('SET', KEYS[1], '', 'PXAT', 1) -- it is over; DEL would be one more right
  return type(made) == 'table' and made or redis.error_reply(tostring(made))
end
return made
