// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"fmt"
	"sync"
)

// figures are what the tests measured, printed at the end.
var figures table

// table is a list of named figures in the order of their first mention. It may
// be used concurrently.
type table struct {
	mu    sync.Mutex // guards the rest
	names []string
	value map[string]any
}

// set gives a figure its value.
func (f *table) set(name string, value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.value == nil {
		f.value = make(map[string]any)
	}
	if _, ok := f.value[name]; !ok {
		f.names = append(f.names, name)
	}
	f.value[name] = value
}

// add adds to a figure that is a number.
func (f *table) add(name string, n int64) {
	f.mu.Lock()
	before, _ := f.value[name].(int64)
	f.mu.Unlock()
	f.set(name, before+n)
}

func (f *table) print() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.names) == 0 {
		return
	}
	fmt.Println("\n| figure | |\n|---|---:|")
	for _, name := range f.names {
		fmt.Printf("| %s | %v |\n", name, f.value[name])
	}
}
