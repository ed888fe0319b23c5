"""Whether a pair belongs together, as the page says it."""

from __future__ import annotations

import dataclasses
import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import m2ib
from drawn import explanations
from m2ib.contract.null import Null
from m2ib.page.cards import Card, write_cards
from m2ib.page.comparison import render_comparison
from m2ib.page.explanation import render_page


def with_null(*similarities: float, sides: tuple[int, ...] = (0, 1), others: int = 4) -> m2ib.Explanation:
    """photo-text, with others that are 0 and 2 to the photo, and so to the text: a mean of 1."""
    exp = explanations()["photo-text"]
    changed = list(exp.attributions)
    for side, similarity in zip(sides, similarities, strict=True):
        grid = changed[side].grid
        mean, deviation = grid / 2, np.full_like(grid, 0.5)
        null = Null(mean, deviation, (0.0, 2.0) * (others // 2), similarity)
        changed[side] = dataclasses.replace(changed[side], null=null)
    return dataclasses.replace(exp, attributions=tuple(changed))


def test_a_pair_stands_out_where_the_mean_of_its_sides_does() -> None:
    apart = np.std([0, 2, 0, 2], ddof=1)
    exp = with_null(1 + 3 * apart, 1 + apart)
    assert [each.null.score for each in exp if each.null] == pytest.approx([3, 1])
    assert exp.specificity == pytest.approx(2)
    assert not exp.unspecific
    assert with_null(1 + 3 * apart, 1 + 0.2 * apart).unspecific  # a mean of 1.6
    alone = with_null(1 + 3 * apart, sides=(1,))
    assert alone.specificity == pytest.approx(3)
    unknown = explanations()["photo-text"]
    assert unknown.specificity is None
    assert not unknown.unspecific


def test_a_pair_that_does_not_stand_out_is_cautioned_and_dimmed() -> None:
    page = render_page([with_null(1.5, 1.2)])
    said = (
        "This pair is no closer than 4 other texts and things usually are (z = 0.3): the maps below show what is there, not why "
        "the two belong together."
    )
    said = said.replace("things", "inputs of thing")
    assert f'<p class="note">{said}</p>' in page
    assert '<article id="e0" class="unspecific">' in page
    assert page.count('class="note">This pair') == 1


def test_a_notebook_cautions_too() -> None:
    inside = unescape(with_null(1.5, 1.2)._repr_html_())
    assert '<body class="unspecific"><p class="note">This pair is no closer than' in inside


def test_methods_side_by_side_are_cautioned_over_their_maps() -> None:
    page = render_comparison([with_null(1.5, 1.2), explanations()["photo-text"]])
    assert (
        page.count('<main class="unspecific">\n<p class="note">This pair is no closer than 4 other texts')
        == 1
    )
    assert page.count("of the map is this pair") == 2  # of each input, by the method that has a null
    page = render_comparison([with_null(4.0, 5.0)])
    assert '<p class="hint">This pair is closer than' in page
    assert "<main>" in page


def test_a_card_is_cautioned_and_so_are_the_maps_that_it_opens_to(tmp_path: Path) -> None:
    pairs = {
        "wrong": with_null(1.5, 1.2),
        "right": with_null(4.0, 5.0),
        "plain": explanations()["photo-text"],
    }
    cards = [
        Card(name, "m2ib", exp.similarity, [("image", "a.png"), ("text", "a")], (), None, exp)
        for name, exp in pairs.items()
    ]
    text = write_cards(cards, tmp_path / "cards.html", summary=(), total=3).read_text(encoding="utf-8")
    wrong, right, plain = text.split("<article")[1:]
    assert 'class="card unspecific"' in wrong
    assert wrong.count('<p class="note">This pair is no closer than 4 other texts') == 1
    assert '<template><div class="sides unspecific">' in wrong
    assert '<small title="specificity">z = 0.3</small>' in wrong
    assert "unspecific" not in right.split("</article>")[0]
    assert "This pair is" not in right
    assert '<small title="specificity">z = 3.0</small>' in right
    assert "specificity" not in plain


def test_one_that_does_is_not() -> None:
    page = render_page([with_null(4.0, 5.0)])
    assert '<p class="hint">This pair is closer than 4 other texts and inputs of thing usually are (z = 3.0).</p>' in page  # fmt: skip
    assert '<article id="e0">' in page
    assert "This pair is" not in render_page([explanations()["photo-text"]])


def test_the_others_of_one_side_alone_are_of_its_partners_kind() -> None:
    assert "no closer than 4 other inputs of thing usually are" in render_page([with_null(1.0, sides=(1,))])
    assert "no closer than 4 other texts usually are" in render_page([with_null(1.0, sides=(0,))])


def test_each_side_says_how_far_it_and_its_map_stand_above_others() -> None:
    exp = with_null(1 + 2 * float(np.std([0, 2, 0, 2], ddof=1)), 0.0)
    assert exp[0].null
    page = render_page([exp])
    share = exp[0].null.specific(exp[0].grid)
    assert f"z = 2.0: 2.0 standard deviations closer to its partner than to 4 others. {share:.0%} of the map" in page  # fmt: skip
    assert "z = -0.9: 0.9 standard deviations farther from its partner than to 4 others." in page


def test_a_figure_can_show_the_scores_and_the_others_mean() -> None:
    a = with_null(4.0, 4.0)[0]
    html = a.renderer.fragment(a, "x")
    data = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', html)[0])
    np.testing.assert_allclose(data["maps"]["z"], (a.grid - a.grid / 2) / 0.5, rtol=1e-5)
    np.testing.assert_allclose(data["maps"]["usual"], a.grid / 2)
    for option in ('"for">this pair&#39;s', '"z">z-scores against 4 others', '"usual">mean of 4 others'):
        assert f"<option value={option}</option>" in html


def test_words_tell_their_scores() -> None:
    text = dataclasses.replace(with_null(4.0, 4.0)[1], against=None)
    html = text.renderer.fragment(text, "x")
    for (_, value), number in zip(text.words, re.findall(r'class="number">([^<]*)<', html), strict=True):
        assert f"z = {(value - value / 2) / 0.5:.1f}" in number
