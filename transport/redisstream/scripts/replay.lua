-- replay makes dead letters new deliveries of their group, letter by letter.
--
-- KEYS  1 dead letters, 2 the group's retry stream
-- ARGV  ids of letters
-- returns how many there were
local wrong = wrongtype(KEYS[2], 'stream')
if wrong then return wrong end
local replayed = 0
for _, id in ipairs(ARGV) do
  local found = redis.call('XRANGE', KEYS[1], id, id)[1]
  if found then
    local call = {'XADD', KEYS[2], '*'}
    for i = 1, #found[2], 2 do
      if found[2][i]:sub(1, 9) ~= 'typedbus.' or found[2][i] == 'typedbus.origin' then
        call[#call + 1] = found[2][i]
        call[#call + 1] = found[2][i + 1]
      end
    end
    for _, v in ipairs({'typedbus.attempt', '1', 'typedbus.redelivered', '0'}) do call[#call + 1] = v end
    redis.call(unpack(call))
    redis.call('XDEL', KEYS[1], id)
    replayed = replayed + 1
  end
end
return replayed
