// SPDX-License-Identifier: Apache-2.0

package meter

// A Disk plays the disk below the slot files, for tests that judge what power
// cuts and failing disks leave. Its functions are called concurrently; one that
// is nil does nothing.
type Disk struct {
	// Sync is called in place of fdatasync, with the name of a file in
	// Options.Dir. What stood in the file before the call is durable if it
	// returns nil.
	Sync func(name string) error
	// Create is called before a file is made, which an error prevents.
	Create func(name string) error
	Boot   string // names this run of the machine
	Write  bool   // files are written, never mapped
	// Numbers is how many counters stand in one file. Default: 32768.
	Numbers int64
}

func (d *Disk) hooks() *hooks {
	h := &hooks{write: d.Write, boot: d.Boot, sync: d.Sync, create: d.Create}
	if h.sync == nil {
		h.sync = func(string) error { return nil }
	}
	return h
}
