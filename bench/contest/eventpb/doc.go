// Package eventpb is the benchmark's event as a protobuf message.
package eventpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative event.proto
