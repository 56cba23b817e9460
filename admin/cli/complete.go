// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytoll/keytoll/admin/client"
)

// completionTime is how long a shell waits for names.
const completionTime = 300 * time.Millisecond

// maxNames is how many names a shell is given.
const maxNames = "50"

// names asks the admin API for the names that begin so; none where it does not
// answer in time.
func names[T any](a *app, c *cobra.Command, path, start string, name func(T) string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	parent := c.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionTime)
	defer cancel()
	api, err := a.connect()
	if err != nil {
		return nil, directive
	}
	query := url.Values{"limit": {maxNames}}
	if start != "" {
		query.Set("q", start)
	}
	page, err := client.Get[client.Page[T]](ctx, api, path, query)
	if err != nil {
		return nil, directive
	}
	var found []cobra.Completion
	for _, record := range page.Value.Data {
		if text := name(record.Value); text != "" {
			found = append(found, text)
		}
	}
	return found, directive
}

func (a *app) completeKeys(c *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return names(a, c, "/v1/keys", start, func(k client.Key) string {
		if slices.Contains(args, k.ID) {
			return ""
		}
		return cobra.CompletionWithDesc(k.ID, plainly(k.Name+" "+k.Start))
	})
}

func (a *app) completeCustomers(c *cobra.Command, _ []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return names(a, c, "/v1/customers", start, func(k client.Customer) string {
		return cobra.CompletionWithDesc(called(k, k.ID), plainly(k.Name))
	})
}

func (a *app) completePlans(c *cobra.Command, _ []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return names(a, c, "/v1/plans", start, func(p client.Plan) string {
		return cobra.CompletionWithDesc(p.ID, limits(p.Quotas, p.Rates))
	})
}
