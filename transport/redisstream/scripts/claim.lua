-- claim takes over entries whose consumer has given no sign of life for a lease.
--
-- KEYS  1, 2 the stream and the retry stream, in the order in which they are served
-- ARGV  1 group, 2 consumer, 3 lease in milliseconds, 4 how many at most, 5, 6 where to go on, by key
-- returns for each key {cursor, entries, deleted}
--   cursor   where to go on, "0-0" when the pending list has been looked through
--   entries  {id, delivery count, {field, value, ...}}
--   deleted  ids of entries that were pending and do not exist any more; they are no longer pending
--
-- XAUTOCLAIM looks at ten times COUNT entries; with a small COUNT it is asked again, up to about 1,000 entries by key.
local group, consumer, lease, free = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local out = {}
for k = 1, 2 do
  local cursor, entries, deleted, budget = ARGV[4 + k], {}, {}, 1000
  while free > 0 and budget > 0 do
    local r = redis.call('XAUTOCLAIM', KEYS[k], group, consumer, lease, cursor, 'COUNT', free)
    cursor, budget = r[1], budget - 10 * free
    for _, e in ipairs(r[2]) do
      local p = redis.call('XPENDING', KEYS[k], group, e[1], e[1], 1, consumer)
      entries[#entries + 1] = {e[1], p[1][4], e[2]}
    end
    for _, id in ipairs(r[3]) do deleted[#deleted + 1] = id end
    free = free - #r[2]
    if cursor == '0-0' then break end
  end
  out[k] = {cursor, entries, deleted}
end
return out
