"""The weights that come with the package: where they are from, and that they have learned what is claimed."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import m2ib
from m2ib.benchmark import run_scenes
from m2ib.cli.modalities import MODALITIES, explain, pointed, scene_pairs
from m2ib_adapters.imagebind_tiny.adapter import WEIGHTS
from m2ib_adapters.imagebind_tiny.train.recipe import BOUND, FULL
from m2ib_adapters.inputs.media import sha256

LOG = WEIGHTS.with_suffix(".log.jsonl")
CARD = WEIGHTS.with_name("README.md")
GIVES_UP = pytest.mark.filterwarnings(
    "ignore:.*the fit lost the similarity:m2ib.M2IBWarning"
)  # and points right


@pytest.fixture(scope="module")
def packaged() -> m2ib.Model:
    return m2ib.load_model("imagebind-tiny", device="cpu")


def test_the_file_is_what_the_training_logged() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in LOG.read_text(encoding="utf-8").splitlines()]
    first, *steps, last = lines
    assert last["sha256"] == sha256(WEIGHTS)
    assert last["done"] == WEIGHTS.name
    assert last["seconds"] <= 90 * 60
    assert first["recipe"] == json.loads(json.dumps(dataclasses.asdict(FULL)))
    assert first["seed"] == 0
    ends = {name: FULL.bound[name].steps for name in BOUND} | {"together": FULL.together.steps}
    seen = {name: max(line["step"] for line in steps if line.get("stage") == name) for name in ends}
    assert seen == ends
    assert last["sha256"] in CARD.read_text(encoding="utf-8")


def test_it_is_small() -> None:
    assert WEIGHTS.stat().st_size <= 8_000_000
    state = load_file(WEIGHTS)
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    assert sum(tensor.numel() for tensor in state.values()) <= 4_000_000


def test_it_retrieves(packaged: m2ib.Model) -> None:
    found = run_scenes(packaged, scenes=64, seeds=[5], methods=["uniform"], show_progress=False).figures
    assert found["image", "model", "", "recall_to_text"].mean >= 0.9
    assert found["image", "model", "", "recall_from_text"].mean >= 0.9
    for modality in MODALITIES:
        assert found[modality, "model", "", "query_auc"].mean >= 0.9, modality


@GIVES_UP
def test_every_pair_of_modalities_is_explained(packaged: m2ib.Model) -> None:
    """All 21, same-modality ones included: true maps, of inputs that hold what the other input holds and more."""
    asked = scene_pairs(0)
    pairs = {tuple(sorted(side.modality for side in pair)) for pair in asked}
    assert pairs == {tuple(sorted(pair)) for pair in itertools.combinations_with_replacement(MODALITIES, 2)}
    right = []
    for pair, explanation in zip(asked, explain(packaged, asked, 0, None), strict=True):
        embeddings = []
        for place, side in enumerate(pair):
            attribution = explanation[place]
            assert attribution.modality == side.modality
            assert attribution.grid.shape == attribution.layout.grid
            assert np.isfinite(attribution.grid).all()
            assert attribution.grid.min() >= 0
            assert attribution.grid.max() > 0
            inputs = packaged.preprocess(side.modality, [side.scene.inputs[side.modality]])
            embeddings.append(packaged.embed(side.modality, inputs)[0])
        assert explanation.similarity == pytest.approx(float(embeddings[0] @ embeddings[1]), abs=1e-5)
        right.append(pointed(explanation, 0, pair.first) == pair.first.kind)
    assert len(right) == 21
    assert sum(right) >= 17


@GIVES_UP
def test_sharp_maps_are_true_in_every_pair(packaged: m2ib.Model) -> None:
    """Over three scenes; one of them alone says little."""
    right = []
    for seed in range(3):
        asked = scene_pairs(seed)
        for pair, explanation in zip(asked, explain(packaged, asked, seed, "sharp"), strict=True):
            side = pair.first
            right.append(pointed(explanation, 0, side) == side.kind)
    assert len(right) == 63
    assert sum(right) >= 54
