"""What a notebook shows of an explanation and of one map."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

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
