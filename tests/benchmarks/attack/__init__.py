"""Seeded attacks on whatever m2ib reads; ``tests/benchmarks/attacks.py`` runs them."""
