// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long one answer may take.
const patience = 10 * time.Second

// A load is what clients send to one address, over connections that stay open.
type load struct {
	address     string
	requests    [][]byte // sent in turn; each is a whole HTTP/1.1 request
	connections int
}

// The header fields that clients send beside the key's: an SDK of a large API,
// and curl.
const (
	sdkHeader = "User-Agent: Example/JS 4.2.0\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\nContent-Type: application/json\r\n" +
		"X-Sdk-Lang: js\r\nX-Sdk-Package-Version: 4.2.0\r\nX-Sdk-Os: Linux\r\nX-Sdk-Arch: x64\r\nX-Sdk-Runtime: node\r\n" +
		"X-Sdk-Runtime-Version: 24.1.0\r\nX-Sdk-Retry-Count: 0\r\nX-Sdk-Timeout: 600\r\n"
	curlHeader = "User-Agent: curl/8.14.1\r\nAccept: */*\r\n"
)

// request returns a GET with a secret in X-API-Key, as an SDK sends it.
func request(address, secret string) []byte { return requestAs(sdkHeader, address, secret) }

func requestAs(header, address, secret string) []byte {
	return fmt.Appendf(nil, "GET /v1/items/42?fields=name HTTP/1.1\r\nHost: %s\r\n%sX-Api-Key: %s\r\n\r\n", address, header, secret)
}

// run sends n requests as fast as they are answered.
func (l *load) run(ctx context.Context, n int) error {
	_, err := l.send(ctx, n, 0)
	return err
}

// paced sends n requests at so many a second and returns how long each took,
// shortest first. A request that had to wait for a free connection is timed
// from the moment it was due.
func (l *load) paced(ctx context.Context, n, perSecond int) ([]time.Duration, error) {
	took, err := l.send(ctx, n, perSecond)
	slices.Sort(took)
	return took, err
}

func (l *load) send(ctx context.Context, n, perSecond int) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var clients sync.WaitGroup
	took := make([]time.Duration, n)
	begin := time.Now()
	for range min(l.connections, n) {
		clients.Go(func() {
			if err := l.client(ctx, begin, perSecond, &next, took); err != nil {
				cancel(err)
			}
		})
	}
	clients.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("sending to %s: %w", l.address, err)
	}
	return took, nil
}

// client takes the next request until none is left.
func (l *load) client(ctx context.Context, begin time.Time, perSecond int, next *atomic.Int64, took []time.Duration) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	answers := bufio.NewReaderSize(conn, 4<<10)
	for {
		i := int(next.Add(1) - 1)
		if i >= len(took) || ctx.Err() != nil {
			return nil
		}
		from := time.Now()
		if perSecond > 0 {
			due := begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
			if wait := due.Sub(from); wait > 0 {
				time.Sleep(wait)
				from = time.Now()
			} else {
				from = due
			}
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write(l.requests[i%len(l.requests)]); err != nil {
			return err
		}
		if err := readAnswer(answers); err != nil {
			return err
		}
		took[i] = time.Since(from)
	}
}

// readAnswer reads one answer to its end. Any but a 200 of known length is an error.
func readAnswer(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("the answer is %q", bytes.TrimSpace(line))
	}
	length := -1
	for {
		line, err = r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("the answer names no length: %w", io.ErrUnexpectedEOF)
	}
	_, err = r.Discard(length)
	return err
}

// percentile returns the p-th of 100 parts of sorted durations.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
