// Command bench measures typedbus against what people would pick instead.
package main

import (
	"context"
	"flag"
	"fmt"
	"github.com/typedbus/typedbus/bench/contest"
	"os"
	"os/signal"
	"time"
)

func main() {
	child := flag.String("child", "", "")
	var forr time.Duration
	flag.DurationVar(&forr, "for", time.Second, "")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *child != "" {
		if err := runChild(ctx, *child); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	s, err := startServer(ctx)
	if err != nil {
		panic(err)
	}
	defer s.stop()
	for i, name := range flag.Args() {
		s.FlushAll(ctx)
		sp := spec{Do: "throughput", Rival: name, Setup: contest.Setup{Redis: s.addr, Topic: fmt.Sprint("t", i), Dir: s.dir, Publishers: 64}, Publishers: 64, For: forr, Warmup: 300 * time.Millisecond}
		if name == "raw" || name == "typedbus-bytes" {
			sp.Batch, sp.Publishers = 200, 4
		}
		wait, err := startChild(ctx, sp)
		if err != nil {
			panic(err)
		}
		out, err := wait()
		fmt.Printf("%s %.0f/s cpu %.2f server %.2f allocs %.1f peak %dM %v\n", name, out.PerSecond, out.CPU, out.ServerCPU, out.Allocs, out.Peak>>20, err)
	}
}
