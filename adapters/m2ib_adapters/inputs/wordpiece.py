"""Texts through BERT's WordPiece, out of a ``tokenizer.json``: by the package ``tokenizers`` itself, without transformers around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m2ib_adapters.inputs.texts import tokens_of_text, too_long, warn_unknown
from m2ib_adapters.inputs.tokens import Coded, NamedIds


class WordPieceCoder(NamedIds):
    """A text is tokenized as it is, between ``[CLS]`` and ``[SEP]``."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        ids = self._tokenizer.encode("[PAD] [UNK] [CLS] [SEP] [MASK]", add_special_tokens=False).ids
        self.pad, self._unknown, start, self.end, mask = ids
        self.special = {self.pad, start, self.end, mask}  # an unknown word is a part of a text

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        """``raw`` as at most ``limit`` ids, special ones included; ``padded``: exactly so many.

        Raises :class:`m2ib.InputError` for a longer text, unless ``truncate``. Warns of unknown words.
        """
        encoding = self._tokenizer.encode(raw, add_special_tokens=False)
        around = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        excess = len(encoding) + around > limit
        if excess and not truncate:
            raise too_long(raw, len(encoding) + around, limit)
        encoding.truncate(limit - around)
        encoding = self._tokenizer.post_process(encoding)
        if padded:
            encoding.pad(limit, pad_id=self.pad, pad_token="[PAD]")
        special = list(map(bool, encoding.special_tokens_mask))
        tokens = tokens_of_text(raw, encoding.tokens, encoding.offsets, special)
        warn_unknown(tokens, encoding.ids, self._unknown)
        return Coded(raw, encoding.ids, tokens, excess)

    def _special(self, ids: Sequence[int]) -> list[bool]:
        return [value in self.special for value in ids]

    def _names(self, ids: Sequence[int]) -> list[str]:
        return [self._tokenizer.id_to_token(value) or f"id{value}" for value in ids]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))
