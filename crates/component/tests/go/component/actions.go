package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"fleet.test/component/wire"
)

// serveActions keeps one stream of actions until it ends.
func (c *component) serveActions(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.Actions(ctx)
	if err != nil {
		return err
	}
	init := &wire.ActionResponse{Token: c.start.Token, Id: "init", Result: []byte("{}")}
	if err := stream.Send(init); err != nil {
		return err
	}
	var lock sync.Mutex
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		go func() {
			response := c.answer(request)
			response.Token, response.Id = c.start.Token, request.Id
			lock.Lock()
			defer lock.Unlock()
			// A stream that has ended is noticed by who reads it.
			_ = stream.Send(response)
		}()
	}
}

func failed(reason string) *wire.ActionResponse {
	result, _ := json.Marshal(map[string]string{"error": reason})
	return &wire.ActionResponse{Status: wire.ActionStatus_ACTION_STATUS_FAILED, Result: result}
}

func (c *component) answer(request *wire.ActionRequest) *wire.ActionResponse {
	switch request.Type {
	case wire.ActionType_ACTION_TYPE_CUSTOM:
		return c.custom(request)
	case wire.ActionType_ACTION_TYPE_DIAGNOSTICS:
		return c.diagnostics(request)
	default:
		return failed("action type unknown")
	}
}

func (c *component) custom(request *wire.ActionRequest) *wire.ActionResponse {
	k := key{request.UnitType, request.UnitId}
	if !c.has(k) {
		return failed("action unit not found")
	}
	var params struct {
		Data struct {
			Do   string `json:"do"`
			Whom string `json:"whom"`
		} `json:"data"`
	}
	if err := json.Unmarshal(request.Params, &params); err != nil {
		return failed("action params failed to be un-marshaled")
	}
	began := time.Now()
	result := map[string]any{"name": request.Name}
	switch params.Data.Do {
	case "greet":
		result["greeted"] = params.Data.Whom
	case "tell":
		// The agent's own actions, which are passed on, and what they came with.
		result["params"] = json.RawMessage(request.Params)
	case "":
		if request.Name == os.Getenv("AGENT_COMPONENT_TYPE") {
			return failed("action undefined")
		}
		fmt.Printf("{\"log.level\":\"info\",\"message\":\"the agent does %s\"}\n", request.Name)
	default:
		if !c.misbehave(k, params.Data.Do) {
			return failed("action undefined")
		}
	}
	result["started_at"] = began.UTC().Format(time.RFC3339Nano)
	result["completed_at"] = time.Now().UTC().Format(time.RFC3339Nano)
	bytes, err := json.Marshal(result)
	if err != nil {
		return failed("action result failed to be marshaled")
	}
	return &wire.ActionResponse{Result: bytes}
}

func (c *component) diagnostics(request *wire.ActionRequest) *wire.ActionResponse {
	file := &wire.Diagnostic{
		Name: "unit", Filename: "unit.txt", Description: "One unit", ContentType: "text/plain",
		Content: []byte(request.UnitId + "\n"), Generated: timestamppb.Now(),
	}
	if request.Level == wire.ActionLevel_ACTION_LEVEL_COMPONENT {
		var params struct {
			Metrics []string `json:"additional_metrics"`
		}
		if err := json.Unmarshal(request.Params, &params); err != nil {
			return failed("action params failed to be un-marshaled")
		}
		file.Name, file.Filename, file.Description = "measured", "measured.txt", "What was to be measured"
		file.Content = fmt.Appendf(nil, "%v\n", params.Metrics)
	}
	return &wire.ActionResponse{Result: []byte("{}"), Diagnostics: []*wire.Diagnostic{file}}
}
