"""The first-party adapters of m2ib, registered through entry points like anybody else's."""
