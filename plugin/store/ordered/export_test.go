// SPDX-License-Identifier: Apache-2.0

package ordered

// Tire makes lists take the other way after little effort, as if there were
// very many records.
func (e *Engine) Tire() { e.effort = effort{few: 3, tests: 5} }
