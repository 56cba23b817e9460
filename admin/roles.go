// SPDX-License-Identifier: Apache-2.0

package admin

// A Role says what the holder of an admin token may do.
type Role string

// The roles.
const (
	RoleOwner     Role = "owner"     // everything
	RoleProvision Role = "provision" // customers, keys and portal sessions
	RoleSupport   Role = "support"   // reads; disable, enable and revoke keys
	RoleMeter     Role = "meter"     // usage
	RoleRead      Role = "read"      // reads, without export and backup
)

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r.bit() != 0 }

func (r Role) bit() roles {
	switch r {
	case RoleOwner:
		return owner
	case RoleProvision:
		return provision
	case RoleSupport:
		return support
	case RoleMeter:
		return metering
	case RoleRead:
		return reading
	}
	return 0
}

// roles is a set of roles. The owner is in every one.
type roles uint8

const (
	owner roles = 1 << iota
	provision
	support
	metering
	reading
	public // nobody needs to say who they are

	ownerOnly = owner
	reads     = support | reading
	anyRole   = provision | support | metering | reading
)

// allow reports whether a token of that role may make a call for which rs is
// given.
func (rs roles) allow(role Role) bool {
	return role == RoleOwner || rs&role.bit() != 0
}
