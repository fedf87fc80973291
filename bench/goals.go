package main

import "github.com/typedbus/typedbus/bench/report"

// goals are what typedbus is to reach, in the order of the table.
var goals = []report.Goal{
	{Name: "e2e_json_vs_watermill", What: "64 publishers one by one, typed handler, acknowledged: times as fast as Watermill on Redis Streams", AtLeast: 10},
	{Name: "e2e_json_vs_asynq", What: "the same: times as fast as asynq", AtLeast: 9},
	{Name: "e2e_json_vs_watermill_32", What: "the same, of ours one subscription still: times as fast as 32 subscriptions of Watermill"},
	{Name: "e2e_json_vs_asynq_4", What: "the same: times as fast as four servers of asynq"},
	{Name: "e2e_json_vs_nats_file", What: "the same: times as fast as NATS JetStream, embedded, on files without fsync, where our Redis writes none", AtLeast: 1.5},
	{Name: "e2e_standard_vs_bare", What: "the same with middleware.Standard, against none", AtLeast: 0.85},
	{Name: "e2e_telemetry_vs_bare", What: "the same with spans (1 % sampled) and metrics, against none", AtLeast: 0.7},
	{Name: "e2e_batch_bytes_vs_raw", What: "PublishAll of 200, bytes, against pipelines of go-redis by hand", AtLeast: 0.75},
	{Name: "publish_1_p50_vs_xadd", What: "one publisher: median time against a plain XADD", AtMost: 1.15},
	{Name: "publish_256_vs_autopipeline", What: "256 publishers: times as fast as go-redis' AutoPipeline", AtLeast: 1.2},
	{Name: "latency_p50_vs_raw", What: "2,000 events/s, from publish to handler: median against XADD and a blocked XREADGROUP", AtMost: 1.25},
	{Name: "latency_p99_vs_watermill", What: "the same: 99th percentile against Watermill", AtMost: 0.8},
	{Name: "memory_vs_gochannel", What: "in memory, JSON: times as fast as Watermill's GoChannel with bytes", AtLeast: 2},
	{Name: "redis_cpu_vs_raw", What: "processor time of Redis an event, end to end, against raw", AtMost: 1.25},
	{Name: "redis_bytes_vs_raw", What: "memory of Redis an entry, against a raw XADD of the same", AtMost: 1.05},
	{Name: "allocs_over_raw", What: "allocations an event beyond raw go-redis and the codec, publish and handle", AtMost: 12},
	{Name: "backlog_flatness", What: "draining a backlog of 1,000,000 (quick: 200,000): speed of the last tenth against the first", AtLeast: 0.9},
	{Name: "pending_flatness", What: "speed with 100,000 events pending for a dead consumer whose lease has not ended, against none", AtLeast: 0.9},
	{Name: "consumers_4_vs_1", What: "four processes of 16 handlers of 1 ms, against one", AtLeast: 3.5},
	{Name: "idle_cpu", What: "1,000 idle subscriptions in a process: cores in use, client and server together", AtMost: 0.05},
	{Name: "idle_conns", What: "the same: connections", AtMost: 1010},
	{Name: "backlog_rss_mib", What: "the same: memory of the process in MiB", AtMost: 150},
}
