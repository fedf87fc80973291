-- What several scripts share; it is put in front of them.

-- field looks up a name in the flat reply of XINFO.
local function field(reply, name)
  for i = 1, #reply, 2 do
    if reply[i] == name then return reply[i + 1] end
  end
end

-- digits compares two numbers written in decimal, exactly: ids have 64 bits and Lua's numbers 53.
local function digits(a, b)
  if #a ~= #b then return #a < #b and -1 or 1 end
  if a == b then return 0 end
  return a < b and -1 or 1
end

-- compare orders two entry ids.
local function compare(a, b)
  local ams, aseq = a:match('^(%d+)-(%d+)$')
  local bms, bseq = b:match('^(%d+)-(%d+)$')
  local c = digits(ams, bms)
  if c == 0 then c = digits(aseq, bseq) end
  return c
end

-- decrement is one less than a number greater than 0 that is written in decimal, exactly.
local function decrement(n)
  local head, digit, zeros = n:match('^(%d-)([1-9])(0*)$')
  local d = string.format('%d', tonumber(digit) - 1)
  return ((head .. d .. ('9'):rep(#zeros)):gsub('^0+(%d)', '%1'))
end

-- before is the id that comes right before id.
local function before(id)
  local ms, seq = id:match('^(%d+)-(%d+)$')
  if seq ~= '0' then
    return ms .. '-' .. decrement(seq)
  end
  if ms == '0' then return '0-0' end
  return decrement(ms) .. '-18446744073709551615'
end

-- groupof is the XINFO GROUPS entry of a group, nil if the key or the group does not exist.
local function groupof(key, name)
  if redis.call('EXISTS', key) == 0 then return nil end
  for _, g in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    if field(g, 'name') == name then return g end
  end
end

-- unsettled says whether an entry is known not to have been acknowledged: somebody has it, or, after a rollback, nobody has had it
-- yet. It fails without the group.
local function unsettled(key, group, id)
  if redis.call('XPENDING', key, group, id, id, 1)[1] then return true end
  local g = groupof(key, group)
  return not g or compare(field(g, 'last-delivered-id'), id) < 0
end

-- lowwater is the position up to which a group has acknowledged everything.
local function lowwater(key, g)
  if field(g, 'pending') > 0 then
    local p = redis.call('XPENDING', key, field(g, 'name'))
    if p[2] then return before(p[2]) end
  end
  return field(g, 'last-delivered-id')
end

-- now is the server's time in milliseconds.
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- wrongtype is an error reply if key exists and is not of the type, else nil. Lua has no rollback, so a script asks
-- this for every key it writes before its first write.
local function wrongtype(key, want)
  local is = redis.call('TYPE', key).ok
  if is ~= 'none' and is ~= want then
    return redis.error_reply('WRONGTYPE the key ' .. key .. ' holds a ' .. is .. ' and not a ' .. want)
  end
end

-- refused is the error reply of the first of calls that is refused, else nil. A script that writes and then removes asks this
-- before its first write, for forms of what removes that do nothing: for a user who may not remove it would write again each
-- time. They count as writes, and a full server refuses only the first write of a script: so the first is a ZADD, which it refuses.
local function refused(calls)
  for _, call in ipairs(calls) do
    local reply = redis.pcall(unpack(call))
    if type(reply) == 'table' and reply.err then return reply end
  end
end

-- run names this run of the server; "?" if the user may not ask, which INFO is no reason to refuse. Every run is another then.
local ask = redis.pcall
local function run()
  local reply = ask('INFO', 'server')
  return type(reply) == 'string' and reply:match('run_id:(%w+)') or '?'
end

-- readcursor is what a cursor key says: up to where the group has acknowledged everything, how many entries the stream ever had,
-- the run of the server that said so, and the position up to which a loss is known and reported. Only the last if there is none.
local function readcursor(key)
  local id, added, by, told = (redis.call('GET', key) or ''):match('^(%d+%-%d+) (%d+) (%S+) ?(%d*%-?%d*)$')
  return id, tonumber(added), by, told and told:match('^%d+%-%d+$') or '0-0'
end

local function cursorof(id, added, by, told)
  local s = string.format('%s %.0f %s', id, added, by)
  return told == '0-0' and s or s .. ' ' .. told
end

local function writecursor(key, ...) redis.call('SET', key, cursorof(...)) end

-- gap finds entries that were trimmed before a group g of the stream read them; info is the stream's XINFO. It returns how
-- many, and puts the group's count of entries right (XGROUP SETID at the position where it stands), so that it finds them once.
--
-- Redis counts entries ever added and, by group, read. All of the first are gone or behind the group if the group stands
-- before the first entry, or at the last. Entries removed by XDEL make the counts uncertain; then it finds nothing. So does
-- another run of the server (same is false): neither the append-only file nor a replica keeps the count of entries read. Then
-- the count is declared unknown, and Redis finds it again when the group has read everything.
local function gap(key, g, info, same)
  local read, stands = field(g, 'entries-read'), field(g, 'last-delivered-id')
  if not read then return 0 end
  if not same then
    redis.call('XGROUP', 'SETID', key, field(g, 'name'), stands, 'ENTRIESREAD', -1)
    return 0
  end
  if compare(field(info, 'max-deleted-entry-id'), stands) > 0 then return 0 end
  local added, length = field(info, 'entries-added'), field(info, 'length')
  local passed
  if stands == field(info, 'last-generated-id') then
    passed = added
  elseif length == 0 or compare(stands, field(info, 'first-entry')[1]) < 0 then
    passed = added - length
  end
  if not passed or passed <= read then return 0 end
  redis.call('XGROUP', 'SETID', key, field(g, 'name'), stands, 'ENTRIESREAD', passed)
  return passed - read
end

-- short makes an entry of a retry stream or of dead letters that fits Lua's stack, which has no room for more arguments than
-- LIMIT: the message's fields are packed into one, as <length>:<bytes> one after the other. entry.go unpacks them.
local LIMIT = 7900
local function short(entry)
  if #entry <= LIMIT then return entry end
  local own, rest = {}, {}
  for i = 1, #entry, 2 do
    if entry[i]:sub(1, 9) == 'typedbus.' then
      own[#own + 1] = entry[i]
      own[#own + 1] = entry[i + 1]
    else
      rest[#rest + 1] = #entry[i] .. ':' .. entry[i]
      rest[#rest + 1] = #entry[i + 1] .. ':' .. entry[i + 1]
    end
  end
  own[#own + 1] = 'typedbus.fields'
  own[#own + 1] = table.concat(rest)
  return own
end

-- carried says whether an entry's field goes along when the message moves. The bookkeeping is written anew each time; what is part
-- of the message is ours only where nobody else writes.
local PARTS = {['typedbus.fields'] = true, ['typedbus.id'] = true, ['typedbus.key'] = true, ['typedbus.ct'] = true}
local function carried(name, ours)
  return name:sub(1, 9) ~= 'typedbus.' or ours and PARTS[name] or false
end
