// SPDX-License-Identifier: Apache-2.0

// Package crash is the judge of what Keytoll promises through crashes, and the
// adversary that brings them about: kill -9, power cuts, full and failing
// disks, clocks that leap, reloads and restores under load.
//
// The judge (judge_test.go) believes the upstream and the clients, never the
// gateway: what was forwarded, refunded, answered and received is counted by
// those who did it. A meter that counts naively stands before the same judge,
// who is worth nothing if it is acquitted (naive_test.go).
//
// `go test` runs a short form, `make crash` the long one; the figures come as a
// table at the end.
package crash
