// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"math/rand/v2"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keytoll/keytoll/examples/internal/rig"
)

// storm sends n requests from clients at once and counts the statuses.
func (g *gateway) storm(clients, n int, request func(i int) (path, secret string)) map[int]int64 {
	g.T.Helper()
	var next atomic.Int64
	var mu sync.Mutex
	statuses := make(map[int]int64)
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			mine := make(map[int]int64)
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				path, secret := request(i)
				mine[g.Get(path, secret)]++
			}
			mu.Lock()
			defer mu.Unlock()
			for status, count := range mine {
				statuses[status] += count
			}
		})
	}
	wait.Wait()
	return statuses
}

func TestAQuotaOf1000Gives64ClientsExactly1000(t *testing.T) {
	u := newUpstream(t)
	g := start(t, u, "default_plan free\nplan free {\n quota 1000/month\n }", "keytoll")
	for range 2 {
		key, secret := g.Mint(object{"customer": "crowd@example.com", "plan": "free"})
		statuses := g.storm(64, 5000, func(int) (string, string) { return "/", secret })
		if statuses[200] != 1000 || statuses[429] != 4000 {
			t.Errorf("statuses: got %v, want 1000 × 200 and 4000 × 429", statuses)
		}
		if got := u.count(key); got != 1000 {
			t.Errorf("the upstream answered %d, want 1000", got)
		}
		if got := g.Used(key); got != 1000 {
			t.Errorf("usage shows %d, want 1000", got)
		}
	}
}

func TestTwoKeysShareAPooledQuotaOf500Exactly(t *testing.T) {
	u := newUpstream(t)
	g := start(t, u, "default_plan team\nplan team {\n quota 500/month per customer\n }", "keytoll")
	one, first := g.Mint(object{"customer": "pool@example.com", "name": "one"})
	two, second := g.Mint(object{"customer": "pool@example.com", "name": "two"})
	statuses := g.storm(32, 1500, func(i int) (string, string) {
		if i%2 == 0 {
			return "/", first
		}
		return "/", second
	})
	if statuses[200] != 500 || statuses[429] != 1000 {
		t.Errorf("statuses: got %v, want 500 × 200 and 1000 × 429", statuses)
	}
	if got := u.count(one) + u.count(two); got != 500 {
		t.Errorf("the upstream answered %d, want 500", got)
	}
	if got := g.Used(one) + g.Used(two); got != 500 {
		t.Errorf("usage shows %d, want 500", got)
	}
}

func TestARateOf100ASecondBurst10Holds(t *testing.T) {
	u := newUpstream(t)
	g := start(t, u, "default_plan steady\nplan steady {\n rate 100/second burst 10\n }", "keytoll")
	// A bucket of 10 is full after a tenth of a second: a machine that runs
	// nobody for so long loses units that no gate can give back. One quiet run
	// of eight is enough for the lower bound; the upper one holds in all.
	const least = 97 * (10 + 100*5) / 100
	var most int64
	for range 8 {
		_, secret := g.Mint(object{"customer": "steady@example.com"})
		var admitted atomic.Int64
		began := time.Now()
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				for time.Since(began) < 5*time.Second {
					if g.Get("/", secret) == http.StatusOK {
						admitted.Add(1)
					}
				}
			})
		}
		wait.Wait()
		elapsed := time.Since(began).Seconds()
		if bound := int64(10 + 100*elapsed); admitted.Load() > bound {
			t.Errorf("%d admitted in %.2f s, at most %d may be", admitted.Load(), elapsed, bound)
		}
		if most = max(most, admitted.Load()); most >= least {
			return
		}
	}
	t.Errorf("%d admitted in 5 s, want at least %d", most, least)
}

func TestARefusalByOneRateLeavesTheOthersUntouched(t *testing.T) {
	u := newUpstream(t)
	g := start(t, u, "default_plan two\nplan two {\n rate 3/hour\n rate 100/day\n quota 50/month\n }", "keytoll {\n headers standard\n }")
	key, secret := g.Mint(object{"customer": "two@example.com"})
	for i := range 20 {
		want := 200
		if i >= 3 {
			want = 429
		}
		if got := g.Get("/", secret); got != want {
			t.Fatalf("request %d: got %d, want %d", i+1, got, want)
		}
	}
	res, err := g.Send("/", secret)
	if err != nil {
		t.Fatal(err)
	}
	fields := regexp.MustCompile(`^"hour";r=0;t=\d+, "day";r=97;t=\d+, "quota";r=47;t=\d+$`)
	if got := res.Header.Get("RateLimit"); !fields.MatchString(got) {
		t.Errorf("RateLimit: got %s, want %s", got, fields)
	}
	if got := g.Used(key); got != 3 {
		t.Errorf("usage shows %d, want 3", got)
	}
}

func TestAHundredReloadsUnderLoadLoseNothing(t *testing.T) {
	u := newUpstream(t)
	reloads := 100
	if testing.Short() || rig.Raced {
		reloads = 25
	}
	options := "default_plan free\nplan free {\n quota 10M/month\n }"
	g := start(t, u, options, "keytoll")
	key, secret := g.Mint(object{"customer": "reload@example.com"})
	stop := make(chan struct{})
	var mu sync.Mutex
	statuses := make(map[int]int64)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// A loaded Caddy resets now and then a connection that was made
				// while a reload changes listeners, with or without Keytoll.
				res, err := g.Send("/", secret)
				if err != nil {
					continue
				}
				mu.Lock()
				statuses[res.StatusCode]++
				mu.Unlock()
			}
		})
	}
	for range reloads {
		// Every other configuration differs, and one in five is refused.
		switch rand.IntN(5) {
		case 0:
			g.Configure(u.URL, "default_plan free\nplan free {\n quota 0/month\n }", "keytoll")
			if out, err := g.Reload(); err == nil {
				t.Fatalf("a quota of 0 was taken: %s", out)
			}
			continue
		case 1:
			g.Configure(u.URL, options+"\nplan other {\n rate 5/second\n }", "keytoll")
		default:
			g.Configure(u.URL, options, "keytoll")
		}
		if out, err := g.Reload(); err != nil {
			t.Fatalf("reload: %v\n%s\n%s", err, out, g.Log())
		}
	}
	close(stop)
	wait.Wait()
	if len(statuses) != 1 || statuses[200] == 0 {
		t.Errorf("statuses: got %v, want 200 alone", statuses)
	}
	if got, want := g.Used(key), u.count(key); got != want {
		t.Errorf("usage shows %d, the upstream answered %d", got, want)
	}
	g.Stop()
	g.Configure(u.URL, options, "keytoll") // the last one may have been refused
	g.Run()
	if got, want := g.Used(key), u.count(key); got != want {
		t.Errorf("after a restart usage shows %d, the upstream answered %d", got, want)
	}
}

func TestSigtermLetsASlowRequestFinishAndCountsIt(t *testing.T) {
	u := newUpstream(t)
	g := start(t, u, "default_plan free\nplan free {\n quota 100/month\n }", "keytoll")
	key, secret := g.Mint(object{"customer": "slow@example.com"})
	req, err := http.NewRequest(http.MethodGet, g.URL+"/slow?for=2s", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	res, err := g.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() {
		t.Fatal("no first line")
	}
	var stopped sync.WaitGroup
	stopped.Go(g.Stop)
	last := ""
	for lines.Scan() {
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	if lines.Err() != nil || last != "data: ended" {
		t.Errorf("the answer ended with %q and %v, want its last line", last, lines.Err())
	}
	stopped.Wait()
	g.Run()
	if got := g.Used(key); got != 1 {
		t.Errorf("usage shows %d after the restart, want 1", got)
	}
}
