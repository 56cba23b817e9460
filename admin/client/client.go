// SPDX-License-Identifier: Apache-2.0

// Package client calls the admin API of Keytoll, over TCP or a unix socket.
//
//	c, err := client.New(client.Options{Address: "127.0.0.1:2021", Token: token})
//	key, err := client.Get[client.Key](ctx, c, "/v1/keys/key_…", nil)
//
// What the API answers comes back as a Record: the fields this package knows
// beside the JSON as it was sent.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DefaultAddress is where the admin API listens unless it is told otherwise.
const DefaultAddress = "http://127.0.0.1:2021"

// Options say how to reach an admin API.
type Options struct {
	// Address is http://host:port, https://host:port, host:port or a socket as
	// in unix//run/keytoll.sock. Default: DefaultAddress
	Address string
	// Token is the admin token; "" sends none.
	Token string
	// Timeout bounds each call but those that stream. Default: 30 s
	Timeout time.Duration
}

// Client calls one admin API. It may be used concurrently.
type Client struct {
	base    *url.URL
	address string // as people write it
	local   bool
	token   string
	timeout time.Duration
	http    *http.Client
}

// New returns a Client. It does no I/O.
func New(o Options) (*Client, error) {
	c := &Client{address: o.Address, token: o.Token, timeout: o.Timeout}
	if c.address == "" {
		c.address = DefaultAddress
	}
	if c.timeout == 0 {
		c.timeout = 30 * time.Second
	}
	transport := &http.Transport{
		ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}
	if socket, ok := socketPath(c.address); ok {
		c.local = true
		c.base = &url.URL{Scheme: "http", Host: "localhost"}
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
		}
	} else if err := c.parseAddress(); err != nil {
		return nil, err
	}
	c.http = &http.Client{
		Transport: transport,
		// The token goes to nobody but who was named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// socketPath returns the path in unix//run/x.sock, with or without |0660.
func socketPath(address string) (string, bool) {
	path, ok := strings.CutPrefix(address, "unix/")
	if !ok {
		path, ok = strings.CutPrefix(address, "unix://")
	}
	path, _, _ = strings.Cut(path, "|")
	return path, ok && path != ""
}

func (c *Client) parseAddress() error {
	address := c.address
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Hostname() == "" || strings.HasPrefix(c.address, "unix/") || base.Scheme != "http" && base.Scheme != "https" ||
		base.User != nil || base.RawQuery != "" || strings.Trim(base.Path, "/") != "" {
		return fmt.Errorf("%q is not an address: write http://127.0.0.1:2021, https://host:port or unix//run/keytoll.sock", c.address)
	}
	base.Path = ""
	c.base = base
	host := base.Hostname()
	ip := net.ParseIP(host)
	c.local = host == "localhost" || ip != nil && ip.IsLoopback()
	return nil
}

// Address returns where the API is, as it was written.
func (c *Client) Address() string { return c.address }

// Local reports whether the API is on this machine: on a socket or loopback.
func (c *Client) Local() bool { return c.local }

// WithToken returns a Client for the same API that shows another token.
func (c *Client) WithToken(token string) *Client {
	other := *c
	other.token = token
	return &other
}

// Error is a problem that the API answered with.
type Error struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Field     string `json:"field"` // that is wrong; "" where none is
	RequestID string `json:"request_id"`

	RetryAfter time.Duration `json:"-"` // 0: not said
}

func (e *Error) Error() string {
	text := e.Detail
	if text == "" {
		text = "the admin API answered " + strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	}
	if e.Field != "" && !strings.HasPrefix(text, e.Field+" ") {
		text = e.Field + ": " + text
	}
	return text
}

// ErrUnreachable says that nothing answers at the address, or not as the admin
// API does.
var ErrUnreachable = errors.New("the admin API cannot be reached")

// A Record is what the API answered.
type Record[T any] struct {
	Value T
	JSON  json.RawMessage // as it was sent
}

// UnmarshalJSON keeps the text beside what it says.
func (r *Record[T]) UnmarshalJSON(data []byte) error {
	r.JSON = bytes.Clone(data)
	return json.Unmarshal(data, &r.Value)
}

// MarshalJSON writes what was sent.
func (r Record[T]) MarshalJSON() ([]byte, error) { return r.JSON, nil }

// A Page is a part of a list, newest first.
type Page[T any] struct {
	Data       []Record[T] `json:"data"`
	HasMore    bool        `json:"has_more"`
	NextCursor string      `json:"next_cursor"` // for the parameter after
}

// Get reads one record.
func Get[T any](ctx context.Context, c *Client, path string, query url.Values) (Record[T], error) {
	return Call[T](ctx, c, http.MethodGet, path, query, nil)
}

// Call makes any call that takes JSON or nothing and answers with JSON. A POST
// carries an Idempotency-Key of its own, and is sent again once if its answer
// was lost. Errors: *Error, ErrUnreachable.
func Call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (record Record[T], err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent []byte
	if body != nil {
		if sent, err = json.Marshal(body); err != nil {
			return record, fmt.Errorf("writing the call: %w", err)
		}
	}
	header := http.Header{}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	tries := 1
	if method == http.MethodPost {
		header.Set("Idempotency-Key", rand.Text())
		tries = 2
	}
	var response *http.Response
	for range tries {
		response, err = c.send(ctx, method, path, query, header, bytes.NewReader(sent))
		if err == nil || ctx.Err() != nil || !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			break
		}
	}
	if err != nil {
		return record, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return record, fmt.Errorf("%w: reading the answer: %w", ErrUnreachable, err)
	}
	if err := json.Unmarshal(answer, &record); err != nil {
		return record, fmt.Errorf("%w: its answer is not JSON: %w", ErrUnreachable, err)
	}
	return record, nil
}

// Stream makes a call whose answer, or body, is long. The caller closes what it
// returns. contentType is that of body, if there is one.
func (c *Client) Stream(ctx context.Context, method, path string, query url.Values, contentType string, body io.Reader) (io.ReadCloser, error) {
	header := http.Header{}
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	response, err := c.send(ctx, method, path, query, header, body)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// send returns the answer where it is a success.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, header http.Header, body io.Reader) (*http.Response, error) {
	target := *c.base
	target.Path, target.RawQuery = path, query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("making the call: %w", err)
	}
	request.Header = header
	request.Header.Set("Accept", "application/json")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, problem(response)
}

// unreachable says why a call did not get through, without its URL.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.address, err)
}

const maxProblem = 64 << 10

func problem(response *http.Response) error {
	p := &Error{Status: response.StatusCode}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	if err == nil && strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") {
		if json.Unmarshal(answer, p) != nil {
			*p = Error{}
		}
		p.Status = response.StatusCode
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}

// All reads a list page by page until the caller has enough. After an error
// there is nothing more.
func All[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[Record[T], error] {
	return func(yield func(Record[T], error) bool) {
		asked := url.Values{}
		maps.Copy(asked, query)
		for {
			page, err := Get[Page[T]](ctx, c, path, asked)
			if err != nil {
				yield(Record[T]{}, err)
				return
			}
			for _, record := range page.Value.Data {
				if !yield(record, nil) {
					return
				}
			}
			if !page.Value.HasMore || page.Value.NextCursor == "" {
				return
			}
			asked.Set("after", page.Value.NextCursor)
		}
	}
}
