// A collector for tests: the OpAMP client of OpenTelemetry (opamp-go), driven from outside.
//
// It reads lines from standard input, `ill <reason>` and `well`, and writes a line to standard output for each
// thing that happens: `connected`, `config <hash> <body>`, `restart`, `failed <reason>`, `error <text>`. The end
// of its input ends it.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/open-telemetry/opamp-go/client"
	"github.com/open-telemetry/opamp-go/client/types"
	"github.com/open-telemetry/opamp-go/protobufs"
)

// quiet is a logger of what goes wrong alone: standard output is for the test.
type quiet struct{}

func (quiet) Debugf(context.Context, string, ...any) {}

func (quiet) Errorf(_ context.Context, format string, values ...any) {
	log.Printf(format, values...)
}

// collector is what the client asks and tells.
type collector struct {
	client client.OpAMPClient
	out    sync.Mutex
	lock   sync.Mutex
	// config is the configuration that runs.
	config string
}

func main() {
	url := flag.String("url", "", "of the server: https:// for plain HTTP, wss:// for WebSocket")
	ca := flag.String("ca", "", "file with the certificate of the server's authority")
	key := flag.String("key", "", "enrolment key")
	uid := flag.String("uid", "", "instance id, 32 hexadecimal digits")
	flag.Parse()
	if err := run(*url, *ca, *key, *uid); err != nil {
		log.Fatal(err)
	}
}

func run(url, ca, key, uid string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in %s", ca)
	}
	id, err := hex.DecodeString(uid)
	if err != nil || len(id) != 16 {
		return fmt.Errorf("-uid must have 32 hexadecimal digits")
	}
	agent := &collector{config: "exporters: {otlp: {headers: {authorization: hunter2}}}"}
	if strings.HasPrefix(url, "ws") {
		agent.client = client.NewWebSocket(quiet{})
	} else {
		agent.client = client.NewHTTP(quiet{})
	}
	if err := agent.start(url, key, &tls.Config{RootCAs: roots}, types.InstanceUid(id)); err != nil {
		return err
	}
	agent.obey()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return agent.client.Stop(ctx)
}

func (agent *collector) start(url, key string, config *tls.Config, id types.InstanceUid) error {
	capabilities := protobufs.AgentCapabilities_AgentCapabilities_ReportsStatus |
		protobufs.AgentCapabilities_AgentCapabilities_AcceptsRemoteConfig |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsRemoteConfig |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsEffectiveConfig |
		protobufs.AgentCapabilities_AgentCapabilities_AcceptsRestartCommand |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsHealth |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsHeartbeat
	if err := agent.client.SetHealth(well(time.Now())); err != nil {
		return err
	}
	if err := agent.client.SetCapabilities(&capabilities); err != nil {
		return err
	}
	description := &protobufs.AgentDescription{
		IdentifyingAttributes: []*protobufs.KeyValue{
			text("service.name", "opamp-go"),
			text("service.version", "1.2.3"),
		},
		NonIdentifyingAttributes: []*protobufs.KeyValue{text("host.name", "go-1"), text("os.type", "linux")},
	}
	if err := agent.client.SetAgentDescription(description); err != nil {
		return err
	}
	heartbeat := time.Second
	return agent.client.Start(context.Background(), types.StartSettings{
		OpAMPServerURL:    url,
		Header:            http.Header{"Authorization": []string{"ApiKey " + key}},
		TLSConfig:         config,
		InstanceUid:       id,
		HeartbeatInterval: &heartbeat,
		EnableCompression: true,
		Callbacks: types.Callbacks{
			OnConnect:          func(context.Context) { agent.say("connected") },
			OnConnectFailed:    func(_ context.Context, err error) { agent.say("failed %v", err) },
			OnError:            func(_ context.Context, err *protobufs.ServerErrorResponse) { agent.say("error %s", err.ErrorMessage) },
			OnMessage:          agent.message,
			GetEffectiveConfig: agent.effective,
			OnCommand: func(context.Context, *protobufs.ServerToAgentCommand) error {
				agent.say("restart")
				return agent.client.SetHealth(well(time.Now()))
			},
		},
	})
}

// well says that all is well since the collector started.
func well(started time.Time) *protobufs.ComponentHealth {
	return &protobufs.ComponentHealth{Healthy: true, Status: "StatusOK", StartTimeUnixNano: uint64(started.UnixNano())}
}

// obey does what standard input says, until it ends.
func (agent *collector) obey() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		health := &protobufs.ComponentHealth{Healthy: true, Status: "StatusOK"}
		if reason, ill := strings.CutPrefix(lines.Text(), "ill "); ill {
			health = &protobufs.ComponentHealth{Healthy: false, LastError: reason}
		}
		if err := agent.client.SetHealth(health); err != nil {
			agent.say("error %v", err)
		}
	}
}

// message takes a configuration that is offered: one with the receiver `broken` cannot be run.
func (agent *collector) message(ctx context.Context, message *types.MessageData) {
	offered := message.RemoteConfig
	if offered == nil {
		return
	}
	body := string(offered.GetConfig().GetConfigMap()[""].GetBody())
	status := &protobufs.RemoteConfigStatus{
		LastRemoteConfigHash: offered.GetConfigHash(),
		Status:               protobufs.RemoteConfigStatuses_RemoteConfigStatuses_APPLIED,
	}
	if strings.Contains(body, "broken") {
		status.Status = protobufs.RemoteConfigStatuses_RemoteConfigStatuses_FAILED
		status.ErrorMessage = "unknown receiver: broken"
	} else {
		agent.lock.Lock()
		agent.config = body
		agent.lock.Unlock()
	}
	agent.say("config %x %s", offered.GetConfigHash(), strings.Join(strings.Fields(body), ""))
	if err := agent.client.SetRemoteConfigStatus(status); err != nil {
		agent.say("error %v", err)
	}
	if err := agent.client.UpdateEffectiveConfig(ctx); err != nil {
		agent.say("error %v", err)
	}
}

func (agent *collector) effective(context.Context) (*protobufs.EffectiveConfig, error) {
	agent.lock.Lock()
	defer agent.lock.Unlock()
	file := &protobufs.AgentConfigFile{Body: []byte(agent.config), ContentType: "text/yaml"}
	files := map[string]*protobufs.AgentConfigFile{"": file}
	return &protobufs.EffectiveConfig{ConfigMap: &protobufs.AgentConfigMap{ConfigMap: files}}, nil
}

func (agent *collector) say(format string, values ...any) {
	agent.out.Lock()
	defer agent.out.Unlock()
	fmt.Printf(format+"\n", values...)
}

func text(key, value string) *protobufs.KeyValue {
	of := &protobufs.AnyValue{Value: &protobufs.AnyValue_StringValue{StringValue: value}}
	return &protobufs.KeyValue{Key: key, Value: of}
}
