// Package redisstream is the Redis Streams transport.
//
// It needs Redis 7.0 or newer, or Valkey, alone, with Sentinel or as a Cluster. Entries are flat, readable fields that
// programs in any language can write and read; docs/wire-format.md specifies them.
package redisstream
