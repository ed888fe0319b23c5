"""Pages for those who see little, or nothing, or have no mouse: what can be told without a browser (`tests/benchmarks/axe.py` has one)."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from accessible import alternatives, blended, contrast, lacking, style, themes
from drawn import KINDS, explanations
from m2ib.page.cards import Card, write_cards
from m2ib.page.comparison import render_comparison
from m2ib.page.explanation import render_page
from m2ib.renderers.names import described

TEXT = 4.5  # of contrast, WCAG 2, AA


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_are_readable_whatever_their_value(theme: str) -> None:
    colours, css = themes()[theme], style()
    shading = r"rgb\(var\(--shade\) / calc\(var\(--value\) \* var\(--strength\)\)\)"
    assert len(re.findall(shading, css)) == 2  # of words, and of cells
    strongest = max(map(float, re.findall(r"--strength: ([\d.]+)", css)))
    for hue in ("shade", "against"):
        for paper in ("card", "paper"):
            found = [
                contrast(colours["ink"], blended(colours[hue], colours[paper], strongest * value))
                for value in np.linspace(0, 1, 201)
            ]
            assert min(found) >= TEXT, (hue, paper)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_other_colours_of_text_are_readable_on_every_ground(theme: str) -> None:
    colours = themes()[theme]
    notes = {"note": blended(colours["shade"], colours["card"], 0.12)}
    for ink in ("ink", "quiet", "accent", "known"):
        for name, ground in {"card": colours["card"], "paper": colours["paper"], **notes}.items():
            assert contrast(colours[ink], ground) >= TEXT, (ink, name)
    assert not re.search(r"\bopacity:", style())  # would take some of it away


def test_every_table_and_picture_of_every_page_can_be_reached_and_told(tmp_path: Path) -> None:
    found = explanations()
    cards = [Card(name, "m2ib", 0.2, [("thing", name)] * 2, (), None, exp) for name, exp in found.items()]
    pages = {
        "several": render_page([*found.values()]),
        "one": render_page([found["photo-text"]]),
        "comparison": render_comparison([found["photo-text"]] * 2),
        "cards": write_cards(cards, tmp_path / "cards.html", summary=[("rows", "1")], total=9).read_text(),
        "notebook": unescape(found["photo-text"]._repr_html_()),
    }
    for name, page in pages.items():
        assert lacking(page) == [], name
        ids = re.findall(r' id="([^"]+)"', page)
        assert len(ids) == len(set(ids)), name
    page = render_page([found["photo-text"]])
    assert lacking(
        page.replace(' tabindex="0" aria-label="Settings', ' aria-label="Settings')
    )  # the test can fail


@pytest.mark.parametrize("kind", [*KINDS])
def test_a_map_is_told_by_its_input_its_method_and_its_highest_place(kind: str) -> None:
    one = KINDS[kind]()
    said = described(one)
    assert said.startswith("thing")
    assert ", by m2ib" in said
    assert "highest at" in said or not one.grid.size
    labels = alternatives(str(one.renderer.fragment(one, "m0")))
    assert kind not in ("image", "field", "sound") or any(said in label for label in labels)
