package dlq_test

import "context"

var children = map[string]func(ctx context.Context, url string) error{}

func runChild(f func(context.Context, string) error, url string) {}
