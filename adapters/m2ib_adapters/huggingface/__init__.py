"""Dual and multi encoders of transformers: ``families.py`` says what they are, the others make encoders of that."""
