-- replay makes dead letters new deliveries of their group, letter by letter.
--
-- KEYS  1 dead letters, 2 the group's retry stream, 3 set of letters that were put
-- ARGV  ids of letters
-- returns how many there were
local wrong = wrongtype(KEYS[2], 'stream') or wrongtype(KEYS[3], 'zset')
if wrong then return wrong end
local no = refused({{'ZADD', KEYS[3], 'XX', 0, ''}, {'XDEL', KEYS[1], '0-0'}, {'ZREM', KEYS[3], ''}})
if no then return no end
local replayed = 0
for _, id in ipairs(ARGV) do
  local found = redis.call('XRANGE', KEYS[1], id, id)[1]
  if found then
    local entry, replays = {}, tonumber(field(found[2], 'typedbus.replays') or '') or 0
    for i = 1, #found[2], 2 do
      if carried(found[2][i], true) or found[2][i] == 'typedbus.origin' then
        entry[#entry + 1] = found[2][i]
        entry[#entry + 1] = found[2][i + 1]
      end
    end
    local own = {'typedbus.attempt', '1', 'typedbus.redelivered', '0', 'typedbus.replays', string.format('%.0f', replays + 1)}
    for _, v in ipairs(own) do entry[#entry + 1] = v end
    redis.call('XADD', KEYS[2], '*', unpack(short(entry)))
    redis.call('XDEL', KEYS[1], id)
    redis.call('ZREM', KEYS[3], id)
    replayed = replayed + 1
  end
end
return replayed
