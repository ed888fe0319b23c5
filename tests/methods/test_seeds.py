"""Several seeds: the mean of their maps, how far they differ, and where that is shown and stored."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
from m2ib.contract.curve import Curve
from m2ib.methods import Map
from m2ib.methods.bottleneck import groups
from tiny_clip import END, START
from toy_pairs import FEW, model, pictures

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = [torch.tensor([START, *range(3, 3 + inner), END]) for inner in (2, 9, 5)]
PICTURE = pictures(1)[0]
SHORT: dict[str, Any] = {"steps": 3, "samples": 2, "layer": 1}


def pixels(seed: int) -> torch.Tensor:
    return torch.randn(3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("most", [1, 3 * 4 * 16 * 5, 10**9])  # numbers of z at once: one fit, a few, all
@pytest.mark.parametrize("more", [{}, {"shifts": {"image": 4}}, {"fast": False}], ids=["", "shifts", "slow"])
def test_of_each_seed_it_is_the_map_of_that_seed_alone(
    clip64: m2ib.Model, most: int, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(groups._AT_ONCE, "cpu", most)
    pairs = [{"image": pixels(n % 2), "text": text} for n, text in enumerate(TEXTS)]
    many = list(m2ib.explain_many(clip64, pairs, seed=5, seeds=3, **SHORT, **more))
    for pair, found in zip(pairs, many, strict=True):
        alone = [m2ib.explain(clip64, **pair, seed=seed, **SHORT, **more) for seed in (5, 6, 7)]
        for side in ("image", "text"):
            grids = np.stack([each[side].grid for each in alone])
            assert np.ptp(grids, axis=0).max() > 1e-4
            np.testing.assert_allclose(found[side].by_seed, grids, rtol=1e-9)
            np.testing.assert_allclose(found[side].grid, grids.mean(0), rtol=1e-9)
            np.testing.assert_allclose(found[side].deviation, grids.std(0, ddof=1), rtol=1e-6, atol=1e-12)
            capacity = np.mean([each[side].capacity for each in alone], axis=0)
            np.testing.assert_allclose(found[side].capacity, capacity, rtol=1e-9)
            noise = np.mean([each[side].curve.noise for each in alone])
            assert found[side].curve.noise == pytest.approx(noise, rel=1e-9)
            assert (found[side].settings["seed"], found[side].settings["seeds"]) == (5, 3)


def test_what_no_seed_changes_is_run_once(clip64: m2ib.Model) -> None:
    seen: list[int] = []
    module: Any = clip64.module
    handle = module.vision_model.embeddings.register_forward_hook(
        lambda part, args, output: seen.append(len(output))
    )
    m2ib.explain(clip64, image=pixels(0), text=TEXTS[0], seeds=4, **SHORT)
    handle.remove()
    assert seen == [1]


@pytest.mark.parametrize("method", ["rise", "kernelshap", "gradcam"])
def test_other_methods_are_asked_for_each_seed_unless_they_draw_nothing(
    clip64: m2ib.Model, method: str
) -> None:
    given: dict[str, Any] = {"image": pixels(0), "text": TEXTS[1], "method": method}
    given |= {} if method == "gradcam" else {"masks": 30}
    found = m2ib.explain(clip64, **given, seeds=3)
    alone = [m2ib.explain(clip64, **given, seed=seed) for seed in range(3)]
    for side in ("image", "text"):
        grids = np.stack([each[side].grid for each in alone])
        np.testing.assert_allclose(found[side].by_seed, grids, rtol=1e-9)
        assert (found[side].deviation.max() > 0) == (method != "gradcam")


def test_a_word_deviates_as_a_whole() -> None:
    found = m2ib.explain(model(), image=PICTURE, text="red dog", seeds=4, **FEW)["text"]
    grids = [
        m2ib.explain(model(), image=PICTURE, text="red dog", seed=n, **FEW)["text"].words for n in range(4)
    ]
    expected = np.std([[value for _, value in words] for words in grids], axis=0, ddof=1)
    assert found.word_deviations == pytest.approx(expected, rel=1e-4)
    assert m2ib.explain(model(), image=PICTURE, text="red", **FEW)["text"].word_deviations is None


@pytest.mark.parametrize("seeds", [0, -1, 1.5, True, "3", 1001])
def test_other_numbers_are_refused(clip64: m2ib.Model, seeds: Any) -> None:
    with pytest.raises(m2ib.SettingError, match=r"^seeds: .* give a whole number from 1 to 1000$"):
        m2ib.explain(clip64, image=pixels(0), text=TEXTS[0], seeds=seeds)


def test_what_is_said_of_some_seeds_says_of_how_many() -> None:
    curve = Curve((0.5,), (1.0,), (0.0,))
    maps = [Map(np.ones(2), None, curve, said, ("as is",)) for said in ((), ("lost .1",), ("lost .2",))]
    found = Map.of_seeds(maps)
    assert found.warnings == ("lost .1 (2 of 3 seeds)",)
    assert found.remarks == ("as is",)


def test_it_is_saved_and_shown(clip64: m2ib.Model, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    found = m2ib.explain(model(), image=PICTURE, text="red dog", seeds=3, **FEW)
    back = m2ib.load_explanation(found.save(tmp_path / "e"))
    for mine, theirs in zip(back, found, strict=True):
        np.testing.assert_array_equal(mine.by_seed, theirs.by_seed)
    page = back.to_html(tmp_path / "e.html").read_text()
    assert page.count("The mean of 3 seeds, 0 to 2.") == 2
    word, deviation = found["text"].words[0][1], found["text"].word_deviations[0]
    assert f"{word:.4g} ± {deviation:.2g} nats" in page
    figure = m2ib.explain(clip64, image=image, text=TEXTS[0], seeds=3, **SHORT)
    shown = figure["image"].renderer.fragment(figure["image"], "a")
    assert '<option value="deviation">' in shown
    data = json.loads(re.findall(r'type="application/json">(.*?)</script>', shown)[0])
    np.testing.assert_allclose(data["maps"]["deviation"], figure["image"].deviation)


def test_a_run_keeps_them(tmp_path: Path) -> None:
    given = [{"id": "a", "image": PICTURE, "text": "red dog"}]
    rows = m2ib.run(model(), given, tmp_path / "r", seeds=3, **FEW)
    row, back = rows.row("a"), rows.explanation("a")
    expected = m2ib.explain(model(), image=PICTURE, text="red dog", seeds=3, **FEW)
    for n in (1, 2):
        mine, theirs = back[n - 1], expected[n - 1]
        np.testing.assert_allclose(mine.by_seed, theirs.by_seed, rtol=1e-6)
        np.testing.assert_allclose(row[f"deviation_{n}"], theirs.deviation.reshape(-1), rtol=1e-6)
    assert [each["deviation"] for each in row["words_2"]] == pytest.approx(
        expected["text"].word_deviations, rel=1e-4
    )
    with pytest.raises(m2ib.StorageError, match="seeds"):
        m2ib.run(model(), given, tmp_path / "r", **FEW)
