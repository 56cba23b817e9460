// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// LazyEncoder writes a log as the encoder it wraps does, and spares the work
// for what is never written. reverse_proxy has the whole request encoded for
// every answer, for an entry that is written at level DEBUG only; with a filter
// that is a tenth of the CPU of a proxied request.
//
// Objects are encoded as they are when an entry is written, not as they were
// when a logger was told of them. It goes around a filter, not into one:
//
//	log default {
//		format lazy {
//			wrap filter {
//				wrap json
//				request>headers>X-Api-Key delete
//			}
//		}
//	}
type LazyEncoder struct {
	// The encoder that writes. Default: `json`, or `console` on a terminal
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	zapcore.Encoder `json:"-"` // what was told and is no object is in there already
	objects         []zapcore.Field
}

// CaddyModule returns the Caddy module information.
func (*LazyEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.lazy", New: func() caddy.Module { return new(LazyEncoder) }}
}

// Provision loads the wrapped encoder.
func (l *LazyEncoder) Provision(ctx caddy.Context) error {
	if l.WrappedRaw == nil { // a filter of nothing is Caddy's own default
		filter := new(logging.FilterEncoder)
		l.Encoder = filter
		return filter.Provision(ctx)
	}
	wrapped, err := ctx.LoadModule(l, "WrappedRaw")
	if err != nil {
		return fmt.Errorf("loading the wrapped encoder: %w", err)
	}
	l.Encoder = wrapped.(zapcore.Encoder)
	return nil
}

// ConfigureDefaultFormat lets the wrapped encoder choose by what is written to.
func (l *LazyEncoder) ConfigureDefaultFormat(w caddy.WriterOpener) error {
	if chooses, ok := l.Encoder.(caddy.ConfiguresFormatterDefault); ok {
		return chooses.ConfigureDefaultFormat(w)
	}
	return nil
}

// UnmarshalCaddyfile reads
//
//	lazy {
//		wrap <encoder> ...
//	}
func (l *LazyEncoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "wrap" {
			return d.Err(unknownWord("option", d.Val(), "wrap").Error())
		}
		if l.WrappedRaw != nil {
			return d.Err("'wrap' is said twice")
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		name := d.Val()
		module, err := caddyfile.UnmarshalModule(d, "caddy.logging.encoders."+name)
		if err != nil {
			return err
		}
		wrapped, ok := module.(zapcore.Encoder)
		if !ok {
			return d.Errf("'%s' is no log encoder", name)
		}
		l.WrappedRaw = caddyconfig.JSONModuleObject(wrapped, "format", name, nil)
	}
	return nil
}

// AddObject keeps an object for the entries that will be written.
func (l *LazyEncoder) AddObject(key string, object zapcore.ObjectMarshaler) error {
	l.objects = append(l.objects, zap.Object(key, object))
	return nil
}

// OpenNamespace puts what follows into key. What came before is encoded, so
// that it stays outside.
func (l *LazyEncoder) OpenNamespace(key string) {
	l.told(l.Encoder)
	l.objects = nil
	l.Encoder.OpenNamespace(key)
}

func (l *LazyEncoder) told(to zapcore.Encoder) {
	for i := range l.objects {
		l.objects[i].AddTo(to)
	}
}

// Clone returns an encoder that was told the same.
func (l *LazyEncoder) Clone() zapcore.Encoder {
	return &LazyEncoder{Encoder: l.Encoder.Clone(), objects: slices.Clip(l.objects)}
}

// EncodeEntry encodes an entry and all that the logger was told before.
func (l *LazyEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	if len(l.objects) == 0 {
		return l.Encoder.EncodeEntry(entry, fields)
	}
	whole := l.Encoder.Clone()
	l.told(whole)
	return whole.EncodeEntry(entry, fields)
}

// Interface guards
var (
	_ caddy.Provisioner                = (*LazyEncoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*LazyEncoder)(nil)
	_ caddyfile.Unmarshaler            = (*LazyEncoder)(nil)
	_ zapcore.Encoder                  = (*LazyEncoder)(nil)
)
