"""``check_adapter`` passes for adapters that keep the contract, and says what is wrong with others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import m2ib
from m2ib import Defaults, Encoder, Item, Layer, Layout
from m2ib.renderers import ImageRenderer
from m2ib.testing import ConformanceError, check_adapter
from toy import EXAMPLES, PAD, Block, pad, prepare_image, prepare_text, save_clip_with_words, toy_model

Break = Callable[[Encoder], Encoder]


def test_the_toy_keeps_the_contract() -> None:
    results = check_adapter(toy_model(), EXAMPLES)
    assert {result.modality for result in results} == {"model", "image", "text"}
    assert not any(result.failure for result in results)
    assert str(results[0]) == "model: model: passed"


@pytest.mark.parametrize("legacy_end", [False, True])
def test_clip_keeps_the_contract(tmp_path: Path, legacy_end: bool) -> None:
    folder = save_clip_with_words(tmp_path / "clip", legacy_end=legacy_end)
    check_adapter("clip", {**EXAMPLES, "text": ["a cat", "a photo of the red cup"]}, checkpoint=folder)


class Untouched(m2ib.Fading):
    """Takes nothing out."""

    def apply(self, inputs: m2ib.Inputs, keep: Tensor, layout: Layout) -> Tensor:
        return super().apply(inputs, torch.ones_like(keep), layout)


class Swapping(m2ib.Replacing):
    """Takes out what is to be kept."""

    def apply(self, inputs: m2ib.Inputs, keep: Tensor, layout: Layout) -> Tensor:
        return super().apply(inputs, 1 - keep, layout)


# Ways to break one encoder.


def at(number: int, **changes: Any) -> Break:
    """One layer changed."""

    def change(encoder: Encoder) -> Encoder:
        layers = list(encoder.layers)
        layers[number] = replace(layers[number], **changes)
        return replace(encoder, layers=tuple(layers))

    return change


def embedding(change: Callable[[Tensor], Any]) -> Break:
    """What ``embed`` gives, changed."""
    return lambda e: replace(e, embed=lambda inputs: change(e.embed(inputs)))


def layout(**changes: Any) -> Break:
    """The layout of raw and of preprocessed inputs, changed."""

    def changed(item: Item) -> Item:
        return replace(item, layout=replace(item.layout, **changes))

    return lambda e: replace(
        e,
        prepare=lambda raw, truncate=False: changed(e.prepare(raw)),
        describe=lambda inputs: changed(e.describe(inputs)),
    )


def runs_twice(encoder: Encoder) -> Encoder:
    block = encoder.layers[1].module
    assert isinstance(block, Block)

    def embed(pixels: Any) -> Tensor:
        block(torch.zeros(1, 2, 12), torch.ones(1, 2, dtype=torch.bool))
        return encoder.embed(pixels)

    return replace(encoder, embed=embed)


def tail_without_the_last_block(encoder: Encoder) -> Encoder:
    assert encoder.tail is not None
    return replace(encoder, tail=lambda z, layer, x: encoder.tail(z, min(layer + 1, 2), x))  # type: ignore[misc]


def tail_that_remembers(encoder: Encoder) -> Encoder:
    """Right for the model's own activation and only for that."""
    assert encoder.tail is not None

    def tail(z: Tensor, layer: int, pixels: Any) -> Tensor:
        out = encoder.tail(z, layer, pixels)  # type: ignore[misc]
        return torch.where(z.abs().amax((1, 2))[:, None] == z[0].abs().max(), out, out * 1.5)

    return replace(encoder, tail=tail)


def embed_with_dropout(encoder: Encoder) -> Encoder:
    return embedding(lambda out: nn.functional.dropout(out, 0.5, training=True))(encoder)


def embed_without_gradient(encoder: Encoder) -> Encoder:
    return replace(encoder, embed=torch.no_grad()(encoder.embed))


def batch_that_mixes(encoder: Encoder) -> Encoder:
    return embedding(lambda out: out - out.mean(0, keepdim=True) + 1)(encoder)


def pads_with_words(encoder: Encoder) -> Encoder:
    def collate(items: Any) -> Tensor:
        padded = pad(items)
        assert isinstance(padded, Tensor)
        return padded.where(padded != PAD, 7)

    return replace(encoder, collate=collate)


def reads_too_little(encoder: Encoder) -> Encoder:
    def shorter(item: Item) -> Item:
        count = len(item.layout.tokens) - 1
        return replace(item, layout=Layout((count,), read=count, tokens=item.layout.tokens[:count]))

    return replace(
        encoder,
        prepare=lambda raw, truncate=False: shorter(encoder.prepare(raw)),
        describe=lambda ids: shorter(encoder.describe(ids)),
    )


def describes_other_tokens(encoder: Encoder) -> Encoder:
    def describe(ids: Any) -> Item:
        item = encoder.describe(ids)
        tokens = tuple(replace(token, special=False) for token in item.layout.tokens)
        return replace(item, layout=replace(item.layout, tokens=tokens))

    return replace(encoder, describe=describe)


def describes_pixels_once_more(encoder: Encoder) -> Encoder:
    return replace(encoder, describe=lambda pixels: encoder.describe(pixels * 2))


def leaves_hooks(encoder: Encoder) -> Encoder:
    def embed(ids: Any) -> Tensor:
        encoder.layers[0].module.register_forward_hook(lambda module, args, out: None)
        return encoder.embed(ids)

    return replace(encoder, embed=embed)


def counts_its_calls(encoder: Encoder) -> Encoder:
    encoder.layers[0].module.register_buffer("calls", torch.zeros(()))
    calls = encoder.layers[0].module.get_buffer("calls")

    def embed(ids: Any) -> Tensor:
        calls.add_(1)
        return encoder.embed(ids)

    return replace(encoder, embed=embed)


class Bright(ImageRenderer):
    def scores(self, grid: np.ndarray, attribution: m2ib.Attribution) -> np.ndarray:
        return super().scores(grid, attribution) * 2


class Forgetful(ImageRenderer):
    def store(self, view: Any, folder: Path, stem: str) -> Mapping[str, Any]:
        return {"view": view}


BROKEN: dict[str, tuple[str, Break, str]] = {
    "sequence first": (
        "text",
        at(1, read=m2ib.read_first, write=m2ib.write_first),
        r"text: layers: layer 1 \(text_blocks.1\): read gives \(4, 1, 12\) for one input; the batch axis must come "
        r"first .*looks like \(T, N, C\), sequence first: give .* read=m2ib.read_sequence_first, write=m2ib.write_sequence_first",
    ),
    "no position axis": (
        "image",
        at(1, read=lambda out: out[0][:, 0], write=lambda out, value: out),
        r"layer 1 .*: read gives \(1, 12\) for one input",
    ),
    "write ignores the value": (
        "image",
        at(1, write=lambda output, value: output),
        r"image: layers: layer 1 \(image_blocks.1\): read\(write\(output, x\)\) is not x: `write` does not put in",
    ),
    "layer never runs": (
        "image",
        at(1, module=Block()),
        r"image: layers: layer 1 \(image_blocks.1\) did not run in the forward pass",
    ),
    "layer runs twice": (
        "image",
        runs_twice,
        r"image: layers: layer 1 \(image_blocks.1\) ran twice in one forward pass",
    ),
    "layers out of order": (
        "image",
        lambda e: replace(e, layers=(e.layers[1], e.layers[0], e.layers[2])),
        r"image: layers: layers run in the order \[1, 0\]; list them in the order of running",
    ),
    "no layers": ("image", lambda e: replace(e, layers=()), "image: layers: layers is empty"),
    "layer at neither end": (
        "image",
        at(0, at="middle"),
        r"layer 0 .*: at is 'middle'; it is 'output' or 'input'",
    ),
    "tail skips a block": (
        "image",
        tail_without_the_last_block,
        r"image: tail: layer -1 \(.*\): the encoder's own tail does not give the model's embedding \(relative error",
    ),
    "tail ignores the activation": (
        "image",
        lambda e: replace(e, tail=lambda z, layer, pixels: e.embed(pixels)),
        r"image: tail: .* the encoder's own tail gives the same embedding whatever the activation is",
    ),
    "tail differs elsewhere": (
        "image",
        tail_that_remembers,
        r"image: tail: .* own tail differs from the full model on another activation \(relative error",
    ),
    "tail of wrong rank": (
        "image",
        lambda e: replace(e, tail=lambda z, layer, pixels: z),
        r"image: tail: .* own tail gives \(2, 17, 12\) for two activations; it must be \(2, D\)",
    ),
    "channel axis": (
        "image",
        at(1, channel_axis=1),
        r"image: layout: example 0, layer 1 \(image_blocks.1\): index reaches from 1 to 16, outside the activation's 12 "
        r"positions \(channel_axis 1 of \(1, 17, 12\)\)",
    ),
    "channel axis that is the batch": (
        "image",
        at(1, channel_axis=0),
        r"image: layers: layer 1 .*: channel_axis 0 is not one of the axes of \(1, 17, 12\) after the batch",
    ),
    "grid": (
        "image",
        layout(grid=(3, 5)),
        r"image: layout: example 0, layer -1 .*: a grid of \(3, 5\) does not fit 16 positions",
    ),
    "class token in the grid": (
        "image",
        layout(index=None),
        r"image: layout: .* a grid of \(4, 4\) does not fit 17 positions",
    ),
    "index out of range": (
        "image",
        layout(index=tuple(range(2, 18))),
        r"image: layout: .* index reaches from 2 to 17, outside the activation's 17 positions",
    ),
    "index from the end": (
        "image",
        layout(index=tuple(range(-16, 0))),
        r"image: layout: .* index reaches from -16 to -1, outside",
    ),
    "index repeats": ("image", layout(index=(1,) * 16), r"image: layout: .* index repeats positions"),
    "too few tokens": (
        "text",
        layout(tokens=prepare_text("one two three four five").layout.tokens),
        r"text: layout: example 0: 7 tokens for a grid of \(4,\)",
    ),
    "only special tokens": (
        "text",
        layout(tokens=tuple(m2ib.Token("<pad>", 0, 0, special=True) for _ in range(4))),
        r"text: layout: example 0: every token is special",
    ),
    "tokens outside the text": (
        "text",
        layout(tokens=tuple(m2ib.Token("word", 3, 33) for _ in range(4))),
        r"text: layout: example 0: the token 'word' reaches from 3 to 33 in a text of 5",
    ),
    "read too short": (
        "text",
        reads_too_little,
        r"text: padding: positions that the layout calls unread do reach the embedding .*: `read` is too small",
    ),
    "padding is read": (
        "text",
        pads_with_words,
        r"text: batch: example 0 has another embedding in a batch than alone .*: collate pads with something that the "
        r"model reads",
    ),
    "batch mixes": (
        "image",
        batch_that_mixes,
        r"image: batch: example 0 has another embedding in a batch than alone .* embed mixes the rows of the batch; nothing may",
    ),
    "dropout": (
        "text",
        embed_with_dropout,
        r"text: embedding: embed gives another embedding at the second call: there is randomness, or state",
    ),
    "no gradient": (
        "text",
        embed_without_gradient,
        r"text: defaults: no gradient comes back through the tail \(embed .*\) to layer 1: something is detached",
    ),
    "own tail without gradient": (
        "image",
        lambda e: replace(e, tail=torch.no_grad()(e.tail)),
        r"image: defaults: no gradient comes back through the encoder's own tail to layer 1",
    ),
    "default layer too late": (
        "image",
        lambda e: replace(e, defaults=Defaults(layer=2)),
        r"image: defaults: no cell of the grid at the default layer 2 reaches the embedding .*; choose an earlier layer",
    ),
    "default layer beyond the last": (
        "image",
        lambda e: replace(e, defaults=Defaults(layer=3)),
        r"image: defaults: the default layer 3 is not one of -1 to 2",
    ),
    "default variance": (
        "image",
        lambda e: replace(e, defaults=Defaults(layer=1, variance=0.0)),
        r"image: defaults: the defaults Defaults\(layer=1, beta=0.1, variance=0.0, .*\) are out of range",
    ),
    "default target": (
        "image",
        lambda e: replace(e, defaults=Defaults(layer=1, target="centered")),
        r"image: defaults: target for image: 'centered' is unknown; did you mean 'centred'",
    ),
    "defaults of a method": (
        "image",
        lambda e: replace(e, defaults=Defaults(layer=1, methods={"second-order": {"step": 3}})),
        r"image: defaults: the method 'second-order' has no setting 'step'",
    ),
    "a method's default": (
        "image",
        lambda e: replace(e, defaults=Defaults(layer=1, methods={"second-order": {"steps": 0}})),
        r"image: defaults: steps for image: 0 is out of range",
    ),
    "sizes differ": (
        "text",
        embedding(lambda out: out[:, :4]),
        r"model: model: the embeddings differ in size: \{'image': 6, 'text': 4\}; they must share one space",
    ),
    "embed of wrong rank": (
        "text",
        embedding(lambda out: out[0]),
        r"model: model: text: embed gives \(6,\) for one input; it must be \(1, D\)",
    ),
    "embed of an object": (
        "text",
        embedding(lambda out: (out,)),
        r"model: model: text: embed gives a tuple for one input; it must be \(1, D\)",
    ),
    "NaN": ("text", embedding(lambda out: out.log()), r"text: embedding: embed gives NaN or infinite values"),
    "describe scales": (
        "image",
        describes_pixels_once_more,
        r"image: preprocessed input: describe\(inputs\) has another embedding than prepare\(raw\) \(relative error",
    ),
    "describe tells other tokens": (
        "text",
        describes_other_tokens,
        r"text: preprocessed input: prepare\(raw\) and describe\(inputs\) do not agree on the tokens, or on which",
    ),
    "prepare gives a tensor": (
        "image",
        lambda e: replace(e, prepare=lambda raw, truncate=False: torch.zeros(3, 8, 8)),
        r"model: model: raised AttributeError: 'Tensor' object has no attribute 'inputs'",
    ),
    "prepare ignores its input": (
        "image",
        lambda e: replace(e, prepare=lambda raw, truncate=False: prepare_image(EXAMPLES["image"][0])),
        r"image: prepare: examples 0 and 1 have the same inputs: .* or prepare does not use the raw input",
    ),
    "scores": (
        "image",
        lambda e: replace(e, renderer=Bright()),
        r"image: explain with text: the renderer's scores of the image leave \[0, 1\]: 0 to 2",
    ),
    "view that cannot be stored": (
        "image",
        lambda e: replace(e, renderer=Forgetful()),
        r"image: explain with text: the explanation cannot be saved: .* must be JSON-able",
    ),
    "hooks left behind": (
        "text",
        leaves_hooks,
        r"model: left as found: the model is left changed: hooks on text_blocks.0$",
    ),
    "values changed": (
        "text",
        counts_its_calls,
        r"model: left as found: the model is left changed: values of text_blocks.0.calls$",
    ),
    "attention that is not seen": (
        "image",
        lambda e: replace(e, attention=m2ib.Attention(pooled=None)),
        r"image: attention: .*image_blocks.0",
    ),
    "degradation of other axes": (
        "image",
        lambda e: replace(e, degradation=m2ib.Fading(axes=(0, 1))),
        r"image: degradation: degradation: an input of shape \(3, 8, 8\) has \(3, 8\) positions under a map of \(4, 4\)",
    ),
    "degradation without effect": (
        "image",
        lambda e: replace(e, degradation=Untouched()),
        r"image: degradation: degradation.apply takes out everything, and the embedding is the same: what `keep`",
    ),
    "degradation of what is kept": (
        "text",
        lambda e: replace(e, degradation=Swapping(PAD)),
        r"text: degradation: degradation.apply changes an input of which everything is kept \(relative error",
    ),
    "wrong name": (
        "image",
        lambda e: replace(e, modality="picture"),
        r"model: model: the encoder under 'image' says that its modality is 'picture'",
    ),
}


@pytest.mark.parametrize(("modality", "change", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_adapter_is_told_why(modality: str, change: Break, reason: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_adapter(toy_model(**{modality: change}), EXAMPLES)
    first, *findings = str(caught.value).splitlines()
    assert first == "toy breaks the contract:"
    assert re.search(reason, findings[0]), findings


@pytest.mark.parametrize(
    ("examples", "reason"),
    [
        ({"image": EXAMPLES["image"]}, "no two examples for 'text' were given; the model takes image, text"),
        ({**EXAMPLES, "text": ["alone"]}, "no two examples for 'text'"),
        ({**EXAMPLES, "text": ["a dog", "a dog"]}, "examples 0 and 1 have the same inputs"),
        (
            {**EXAMPLES, "text": ["a dog", "a cat"]},
            "all examples have 4 positions: give some of different lengths",
        ),
    ],
)
def test_examples_that_show_too_little_are_refused(examples: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConformanceError, match=reason):
        check_adapter(toy_model(), examples)


def test_a_module_that_is_no_module() -> None:
    with pytest.raises(ConformanceError, match=r"module is a str, not a torch\.nn\.Module"):
        check_adapter(replace(toy_model(), module="weights"), EXAMPLES)  # type: ignore[arg-type]


def test_layers_may_be_read_at_their_input() -> None:
    def inputs(encoder: Encoder) -> Encoder:
        layers = [
            Layer(layer.module, f"{layer.name} (input)", at="input", read=layer.read, write=layer.write)
            for layer in encoder.layers
        ]
        return replace(encoder, layers=tuple(layers), tail=None, defaults=Defaults(layer=2))

    check_adapter(toy_model(image=inputs, text=inputs), EXAMPLES)
