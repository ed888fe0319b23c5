"""Molecules as SMILES, and what they are called, for m2ib."""
