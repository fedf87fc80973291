// Package docs has no code, only tests: what the documents show is compiled.
package docs
