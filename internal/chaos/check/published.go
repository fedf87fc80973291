package check

// published looks at what a publisher was told of one event: I1, I2, I10.
func (c *checker) published(e *event) {
	switch {
	case e.published != 0:
		c.report.Published++
	case e.tries > 0:
		c.report.Unknown++
	}
	c.stored(e)
	c.madeUp(e)
	if e.published != 0 && e.finished == 0 && e.letters == 0 {
		c.unaccounted(e)
	}
}

func (c *checker) stored(e *event) {
	seen := e.first != 0 || e.stored > 0 || e.letters > 0
	if seen && e.refused != 0 && e.published == 0 && e.tries == 0 && !e.open {
		c.breach(UnknownAtMost, "stored against its word", e, "the publisher was told %s that it is not stored, but %s",
			c.when(e.refused), c.whereSeen(e))
	}
	if e.stored > 1 && (c.p.Dedup || e.tries == 0) {
		c.breach(UnknownAtMost, "stored twice", e, "it is stored %d times, and %d publishes of it have an unknown outcome", e.stored, e.tries)
	}
}

func (c *checker) madeUp(e *event) {
	switch {
	case e.publishing == 0 && (e.first != 0 || e.letters > 0 || e.effects > 0):
		c.breach(NothingMadeUp, "never published", e, "nobody published it, but %s", c.whereSeen(e))
	case e.first != 0 && c.runs[e.first-1].start < e.publishing:
		c.breach(NothingMadeUp, "handled before it was published", e, "%s, and it was published %s", c.whereSeen(e), c.when(e.publishing))
	}
}

func (c *checker) whereSeen(e *event) string {
	switch {
	case e.first != 0:
		n := &c.runs[e.first-1]
		return c.name(n) + " began it " + c.when(n.start)
	case e.letters > 0:
		return "it is a dead letter"
	case e.effects > 0:
		return "it has an effect"
	}
	return "it is stored"
}

// unaccounted takes an event that was confirmed, and was neither handled nor given up.
func (c *checker) unaccounted(e *event) {
	if c.p.MayLose && c.losesBetween(e.publishing, never) {
		c.report.Lost++
		return
	}
	c.missing = append(c.missing, e)
}

// lost names what is missing, unless the broker still has as much: then it is not lost but left.
func (c *checker) lost() {
	if c.held() >= int64(len(c.missing)) {
		return
	}
	c.report.Lost += len(c.missing)
	for _, e := range c.missing {
		c.breach(NothingLost, "lost", e, "its publish was confirmed %s, then %s, and at the end it is nowhere", c.when(e.published), c.fate(e))
	}
}

func (c *checker) fate(e *event) string {
	if e.first == 0 {
		return "no handler ever began it"
	}
	n := &c.runs[e.last-1]
	s := c.name(n) + " began it " + c.when(n.start)
	switch {
	case e.dead > 0:
		return s + " and gave it up, but there is no letter of it"
	case n.end != 0:
		return s + " and failed " + c.when(n.end)
	}
	return s + " and did not return"
}

func (c *checker) held() int64 {
	return max(c.end.Pending, 0) + max(c.end.Delayed, 0) + max(c.end.Undelivered, 0)
}

// left looks at what the broker holds in the end: I7.
func (c *checker) left() {
	if c.held() == 0 {
		return
	}
	const kind, text = "left", "in the end %d are pending, %d delayed and %d undelivered; those named have no end on record"
	suspects := c.missing
	for i := range c.events {
		if e := &c.events[i]; len(c.missing) == 0 && e.last != 0 && e.letters == 0 && c.runs[e.last-1].settled == 0 {
			suspects = append(suspects, e)
		}
	}
	for _, e := range append(suspects, nil)[:max(1, len(suspects))] {
		c.breach(NothingLeft, kind, e, text, c.end.Pending, c.end.Delayed, c.end.Undelivered)
	}
}

// letters looks at the dead letters of one event: I6.
func (c *checker) letters(e *event) {
	if e.letters > 0 {
		c.dead++
		if c.p.MaxDead >= 0 && c.dead > c.p.MaxDead {
			c.breach(DeadOnce, "more given up than may be", e, "there are letters of more events than the %d that may fail", c.p.MaxDead)
		}
	}
	if copies := c.copies(e); e.letters > copies {
		c.breach(DeadOnce, "two letters", e, "it is %d dead letters", e.letters)
	} else if e.dead > copies && !c.p.MayRewind {
		c.breach(DeadOnce, "given up twice", e, "the broker has confirmed %d times that it is dead", e.dead)
	}
}

// effects looks at what the handlers did outside: I9.
func (c *checker) effects(e *event) {
	switch {
	case !c.p.OneEffect:
	case e.effects > 1:
		c.breach(EffectOnce, "several effects", e, "it has %d effects", e.effects)
	case e.effects == 0 && e.finished > 0:
		c.breach(EffectOnce, "no effect", e, "%s and finished it, and it has no effect", c.whereSeen(e))
	}
}
