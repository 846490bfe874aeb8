// Uses a server as Go programs do, with Ollama's package api, and prints as JSON what it saw.
// drive URL FILE: the server has the models smollm2 and all-minilm; FILE is smollm2's GGUF file.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/ollama/ollama/api"
)

const (
	model    = "smollm2"
	question = "What is the capital of France?"
)

var (
	ctx     = context.Background()
	client  *api.Client
	no      = false
	options = map[string]any{"temperature": 0, "num_predict": 12}
	long    = &api.GenerateRequest{Model: model, Prompt: "Write a very long story.",
		Options: map[string]any{"num_predict": 4000, "num_ctx": 8192}}
)

// failure is what an action that must fail says.
func failure(err error) map[string]any {
	if err == nil {
		return nil
	}
	said := map[string]any{"message": err.Error(), "cancelled": errors.Is(err, context.Canceled)}
	var status api.StatusError
	if errors.As(err, &status) {
		said["status"] = status.StatusCode
		said["error"] = status.ErrorMessage
	}
	return said
}

func generate(stream *bool) (any, error) {
	var parts []api.GenerateResponse
	err := client.Generate(ctx, &api.GenerateRequest{Model: model, Prompt: question, Options: options, Stream: stream},
		func(r api.GenerateResponse) error {
			parts = append(parts, r)
			return nil
		})
	return parts, err
}

func chat(stream *bool) (any, error) {
	var parts []api.ChatResponse
	request := &api.ChatRequest{Model: model, Messages: []api.Message{{Role: "user", Content: question}}, Options: options, Stream: stream}
	err := client.Chat(ctx, request, func(r api.ChatResponse) error {
		parts = append(parts, r)
		return nil
	})
	return parts, err
}

func chatJSON() (any, error) {
	var text string
	request := &api.ChatRequest{Model: model, Messages: []api.Message{{Role: "user", Content: question}}, Stream: &no,
		Options: map[string]any{"temperature": 0, "num_predict": 60},
		Format:  json.RawMessage(`{"type":"object","properties":{"city":{"type":"string","maxLength":20}},"required":["city"]}`)}
	err := client.Chat(ctx, request, func(r api.ChatResponse) error {
		text = r.Message.Content
		return nil
	})
	if err != nil {
		return nil, err
	}
	var answer map[string]any
	return answer, json.Unmarshal([]byte(text), &answer)
}

func create(request *api.CreateRequest) (any, error) {
	var states []string
	err := client.Create(ctx, request, func(r api.ProgressResponse) error {
		states = append(states, r.Status)
		return nil
	})
	return states, err
}

func createFromBlob(path string) (any, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err = io.Copy(hash, file); err != nil {
		return nil, err
	}
	if _, err = file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	digest := fmt.Sprintf("sha256:%x", hash.Sum(nil))
	if err = client.CreateBlob(ctx, digest, file); err != nil {
		return nil, err
	}
	return create(&api.CreateRequest{Model: "go-a", Files: map[string]string{"m.gguf": digest}, System: "Be brief."})
}

// abort gives up after three parts, either by an error of its own or by cancelling the request.
func abort(own bool) (any, error) {
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	n, enough := 0, errors.New("enough")
	err := client.Generate(stop, long, func(api.GenerateResponse) error {
		if n++; n == 3 {
			if own {
				return enough
			}
			cancel()
		}
		return nil
	})
	return map[string]any{"n": n, "own": errors.Is(err, enough), "error": failure(err)}, nil
}

func abortWaiting() (any, error) {
	stop, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	request := *long
	request.Stream = &no
	err := client.Generate(stop, &request, func(api.GenerateResponse) error { return nil })
	return errors.Is(err, context.DeadlineExceeded), nil
}

func deleteAll(names ...string) (any, error) {
	for _, name := range names {
		if err := client.Delete(ctx, &api.DeleteRequest{Model: name}); err != nil {
			return nil, err
		}
	}
	return true, nil
}

func unload() (any, error) {
	var last api.GenerateResponse
	err := client.Generate(ctx, &api.GenerateRequest{Model: model, KeepAlive: &api.Duration{}}, func(r api.GenerateResponse) error {
		last = r
		return nil
	})
	return last.DoneReason, err
}

func main() {
	base, err := url.Parse(os.Args[1])
	if err != nil {
		panic(err)
	}
	client = api.NewClient(base, http.DefaultClient)
	minute := &api.Duration{Duration: time.Minute}
	saw := map[string]any{}
	for _, action := range []struct {
		name string
		run  func() (any, error)
	}{
		{"heartbeat", func() (any, error) { return true, client.Heartbeat(ctx) }},
		{"version", func() (any, error) { return client.Version(ctx) }},
		{"list", func() (any, error) { return client.List(ctx) }},
		{"show", func() (any, error) { return client.Show(ctx, &api.ShowRequest{Model: model}) }},
		{"show_verbose", func() (any, error) {
			r, err := client.Show(ctx, &api.ShowRequest{Model: model, Verbose: true})
			if err != nil {
				return nil, err
			}
			return len(r.Tensors), nil
		}},
		{"generate", func() (any, error) { return generate(&no) }},
		{"generate_stream", func() (any, error) { return generate(nil) }},
		{"chat", func() (any, error) { return chat(&no) }},
		{"chat_stream", func() (any, error) { return chat(nil) }},
		{"format", chatJSON},
		{"embed", func() (any, error) {
			return client.Embed(ctx, &api.EmbedRequest{Model: "all-minilm", Input: []string{"one", "two"}, KeepAlive: minute})
		}},
		{"embeddings", func() (any, error) {
			r, err := client.Embeddings(ctx, &api.EmbeddingRequest{Model: "all-minilm", Prompt: "one"})
			if err != nil {
				return nil, err
			}
			return len(r.Embedding), nil
		}},
		{"create", func() (any, error) { return createFromBlob(os.Args[2]) }},
		{"create_from", func() (any, error) {
			return create(&api.CreateRequest{Model: "go-b", From: "go-a", Parameters: map[string]any{"temperature": 0.5, "stop": []string{"x"}}})
		}},
		{"copy", func() (any, error) {
			return true, client.Copy(ctx, &api.CopyRequest{Source: "go-b", Destination: "go-c"})
		}},
		{"show_copy", func() (any, error) { return client.Show(ctx, &api.ShowRequest{Model: "go-c"}) }},
		{"delete", func() (any, error) { return deleteAll("go-a", "go-b", "go-c") }},
		{"show_deleted", func() (any, error) {
			_, err := client.Show(ctx, &api.ShowRequest{Model: "go-a"})
			return failure(err), nil
		}},
		{"unknown_model", func() (any, error) {
			return failure(client.Generate(ctx, &api.GenerateRequest{Model: "nothing-here"}, func(api.GenerateResponse) error { return nil })), nil
		}},
		{"ps", func() (any, error) { return client.ListRunning(ctx) }},
		{"abort_own", func() (any, error) { return abort(true) }},
		{"abort_cancel", func() (any, error) { return abort(false) }},
		{"abort_waiting", abortWaiting},
		{"unload", unload},
		{"generate_after", func() (any, error) { return generate(&no) }},
	} {
		started := time.Now()
		result, err := action.run()
		if err != nil {
			result = map[string]any{"failed": err.Error()}
		}
		saw[action.name] = result
		fmt.Fprintf(os.Stderr, "%s: %d ms\n", action.name, time.Since(started).Milliseconds())
	}
	if err := json.NewEncoder(os.Stdout).Encode(saw); err != nil {
		panic(err)
	}
}
