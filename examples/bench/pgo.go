// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"os"
	"path"
)

// writeProfile writes a profile of a gated Caddy, to build with.
func (r *run) writeProfile(ctx context.Context) error {
	s, err := r.begin(ctx, &setup{name: oneKeyName, binary: "bench", handler: "keytoll"})
	if err != nil {
		return err
	}
	if err := s.load.run(ctx, r.requests); err != nil {
		return err
	}
	raw, err := s.takeProfile(ctx, r.seconds)
	if err != nil {
		return err
	}
	if raw, err = withoutPaths(raw); err != nil {
		return err
	}
	return os.WriteFile(r.profile, raw, 0o644) //nolint:gosec // it is committed, and holds names of functions only
}

// withoutPaths strikes from a profile where the files of the machine lie that
// it was taken on. The compiler looks at functions and lines only.
func withoutPaths(raw []byte) ([]byte, error) {
	raw, err := unzipped(raw)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	err = eachField(raw, func(f field) error {
		whole := f.whole
		if f.number == stringField && path.IsAbs(string(f.bytes)) {
			name := path.Base(string(f.bytes))
			whole = binary.AppendUvarint(binary.AppendUvarint(nil, stringField<<3|2), uint64(len(name)))
			whole = append(whole, name...)
		}
		_, err := w.Write(whole)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
