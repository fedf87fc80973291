// Package claimtest is the contract of [middleware.Claims], executed: a store that passes [Run] can stand behind
// [middleware.Idempotent].
//
// The suite is a table of clauses. Each quotes a sentence of the contract and checks it; a failure prints the sentence that
// is broken. It needs nothing but the standard library.
//
//	func TestClaims(t *testing.T) {
//		srv := startServer(t)
//		claimtest.Run(t, claimtest.Harness{
//			Store: func(t testing.TB) func() middleware.Claims {
//				return func() middleware.Claims { return mine.Open(t, srv.Addr) }
//			},
//		})
//	}
package claimtest
