// Package arch has no code, only tests: they hold who may import whom and the habits of the house. A failure says the rule
// in words and what to do instead. Each rule is also shown a small breach, to prove that it would fail.
package arch
