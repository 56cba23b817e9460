// SPDX-License-Identifier: Apache-2.0

package meter_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/meter"
	"github.com/keytoll/keytoll/plugin/plan"
	"github.com/keytoll/keytoll/plugin/store/boltstore"
	"github.com/keytoll/keytoll/plugin/usage"
)

const (
	victimDir     = "KEYTOLL_METER_VICTIM" // where a process counts until it is killed
	victimKeys    = 12
	victimClients = 4
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// victimQuota is soon used up for every other key.
func victimQuota(k int) int64 { return 300 + int64(k%2)*1_000_000 }

func victimID(k int) meter.ID {
	return meter.ID{
		Owner: meter.Owner{Kind: meter.OfKey, ID: fmt.Sprint("key_", k), Mode: apikey.Live},
		Unit:  plan.Requests, Calendar: usage.Months,
	}
}

// openVictim opens the real store and the real meter.
func openVictim(dir string) (*boltstore.Store, *meter.Meter, error) {
	now := func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }
	s, err := boltstore.Open(context.Background(), boltstore.Options{Dir: dir, LockWait: 5 * time.Second, Now: now})
	if err != nil {
		return nil, nil, err
	}
	m, err := meter.Open(context.Background(), meter.Options{Dir: dir, Journal: s, Ledger: s, Node: "one", Now: now})
	return s, m, err
}

// victim serves calls and tells what happened as an upstream ("f", forwarded)
// and a client ("a", answered) would see it, each in one write.
func victim(dir string) {
	_, m, err := openVictim(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var clients sync.WaitGroup
	for range victimClients {
		clients.Go(func() {
			for {
				k := rand.IntN(victimKeys)
				h, full, err := m.Counter(victimID(k)).Reserve(context.Background(), now, 1, victimQuota(k), victimQuota(k))
				if full || err != nil {
					continue
				}
				_, _ = os.Stdout.WriteString("f " + strconv.Itoa(k) + "\n")
				h.Bill(1)
				_, _ = os.Stdout.WriteString("a " + strconv.Itoa(k) + "\n")
			}
		})
	}
	clients.Wait()
}

func TestKilledProcessesLoseNoAnswerAndExceedNoQuota(t *testing.T) {
	dir := t.TempDir()
	var forwarded, answered [victimKeys]int64
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), victimDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for die, n := 1+r.IntN(6000), 0; lines.Scan(); n++ {
			if n == die {
				_ = cmd.Process.Kill() // what is in the pipe is still read
			}
			what, key, _ := strings.Cut(lines.Text(), " ")
			k, err := strconv.Atoi(key)
			if err != nil {
				continue // cut short by the kill
			}
			if what == "f" {
				forwarded[k]++
			} else {
				answered[k]++
			}
		}
		_ = cmd.Wait()
		if round%2 == 0 {
			continue // killed again before anybody looks
		}
		s, m, err := openVictim(dir)
		if err != nil {
			t.Fatal(err)
		}
		var unanswered int64
		for k := range victimKeys {
			got, err := m.Peek(t.Context(), victimID(k), usage.Months.Ordinal(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)))
			if err != nil {
				t.Fatal(err)
			}
			if got.Used() < forwarded[k] || got.Used() > victimQuota(k) {
				t.Errorf("key %d: got %d used of %d, want at least the %d forwarded", k, got.Used(), victimQuota(k), forwarded[k])
			}
			if got.Billed < answered[k] || got.Billed > forwarded[k] {
				t.Errorf("key %d: got %d billed, want from %d answered to %d forwarded", k, got.Billed, answered[k], forwarded[k])
			}
			unanswered += got.Used() - got.Billed
		}
		if unanswered > 6*victimClients {
			t.Errorf("got %d units used and not billed, want at most the requests in flight at each kill", unanswered)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
