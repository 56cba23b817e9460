// SPDX-License-Identifier: Apache-2.0

package memstore

import (
	"bytes"
	"errors"
	"math/rand/v2"

	"github.com/keytoll/keytoll/plugin/store/ordered"
)

// node is one record of a treap: a search tree by key that is a heap by weight,
// and so balanced, as weights are random.
type node struct {
	key, value  []byte
	weight      uint64
	left, right *node
	maker       *maker // the transaction that may still change it
}

// maker stands for one transaction that writes. It refers to nothing, so that
// the nodes that name it keep nothing else alive.
type maker struct{ _ byte }

type bucket struct {
	root  *node
	maker *maker // nil where the transaction only reads
}

var (
	errReadOnly = errors.New("transaction only reads")
	errKey      = errors.New("key is empty")
)

// Get implements ordered.Bucket.
func (b *bucket) Get(key []byte) []byte {
	for n := b.root; n != nil; {
		switch c := bytes.Compare(key, n.key); {
		case c == 0:
			return n.value
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil
}

// Put implements ordered.Bucket.
func (b *bucket) Put(key, value []byte) error {
	if b.maker == nil {
		return errReadOnly
	}
	if len(key) == 0 {
		return errKey
	}
	b.root = b.put(b.root, key, append([]byte{}, value...))
	return nil
}

func (b *bucket) put(n *node, key, value []byte) *node {
	if n == nil {
		return &node{key: bytes.Clone(key), value: value, weight: rand.Uint64(), maker: b.maker} //nolint:gosec // a weight is no secret
	}
	n = b.mine(n)
	switch c := bytes.Compare(key, n.key); {
	case c == 0:
		n.value = value
	case c < 0:
		n.left = b.put(n.left, key, value)
		if n.left.weight > n.weight {
			up := n.left
			n.left, up.right = up.right, n
			return up
		}
	default:
		n.right = b.put(n.right, key, value)
		if n.right.weight > n.weight {
			up := n.right
			n.right, up.left = up.left, n
			return up
		}
	}
	return n
}

// mine returns n, or a copy of it where another transaction made it.
func (b *bucket) mine(n *node) *node {
	if n.maker == b.maker {
		return n
	}
	c := *n
	c.maker = b.maker
	return &c
}

// Delete implements ordered.Bucket.
func (b *bucket) Delete(key []byte) error {
	if b.maker == nil {
		return errReadOnly
	}
	if b.Get(key) != nil {
		b.root = b.remove(b.root, key)
	}
	return nil
}

func (b *bucket) remove(n *node, key []byte) *node {
	switch c := bytes.Compare(key, n.key); {
	case c < 0:
		n = b.mine(n)
		n.left = b.remove(n.left, key)
	case c > 0:
		n = b.mine(n)
		n.right = b.remove(n.right, key)
	default:
		return b.join(n.left, n.right)
	}
	return n
}

// join makes one tree of two, all keys of left being less than those of right.
func (b *bucket) join(left, right *node) *node {
	switch {
	case left == nil:
		return right
	case right == nil:
		return left
	case left.weight > right.weight:
		left = b.mine(left)
		left.right = b.join(left.right, right)
		return left
	}
	right = b.mine(right)
	right.left = b.join(left, right.left)
	return right
}

// Cursor implements ordered.Bucket.
func (b *bucket) Cursor() ordered.Cursor { return &cursor{bucket: b} }

// cursor finds each neighbour from the root: that costs a search, and needs no
// care for what is written meanwhile.
type cursor struct {
	bucket *bucket
	at     *node
}

func (c *cursor) stand(n *node) (key, value []byte) {
	c.at = n
	if n == nil {
		return nil, nil
	}
	return n.key, n.value
}

// Last implements ordered.Cursor.
func (c *cursor) Last() (key, value []byte) {
	n := c.bucket.root
	for n != nil && n.right != nil {
		n = n.right
	}
	return c.stand(n)
}

// Seek implements ordered.Cursor.
func (c *cursor) Seek(wanted []byte) (key, value []byte) {
	return c.stand(c.after(wanted, true))
}

// Next implements ordered.Cursor.
func (c *cursor) Next() (key, value []byte) {
	if c.at == nil {
		return nil, nil
	}
	return c.stand(c.after(c.at.key, false))
}

// after returns the first node past key, or at it.
func (c *cursor) after(key []byte, orAt bool) (found *node) {
	for n := c.bucket.root; n != nil; {
		if d := bytes.Compare(n.key, key); d > 0 || d == 0 && orAt {
			found, n = n, n.left
		} else {
			n = n.right
		}
	}
	return found
}

// Prev implements ordered.Cursor.
func (c *cursor) Prev() (key, value []byte) {
	if c.at == nil {
		return nil, nil
	}
	var found *node
	for n := c.bucket.root; n != nil; {
		if bytes.Compare(n.key, c.at.key) < 0 {
			found, n = n, n.right
		} else {
			n = n.left
		}
	}
	return c.stand(found)
}
