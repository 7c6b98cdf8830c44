package main

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"fleet.test/component/chunks"
	"fleet.test/component/wire"
)

// serveCheckins keeps one stream of check-ins until it ends.
func (c *component) serveCheckins(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.CheckinV2(ctx)
	if err != nil {
		return err
	}
	first := c.observed()
	first.Version = &wire.VersionInfo{Name: "go-component", Meta: map[string]string{"language": "go"}, BuildHash: "cafe"}
	first.Supports = []wire.Feature{wire.Feature_FEATURE_CHUNKS}
	if err := c.send(stream, first); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- c.hear(stream) }()
	tick := time.NewTicker(c.heartbeat)
	defer tick.Stop()
	last := first
	for {
		isDue := false
		select {
		case err := <-failed:
			return err
		case <-c.changed:
		case <-tick.C:
			isDue = true
		}
		if c.isHung.Load() {
			continue
		}
		// Never only because the agent has said something: the two would not come to an end.
		if now := c.observed(); isDue || !same(now, last) {
			if err := c.send(stream, now); err != nil {
				return err
			}
			last = now
		}
	}
}

// same compares without the order of units, which is random.
func same(a, b *wire.Observed) bool {
	if len(a.Units) != len(b.Units) || a.FeaturesIdx != b.FeaturesIdx || a.ComponentIdx != b.ComponentIdx {
		return false
	}
	known := map[key]*wire.UnitObserved{}
	for _, u := range b.Units {
		known[key{u.Type, u.Id}] = u
	}
	for _, u := range a.Units {
		if !proto.Equal(u, known[key{u.Type, u.Id}]) {
			return false
		}
	}
	return true
}

func (c *component) send(stream wire.ElasticAgent_CheckinV2Client, message *wire.Observed) error {
	for _, piece := range chunks.Observed(message, c.pieces) {
		if err := stream.Send(piece); err != nil {
			return err
		}
	}
	return nil
}

func (c *component) hear(stream wire.ElasticAgent_CheckinV2Client) error {
	var pending chunks.Pending
	for {
		time.Sleep(time.Until(time.Unix(0, c.deafUntil.Load())))
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		if whole := pending.Take(message); whole != nil {
			c.expected(whole)
		}
	}
}
