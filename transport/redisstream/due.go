package redisstream

import "github.com/redis/go-redis/v9"

// Delayed messages, and those a group failed or deferred, wait in a sorted set and a hash that share a hash tag:
//
//	set   member by due time, in milliseconds of the server's clock
//	hash  member to cmsgpack.pack({field, value, field, value, ...}), the fields of the entry to come
//
// A member is a UUIDv7, made for each time a message is put there: the same message may wait twice. What is due at the same
// millisecond comes in the order of the members. An element of the set without one of the hash is removed by the mover.

// duePutLua is a Lua function for scripts: due_put(set, hash, member, due, fields) stores all of it, or raises an error of
// Redis and stores nothing.
const duePutLua = `
local function due_put(set, hash, member, due, fields)
  redis.call('HSET', hash, member, cmsgpack.pack(fields))
  local ok = redis.pcall('ZADD', set, due, member)
  if type(ok) == 'table' and ok.err then
    redis.call('HDEL', hash, member)
    error(ok)
  end
end
`

// duePutSource stores a delayed message.
//
//	KEYS  set, hash
//	ARGV  delay in milliseconds, member, then field, value, field, value, ...
//
// It returns when the message is due, in milliseconds of the server's clock.
const duePutSource = duePutLua + `
local now = redis.call('TIME')
local due = now[1] * 1000 + math.ceil(now[2] / 1000) + ARGV[1]
local fields = {}
for i = 3, #ARGV do fields[i - 2] = ARGV[i] end
due_put(KEYS[1], KEYS[2], ARGV[2], due, fields)
return due
`

var duePut = redis.NewScript(duePutSource)
