package main

import (
	"context"

	"github.com/typedbus/typedbus/bench/contest"
	"github.com/typedbus/typedbus/codec"
)

// oneByOne has 64 goroutines publish one event after the other, and one consumer.
func (s *suite) oneByOne(rival string) spec {
	return spec{Do: "throughput", Rival: rival, Publishers: 64, For: s.unit, Warmup: s.warmup}
}

// inBatches has two goroutines publish 200 events at a time: more of them are not faster, neither raw nor with us.
func (s *suite) inBatches(rival string) spec {
	return spec{Do: "throughput", Rival: rival, Publishers: 2, Batch: 200, For: s.unit, Warmup: s.warmup}
}

// endToEnd is from Publish to the acknowledgement.
func endToEnd(ctx context.Context, r round) error {
	out := map[string]outcome{}
	for _, sp := range r.inTurn(
		r.inBatches("raw"), r.inBatches("typedbus-bytes"), r.oneByOne("watermill"), r.oneByOne("asynq"), r.oneByOne("nats-file"),
		r.oneByOne("typedbus"), r.oneByOne("typedbus-standard"), r.oneByOne("typedbus-telemetry"),
		r.oneByOne("raw-single"), r.oneByOne("watermill-32"), r.oneByOne("asynq-4"),
	) {
		o, err := r.measure(ctx, sp)
		if err != nil {
			return err
		}
		r.say("%-20s %8.0f events/s  %5.1f µs client  %5.1f µs server  %5.1f allocs", sp.Rival, o.PerSecond, o.CPU, o.ServerCPU, o.Allocs)
		r.figure(sp.Rival+".e2e_per_second", o.PerSecond)
		r.figure(sp.Rival+".client_cpu_us", o.CPU)
		r.figure(sp.Rival+".server_cpu_us", o.ServerCPU)
		r.figure(sp.Rival+".allocs", o.Allocs)
		r.figure(sp.Rival+".rss_mib", float64(o.Peak)/(1<<20))
		out[sp.Rival] = o
	}
	bare, raw := out["typedbus"], out["raw"]
	r.ratio("e2e_json_vs_watermill", bare.PerSecond/out["watermill"].PerSecond)
	r.ratio("e2e_json_vs_asynq", bare.PerSecond/out["asynq"].PerSecond)
	r.ratio("e2e_json_vs_watermill_32", bare.PerSecond/out["watermill-32"].PerSecond)
	r.ratio("e2e_json_vs_asynq_4", bare.PerSecond/out["asynq-4"].PerSecond)
	r.ratio("e2e_json_vs_nats_file", bare.PerSecond/out["nats-file"].PerSecond)
	r.ratio("e2e_standard_vs_bare", out["typedbus-standard"].PerSecond/bare.PerSecond)
	r.ratio("e2e_telemetry_vs_bare", out["typedbus-telemetry"].PerSecond/bare.PerSecond)
	r.ratio("e2e_batch_bytes_vs_raw", out["typedbus-bytes"].PerSecond/raw.PerSecond)
	r.ratio("redis_cpu_vs_raw", out["typedbus-bytes"].ServerCPU/raw.ServerCPU)
	r.ratio("allocs_over_raw", bare.Allocs-raw.Allocs-codecAllocs())
	return nil
}

// codecAllocs is what encoding and decoding an event costs by itself.
func codecAllocs() float64 {
	c := codec.JSON[contest.Event]()
	e := *contest.NewEvent(1)
	return contest.AllocsOf(func() {
		body, err := c.Append(nil, e)
		if err == nil {
			_, err = c.Decode(c.ContentType(), body)
		}
		if err != nil {
			panic(err)
		}
	})
}

// publishing is without a consumer.
func publishing(ctx context.Context, r round) error {
	o, err := r.measure(ctx, spec{Do: "lone", Rival: "typedbus", For: r.unit})
	if err != nil {
		return err
	}
	r.say("one publisher: p50 %.0f µs, XADD %.0f µs", o.Latency.P50, o.Raw.P50)
	r.ratio("publish_1_p50_vs_xadd", o.Latency.P50/o.Raw.P50)
	r.figure("typedbus.publish_1_p50_us", o.Latency.P50)
	r.figure("raw-single.publish_1_p50_us", o.Raw.P50)

	perSecond := map[string]float64{}
	for _, rival := range []string{"typedbus-bytes", "raw-autopipeline"} {
		o, err := r.measure(ctx, spec{Do: "throughput", Rival: rival, Publishers: 256, NoConsumer: true, For: r.unit, Warmup: r.warmup})
		if err != nil {
			return err
		}
		r.say("256 publishers: %-18s %8.0f events/s", rival, o.PerSecond)
		r.figure(rival+".publish_256_per_second", o.PerSecond)
		perSecond[rival] = o.PerSecond
	}
	r.ratio("publish_256_vs_autopipeline", perSecond["typedbus-bytes"]/perSecond["raw-autopipeline"])
	return nil
}

func latencies(ctx context.Context, r round) error {
	out := map[string]contest.Latency{}
	at2000 := func(rival string) spec {
		return spec{Do: "latency", Rival: rival, Publishers: 64, PerSecond: 2000, For: r.latency}
	}
	for _, sp := range r.inTurn(at2000("raw-single"), at2000("typedbus"), at2000("watermill"), at2000("asynq"), at2000("nats-file")) {
		o, err := r.measure(ctx, sp)
		if err != nil {
			return err
		}
		l, rival := o.Latency, sp.Rival
		r.say("%-12s p50 %6.0f µs  p90 %6.0f µs  p99 %6.0f µs", rival, l.P50, l.P90, l.P99)
		r.figure(rival+".latency_p50_us", l.P50)
		r.figure(rival+".latency_p99_us", l.P99)
		out[rival] = l
	}
	r.ratio("latency_p50_vs_raw", out["typedbus"].P50/out["raw-single"].P50)
	r.ratio("latency_p99_vs_watermill", out["typedbus"].P99/out["watermill"].P99)
	return nil
}

func inMemory(ctx context.Context, r round) error {
	perSecond := map[string]float64{}
	for _, sp := range r.inTurn(r.oneByOne("typedbus-memory"), r.oneByOne("gochannel")) {
		rival := sp.Rival
		o, err := r.measure(ctx, sp)
		if err != nil {
			return err
		}
		r.say("%-16s %8.0f events/s  %.1f µs  %.1f allocs", rival, o.PerSecond, o.CPU, o.Allocs)
		r.figure(rival+".memory_per_second", o.PerSecond)
		perSecond[rival] = o.PerSecond
	}
	r.ratio("memory_vs_gochannel", perSecond["typedbus-memory"]/perSecond["gochannel"])
	return nil
}
