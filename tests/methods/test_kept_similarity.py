"""Whether a fit kept the similarity that it is about, and what is said where it did not."""

from __future__ import annotations

import copy
import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor

import m2ib
import naive
from m2ib.data import open_pairs
from m2ib.evaluation.files import save
from m2ib.evaluation.report import remarks
from m2ib.evaluation.results import read_results
from m2ib.evaluation.run import evaluate
from m2ib.evaluation.study import Study
from tiny_clip import END, START

IDS = torch.tensor([START, 3, 14, 15, 9, END])
LOST = r"^image: the fit lost the similarity: its mean cosine went from 0\.\d+ to .*; give a beta below 10"


@pytest.fixture(scope="module")
def photo() -> m2ib.Model:
    return m2ib.load_model("photo", device="cpu", size=192)


@pytest.mark.parametrize("variance", [1.0, 0.25])
def test_noise_alone_is_what_the_textbook_gives(clip64: m2ib.Model, variance: float) -> None:
    """The mean cosine of the first step's draws where lambda is 0."""
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randn(3, 32, 32, generator=generator).double()
    found = m2ib.explain(
        clip64, image=pixels, text=IDS, seed=5, samples=4, steps=2, layer=1, variance=variance
    )
    inputs: dict[str, Tensor] = {"image": pixels[None], "text": IDS[None]}
    targets = {"image": clip64.embed("text", inputs["text"]), "text": clip64.embed("image", inputs["image"])}
    for side, x in inputs.items():
        encoder = clip64.encoder(side)
        block = encoder.layer(1).module

        def embed(encoder: Any = encoder, x: Tensor = x) -> Tensor:
            return encoder.embed(x)

        with torch.no_grad():
            a = naive.read_layer(embed, block)  # (1, T, C)
            torch.manual_seed(5)
            noise = math.sqrt(variance) * torch.empty(4, *a.shape[1:], dtype=a.dtype).normal_()
            cosines = [
                torch.cosine_similarity(naive.embed_with(embed, block, eps[None]), targets[side]).item()
                for eps in noise
            ]
        curve = found[side].curve
        assert curve is not None
        assert curve.noise == pytest.approx(np.mean(cosines), abs=1e-6)


def test_a_fit_that_lost_the_similarity_says_so_on_its_own_map(photo: m2ib.Model, tmp_path: Path) -> None:
    """It looked like one that worked."""
    pair = {"image": skimage.data.chelsea(), "text": "a cat"}
    with pytest.warns(m2ib.M2IBWarning, match=LOST):
        found = m2ib.explain(photo, **pair, beta={"image": 10})
    (said,) = found["image"].warnings
    assert found["text"].warnings == ()
    assert "the fit lost the similarity" in said
    page = found.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("the fit lost the similarity") == 1
    assert m2ib.load_explanation(found.save(tmp_path / "saved"))["image"].warnings == (said,)


@pytest.mark.parametrize("settings", [{"preset": "sharp"}, {"granularity": "token"}])
def test_a_shared_lambda_keeps_the_similarity(photo: m2ib.Model, settings: Any) -> None:
    """By the same beta it threw all away: .21 went to -.01."""
    for picture, text in ((skimage.data.chelsea(), "a cat"), (skimage.data.coffee(), "a cup of coffee")):
        found = m2ib.explain(photo, image=picture, text=text, **settings)
        for side in found:
            assert side.curve is not None
            assert side.curve.kept is not None
            assert side.curve.kept > 0.75


def test_convolutions_tell_the_step_of_each_layer(photo: m2ib.Model) -> None:
    """Shifts and smooth were dropped without a word."""
    encoder = photo.encoder("image")
    with photo.running():
        for layer, step in ((0, 2), (14, 16), (len(encoder.blocks) - 1, 32)):
            assert encoder.step(layer) == (step, step)
    found = m2ib.explain(photo, image=skimage.data.chelsea(), text="a cat", preset="sharp")
    assert found["image"].grid.shape == (24, 24)
    with pytest.raises(m2ib.SettingError, match="shifts for image: 1225 is too many"):
        m2ib.explain(photo, image=skimage.data.chelsea(), text="a cat", shifts={"image": 1225})


def test_a_preset_without_a_step_says_what_it_goes_without(clip64: m2ib.Model) -> None:
    image = replace(clip64.encoder("image"), stride=None)
    model = replace(clip64, encoders={**clip64.encoders, "image": image})
    pixels = torch.zeros(3, 32, 32, dtype=torch.float64)
    with pytest.warns(m2ib.M2IBWarning, match="^image: the preset 'sharp' goes without shifts and smooth"):
        found = m2ib.explain(model, image=pixels, text=IDS, preset="sharp")
    assert "goes without shifts" in found["image"].warnings[0]
    assert not any("goes without" in said for said in found["text"].warnings)


def test_tables_have_the_warnings_of_their_maps(photo: m2ib.Model, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.png")
    table = tmp_path / "pairs.csv"
    table.write_text("image,text\ncat.png,a cat\n", encoding="utf-8")
    study = Study(("m2ib",), ("deletion",), (0,), {"m2ib": {"beta": {"image": 10.0}}})
    results = read_results(evaluate(photo, open_pairs(table), study, tmp_path / "out", show_progress=False))
    save(results)
    with (tmp_path / "out" / "samples.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    said = {row["modality"]: row["warnings"] for row in rows if row["method"] == "m2ib"}
    assert "the fit lost the similarity" in said["image"]
    assert said["text"] == ""
    assert any("m2ib of image: 1 map has warnings" in remark for remark in remarks(results))


def test_a_similarity_stands_among_usual_ones(photo: m2ib.Model, tmp_path: Path) -> None:
    """An unrelated caption looked like any other."""
    texts, picture = photo.encoder("text").reference, skimage.data.chelsea()
    assert texts is not None
    captions = texts()[:32]
    embedded = torch.cat([photo.embed("text", photo.preprocess("text", [each])) for each in captions])
    cosines = photo.embed("image", photo.preprocess("image", [picture])) @ embedded.T  # (1, 32)
    for text, caution in (("a cat", False), ("quarterly tax report in dutch", True)):
        found = m2ib.explain(photo, image=picture, text=text, steps=1, samples=1)
        place = found.provenance["usual"]["text"]
        assert place["inputs"] == 32
        assert place["below"] == pytest.approx((cosines < found.similarity).double().mean().item(), abs=1e-4)
        assert place["median"] == pytest.approx(cosines.median().item(), abs=1e-4)
        page = found.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
        assert ("No more similar than unrelated inputs usually are" in page) is caution
        assert f"{place['below']:.0%} of 32 reference inputs (text;" in page


def test_usual_inputs_of_the_caller_s_own(clip64: m2ib.Model) -> None:
    pixels = torch.randn(3, 32, 32, dtype=torch.float64)
    assert "usual" not in m2ib.explain(clip64, image=pixels, text=IDS).provenance
    own = [torch.tensor([START, number, END]) for number in (5, 6, 7)]
    found = m2ib.explain(clip64, image=pixels, text=IDS, reference={"text": own})
    assert found.provenance["usual"].keys() == {"text"}
    assert found.provenance["usual"]["text"]["inputs"] == 3


def test_an_unrelated_pair_has_that_on_its_map(photo: m2ib.Model) -> None:
    """No warning in Python: the fit did what it could."""
    found = m2ib.explain(photo, image=skimage.data.chelsea(), text="quarterly tax report in dutch")
    assert all("there was no similarity to keep" in side.warnings[0] for side in found)


def test_reference_inputs_are_none_of_the_user_s_options() -> None:
    """An option for every raw input, as page=2, refused them, and a unit would have changed what is usual."""
    usual = []
    for options in ({}, {"page": 0, "maximum": 255}):
        model = m2ib.load_model("photo", device="cpu", size=64, image=options)
        found = m2ib.explain(model, image=skimage.data.chelsea(), text="a cat", steps=1, samples=1)
        usual.append(found.provenance["usual"])
    assert usual[0] == usual[1]


def test_what_is_usual_follows_weights_that_change_past_autograd(photo: m2ib.Model) -> None:
    model = copy.deepcopy(photo)
    pair = {"image": skimage.data.chelsea(), "text": "a cat", "steps": 1, "samples": 1}
    before = m2ib.explain(model, **pair).provenance["usual"]
    for weight in model.module.text.parameters():
        weight.data.mul_(0.9)
    after = m2ib.explain(model, **pair).provenance["usual"]
    assert after != before
    assert after == m2ib.explain(copy.deepcopy(model), **pair).provenance["usual"]
