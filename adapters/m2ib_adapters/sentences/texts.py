"""Texts as sentence-transformers reads them: its ids, and where in the text each token stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from m2ib.contract.encoder import Attention, Encoder, Layer
from m2ib.contract.inputs import Inputs
from m2ib.errors import SettingError
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.inputs.texts import too_long
from m2ib_adapters.inputs.tokens import Coded, TokenizerCoder
from m2ib_adapters.sentences.pipeline import Pipeline, is_multi
from m2ib_adapters.towers.attention import by_sdpa_of, first_position
from m2ib_adapters.towers.hugging_face import parts_of
from m2ib_adapters.towers.text import TextTower, text_encoder

_FILL = -1  # what shorter texts of a batch are filled up with, and hidden tokens are replaced by: masked, as padding is
_SAME = 0.02  # of the largest value: less is rounding, in halves too
_ROOM = 3  # tokens of a text, at least
_LONGEST = 2**15  # tokens, of a model that does not say
_WHOLE = {"processing_kwargs": {"text": {"truncation": False}}}


class SentenceCoder(TokenizerCoder):
    """The ids are the library's own. What it writes around a text, prompts and templates, are special tokens."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline.net.tokenizer)
        self._pipeline = pipeline
        one, other = (self._read(self._ids(text)) for text in ("a", "house"))
        self._before, self._after = _alike(one, other), _alike(one[::-1], other[::-1])
        ends = self._ids("a")
        self._fill = [{_FILL, self._tokenizer.pad_token_id} - {ends[place]} for place in (0, -1)]

    def around(self) -> int:
        """How many tokens a prompt and special tokens are."""
        return len(self._read(self._ids("", **_WHOLE)))

    def unfilled(self, given: Inputs) -> Inputs:
        """Ids without the padding at both ends, of which no embedding is made; a text's own last token may be the same."""
        if not isinstance(given, Tensor) or given.ndim != 1:
            return given
        before, after = ([int(value) in fill for value in given] for fill in self._fill)
        start, end = (
            next((n for n, fills in enumerate(each) if not fills), 0) for each in (before, after[::-1])
        )
        return given[start : len(given) - end]

    def _special(self, ids: Sequence[int]) -> list[bool]:
        """Special ids, and what stands around every text: prompts and templates."""
        last = len(self._read(ids)) - self._after
        return [value in self.special or not self._before <= place < last for place, value in enumerate(ids)]

    def code(self, raw: str, limit: int, *, truncate: bool, padded: bool) -> Coded:
        ids = self._ids(raw, **_WHOLE)
        excess = len(ids) > limit
        if excess:
            if not truncate:
                raise too_long(raw, len(ids), limit)
            ids = self._ids(raw)
            if len(ids) > limit:  # of a processor that does not cut
                raise too_long(raw, len(ids), limit)
        read = self._read(ids)
        found, filled = self._located(raw, read), len(ids) - len(read)
        if found is None:
            return replace(self.read(ids), truncated=excess)
        spans, special = found
        end = len(raw)
        spans, special = [*spans, *[(end, end)] * filled], [*special, *[True] * filled]
        return self._coded(raw, ids, spans, special, excess)

    def _read(self, ids: Sequence[int]) -> list[int]:
        """Without what fills up a query."""
        return list(ids[: len(ids) - int(self._pipeline.expanded(torch.tensor([list(ids)])).sum())])

    def _ids(self, raw: str, **options: Any) -> list[int]:
        ids: list[int] = self._pipeline.features(raw, **options)["input_ids"][0].tolist()
        return ids

    def _located(self, raw: str, ids: list[int]) -> tuple[list[tuple[int, int]], list[bool]] | None:
        """Where in ``raw`` each token stands, and which belong to no part of it; None where that cannot be told.

        The prompt and the text are tokenized once more, or the text alone: its tokens are then looked for among the ids.
        """
        prompt = self._pipeline.prompt or ""
        for before, adds in ((prompt, True), ("", False), (" ", False)):
            again = self._tokenizer(
                before + raw,
                add_special_tokens=adds,
                truncation=True,
                max_length=len(ids),
                return_offsets_mapping=True,
            )
            found, spans = again["input_ids"], again["offset_mapping"]
            starts = [at for at in range(len(ids) - len(found) + 1) if ids[at : at + len(found)] == found]
            if not starts:
                continue
            at, end = starts[-1], len(raw)
            spans = [tuple(min(max(each - len(before), 0), end) for each in span) for span in spans]
            after = len(ids) - at - len(found)
            spans = [(0, 0)] * at + spans + [(end, end)] * after
            marked = self._special(ids)
            special = [start == stop or mark for (start, stop), mark in zip(spans, marked, strict=True)]
            return spans, special
        return None


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids both begin with."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), 0)


def sentence_encoder(
    pipeline: Pipeline, layers: tuple[Layer, ...], modality: str, examples: Sequence[str]
) -> Encoder:
    """The encoder of texts that are read in one way."""
    net, coder, embed, limit = pipeline.net, SentenceCoder(pipeline), embedding_of(pipeline), _limit(pipeline)
    around = coder.around()
    if around + _ROOM > limit:
        raise SettingError(
            f"{pipeline.who}: prompt and special tokens of {modality} are {around} of the {limit} tokens that are read, which leaves no "
            "room for a text; give a shorter one, as in prompts={'query': 'query: '}"
        )
    tower = TextTower(
        embed=embed,
        layers=layers,
        stem=None,
        limit=limit,
        vocabulary=max(net.tokenizer.vocab_size, *net.tokenizer.get_vocab().values(), 0) + 1,
        cut=lambda ids: ids,
        pad=_FILL if _can_be_filled_up(pipeline, embed) else None,
        attention=_attention(pipeline) if len(layers) > 1 else None,
        parts_of=parts_of,
    )
    encoder, expansion = text_encoder(tower, coder), pipeline.expansion()
    shown, ready = [*examples], encoder.describe
    assert ready is not None
    if expansion is not None and tower.pad is not None:  # one that needs no filling up
        shown.append(" ".join(examples) * (expansion["length"] // 10 + 1))
    return replace(
        encoder,
        modality=modality,
        describe=lambda given: ready(coder.unfilled(given)),
        examples=lambda: [*shown],
    )


def embedding_of(pipeline: Pipeline) -> Callable[[Tensor], Tensor]:
    """ids (N, T), below 0 for what is not there -> embeddings."""
    kind = "message" if "message" in pipeline.reader.modality_config else "text"
    attends = pipeline.expansion() is None or pipeline.expansion()["attend"]  # type: ignore[index]
    told = {name: value for name, value in pipeline.features("a").items() if name == "prompt_length"}
    ordinary = next(
        value
        for value in (pipeline.net.tokenizer.unk_token_id, pipeline.net.tokenizer.mask_token_id, 0, 1)
        if value not in (None, pipeline.net.tokenizer.pad_token_id)  # by which some models count places
    )

    def embed(ids: Tensor) -> Tensor:
        there, expanded = ids >= 0, pipeline.expanded(ids)
        seen = there if attends else there & ~expanded
        features = {
            "input_ids": ids.masked_fill(~there, ordinary),
            "attention_mask": seen.long(),
            "modality": kind,
            **told,
        }
        if pipeline.expansion() is not None:
            features["query_expansion_positions"] = expanded
        return pipeline.embed(features)

    return embed


def _can_be_filled_up(pipeline: Pipeline, embed: Callable[[Tensor], Tensor]) -> bool:
    """Whether a text has the same embedding in a batch with longer ones. Some decoders attend otherwise where anything is masked;
    where all texts have one length, nothing is.
    """
    if (pipeline.expansion() or {}).get("strategy") == "fixed":
        return False
    ids = pipeline.features("a house")["input_ids"].to(pipeline.net.device)  # (1, T)
    with torch.no_grad():
        alone, filled = embed(ids), embed(pad(ids, (0, 3), value=_FILL))
    if alone.ndim == 3:
        filled = filled[:, : alone.shape[1]]
    return bool((alone - filled).abs().max() < _SAME * alone.abs().max())


def _limit(pipeline: Pipeline) -> int:
    """Tokens that a text may have."""
    reader, task = pipeline.reader, pipeline.task
    expansion = pipeline.expansion()
    if expansion is not None and expansion["strategy"] == "fixed":
        return int(expansion["length"])
    own = getattr(reader, f"{task}_length", None) if task in ("query", "document") else None
    return int(own or pipeline.net.max_seq_length or _LONGEST)


def _attention(pipeline: Pipeline) -> Attention | None:
    """Read at the class token, at the last one, or at all; None where that is not known, or a set of vectors is read."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    model, config = pipeline.reader.auto_model, pipeline.reader.config
    heads = getattr(config, "num_attention_heads", None)
    grouped = getattr(config, "num_key_value_heads", heads) != heads  # keys of several heads are one
    pooling = next((module for module in pipeline.net if isinstance(module, Pooling)), None)
    if is_multi(pipeline.net) or pooling is None or grouped or not getattr(model, "_supports_sdpa", False):
        return None
    whole = pooling.include_prompt or not pipeline.prompt

    def last(ids: Inputs) -> Tensor:
        return (tensor_of(ids, "sentence-transformers") >= 0).sum(1) - 1  # (N,)

    read = {"mean": (None,), "cls": (first_position,), "lasttoken": (last,)}.get(str(pooling.pooling_mode))
    return Attention(read[0], by_sdpa_of(config)) if read is not None and whole else None
