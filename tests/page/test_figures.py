"""Figures of one pair in several ways, and of many pairs in rows."""

from __future__ import annotations

import dataclasses
import io
import re
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import m2ib
from m2ib.page.titles import settings_of
from m2ib.renderers.plotting import write
from toy import EXAMPLES, toy_model

FEW: dict[str, Any] = {"steps": 2, "samples": 2, "show_progress": False}


@pytest.fixture(scope="module")
def pairs() -> list[m2ib.Comparison]:
    model = toy_model()
    return [
        m2ib.explain(model, image=image, text=text, method=["m2ib", "gradcam"], beta=0.05, **FEW)
        for image, text in zip(EXAMPLES["image"], EXAMPLES["text"], strict=True)
    ]


def words_of(figure: Figure) -> list[str]:
    found = [axes.get_title() for axes in figure.axes] + [
        text.get_text() for axes in figure.axes for text in axes.texts
    ]
    return [*filter(str.strip, found), figure.get_suptitle(), figure.get_supxlabel()]


def maps_on(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.images or axes.patches]


def test_methods_and_settings_stand_over_the_columns(pairs: list[m2ib.Comparison]) -> None:
    figure = pairs[0].figure()
    assert len(maps_on(figure)) == 4
    said = words_of(figure)
    assert {"m2ib", "gradcam", "image", "text"} <= {*said}
    assert "layer 1, beta 0.05, steps 2, samples 2" in said
    assert "layer 1" in said
    assert f"cosine similarity {pairs[0][0].similarity:.3f}" in said
    assert "Each map has a scale of its own: compare where it is high, not how high." in said
    alone = pairs[0]["gradcam"].figure().axes[0].get_title()
    assert alone == "image: gradcam (layer 1)"
    bars = [axes.images[-1].colorbar.ax.get_ylabel() for axes in figure.axes if axes.images]
    assert bars == ["nats per position", "gradcam per position"]


def test_a_scale_may_be_shared(pairs: list[m2ib.Comparison]) -> None:
    ways = [dataclasses.replace(pairs[0]["m2ib"], attributions=tuple(dataclasses.replace(a, grid=a.grid * n) for a in pairs[0]["m2ib"])) for n in (1, 3)]  # fmt: skip
    both = m2ib.Comparison([*ways, pairs[0]["gradcam"]], ["once", "thrice", "gradcam"])
    figure = both.figure(scale="shared", cmap="magma")
    one, three, other = (axes.images[-1].get_clim() for axes in figure.axes if axes.images)
    assert one == three
    assert one[1] == pytest.approx(max(ways[1]["image"].grid.max(), ways[0]["image"].full))
    grid = pairs[0]["gradcam"]["image"].grid
    assert other == pytest.approx((grid.min(), grid.max()))
    first, second = (axes.get_xlim() for axes in maps_on(figure)[3:5])
    assert first == second
    assert (
        figure.get_supxlabel()
        == "Maps of one kind of input and unit have one scale; those of another unit have another."
    )
    assert both[:2].figure(scale="shared").get_supxlabel() == "All maps of one kind of input have one scale."
    assert (
        both.figure(scale=3.0).get_supxlabel()
        == "Heat is full at 3 in every map; an arrow on a colour bar: there are values beyond."
    )


def test_many_pairs_are_rows_with_their_captions(pairs: list[m2ib.Comparison]) -> None:
    figure = m2ib.figure(pairs)
    said = words_of(figure)
    assert len(maps_on(figure)) == 4
    assert {"a dog", "two cats asleep on a\nsofa", "m2ib", "gradcam"} <= {*said}
    assert {f"cosine similarity {pair[0].similarity:.3f}" for pair in pairs} <= {*said}
    assert all(axes.images for axes in maps_on(figure))  # of the images; the texts are captions
    figure = m2ib.figure(
        [pair["m2ib"] for pair in pairs], of="text", captions=["first", "second"], scale="shared"
    )
    assert len(maps_on(figure)) == 2
    assert not any(axes.images for axes in figure.axes)
    assert {"first", "second"} <= {*words_of(figure)}
    assert len(maps_on(m2ib.figure(pairs[0]["m2ib"]))) == 1
    assert len(maps_on(m2ib.figure(pairs[0]))) == 2
    long = " ".join(["espresso"] * 60)
    (caption,) = (text for text in words_of(m2ib.figure(pairs[:1], captions=[long])) if "espresso" in text)
    assert caption.count("\n") == 7
    assert caption.endswith(" …")


def test_what_differs_from_the_usual_is_told() -> None:
    model = toy_model()
    found = m2ib.explain(model, image=EXAMPLES["image"][0], text="a dog", **FEW)
    image = dataclasses.replace(
        found["image"], settings={**found["image"].settings, "preset": "sharp", "shifts": [2, 3], "beta": 0.1}
    )
    assert settings_of(image) == "layer 1, preset sharp, steps 2, samples 2, shifts 2x3"
    assert settings_of(image, ("layer", "steps", "samples", "shifts")) == "preset sharp"
    assert settings_of(dataclasses.replace(image, method="gone:away")) == "layer 1, preset sharp"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: m2ib.figure([]), "figure: there is nothing to draw; give one explanation or more"),
        (lambda c: m2ib.figure([c[0][0][0]]), "figure: give explanations or comparisons, not "),
        (lambda c: m2ib.figure([c[0], c[1][:1]]), "figure: a row of m2ib, gradcam and one of m2ib have no columns in common; give the same methods for each pair, in one order"),
        (lambda c: m2ib.figure(c, captions=["one"]), "figure: 1 captions for 2 pairs; give one for each"),
        (lambda c: m2ib.figure(c, of="sound"), "explanation: no input of modality 'sound'; there are 'image', 'text'"),
        (lambda c: c[0]["grad-cam"], "comparison: there is no 'grad-cam'; did you mean 'gradcam'? There is m2ib, gradcam"),
        (lambda c: m2ib.Comparison([]), "comparison: there is no explanation in it; give one pair by several methods"),
        (lambda c: m2ib.Comparison([c[0][0], c[0][0]]), "comparison: the names are 'm2ib', 'm2ib'; give names=[...] with a different one for each of the 2 explanations"),
    ],
)  # fmt: skip
def test_what_is_refused(pairs: list[m2ib.Comparison], call: Any, message: str) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        call(pairs)
    assert str(caught.value).startswith(message)


def test_words_stay_words_in_vector_files_and_files_are_the_same_each_time(
    pairs: list[m2ib.Comparison],
) -> None:
    files: dict[str, list[bytes]] = {}
    for format in ("svg", "pdf", "png"):
        for _ in range(2):
            file, saved = io.BytesIO(), io.BytesIO()
            write(pairs[0].figure(), file, 60, format)
            pairs[0].figure().savefig(saved, format=format, dpi=60)  # by its user
            files.setdefault(format, []).extend([file.getvalue(), saved.getvalue()])
    for format, found in files.items():
        assert len({*found}) == 1, format
    svg = files["svg"][0].decode()
    assert re.search(r"<text[^>]*>gradcam</text>", svg)
    assert re.search(r"<text[^>]*>nats per word</text>", svg)
    pdf = files["pdf"][0]
    assert b"/Type /Font /Subtype /Type0" in pdf or b"/CIDFontType2" in pdf or b"/TrueType" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    with Image.open(io.BytesIO(files["png"][0])) as image:
        assert np.asarray(image.convert("L")).std() > 5
