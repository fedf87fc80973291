-- lag looks at a group.
--
-- KEYS  1 stream, 2 retry stream, 3 set of what waits, 4 dead letters, 5 set of delayed publishes,
--       6 how many dead letters the bound has removed
-- ARGV  1 group
-- returns {undelivered, pending, oldest, waiting, dead, delayed, dropped}, or nothing if there is no such group
--   undelivered  entries the group has not got yet, retries included; -1 if that cannot be told
--   oldest       how many milliseconds ago the oldest pending message was stored in the topic; -1 if none is pending
local wrong = wrongtype(KEYS[4], 'stream') or wrongtype(KEYS[6], 'string') -- while they are, the survey keeps no bound: this tells
if wrong then return wrong end
local stream, retry, group = KEYS[1], KEYS[2], ARGV[1]
local g = groupof(stream, group)
if not g then return false end

local pending, oldest = 0, nil
local function older(id) -- a retry keeps the position of its message in a field
  local ms = tonumber((tostring(id):match('^(%d+)-')))
  if ms and (not oldest or ms < oldest) then oldest = ms end
end
local p = redis.call('XPENDING', stream, group)
if p[1] > 0 then
  pending = p[1]
  older(p[2])
end

-- The server's lag is nil after deletions and for groups that began in the middle, and counts entries that were trimmed
-- unread before 7.4.5. A short rest of the stream is counted.
local undelivered = field(g, 'lag')
local length = redis.call('XLEN', stream)
if not undelivered or undelivered > length then
  local rest = #redis.call('XRANGE', stream, '(' .. field(g, 'last-delivered-id'), '+', 'COUNT', 101)
  undelivered = rest <= 100 and rest or undelivered and length or -1
end

if groupof(retry, group) then
  local r = redis.call('XPENDING', retry, group)
  if r[1] > 0 then
    pending = pending + r[1]
    local e = redis.call('XRANGE', retry, r[2], r[2])[1]
    older(e and field(e[2], 'typedbus.origin') or r[2])
  end
  if undelivered >= 0 then undelivered = undelivered + redis.call('XLEN', retry) - r[1] end
end
return {undelivered, pending, oldest and math.max(now() - oldest, 0) or -1, redis.call('ZCARD', KEYS[3]), redis.call('XLEN', KEYS[4]),
  redis.call('ZCARD', KEYS[5]), tonumber(redis.call('GET', KEYS[6]) or '') or 0}
