"""Text -> tokens with their places in the text, for any tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import regex
import torch
from torch import Tensor

from m2ib.contract.layout import Token
from m2ib.contract.words import clusters
from m2ib.errors import InputError
from m2ib.notices import warn


def check_text(raw: Any) -> str:
    """The text itself. Raises :class:`InputError` for anything else, and for one without content."""
    if isinstance(raw, (bytes, bytearray, memoryview)) or hasattr(raw, "read"):
        way = "read it first, as in file.read()" if hasattr(raw, "read") else "decode it, as in raw.decode()"
        raise InputError(f"text: a {type(raw).__name__} is no text; {way}, and give the string")
    if not isinstance(raw, str):
        raise InputError(
            f"text: cannot use {raw!r:.40} of type {type(raw).__name__}; give a string or a tensor of token ids"
        )
    if not raw.strip():
        raise InputError(f"text {raw!r} is empty; give at least one word")
    if lone := next((sign for sign in raw if "\ud800" <= sign <= "\udfff"), None):
        raise InputError(
            f"text {raw[:40]!r} holds {lone!r}, half a character (a lone surrogate); decode it anew"
        )
    return raw


def ids_of(encoded: Mapping[str, Any], *, padded: bool) -> Tensor:
    """The ids of what a tokenizer of transformers gives, without what its mask leaves out; ``padded``: with it.

    Raises :class:`InputError`.
    """
    if "input_ids" not in encoded:
        raise InputError(
            f"text: a mapping needs the key 'input_ids'; it has {', '.join(map(repr, encoded)) or 'none'}"
        )
    try:
        ids = torch.as_tensor(encoded["input_ids"])
        mask = torch.as_tensor(encoded.get("attention_mask", torch.ones_like(ids)))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"text: input_ids and attention_mask are whole numbers of one length: {error}"
        ) from error
    if mask.shape != ids.shape:
        raise InputError(
            f"text: attention_mask {tuple(mask.shape)} is not of the shape of input_ids {tuple(ids.shape)}"
        )
    return ids if padded or ids.ndim != 1 else ids[mask.bool()]


def too_long(text: str, count: int, limit: int) -> InputError:
    """The error for a text of ``count`` tokens where the model takes ``limit``, special ones included."""
    return InputError(
        f"text {text[:40]!r}{'...' if len(text) > 40 else ''} has {count} tokens, {count - limit} more than the "
        f"model's {limit}; shorten it, or pass truncate=True (--truncate)"
    )


def check_ids(ids: Any, limit: int, vocabulary: int) -> list[int]:
    """Token ids given as a tensor. Raises :class:`InputError` if they cannot be a text of this model."""
    if ids.ndim != 1 or ids.numel() == 0 or not str(ids.dtype).startswith(("torch.int", "torch.uint")):
        raise InputError(
            f"text: token ids are a 1-D integer tensor, special tokens included, not {tuple(ids.shape)} {ids.dtype}"
        )
    values: list[int] = ids.tolist()
    if len(values) > limit:
        raise InputError(
            f"text: {len(values)} token ids are {len(values) - limit} more than the model's {limit}"
        )
    for value in values:
        if not 0 <= value < vocabulary:
            raise InputError(f"text: the token id {value} is outside the model's vocabulary of {vocabulary}")
    return values


def check_words(special: Iterable[bool]) -> None:
    """Raises :class:`InputError` where token ids are special ones all of them."""
    if all(special):
        raise InputError("text: the token ids hold special tokens only")


def warn_unknown(tokens: Sequence[Token], ids: Sequence[int], unknown: int | None) -> None:
    """Warns of the parts of a text that its tokenizer has no other token for than the ``unknown`` one."""
    parts = [
        token.text
        for token, value in zip(tokens, ids, strict=True)
        if value == unknown and not token.special and token.text
    ]
    if parts:
        some = ", ".join(map(repr, list(dict.fromkeys(parts))[:5]))
        warn(
            f"text: the model's tokenizer has no token for {some}{', ...' if len(set(parts)) > 5 else ''}; the model "
            "reads its unknown token there, whatever it says"
        )


def tokens_of_text(
    text: str, names: Sequence[str], offsets: Sequence[tuple[int, int]], special: Sequence[bool]
) -> tuple[Token, ...]:
    """Tokens of a known text: ordinary ones are spelt as in the text, special ones by their names."""
    return tuple(
        Token(name if is_special or start == end else text[start:end].strip(), start, end, is_special)
        for name, (start, end), is_special in zip(names, offsets, special, strict=True)
    )


def tokens_of_ids(
    ids: Sequence[int], special: Sequence[bool], names: Sequence[str], decode: Callable[[list[int]], str]
) -> tuple[str, tuple[Token, ...]]:
    """The text that ids stand for, and their tokens.

    Where a token ends in the text is where the text of all tokens up to it ends: ``decode`` knows how the
    tokenizer marks spaces and sub-words, nobody else has to.
    """
    content = [value for value, is_special in zip(ids, special, strict=True) if not is_special]
    text = _whole(decode(content))
    tokens, done, place = [], 0, 0
    for name, is_special in zip(names, special, strict=True):
        if is_special:
            tokens.append(Token(name, place, place, True))
            continue
        done += 1
        spelt = _whole(decode(content[:done]))
        known = max(place, _shared(spelt, text))
        # The bytes of a sign may be several tokens: until the last of them it is spelt otherwise.
        end = min(len(text), known + (known == place or len(spelt) > known))
        start = place
        while start < end and text[start].isspace():
            start += 1
        tokens.append(Token(text[start:end] or name, start, end))
        place = known
    return text, tuple(tokens)


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


_APART = regex.compile(r" (?=[\p{M}\u200c\u200d])|(?<=[\p{Indic_Syllabic_Category=Virama}\u200d]) ")


def _whole(text: str) -> str:
    """Without the spaces that some tokenizers, which take letters and marks for words of their own, write within one."""
    return _APART.sub("", text).strip()


def aligned(raw: str, clean: Callable[[str], str]) -> list[tuple[str, int, int]]:
    """What ``clean`` makes of ``raw`` character by character: (sign, start, end), where each one stands in ``raw``.

    White space is left out. A letter and its marks are cleaned together where that makes another sign of them (they
    are composed). Compare the signs with the cleaned text: ``clean`` may look further than that.
    """
    found = []
    for start, end in clusters(raw):
        whole = clean(raw[start:end])
        alone = [(clean(raw[place]), place, place + 1) for place in range(start, end)]
        parts = alone if "".join(part for part, *_ in alone) == whole else [(whole, start, end)]
        found += [(sign, first, last) for part, first, last in parts for sign in part if not sign.isspace()]
    return found
