"""Raw inputs made ready: one module for each kind, shared by all adapters."""
