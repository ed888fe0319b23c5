"""The smallest adapter for m2ib."""
