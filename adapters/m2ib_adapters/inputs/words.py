"""Whole words -> token ids, from a vocabulary of the model's own, and where in the text each word stands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from m2ib.errors import InputError, did_you_mean
from m2ib_adapters.inputs.tokens import Coded, FramedIds

_WORD = re.compile(r"[^\s.,;:!?]+")


class WordCoder(FramedIds):
    """Words in any case; the marks ``. , ; : ! ?`` separate them and get no token.

    Ids: 0 pads, the words of the vocabulary are 1 .. n in their order, ``start`` is n + 1 and ``end`` n + 2,
    the largest of all.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._ids = {word: number for number, word in enumerate(self._words, 1)}
        self.start = len(self._words) + 1
        self.end = len(self._words) + 2

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        """Start, words, end; see :class:`Coder`. Raises :class:`InputError`, also for an unknown word."""
        found = [(self._id(match.group(), raw), match.span()) for match in _WORD.finditer(raw)]
        return self._fitted(raw, raw, found, limit, truncate, padded)

    def _id(self, given: str, raw: str) -> int:
        word = given.lower()
        if word not in self._ids:
            raise InputError(
                f"text {raw[:40]!r}{'...' if len(raw) > 40 else ''}: the model does not know the word {word!r}"
                f"{did_you_mean(word, self._words)} Known: {', '.join(sorted(self._words))}"
            )
        return self._ids[word]

    def _names(self, ids: Sequence[int]) -> list[str]:
        names = ("<pad>", *self._words, "<start_of_text>", "<end_of_text>")
        return [names[value] for value in ids]

    def _special(self, ids: Sequence[int]) -> list[bool]:
        return [value == self.pad or value >= self.start for value in ids]
