"""Trains ``imagebind-tiny`` on procedural scenes: ``python -m m2ib_adapters.imagebind_tiny.train``."""
