"""A figure has the scale and the colours of the page, whatever is shown."""

from __future__ import annotations

import dataclasses
import json
import re
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure

import m2ib
from drawn import KINDS, contrast, explanations
from m2ib.contract.attribution import Attribution
from m2ib.renderers.drawing import blended
from m2ib.renderers.looks import Looks
from m2ib.renderers.plotting import map_figure

SCRIPT = files("m2ib.page").joinpath("heatmap.js").read_text(encoding="utf-8")
STYLE = files("m2ib.page").joinpath("page.css").read_text(encoding="utf-8")


def ramp(name: str) -> list[list[int]]:
    found = re.search(rf"const {name} = (\[\[.*?\]\]);", SCRIPT)
    assert found
    return list(json.loads(found[1]))


def painted(level: float, *, signed: bool) -> tuple[np.ndarray, float]:
    """Colour and opacity of a level, in [-1, 1] of a signed map, as ``paint`` of heatmap.js has them, in its own numbers."""
    size = abs(level)
    stops = ramp(("AGAINST" if level < 0 else "FOR") if signed else "RAMP")
    place = min(max(size, 0), 1) * (len(stops) - 1)
    low = int(place)
    high = min(low + 1, len(stops) - 1)
    colour = np.array(stops[low]) + (np.array(stops[high]) - stops[low]) * (place - low)
    assert (
        "strength * (signed(name) ? Math.min(1, 1.4 * Math.pow(size, 0.7)) : Math.min(1, 0.12 + 0.95 * size))"
        in SCRIPT
    )
    return colour, 0.75 * (min(1, 1.4 * size**0.7) if signed else min(1, 0.12 + 0.95 * size))


def page_range(a: Attribution) -> tuple[float, float]:
    """From which value to which the figure on the page runs, as ``rangeOf`` has it, for its first panel as it is at first."""
    found = re.search(
        r'<script type="application/json">(.*?)</script>', a.renderer.fragment(a, "x"), re.DOTALL
    )
    assert found
    data = json.loads(found[1])
    maps = data["panels"][0]["soft"] or data["panels"][0]["maps"] or data["maps"]
    values = np.array(maps["for"]) - np.array(maps.get("against", 0))
    if data["signed"] or "against" in maps:
        return -float(np.abs(values).max()), float(np.abs(values).max())
    full = data["full"]
    return (min(values.min(), 0), max(values.max(), full)) if full else (values.min(), values.max())


@pytest.mark.parametrize("change", ["plain", "full", "signed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_has_one_colour_on_the_page_and_in_the_figure(kind: str, change: str) -> None:
    a = contrast(kind) if change == "signed" else KINDS[kind]()
    a = dataclasses.replace(a, full=12.0) if change == "full" else a
    low, high = page_range(a)
    axes = map_figure(4, 4).subplots()
    a.renderer.draw(a, axes)
    heat = axes.images[-1]
    assert heat.get_clim() == pytest.approx((low, high))
    values = np.linspace(low, high, 9)
    drawn = heat.cmap(heat.norm(values))
    picture, seen = np.full((1, 9, 3), 100, np.uint8), np.ones((1, 9), bool)
    card = (
        blended(a, picture, values[None], seen)[0]
        if heat.get_clim() == (a.balance.min(), a.balance.max())
        else None
    )
    for place, value in enumerate(values):
        level = value / high if a.signed else (value - low) / (high - low)
        colour, opacity = painted(level, signed=a.signed)
        np.testing.assert_allclose(drawn[place, :3] * 255, colour, atol=1.5)
        assert drawn[place, 3] == pytest.approx(opacity, abs=0.01)
        if card is not None:
            np.testing.assert_allclose(card[place], 100 * (1 - opacity) + colour * opacity, atol=1.5)


def test_what_is_not_seen_is_as_grey_as_on_the_page() -> None:
    assert "let colour = [127, 127, 127]" in SCRIPT
    assert "alpha = 0.55; } // the model does not see this" in SCRIPT
    a = KINDS["image"]()
    axes = map_figure(4, 4).subplots()
    a.renderer.draw(a, axes)
    shown = np.asarray(axes.images[0].get_array(), float)
    np.testing.assert_allclose(shown[:, :10], 0.45 * a.view.pixels[:, :10] + 0.55 * 127, atol=1.5)
    np.testing.assert_array_equal(shown[:, 10:40], a.view.pixels[:, 10:40])


@pytest.mark.parametrize("signed", [False, True])
def test_words_have_the_shades_of_a_page_in_the_light(signed: bool) -> None:
    a = explanations()["photo-text"]["text"]
    if signed:
        grid = np.linspace(-0.4, 0.6, a.grid.size).astype(np.float32)
        a = dataclasses.replace(a, grid=grid, unit="cosine", against=None, full=None)
    css = {
        name: [float(part) for part in value.split()]
        for name, value in re.findall(r"--([\w-]+): ([\d. ]+);", STYLE[: STYLE.index("@media")])
    }
    styles = re.findall(r'class="word[^"]*" tabindex="0" style="([^"]*)"', a.renderer.fragment(a, "x"))
    axes = map_figure(4, 4).subplots()
    a.renderer.draw(a, axes)
    assert len(styles) == len(axes.patches) == len(a.words)
    for style, bar in zip(styles, axes.patches, strict=True):
        value = float(re.search(r"--value:([\d.]+)", style)[1])  # type: ignore[index]
        hue = np.array(css["against" if "--against" in style else "shade"])
        opacity = value * css["strength"][0]
        np.testing.assert_allclose(
            np.array(bar.get_facecolor()[:3]) * 255, 255 * (1 - opacity) + hue * opacity, atol=1.5
        )


def test_any_colour_map_of_matplotlib() -> None:
    for kind in ("image", "sound", "traces"):
        a = KINDS[kind]()
        axes = map_figure(4, 4, Looks.of([a], "viridis")).subplots()
        a.renderer.draw(a, axes)
        heat = axes.images[-1]
        assert heat.cmap(1.0)[:3] == pytest.approx(colormaps["viridis"](1.0)[:3])
        both = contrast(kind)
        axes = map_figure(4, 4, Looks.of([both], "coolwarm")).subplots()
        both.renderer.draw(both, axes)
        assert axes.images[-1].cmap(0.0)[:3] == pytest.approx(colormaps["coolwarm"](0.0)[:3], abs=0.01)
        assert axes.images[-1].cmap(0.5)[3] == 0


def test_a_scale_is_shared_by_what_can_be_compared_and_stands_on_the_bars() -> None:
    one = dataclasses.replace(KINDS["image"](), full=None)
    twice = dataclasses.replace(one, grid=2 * one.grid)
    other = dataclasses.replace(one, unit="cosine", method="rise", additive=False)
    looks = Looks.of([one, twice, other], scale="shared")
    both = (float(one.grid.min()), float(twice.grid.max()))
    assert looks.range(one, one.grid) == looks.range(twice, twice.grid) == both
    assert looks.range(other, other.grid) == (float(other.grid.min()), float(other.grid.max()))
    number = Looks.of([one, contrast("image")], scale=4)
    assert number.range(one, one.grid) == (0, 4)
    assert number.range(contrast("image"), one.grid) == (-4, 4)
    axes = map_figure(4, 4, number).subplots()
    one.renderer.draw(one, axes)  # up to 9.5
    bar = axes.images[-1].colorbar
    assert bar is not None
    assert (bar.extend, bar.vmin, bar.vmax) == ("max", 0, 4)
    assert bar.ax.get_ylabel() == "nats per position"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cmap": "viridid"}, "figure: the colour map 'viridid' is unknown; did you mean 'viridis'? matplotlib has viridis, cividis, magma, inferno, coolwarm, ...; None gives the page's colours"),
        ({"scale": "common"}, "figure: the scale 'common' is not possible; give 'own' (each map its own), 'shared' (one for all maps of a unit), or a number > 0, at which heat is full"),
        ({"scale": -1}, "figure: the scale -1 is not possible; give 'own' (each map its own), 'shared' (one for all maps of a unit), or a number > 0, at which heat is full"),
    ],
)  # fmt: skip
def test_what_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        explanations()["photo-text"].figure(**given)
    assert str(caught.value) == message


def test_axes_of_anybodys_figure_have_the_pages_looks() -> None:
    a = KINDS["image"]()
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    np.testing.assert_array_equal(axes.images[-1].cmap.colors, Looks().heat(signed=False).colors)  # type: ignore[attr-defined]
