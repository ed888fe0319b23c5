"""Text -> token ids as open_clip's tokenizers make them, and where in the text each token stands.

Every tokenizer of open_clip cleans a text first (broken Unicode and HTML repaired, white space joined, often
lower-cased or stripped of punctuation). Offsets refer to the text as it was given where its characters can be found
again in the cleaned one, and else to that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from m2ib.contract.layout import Token
from m2ib.errors import CheckpointError, InputError
from m2ib_adapters.inputs.media import Turn
from m2ib_adapters.inputs.texts import aligned, tokens_of_ids, tokens_of_text, too_long, warn_unknown

Span = tuple[int, int]

# A fast tokenizer holds truncation and padding as its own state: two threads at once would take each other's.
_TURN = Turn()


@dataclass(frozen=True)
class Coded:
    """A text as ids and tokens, one for one; ``text`` is what the offsets refer to."""

    text: str
    ids: list[int]
    tokens: tuple[Token, ...]
    truncated: bool = False


class Coder(Protocol):
    """A tokenizer that knows where its tokens stand, and which id it pads with.

    ``end``, where there is such a name, is the id that it ends a text with.
    """

    @property
    def pad(self) -> int: ...

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        """``raw`` as at most ``limit`` ids, special ones included; ``padded``: exactly so many.

        Raises :class:`InputError` for a longer text, unless ``truncate``.
        """
        ...

    def read(self, ids: list[int]) -> Coded:
        """What given ids stand for."""
        ...


class NamedIds(ABC):
    """Reads ids by what a tokenizer knows of them: which are special, their names, and the text of some."""

    @abstractmethod
    def _special(self, ids: Sequence[int]) -> list[bool]: ...

    @abstractmethod
    def _names(self, ids: Sequence[int]) -> list[str]: ...

    def _decode(self, ids: list[int]) -> str:
        return " ".join(self._names(ids))

    def read(self, ids: list[int]) -> Coded:
        """What given ids stand for."""
        text, tokens = tokens_of_ids(ids, self._special(ids), self._names(ids), self._decode)
        return Coded(text, ids, tokens)


class FramedIds(NamedIds):
    """Of tokenizers that begin each text with one token, end it with another one, and pad it with zeros."""

    pad = 0
    start: int
    end: int

    def _fitted(
        self, raw: str, shown: str, found: list[tuple[int, Span]], limit: int, truncate: bool, padded: bool
    ) -> Coded:
        """The ids of a text's own tokens and their places in ``shown``, as :meth:`Coder.code` gives them."""
        last = found[-1][1][1] if found else 0
        parts = [(self.start, (0, 0)), *found, (self.end, (last, last))]
        excess = len(parts) > limit
        if excess:
            if not truncate:
                raise too_long(raw, len(parts), limit)
            end = parts[limit - 2][1][1]
            parts = [*parts[: limit - 1], (self.end, (end, end))]
        if padded:
            parts += [(self.pad, parts[-1][1])] * (limit - len(parts))
        ids = [value for value, _ in parts]
        spans = [span for _, span in parts]
        return Coded(shown, ids, tokens_of_text(shown, self._names(ids), spans, self._special(ids)), excess)


def coder(tokenizer: Any) -> Coder:
    """The coder for what ``open_clip.get_tokenizer`` returns."""
    from open_clip import SimpleTokenizer

    return SimpleCoder(tokenizer) if isinstance(tokenizer, SimpleTokenizer) else HuggingFaceCoder(tokenizer)


@dataclass(frozen=True)
class Cleaned:
    """A text as a tokenizer cleans it.

    shown   the text that offsets refer to: as it was given where that is possible
    target  what is tokenized
    places  where in ``shown`` each sign of ``target`` stands
    """

    shown: str
    target: str
    places: tuple[Span, ...]

    def span(self, start: int, end: int) -> Span:
        """Of a part of ``target``, in ``shown``."""
        if start < end:
            return self.places[start][0], self.places[end - 1][1]
        place = self.places[start - 1][1] if start else 0
        return place, place


def cleaned(raw: str, clean: Callable[[str], str]) -> Cleaned:
    """As it was given, unless HTML or broken Unicode in it was repaired: then that, with its capitals if possible."""
    from open_clip.tokenizer import basic_clean, whitespace_clean

    target = clean(raw)
    for shown in (raw, whitespace_clean(basic_clean(raw))):
        signs = aligned(shown, lambda sign: _cleaned_sign(clean, sign))
        found = all(not shown[start:end].isspace() for _, start, end in signs)
        if found and spelt(sign for sign, *_ in signs) == spelt(target):
            break
    else:
        return Cleaned(target, target, tuple((place, place + 1) for place in range(len(target))))
    places: list[Span] = []
    left = iter(signs)
    for sign in target:
        last = places[-1][1] if places else 0
        places.append((last, last) if sign.isspace() else next(left)[1:])
    return Cleaned(shown, target, tuple(places))


@lru_cache(maxsize=4096)
def _cleaned_sign(clean: Callable[[str], str], sign: str) -> str:
    return clean(sign)


def spelt(signs: Iterable[str]) -> str:
    """Without white space; a sigma is another letter at the end of a word."""
    return "".join(sign for sign in signs if not sign.isspace()).replace("ς", "σ")


class SimpleCoder(FramedIds):
    """CLIP's byte-pair encoding in ``open_clip.SimpleTokenizer``, which gives no offsets itself."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.start, self.end = int(tokenizer.sot_token_id), int(tokenizer.eot_token_id)

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        text = cleaned(raw, self._tokenizer.clean_fn)
        found = [(value, text.span(*span)) for value, span in self._encode(text.target)]
        return self._fitted(raw, text.shown, found, limit, truncate, padded)

    def _encode(self, text: str) -> list[tuple[int, Span]]:
        """Ids and spans of a cleaned text: word by word as ``SimpleTokenizer.encode`` does it.

        A token is a run of bytes of its word; it spans the characters that those bytes belong to.
        """
        tokenizer = self._tokenizer
        found = []
        for match in tokenizer.pat.finditer(text):
            word = match.group()
            owner = [place for place, sign in enumerate(word, match.start()) for _ in sign.encode("utf-8")]
            coded = "".join(tokenizer.byte_encoder[byte] for byte in word.encode("utf-8"))
            done = 0
            for part in tokenizer.bpe(coded).split(" "):
                size = len(part.removesuffix("</w>"))
                found.append((tokenizer.encoder[part], (owner[done], owner[done + size - 1] + 1)))
                done += size
        return found

    def _ended(self, ids: Sequence[int]) -> int:
        return ids.index(self.end) if self.end in ids else len(ids)

    def _special(self, ids: Sequence[int]) -> list[bool]:
        """Start and end; and after the end the zeros that it is padded with."""
        known, first = set(self._tokenizer.all_special_ids), self._ended(ids)
        return [value in known or place > first for place, value in enumerate(ids)]

    def _names(self, ids: Sequence[int]) -> list[str]:
        decoder, first = self._tokenizer.decoder, self._ended(ids)
        return [
            "<pad>" if place > first and value == 0 else decoder.get(value, f"id{value}").removesuffix("</w>")
            for place, value in enumerate(ids)
        ]

    def _decode(self, ids: list[int]) -> str:
        if all(value in self._tokenizer.decoder for value in ids):
            return str(self._tokenizer.decode(ids))
        return super()._decode(ids)


class TokenizerCoder(NamedIds):
    """A transformers tokenizer that gives offsets (a fast one). Texts are tokenized as they are.

    special  ids that are no part of a text; None: the tokenizer's special ones but that of an unknown word

    Raises :class:`CheckpointError` for a slow one.
    """

    def __init__(self, tokenizer: Any, special: Collection[int] | None = None) -> None:
        if not tokenizer.is_fast:
            raise CheckpointError(
                f"text: the tokenizer {type(tokenizer).__name__} gives no offsets; save a tokenizer.json beside the "
                "weights (the fast tokenizer's save_pretrained)"
            )
        self._tokenizer = tokenizer
        self.special = _special_ids(tokenizer) if special is None else set(special)

    @property
    def pad(self) -> int:
        return int(self._tokenizer.pad_token_id or 0)

    @property
    def end(self) -> int | None:
        ids = self._tokenizer.eos_token_id, self._tokenizer.sep_token_id
        return next((value for value in ids if value is not None), None)

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        excess = self._exceeds(raw, raw, limit, truncate)
        return self._coded(raw, *self._with_offsets(raw, limit, padded), excess)

    def _exceeds(self, raw: str, text: str, limit: int, truncate: bool) -> bool:
        """Whether ``text``, what is tokenized of ``raw``, has too many tokens."""
        with _TURN:
            count = len(self._tokenizer(text, verbose=False)["input_ids"])
        if count > limit and not truncate:
            raise too_long(raw, count, limit)
        return count > limit

    def _with_offsets(self, text: str, limit: int, padded: bool) -> tuple[list[int], list[Span], list[bool]]:
        """Ids, where in ``text`` each of them stands, and which are special."""
        asked = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
        with _TURN:
            coded = self._tokenizer(text, **asked, **fitting(limit, padded))
        special = list(map(bool, coded["special_tokens_mask"]))
        return list(coded["input_ids"]), coded["offset_mapping"], special

    def _coded(
        self, shown: str, ids: list[int], spans: Sequence[Span], special: Sequence[bool], excess: bool
    ) -> Coded:
        """Ids and their places in ``shown``. Warns of unknown words."""
        tokens = tokens_of_text(shown, self._names(ids), spans, special)
        if self._tokenizer.unk_token_id not in self.special:  # CLIP's is its end token
            warn_unknown(tokens, ids, self._tokenizer.unk_token_id)
        return Coded(shown, ids, tokens, excess)

    def _special(self, ids: Sequence[int]) -> list[bool]:
        return [value in self.special for value in ids]

    def _names(self, ids: Sequence[int]) -> list[str]:
        names = self._tokenizer.convert_ids_to_tokens(ids)
        return [f"id{value}" if name is None else name for name, value in zip(names, ids, strict=True)]

    def _decode(self, ids: list[int]) -> str:
        with _TURN:
            return str(self._tokenizer.decode(ids))


def fitting(limit: int, padded: bool) -> dict[str, Any]:
    """Options of transformers' tokenizers for at most so many ids, or exactly so many."""
    return {"truncation": True, "max_length": limit, "padding": "max_length" if padded else False}


def _special_ids(tokenizer: Any) -> set[int]:
    """Without that of an unknown word, which is a part of a text, unless it serves for something else as well."""
    names = ("bos", "eos", "sep", "pad", "cls", "mask")
    others = {getattr(tokenizer, f"{name}_token_id") for name in names}
    return set(tokenizer.all_special_ids) - ({tokenizer.unk_token_id} - others)


class HuggingFaceCoder(TokenizerCoder):
    """``open_clip.tokenizer.HFTokenizer``: the offsets are those of the tokenizer it holds, if that gives them."""

    def __init__(self, tokenizer: Any) -> None:
        self._outer = tokenizer
        self._tokenizer = tokenizer.tokenizer
        self.special = _special_ids(self._tokenizer)

    @property
    def padding_side(self) -> str:
        return str(self._tokenizer.padding_side)

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        from open_clip.tokenizer import basic_clean, canonicalize_text

        clean = getattr(self._outer, "clean_fn", None) or (lambda text: canonicalize_text(basic_clean(text)))
        text = cleaned(raw, clean)
        excess = self._exceeds(raw, text.target, limit, truncate)
        # The ids are the outer tokenizer's own: it may blank separators.
        with _TURN:
            ids = self._outer([raw], context_length=limit)[0].tolist()
        if not self._tokenizer.is_fast:
            kept = len(self._tokenizer(text.target, **fitting(limit, padded))["input_ids"])
            return replace(self.read(ids[:kept]), truncated=excess)
        _, spans, special = self._with_offsets(text.target, limit, padded)
        spans = [text.span(*span) for span in spans]
        return self._coded(text.shown, ids[: len(special)], spans, special, excess)


class IdCoder(NamedIds):
    """Stands in where there is no tokenizer: ids can still be explained.

    reason  why, and the way out
    pad     the id of the padding
    starts  whether a text begins with a start token
    """

    def __init__(self, reason: str, pad: int = 0, *, starts: bool = True) -> None:
        self.reason = reason
        self.pad = pad
        self.starts = starts

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        raise InputError(f"text: {self.reason}, or give a tensor of token ids")

    def _special(self, ids: Sequence[int]) -> list[bool]:
        """The run of equal ids at the end, an end token or what a text is padded with; and the start."""
        last = len(ids) - 1
        while last > 0 and ids[last - 1] == ids[last]:
            last -= 1
        return [place >= last or (place == 0 and self.starts) for place in range(len(ids))]

    def _names(self, ids: Sequence[int]) -> list[str]:
        return [f"id{value}" for value in ids]
