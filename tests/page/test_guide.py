"""What a reader is told first: which explanation is which, and how its maps are read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

import m2ib
from drawn import explanations
from m2ib.contract.curve import Curve
from m2ib.page.comparison import render_comparison
from m2ib.page.explanation import render_page
from m2ib.page.guide import guide, made_by, pair_name
from m2ib.page.parts import attribution_values


def single(**origin: Any) -> m2ib.Explanation:
    """photo-text without contrast and ensemble."""
    photo, text = explanations()["photo-text"]
    photo = replace(photo, origin={"source": "/a/cat.png", "sha256": "0", **origin})
    return m2ib.Explanation((photo, replace(text, origin={"source": "text"}, against=None)), 0.25)


def by(method: str, exp: m2ib.Explanation, **settings: Any) -> m2ib.Explanation:
    first, second = exp
    changed = tuple(
        replace(each, method=method, settings={**each.settings, **settings}) for each in (first, second)
    )
    return replace(exp, attributions=changed)


def test_explanations_are_called_by_their_inputs_and_what_made_them() -> None:
    exp = single()
    assert pair_name(exp) == "cat.png and “a bell <b>beside</b> a train”"
    assert pair_name(explanations()["field-film"]) == "thing and thing"
    assert pair_name(explanations()["photo-text"]).endswith(
        "and a bell <b>beside</b> a train rather than a dog"
    )
    sharp = by("m2ib", exp, preset="sharp", layer=3)
    several = [exp, sharp, by("rise", exp), by("rise", exp)]
    assert made_by(several) == [
        "m2ib, layer.thing 1, layer.text 9",
        "m2ib, layer 3, preset sharp",
        "rise",
        "rise",
    ]
    assert made_by([by("m2ib", single(source="/a/dog.png"), layer=3), exp]) == ["m2ib", "m2ib"]  # other pairs
    page = render_page(several)
    for number, made in enumerate(made_by(several)):
        assert (
            f"<h2>cat.png and “a bell &lt;b&gt;beside&lt;/b&gt; a train” <small>{made}</small></h2>" in page
        )
        assert (
            f'<a href="#e{number}">cat.png and “a bell &lt;b&gt;beside&lt;/b&gt; a train”, {made}</a>' in page
        )
    assert "<h2>A bell <small>m2ib</small></h2>" in render_page([exp], notes=["A bell"])
    assert "<nav" not in render_page([exp])
    side_by_side = render_comparison([exp, sharp])
    assert "<h3>m2ib, layer 3, preset sharp" in side_by_side


def test_a_page_says_how_it_is_read() -> None:
    exp = explanations()["photo-text"]
    told = dict(guide([exp]))
    assert told["Values"] == [
        "m2ib, multi-modal information bottleneck (Wang et al. 2023): nats of information, the more a position has to keep, the higher."
    ]
    assert told["Much or little"][0].startswith(
        "Maps fill their own scale, unless they hold next to nothing:"
    )
    assert told["The fit"]
    assert told["Cosine similarity"] == [
        "From −1 to 1. With this model's usual inputs it is in the median 0.10 (64 in place of the text)."
    ]
    below = replace(
        exp, provenance={"usual": {"text": {"inputs": 64, "below": 0.9, "median": -0.04, "greatest": 0.3}}}
    )
    assert "−0.04 to 0.10 (64 in place of the text)" in dict(guide([exp, below]))["Cosine similarity"][0]
    place = {"inputs": 9, "below": 0.5, "median": 0.0, "greatest": 0.3}
    many = replace(exp, provenance={"usual": dict.fromkeys(("text", "audio", "depth"), place)})
    assert (
        "−0.04 to 0.00 (64 in place of the other side)." in dict(guide([below, many]))["Cosine similarity"][0]
    )
    plain = dict(guide([explanations()["given-plain"]]))
    assert plain["Values"][1].endswith("without a unit, to be compared within one map alone.")
    unknown = dict(guide([single()]))["Cosine similarity"][0]
    assert "reference=" in unknown
    assert "null=16" in unknown
    score = {"similarity": {"name": "maxsim", "title": "mean MaxSim"}}
    other = replace(single(), provenance=score)
    assert "From −1 to 1" not in dict(guide([other]))["Mean maxsim"][0]
    assert guide([]) == []
    for page in (render_page([exp]), render_comparison([exp, exp])):
        assert page.count("<h2>How to read this</h2>") == 1


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        ((0.5, 0.45), "The fit kept 90% of the similarity"),
        ((0.5, 0.55), "The fit kept the similarity:"),
        ((0.1, 0.5), "The fit raised the similarity to 5 times what there was"),
        ((-0.1, 0.5), "There was no similarity to keep"),
    ],
)
def test_what_a_fit_kept_is_told(fit: tuple[float, float], said: str) -> None:
    photo = replace(single()[0], curve=Curve(fit, (2.0, 1.0), (0.0, 0.0), 0.0))
    assert said in attribution_values(photo, "e0", "cosine")["curves"]


def test_beside_a_map_stands_how_far_its_highest_value_is_above_an_even_share() -> None:
    photo = single()[0]
    capacity = photo.grid.ravel() * 0 + 1
    capacity[0] = 9  # of twelve: 9 / 20, 5.4 times 1 / 12
    total = attribution_values(replace(photo, capacity=capacity), "e0", "cosine")["total"]
    assert total == "20 nats over 12 positions; the highest has 45\u00a0%, 5.4 times an even share"
    capacity[1] = -1
    assert re.fullmatch(
        "18 nats over 12 positions",
        attribution_values(replace(photo, capacity=capacity), "e0", "cosine")["total"],
    )
