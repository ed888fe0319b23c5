"""Text -> token ids as open_clip's tokenizers make them, and where in the text each token stands.

Every tokenizer of open_clip cleans a text first (broken Unicode and HTML repaired, white space joined, often
lower-cased or stripped of punctuation). Offsets refer to the cleaned text, with the reader's capitals kept
where lower-casing moves no character.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from m2ib.contract.layout import Token
from m2ib.errors import CheckpointError, InputError
from m2ib_adapters.inputs.texts import tokens_of_ids, tokens_of_text, too_long


@dataclass(frozen=True)
class Coded:
    """A text as ids and tokens, one for one; ``text`` is what the offsets refer to."""

    text: str
    ids: list[int]
    tokens: tuple[Token, ...]
    truncated: bool = False


class Coder(Protocol):
    """A tokenizer that knows where its tokens stand, and which id it pads with."""

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


def coder(tokenizer: Any) -> Coder:
    """The coder for what ``open_clip.get_tokenizer`` returns."""
    from open_clip import SimpleTokenizer

    return SimpleCoder(tokenizer) if isinstance(tokenizer, SimpleTokenizer) else HuggingFaceCoder(tokenizer)


def cleaned(raw: str, clean: Callable[[str], str]) -> tuple[str, str]:
    """(the text to show, the text to tokenize): equally long, and equal but for capitals."""
    from open_clip.tokenizer import basic_clean, whitespace_clean

    target = clean(raw)
    whole = basic_clean(raw)
    bare = whole.replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    for shown in (whitespace_clean(whole), whitespace_clean(bare)):
        if shown.lower() == target and len(shown) == len(target):
            return shown, target
    return target, target


class SimpleCoder:
    """CLIP's byte-pair encoding in ``open_clip.SimpleTokenizer``, which gives no offsets itself."""

    pad = 0

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        shown, text = cleaned(raw, self._tokenizer.clean_fn)
        ids, spans = self._encode(text)
        start, end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        ids, spans = [start, *ids, end], [(0, 0), *spans, (len(text), len(text))]
        excess = len(ids) > limit
        if excess:
            if not truncate:
                raise too_long(raw, len(ids), limit)
            ids, spans = [*ids[: limit - 1], end], [*spans[: limit - 1], (spans[limit - 2][1],) * 2]
        if padded:
            missing = limit - len(ids)
            ids, spans = ids + [0] * missing, spans + [(len(text),) * 2] * missing
        tokens = tokens_of_text(shown, self._names(ids), spans, self._special(ids))
        return Coded(shown, ids, tokens, excess)

    def read(self, ids: list[int]) -> Coded:
        text, tokens = tokens_of_ids(ids, self._special(ids), self._names(ids), self._decode)
        return Coded(text, ids, tokens)

    def _encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and spans of a cleaned text: word by word as ``SimpleTokenizer.encode`` does it.

        A token is a run of bytes of its word; it spans the characters that those bytes belong to.
        """
        tokenizer = self._tokenizer
        ids, spans = [], []
        for match in tokenizer.pat.finditer(text):
            word = match.group()
            owner = [place for place, sign in enumerate(word, match.start()) for _ in sign.encode("utf-8")]
            coded = "".join(tokenizer.byte_encoder[byte] for byte in word.encode("utf-8"))
            done = 0
            for part in tokenizer.bpe(coded).split(" "):
                size = len(part.removesuffix("</w>"))
                ids.append(tokenizer.encoder[part])
                spans.append((owner[done], owner[done + size - 1] + 1))
                done += size
        return ids, spans

    def _special(self, ids: Sequence[int]) -> list[bool]:
        """Start and end; and after the end the zeros that it is padded with."""
        end = self._tokenizer.eot_token_id
        known = set(self._tokenizer.all_special_ids)
        first = ids.index(end) if end in ids else len(ids)
        return [value in known or place > first for place, value in enumerate(ids)]

    def _names(self, ids: Sequence[int]) -> list[str]:
        decoder, end = self._tokenizer.decoder, self._tokenizer.eot_token_id
        first = ids.index(end) if end in ids else len(ids)
        return [
            "<pad>" if place > first and value == 0 else decoder.get(value, f"id{value}").removesuffix("</w>")
            for place, value in enumerate(ids)
        ]

    def _decode(self, ids: list[int]) -> str:
        if all(value in self._tokenizer.decoder for value in ids):
            return str(self._tokenizer.decode(ids))
        return " ".join(self._names(ids))


class HuggingFaceCoder:
    """``open_clip.tokenizer.HFTokenizer``: the offsets are those of the tokenizer it holds."""

    def __init__(self, tokenizer: Any) -> None:
        self._outer = tokenizer
        self._inner = tokenizer.tokenizer

    @property
    def padding_side(self) -> str:
        return str(self._inner.padding_side)

    @property
    def pad(self) -> int:
        return int(self._inner.pad_token_id or 0)

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        from open_clip.tokenizer import basic_clean, canonicalize_text

        clean = getattr(self._outer, "clean_fn", None) or (lambda text: canonicalize_text(basic_clean(text)))
        shown, text = cleaned(raw, clean)
        count = len(self._inner(text, verbose=False)["input_ids"])
        if count > limit and not truncate:
            raise too_long(raw, count, limit)
        ways = {"truncation": True, "max_length": limit, "padding": "max_length" if padded else False}
        if not self._inner.is_fast:
            kept = len(self._inner(text, **ways)["input_ids"])
            coded = self.read(self._outer([raw], context_length=limit)[0].tolist()[:kept])
            return Coded(coded.text, coded.ids, coded.tokens, count > limit)
        inner = self._inner(text, return_offsets_mapping=True, return_special_tokens_mask=True, **ways)
        special = [bool(flag) for flag in inner["special_tokens_mask"]]
        # The ids are the outer tokenizer's own: it may blank separators.
        ids = self._outer([raw], context_length=limit)[0].tolist()[: len(special)]
        names = self._inner.convert_ids_to_tokens(ids)
        return Coded(
            shown, ids, tokens_of_text(shown, names, inner["offset_mapping"], special), count > limit
        )

    def read(self, ids: list[int]) -> Coded:
        known = set(self._inner.all_special_ids)
        names = [
            name if name is not None else f"id{value}"
            for name, value in zip(self._inner.convert_ids_to_tokens(ids), ids, strict=True)
        ]
        text, tokens = tokens_of_ids(ids, [value in known for value in ids], names, self._inner.decode)
        return Coded(text, ids, tokens)


class TokenizerCoder:
    """A transformers tokenizer that gives offsets (a fast one). Texts are tokenized as they are.

    Raises :class:`CheckpointError` for a slow one.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.is_fast:
            raise CheckpointError(
                f"text: the tokenizer {type(tokenizer).__name__} gives no offsets; save a tokenizer.json beside the "
                "weights (the fast tokenizer's save_pretrained)"
            )
        self._tokenizer = tokenizer

    @property
    def pad(self) -> int:
        return int(self._tokenizer.pad_token_id or 0)

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        count = len(self._tokenizer(raw, verbose=False)["input_ids"])
        if count > limit and not truncate:
            raise too_long(raw, count, limit)
        coded = self._tokenizer(
            raw,
            truncation=True,
            max_length=limit,
            padding="max_length" if padded else False,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        ids = list(coded["input_ids"])
        special = [bool(flag) for flag in coded["special_tokens_mask"]]
        tokens = tokens_of_text(raw, self._names(ids), coded["offset_mapping"], special)
        return Coded(raw, ids, tokens, count > limit)

    def read(self, ids: list[int]) -> Coded:
        known = set(self._tokenizer.all_special_ids) - {self._tokenizer.unk_token_id}
        special = [value in known for value in ids]
        text, tokens = tokens_of_ids(ids, special, self._names(ids), self._tokenizer.decode)
        return Coded(text, ids, tokens)

    def _names(self, ids: list[int]) -> list[str]:
        names = self._tokenizer.convert_ids_to_tokens(ids)
        return [f"id{value}" if name is None else name for name, value in zip(names, ids, strict=True)]


class NoCoder:
    """Stands in for a tokenizer that could not be had: ids can still be explained."""

    pad = 0

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        raise InputError(
            f"text: this model's tokenizer cannot be loaded ({self._reason}); name another one or its folder "
            "with tokenizer=, or give a tensor of token ids"
        )

    def read(self, ids: list[int]) -> Coded:
        names = [f"id{value}" for value in ids]
        last = len(ids) - 1
        while last > 0 and ids[last - 1] == ids[last]:  # what a text is padded with
            last -= 1
        special = [place in (0, last) or place > last for place in range(len(ids))]
        text, tokens = tokens_of_ids(
            ids, special, names, lambda part: " ".join(f"id{value}" for value in part)
        )
        return Coded(text, ids, tokens)
