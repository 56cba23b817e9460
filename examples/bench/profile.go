// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A profile is the part of a pprof file that is needed here: the samples'
// first value and the names of the functions on their stacks.
//
// The format is profile.proto of github.com/google/pprof; it is read by hand
// because a library for it would come to everybody who builds Keytoll.
type profile struct {
	samples   []sample
	locations map[uint64][]uint64 // functions, the innermost first
	functions map[uint64]uint64   // index of the name
	names     []string
}

type sample struct {
	locations []uint64 // the leaf first
	value     int64
}

var errProfile = errors.New("this is no profile")

// The numbers of a profile's fields.
const (
	sampleField   = 2
	locationField = 4
	functionField = 5
	stringField   = 6
)

// unzipped returns a profile as it was before gzip, where it was gzipped.
func unzipped(raw []byte) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, 1<<30))
}

// parseProfile reads a profile, gzipped or not.
func parseProfile(raw []byte) (*profile, error) {
	raw, err := unzipped(raw)
	if err != nil {
		return nil, err
	}
	p := &profile{locations: map[uint64][]uint64{}, functions: map[uint64]uint64{}}
	err = eachField(raw, func(f field) error {
		switch f.number {
		case sampleField:
			return p.addSample(f.bytes)
		case locationField:
			return p.addLocation(f.bytes)
		case functionField:
			return p.addFunction(f.bytes)
		case stringField:
			p.names = append(p.names, string(f.bytes))
		}
		return nil
	})
	if err == nil && len(p.names) == 0 {
		err = errProfile
	}
	return p, err
}

func (p *profile) addSample(raw []byte) error {
	var s sample
	var values []uint64
	err := eachField(raw, func(f field) (err error) {
		switch f.number {
		case 1:
			s.locations, err = f.numbers(s.locations)
		case 2:
			values, err = f.numbers(values)
		}
		return err
	})
	if err != nil || len(values) == 0 {
		return errors.Join(err, errIf(len(values) == 0))
	}
	s.value = int64(values[0])
	p.samples = append(p.samples, s)
	return nil
}

func errIf(wrong bool) error {
	if wrong {
		return errProfile
	}
	return nil
}

func (p *profile) addLocation(raw []byte) error {
	var id uint64
	var functions []uint64
	err := eachField(raw, func(f field) error {
		switch f.number {
		case 1:
			id = f.number64
		case 4:
			return eachField(f.bytes, func(line field) error {
				if line.number == 1 {
					functions = append(functions, line.number64)
				}
				return nil
			})
		}
		return nil
	})
	p.locations[id] = functions
	return err
}

func (p *profile) addFunction(raw []byte) error {
	var id, name uint64
	err := eachField(raw, func(f field) error {
		switch f.number {
		case 1:
			id = f.number64
		case 2:
			name = f.number64
		}
		return nil
	})
	p.functions[id] = name
	return err
}

// stack returns the names on a sample's stack, the leaf first.
func (p *profile) stack(s sample) (names []string) {
	for _, location := range s.locations {
		for _, function := range p.locations[location] {
			if name := p.functions[function]; name < uint64(len(p.names)) {
				names = append(names, p.names[name])
			}
		}
	}
	return names
}

// field is one field of a protobuf message: a number or bytes.
type field struct {
	number   uint64
	number64 uint64
	bytes    []byte
	whole    []byte // with its tag
}

// numbers appends a repeated number, packed or not.
func (f field) numbers(to []uint64) ([]uint64, error) {
	if f.bytes == nil {
		return append(to, f.number64), nil
	}
	for rest := f.bytes; len(rest) > 0; {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			return nil, errProfile
		}
		to, rest = append(to, n), rest[size:]
	}
	return to, nil
}

// eachField calls fn for each field of a protobuf message.
func eachField(raw []byte, fn func(field) error) error {
	for len(raw) > 0 {
		begin := raw
		tag, size := binary.Uvarint(raw)
		if size <= 0 {
			return errProfile
		}
		raw = raw[size:]
		f := field{number: tag >> 3}
		switch tag & 7 {
		case 0:
			if f.number64, size = binary.Uvarint(raw); size <= 0 {
				return errProfile
			}
			raw = raw[size:]
		case 1:
			raw = raw[min(8, len(raw)):]
		case 2:
			length, size := binary.Uvarint(raw)
			if size <= 0 || length > uint64(len(raw)-size) {
				return errProfile
			}
			f.bytes, raw = raw[size:size+int(length):size+int(length)], raw[size+int(length):]
		case 5:
			raw = raw[min(4, len(raw)):]
		default:
			return errProfile
		}
		f.whole = begin[:len(begin)-len(raw)]
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

// own is how the names of Keytoll's functions begin.
const own = "github.com/keytoll/keytoll/"

// shares are parts of all samples.
type shares struct {
	own        float64            // in Keytoll's own functions
	whole      float64            // there and in what they call, but for what they hand a request on to
	byFunction map[string]float64 // of whole, by the innermost function of Keytoll's
}

// shares returns which parts of the samples were spent by Keytoll: not those in
// the handlers it hands a request on to, nor in sending their answer.
func (p *profile) shares() shares {
	s := shares{byFunction: map[string]float64{}}
	var all float64
	for _, taken := range p.samples {
		value, stack := float64(taken.value), p.stack(taken)
		all += value
		name := spender(stack)
		if name == "" {
			continue
		}
		s.whole += value
		s.byFunction[strings.TrimPrefix(name, own)] += value
		if stack[0] == name {
			s.own += value
		}
	}
	if all == 0 {
		return s
	}
	s.own, s.whole = s.own/all, s.whole/all
	for name := range s.byFunction {
		s.byFunction[name] /= all
	}
	return s
}

// spender returns the function of Keytoll's that a stack, leaf first, is to be
// charged to, or "".
func spender(stack []string) string {
	for _, name := range stack {
		switch {
		case strings.HasPrefix(name, own):
			return name
		case handedOn(name):
			return ""
		}
	}
	return ""
}

// handedOn reports whether a function is where a handler lets others work: the
// next handler, or the answer's writer.
func handedOn(name string) bool {
	if strings.HasSuffix(name, ".ServeHTTP") {
		return true
	}
	for _, writer := range []string{"net/http.(*response).", "net/http.(*http2responseWriter).", "caddyhttp.(*ResponseWriterWrapper)."} {
		if _, method, found := strings.Cut(name, writer); found && method != "Header" {
			return true
		}
	}
	return false
}

// profileText lists the largest parts of byFunction.
func profileText(byFunction map[string]float64, most int) string {
	var b strings.Builder
	for _, name := range largest(byFunction, most) {
		fmt.Fprintf(&b, "  %5.2f %%  %s\n", 100*byFunction[name], name)
	}
	return b.String()
}
