"""Which unit acts together with which, on the page and in figures: numbers as they are, names as they are, lines where cells are."""

from __future__ import annotations

import dataclasses
import json
import re
from html import unescape
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import ConnectionPatch

import m2ib
from drawn import KINDS, contrast, explanations
from m2ib.contract.abilities import Placing
from m2ib.contract.attribution import Attribution
from m2ib.contract.interactions import Interactions, Units
from m2ib.page.explanation import render_page
from m2ib.page.links import strongest, unit_name


def linked(
    exp: m2ib.Explanation, shapes: tuple[Any, Any] = (None, None), matrix: np.ndarray | None = None
) -> m2ib.Explanation:
    """With a matrix of its words and cells; of other shapes than the maps' where those are given."""
    units = tuple(
        Units(each.modality, (len(each.words),), tuple(word for word, _ in each.words))
        if each.words
        else Units(each.modality, shape or each.grid.shape)
        for each, shape in zip(exp, shapes, strict=True)
    )
    size = (units[0].number, units[1].number)
    made = np.random.default_rng(0).normal(size=size) if matrix is None else matrix
    return dataclasses.replace(exp, interactions=Interactions(made, units, "second-order", "cosine"))  # type: ignore[arg-type]


def data_of(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" class="interactions">(.*?)</script>', page)
    data: dict[str, Any] = json.loads(found)
    return data


def test_the_page_has_the_matrix_once_in_four_digits() -> None:
    exp = linked(explanations()["photo-text"])
    assert exp.interactions
    page = render_page([exp])
    data = data_of(page)
    np.testing.assert_allclose(data["matrix"], exp.interactions.matrix, rtol=5e-4)
    digits = [len(repr(abs(v)).replace(".", "").lstrip("0").partition("e")[0]) for row in data["matrix"] for v in row]  # fmt: skip
    assert max(digits) == 4
    assert [side["id"] for side in data["sides"]] == ["e0-0", "e0-1"]
    assert all(f'id="{side["id"]}"' in page for side in data["sides"])
    assert data["sides"][0]["shape"] == [3, 4]
    assert data["sides"][1]["names"] == [word for word, _ in exp["text"].words]
    assert page.count("const chooser") == 1
    plain = render_page([explanations()["photo-text"]])
    assert "const chooser" not in plain
    assert 'class="interactions"' not in plain


def test_without_a_script_the_strongest_links_are_a_table() -> None:
    matrix = np.full((12, 5), 0.001)
    matrix[5, 2], matrix[0, 4] = -0.25, 0.125
    exp = linked(explanations()["photo-text"], matrix=matrix)
    page = render_page([exp])
    table = page[page.index('<details class="links" open>') :]
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td class=\"figure\">(.*?)</td></tr>", table)
    assert rows[:2] == [("row 2, column 2", "&lt;b&gt;beside&lt;/b&gt;", "−0.25"), ("row 1, column 1", "train", "+0.125")]  # fmt: skip
    assert "The strongest links, by second-order" in table
    assert 'aria-live="polite"' in page


def test_a_notebook_shows_links_too() -> None:
    exp = linked(explanations()["photo-text"])
    inside = unescape(re.findall(r'srcdoc="([^"]*)"', exp._repr_html_())[0])
    data = data_of(inside)
    assert [side["id"] for side in data["sides"]] == ["m0", "m1"]
    assert all(f'id="{side["id"]}"' in inside for side in data["sides"])
    assert inside.count("const chooser") == inside.count('<p class="hint linked"') == 1
    assert inside.index("const RAMP") < inside.index("const chooser")  # which asks for the figures
    plain = unescape(explanations()["photo-text"]._repr_html_())
    assert 'linked"' not in plain


def test_words_cannot_end_the_script() -> None:
    page = render_page([linked(explanations()["photo-text"])])
    found = re.findall(r'class="interactions">(.*?)</script>', page)[0]
    assert "<" not in found
    assert "<b>beside</b>" in data_of(page)["sides"][1]["names"]


def test_places_are_called_in_seconds_and_hertz() -> None:
    exp = linked(explanations()["sound-traces"])
    assert exp.interactions
    sound, traces = exp.interactions.units
    assert unit_name(exp[0], sound, 16) == "clip 2, 150 Hz–750 Hz, 0.4–1.2 s"
    assert unit_name(exp[1], traces, 2) == "cell 3"
    one = Units("thing", (1, 3, 4))
    assert unit_name(KINDS["image"](), one, 5) == "row 2, column 2"  # the only map goes without saying


def naive_strongest(found: Interactions, count: int) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for number in sorted(range(found.matrix.size), key=lambda n: (-abs(found.matrix.ravel()[n]), n)):
        link = number // found.matrix.shape[1], number % found.matrix.shape[1]
        free = True
        for other in kept:
            near = found.matrix[link] * found.matrix[other] > 0
            for units, mine, theirs in zip(found.units, link, other, strict=True):
                if units.names:
                    near = near and mine == theirs
                else:
                    for here, there, size in zip(
                        units.place(mine), units.place(theirs), units.shape, strict=True
                    ):
                        near = near and abs(here - there) <= max(1, size // 8)
            free = free and not near
        if free:
            kept.append(link)
    return kept[:count]


@pytest.mark.parametrize(("name", "shapes"), [("photo-text", (None, None)), ("sound-traces", (None, (24,)))])
def test_the_strongest_leave_out_what_lies_beside_a_stronger_one(name: str, shapes: tuple[Any, Any]) -> None:
    found = linked(explanations()[name], shapes).interactions
    assert found
    assert [link[:2] for link in strongest(found, 7)] == naive_strongest(found, 7)
    nothing = dataclasses.replace(found, matrix=np.zeros_like(found.matrix))
    assert strongest(nothing, 7) == []


PAIRS = {
    "photo-text": (None, None),
    "field-film": ((6, 8), None),  # finer than the map
    "sound-traces": (None, (5,)),  # coarser
    "given-plain": (None, None),
}


@pytest.mark.parametrize("name", [*PAIRS][:3])
def test_every_pair_gets_a_page_and_a_figure_with_lines(name: str) -> None:
    exp = linked(explanations()[name], PAIRS[name])
    assert exp.interactions
    data = data_of(render_page([exp]))
    assert [tuple(side["shape"]) for side in data["sides"]] == [
        units.shape for units in exp.interactions.units
    ]
    figure = exp.figure(links=5)
    figure.canvas.draw()
    lines = [each for each in figure.artists if isinstance(each, ConnectionPatch)]
    assert len(lines) == 5
    values = [link.value for link in strongest(exp.interactions, 5)]
    for line, value in zip(reversed(lines), values, strict=True):
        assert line.get_edgecolor()[:3] == pytest.approx((0.92, 0.51, 0) if value > 0 else (0, 0.43, 0.9), abs=0.01)  # fmt: skip
        assert (line.get_linestyle() in ("-", "solid")) == (value > 0)
    widths = [line.get_linewidth() for line in reversed(lines)]
    assert widths == sorted(widths, reverse=True)
    assert "5 strongest" in figure.get_supxlabel()
    assert not exp.figure(links=0).artists
    assert not explanations()[name].figure().artists


def test_a_side_without_cells_has_no_links() -> None:
    """An embedding that was given in place of an input."""
    exp = explanations()["given-plain"]
    units = Units("audio", (1,)), Units("wave", (2, 3, 4))
    exp = dataclasses.replace(exp, interactions=Interactions(np.ones((1, 24)), units, "x", "cosine"))
    assert not exp.figure().artists
    assert data_of(render_page([exp]))["matrix"] == [[1.0] * 24]


@pytest.mark.parametrize("kind", ["image", "field", "film", "sound", "traces"])
def test_lines_end_where_a_figure_shows_the_cell(kind: str) -> None:
    """One cell alone is hot; the heat of its figure is highest at its place."""
    plain = KINDS[kind]()
    assert isinstance(plain.renderer, Placing)
    for number in (0, plain.grid.size // 2, plain.grid.size - 1):
        grid = np.zeros_like(plain.grid)
        grid.ravel()[number] = 1
        hot = dataclasses.replace(plain, grid=grid)
        figure = m2ib.Explanation((hot, contrast(kind)), 0.5).figure()
        axes = figure.axes[0]
        heat = axes.images[-1]
        values = np.ma.filled(np.ma.masked_invalid(np.asarray(heat.get_array(), float)), -1)
        x, y = hot.renderer.places(hot)[number]  # type: ignore[attr-defined]
        left, right, bottom, top = heat.get_extent()
        row = (y - top) / (bottom - top) * values.shape[0]
        column = (x - left) / (right - left) * values.shape[1]
        there = values[
            min(max(int(row), 0), values.shape[0] - 1), min(max(int(column), 0), values.shape[1] - 1)
        ]
        assert there >= 0.75 * values.max(), (kind, number)
        assert len(hot.renderer.places(hot)) == plain.grid.size  # type: ignore[attr-defined]


def test_lines_of_a_text_end_at_its_bars() -> None:
    exp = linked(explanations()["photo-text"])
    text = exp["text"]
    places = text.renderer.places(text)  # type: ignore[attr-defined]
    assert places[:, 1].tolist() == [0, 1, 2, 3, 4]
    shown: Attribution = dataclasses.replace(text, against=None)
    assert shown.renderer.places(shown)[:, 0] == pytest.approx([value for _, value in text.words])  # type: ignore[attr-defined]
    assert unescape("&lt;b&gt;") in text.words[2][0]
