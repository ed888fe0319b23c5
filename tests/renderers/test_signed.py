"""Signed maps: zero in the middle of the scale, two hues, and what speaks against is told in words too."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from drawn import KINDS, attribution, explanations, sound_view
from m2ib.contract.abilities import Sketching
from m2ib.contract.attribution import Attribution
from m2ib.page.overview import thumbnail
from m2ib.renderers import ValuesRenderer, sound_parts
from m2ib.renderers.base import heat_of, heat_range


def signed(kind: str, **more: Any) -> Attribution:
    """Values from -3 to 6 that add up to a similarity."""
    plain = KINDS[kind]()
    grid = np.linspace(-3, 6, plain.grid.size).reshape(plain.grid.shape).astype(np.float32)
    return dataclasses.replace(plain, grid=grid, unit="cosine", **more)


def words(grid: list[float], **more: Any) -> Attribution:
    """Of the tokens [CLS] a bell <b>beside</b> a train."""
    said = explanations()["photo-text"]["text"]
    cells = np.array(grid, np.float32)
    return dataclasses.replace(
        said, grid=cells, against=more.pop("against", None), unit="cosine", full=None, **more
    )


def test_only_values_that_add_up_to_a_similarity_are_signed() -> None:
    assert signed("image").signed
    assert not signed("image", additive=False).signed  # means, as of RISE
    assert not signed("image", full=9.0).signed
    assert not dataclasses.replace(signed("image"), unit="nats").signed  # below 0 by rounding
    assert not dataclasses.replace(signed("image"), grid=np.ones((3, 4))).signed
    both = dataclasses.replace(signed("image"), unit="nats", against=np.zeros((3, 4), np.float32))
    assert both.signed
    np.testing.assert_array_equal(both.balance, both.grid)


def test_zero_is_in_the_middle() -> None:
    a = signed("image")
    assert heat_range(a, a.grid) == (-6, 6)
    np.testing.assert_allclose(heat_of(a, np.array([-6.0, -3.0, 0.0, 6.0])), [0, 0.25, 0.5, 1])
    behind = dataclasses.replace(a, grid=-a.grid)
    assert heat_range(behind, behind.grid) == (-6, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_pages_and_figures_of_every_kind(kind: str) -> None:
    a = signed(kind)
    html = a.renderer.fragment(a, "x")
    found = re.search(r'<script type="application/json">(.*?)</script>', html)
    assert found
    data = json.loads(found[1])
    assert data["signed"]
    assert data["legends"]["for"] == "orange: raises the similarity, blue: lowers it"
    assert not json.loads(re.findall(r"json\">(.*?)</script>", KINDS[kind]().renderer.fragment(KINDS[kind](), "x"))[0])["signed"]  # fmt: skip
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    heat = axes.images[-1]
    assert heat.norm.vmin == -heat.norm.vmax  # type: ignore[operator]
    assert heat.cmap(0.5)[3] == 0  # nothing is over the picture
    low, high = np.array(heat.cmap(0.1)), np.array(heat.cmap(0.9))
    assert low[2] > low[0]  # blue
    assert high[0] > high[2]  # orange


@pytest.mark.parametrize("kind", KINDS)
def test_sketches_have_two_hues_and_nothing_at_zero(kind: str) -> None:
    def sketched(value: float) -> np.ndarray:
        a = signed(kind)
        grid = np.full_like(a.grid, value)
        grid[(0,) * grid.ndim] = -1.0  # the scale
        a = dataclasses.replace(a, grid=grid)
        assert isinstance(a.renderer, Sketching)
        data = re.findall(r'src="data:image/\w+;base64,([^"]+)"', a.renderer.sketch(a, 48))[0]
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            pixels = np.asarray(image.convert("RGB")).astype(float)
            return np.asarray(pixels[:, pixels.shape[1] // 2 :][:, :3].mean((0, 1)))

    warm, none, cool = sketched(1.0), sketched(0.0), sketched(-1.0)
    assert (warm - none)[0] - (warm - none)[2] > 30
    assert (cool - none)[2] - (cool - none)[0] > 30
    assert np.ptp(none) < 20  # the grey picture, or a field with a quarter of its colours


def test_words_below_zero_are_of_the_other_hue_and_named() -> None:
    a = words([0.5, -0.2, 0.1, 0.0, -0.05, 0.4])
    html = a.renderer.fragment(a, "x")
    styles = re.findall(r'class="word[^"]*" tabindex="0" style="([^"]*)"', html)
    assert styles == [
        "--value:0.500;--shade:var(--against);--way:left",
        "--value:0.250",
        "--value:0.000",
        "--value:0.125;--shade:var(--against);--way:left",
        "--value:1.000",
    ]
    assert "blue, with a bar from the right: a (−0.2), a (−0.05)</p>" in html
    assert ">−0.4 cosine</span>" in html
    assert '<figure class="words around"' in html
    assert isinstance(a.renderer, Sketching)
    assert a.renderer.sketch(a, 48).count("var(--against)") == 2
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([-0.2, 0.1, 0, -0.05, 0.4])  # type: ignore[attr-defined]


def test_words_of_a_contrast_have_both_numbers() -> None:
    a = words([0.5, 0.2, 0.1, 0.0, 0.3, 0.4], against=np.array([0, 0.1, 0.4, 0, 0.1, 0.1], np.float32))
    html = a.renderer.fragment(a, "x")
    assert "0.1 cosine for, 0.4 against, bell" in html
    assert "orange: more for this one, blue: more for the other; blue, with a bar from the right: bell (−0.3)" in html  # fmt: skip
    against = dataclasses.replace(a, settings={"signed": True})
    assert "orange: raises the similarity, blue: lowers it; blue" in against.renderer.fragment(against, "x")
    nothing = dataclasses.replace(a, against=a.grid)
    assert nothing.renderer.fragment(nothing, "x").count('--value:0.000"') == 5
    alike = dataclasses.replace(a, against=a.grid * 1.001)
    assert "the two sides hardly differ" in alike.renderer.fragment(alike, "x")


def test_plain_values_and_thumbnails() -> None:
    a = attribution(ValuesRenderer(), {}, np.array([[-1.0, 0.0, 2.0]]), unit="cosine")
    assert re.findall(r'cell" style="([^"]*)"', a.renderer.fragment(a, "x")) == [
        "--value:0.500;--shade:var(--against);--way:left",
        "--value:0.000",
        "--value:1.000",
    ]
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    assert axes.images[0].norm.vmin == -2
    with Image.open(io.BytesIO(base64.b64decode(thumbnail(a).partition(",")[2]))) as image:
        cool, none, warm = np.asarray(image.convert("RGB")).astype(int)[0]
    assert cool[2] > cool[0]
    assert np.ptp(none) < 8
    assert warm[0] > warm[2]


def test_a_sound_keeps_nothing_where_the_map_is_zero() -> None:
    a = signed("sound")
    tone = np.sin(2 * np.pi * 300 * np.arange(2400) / 800).astype(np.float32)  # in the lowest row
    grid = np.zeros_like(a.grid)
    grid[0, 0] = -1.0
    a = dataclasses.replace(a, grid=grid, view=sound_view(waveform=tone))
    parts = sound_parts(a)
    assert np.abs(parts["kept"]).max() < 1e-6
    assert np.abs(parts["against"]).max() > 1e-3
    assert "what raises the similarity" in a.renderer.fragment(a, "x")
