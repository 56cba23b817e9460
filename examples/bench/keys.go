// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/plugin/apikey"
)

// keysPerCustomer is how many of the imported keys belong to one customer.
const keysPerCustomer = 4

// secretOf returns the secret of the i-th imported key: always the same, so
// that a directory can be measured again.
func secretOf(i int) (apikey.Secret, error) {
	seed := sha256.Sum256([]byte("keytoll bench " + strconv.Itoa(i)))
	return apikey.Mint("sk", apikey.Live, bytes.NewReader(seed[:]))
}

// requestsOf returns a request with the key of each of n numbers i·step.
func requestsOf(address string, n, step int) ([][]byte, error) {
	requests := make([][]byte, 0, n)
	for i := range n {
		secret, err := secretOf(i * step)
		if err != nil {
			return nil, err
		}
		requests = append(requests, request(address, secret.Reveal()))
	}
	return requests, nil
}

// writeImport writes n lines for POST /v1/keys/import to a file.
func writeImport(path string, n int) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	for i := range n {
		secret, err := secretOf(i)
		if err != nil {
			return err
		}
		owner := i / keysPerCustomer
		fmt.Fprintf(out, `{"hash":"%s","email":"dev%d@example.com","customer_name":"Customer %d","name":"key %d"}`+"\n", secret.Hash(), owner, owner, i)
	}
	return out.Flush()
}

// importKeys sends a file to /v1/keys/import and returns how long that took.
// It sees to it that every line made a key.
func (p *process) importKeys(ctx context.Context, token, path string, keys int) (time.Duration, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.admin+"/v1/keys/import", file)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	begin := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	last, err := lastLine(res.Body)
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("importing: %w", err)
	}
	var summary struct{ Created, Unchanged int }
	if err := json.Unmarshal(last, &summary); err != nil || summary.Created+summary.Unchanged != keys {
		return 0, fmt.Errorf("importing: want %d keys, got %s", keys, last)
	}
	return took, nil
}

// lastLine reads r to its end and keeps the last line that is not empty.
func lastLine(r io.Reader) ([]byte, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var last []byte
	for lines.Scan() {
		if len(lines.Bytes()) > 0 {
			last = append(last[:0], lines.Bytes()...)
		}
	}
	return last, lines.Err()
}
