package simulate_test

import "flag"

var (
	seeds = flag.Int("seeds", defaultSeeds, "how many seeds to run")
	first = flag.Uint64("seed", 0, "the first seed")
	trace = flag.Bool("trace", false, "print the history of a seed that fails")
)
