package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"fleet.test/component/wire"
)

// maxMessage is the size of a message in bytes that agents allow.
const maxMessage = 100 << 20

// grace is how long a component has to stop: what its spec file gives, less 5 seconds.
const grace = 25 * time.Second

// agent is one run of an agent: another one has another authority and token, at the same port.
type agent struct {
	authority *authority
	name      string
	own       pair
	service   *service
	server    *grpc.Server
	listener  *severed
	tracker   *tracker
	program   string
	arguments []string
	home      string
	component string
	kind      string
	process   *exec.Cmd
	exited    chan struct{}
}

// newAgent listens at a port; 0 is a free one.
func newAgent(home, component, kind, program string, arguments []string, port, pieces int) (*agent, error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	name := newName()
	own, err := authority.make(name)
	if err != nil {
		return nil, err
	}
	config, err := authority.tlsConfig(name, own)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	a := &agent{
		authority: authority, name: name, own: own, tracker: newTracker(), program: program, arguments: arguments,
		home: home, component: component, kind: kind,
		listener: &severed{Listener: listener, conns: map[net.Conn]bool{}},
	}
	a.service = &service{
		tracker: a.tracker, token: newName(), pieces: pieces,
		requests: make(chan *wire.ActionRequest, 16), responses: map[string]chan *wire.ActionResponse{},
	}
	a.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(config)),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	wire.RegisterElasticAgentServer(a.server, a.service)
	go func() {
		// It ends when the agent does.
		_ = a.server.Serve(a.listener)
	}()
	return a, nil
}

func (a *agent) port() int {
	return a.listener.Addr().(*net.TCPAddr).Port
}

// spawn starts the component as agents do.
func (a *agent) spawn() error {
	work := filepath.Join(a.home, "run", a.component)
	if err := os.MkdirAll(work, 0o770); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(a.component))
	socket := filepath.Join(a.home, base64.RawURLEncoding.EncodeToString(sum[:24])+".sock")
	arguments := append([]string{}, a.arguments...)
	arguments = append(arguments,
		"-E", "http.enabled=true", "-E", "http.host=unix://"+socket, "-E", "http.pprof.enabled=true",
		"-E", "http.buffer.enabled=true", "-E", "logging.metrics.enabled=false", "-E", "path.data="+work)
	command := exec.Command(a.program, arguments...)
	command.Dir = work
	command.Env = append(os.Environ(), "AGENT_COMPONENT_ID="+a.component, "AGENT_COMPONENT_TYPE="+a.kind)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(filepath.Join(a.home, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	command.Stdout, command.Stderr = log, log
	stdin, err := command.StdinPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	message, err := proto.Marshal(&wire.StartUp{
		Address: fmt.Sprintf("localhost:%d", a.port()), ServerName: a.name, Token: a.service.token,
		Authority: a.authority.pem, Certificate: a.own.certificate, Key: a.own.key,
		Services: []wire.Service{wire.Service_SERVICE_CHECKIN_V2}, Supports: []wire.Feature{wire.Feature_FEATURE_CHUNKS},
		MaxMessageSize: maxMessage, Agent: a.tracker.agent,
	})
	if err != nil {
		return err
	}
	if _, err := stdin.Write(message); err != nil {
		return err
	}
	if err := stdin.Close(); err != nil {
		return err
	}
	a.process, a.exited = command, make(chan struct{})
	emit(map[string]any{"event": "spawned", "pid": command.Process.Pid})
	go func() {
		err := command.Wait()
		_ = log.Close()
		emit(map[string]any{"event": "exited", "code": command.ProcessState.ExitCode(), "error": fmt.Sprint(err)})
		close(a.exited)
	}()
	return nil
}

// stop asks the component to end by a signal alone, and ends it after its grace.
func (a *agent) stop() {
	a.service.going()
	if a.process != nil {
		// It may have ended.
		_ = a.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-a.exited:
		case <-time.After(grace):
			emit(map[string]any{"event": "killed"})
			_ = a.process.Process.Kill()
			<-a.exited
		}
	}
	a.server.Stop()
}
