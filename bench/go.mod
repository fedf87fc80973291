module github.com/typedbus/typedbus/bench

go 1.26.0

replace github.com/typedbus/typedbus => ../

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	golang.org/x/sys v0.49.0
)

require github.com/stretchr/testify v1.12.1 // indirect
