package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"fleet.test/component/wire"
)

// key names a unit: an input and an output may share an id.
type key struct {
	kind wire.UnitType
	id   string
}

// unit is one that the agent wants.
type unit struct {
	idx     uint64
	level   wire.Verbosity
	config  *wire.UnitConfig
	state   wire.UnitState
	message string
}

// component is what there is on this side.
type component struct {
	start  *wire.StartUp
	client wire.ElasticAgentClient
	conn   *grpc.ClientConn
	pieces int
	// heartbeat is how often the agent hears of the component at least.
	heartbeat time.Duration
	fatal     chan error
	// changed holds something while the agent has not heard of it.
	changed chan struct{}
	// isHung: nothing is said any more.
	isHung atomic.Bool
	// deafUntil is the moment in nanoseconds until which nothing is read.
	deafUntil atomic.Int64

	lock         sync.Mutex
	units        map[key]*unit
	featuresIdx  uint64
	componentIdx uint64
	agent        *wire.AgentInfo
	// ghost is a unit that nobody wants, if it is to be told of.
	ghost string
	// pid is told by a service: its agent has not started it.
	pid   uint64
	heard int
	turn  int
}

func newComponent(start *wire.StartUp, client wire.ElasticAgentClient, conn *grpc.ClientConn) *component {
	return &component{
		start: start, client: client, conn: conn, agent: start.Agent,
		fatal: make(chan error, 1), changed: make(chan struct{}, 1), units: map[key]*unit{},
	}
}

// refuse ends the process: programs of others crash at such a message.
func (c *component) refuse(format string, values ...any) {
	select {
	case c.fatal <- fmt.Errorf(format, values...):
	default:
	}
}

// wake has the agent told how it is.
func (c *component) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// expected takes what there should be.
func (c *component) expected(message *wire.Expected) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.heard++
	c.featuresIdx, c.componentIdx = message.FeaturesIdx, message.ComponentIdx
	if message.FeaturesIdx < 2 || message.ComponentIdx < 2 || message.Features == nil || message.Component == nil {
		c.refuse("no features or limits in %v", message)
	}
	if message.Agent != nil {
		c.agent = message.Agent
	}
	if c.agent.GetId() != "" && message.Agent == nil {
		c.refuse("the agent has forgotten its id")
	}
	listed := map[key]bool{}
	for _, wanted := range message.Units {
		k := key{wanted.Type, wanted.Id}
		if listed[k] {
			c.refuse("the unit %v is there twice", k)
		}
		listed[k] = true
		c.take(k, wanted)
	}
	for k := range c.units {
		if !listed[k] {
			delete(c.units, k)
		}
	}
	c.wake()
}

func (c *component) take(k key, wanted *wire.UnitExpected) {
	known := c.units[k]
	switch wanted.State {
	case wire.UnitState_UNIT_STATE_STOPPED:
		if known == nil {
			known = &unit{}
			c.units[k] = known
		}
		known.idx, known.state, known.message = wanted.ConfigIdx, wire.UnitState_UNIT_STATE_STOPPED, "Stopped"
		return
	case wire.UnitState_UNIT_STATE_HEALTHY:
	default:
		c.refuse("the unit %v should be %v", k, wanted.State)
		return
	}
	if known == nil {
		if wanted.Config == nil || wanted.Config.Type == "" || wanted.Config.Source == nil {
			c.refuse("the new unit %v has no configuration, type or source", k)
			return
		}
		known = &unit{}
		c.units[k] = known
	}
	if wanted.ConfigIdx == 0 || wanted.ConfigIdx < known.idx {
		c.refuse("the unit %v has the index %d after %d", k, wanted.ConfigIdx, known.idx)
	}
	if wanted.Config == nil && wanted.ConfigIdx != known.idx {
		c.refuse("the unit %v has no configuration with the index %d", k, wanted.ConfigIdx)
		return
	}
	if wanted.Config != nil {
		known.config = wanted.Config
	}
	known.idx, known.level = wanted.ConfigIdx, wanted.LogLevel
	known.state, known.message = wire.UnitState_UNIT_STATE_HEALTHY, known.describe()
}

// describe says what a unit was configured with.
func (u *unit) describe() string {
	source := u.config.Source.AsMap()
	text, _ := source["greet"].(string)
	blob, _ := source["blob"].(string)
	return fmt.Sprintf("greet=%s blob=%d idx=%d level=%v type=%s", text, len(blob), u.idx, u.level, u.config.Type)
}

// observed says how it is.
func (c *component) observed() *wire.Observed {
	c.lock.Lock()
	defer c.lock.Unlock()
	message := &wire.Observed{
		Token: c.start.Token, FeaturesIdx: c.featuresIdx, ComponentIdx: c.componentIdx, Pid: c.pid,
	}
	for k, u := range c.units {
		payload, err := structpb.NewStruct(map[string]any{"heard": float64(c.heard), "agent": c.agent.GetId(), "turn": float64(c.turn)})
		if err != nil {
			c.refuse("%v", err)
		}
		message.Units = append(message.Units, &wire.UnitObserved{
			Id: k.id, Type: k.kind, ConfigIdx: u.idx, State: u.state, Message: u.message, Payload: payload,
		})
	}
	if c.ghost != "" {
		message.Units = append(message.Units, &wire.UnitObserved{
			Id: c.ghost, State: wire.UnitState_UNIT_STATE_HEALTHY, Message: "boo", ConfigIdx: 7,
		})
	}
	return message
}

// say changes how a unit is.
func (c *component) say(k key, state wire.UnitState, message string) {
	c.lock.Lock()
	if u := c.units[k]; u != nil {
		u.state, u.message = state, message
	}
	c.lock.Unlock()
	c.wake()
}

// has tells whether there is such a unit.
func (c *component) has(k key) bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.units[k] != nil
}
