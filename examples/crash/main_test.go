// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

var (
	kills   = flag.Int("kills", 5, "how often the gateway is killed")
	images  = flag.Int("images", 6, "how many power cuts there are")
	full    = flag.Duration("full", 3*time.Second, "how long the disk is full")
	models  = flag.Int("models", 6, "how many random histories are compared with the model")
	seed    = flag.Uint64("seed", 0, "of everything random; 0: a new one, which is printed")
	isNaive = flag.String("naive", "", "run as the naive gateway, listening there")
	naiveIn = flag.String("naive-dir", "", "where the naive gateway keeps its counts")
	naiveTo = flag.String("naive-to", "", "the naive gateway's upstream")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *isNaive != "" {
		fmt.Fprintln(os.Stderr, runNaive(*isNaive, *naiveIn, *naiveTo))
		os.Exit(1)
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	fmt.Printf("seed %d\n", *seed)
	code := rig.Main(m, "../caddy")
	figures.print()
	os.Exit(code)
}

// dice returns the random numbers of one test: the same for the same seed.
func dice(name string) *rand.Rand {
	var mix uint64 = 14695981039346656037
	for _, b := range []byte(name) {
		mix = (mix ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(*seed, mix))
}

// withinOneMonth skips the test where the calendar month is about to turn: its
// quotas are monthly, and would be given twice.
func withinOneMonth(t *testing.T) {
	t.Helper()
	now := time.Now().UTC()
	if now.Add(time.Hour).Month() != now.Month() {
		t.Skip("the month turns within the hour, and with it the quotas")
	}
}
