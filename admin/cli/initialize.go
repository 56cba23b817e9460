// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) initialize() *cobra.Command {
	var to, site string
	var force bool
	c := a.command("init [file]", "Write a commented Caddyfile to start from", cobra.MaximumNArgs(1),
		func(_ context.Context, s *session, args []string) error {
			file := "Caddyfile"
			if len(args) == 1 {
				file = args[0]
			}
			upstream, err := Upstream(to)
			if err != nil {
				return usageError("--to: %s.", err)
			}
			dir := s.dir
			if dir == "" {
				dir = "./keytoll-data"
			}
			for name, word := range map[string]string{"dir": dir, "site": site} {
				if strings.ContainsAny(word, "\n\r\t \"`{}#") || word == "" {
					return usageError("--%s cannot be written into a Caddyfile: %q.", name, word)
				}
			}
			text := Caddyfile(site, upstream, dir)
			if file == "-" {
				return s.printLine(strings.TrimSuffix(text, "\n"))
			}
			if err := create(file, text, force); err != nil {
				return err
			}
			if s.json {
				return s.printJSON(map[string]any{"file": file})
			}
			s.say("Wrote %s. Next: caddy validate --config %s && caddy run --config %s", file, file, file)
			return nil
		})
	c.Flags().StringVar(&to, "to", "localhost:3000", "The API that is to be sold")
	c.Flags().StringVar(&site, "site", "http://:8080", "Where it is sold, as api.example.com")
	c.Flags().BoolVar(&force, "force", false, "Replace a file that exists")
	return c
}

func create(file, text string, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(file, flags, 0o644) //nolint:gosec // it holds no secret
	if errors.Is(err, fs.ErrExist) {
		return &failure{Refused, "exists", file + " exists. Say --force to replace it, or name another file."}
	}
	if err != nil {
		return fmt.Errorf("writing the Caddyfile: %w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Upstream returns an address as reverse_proxy takes it: host:port, with
// https:// before it where it was said.
func Upstream(to string) (string, error) {
	text := to
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(to, " \t\n{}\"`") {
		return "", fmt.Errorf("%q is not an address: write localhost:3000 or https://api.internal", to)
	}
	if strings.Trim(u.Path, "/") != "" {
		return "", fmt.Errorf("%q has a path: name only the host and the port", to)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	upstream := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "https" {
		upstream = "https://" + upstream
	}
	return upstream, nil
}

// Caddyfile returns a commented configuration that sells upstream at site.
func Caddyfile(site, upstream, dir string) string {
	return strings.NewReplacer("SITE", site, "UPSTREAM", upstream, "DIRECTORY", dir).Replace(startingPoint)
}

const startingPoint = `# Keytoll before UPSTREAM. Start it with: caddy run --config <this file>
# Then make a key: caddy keytoll keys create --customer dev@example.com
{
	grace_period 8s # how long requests in flight may take when Caddy stops

	keytoll {
		storage bbolt DIRECTORY
		admin 127.0.0.1:2021 # keys are made here; its token is in DIRECTORY/admin.token
		default_plan free
		plan free {
			rate 2/second
			quota 1000/month
			max_keys 2
		}
		plan pro {
			rate 50/second burst 100
			quota 100000/month per customer
		}
		# upgrade_url https://example.com/pricing
	}

	# Secrets in X-API-Key stay out of the logs. Caddy itself hides those in
	# Authorization.
	log default {
		format filter {
			wrap console
			request>headers>X-Api-Key delete
		}
	}
}

SITE {
	handle /usage {
		keytoll_usage # a caller reads the usage of its own key
	}
	handle {
		keytoll {
			# What costs more than one request, or nothing:
			# route images POST /v1/images {
			# 	cost 20
			# }
			# route health /health {
			# 	public
			# }
		}
		reverse_proxy UPSTREAM {
			stream_close_delay 30s # a reload leaves open streams this long
		}
	}
}
`
