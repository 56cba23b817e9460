// SPDX-License-Identifier: Apache-2.0

package meter

import "sync/atomic"

// stack gathers values for one goroutine to take, without a lock.
type stack[T any] struct {
	head  atomic.Pointer[node[T]]
	ready chan struct{} // nil where nobody waits; else of capacity 1
}

type node[T any] struct {
	value T
	next  *node[T]
}

func (s *stack[T]) push(v T) {
	n := &node[T]{value: v}
	for {
		n.next = s.head.Load()
		if s.head.CompareAndSwap(n.next, n) {
			break
		}
	}
	if s.ready != nil {
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
}

// take returns everything pushed so far, oldest first.
func (s *stack[T]) take() []T {
	var values []T
	for n := s.head.Swap(nil); n != nil; n = n.next {
		values = append(values, n.value)
	}
	for i, j := 0, len(values)-1; i < j; i, j = i+1, j-1 {
		values[i], values[j] = values[j], values[i]
	}
	return values
}
