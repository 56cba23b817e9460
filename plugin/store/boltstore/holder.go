// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// writePID notes that this process holds the directory. The lock itself is
// bbolt's, on the file: this is only for error messages.
func writePID(dir string) error {
	return os.WriteFile(filepath.Join(dir, pidName), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
}

func removePID(dir string) {
	if notedPID(dir) == os.Getpid() {
		_ = os.Remove(filepath.Join(dir, pidName))
	}
}

// notedPID returns the process that last noted itself; 0 for none.
func notedPID(dir string) int {
	raw, err := os.ReadFile(filepath.Join(dir, pidName))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 0 {
		return 0
	}
	return pid
}

// holder says who seems to hold the file.
func holder(path string) string {
	pid := notedPID(filepath.Dir(path))
	switch {
	case pid == os.Getpid():
		return "this process already"
	case pid == 0 || !alive(pid):
		return "another process"
	}
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name)))
	}
	return fmt.Sprintf("process %d", pid)
}

// alive reports whether there is such a process.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || os.IsPermission(err)
}
