"""The training code: what it feeds is what the model's preparations give, and its losses say what they mean."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import m2ib
from m2ib.scenes import KINDS, WORDS, scenes
from m2ib.scenes.captions import Named
from m2ib.scenes.plan import COLOURS, SIZES, plan
from m2ib_adapters.imagebind_tiny.train import batches
from m2ib_adapters.imagebind_tiny.train.losses import KindHeads, contrastive
from m2ib_adapters.inputs.media import sha256

SEEDS = range(4000, 4012)


@pytest.fixture(scope="module")
def model():
    with pytest.warns(m2ib.M2IBWarning, match="random"):
        return m2ib.load_model("imagebind-tiny", checkpoint="random", device="cpu")


@pytest.mark.parametrize("modality", ["image", "audio", "depth", "thermal", "imu"])
def test_training_inputs_are_the_models_own(model, modality):
    made = scenes(SEEDS)
    expected = model.preprocess(modality, [scene.inputs[modality] for scene in made])
    given = batches.inputs(modality, plan(SEEDS))
    assert given.shape == expected.reshape(given.shape).shape
    torch.testing.assert_close(given, expected.reshape(given.shape), rtol=1e-4, atol=1e-4)


def test_captions_as_token_ids_are_the_models_own(model):
    texts = [scene.text for scene in scenes(SEEDS)]
    torch.testing.assert_close(batches.token_ids(texts), model.preprocess("text", texts))


@pytest.mark.parametrize(("modality", "grid"), [("image", (8, 8)), ("audio", (4, 20)), ("imu", (40,))])
def test_shares_of_cells(modality, grid):
    found = batches.shares(modality, plan(SEEDS), grid)
    for scene, rows in zip(scenes(SEEDS), found, strict=True):
        for number, kind in enumerate(KINDS):
            mask = scene.masks[modality].get(kind)
            if modality == "imu" and mask is not None:
                mask = mask.any(0)
            for cell, place in enumerate(np.ndindex(grid)):
                expected = 0.0
                if mask is not None:
                    part = tuple(
                        slice(n * size // count, (n + 1) * size // count)
                        for n, size, count in zip(place, mask.shape, grid, strict=True)
                    )
                    expected = mask[part].mean()
                assert float(rows[number, cell]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bare", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("part", [False, True])
def test_captions_say_what_is_true_and_truths_know_it(part, bare):
    planned, made = plan(SEEDS), scenes(SEEDS)
    texts, meanings = batches.said(planned, np.random.default_rng(0), part=part, bare=bare)
    truths = batches.truths(meanings, planned)
    for number, (text, meaning) in enumerate(zip(texts, meanings, strict=True)):
        words = text.split()
        assert len(words) <= 22
        assert set(words) <= set(WORDS)
        assert [word for word in words if word in KINDS] == [KINDS[named.kind] for named in meaning]
        if bare == 1:
            assert not set(words) & {*COLOURS, *SIZES}
        if not part:
            assert [KINDS[named.kind] for named in meaning] == list(made[number].kinds)
        for other, scene in enumerate(made):
            assert bool(truths[number, other]) == all(is_true(named, scene) for named in meaning)
        assert truths[number, number]


def is_true(named: Named, scene) -> bool:
    held = dict(zip(scene.kinds, zip(scene.colours, scene.sizes, strict=True), strict=True))
    kind = KINDS[named.kind]
    return (
        kind in held
        and (named.colour < 0 or held[kind][0] == COLOURS[named.colour])
        and (named.size < 0 or held[kind][1] == SIZES[named.size])
    )


def test_contrastive_loss_against_loops():
    torch.manual_seed(0)
    texts, others = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    true = torch.eye(5, dtype=torch.bool)
    true[0, 3] = true[2, 1] = True
    cosine = [[float(torch.cosine_similarity(t, o, dim=0)) for o in others] for t in texts]
    total = 0.0
    for i in range(5):
        row = sum(math.exp(9 * cosine[i][j]) for j in range(5) if i == j or not true[i, j])
        column = sum(math.exp(9 * cosine[j][i]) for j in range(5) if i == j or not true[j, i])
        total += (math.log(row) + math.log(column) - 18 * cosine[i][i]) / 10
    assert float(contrastive(texts, others, true, 9.0)) == pytest.approx(total, abs=1e-12)


def test_the_heads_learn_where_a_kind_is():
    torch.manual_seed(0)
    heads = KindHeads(8, 2)
    tokens = torch.randn(6, 5, 8)
    shares = torch.zeros(6, 2, 4)
    shares[:3, 0, 1] = 0.9
    held = shares.amax(-1).gt(0).float()
    tokens[:3, 2] += 3 * torch.randn(8)  # position 1, after the class token
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.05)
    first = [float(loss.detach()) for loss in heads(tokens, shares, held)]
    for _ in range(60):
        optimizer.zero_grad()
        sum(heads(tokens, shares, held)).backward()
        optimizer.step()
    assert all(
        float(now.detach()) < 0.3 * then for now, then in zip(heads(tokens, shares, held), first, strict=True)
    )


def run_quick(folder: Path, seed: int) -> Path:
    out = folder / "weights.safetensors"
    options = ["--quick", "--threads", "1", "--seed", str(seed), "--out", str(out)]
    run = [sys.executable, "-m", "m2ib_adapters.imagebind_tiny.train", *options]
    subprocess.run(run, check=True, capture_output=True)
    return out


def test_a_training_run_can_be_repeated_and_loaded(tmp_path):
    one, same = (run_quick(tmp_path / name, 3) for name in "ab")
    other = run_quick(tmp_path / "c", 4)
    assert sha256(one) == sha256(same) != sha256(other)
    assert sorted(path.name for path in one.parent.iterdir()) == ["weights.log.jsonl", "weights.safetensors"]
    lines = [json.loads(line) for line in one.with_suffix(".log.jsonl").read_text().splitlines()]
    assert lines[-1]["sha256"] == sha256(one)
    assert {line["stage"] for line in lines if "step" in line} == {
        "together",
        "audio",
        "depth",
        "thermal",
        "imu",
    }
    assert one.stat().st_size <= 8_000_000
    model = m2ib.load_model("imagebind-tiny", checkpoint=one, device="cpu")
    embedded = model.embed("text", model.preprocess("text", ["a photo of a bell"]))
    assert torch.isfinite(embedded).all()
