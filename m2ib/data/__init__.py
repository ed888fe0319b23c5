"""Pairs to explain and to evaluate on, out of files as they are published. Reading one loads no model and no image."""

from __future__ import annotations

from m2ib.data.formats import FORMATS, Format, open_pairs
from m2ib.data.huggingface import from_datasets
from m2ib.data.pairs import BadRow, Pair, Pairs, Row, take

__all__ = ["FORMATS", "BadRow", "Format", "Pair", "Pairs", "Row", "from_datasets", "open_pairs", "take"]
