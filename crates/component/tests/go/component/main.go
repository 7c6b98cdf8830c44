// A component in Go, on gRPC's own library and code that is generated from our .proto: what programs of others are,
// seen from an agent. It keeps to the rules as strictly as they do, and breaks them when an action tells it to.
//
// Input units say in their state what they were configured with. What it cannot accept ends it with code 3.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"fleet.test/component/wire"
)

// refused is the exit code of a component that cannot go on with what its agent says.
const refused = 3

// settings are arguments: those of the spec file, and whatever an agent puts behind them.
type settings []string

func (s *settings) String() string { return strings.Join(*s, " ") }

func (s *settings) Set(value string) error {
	*s = append(*s, value)
	return nil
}

func main() {
	var overrides settings
	flag.Var(&overrides, "E", "a setting; any is accepted")
	pieces := flag.Int("pieces", 0, "messages above this size in bytes are sent in pieces; 0: those above the agent's limit")
	heartbeat := flag.Duration("heartbeat", 25*time.Second, "how often the agent hears of the component at least")
	service := flag.String("service", "", "be a service of the system, which is told here how the agent is reached")
	flag.Parse()
	begin := func() error { return run(overrides, *pieces, *heartbeat) }
	if *service != "" {
		begin = func() error { return serve(*service, *heartbeat) }
	}
	if err := begin(); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(refused)
	}
}

func run(overrides settings, pieces int, heartbeat time.Duration) error {
	start, err := readStartUp(os.Stdin)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(overrides, func(text string) bool { return strings.HasPrefix(text, "path.data=") }) {
		return errors.New("no path.data among the arguments")
	}
	if os.Getenv("AGENT_COMPONENT_ID") == "" || os.Getenv("AGENT_COMPONENT_TYPE") == "" {
		return errors.New("no AGENT_COMPONENT_ID or AGENT_COMPONENT_TYPE in the environment")
	}
	conn, err := dial(start)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	c := newComponent(start, wire.NewElasticAgentClient(conn), conn)
	c.pieces, c.heartbeat = int(start.MaxMessageSize), heartbeat
	if pieces > 0 {
		c.pieces = pieces
	}
	go c.keep(ctx, "actions", c.serveActions)
	go c.keep(ctx, "check-ins", c.serveCheckins)
	select {
	case <-ctx.Done():
		fmt.Println(`{"log.level":"info","message":"stopped as it should"}`)
		return nil
	case err := <-c.fatal:
		return err
	}
}

// readStartUp reads all of it before it looks at it.
func readStartUp(from io.Reader) (*wire.StartUp, error) {
	bytes, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	start := &wire.StartUp{}
	if err := proto.Unmarshal(bytes, start); err != nil {
		return nil, err
	}
	if !slices.Contains(start.Services, wire.Service_SERVICE_CHECKIN_V2) {
		return nil, errors.New("the agent offers no check-ins of version 2")
	}
	if !slices.Contains(start.Supports, wire.Feature_FEATURE_CHUNKS) {
		return nil, errors.New("the agent takes no messages in pieces")
	}
	if start.MaxMessageSize == 0 || start.Token == "" || start.ServerName == "" || start.Agent.GetVersion() == "" {
		return nil, fmt.Errorf("the agent does not say all it should: %v", start)
	}
	return start, nil
}

func dial(start *wire.StartUp) (*grpc.ClientConn, error) {
	pair, err := tls.X509KeyPair(start.Certificate, start.Key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(start.Authority) {
		return nil, errors.New("the agent's authority is no certificate")
	}
	config := &tls.Config{
		ServerName:   start.ServerName,
		Certificates: []tls.Certificate{pair},
		RootCAs:      roots,
		MinVersion:   tls.VersionTLS12,
	}
	target := start.Address
	if !strings.Contains(target, "://") {
		target = "passthrough:///" + target
	}
	max := int(start.MaxMessageSize)
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(max), grpc.MaxCallSendMsgSize(max)))
}

// keep opens a stream again and again: after a second, and ever more slowly while it ends at once.
func (c *component) keep(ctx context.Context, name string, serve func(context.Context) error) {
	const first, longest = time.Second, 30 * time.Second
	pause := first
	for ctx.Err() == nil {
		began := time.Now()
		err := serve(ctx)
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintf(os.Stdout, "{\"log.level\":\"warn\",\"message\":%q}\n", fmt.Sprintf("%s ended: %v", name, err))
		if time.Since(began) >= first {
			pause = first
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(pause*2, longest)
	}
}
