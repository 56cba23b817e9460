#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the steps of xcaddy.Dockerfile that need no container engine: builds the
# same Caddy by the same xcaddy, starts it by the same command as a user without
# rights, and asks what the health check asks. Then it sees to it that the admin
# API is reachable from outside its own loopback address only where the
# Caddyfile says `plaintext`. It needs Go and curl.
set -eu
cd "$(dirname "$0")/../.."
file=xcaddy.Dockerfile
arg() { sed -n "s/^ARG $1=//p" $file; }
work=$(mktemp -d)
chmod 0755 "$work"
pid=
trap 'if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; fi; rm -rf "$work"' EXIT INT TERM

echo "building Caddy $(arg CADDY_VERSION) by xcaddy $(arg XCADDY_VERSION)"
CGO_ENABLED=0 go run "github.com/caddyserver/xcaddy/cmd/xcaddy@$(arg XCADDY_VERSION)" \
	build "$(arg CADDY_VERSION)" --output "$work/caddy" \
	--with "github.com/keytoll/keytoll@v0.0.0=$PWD" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }

port() { # a free port, asked of the kernel by a listener on port 0
	go run ./examples/container/freeport
}
KEYTOLL_PORT=$(port) KEYTOLL_ADMIN_PORT=$(port) KEYTOLL_BACKEND_PORT=$(port)
export KEYTOLL_PORT KEYTOLL_ADMIN_PORT
export KEYTOLL_ADMIN_TOKEN=container-steps KEYTOLL_DATA="$work/data/keytoll"
export KEYTOLL_BACKEND="127.0.0.1:$KEYTOLL_BACKEND_PORT"
export XDG_DATA_HOME="$work/data" XDG_CONFIG_HOME="$work/config" HOME="$work"
mkdir -m 0700 "$work/data" "$work/config"
as=
if [ "$(id -u)" = 0 ]; then
	chown 65534:65534 "$work/data" "$work/config"
	as="setpriv --reuid 65534 --regid 65534 --clear-groups"
fi

start() { # start CADDYFILE: the image's own command, and wait for its health check
	cp "$1" "$work/Caddyfile.run"
	chmod 0644 "$work/Caddyfile.run"
	$as "$work/caddy" run --config "$work/Caddyfile.run" --adapter caddyfile >"$work/log" 2>&1 &
	pid=$!
	tries=0
	until curl -fsS -o /dev/null "http://127.0.0.1:$KEYTOLL_ADMIN_PORT/readyz" 2>/dev/null; do
		tries=$((tries + 1))
		if [ $tries -gt 100 ] || ! kill -0 $pid 2>/dev/null; then cat "$work/log"; exit 1; fi
		sleep 0.1
	done
}
stop() { kill $pid; wait $pid 2>/dev/null || true; pid=; }
grep -q '^CMD \["caddy", "run", "--config", "/etc/caddy/Caddyfile"\]$' $file
grep -q 'HEALTHCHECK .* http://127.0.0.1:2021/readyz$' $file

echo 'starting it as the image does'
start examples/container/Caddyfile
code=$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$KEYTOLL_PORT/")
[ "$code" = 401 ] || { echo "without a key: got $code, want 401"; exit 1; }
code=$(curl -s -o /dev/null -w '%{http_code}' -H "Host: localhost:$KEYTOLL_ADMIN_PORT" "http://127.0.0.2:$KEYTOLL_ADMIN_PORT/healthz")
[ "$code" = 200 ] || { echo "plaintext admin from another address: got $code, want 200"; exit 1; }
stop

echo 'the same without plaintext is refused'
grep -v '^[[:space:]]*plaintext$' examples/container/Caddyfile >"$work/without"
if $as "$work/caddy" run --config "$work/without" --adapter caddyfile >"$work/log" 2>&1; then
	echo 'it started without TLS and without plaintext'; exit 1
fi
grep -q plaintext "$work/log" || { cat "$work/log"; exit 1; }

echo 'on loopback, another address finds nothing'
sed 's/admin 0.0.0.0:/admin 127.0.0.1:/' "$work/without" >"$work/loopback"
start "$work/loopback"
if curl -s -o /dev/null "http://127.0.0.2:$KEYTOLL_ADMIN_PORT/healthz"; then
	echo 'the admin API answers on an address it was not told to'; exit 1
fi
stop
echo 'all steps passed'
