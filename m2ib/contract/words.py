"""The words of a text in any script, and what its tokens hold as values of words.

Words lie between Unicode's word boundaries (UAX 29), and never cut what a reader takes for one character: a letter
with its marks, a conjunct, an emoji of several code points. Beyond the standard, hyphens and apostrophes between
letters join what they stand between, and so do signs in a row (``?!``, not emoji). Scripts that write no spaces (Thai,
Khmer, Chinese, hiragana, ...) have no boundaries to go by: there a word is one character, or as many as a token covers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import regex

from m2ib.contract.layout import Token

Span = tuple[int, int]

_BOUNDARY = regex.compile(r"(?w)\b")
_CLUSTER = regex.compile(r"\X")
_UNSPACED = r"\p{Line_Break=SA}\p{Han}\p{Hiragana}\p{Word_Break=Katakana}"
_LETTERS = regex.compile(rf"(?V1)[[\w\p{{N}}]--[{_UNSPACED}]]")
_WORD = regex.compile(r"[\w\p{N}]")
_HYPHEN = regex.compile(r"['’\-\u2010\u2011]")
_EMOJI = regex.compile(r"\p{Extended_Pictographic}|\p{Regional_Indicator}")


def clusters(text: str) -> list[Span]:
    """(start, end) of what a reader takes for one character (extended grapheme clusters), all of ``text``."""
    return [match.span() for match in _CLUSTER.finditer(text)]


def word_spans(text: str) -> list[Span]:
    """(start, end) of each word of ``text``, in order; white space belongs to none."""
    inner = {match.start() for match in _BOUNDARY.finditer(text)}
    cuts = sorted({0, len(text)} | inner.intersection(start for start, _ in clusters(text)))
    parts = [part for part in pairwise(cuts) if not text[slice(*part)].isspace()]
    spans: list[Span] = []
    before, worded = (0, 0), False  # the last part, and whether its word has a letter or digit so far
    for number, part in enumerate(parts):
        after = parts[number + 1] if number + 1 < len(parts) else (0, 0)
        goes_on = bool(spans) and spans[-1][1] == part[0] and not _EMOJI.match(text, spans[-1][0])
        if goes_on and _joined(text, before, part, after, worded):
            spans[-1] = spans[-1][0], part[1]
        else:
            spans.append(part)
            worded = False
        before, worded = part, worded or bool(_WORD.search(text, *part))
    return spans


def _joined(text: str, before: Span, part: Span, after: Span, worded: bool) -> bool:
    """Whether ``part`` goes on with a word that ends with the part ``before`` it; ``after`` is the part that follows."""
    sign, following = (text[start:end] for start, end in (part, after))
    if _EMOJI.match(sign):
        return False
    if not worded:
        return not _WORD.search(sign)
    if _HYPHEN.fullmatch(sign):
        return _letters(text, before) and part[1] == after[0] and bool(_LETTERS.match(following))
    joining = _HYPHEN.fullmatch(text[before[1] - 1]) or _letters(text, before)
    return bool(joining and _LETTERS.match(sign))


def _letters(text: str, span: Span) -> bool:
    """Whether a word ends with a letter or digit, whatever its marks, of a script that writes spaces."""
    return bool(_LETTERS.match(text, clusters(text[slice(*span)])[-1][0] + span[0]))


def word_groups(text: str, tokens: Sequence[Token]) -> list[tuple[int, int, list[int]]]:
    """(start, end, numbers of its tokens) of the words that have tokens.

    A token that spans several words makes them one. One that holds nothing but white space counts for the word
    that follows, or for the last one; special tokens for none. Whatever the others hold is in some word.
    """
    content = [(number, token) for number, token in enumerate(tokens) if not token.special]
    spans = word_spans(text) or [(0, len(text))]
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    apart = [1] * len(spans)  # whether a word begins here: 0 where a token goes on from the word before
    places = []
    for _, token in content:
        start, end = token.start, token.end
        while start < end - 1 and text[start : start + 1].isspace():  # a token may carry the space before it
            start += 1
        first = min(bisect_right(ends, start), len(spans) - 1)
        last = max(first, bisect_left(starts, max(end, start + 1)) - 1)
        apart[first + 1 : last + 1] = [0] * (last - first)
        places.append(first)
    word_of = [number - 1 for number in accumulate([1, *apart[1:]])]
    found: dict[int, list[int]] = {}
    for place, (number, _) in zip(places, content, strict=True):
        found.setdefault(word_of[place], []).append(number)
    words = []
    for word, held in sorted(found.items()):
        first, last = bisect_left(word_of, word), bisect_right(word_of, word) - 1
        words.append((starts[first], ends[last], held))
    return words


def placed_words(
    text: str, tokens: Sequence[Token], values: np.ndarray, *, mean: bool = False
) -> list[tuple[int, int, float]]:
    """(start, end, value) of the words of :func:`word_groups`: the sum of their tokens' ``values`` (tokens,), or the mean."""
    plain = [float(value) for value in values]
    return [
        (start, end, sum(plain[number] for number in held) / (len(held) if mean else 1))
        for start, end, held in word_groups(text, tokens)
    ]


def merge_words(
    text: str, tokens: Sequence[Token], values: np.ndarray, *, mean: bool = False
) -> list[tuple[str, float]]:
    """(word, value) for the words of :func:`placed_words`."""
    return [(text[start:end], value) for start, end, value in placed_words(text, tokens, values, mean=mean)]
