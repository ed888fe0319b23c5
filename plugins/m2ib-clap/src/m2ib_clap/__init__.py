"""CLAP, sounds and texts in one space, for m2ib."""
