// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/keytoll/keytoll/plugin/apikey"
	"github.com/keytoll/keytoll/plugin/customer"
	"github.com/keytoll/keytoll/plugin/store"
	"github.com/keytoll/keytoll/plugin/store/storetest"
)

// crashing marks, in the environment, a child process that writes to the store
// in its working directory.
const crashing = "KEYTOLL_TEST_CRASHING"

// TestACrashKeepsEveryAcknowledgedWrite kills a process that writes, again and
// again, and looks for all it had acknowledged.
func TestACrashKeepsEveryAcknowledgedWrite(t *testing.T) {
	if os.Getenv(crashing) != "" {
		writeUntilKilled(t, ".")
		return
	}
	dir := t.TempDir()
	open(t, dir).Close()
	acknowledged := 0
	for round := range 5 {
		self, err := os.Executable()
		must(t, err)
		child := exec.Command(self, "-test.run=^TestACrashKeepsEveryAcknowledgedWrite$")
		child.Env, child.Dir = append(os.Environ(), crashing+"=1"), dir
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		must(t, child.Start())
		lines := bufio.NewScanner(out)
		for n := 0; n < 20+round*13 && lines.Scan(); n++ {
			if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
		}
		must(t, child.Process.Kill())
		for lines.Scan() { // acknowledged before the kill came
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				acknowledged = n
			}
		}
		_ = child.Wait()
		healthy(t, dir)
		s := open(t, dir)
		got, err := s.Count(context.Background())
		if err != nil || got.Customers < int64(acknowledged) || got.Customers > int64(acknowledged)+1 || got.Keys[apikey.Active] != got.Customers {
			t.Errorf("round %d: got %+v, %v, want %d of each, or one more", round, got, err, acknowledged)
		}
		rows, err := s.Usage(context.Background(), store.UsageQuery{Bucket: store.DayBucket, To: now().AddDate(1, 0, 0)})
		booked := int64(0)
		for _, r := range rows {
			booked += r.Requests
		}
		if err != nil || booked < int64(acknowledged) || booked > got.Customers {
			t.Errorf("round %d: got %d requests, %v, want %d to %d", round, booked, err, acknowledged, got.Customers)
		}
		s.Close()
	}
	if acknowledged < 100 {
		t.Errorf("got %d writes: too few to show anything", acknowledged)
	}
}

func writeUntilKilled(t *testing.T, dir string) {
	ctx := context.Background()
	s := open(t, dir)
	for {
		count, err := s.Count(ctx)
		must(t, err)
		n := int(count.Customers)
		// What a crash took between the two writes is booked first.
		for sequence := range uint64(n) {
			must(t, s.Append(ctx, "n", sequence+1, []store.UsageRow{{Start: now(), UsageCount: store.UsageCount{Requests: 1}}}))
		}
		for ; ; n++ {
			_, err := s.Write(ctx, store.Mutations{
				Customers: []customer.Customer{storetest.Customer(n)}, Keys: []apikey.Key{storetest.Key(n, storetest.ID("cust", n))},
			})
			must(t, err)
			must(t, s.Append(ctx, "n", uint64(n+1), []store.UsageRow{{Start: now(), UsageCount: store.UsageCount{Requests: 1}}}))
			fmt.Println(n + 1)
		}
	}
}
