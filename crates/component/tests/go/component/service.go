package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"fleet.test/component/wire"
)

// again is how long a service waits before it asks again for an agent.
const again = 100 * time.Millisecond

// serve is a service of the system: agents come and go, and it asks each of them how it is reached.
func serve(place string, heartbeat time.Duration) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	fmt.Printf("process %d serves\n", os.Getpid())
	c := newComponent(&wire.StartUp{}, nil, nil)
	c.heartbeat, c.pid = heartbeat, uint64(os.Getpid())
	for ctx.Err() == nil {
		if err := c.meet(ctx, place); err != nil {
			fmt.Println("no agent:", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
	fmt.Println("stopped as it should")
	return nil
}

// meet serves one agent until one of the streams ends.
func (c *component) meet(ctx context.Context, place string) error {
	start, err := ask(place)
	if err != nil {
		return err
	}
	conn, err := dial(start)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.greet(start, conn)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- c.serveActions(ctx) }()
	go func() { ended <- c.serveCheckins(ctx) }()
	select {
	case err = <-ended:
	case err := <-c.fatal:
		fmt.Println("refused:", err)
		os.Exit(refused)
	}
	cancel()
	<-ended
	return err
}

// greet forgets what the agent before has said, but not what it was configured with.
func (c *component) greet(start *wire.StartUp, conn *grpc.ClientConn) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.start, c.client, c.conn, c.agent = start, wire.NewElasticAgentClient(conn), conn, start.Agent
	c.pieces = int(start.MaxMessageSize)
}

// ask reads what is told at a socket or port.
func ask(place string) (*wire.StartUp, error) {
	network, address := "tcp", place
	if path, is := strings.CutPrefix(place, "unix://"); is {
		network, address = "unix", path
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return readStartUp(conn)
}
