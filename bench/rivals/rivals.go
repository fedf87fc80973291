// Package rivals has what typedbus is measured against, each set up as its own documentation recommends for speed.
package rivals

import (
	"slices"

	"github.com/typedbus/typedbus/bench/contest"
)

// All are those that a run can name, typedbus in its variants among them.
func All() []contest.Rival {
	return []contest.Rival{
		typedBus(),
		typedBusStandard(),
		typedBusBytes(),
		typedBusTelemetry(),
		typedBusInMemory(),
		typedBusMsgPack(),
		typedBusProtobuf(),
		rawBatches(),
		rawSingle(),
		autoPipeline(),
		watermill(),
		manyWatermills(),
		asynqTasks(),
		manyAsynqs(),
		natsFile(),
		goChannel(),
	}
}

// Named is one of All.
func Named(name string) (contest.Rival, bool) {
	i := slices.IndexFunc(All(), func(r contest.Rival) bool { return r.Name == name })
	if i < 0 {
		return contest.Rival{}, false
	}
	return All()[i], true
}
