# SPDX-License-Identifier: Apache-2.0
# Caddy with Keytoll, built from this clone:
#
#	docker build -f xcaddy.Dockerfile -t keytoll .
#	docker run --rm -p 8080:8080 -p 127.0.0.1:2021:2021 -v keytoll:/data \
#		-e KEYTOLL_ADMIN_TOKEN -e KEYTOLL_BACKEND=host.docker.internal:3000 \
#		--add-host host.docker.internal:host-gateway keytoll
#
# examples/container/steps.sh runs the steps that need no container engine.
FROM golang:1.26.8-bookworm AS build
ARG CADDY_VERSION=v2.11.9
ARG XCADDY_VERSION=v0.4.5
# xcaddy's own flags, and the profile of a gated Caddy: see examples/caddy
ENV CGO_ENABLED=0 XCADDY_GO_BUILD_FLAGS="-ldflags '-w -s' -trimpath -tags nobadger,nomysql,nopgx -pgo=/src/examples/caddy/default.pgo"
RUN go install github.com/caddyserver/xcaddy/cmd/xcaddy@${XCADDY_VERSION}
COPY . /src
RUN xcaddy build ${CADDY_VERSION} --output /usr/bin/caddy --with github.com/keytoll/keytoll@v0.0.0=/src

FROM alpine:3.22.2
RUN apk add --no-cache ca-certificates \
	&& adduser -D -H -u 10001 keytoll \
	&& install -d -o keytoll -g keytoll -m 0700 /data /config
COPY --from=build /usr/bin/caddy /usr/bin/caddy
COPY examples/container/Caddyfile /etc/caddy/Caddyfile
# The heap may grow to three times what is alive before it is collected; the
# memory limit, which Caddy takes from the container, bounds it.
ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config GOGC=200
USER keytoll
VOLUME ["/data", "/config"]
EXPOSE 8080 2021
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD wget -q -O /dev/null http://127.0.0.1:2021/readyz
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]
