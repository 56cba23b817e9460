// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"
)

// Lender hands out units of buckets to nodes as leases. A bucket is one limit
// in one period (or, for rates, one window). All figures of a node are
// cumulative over the bucket's life, so that any call may be lost, repeated or
// late: the larger figure holds.
type Lender interface {
	// Take answers each ask in order.
	Take(ctx context.Context, asks []Ask) ([]Loan, error)
}

// An Ask is one node's wish for one bucket.
type Ask struct {
	Bucket string
	Node   string
	Limit  int64     // what the bucket holds in all, as the node knows it: the last one told holds
	Spent  int64     // by this node so far, cumulative
	Taken  int64     // that this node wishes to have been lent in all, cumulative
	Ends   time.Time // when the bucket may be forgotten
}

// A Loan is the answer to an Ask.
type Loan struct {
	Taken int64 // what the node has been lent in all: never less than before
	Left  int64 // what the bucket could still lend to anybody
}
