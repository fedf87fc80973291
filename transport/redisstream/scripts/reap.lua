-- reap removes consumers that are gone: nothing is pending for them and they have long done nothing. Removing one that lives
-- after all does no harm, because its next read makes it again.
--
-- KEYS  1 stream, 2 retry stream
-- ARGV  1 group, 2 idle for at least so many milliseconds, 3 how many at most
-- returns how many were removed
local reaped, most = 0, tonumber(ARGV[3])
for _, key in ipairs(KEYS) do
  if groupof(key, ARGV[1]) then
    for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', key, ARGV[1])) do
      if reaped < most and field(c, 'pending') == 0 and field(c, 'idle') >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', key, ARGV[1], field(c, 'name'))
        reaped = reaped + 1
      end
    end
  end
end
return reaped
