package claimtest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

const (
	saysStates = "A claim is in one of three states: absent; running, with an owner and a time at which it expires by itself; done, until it is forgotten."
	saysNames  = "Topic, group and key name it, all three; a key is any bytes."
	saysOthers = "Its methods may be called concurrently, by many processes."
	saysStep   = "Each is one step: of two calls one is first."

	saysBegin      = "Begin makes an absent or expired claim running, for its owner, until expiry has passed, and returns false and 0."
	saysBeginTaken = "Of a claim that is done it returns true; of one that runs for another owner, how long it still has, more than 0."
	saysBeginAgain = "A claim that runs for the same owner is begun again."

	saysRenew        = "Renew lets claims that run for their owners expire later: expiry from now."
	saysRenewLost    = "It returns those that do not any more."
	saysRenewExpired = "A claim that is absent because it expired is begun again."

	saysFinish      = "Finish makes a claim done, and keeps it so for the given time."
	saysFinishLate  = "What was done is done: neither that the claim has expired nor that another owner has it meanwhile is an error."
	saysFinishTwice = "Finishing twice is no error."

	saysRelease       = "Release makes a claim absent that runs for this owner."
	saysReleaseOthers = "All others stay as they are, and that is no error."
)

// clauses is the whole suite, in the order of the contract.
var clauses = []clause{
	{"topic-group-and-key-name-a-claim", saysNames, func(e *env) {
		for i, c := range []transport.Claim{
			{Topic: e.topic, Group: "g", Key: "k"}, {Topic: e.topic, Group: "G", Key: "k"}, {Topic: e.topic, Group: "g", Key: "K"},
			{Topic: e.topic, Group: "g", Key: ""}, {Topic: e.topic, Group: "g", Key: "k "}, {Topic: e.topic + "k", Group: "g", Key: "k"},
			{Topic: e.topic, Group: "g.g", Key: "k"}, {Topic: e.topic, Group: "g", Key: "g.k"}, {Topic: e.topic + ".g", Group: "g", Key: "k"},
			{Topic: e.topic, Group: "g", Key: "g:k"}, {Topic: e.topic, Group: "g", Key: "g/k"}, {Topic: e.topic, Group: "g", Key: "g k"},
		} {
			c.Owner = fmt.Sprint(i)
			e.begins(e.half(i), c, long)
		}
	}},
	{"a-key-is-any-bytes", saysNames, func(e *env) {
		keys := []string{"\x00", "a\x00b", "a\x00c", "\xff\xfe", "\xff\xff", "'; --", `"\`, "%_*?[]{}:", "\n", "\r\n", "é", "e\u0301",
			longKey + "1", longKey + "2"}
		for _, k := range keys {
			e.begins(e.a, e.claim(k, "1"), long)
		}
		for i, k := range keys {
			e.runs(e.b, e.claim(k, "2"), long)
			if i%2 == 0 {
				e.finish(e.a, e.claim(k, "1"), long)
				e.isDone(e.b, e.claim(k, "2"))
				continue
			}
			e.renew(e.b, long, []transport.Claim{e.claim(k, "1"), e.claim(k, "2")}, e.claim(k, "2"))
			e.release(e.a, e.claim(k, "1"))
			e.begins(e.b, e.claim(k, "2"), long)
		}
	}},
	{"running-claims-expire", saysStates, func(e *env) {
		since := time.Now()
		e.begins(e.a, e.claim("k", "1"), e.h.Expiry)
		e.comesFree(e.claim("k", "2"), since, running)
	}},
	{"done-claims-are-forgotten", saysStates, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), long)
		since := time.Now()
		e.finish(e.a, e.claim("k", "1"), e.h.Expiry)
		e.comesFree(e.claim("k", "2"), since, done)
	}},
	{"many-begin-one-claim", saysStep, func(e *env) {
		for round := range 10 {
			e.oneBegins(fmt.Sprint(round))
		}
	}},
	{"many-begin-an-expired-claim", saysStep, func(e *env) {
		e.begins(e.a, e.claim("k", "0"), e.h.Expiry)
		e.wait(2 * e.h.Expiry)
		e.oneBegins("k")
	}},
	{"many-work-at-the-same-time", saysOthers, func(e *env) {
		e.begins(e.a, e.claim("all", "0"), long)
		e.together(8, func(n int) {
			for i := range 10 {
				c, all := e.claim(fmt.Sprint(n, ".", i), fmt.Sprint(n+1)), e.claim("all", fmt.Sprint(n+1))
				e.begins(e.half(n), c, long)
				e.renew(e.half(n), long, []transport.Claim{c, all}, all)
				if i%2 == 0 {
					e.release(e.half(n), c)
					continue
				}
				e.finish(e.half(n), c, long)
				e.finish(e.half(n), all, long)
				e.isDone(e.half(n), c)
			}
		})
	}},
	{"an-absent-claim-is-begun", saysBegin, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), long)
		e.runs(e.b, e.claim("k", "2"), long)
	}},
	{"an-expired-claim-is-begun", saysBegin, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), e.h.Expiry)
		e.wait(2 * e.h.Expiry)
		e.begins(e.b, e.claim("k", "2"), long)
		e.runs(e.a, e.claim("k", "1"), long)
	}},
	{"a-done-claim-is-not-begun", saysBeginTaken, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), long)
		e.finish(e.a, e.claim("k", "1"), long)
		e.isDone(e.b, e.claim("k", "2"))
		e.isDone(e.a, e.claim("k", "1"))
	}},
	{"how-long-a-claim-still-has", saysBeginTaken, func(e *env) {
		since := time.Now()
		e.begins(e.a, e.claim("k", "1"), long)
		e.wait(e.h.Expiry)
		wait := e.runs(e.b, e.claim("k", "2"), long-e.h.Expiry)
		if least := long - time.Since(since); wait < least-e.slack() {
			e.broken("it is said to have only %v; at least %v would be right", wait, least)
		}
	}},
	{"the-same-owner-begins-again", saysBeginAgain, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), e.h.Expiry)
		e.begins(e.b, e.claim("k", "1"), long)
		e.wait(2 * e.h.Expiry)
		e.runs(e.a, e.claim("k", "2"), long)
	}},
	{"renewed-claims-expire-later", saysRenew, func(e *env) {
		one, two := e.claim("1", "1"), e.claim("2", "2")
		e.begins(e.a, one, e.h.Expiry)
		e.begins(e.a, two, e.h.Expiry)
		e.renew(e.b, long, []transport.Claim{one, two})
		e.wait(2 * e.h.Expiry)
		e.runs(e.b, e.claim("1", "3"), long)
		e.runs(e.b, e.claim("2", "3"), long)
	}},
	{"renewed-claims-expire", saysRenew, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), long)
		since := time.Now()
		e.renew(e.a, e.h.Expiry, []transport.Claim{e.claim("k", "1")})
		e.comesFree(e.claim("k", "2"), since, running)
	}},
	{"renewing-many", saysRenew, func(e *env) {
		var mine, lost []transport.Claim
		for i := range 300 {
			c := e.claim(fmt.Sprint(i), "1")
			if i%100 == 50 {
				e.begins(e.b, e.claim(c.Key, "2"), long)
				lost = append(lost, c)
			}
			mine = append(mine, c)
		}
		e.renew(e.a, long, mine, lost...)
		e.runs(e.b, e.claim("0", "2"), long)
		e.runs(e.b, e.claim("299", "2"), long)
		e.begins(e.b, e.claim("50", "2"), long)
		e.renew(e.a, long, nil)
	}},
	{"claims-of-others-are-lost", saysRenewLost, func(e *env) {
		e.begins(e.a, e.claim("mine", "1"), e.h.Expiry)
		e.begins(e.b, e.claim("other", "2"), long)
		e.begins(e.b, e.claim("done", "2"), long)
		e.finish(e.b, e.claim("done", "2"), long)
		e.renew(e.a, long, []transport.Claim{e.claim("other", "1"), e.claim("mine", "1"), e.claim("done", "1")}, e.claim("other", "1"), e.claim("done", "1"))
		e.wait(2 * e.h.Expiry)
		e.runs(e.b, e.claim("mine", "2"), long)
		e.isDone(e.a, e.claim("done", "1"))
	}},
	{"claims-of-others-are-not-renewed", saysRenewLost, func(e *env) {
		e.begins(e.b, e.claim("k", "2"), long)
		e.renew(e.a, 2*long, []transport.Claim{e.claim("k", "1")}, e.claim("k", "1"))
		e.runs(e.a, e.claim("k", "1"), long)
		e.renew(e.a, e.h.Expiry, []transport.Claim{e.claim("k", "1")}, e.claim("k", "1"))
		e.wait(2 * e.h.Expiry)
		e.runs(e.a, e.claim("k", "1"), long)
	}},
	{"two-owners-of-one-claim-in-one-call", saysRenewLost, func(e *env) {
		e.begins(e.a, e.claim("k", "2"), long)
		e.renew(e.a, long, []transport.Claim{e.claim("k", "1"), e.claim("k", "2"), e.claim("k", "3")}, e.claim("k", "1"), e.claim("k", "3"))
		e.runs(e.b, e.claim("k", "1"), long)
	}},
	{"an-expired-claim-is-renewed", saysRenewExpired, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), e.h.Expiry)
		e.wait(2 * e.h.Expiry)
		e.renew(e.a, long, []transport.Claim{e.claim("k", "1")})
		e.runs(e.b, e.claim("k", "2"), long)
	}},
	{"finishing-keeps-for-the-given-time", saysFinish, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), e.h.Expiry)
		e.finish(e.a, e.claim("k", "1"), long)
		e.wait(2 * e.h.Expiry)
		e.isDone(e.b, e.claim("k", "2"))
	}},
	{"finishing-an-expired-claim", saysFinishLate, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), e.h.Expiry)
		e.wait(2 * e.h.Expiry)
		e.finish(e.a, e.claim("k", "1"), long)
		e.isDone(e.b, e.claim("k", "2"))
		e.finish(e.a, e.claim("never begun", "1"), long)
		e.isDone(e.b, e.claim("never begun", "2"))
	}},
	{"finishing-what-another-has", saysFinishLate, func(e *env) {
		e.begins(e.b, e.claim("k", "2"), e.h.Expiry)
		e.finish(e.a, e.claim("k", "1"), long)
		e.isDone(e.b, e.claim("k", "2"))
		e.renew(e.b, long, []transport.Claim{e.claim("k", "2")}, e.claim("k", "2"))
		e.release(e.b, e.claim("k", "2"))
		e.wait(2 * e.h.Expiry)
		e.isDone(e.a, e.claim("k", "3"))
	}},
	{"finishing-twice", saysFinishTwice, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), long)
		e.finish(e.a, e.claim("k", "1"), long)
		e.finish(e.a, e.claim("k", "1"), long)
		e.isDone(e.b, e.claim("k", "2"))
	}},
	{"a-released-claim-is-absent", saysRelease, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), long)
		e.release(e.b, e.claim("k", "1"))
		e.begins(e.b, e.claim("k", "2"), long)
	}},
	{"claims-of-others-are-not-released", saysReleaseOthers, func(e *env) {
		e.begins(e.b, e.claim("other", "2"), long)
		e.release(e.a, e.claim("other", "1"))
		e.runs(e.a, e.claim("other", "1"), long)
		e.release(e.a, e.claim("absent", "1"))
		e.begins(e.a, e.claim("absent", "1"), long)
	}},
	{"what-is-done-is-not-released", saysReleaseOthers, func(e *env) {
		e.begins(e.a, e.claim("k", "1"), long)
		e.finish(e.a, e.claim("k", "1"), long)
		e.release(e.a, e.claim("k", "1"))
		e.isDone(e.b, e.claim("k", "2"))
	}},
}

// longKey is longer than what an index of a database may take, and cannot be compressed.
var longKey = func() string {
	b := make([]byte, 4000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}()

// half is what the nth of many processes uses.
func (e *env) half(n int) middleware.Claims {
	if n%2 == 0 {
		return e.a
	}
	return e.b
}

// oneBegins sees that of many who begin a claim at the same time one succeeds.
func (e *env) oneBegins(key string) {
	e.Helper()
	var mu sync.Mutex
	saw := map[string]int{}
	e.together(16, func(n int) {
		s := e.begin(e.half(n), e.claim(key, fmt.Sprint(n+1)), long)
		mu.Lock()
		defer mu.Unlock()
		saw[s.name()]++
	})
	if saw[begun] != 1 || saw[running] != 15 {
		e.broken("of 16 calls at the same time %d have begun the claim, and %d saw that it runs for another", saw[begun], saw[running])
	}
}

// together runs f n times at the same time.
func (e *env) together(n int, f func(n int)) {
	e.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
