package main

import (
	"encoding/json"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"fleet.test/component/chunks"
	"fleet.test/component/wire"
)

// firstMessage is how long a stream may take for its first message.
const firstMessage = 5 * time.Second

// service is what components connect to.
type service struct {
	wire.UnimplementedElasticAgentServer
	tracker *tracker
	token   string
	// pieces: messages above this size in bytes are sent in pieces.
	pieces int

	lock      sync.Mutex
	isOpen    [2]bool
	isGoing   bool
	requests  chan *wire.ActionRequest
	responses map[string]chan *wire.ActionResponse
}

// first waits for the first message of a stream.
func first[M any](receive func() (M, error)) (M, error) {
	type received struct {
		message M
		err     error
	}
	done := make(chan received, 1)
	go func() {
		message, err := receive()
		done <- received{message, err}
	}()
	select {
	case it := <-done:
		return it.message, it.err
	case <-time.After(firstMessage):
		var none M
		return none, status.Error(codes.DeadlineExceeded, "no first message")
	}
}

// enter admits a stream of its kind, of which there is one.
func (s *service) enter(kind int, token string) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	switch {
	case token != s.token:
		return status.Error(codes.PermissionDenied, "unknown token")
	case s.isGoing:
		return status.Error(codes.Unavailable, "the component is being stopped")
	case s.isOpen[kind]:
		return status.Error(codes.AlreadyExists, "there is such a stream")
	}
	s.isOpen[kind] = true
	return nil
}

func (s *service) leave(kind int) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.isOpen[kind] = false
}

// going: from now on no stream is opened, and what is said is not heard.
func (s *service) going() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.isGoing = true
}

func (s *service) CheckinV2(stream grpc.BidiStreamingServer[wire.Observed, wire.Expected]) error {
	observed, err := first(stream.Recv)
	if err != nil {
		return err
	}
	if err := s.enter(0, observed.Token); err != nil {
		return err
	}
	defer s.leave(0)
	takesPieces := len(observed.Supports) > 0
	if observed.Version.GetName() == "" {
		emit(map[string]any{"event": "nameless"})
	}
	out := s.tracker.open()
	defer s.tracker.close(out)
	emit(map[string]any{"event": "opened", "features_idx": observed.FeaturesIdx, "units": len(observed.Units), "pieces": takesPieces})
	failed := make(chan error, 2)
	go func() {
		for {
			select {
			case message := <-out:
				for _, piece := range s.split(message, takesPieces) {
					if err := stream.Send(piece); err != nil {
						failed <- err
						return
					}
				}
			case <-stream.Context().Done():
				return
			}
		}
	}()
	go func() {
		for {
			if observed.Token != s.token {
				failed <- status.Error(codes.PermissionDenied, "another token")
				return
			}
			s.tracker.observe(observed)
			if observed, err = stream.Recv(); err != nil {
				failed <- err
				return
			}
		}
	}()
	if err := <-failed; err != io.EOF {
		return err
	}
	return nil
}

func (s *service) split(message *wire.Expected, takesPieces bool) []*wire.Expected {
	if !takesPieces || s.pieces == 0 {
		return []*wire.Expected{message}
	}
	return chunks.Expected(message, s.pieces)
}

func (s *service) Actions(stream grpc.BidiStreamingServer[wire.ActionResponse, wire.ActionRequest]) error {
	response, err := first(stream.Recv)
	if err != nil {
		return err
	}
	if response.Id != "init" {
		return status.Error(codes.InvalidArgument, "no init")
	}
	if err := s.enter(1, response.Token); err != nil {
		return err
	}
	defer s.leave(1)
	emit(map[string]any{"event": "actions"})
	failed := make(chan error, 1)
	go func() {
		for {
			response, err := stream.Recv()
			if err != nil {
				failed <- err
				return
			}
			s.lock.Lock()
			answer := s.responses[response.Id]
			delete(s.responses, response.Id)
			s.lock.Unlock()
			if answer != nil {
				answer <- response
			}
		}
	}()
	for {
		select {
		case request := <-s.requests:
			if err := stream.Send(request); err != nil {
				return err
			}
		case err := <-failed:
			return err
		}
	}
}

// ask has the component do something, and tells the test what came of it.
func (s *service) ask(request *wire.ActionRequest) {
	answer := make(chan *wire.ActionResponse, 1)
	s.lock.Lock()
	s.responses[request.Id] = answer
	s.lock.Unlock()
	s.requests <- request
	response := <-answer
	files := map[string]string{}
	for _, file := range response.Diagnostics {
		files[file.Filename] = string(file.Content)
	}
	var result any
	if err := json.Unmarshal(response.Result, &result); err != nil {
		result = err.Error()
	}
	emit(map[string]any{"event": "answer", "id": request.Id, "status": response.Status.String(), "result": result, "files": files})
}

// severed is a listener whose connections can all be cut.
type severed struct {
	net.Listener
	lock  sync.Mutex
	conns map[net.Conn]bool
}

func (s *severed) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err == nil {
		s.lock.Lock()
		s.conns[conn] = true
		s.lock.Unlock()
	}
	return conn, err
}

func (s *severed) sever() {
	s.lock.Lock()
	defer s.lock.Unlock()
	for conn := range s.conns {
		// It may be closed already.
		_ = conn.Close()
	}
	s.conns = map[net.Conn]bool{}
}
