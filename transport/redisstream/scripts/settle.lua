-- settle ends one delivery, whole or not at all: it stores what the verdict says, then acknowledges. Only the consumer that
-- has the lease may do it. What can be wrong is looked at before the first write, because Lua has no rollback; what fails all
-- the same undoes the writes before it.
--
-- KEYS  1 the stream of the delivery, then those that ARGV names by their number; last, if fence is "0", the mark of the settlement
-- ARGV  group, consumer, entry id, delivery count
--       fence    "1": the entry must be pending for the consumer with the count; "0": it was deleted from the stream while
--                the consumer had it, so it must not be pending for anybody
--       delete   "1" to delete the entry once it is acknowledged, as on a retry stream
--       where    "none"; "now": append the entry to the stream KEYS[2]; "later": put it into the set KEYS[2], hash KEYS[3]
--       delay    for "later": milliseconds from now, by the server's clock
--       member   for "later": names it in the set
--       own      count, then fields and values that replace those with the prefix "typedbus."
--       given    count, then fields and values of the entry; the count -1 says to read them from the stream
--       staged   how many, then for each:
--                  number of its key, delay ("-1" to append to that stream; else put into that set and the hash of the next
--                  key), member, count and options of XADD, count and fields and values
-- returns 1 done, 2 the entry was deleted from the stream: its fields must be given; the lease is lost: 0 the entry is settled,
-- perhaps by this very settlement, 3 it is not: somebody has it or will
local cursor = 0
local function arg()
  cursor = cursor + 1
  return ARGV[cursor]
end
local function args(n)
  local t = {}
  for i = 1, n do t[i] = arg() end
  return t
end

local source = KEYS[1]
local group, consumer, id, count = arg(), arg(), arg(), arg()
local fence, delete, where, delay, member = arg(), arg(), arg(), arg(), arg()
local own = args(tonumber(arg()))
local ngiven = tonumber(arg())
local given = args(ngiven)

-- Whose is it?
if fence == '1' then
  local p = redis.call('XPENDING', source, group, id, id, 1, consumer)
  if not p[1] or string.format('%.0f', p[1][4]) ~= count then return unsettled(source, group, id) and 3 or 0 end
else
  if redis.call('XPENDING', source, group, id, id, 1)[1] then return 3 end
  -- Nothing in the stream tells any more whether this was done before.
  if redis.call('EXISTS', KEYS[#KEYS]) == 1 then return 1 end
end

-- What will be written.
local writes = {}
local function append(key, options, entry)
  local call = {'XADD', key}
  for _, v in ipairs(options) do call[#call + 1] = v end
  call[#call + 1] = '*'
  for _, v in ipairs(entry) do call[#call + 1] = v end
  writes[#writes + 1] = {call = call, key = key, type = 'stream'}
end
local function put(set, hash, name, ms, entry)
  writes[#writes + 1] = {key = set, type = 'zset', hash = hash, member = name, delay = tonumber(ms), entry = entry}
end

if where ~= 'none' then
  local was = given
  if ngiven < 0 then
    local found = redis.call('XRANGE', source, id, id)
    if not found[1] then return 2 end
    was = found[1][2]
  end
  local entry = {}
  for i = 1, #was, 2 do
    if carried(was[i], delete == '1') then
      entry[#entry + 1] = was[i]
      entry[#entry + 1] = was[i + 1]
    end
  end
  for _, v in ipairs(own) do entry[#entry + 1] = v end
  if where == 'now' then append(KEYS[2], {}, short(entry)) else put(KEYS[2], KEYS[3], member, delay, entry) end
end
for _ = 1, tonumber(arg()) do
  local key, ms, name = tonumber(arg()), arg(), arg()
  local options = args(tonumber(arg()))
  local entry = args(tonumber(arg()))
  if ms == '-1' then append(KEYS[key], options, entry) else put(KEYS[key], KEYS[key + 1], name, ms, entry) end
end

-- Whether it can be.
for _, w in ipairs(writes) do
  local wrong = wrongtype(w.key, w.type) or w.hash and wrongtype(w.hash, 'hash')
  if wrong then return wrong end
end

local t = redis.call('TIME')
local from = t[1] * 1000 + math.ceil(t[2] / 1000)
-- What fails all the same (a stream whose ids are used up) undoes what came before it.
local undo = {}
local function back(why)
  for _, call in ipairs(undo) do redis.call(unpack(call)) end
  return type(why) == 'table' and why or redis.error_reply(tostring(why))
end
for _, w in ipairs(writes) do
  local ok, made
  if w.call then
    made = redis.pcall(unpack(w.call))
    ok = not (type(made) == 'table' and made.err)
    if ok then undo[#undo + 1] = {'XDEL', w.key, made} end
  else
    ok, made = pcall(due_put, w.key, w.hash, w.member, from + w.delay, w.entry)
    if ok then
      undo[#undo + 1] = {'ZREM', w.key, w.member}
      undo[#undo + 1] = {'HDEL', w.hash, w.member}
    end
  end
  if not ok then return back(made) end
end
-- The rights to these may have been taken away.
local settled = redis.pcall('XACK', source, group, id)
if type(settled) == 'number' and fence == '0' then settled = redis.pcall('SET', KEYS[#KEYS], '1', 'PX', 86400000) end
if type(settled) == 'table' and settled.err then return back(settled) end
if delete == '1' then redis.call('XDEL', source, id) end
return 1
