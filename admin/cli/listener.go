// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listening is a socket's state in /proc/net/tcp (proc(5)).
const listening = "0A"

// listenerOn returns who listens on a TCP port, as in "node (pid 4121)"; ""
// where that cannot be seen: on other systems than Linux, or of other users.
func listenerOn(port string) string {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return ""
	}
	suffix := ":" + strings.ToUpper(strconv.FormatUint(n+0x10000, 16)[1:])
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], suffix) && f[3] == listening {
				if holder := holderOf("socket:[" + f[9] + "]"); holder != "" {
					return holder
				}
			}
		}
	}
	return ""
}

// holderOf returns the process that has a socket open.
func holderOf(socket string) string {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != socket {
			continue
		}
		process := filepath.Dir(filepath.Dir(link))
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			return ""
		}
		return plainly(strings.TrimSpace(string(name))) + " (pid " + filepath.Base(process) + ")"
	}
	return ""
}
