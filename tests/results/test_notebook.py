"""What a notebook shows of an explanation and of one map."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import m2ib
from tiny_clip import END, START


class Cell(HTMLParser):
    """Tags, text and frames of an output cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.frames: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "iframe":
            self.frames.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def explanation(clip64: m2ib.Model) -> m2ib.Explanation:
    photo = np.random.default_rng(0).integers(0, 255, (700, 2400, 3), dtype=np.uint8)
    return m2ib.explain(
        clip64, image=photo, text=torch.tensor([START, 5, 60, END]), layer=1, steps=2, show_progress=False
    )


def test_a_frame_of_its_own_that_needs_nothing(explanation: m2ib.Explanation) -> None:
    cell = Cell(explanation._repr_html_())
    assert cell.tags == ["div", "iframe"]  # no style and no script that the notebook would have
    assert cell.text == repr(explanation)
    inside = cell.frames[0]["srcdoc"] or ""
    frame = Cell(inside)
    assert inside.startswith("<!doctype html>")
    assert (frame.tags.count("figure"), frame.tags.count("style")) == (2, 1)
    assert {'class="heat"', 'class="words"'} <= set(re.findall(r'class="(?:heat|words)"', inside))
    assert "frameElement" in inside
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", inside)
    assert "@import" not in inside
    assert len(inside) < 1_000_000


def test_one_map_alone(explanation: m2ib.Explanation) -> None:
    for attribution in explanation:
        cell = Cell(attribution._repr_html_())
        assert cell.text == repr(attribution)
        assert Cell(cell.frames[0]["srcdoc"] or "").tags.count("figure") == 1


def test_warnings_stand_there_and_nothing_breaks_out(explanation: m2ib.Explanation) -> None:
    evil = '</script></iframe>"><script>alert(1)</script>&amp;'
    text = replace(explanation["text"], warnings=(evil,))
    text = replace(text, view={"text": evil}, method=evil)
    cell = Cell(text._repr_html_())
    assert cell.tags == ["div", "iframe"]
    frame = Cell(cell.frames[0]["srcdoc"] or "")
    assert frame.tags.count("script") == 1
    assert evil in frame.text
    assert '<p class="note">' in (cell.frames[0]["srcdoc"] or "")


PNG = b"\x89PNG\r\n\x1a\n"


def test_several_ways_in_one_frame_and_pictures_where_html_is_not_shown(
    clip64: m2ib.Model, explanation: m2ib.Explanation
) -> None:
    ways = m2ib.Comparison([explanation, replace(explanation)], ["once", "<again>"])
    cell = Cell(ways._repr_html_())
    assert cell.tags == ["div", "iframe"]
    assert cell.text == repr(ways)
    inside = cell.frames[0]["srcdoc"] or ""
    assert re.findall(r'<figure class="\w+" id="([^"]*)"', inside) == ["m0-0", "m1-0", "m0-1", "m1-1"]
    assert inside.count('<div class="sides">') == 2
    assert inside.count("<small>once</small>") == inside.count("<small>&lt;again&gt;</small>") == 2
    assert inside.count("const RAMP") == 1
    for shown in (
        explanation,
        explanation["text"],
        ways,
        explanation.figure(),
        ways.figure(),
        m2ib.figure([ways]),
    ):
        assert shown._repr_png_().startswith(PNG)  # type: ignore[attr-defined]


CELLS = (
    "import m2ib; exp = m2ib.load_explanation(FOLDER); exp",
    "exp['image']",
    "exp.figure()",
    "%matplotlib inline\nexp.figure()",
    "figure = exp.figure()",
    "exp.figure().savefig('figure.pdf'); m2ib.Comparison([exp]).figure()",
)


def test_a_kernel_shows_each_once(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    """Also a figure, with and without ``%matplotlib inline``; what is only named is not shown."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    explanation.save(tmp_path / "saved")
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(cell.replace("FOLDER", repr(str(tmp_path / "saved")))) for cell in CELLS
        ]
    )
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = [[sorted(output.data) for output in cell.outputs] for cell in book.cells]
    both, picture = ["image/png", "text/html", "text/plain"], ["image/png", "text/plain"]
    assert kinds == [[both], [both], [picture], [picture], [], [picture]]
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
