package transport

// A Claim names what a group handles once, and who does it now. It stands here so that a transport can keep claims, beside
// the messages that they are about, for middleware that it does not import.
type Claim struct {
	Topic, Group string
	Key          string // what is handled once: the message's id, or what the application says; any bytes
	Owner        string // who handles it; no two tries have the same
}
