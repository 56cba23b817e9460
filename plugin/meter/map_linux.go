// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mappable reports whether dir is on a file system of which it is known that
// what is written to a mapping outlives the process and is made durable by
// fdatasync: ext4, xfs, tmpfs, or an overlay whose upper layer is such a one
// and can be seen.
func mappable(dir string) bool {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return false
	}
	switch s.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	case unix.OVERLAYFS_SUPER_MAGIC:
		upper := upperDir()
		return upper != "" && mappable(upper)
	}
	return false
}

// upperDir returns the upper layer of the overlay that is the root, if it is named.
func upperDir() string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[1] != "/" || fields[2] != "overlay" {
			continue
		}
		for option := range strings.SplitSeq(fields[3], ",") {
			if upper, ok := strings.CutPrefix(option, "upperdir="); ok {
				return upper
			}
		}
	}
	return ""
}

// mapWords makes the file the segment's memory, until nobody has the segment
// any more.
func mapWords(s *segment, f *os.File, size int64) error {
	b, err := unix.Mmap(int(f.Fd()), 0, headerSize+int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	s.words = unsafe.Slice((*words)(unsafe.Pointer(&b[headerSize])), size/slotSize) //nolint:gosec // b is as long, and on a page's border
	runtime.AddCleanup(s, func(b []byte) { _ = unix.Munmap(b) }, b)
	return nil
}

// detach puts memory of the process under the segment in place of the mapped
// file, at the same address, and adds what was counted in the file meanwhile.
func detach(s *segment, f *os.File) error {
	size := uintptr(headerSize) + uintptr(len(s.words))*slotSize
	file, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(file) }()
	fresh, err := unix.MmapPtr(-1, 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	taken := unsafe.Slice((*words)(unsafe.Add(fresh, headerSize)), len(s.words)) //nolint:gosec // as long as the segment
	for i := range s.words {
		taken[i].copyFrom(&s.words[i])
	}
	before := make([]words, len(s.words))
	for i := range taken {
		before[i].copyFrom(&taken[i])
	}
	base := unsafe.Add(unsafe.Pointer(&s.words[0]), -headerSize) //nolint:gosec // where mapWords has mapped the header
	if _, err := unix.MremapPtr(fresh, size, base, size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED); err != nil {
		return err
	}
	old := unsafe.Slice((*words)(unsafe.Pointer(&file[headerSize])), len(s.words)) //nolint:gosec // as long as the segment
	for i := range s.words {
		s.words[i].addChanges(&before[i], &old[i])
	}
	return nil
}

// bootID names this run of the kernel; "" where that is not known.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func fdatasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
