// A supervisor in Go, on gRPC's own library and code that is generated from our .proto: what agents of others are, seen
// from a component. It reads commands from its standard input and writes what happens to its standard output, a line
// of JSON each. The end of its input ends it and the component.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"fleet.test/component/wire"
)

// longestCommand is what a line of a command takes at most, in bytes.
const longestCommand = 16 << 20

var output sync.Mutex

// emit tells the test what has happened.
func emit(event map[string]any) {
	output.Lock()
	defer output.Unlock()
	line, err := json.Marshal(event)
	if err != nil {
		line = fmt.Appendf(nil, `{"event":"error","error":%q}`, err.Error())
	}
	fmt.Println(string(line))
}

// command is a line of the test.
type command struct {
	Do     string `json:"do"`
	ID     string `json:"id"`
	Units  []unit `json:"units"`
	Pieces int    `json:"pieces"`
	// Of an action.
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	Level string `json:"level"`
	// Of a request.
	URL  string          `json:"url"`
	Key  string          `json:"key"`
	Body json.RawMessage `json:"body"`
}

// unit is one that there should be.
type unit struct {
	ID       string         `json:"id"`
	IsOutput bool           `json:"is_output"`
	Level    int32          `json:"level"`
	Source   map[string]any `json:"source"`
}

func (u unit) wanted() (wanted, error) {
	source, err := structpb.NewStruct(u.Source)
	if err != nil {
		return wanted{}, err
	}
	k := key{wire.UnitType_UNIT_TYPE_INPUT, u.ID}
	kind, _ := u.Source["type"].(string)
	config := &wire.UnitConfig{Source: source, Type: kind, DataStream: &wire.DataStream{}}
	if u.IsOutput {
		k.kind = wire.UnitType_UNIT_TYPE_OUTPUT
	} else {
		config.Id, _ = u.Source["id"].(string)
		config.Name, _ = u.Source["name"].(string)
	}
	return wanted{key: k, config: config, level: wire.Verbosity(u.Level)}, nil
}

func main() {
	home := flag.String("home", "", "a directory")
	component := flag.String("component", "", "the component's id")
	kind := flag.String("type", "", "the type of its inputs")
	flag.Parse()
	if err := run(*home, *component, *kind, flag.Arg(0), flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(home, component, kind, program string, arguments []string) error {
	a, err := newAgent(home, component, kind, program, arguments, 0, 0)
	if err != nil {
		return err
	}
	defer func() { a.stop() }()
	server, err := newAuthority()
	if err != nil {
		return err
	}
	certificate, err := server.make("localhost")
	if err != nil {
		return err
	}
	emit(map[string]any{
		"event": "ready", "authority": string(server.pem),
		"certificate": string(certificate.certificate), "key": string(certificate.key),
	})
	var units []wanted
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestCommand)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		switch c.Do {
		case "want":
			units = nil
			for _, unit := range c.Units {
				wanted, err := unit.wanted()
				if err != nil {
					return err
				}
				units = append(units, wanted)
			}
			a.tracker.want(units)
		case "spawn":
			if err := a.spawn(); err != nil {
				return err
			}
		case "again":
			// An agent that has enrolled, or was upgraded, starts anew.
			port := a.port()
			a.stop()
			if a, err = newAgent(home, component, kind, program, arguments, port, c.Pieces); err != nil {
				return err
			}
			a.tracker.agent.Id = c.ID
			a.tracker.want(units)
			if err := a.spawn(); err != nil {
				return err
			}
		case "sever":
			a.listener.sever()
		case "ask":
			go a.service.ask(request(c))
		case "post":
			go post(server, c)
		default:
			return fmt.Errorf("%q is no command", c.Do)
		}
	}
	return lines.Err()
}

func request(c command) *wire.ActionRequest {
	request := &wire.ActionRequest{Id: c.ID, Name: c.Name, UnitId: c.Unit}
	switch c.Level {
	case "component":
		request.Type, request.Level = wire.ActionType_ACTION_TYPE_DIAGNOSTICS, wire.ActionLevel_ACTION_LEVEL_COMPONENT
		request.Params = []byte(`{"additional_metrics":["CONN"]}`)
	case "unit":
		request.Type, request.Level = wire.ActionType_ACTION_TYPE_DIAGNOSTICS, wire.ActionLevel_ACTION_LEVEL_UNIT
	default:
		request.Params = []byte(`{"id":"x"}`)
	}
	return request
}

// post speaks to the server that runs as a component, over TLS, as an agent does.
func post(server *authority, c command) {
	roots := x509.NewCertPool()
	roots.AddCert(server.certificate)
	client := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
	}
	request, err := http.NewRequest(http.MethodPost, c.URL, strings.NewReader(string(c.Body)))
	if err != nil {
		emit(map[string]any{"event": "posted", "id": c.ID, "error": err.Error()})
		return
	}
	request.Header.Set("Authorization", "ApiKey "+c.Key)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Elastic Agent v9.6.0")
	request.Header.Set("elastic-api-version", "2023-06-01")
	answer, err := client.Do(request)
	if err != nil {
		emit(map[string]any{"event": "posted", "id": c.ID, "error": err.Error()})
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	var body any
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	emit(map[string]any{"event": "posted", "id": c.ID, "status": answer.StatusCode, "body": body, "error": fmt.Sprint(err)})
}
