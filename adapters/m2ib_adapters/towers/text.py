"""A text encoder from its tower and its tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from m2ib.contract.degradation import Replacing
from m2ib.contract.encoder import Attention, Encoder, Layer
from m2ib.contract.inputs import Inputs, Item, stack
from m2ib.contract.layout import Layout, Token
from m2ib.errors import InputError
from m2ib.notices import warn
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.inputs.texts import check_ids, check_text, check_words, ids_of
from m2ib_adapters.inputs.tokens import Coded, Coder
from m2ib_adapters.towers.tails import PartsOf, tail_of


@dataclass(frozen=True)
class TextTower:
    """What is particular to a kind of tower.

    embed       ids (N, T) -> (N, D); differentiable
    stem        the embedding output; None: the input of the first layer
    limit       ids that a text may have
    vocabulary  ids are below it
    cut         ids of one text -> those that are read; None: all ``limit`` of them, padding included
    pad         what shorter texts of a batch are padded with; None: only texts of one length share a batch
    suffix      names of positions that the tower adds after the ids
    reads       where it reads a text, if that is a token that given ids may lack: the "largest" id, an end token, or the
                "first" one, a start token
    check       raises :class:`InputError` for ids that it cannot read
    up_to_end   whether ``cut`` cuts behind the first end token: a text that holds one itself is refused
    parts_of    in place of ``tail``: that there is one by the layers' parts, if all are known
    """

    embed: Callable[[Tensor], Tensor]
    layers: tuple[Layer, ...]
    stem: Layer | None
    limit: int
    vocabulary: int
    cut: Callable[[list[int]], list[int]] | None
    pad: int | None
    suffix: tuple[str, ...] = ()
    tail: Callable[[Tensor, int, Inputs], Tensor] | None = None
    attention: Attention | None = None
    reads: Literal["largest", "first"] | None = None
    check: Callable[[list[int]], None] | None = None
    up_to_end: bool = False
    parts_of: PartsOf | None = None


def text_encoder(tower: TextTower, coder: Coder) -> Encoder:
    """The text side of a model: strings, token ids, or a tokenizer's output that holds them, padded as far as the tower reads."""

    def item(coded: Coded, origin: dict[str, Any]) -> Item:
        ids = check_ids(torch.tensor(coded.ids), tower.limit, tower.vocabulary)
        if tower.check is not None:
            tower.check(ids)
        kept = ids if tower.cut is None else tower.cut(ids)
        tokens = coded.tokens[: len(kept)]
        end = tokens[-1].end
        names = ("<pad>",) * (len(kept) - len(tokens)) + tower.suffix
        tokens += tuple(Token(name, end, end, True) for name in names)
        count = len(tokens)
        read = None if tower.pad is None else count
        return Item(
            torch.tensor(kept), Layout((count,), read=read, tokens=tokens), {"text": coded.text}, origin
        )

    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        if isinstance(raw, Mapping):
            return describe(ids_of(raw, padded=tower.cut is None))
        string = check_text(raw)
        coded = coder.code(string, tower.limit, truncate=truncate, padded=tower.cut is None)
        if tower.up_to_end and tower.cut and (kept := len(tower.cut(coded.ids))) < len(coded.ids):
            raise InputError(
                f"text {string[:40]!r} holds the model's own end token after {kept - 2} others, and the model reads "
                "no further; take it out of the text"
            )
        if all(token.special for token in coded.tokens):
            raise InputError(f"text {string!r} is empty once tokenized; give at least one word")
        origin = {"source": "text", "truncated": coded.truncated}
        return item(coded, origin if coded.text == string else origin | {"given": string})

    def describe(given: Inputs) -> Item:
        ids = check_ids(given, tower.limit, tower.vocabulary)
        if tower.cut is None and len(ids) != tower.limit:
            raise InputError(
                f"text: this model reads its padding and takes exactly {tower.limit} token ids, "
                f"not {len(ids)}; pad them as its tokenizer does"
            )
        coded = coder.read(tower.cut(ids) if tower.up_to_end and tower.cut else ids)
        if tower.up_to_end:
            check_words(token.special for token in coded.tokens)
        described = item(coded, {"source": "ids"})
        _check_read(ids, described, tower, coder)
        return described

    def collate(items: Sequence[Inputs]) -> Inputs:
        rows = [tensor_of(item, "text") for item in items]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tower.pad or 0)  # (N, T)

    tail, attention = tower.tail, tower.attention
    if tower.parts_of is not None:
        tail = tail_of(
            tower.embed, tower.layers, tower.parts_of, None if attention is None else attention.pooled
        )
    return Encoder(
        modality="text",
        prepare=prepare,
        describe=describe,
        embed=lambda ids: tower.embed(tensor_of(ids, "text")),
        layers=tower.layers,
        stem=tower.stem,
        collate=stack if tower.pad is None else collate,
        tail=tail,
        attention=attention,
        degradation=Replacing(coder.pad if tower.pad is None else tower.pad),
    )


def without_padding(pad: int) -> Callable[[list[int]], list[int]]:
    """``cut`` of a :class:`TextTower` whose padding is masked: ids without what pads them at the end.

    It raises :class:`InputError` for padding that stands before, and where there is nothing else.
    """

    def cut(ids: list[int]) -> list[int]:
        kept = len(ids)
        while kept and ids[kept - 1] == pad:
            kept -= 1
        if pad in ids[:kept] or not kept:
            where = f"at place {ids.index(pad)}, before the text's end" if kept else "and nothing else"
            raise InputError(
                f"text: there is padding (token id {pad}) {where}, which this model does not read; take it out"
            )
        return ids[:kept]

    return cut


def _check_read(ids: list[int], item: Item, tower: TextTower, coder: Coder) -> None:
    """Raises :class:`InputError` where a tower would read given ids at a token that does not stand for the text.

    Warns where that cannot be told, for want of a tokenizer.
    """
    if tower.reads == "largest":
        end, found = getattr(coder, "end", None), max(ids)
        if end is not None and end >= tower.vocabulary:  # of a tokenizer that is not this model's
            end = None
        if end is not None and found != end:
            raise InputError(
                f"text: this model reads a text at its largest token id, the end token {end}, and that of these is {found}; "
                "give ids as its tokenizer makes them"
            )
        if found != tower.vocabulary - 1 and end is None:
            warn(
                f"text: this model reads a text at its largest token id, here {found}; without its tokenizer it is not known "
                "whether that is the end token"
            )
    if tower.reads == "first" and not item.layout.tokens[0].special:
        raise InputError(
            f"text: this model reads a text at its first token, and these token ids begin with {ids[0]}, which is no start "
            "token; give ids as its tokenizer makes them"
        )
