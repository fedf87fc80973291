// Package simulate runs the engine of package bus on the memory transport while everything that can fail does: at random, from
// a seed, on the virtual clock of testing/synctest. It has only tests.
//
// Between the engine and the transport stands one that injects faults at every call of the contract, and watches whether the
// engine keeps its side of it. Processes come, crash, stall and drain. What happened becomes a history, which is judged as one of
// real processes is. A seed that fails is printed with the command that repeats it.
package simulate
