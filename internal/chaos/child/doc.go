// Package child has the processes that are broken in a chaos run: publishers and consumers that write down what they do.
//
// A run starts them with a [Spec] in their environment. They print "ready" before they begin, and end well on SIGTERM.
package child
