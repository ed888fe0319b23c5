"""Texts of any script on a page and in a figure."""

from __future__ import annotations

import re
import warnings
from html import unescape
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

import m2ib
from m2ib.contract.attribution import Attribution
from m2ib.contract.layout import Layout, Token
from m2ib.contract.words import word_spans
from m2ib.renderers import TextRenderer, fonts
from m2ib.renderers.names import shortened

UNHEARD_OF = "\U0003fff0"  # no font has it


def of(text: str, spans: list[tuple[int, int]] | None = None) -> Attribution:
    """Each word a token; or the tokens that are given."""
    tokens = tuple(Token(text[a:b], a, b) for a, b in spans or word_spans(text))
    values = np.arange(1, len(tokens) + 1, dtype=np.float32)
    view, settings = {"text": text}, {"layer": 0}
    layout = Layout((len(tokens),), tokens=tokens)
    return Attribution("text", "m2ib", values, values, layout, None, settings, view, TextRenderer())


def sentence(fragment: str) -> str:
    found = re.search(r'<p class="sentence" dir="auto">(.*?)</p>', fragment, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize(
    "text",
    ["नमस्ते  दुनिया!", "a <dog>, it's 3.5 cm.", "猫が好き", "مرحبا, hello", "न\u200d👩\u200d👧\u0301\nx "],
)
def test_the_page_shows_the_text_as_it_is(text: str) -> None:
    shown = sentence(TextRenderer().fragment(of(text), "t"))
    plain = re.sub(r'<span class="number">.*?</span>', "", shown)
    words = [unescape(word) for word in re.findall(r'<span class="word[^>]*>(.*?)</span>', plain)]
    assert words == [text[a:b] for a, b in word_spans(text)]
    assert unescape(re.sub(r"<[^>]*>", "", plain)) == text


def test_the_directions_of_words_are_told_where_there_are_two() -> None:
    kinds = re.findall(r'class="(word[^"]*)"', sentence(TextRenderer().fragment(of("שלום hello 3.5"), "t")))
    assert kinds == ["word rtl", "word ltr", "word"]
    assert 'class="word"' in sentence(TextRenderer().fragment(of("hello"), "t"))


def test_what_the_model_did_not_read_is_no_word() -> None:
    fragment = TextRenderer().fragment(of("a dog, and more", [(0, 1), (2, 5)]), "t")
    assert '<span class="unread" title="not read by the model">, and more</span>' in sentence(fragment)


def test_a_mark_alone_stands_on_a_circle() -> None:
    a = of("न\u094d", [(0, 1), (1, 2)])
    assert [word for word, _ in a.words] == ["न\u094d"]
    assert a.tokens == ("न", "\u094d")
    assert "<td>\u25cc\u094d</td>" in TextRenderer().fragment(a, "t")


def labels(text: str) -> list[tuple[str, list[str]]]:
    figure = Figure()
    axes = figure.subplots()
    TextRenderer().draw(of(text), axes)
    figure.canvas.draw()  # a glyph that is missing would warn here
    return [(label.get_text(), label.get_fontfamily()) for label in axes.get_yticklabels()]


def test_a_figure_says_which_characters_no_font_has() -> None:
    with pytest.warns(m2ib.M2IBWarning, match=f"no installed font has {UNHEARD_OF} .*, drawn as □") as said:
        drawn = labels(f"a do{UNHEARD_OF}g {UNHEARD_OF}\u0301")
    assert len(said) == 1
    assert [text for text, _ in drawn] == ["a", "do", "□", "g", "□"]
    assert drawn[0][1] == matplotlib.rcParams["font.family"]


def test_a_figure_takes_a_font_that_has_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path) for path in folder.glob("*.ttf")])
    monkeypatch.setitem(matplotlib.rcParams, "font.family", ["STIXGeneral"])
    fonts._holding.cache_clear()
    try:
        plain, arabic = labels("dog مرحبا")
    finally:
        fonts._holding.cache_clear()
    assert plain[1] == ["STIXGeneral"]
    assert arabic[0] == "مرحبا"
    assert arabic[1][0].startswith("DejaVu")


def test_a_matplotlib_that_does_not_shape_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_SHAPES_FROM", (99, 0))
    with pytest.warns(m2ib.M2IBWarning, match="letters one by one from left to right"):
        fonts.readable(["dog", "مرحبا"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fonts.readable(["dog", "naïve", "Привет"])


@pytest.mark.parametrize(
    ("text", "length", "short"),
    [
        ("two cats asleep", 15, "two cats asleep"),
        ("two cats asleep on a sofa", 20, "two cats asleep on …"),
        ("สวัสดีครับ", 6, "สวัส …"),
        ("👨\u200d👩\u200d👧👨\u200d👩\u200d👧", 8, "👨\u200d👩\u200d👧 …"),
        ("a\u0301" * 10, 7, "a\u0301a\u0301 …"),
    ],
)
def test_long_names_are_cut_between_characters(text: str, length: int, short: str) -> None:
    assert shortened(text, length) == short
