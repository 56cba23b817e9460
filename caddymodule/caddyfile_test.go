// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestCaddyfilesAdaptToTheirJSON(t *testing.T) {
	files, err := filepath.Glob("testdata/caddyfile/*.caddyfile")
	if err != nil || len(files) < 4 {
		t.Fatalf("got %d Caddyfiles (%v), want some", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if formatted := caddyfile.Format(text); !bytes.Equal(formatted, text) {
				t.Errorf("the file is not as `caddy fmt` writes it:\n%s", formatted)
			}
			config, err := adapt(string(text))
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, config, "", "\t"); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			golden := strings.TrimSuffix(file, "caddyfile") + "json"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
			}
		})
	}
}

func TestAdaptedConfigurationsValidateWithoutATrace(t *testing.T) {
	t.Setenv("KEYTOLL_ADMIN_TOKEN", "kta_of_the_test_environment")
	t.Setenv("STRIPE_SECRET_KEY", "sk_test_stripe")
	t.Setenv("STRIPE_WEBHOOK_SECRET", "whsec_1")
	text, err := os.ReadFile("testdata/caddyfile/design.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	config, err := adapt(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(config); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("validating left %v behind", left)
	}
	engines.Range(func(place, _ any) bool {
		t.Errorf("validating left the engine of %v behind", place)
		return true
	})
}

// wrongs are Caddyfiles with one mistake each: what is within keytoll { … } as
// a global option or as a directive, the line it is refused with, and words of
// the error.
var wrongs = []struct {
	global, directive string
	line              string
	want              string
}{
	{global: "storage bolt ./d", line: ":3", want: "unknown storage 'bolt': did you mean 'bbolt'?"},
	{global: "storage postgres postgres://x", line: ":3", want: "--with github.com/keytoll/keytoll/caddymodule/postgres"},
	{global: "storage redis", line: ":3", want: "limiter"},
	{global: "storage memory ./d", line: ":3", want: "'./d' is one word too many"},
	{global: "storage", line: ":3", want: "a word is missing"},
	{global: `storage bbolt ""`, line: ":3", want: "the directory is empty"},
	{global: "storage bbolt ./d {\n\t\t\tlock_wait soon\n\t\t}", line: ":4", want: "'soon' is not a length of time"},
	{global: "storage bbolt ./d {\n\t\t\tlockwait 5s\n\t\t}", line: ":4", want: "did you mean 'lock_wait'?"},
	{global: "storage bbolt ./d\n\t\tstorage memory", line: ":4", want: "'storage' is given twice, first in line 3"},
	{global: "adnim off", line: ":3", want: "unknown option of keytoll 'adnim': did you mean 'admin'?"},
	{global: "zzzzzz", line: ":3", want: "unknown option of keytoll 'zzzzzz'"},
	{global: "admin off extra", line: ":3", want: "'extra' is one word too many"},
	{global: "admin off {\n\t\t\ttoken x\n\t\t}", line: ":4", want: "unknown option of admin 'token'"},
	{global: "admin 0.0.0.0:2021", line: ":3", want: "off loopback"},
	{global: "admin :2021", line: ":3", want: "off loopback"},
	{global: "admin 127.0.0.1", line: ":3", want: "host:port"},
	{global: "admin 127.0.0.1:99999", line: ":3", want: "'99999' is not a port"},
	{global: "admin unix/run/x", line: ":3", want: "write unix//path"},
	{global: "admin unix//run/x|0999", line: ":3", want: "socket mode '0999'"},
	{global: "admin {\n\t\t\ttoken \"\"\n\t\t}", line: ":4", want: "empty"},
	{global: "admin {\n\t\t\ttls cert.pem\n\t\t}", line: ":4", want: "write tls cert.pem key.pem"},
	{global: "admin 10.0.0.1:1 {\n\t\t\ttls c k\n\t\t\tplaintext\n\t\t}", line: ":3", want: "tls stands beside plaintext"},
	{global: "admin {\n\t\t\thosts https://x\n\t\t}", line: ":4", want: "without scheme and port"},
	{global: "key_prefix 1sk", line: ":3", want: "key_prefix '1sk'"},
	{global: "key_prefix sk_", line: ":3", want: "key_prefix 'sk_'"},
	{global: "key_prefix sk {\n\t\t}", line: "", want: ""},
	{global: "default_plan pro2", line: ":3", want: "unknown plan 'pro2': did you mean 'pro'?"},
	{global: "plan free {\n\t\t}\n\t\tplan free {\n\t\t}", line: ":5", want: "plan 'free' is given twice"},
	{global: "plan Free {\n\t\t}", line: ":3", want: "plan 'Free' is not a name"},
	{global: "plan free {\n\t\t\trate 10\n\t\t}", line: ":4", want: "10"},
	{global: "plan free {\n\t\t\trate 0/second\n\t\t}", line: ":4", want: "'0'"},
	{global: "plan free {\n\t\t\trate -5/second\n\t\t}", line: ":4", want: "-5"},
	{global: "plan free {\n\t\t\trate 10/fortnight\n\t\t}", line: ":4", want: "fortnight"},
	{global: "plan free {\n\t\t\trate unlimited\n\t\t\trate 10/second\n\t\t}", line: ":5", want: "'unlimited' stands beside another rate"},
	{global: "plan free {\n\t\t\trate 10/second\n\t\t\trate unlimited\n\t\t}", line: ":5", want: "'unlimited' stands beside another rate"},
	{global: "plan free {\n\t\t\tquota 10/month\n\t\t\tquota unlimited\n\t\t}", line: ":5", want: "'unlimited' stands beside another quota"},
	{global: "plan free {\n\t\t\tquota 10/month\n\t\t\tquota 20/month\n\t\t}", line: ":5", want: "there is a quota of requests in a month per key already"},
	{global: "plan free {\n\t\t\tquota 10/year\n\t\t}", line: ":4", want: "year"},
	{global: "plan free {\n\t\t\tquota 10/month overage never\n\t\t}", line: ":4", want: "never"},
	{global: "plan free {\n\t\t\tconcurrency none\n\t\t}", line: ":4", want: "none"},
	{global: "plan free {\n\t\t\tmax_keys 0\n\t\t}", line: ":4", want: "max_keys '0'"},
	{global: "plan free {\n\t\t\tscope a a\n\t\t}", line: ":4", want: "scope 'a' is given twice"},
	{global: "plan free {\n\t\t\tqouta 10/month\n\t\t}", line: ":4", want: "did you mean 'quota'?"},
	{global: "plan a {\n\t\t\tstripe_price p\n\t\t}\n\t\tplan b {\n\t\t\tstripe_price p\n\t\t}", line: ":6", want: "stripe_price 'p' is that of plan 'a' already"},
	{global: "upgrade_url", line: ":3", want: "a word is missing"},
	{global: "retention {\n\t\t\thours never\n\t\t}", line: ":4", want: "never"},
	{global: "stripe {\n\t\t}", line: ":3", want: "secret_key is missing"},
	{global: "stripe {\n\t\t\tsecret_key \"\"\n\t\t}", line: ":4", want: "empty"},
	{global: "stripe {\n\t\t\tsecret_key x\n\t\t\twebhook_secret \"\"\n\t\t}", line: ":5", want: "empty"},
	{global: "stripe {\n\t\t\tsecret_key x\n\t\t\tapi_base http://stripe.example.com\n\t\t}", line: ":5", want: "https"},
	{global: "stripe {\n\t\t\tsecret_key x\n\t\t\tfallback_plan gold\n\t\t}", line: ":5", want: "unknown plan 'gold'"},
	{global: "stripe {\n\t\t\tsecret_key x\n\t\t\tbill_from tomorrow\n\t\t}", line: ":5", want: "'tomorrow' is not a time"},
	{global: "metrics {\n\t\t\ttop 20\n\t\t\tcustomers a\n\t\t}", line: ":6", want: "either customers or top"},

	{directive: "rout x /x", line: ":6", want: "did you mean 'route'?"},
	{directive: "key_from cookie x", line: ":6", want: "unknown key_from 'cookie'"},
	{directive: "key_from query", line: ":6", want: "takes the name of a parameter"},
	{directive: "key_from header Authorization", line: ":6", want: "write key_from bearer"},
	{directive: "key_from header Keytoll-Plan", line: ":6", want: "another meaning"},
	{directive: "key_from header \"a b\"", line: ":6", want: "not the name of a header"},
	{directive: "key_from header X-A\n\t\tkey_from header x-a", line: ":7", want: "given twice"},
	{directive: "key_from bearer X", line: ":6", want: "one word too many"},
	{directive: "route default /x", line: ":6", want: "default"},
	{directive: "route x /x\n\t\troute x /y", line: ":7", want: "is the name of two routes"},
	{directive: "route x /x\n\t\troute y /x", line: ":7", want: "route x already"},
	{directive: "route x x", line: ":6", want: "'x'"},
	{directive: "route x get /x", line: ":6", want: "'get'"},
	{directive: "route x /x {\n\t\t\tcost 0\n\t\t}", line: ":7", want: "'0'"},
	{directive: "route x /x {\n\t\t\tcost 3 4\n\t\t}", line: ":7", want: "'4' is one word too many"},
	{directive: "route x /x {\n\t\t\tcost json\n\t\t}", line: ":7", want: "missing after 'json'"},
	{directive: "route x /x {\n\t\t\tcost json a.b holding 3\n\t\t}", line: ":7", want: "'holding'"},
	{directive: "route x /x {\n\t\t\tcost json a.b reserve many\n\t\t}", line: ":7", want: "'many'"},
	{directive: "route x /x {\n\t\t\tpublic\n\t\t\tcost 3\n\t\t}", line: ":6", want: "public"},
	{directive: "route x /x {\n\t\t\tcharge_on 2xx 9xx\n\t\t}", line: ":7", want: "'9xx'"},
	{directive: "route x /x {\n\t\t\tunit Tokens\n\t\t}", line: ":6", want: "Tokens"},
	{directive: "routes all", line: ":6", want: "unknown word 'all'"},
	{directive: "cors app.example.com", line: ":6", want: "it takes scheme and host"},
	{directive: "cors https://app.example.com/", line: ":6", want: "it takes scheme and host"},
	{directive: "headers standart", line: ":6", want: "did you mean 'standard'?"},
	{directive: "headers off legacy", line: ":6", want: "'off' stands beside another set"},
	{directive: "errors json", line: ":6", want: "unknown kind of errors 'json'"},
	{directive: "preflight allow", line: ":6", want: "unknown word 'allow'"},
	{directive: "invalid_key_status 404", line: ":6", want: "write 401 or 403"},
	{directive: "enforce maybe", line: ":6", want: "unknown word 'maybe'"},
	{directive: "enforce off {\n\t\t\tx\n\t\t}", line: ":7", want: "takes no block"},
}

func TestMistakesAreRefusedWithFileLineAndWord(t *testing.T) {
	for _, w := range wrongs {
		text := "{\n\tkeytoll {\n\t\t" + w.global + "\n\t}\n}\n:80 {\n\tkeytoll\n}\n"
		if w.directive != "" {
			text = "{\n\tadmin off\n}\n:80 {\n\tkeytoll {\n\t\t" + w.directive + "\n\t}\n}\n"
		}
		_, err := adapt(text)
		switch {
		case w.want == "" && err != nil:
			t.Errorf("%s: got %v, want no error", w.global+w.directive, err)
		case w.want == "":
		case err == nil:
			t.Errorf("%s: got no error, want %q", w.global+w.directive, w.want)
		case !strings.Contains(err.Error(), w.want) || !strings.Contains(err.Error(), "Caddyfile"+w.line):
			t.Errorf("%s: got %v, want %q at line %s", w.global+w.directive, err, w.want, w.line)
		}
	}
}

func TestMistakesBesideASecretDoNotRepeatIt(t *testing.T) {
	for _, global := range []string{
		"admin {\n\t\t\ttoken kta_hidden1 kta_hidden2\n\t\t}",
		"stripe {\n\t\t\tsecret_key sk_hidden1 sk_hidden2\n\t\t}",
		"stripe {\n\t\t\tsecret_key x\n\t\t\twebhook_secret wh_hidden1 wh_hidden2\n\t\t}",
		"stripe {\n\t\t\tsecret_key x\n\t\t\twebhook_secret wh_hidden\n\t\t\twebhook_secret wh_hidden\n\t\t}",
	} {
		_, err := adapt("{\n\tkeytoll {\n\t\t" + global + "\n\t}\n}\n")
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("got %v, want an error without the secret", err)
		}
	}
}

func TestTheGlobalOptionIsGivenOnce(t *testing.T) {
	_, err := adapt("{\n\tkeytoll {\n\t}\n\tkeytoll {\n\t}\n}\n")
	if err == nil || !strings.Contains(err.Error(), "Caddyfile:4") {
		t.Errorf("got %v, want an error at Caddyfile:4", err)
	}
}

func TestTheDirectiveComesAfterEncode(t *testing.T) {
	config, err := adapt("http://localhost {\n\treverse_proxy localhost:1\n\tkeytoll\n\tencode\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	encode, gate, proxy := bytes.Index(config, []byte(`"encode"`)), bytes.Index(config, []byte(`"keytoll"`)), bytes.Index(config, []byte(`"reverse_proxy"`))
	if encode < 0 || encode > gate || gate > proxy {
		t.Errorf("got encode, keytoll, reverse_proxy at %d, %d, %d: want them in this order", encode, gate, proxy)
	}
}

func FuzzDirective(f *testing.F) {
	for _, w := range wrongs {
		f.Add(w.directive, w.global)
	}
	f.Add("route x POST,PUT /a/*/b {\n unit tokens\n cost json a.b reserve 4k\n}", "plan p {\n rate 1/second\n}")
	f.Fuzz(func(t *testing.T, directive, global string) {
		tokens, err := caddyfile.Tokenize([]byte("keytoll {\n"+directive+"\n}"), "f")
		if err == nil {
			var h Handler
			if h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)) == nil {
				if err := h.prepare(); err != nil {
					t.Errorf("the Caddyfile takes %q, which cannot be provisioned: %v", directive, err)
				}
			}
		}
		if tokens, err = caddyfile.Tokenize([]byte("keytoll {\n"+global+"\n}"), "f"); err == nil {
			var a App
			_ = a.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens))
		}
	})
}
