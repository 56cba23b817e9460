// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Object is a JSON object of the admin API.
type Object map[string]any

// Try makes an admin call and returns its status and answer. An error says that
// nothing, or not all of the answer, came back.
func (g *Gateway) Try(method, path string, body any) (int, Object, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, g.Admin+path, reader)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+g.Token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := g.Client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, err
	}
	var answer Object
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &answer); err != nil {
			return 0, nil, fmt.Errorf("%s %s: %w in %q", method, path, err, raw)
		}
	}
	return res.StatusCode, answer, nil
}

// Call is Try for calls that are answered.
func (g *Gateway) Call(method, path string, body any) (int, Object) {
	g.T.Helper()
	status, answer, err := g.Try(method, path, body)
	if err != nil {
		g.T.Fatal(err)
	}
	return status, answer
}

// Must is Call for calls that succeed.
func (g *Gateway) Must(method, path string, body any) Object {
	g.T.Helper()
	status, answer := g.Call(method, path, body)
	if status >= http.StatusMultipleChoices {
		g.T.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

// Mint makes a key and returns its id and secret.
func (g *Gateway) Mint(fields Object) (id, secret string) {
	g.T.Helper()
	answer := g.Must(http.MethodPost, "/v1/keys", fields)
	id, _ = answer["id"].(string)
	secret, _ = answer["api_key"].(string)
	if id == "" || secret == "" {
		g.T.Fatalf("minting a key: no id or secret in %v", answer)
	}
	*g.secrets = append(*g.secrets, secret)
	return id, secret
}

// Get calls the sold API and returns the status; the body is read to its end.
func (g *Gateway) Get(path, secret string) int {
	res, err := g.Send(path, secret) //nolint:bodyclose // Send has closed it
	if err != nil {
		g.T.Error(err)
		return 0
	}
	return res.StatusCode
}

// Send calls the sold API; the body of what it returns was read to its end.
func (g *Gateway) Send(path, secret string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodGet, g.URL+path, nil)
	if err != nil {
		return nil, err
	}
	if secret != "" {
		req.Header.Set("X-API-Key", secret)
	}
	res, err := g.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// Used returns how many requests the key's usage shows.
func (g *Gateway) Used(key string) int64 {
	g.T.Helper()
	requests, ok := g.Must(http.MethodGet, "/v1/keys/"+key+"/usage", nil)["requests"].(float64)
	if !ok {
		g.T.Fatal("no requests in the key's usage")
	}
	return int64(requests)
}
