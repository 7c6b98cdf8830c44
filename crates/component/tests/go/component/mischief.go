package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"

	"fleet.test/component/wire"
)

// misbehave does what no component should. Returns false if it does not know how.
func (c *component) misbehave(k key, how string) bool {
	switch how {
	case "hang":
		c.isHung.Store(true)
	case "exit":
		time.AfterFunc(100*time.Millisecond, func() { os.Exit(7) })
	case "flap":
		go c.flap(k)
	case "ghost":
		c.lock.Lock()
		c.ghost = "nobody"
		c.lock.Unlock()
		c.wake()
	case "flood":
		go flood()
	case "garbage":
		go c.garbage()
	case "loop":
		go c.loop()
	case "deaf":
		c.deafUntil.Store(time.Now().Add(2 * time.Second).UnixNano())
	default:
		return false
	}
	return true
}

// flap changes a state as fast as it can be said, and ends well.
func (c *component) flap(k key) {
	states := []wire.UnitState{
		wire.UnitState_UNIT_STATE_DEGRADED, wire.UnitState_UNIT_STATE_FAILED, wire.UnitState(99),
		wire.UnitState_UNIT_STATE_CONFIGURING, wire.UnitState_UNIT_STATE_HEALTHY,
	}
	for number := range 2000 {
		c.say(k, states[number%len(states)], fmt.Sprintf("flap %d", number))
		time.Sleep(time.Millisecond)
	}
	c.say(k, wire.UnitState_UNIT_STATE_HEALTHY, "flapped")
}

// loop has its check-ins sent without any pause.
func (c *component) loop() {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		c.lock.Lock()
		c.turn++
		c.lock.Unlock()
		c.wake()
	}
}

// flood writes what no log should hold.
func flood() {
	noise := make([]byte, 1<<20)
	// Never fails.
	_, _ = rand.Read(noise)
	for _, out := range []*os.File{os.Stdout, os.Stderr} {
		_, _ = out.Write(bytes.Repeat([]byte("x"), 8<<20))
		_, _ = out.Write([]byte("\n"))
		_, _ = out.Write(noise)
		_, _ = out.Write([]byte("\n{\"message\":{\"a\":[1]},\"log.level\":7,\"unit\":{\"id\":[]}}\n"))
		_, _ = out.Write(bytes.Repeat([]byte("{\"message\":\"\\u001b[31mred\"}\n"), 50_000))
	}
	fmt.Println(`{"message":"flooded"}`)
}

// raw sends bytes as they are.
type raw struct{}

func (raw) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }

func (raw) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = data
	return nil
}

func (raw) Name() string { return "proto" }

// garbage opens streams with what is no message, by a connection that is there and one stream for each.
func (c *component) garbage() {
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	for _, method := range []string{"/proto.ElasticAgent/CheckinV2", "/proto.ElasticAgent/Actions", "/proto.ElasticAgent/Nothing"} {
		for _, content := range [][]byte{{0xff, 0xff, 0xff}, bytes.Repeat([]byte{0x0a}, 100_000), {}} {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			stream, err := c.conn.NewStream(ctx, description, method, grpc.ForceCodec(raw{}))
			if err == nil {
				_ = stream.SendMsg(&content)
				var answer []byte
				err = stream.RecvMsg(&answer)
			}
			fmt.Printf("{\"message\":%q}\n", fmt.Sprintf("garbage: %v", err))
			cancel()
		}
	}
	fmt.Println(`{"message":"garbage: done"}`)
}
