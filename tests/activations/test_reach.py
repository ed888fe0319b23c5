"""Layers whose positions cannot reach the embedding: found, never a default, warned of."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
import naive
from m2ib import Defaults
from m2ib.activations.capture import Tail, record
from m2ib.execution.context import evaluating
from m2ib.testing import ConformanceError, check_adapter
from m2ib.testing.model_checks import state
from tiny_clip import END, START
from toy import EXAMPLES, toy_model

IDS = torch.tensor([START, 5, 60, 7, END])
IMAGE = torch.randn(3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_trying(model: m2ib.Model, modality: str, raw: Any) -> tuple[int, ...]:
    """The layers where noise on the grid's cells that are no special tokens changes the embedding."""
    encoder, item = model.encoder(modality), model.item(modality, raw)
    inputs = model.collate(modality, [item])
    found = []
    for number in range(-1, len(encoder.layers)):
        with evaluating(model.module), torch.no_grad():
            recording = record(encoder, inputs, number)
            z = recording.activation.clone()
            axis = encoder.layer(number).channel_axis
            positions = np.arange(z[0].numel() // z.shape[axis])
            shape = [size for place, size in enumerate(z.shape) if place not in (0, axis % z.ndim)]
            cells = item.layout.to_grid(positions.reshape(shape)).ravel()
            if item.layout.tokens:
                cells = cells[[not token.special for token in item.layout.tokens]]
            rows = z.movedim(axis, -1).reshape(len(positions), -1)
            rows[cells] += torch.randn(rows[cells].shape, dtype=z.dtype)
            z = rows.reshape(1, *shape, -1).movedim(-1, axis)
            with Tail(recording, 1, fast=False) as tail:
                if not torch.allclose(tail(z), recording.embedding, rtol=1e-9, atol=1e-12):
                    found.append(number)
    return tuple(found)


def test_the_last_block_of_a_pooled_encoder_is_not_good(clip64: m2ib.Model) -> None:
    assert m2ib.good_layers(clip64, "image", IMAGE) == by_trying(clip64, "image", IMAGE) == (-1, 0, 1, 2)
    assert m2ib.good_layers(clip64, "text", IDS) == by_trying(clip64, "text", IDS) == (-1, 0, 1, 2)


def test_all_layers_of_a_mean_are_good(photo64: m2ib.Model) -> None:
    image = torch.randn(3, 64, 64, dtype=torch.float64)
    for modality, raw in (("image", image), ("text", "a cat on a sofa")):
        found = m2ib.good_layers(photo64, modality, raw)
        assert found == tuple(range(-1, len(photo64.encoder(modality).layers)))
    assert by_trying(photo64, "text", "a cat on a sofa") == found


def test_blocks_of_tuples_and_of_sequence_first() -> None:
    model = toy_model()  # a class token in images, a mean in texts
    with torch.inference_mode():
        assert m2ib.good_layers(model, "image", EXAMPLES["image"][0]) == (-1, 0, 1)
    assert m2ib.good_layers(model, "text", "a dog") == (-1, 0, 1, 2)


def test_the_order_worth_trying_sees_early_middle_and_late_layers_soon() -> None:
    every = m2ib.GoodLayers(range(-1, 12), 9)
    assert every.to_try[:4] == (9, -1, 4, 1)  # of two as far from those before, the earlier one
    assert sorted(every.to_try) == list(every)
    assert m2ib.GoodLayers((-1, 0, 1), 2).to_try == (
        1,
        -1,
        0,
    )  # the default shows nothing: the nearest that does
    assert m2ib.GoodLayers((), 2).to_try == ()
    assert pickle.loads(pickle.dumps(every)).to_try == every.to_try
    model = toy_model(image=lambda encoder: replace(encoder, defaults=Defaults(layer=0)))
    assert m2ib.good_layers(model, "image", EXAMPLES["image"][0]).to_try == (0, -1, 1)


def test_the_model_is_left_as_found() -> None:
    model = toy_model()
    model.module.train()
    before = state(model.module)
    m2ib.good_layers(model, "image", EXAMPLES["image"][0])
    assert state(model.module) == before

    def broken(pixels: Any) -> Any:
        model.module.embed_image(pixels)
        raise RuntimeError("broken")

    model.encoders["image"] = replace(model.encoder("image"), embed=broken)
    with pytest.raises(RuntimeError, match="broken"):
        m2ib.good_layers(model, "image", EXAMPLES["image"][0])
    assert state(model.module) == before
    assert not any(parameter.grad is not None for parameter in model.module.parameters())


@pytest.mark.parametrize("options", [{}, {"shifts": {"image": 4}}, {"granularity": "token"}])
@pytest.mark.parametrize("fast", [True, False])
def test_asking_for_it_warns_and_names_the_nearest_good_layer(
    clip64: m2ib.Model, fast: bool, options: dict[str, Any]
) -> None:
    words = (
        r"image: no position at layer 3 \(vision_model.encoder.layers.3\) reaches the embedding, only a pooled token "
        r"does, so the map shows the size of the activations, not evidence; use layer 2, the nearest that does$"
    )
    with pytest.warns(m2ib.M2IBWarning) as caught:
        m2ib.explain(clip64, image=IMAGE, text=IDS, layer=3, steps=2, samples=2, fast=fast, **options)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert all("use layer 2, the nearest that does" in message for message in messages)
    with pytest.warns(m2ib.M2IBWarning, match=words):
        m2ib.explain(clip64, ("image", IMAGE), ("text", IDS), layer={"image": 3}, steps=1, samples=1)


def test_its_numbers_are_those_of_the_method(clip64: m2ib.Model) -> None:
    module: Any = clip64.module
    with pytest.warns(m2ib.M2IBWarning, match="no position at layer 3"):
        exp = m2ib.explain(clip64, image=IMAGE, text=IDS, layer={"image": 3}, steps=3, samples=2)
    with torch.no_grad():
        target = module.get_text_features(input_ids=IDS[None]).pooler_output
    expected = naive.capacity(
        lambda: module.get_image_features(pixel_values=IMAGE[None]).pooler_output,
        module.vision_model.encoder.layers[3],
        target,
        beta=0.1,
        variance=1.0,
        steps=3,
        samples=2,
    ).numpy()
    assert np.abs(exp["image"].capacity - expected).max() <= 1e-9 * np.abs(expected).max()


def test_good_layers_are_quiet(clip64: m2ib.Model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for layer in m2ib.good_layers(clip64, "image", IMAGE):
            m2ib.explain(clip64, image=IMAGE, text=IDS, layer=layer, steps=1, samples=1)


# No default, no preset, no stride that does not fit.


def refused(image: Any) -> str:
    with pytest.raises(ConformanceError) as caught:
        check_adapter(toy_model(image=image), EXAMPLES)
    return str(caught.value)


def test_check_adapter_refuses_it_as_a_default() -> None:
    message = refused(lambda e: replace(e, defaults=Defaults(layer=2)))
    assert "no cell of the grid at the default layer 2 reaches the embedding" in message
    assert "choose an earlier layer; the nearest that does is 1" in message


def test_check_adapter_refuses_it_in_a_preset() -> None:
    message = refused(lambda e: replace(e, presets={"sharp": {"layer": 2}}))
    assert (
        "image: presets: no cell of the grid at layer 2 of the preset 'sharp' reaches the embedding"
        in message
    )
    assert "the nearest that does is 1" in message
    assert "image: presets: beta for image: -1 is out of range" in refused(
        lambda e: replace(e, presets={"mine": {"beta": -1}})
    )


@pytest.mark.parametrize("stride", [(2, 2), (2,)])
def test_check_adapter_takes_a_stride_that_fits(stride: tuple[int, ...]) -> None:
    check_adapter(
        toy_model(image=lambda e: replace(e, stride=stride, presets={"sharp": {"shifts": 1}})), EXAMPLES
    )


@pytest.mark.parametrize(
    ("stride", "message"),
    [
        ((4, 4), "does not lead from cell to cell of the grid (4, 4) in an input (3, 8, 8)"),
        ((0, 2), "does not lead from cell to cell of the grid"),
        ((1, 1, 1), "has more axes than the grid (4, 4)"),
    ],
)
def test_check_adapter_refuses_a_stride_that_does_not_fit(stride: tuple[int, ...], message: str) -> None:
    own = {"sharp": {"shifts": 1}}
    assert message in refused(lambda e: replace(e, stride=stride, presets=own))


def test_check_adapter_looks_at_the_reference() -> None:
    assert "image: reference: reference gives no raw inputs" in refused(lambda e: replace(e, reference=list))


def test_defaults_are_good(clip_folder: Path, photo64: m2ib.Model, clip64: m2ib.Model) -> None:
    raws: dict[str, Any] = {"image": torch.randn(3, 64, 64, dtype=torch.float64), "text": "a cat"}
    for model, given in ((photo64, raws), (clip64, {"image": IMAGE, "text": IDS})):
        for modality, encoder in model.encoders.items():
            assert encoder.default_layer in m2ib.good_layers(model, modality, given[modality])
