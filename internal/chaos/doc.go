// Package chaos breaks what a bus stands on, for real, and counts what is lost and what is handled twice.
//
// Its tests start redis-server processes, publishers and consumers as processes of their own, kill, stop and cut them, and have
// package check judge what all of them wrote down. docs/reliability.md tells what is tested; `make chaos` runs it all, TestChaos
// with -rows=G1,G2 some of it.
package chaos
