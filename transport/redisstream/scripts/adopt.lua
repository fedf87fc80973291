-- adopt fetches what is pending for a consumer without it knowing, because an answer was lost. It is no new delivery: the
-- delivery count stays.
--
-- KEYS  1 a stream
-- ARGV  1 group, 2 consumer, 3... entry ids
-- returns for each id that is pending for the consumer {id, delivery count, {field, value, ...}}, or {id, delivery count}
-- if its entry has been deleted; such an entry is no longer pending
local key, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local out = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local p = redis.call('XPENDING', key, group, id, id, 1, consumer)
  if p[1] then
    local e = redis.call('XCLAIM', key, group, consumer, 0, id, 'JUSTID')
    local entry = #e > 0 and redis.call('XRANGE', key, id, id)[1]
    out[#out + 1] = {id, p[1][4], entry and entry[2] or nil}
  end
end
return out
