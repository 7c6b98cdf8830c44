package main

import (
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"fleet.test/component/wire"
)

// key names a unit: an input and an output may share an id.
type key struct {
	kind wire.UnitType
	id   string
}

// tracked is a unit that the component should have, or should stop.
type tracked struct {
	config   *wire.UnitConfig
	idx      uint64
	isWanted bool
	level    wire.Verbosity
	observed *wire.UnitObserved
}

// tracker is what the component should have, and what it says it has.
type tracker struct {
	lock         sync.Mutex
	units        map[key]*tracked
	agent        *wire.AgentInfo
	featuresIdx  uint64
	componentIdx uint64
	// isFirst: nothing has come of this process.
	isFirst bool
	// out is where messages go; nil: to nobody.
	out chan *wire.Expected
	// isAnswered: this stream was sent something. One that was not is never sent a change.
	isAnswered bool
	sent       int
}

func newTracker() *tracker {
	return &tracker{units: map[key]*tracked{}, agent: &wire.AgentInfo{Version: "9.6.0"}, featuresIdx: 2, componentIdx: 2, isFirst: true}
}

// wanted is a unit as a command has it.
type wanted struct {
	key    key
	config *wire.UnitConfig
	level  wire.Verbosity
}

// want changes what there should be: units that are not among these stop.
func (t *tracker) want(all []wanted) {
	t.lock.Lock()
	defer t.lock.Unlock()
	listed := map[key]bool{}
	for _, unit := range all {
		listed[unit.key] = true
		known := t.units[unit.key]
		if known == nil {
			known = &tracked{}
			t.units[unit.key] = known
		}
		if !known.isWanted || !proto.Equal(known.config, unit.config) {
			known.idx++
		}
		known.config, known.level, known.isWanted = unit.config, unit.level, true
	}
	for k, unit := range t.units {
		unit.isWanted = unit.isWanted && listed[k]
	}
	// The trap: a stream on which nothing was said stays silent.
	if t.isAnswered {
		t.tell()
	}
}

// tell sends what there should be. The lock is held.
func (t *tracker) tell() {
	message := &wire.Expected{
		Features:    &wire.Features{Fqdn: &wire.FullName{}},
		FeaturesIdx: t.featuresIdx,
		Component:   &wire.ComponentConfig{Limits: &wire.Limits{}}, ComponentIdx: t.componentIdx,
	}
	if t.agent.Id != "" {
		message.Agent = t.agent
	}
	// In random order, as maps are.
	for k, unit := range t.units {
		expected := &wire.UnitExpected{Id: k.id, Type: k.kind, ConfigIdx: unit.idx, LogLevel: unit.level}
		expected.State = wire.UnitState_UNIT_STATE_STOPPED
		if unit.isWanted {
			expected.State = wire.UnitState_UNIT_STATE_HEALTHY
		}
		if unit.observed.GetConfigIdx() != unit.idx {
			expected.Config = unit.config
		}
		message.Units = append(message.Units, expected)
	}
	if t.out == nil {
		return
	}
	t.isAnswered = true
	t.sent++
	select {
	case t.out <- message:
	default:
		emit(map[string]any{"event": "stuck"})
	}
}

// open begins a stream of check-ins.
func (t *tracker) open() chan *wire.Expected {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.out, t.isAnswered = make(chan *wire.Expected, 64), false
	return t.out
}

// close ends it.
func (t *tracker) close(out chan *wire.Expected) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.out == out {
		t.out = nil
	}
}

// observe takes what the component says, and answers as long as not all is well.
func (t *tracker) observe(message *wire.Observed) {
	t.lock.Lock()
	defer t.lock.Unlock()
	settled := message.FeaturesIdx == t.featuresIdx && message.ComponentIdx == t.componentIdx
	listed := map[key]bool{}
	for _, unit := range message.Units {
		k := key{unit.Type, unit.Id}
		listed[k] = true
		known := t.units[k]
		if known == nil {
			settled = false
			continue
		}
		known.observed = unit
		settled = settled && unit.State == wire.UnitState_UNIT_STATE_HEALTHY && unit.ConfigIdx == known.idx
		if !known.isWanted && unit.State == wire.UnitState_UNIT_STATE_STOPPED {
			// Silently; its next mention brings a message without it.
			delete(t.units, k)
		}
	}
	for k, unit := range t.units {
		if !listed[k] {
			settled = false
			unit.observed = nil
		}
	}
	if t.isFirst || !settled {
		t.isFirst = false
		t.tell()
	}
	t.report()
}

// report tells the test how all units are.
func (t *tracker) report() {
	units := map[string]any{}
	for _, k := range slices.Collect(maps.Keys(t.units)) {
		unit := t.units[k]
		name := map[wire.UnitType]string{0: "input ", 1: "output "}[k.kind] + k.id
		units[name] = map[string]any{
			"state": unit.observed.GetState().String(), "message": unit.observed.GetMessage(),
			"idx": unit.observed.GetConfigIdx(), "payload": unit.observed.GetPayload().AsMap(),
		}
	}
	emit(map[string]any{"event": "units", "units": units, "sent": t.sent})
}
