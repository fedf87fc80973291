package report_test

import "github.com/typedbus/typedbus/bench/report"

// sample is what a run might have measured.
func sample() *report.Results {
	return &report.Results{
		Ratios: map[string]float64{
			"e2e_json_vs_watermill": 12.34567, "e2e_standard_vs_bare": 0.84964, "idle_conns": 1008, "idle_cpu": 0.0512,
		},
		Figures: map[string]float64{
			"typedbus-json.e2e_per_second": 212345, "typedbus-batch-bytes.e2e_per_second": 604321, "raw.e2e_per_second": 712000,
			"watermill.e2e_per_second": 14210.7, "asynq.e2e_per_second": 15800, "nats-file.e2e_per_second": 98000,
			"typedbus-json.latency_p50_us": 143.2, "typedbus-json.latency_p99_us": 410, "raw.latency_p50_us": 128,
			"raw.latency_p99_us": 377, "watermill.latency_p50_us": 402, "watermill.latency_p99_us": 2210,
			"asynq.latency_p50_us": 1490, "asynq.latency_p99_us": 11200, "nats-file.latency_p50_us": 205, "nats-file.latency_p99_us": 950,
			"memory.rss_mib": 88,
		},
		Spread: map[string][2]float64{"e2e_json_vs_watermill": {11.9, 12.80001}, "idle_cpu": {0.0401, 0.0603}},
		Sweeps: []report.Sweep{
			{
				Name: "payload", Title: "Events a second by size of the body", XName: "body in bytes", YName: "events/s", LogX: true,
				Lines: []report.Line{
					line("typedbus", 100, 210_000, 1_000, 190_000, 10_000, 95_000, 100_000, 11_000, 1_048_576, 900),
					line("raw", 100, 700_000, 1_000, 520_000, 10_000, 130_000, 100_000, 12_000, 1_048_576, 950),
					line("watermill", 100, 14_000, 1_000, 13_500, 10_000, 11_000, 100_000, 5_000, 1_048_576, 400),
				},
			},
			{
				Name: "publishers", Title: "Published a second by number of publishers", XName: "goroutines that publish",
				YName: "events/s", LogX: true,
				Lines: []report.Line{
					line("typedbus", 1, 18_000, 4, 55_000, 16, 140_000, 64, 230_000, 256, 280_000),
					line("AutoPipeline", 1, 17_000, 4, 40_000, 16, 100_000, 64, 160_000, 256, 190_000),
				},
			},
			{Name: "topics", Title: "Events a second by number of topics", XName: "topics", YName: "events/s",
				Lines: []report.Line{line("typedbus", 1, 210_000, 10, 205_000, 100, 190_000, 1000, 120_000)}},
			{Name: "codec", Title: "Events a second by codec", XName: "codec", YName: "events/s", Lines: []report.Line{
				{Name: "one by one", Points: []report.Point{
					{Y: 212_000, Label: "json"}, {Y: 230_000, Label: "msgpack"}, {Y: 251_000, Label: "protobuf"}}},
				{Name: "PublishAll of 200", Points: []report.Point{
					{Y: 402_000, Label: "json"}, {Y: 430_000, Label: "msgpack"}, {Y: 501_000, Label: "protobuf"}}},
			}},
		},
		Machine: report.Machine{
			CPU: "Intel(R) Xeon(R) Processor @ 2.90GHz", Cores: 2, OS: "linux/amd64", Go: "go1.26.1", Redis: "Redis 7.0.15",
			Date: "2026-11-23", Seconds: 312, Rounds: 5,
		},
	}
}

// line takes x and y in turn.
func line(name string, xy ...float64) report.Line {
	l := report.Line{Name: name}
	for i := 0; i < len(xy); i += 2 {
		l.Points = append(l.Points, report.Point{X: xy[i], Y: xy[i+1]})
	}
	return l
}
