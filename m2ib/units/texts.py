"""Segments of a text: phrases as they stand in it, and its words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from m2ib.contract.segments import Segments
from m2ib.errors import InputError
from m2ib.units.rasters import checked


def of_phrases(given: Any, text: str, who: str) -> Segments:
    """Phrases of the text, one that is given twice by its second place too, or (start, end) in characters."""
    if not isinstance(given, Sequence) or not given:
        raise InputError(f"{who}: give phrases of the text, or (start, end) in characters, not {given!r:.60}")
    spans: list[tuple[int, int]] = []
    after: dict[str, int] = {}
    for each in given:
        if isinstance(each, str):
            start = text.find(each, after.get(each, 0)) if each.strip() else -1
            if start < 0:
                again = " once more" if each in after else ""
                raise InputError(f"{who}: {each!r:.80} is not in the text{again}: {text!r:.120}")
            after[each] = start + len(each)
            spans.append((start, start + len(each)))
        elif isinstance(each, Sequence) and len(each) == 2 and all(isinstance(at, int) for at in each):
            if not 0 <= each[0] < each[1] <= len(text):
                raise InputError(f"{who}: {tuple(each)} is no part of a text of {len(text)} characters")
            spans.append((each[0], each[1]))
        else:
            raise InputError(f"{who}: {each!r:.60} is neither a phrase nor (start, end) in characters")
    return of_spans(spans, text, who)


def of_spans(spans: Sequence[tuple[int, int]], text: str, who: str) -> Segments:
    """(start, end) in characters. A token may carry the space before it: so does a phrase."""
    labels = np.zeros(len(text), np.int64)
    for number, (start, end) in enumerate(spans, 1):
        if labels[start:end].any():
            raise InputError(f"{who}: {text[start:end]!r:.80} shares characters with another phrase")
        labels[start:end] = number
    if not spans:
        raise InputError(f"{who}: there are no words in {text!r:.80}")
    for at in reversed(range(len(text) - 1)):
        if text[at].isspace() and not labels[at]:
            labels[at] = labels[at + 1]
    return checked([text[start:end] for start, end in spans], labels, (), who)
