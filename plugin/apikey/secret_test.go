// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strings"
	"testing"
)

func mint(t testing.TB, prefix string, mode Mode) Secret {
	t.Helper()
	s, err := Mint(prefix, mode, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMintedSecretsHaveTheDocumentedForm(t *testing.T) {
	random := bytes.Repeat([]byte{0xff}, 32)
	s, err := Mint("sk", Live, bytes.NewReader(random))
	if err != nil {
		t.Fatal(err)
	}
	body, sum := s.Reveal()[:len(s)-6], s.Reveal()[len(s)-6:]
	// 2²⁵⁶−1 in base 62 is made with the definition, not with this package.
	n, want := new(big.Int).SetBytes(random), ""
	for range 43 {
		rest := new(big.Int)
		n.DivMod(n, big.NewInt(62), rest)
		want = string("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[rest.Int64()]) + want
	}
	if body != "sk_live_"+want {
		t.Errorf("got %s, want sk_live_%s", body, want)
	}
	crc, wantSum := crc32.ChecksumIEEE([]byte(body)), ""
	for range 6 {
		wantSum = string("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[crc%62]) + wantSum
		crc /= 62
	}
	if sum != wantSum {
		t.Errorf("checksum: got %s, want %s", sum, wantSum)
	}
	zero, err := Mint("sk", Test, bytes.NewReader(make([]byte, 32)))
	if err != nil || !strings.HasPrefix(zero.Reveal(), "sk_test_"+strings.Repeat("0", 43)) {
		t.Errorf("zero is padded: got %s, %v", zero.Reveal(), err)
	}
}

func TestMintedSecretsAreGenuine(t *testing.T) {
	for _, prefix := range []string{"sk", "a", "my_api", "abcdefghijklmnop", "x_live"} {
		for _, mode := range []Mode{Live, Test} {
			s := mint(t, prefix, mode)
			if Inspect(s.Reveal()) != Genuine {
				t.Errorf("%s is not genuine", s.Reveal())
			}
			if got, want := s.Start(), s.Reveal()[:len(prefix)+len("_live_")+4]; got != want {
				t.Errorf("start: got %s, want %s", got, want)
			}
		}
	}
}

func TestEveryChangedCharacterIsNoticed(t *testing.T) {
	s := mint(t, "sk", Live).Reveal()
	for i := range len(s) {
		for _, c := range []byte("0aZ_x") {
			changed := s[:i] + string(c) + s[i+1:]
			if changed != s && Inspect(changed) == Genuine {
				t.Errorf("%s passes for %s", changed, s)
			}
		}
	}
}

func TestOtherFormsAreForeign(t *testing.T) {
	s := mint(t, "sk", Live).Reveal()
	for _, foreign := range []string{
		"", "x", s[2:], s[:len(s)-1], s + "0", " " + s, s + " ", strings.Replace(s, "live", "LIVE", 1), strings.Replace(s, "live", "prod", 1),
		strings.Replace(s, "sk_", "1k_", 1), strings.Replace(s, "sk_", "_", 1), strings.Replace(s, "sk_", "sk__", 1),
		s[:len(s)-1] + "-", s[:len(s)-1] + "\x00", "sk_live_" + strings.Repeat("0", 64), strings.Repeat("a", 600) + s, "ghp_" + s[8:],
		strings.Replace(s, "sk", "abcdefghijklmnopq", 1),
	} {
		if got := Inspect(foreign); got != Foreign {
			t.Errorf("%q: got %v, want Foreign", foreign, got)
		}
		if Secret(foreign).Start() != "" {
			t.Errorf("%q: a foreign secret shows its start", foreign)
		}
	}
}

func TestInspectAllocatesNothing(t *testing.T) {
	s := mint(t, "sk", Live).Reveal()
	if n := testing.AllocsPerRun(100, func() { Inspect(s) }); n != 0 {
		t.Errorf("got %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = Secret(s).Hash() }); n != 0 {
		t.Errorf("Hash: got %v allocations", n)
	}
}

func TestASecretIsNotPrintedByAccident(t *testing.T) {
	s := mint(t, "sk", Live)
	held := struct {
		S Secret
		P *Secret
	}{s, &s}
	for _, printed := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %s %q %#v %+v", s, s, s, s, s), fmt.Sprintf("%v %+v %#v", held, held, held), fmt.Sprint(&held),
	} {
		if strings.Contains(printed, s.Reveal()[8:]) {
			t.Errorf("%s is the secret", printed)
		}
	}
	if text, err := json.Marshal(held); err == nil {
		t.Errorf("a secret was written as %s", text)
	}
}

func TestMintFailsWithoutRandomness(t *testing.T) {
	broken := errors.New("broken")
	for _, reader := range []io.Reader{bytes.NewReader(make([]byte, 31)), io.MultiReader(bytes.NewReader(make([]byte, 5)), failing{broken})} {
		if s, err := Mint("sk", Live, reader); err == nil || s != "" {
			t.Errorf("got %q, %v, want an error and no secret", s.Reveal(), err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestPrefixes(t *testing.T) {
	for prefix, want := range map[string]bool{
		"sk": true, "s": true, "Acme": true, "a1_b": true, "abcdefghijklmnop": true,
		"": false, "1a": false, "_a": false, "a_": false, "a-b": false, "ä": false, "abcdefghijklmnopq": false, "a b": false,
	} {
		if ValidPrefix(prefix) != want {
			t.Errorf("%q: got %v, want %v", prefix, !want, want)
		}
	}
}

func FuzzInspectAgreesWithTheDefinition(f *testing.F) {
	f.Add("sk_live_" + strings.Repeat("0", 49))
	f.Add(mint(f, "sk", Test).Reveal())
	f.Add("x_test_test_" + strings.Repeat("z", 49))
	f.Fuzz(func(t *testing.T, s string) {
		got := Inspect(s)
		if len(s) < 49 || len(s) > MaxSecretLength {
			if got != Foreign {
				t.Fatalf("%q: got %v, want Foreign", s, got)
			}
			return
		}
		body := s[:len(s)-6]
		genuine := got == Genuine
		if genuine != (got != Foreign && s == body+checksum(body)) {
			t.Fatalf("%q: got %v, with the checksum %s", s, got, checksum(body))
		}
		if got == Corrupt && Inspect(body+checksum(body)) != Genuine {
			t.Fatalf("%q: is of our form, but not with its checksum", s)
		}
	})
}
