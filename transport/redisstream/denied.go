package redisstream

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// denied names the rule that is missing, as far as the answer tells: which command, or that it is a key. What a script was
// denied Redis 7.0 does not tell, so probes find it out.
func (t *Transport) denied(op, key string, err error) string {
	if _, rest, ok := strings.Cut(err.Error(), "run the '"); ok {
		if command, _, ok := strings.Cut(rest, "'"); ok {
			return missingRules([]string{"+" + printable(command, 64)})
		}
	}
	stream := streamOf(key)
	if redis.HasErrorPrefix(err, scriptDenied70) && strings.Contains(err.Error(), "run this command") {
		if rules := t.probed(stream, probesOf(op)); len(rules) > 0 {
			return missingRules(rules)
		}
	}
	return missingRules([]string{"~" + stream + " ~{" + stream + "}:*"})
}

// probed are the rules that probes find missing, none if they cannot find out.
func (t *Transport) probed(stream string, probes func(keys) []probe) []string {
	ctx, cancel := context.WithTimeout(t.ctx, typeTimeout)
	defer cancel()
	node, err := t.reads.node(ctx, stream)
	if err != nil {
		return nil
	}
	k := topicKeys("", stream)
	rules, err := lacking(ctx, node, k, probes(k))
	if err != nil {
		return nil
	}
	return rules
}

// deniedStage is err or, if it is that what was staged may not be published, what says so: the user may do all else.
func (t *Transport) deniedStage(staged []transport.Staged, err error) error {
	if len(staged) == 0 || !isDenied(err) {
		return err
	}
	for i := range staged {
		probes := publishProbes
		if !staged[i].NotBefore.IsZero() {
			probes = func(k keys) []probe { return append(publishProbes(k), delayProbes(k)...) }
		}
		if rules := t.probed(t.keys(staged[i].Topic.Name).stream, probes); len(rules) > 0 {
			return &failure{"redisstream: publish " + staged[i].Topic.Name + " through an event: " + missingRules(rules), []error{err}}
		}
	}
	return err
}
