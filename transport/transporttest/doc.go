// Package transporttest is the contract of package transport, executed: a transport that passes [Run] can stand behind
// the bus.
//
// The suite is a table of clauses. Each quotes a sentence of the contract and checks it; a failure prints the sentence that
// is broken. It needs nothing but the standard library.
//
//	func TestContract(t *testing.T) {
//		transporttest.Run(t, transporttest.Harness{
//			Broker: func(t testing.TB) transporttest.Broker {
//				srv := startServer(t)
//				return transporttest.Broker{
//					Open:  func() transport.Transport { return mine.Open(srv.Addr) },
//					Crash: func(s transport.Subscription) { mine.Crash(s) },
//				}
//			},
//		})
//	}
package transporttest
