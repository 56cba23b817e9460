// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxManifest bounds, in bytes, what is read of a manifest.
const maxManifest = 1 << 20

// unpack writes the files of the archive under dir, and verifies each of them
// against the manifest.
func unpack(ctx context.Context, r io.Reader, dir string, progress func(done, total int64)) (m Manifest, err error) {
	t := tar.NewReader(r)
	if m, err = readManifest(t); err != nil {
		return m, err
	}
	p := &unpacking{ctx: ctx, dir: dir, progress: progress, wanted: make(map[string]BackupEntry, len(m.Files))}
	for _, e := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(e.Name)) || e.Size < 0 {
			return m, fmt.Errorf("the manifest names %q, which cannot be restored", e.Name)
		}
		p.wanted[e.Name] = e
		p.total += e.Size
	}
	if _, ok := p.wanted[FileName]; !ok {
		return m, fmt.Errorf("the backup holds no %s", FileName)
	}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return m, fmt.Errorf("the backup is cut off or damaged: %w", err)
		}
		if err := p.file(h, t); err != nil {
			return m, err
		}
	}
	for name := range p.wanted {
		return m, fmt.Errorf("the backup is cut off: %s is missing", name)
	}
	return m, nil
}

func readManifest(t *tar.Reader) (m Manifest, err error) {
	h, err := t.Next()
	if err != nil || h.Name != ManifestName || h.Size > maxManifest {
		return m, errors.New("this is not a backup of keytoll: it does not begin with a manifest")
	}
	raw, err := io.ReadAll(t)
	if err != nil {
		return m, fmt.Errorf("the backup is cut off: %w", err)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("the manifest cannot be read: %w", err)
	}
	if m.Format != archiveFormat || m.Schema > current {
		return m, fmt.Errorf("the backup has format %d and schema %d, this release reads up to %d and %d: restore it with the release that made it",
			m.Format, m.Schema, archiveFormat, current)
	}
	return m, nil
}

type unpacking struct {
	ctx      context.Context
	dir      string
	progress func(done, total int64)

	wanted      map[string]BackupEntry // still to come
	done, total int64
}

// file writes one file and compares it with what the manifest says of it.
func (p *unpacking) file(h *tar.Header, r io.Reader) error {
	want, ok := p.wanted[h.Name]
	if !ok || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("the backup holds %q, which its manifest does not name", h.Name)
	}
	delete(p.wanted, h.Name)
	path := filepath.Join(p.dir, filepath.FromSlash(h.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(p, f, sum), r)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", h.Name, err)
	}
	if n != want.Size || hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return fmt.Errorf("%s is damaged in the backup: its SHA-256 is not the manifest's", h.Name)
	}
	return syncDir(filepath.Dir(path))
}

// Write counts what is written.
func (p *unpacking) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	p.done += int64(len(b))
	if p.progress != nil {
		p.progress(p.done, p.total)
	}
	return len(b), nil
}
