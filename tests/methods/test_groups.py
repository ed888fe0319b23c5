"""Batches are run in parts and groups; who is in one is nobody's business, and what fits have in common is done once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
from m2ib.contract.targets import Targets
from m2ib.methods.base import Batch
from m2ib.methods.bottleneck import fit, groups
from m2ib.methods.bottleneck.method import prepare
from m2ib.methods.bottleneck.settings import FitSettings
from m2ib.methods.bottleneck.verdicts import unreached_warning
from tiny_clip import END, START

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = [
    torch.tensor([START, *range(3, 3 + inner), END]) for inner in (1, 9, 5, 2, 9, 12, 1)
]  # of 3 to 14 tokens
MOST = [1, 3 * 4 * 16 * 5, 10**9]  # numbers of z at once: one fit, a few, all


def pixels(seed: int) -> Tensor:
    return torch.randn(3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def targets(model: m2ib.Model, count: int) -> Targets:
    return Targets.of(
        model, torch.randn(count, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    )


def batch_of(model: m2ib.Model, modality: str, raws: list[Any]) -> Batch:
    items = {id(raw): model.item(modality, raw) for raw in raws}
    of_batch = [items[id(raw)] for raw in raws]
    return Batch(model, modality, of_batch, model.collate(modality, of_batch))


class Runs:
    """How many inputs went through each part of the model."""

    def __init__(self, model: m2ib.Model) -> None:
        module: Any = model.module
        self.rows: Counter[str] = Counter()
        self._handles = [
            part.register_forward_hook(self._seen(name))
            for name, part in {
                "image": module.vision_model.embeddings,
                "text": module.text_model.embeddings,
                "image tail": module.vision_model.post_layernorm,
                "text tail": module.text_model.final_layer_norm,
            }.items()
        ]

    def _seen(self, name: str) -> Any:
        def see(part: Any, args: Any, output: Tensor) -> None:
            self.rows[name] += len(output)

        return see

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()


@pytest.fixture(params=MOST)
def most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setitem(groups._AT_ONCE, "cpu", request.param)
    number: int = request.param
    return number


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("standardize", [True, False])
def test_a_batch_gives_what_each_pair_gives(
    clip64: m2ib.Model, most: int, fast: bool, standardize: bool
) -> None:
    image = pixels(0)
    pairs = [{"image": image if n % 2 else pixels(n), "text": text} for n, text in enumerate(TEXTS)]
    reference = {"image": [pixels(n) for n in range(3)], "text": TEXTS[:3]}
    settings: Any = {"steps": 2, "samples": 3, "layer": 1, "fast": fast, "standardize": standardize}
    settings |= {"reference": reference} if standardize else {}
    made = list(m2ib.explain_many(clip64, pairs, **settings))
    for pair, many in zip(pairs, made, strict=True):
        one = m2ib.explain(clip64, **pair, **settings)
        assert many.similarity == pytest.approx(one.similarity, abs=1e-12)
        for side in ("image", "text"):
            np.testing.assert_allclose(many[side].capacity, one[side].capacity, rtol=1e-9)
            np.testing.assert_allclose(many[side].curve.loss, one[side].curve.loss, rtol=1e-9)
            np.testing.assert_allclose(many[side].curve.noise, one[side].curve.noise, rtol=1e-9)


@pytest.mark.parametrize("shifts", [1, 4])
def test_what_is_the_same_object_is_run_once(clip64: m2ib.Model, most: int, shifts: int) -> None:
    first, second = pixels(0), pixels(1)
    raws = [first, second, first, first, second]
    settings = FitSettings(layer=1, steps=2, samples=3, shifts=shifts)
    with clip64.running(), Runs(clip64) as runs:
        prepared = prepare(batch_of(clip64, "image", raws), settings)
        assert runs.rows == {"image": 2 * shifts, "image tail": 2 * shifts}
        assert prepared.embedding.shape == (5, 16)
        ends = targets(clip64, 5)
        steps = []
        maps = prepared.maps(ends, lambda: steps.append(1))
        assert len(steps) == 2
        # two steps of three samples for each fit; noise alone is the same for both, for this tail looks at no pixel
        assert runs.rows["image tail"] == 2 * shifts + 5 * shifts * 2 * 3 + 3
        for number, raw in enumerate(raws):
            alone = prepare(batch_of(clip64, "image", [raw]), settings)
            torch.testing.assert_close(prepared.embedding[number : number + 1], alone.embedding)
            (expected,) = alone.maps(ends[number], lambda: None)
            np.testing.assert_allclose(maps[number].grid, expected.grid, rtol=1e-9)
            assert maps[number].curve is not None
            assert expected.curve is not None
            np.testing.assert_allclose(maps[number].curve.noise, expected.curve.noise, rtol=1e-9)


def test_texts_are_run_with_those_of_about_their_length(clip64: m2ib.Model, most: int) -> None:
    settings = FitSettings(layer=1, steps=2, samples=3)
    with clip64.running(), Runs(clip64) as runs:
        batch = batch_of(clip64, "text", [*TEXTS, TEXTS[0]])
        prepared, ends = prepare(batch, settings), targets(clip64, 8)
        assert runs.rows == {"text": 7, "text tail": 7}
        maps = prepared.maps(ends, lambda: None)
        # noise alone of each that is another object: a text is read where its end token is
        assert runs.rows["text tail"] == 7 + 8 * 2 * 3 + 7 * 3
        for number, text in enumerate([*TEXTS, TEXTS[0]]):
            (expected,) = prepare(batch_of(clip64, "text", [text]), settings).maps(ends[number], lambda: None)
            np.testing.assert_allclose(maps[number].grid, expected.grid, rtol=1e-9)
    lengths = [{len(TEXTS[place % 7]) for place in part} for part in groups._by_length(batch.items)]
    assert lengths == [{14, 11}, {7}, {4, 3}]


def test_a_layer_without_a_way_is_said_of_each_and_looked_for_once(
    clip64: m2ib.Model, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def look(*given: Any) -> tuple[str, ...]:
        looked.append(given)
        return unreached_warning(*given)

    monkeypatch.setattr(fit, "unreached_warning", look)
    pairs = [{"image": pixels(n), "text": TEXTS[0]} for n in range(3)]
    layers = {"image": 3, "text": 1}
    with pytest.warns(m2ib.M2IBWarning, match="reaches the embedding"):
        made = list(m2ib.explain_many(clip64, pairs, layer=layers, steps=1, samples=1))
    assert all("reaches the embedding" in each["image"].warnings[0] for each in made)
    assert len(looked) == 1
