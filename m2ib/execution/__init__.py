"""How a model is run, whatever the caller's surroundings are. Knows torch, and nothing of what m2ib explains."""
