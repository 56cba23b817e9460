// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// print writes the table, and below it the facts.
func (r *run) print() error {
	base := r.subjects[0]
	same := r.subject(plainName)
	if same == nil {
		same = base
	}
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tCPU a request\tto %s\tto %s\tallocations\tp50\tp99\tRssAnon\t\n", same.name, base.name)
	for _, s := range r.subjects {
		fmt.Fprintf(w, "%s\t%s\t%.3f\t%.3f\t%.1f\t%s\t%s\t%s\t\n", s.name, micros(median(s.cpu)), ratio(s, same), ratio(s, base),
			median(s.mallocs), micros(percentile(s.took, 50)), micros(percentile(s.took, 99)), megabytes(s.memory))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "\n%d rounds of %d requests over %d connections; latencies at %d requests a second\n\n",
		r.rounds, r.requests, r.connections, r.perSecond)
	for _, fact := range r.facts {
		fmt.Fprintln(r.out, fact)
	}
	return nil
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }

// largest returns the names of the largest parts, the largest first.
func largest(parts map[string]float64, most int) []string {
	names := slices.SortedFunc(maps.Keys(parts), func(a, b string) int {
		return cmp.Or(cmp.Compare(parts[b], parts[a]), cmp.Compare(a, b))
	})
	return names[:min(most, len(names))]
}
