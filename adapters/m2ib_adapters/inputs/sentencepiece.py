"""Texts through ``SiglipTokenizer``, which is sentencepiece in Python and does not tell where its pieces stand."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from m2ib_adapters.inputs.texts import aligned
from m2ib_adapters.inputs.tokens import Coded, TokenizerCoder, fitting, spelt

_SPACE = "\u2581"  # what sentencepiece writes for a space


class SentencePieceCoder(TokenizerCoder):
    """SigLIP's own tokenizer: it drops punctuation and capitals, and offsets refer to the text as it was given.

    Where pieces cannot be found again in the text (a special token is written out in it) the text shown is the one
    that the pieces spell.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._lower = bool(getattr(tokenizer, "do_lower_case", True))
        self.special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}  # which stands for a sign
        self._known = len(tokenizer)

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        """``raw`` as at most ``limit`` ids, the end token included; ``padded``: exactly so many.

        Raises :class:`m2ib.InputError` for a longer text, unless ``truncate``.
        """
        excess = self._exceeds(raw, raw, limit, truncate)
        ids = list(self._tokenizer(raw, verbose=False, **fitting(limit, padded))["input_ids"])
        pieces = self._tokenizer.tokenize(raw)
        spans = piece_spans(raw, pieces, lower=self._lower)
        if spans is None:
            return replace(self.read(ids), truncated=excess)
        spans = spans[: limit - 1]  # the end token is the last that is kept
        filled, end = len(ids) - len(spans), spans[-1][1] if spans else 0
        special = [False] * len(spans) + [True] * filled
        return self._coded(raw, ids, spans + [(end, end)] * filled, special, excess)

    def _names(self, ids: Sequence[int]) -> list[str]:
        """By id; a model may have more of them than its tokenizer."""
        names = iter(self._tokenizer.convert_ids_to_tokens([value for value in ids if value < self._known]))
        return [next(names) if value < self._known else f"id{value}" for value in ids]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode([value for value in ids if value < self._known]))


def piece_spans(raw: str, pieces: Sequence[str], *, lower: bool) -> list[tuple[int, int]] | None:
    """(start, end) of each piece in ``raw``; None where the pieces do not spell the text.

    lower  whether the tokenizer lower-cases

    Pieces spell what is left of a text without spaces and ASCII punctuation, in Unicode's compatibility form. A piece that is a space alone has no length.
    """
    dropped = str.maketrans("", "", string.punctuation + _SPACE)

    def clean(text: str) -> str:
        return unicodedata.normalize("NFKC", (text.lower() if lower else text).translate(dropped))

    signs = aligned(raw, clean)
    parts = [piece.replace(_SPACE, "") for piece in pieces]
    if spelt("".join(parts)) != spelt(sign for sign, *_ in signs):
        return None
    spans: list[tuple[int, int]] = []
    done, end = 0, 0
    for part in parts:
        places = [place for _, *place in signs[done : done + len(part)]]
        start, end = (places[0][0], places[-1][1]) if places else (end, end)
        spans.append((start, end))
        done += len(part)
    return spans
