"""Known regions over maps of every kind: where their outlines lie, and that they survive a save."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import m2ib
from m2ib.contract.attribution import Attribution
from m2ib.contract.layout import Axis
from m2ib.contract.regions import rings
from m2ib.page.explanation import render_page
from m2ib.renderers import Region
from m2ib.scenes import Scene, scene

MODALITIES = ("image", "text", "audio", "depth", "thermal", "imu")
Explanations = Mapping[str, tuple[m2ib.Explanation, int]]


@pytest.fixture(scope="module")
def shown() -> Scene:
    return scene(2, kinds=("bell", "car"))


@pytest.fixture(scope="module")
def explained(shown: Scene) -> Explanations:
    """By modality, an explanation with it and its place there."""
    with pytest.warns(m2ib.M2IBWarning, match="its weights are random"):
        model = m2ib.load_model("imagebind-tiny", checkpoint="random", device="cpu")
    found = {}
    for pair in (("image", "text"), ("audio", "imu"), ("depth", "thermal")):
        inputs = [(name, shown.inputs[name]) for name in pair]
        explanation = m2ib.explain(model, *inputs, steps=1, samples=1, show_progress=False)
        found |= {name: (explanation, place) for place, name in enumerate(pair)}
    return found


def outlined(
    explained: Explanations, shown: Scene, modality: str, highlight: str | None = "car"
) -> Attribution:
    explanation, place = explained[modality]
    masks, axes = shown.masks[modality], shown.axes[modality]
    return explanation.with_regions(masks, axes, at=place, highlight=highlight)[place]


def html_of(attribution: Attribution) -> str:
    return str(attribution.renderer.fragment(attribution, "x"))


def paths(html: str) -> list[tuple[str, list[np.ndarray]]]:
    """(class and name, rings of (x, y)) of every region, panel by panel."""
    found = []
    for kind, name, d in re.findall(
        r'<g class="region( main)?" data-name="([^"]*)">.*?class="edge" d="([^"]*)"', html
    ):
        points = [
            np.array([[float(v) for v in point.split(",")] for point in ring.split("L")])
            for ring in d.removeprefix("M").removesuffix("Z").split("ZM")
        ]
        found.append((f"{name}{kind}", points))
    return found


def sides_of(mask: np.ndarray) -> Counter[tuple[tuple[int, int], tuple[int, int]]]:
    """By hand: the unit sides between a True cell and one that is not, as pairs of corners."""
    rows, columns = mask.shape
    found: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
    for r in range(-1, rows + 1):
        for c in range(-1, columns + 1):
            here = 0 <= r < rows and 0 <= c < columns and bool(mask[r, c])
            below = 0 <= r + 1 < rows and 0 <= c < columns and bool(mask[r + 1, c])
            right = 0 <= r < rows and 0 <= c + 1 < columns and bool(mask[r, c + 1])
            if here != below:
                found[(r + 1, c), (r + 1, c + 1)] += 1
            if here != right:
                found[(r, c + 1), (r + 1, c + 1)] += 1
    return found


def walked(found: list[np.ndarray]) -> Counter[tuple[tuple[int, int], tuple[int, int]]]:
    """The unit sides that rings of corners walk along."""
    sides: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
    for ring in found:
        for start, end in itertools.pairwise([*ring.tolist(), ring[0].tolist()]):
            assert (start[0] == end[0]) != (start[1] == end[1])  # along one axis
            length = abs(end[0] - start[0]) + abs(end[1] - start[1])
            step = ((end[0] - start[0]) // length, (end[1] - start[1]) // length)
            at = tuple(start)
            for _ in range(length):
                to = (at[0] + step[0], at[1] + step[1])
                sides[min(at, to), max(at, to)] += 1
                at = to
    return sides


def area(ring: np.ndarray) -> float:
    """Signed, by the shoelace formula: (x, y) with y down, positive to the right."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


@pytest.mark.parametrize("seed", range(8))
def test_rings_walk_along_every_side_once(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((1 + seed, 9)) < random.uniform(0.2, 0.9)
    found = rings(mask)
    assert walked(found) == sides_of(mask)
    assert sum(area(ring[:, ::-1]) for ring in found) == mask.sum()  # holes count less than nothing
    for ring in found:  # corners alone
        ways = np.sign(np.diff(np.concatenate([ring, ring[:1]]), axis=0))
        assert (ways != np.roll(ways, 1, 0)).any(1).all()


def test_rings_of_simple_shapes() -> None:
    assert rings(np.zeros((3, 4), bool)) == []
    (square,) = rings(np.ones((2, 3), bool))
    assert sorted(map(tuple, square.tolist())) == [(0, 0), (0, 3), (2, 0), (2, 3)]
    assert len(rings(np.eye(3, dtype=bool))) == 3  # cells that touch at a corner are apart
    hollow = np.ones((3, 3), bool)
    hollow[1, 1] = False
    assert sorted(len(ring) for ring in rings(hollow)) == [4, 4]


@pytest.mark.parametrize("modality", ["image", "depth", "thermal"])
def test_pictures_are_outlined_at_the_borders_of_the_mask(
    explained: Explanations, shown: Scene, modality: str
) -> None:
    html = html_of(outlined(explained, shown, modality))
    assert 'class="regions" viewBox="0 0 112 112"' in html
    found = paths(html)
    assert [name for name, _ in found] == ["bell", "car main"]  # what was asked for on top
    for name, drawn in found:
        mask = shown.masks[modality][name.split()[0]]
        assert walked([ring[:, ::-1].astype(int) for ring in drawn]) == sides_of(mask)
    assert re.findall(r'class="tag[^"]*" style="[^"]*">(\w+)<', html) == ["bell", "car"]
    assert re.findall(r'<i class="sample( main)?"></i> ([\w ()]+)<', html) == [
        (" main", "car (asked for)"),
        ("", "bell"),
    ]


def test_raw_pixels_are_scaled_to_those_shown(explained: Explanations, shown: Scene) -> None:
    attribution = outlined(explained, shown, "image")
    view = dataclasses.replace(attribution.view, scale=(2.0, 0.5))
    changed = dict(paths(html_of(dataclasses.replace(attribution, view=view))))
    for name, drawn in paths(html_of(attribution)):
        for before, after in zip(drawn, changed[name], strict=True):
            np.testing.assert_allclose(after, before * (2.0, 0.5))


def test_sounds_are_outlined_in_their_band_and_time(explained: Explanations, shown: Scene) -> None:
    attribution = outlined(explained, shown, "audio")
    view = attribution.view
    found = paths(html_of(attribution))
    assert [name for name, _ in found] == ["bell", "car main", "", " main"]  # spectrogram, waveform
    frequency, time = shown.axes["audio"]
    for name, (ring,) in found[:2]:
        rows, columns = (np.flatnonzero(shown.masks["audio"][name.split()[0]].any(axis)) for axis in (1, 0))
        start, end = time.spans[columns[0]][0], time.spans[columns[-1]][1]
        assert ring[:, 0].min() == pytest.approx(start / view.step)
        assert ring[:, 0].max() == pytest.approx(end / view.step)
        low, high = frequency.spans[rows[0]][0], frequency.spans[rows[-1]][1]
        centres = len(view.hertz) - np.arange(len(view.hertz)) - 0.5  # from the top
        assert np.interp(low, view.hertz, centres) == pytest.approx(ring[:, 1].max(), abs=1e-3)
        assert np.interp(high, view.hertz, centres) == pytest.approx(ring[:, 1].min(), abs=1e-3)
    for (_, (over,)), (_, (under,)) in zip(found[:2], found[2:], strict=True):
        np.testing.assert_allclose(np.unique(under[:, 0]), np.unique(over[:, 0]) * view.step, rtol=1e-5)
        assert set(under[:, 1]) == {0, 1}


def test_a_clip_shows_only_what_falls_into_it(explained: Explanations, shown: Scene) -> None:
    attribution = outlined(explained, shown, "audio")
    time = np.array(shown.axes["audio"][1].spans)
    heard = time[shown.masks["audio"]["bell"].any(0)]
    after = float(heard.max()) + 0.01
    view = dataclasses.replace(attribution.view, clips=((after, after + 2.0),))
    spectrogram = paths(html_of(dataclasses.replace(attribution, view=view)))[0]
    other = time[shown.masks["audio"]["car"].any(0)]
    assert spectrogram[0] == ("car main" if other.max() > after else "")
    early = dataclasses.replace(attribution.view, clips=((float(heard.mean()), 4.0),))
    cut = dict(paths(html_of(dataclasses.replace(attribution, view=early))))["bell"][0]
    assert cut[:, 0].min() == 0
    assert cut[:, 0].max() == pytest.approx((heard.max() - heard.mean()) / early.step, rel=1e-4)


def test_traces_are_outlined_lane_by_lane(explained: Explanations, shown: Scene) -> None:
    attribution = outlined(explained, shown, "imu")
    for name, drawn in paths(html_of(attribution)):
        mask = shown.masks["imu"][name.split()[0]]
        inside = np.zeros_like(mask)
        for ring in drawn:
            left, right = ring[:, 0].min() * 100, ring[:, 0].max() * 100
            inside[int(ring[:, 1].min()) : int(ring[:, 1].max()), round(left) : round(right)] = True
        # The last sample is shown at 1.99 s, where the traces end.
        np.testing.assert_array_equal(inside[:, :-1], mask[:, :-1])


def test_words_are_outlined(explained: Explanations, shown: Scene) -> None:
    html = html_of(outlined(explained, shown, "text"))
    assert re.findall(
        r'<span class="word known main"[^>]*>(\w+)<span class="number">[\d.]+ nats, car<', html
    ) == ["car"]
    assert re.findall(
        r'<span class="word known"[^>]*>(\w+)<span class="number">[\d.]+ nats, bell<', html
    ) == ["bell"]
    plain = html_of(outlined(explained, shown, "text", None))
    assert plain.count("known main") == 2
    assert "asked for" not in plain


@pytest.mark.parametrize("modality", MODALITIES)
def test_regions_are_saved_and_drawn(
    explained: Explanations, shown: Scene, modality: str, tmp_path: Path
) -> None:
    explanation, place = explained[modality]
    regions = shown.masks[modality], shown.axes[modality]
    changed = explanation.with_regions(*regions, at=place, highlight="car")
    loaded = m2ib.load_explanation(changed.save(tmp_path / "x"))
    assert render_page([loaded]) == render_page([changed]) != render_page([explanation])
    view = loaded[place].view
    found = view["regions"] if modality == "text" else view.regions
    assert [(region.name, region.main) for region in found] == [("bell", False), ("car", True)]
    for region in found:
        assert region.axes == shown.axes[modality]
        np.testing.assert_array_equal(region.mask, shown.masks[modality][region.name])
    before, after = Figure().subplots(1, 2)
    explanation[place].renderer.draw(explanation[place], before)
    loaded[place].renderer.draw(loaded[place], after)
    if modality == "text":
        lines = [patch.get_linestyle() for patch in after.patches if patch.get_linewidth() > 1.5]
        assert sorted(lines) == ["dashed", "solid"]
    else:
        assert len(after.patches) == len(before.patches) + 4
        assert {"bell", "car"} <= {text.get_text() for text in after.texts}
    changed.figure().savefig(tmp_path / "figure.png", dpi=40)
    # Regions replace those that were there; none leaves the page as it was.
    assert render_page([changed.with_regions({}, regions[1], at=place)]) == render_page([explanation])


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_input_alone(explained: Explanations, shown: Scene, modality: str) -> None:
    attribution = outlined(explained, shown, modality)
    html = str(attribution.renderer.picture(attribution, "x"))  # type: ignore[attr-defined]
    assert 'class="picture' in html
    assert not re.search('<canvas|class="knobs|nats', html)
    assert len(re.findall('class="region|word known', html)) == (4 if modality == "audio" else 2) + (
        modality != "text"
    ) * (1 + (modality == "audio"))
    assert ("<audio" in html) == (modality == "audio")


def test_names_are_escaped(explained: Explanations, shown: Scene) -> None:
    evil = '<img src=x onerror="alert(1)">'
    for modality in MODALITIES:
        explanation, place = explained[modality]
        masks = {evil: shown.masks[modality]["car"]}
        html = html_of(explanation.with_regions(masks, shown.axes[modality], at=place)[place])
        assert "<img src=x" not in html
        assert evil in unescape(html)


def test_boxes_are_regions_of_one_cell() -> None:
    region = m2ib.Box(10, 20, 30, 5, "spot").region
    (ring,) = region.rings()
    assert region.name == "spot"
    assert sorted(map(tuple, ring.tolist())) == [(20, 10), (20, 40), (25, 10), (25, 40)]


def test_boxes_and_regions_stand_together(explained: Explanations, shown: Scene) -> None:
    explanation, place = explained["image"]
    masks, axes = shown.masks["image"], shown.axes["image"]
    both = explanation.with_boxes([(1, 2, 30, 40, "box")]).with_regions(masks, axes, at=place)
    assert [name for name, _ in paths(html_of(both[place]))] == ["bell main", "car main", "box main"]


def grid_mask(*shape: int) -> np.ndarray:
    return np.ones(shape, bool)


def axes_of(*axes: tuple[str, str, int]) -> tuple[Axis, ...]:
    return tuple(
        Axis(name, unit, tuple((float(n), n + 1.0) for n in range(count))) for name, unit, count in axes
    )


PIXELS = axes_of(("row", "px", 2), ("column", "px", 3))


@pytest.mark.parametrize(
    ("masks", "axes", "more", "message"),
    [
        (
            {"bell": grid_mask(3, 2)},
            PIXELS,
            {},
            "region 'bell': its mask has the shape (3, 2), its axes (row (px), column (px)) have (2, 3) cells",
        ),
        (
            {"bell": grid_mask(2, 3).astype(np.float32)},
            PIXELS,
            {},
            "region 'bell': its mask holds float32; give booleans, as in mask > 0.5",
        ),
        (
            {"bell": grid_mask(2, 3)},
            PIXELS,
            {"highlight": "bel"},
            "regions: highlight='bel' is none of them; did you mean 'bell'? There are 'bell'",
        ),
        (
            {"bell": grid_mask(2)},
            axes_of(("time", "s", 2)),
            {},
            "region 'bell': over an input of modality 'image' it has the axes row (px), column (px), not time (s)",
        ),
        (
            [grid_mask(2, 3)],
            PIXELS,
            {},
            "regions: give masks by name, as in {'bell': mask}, not [array([[ True,  True,  True],\n       [ True,  True,  True]]",
        ),
        (
            {"bell": grid_mask(2, 3)},
            PIXELS,
            {"at": "video"},
            "explanation: no input of modality 'video'; there are 'image', 'text'",
        ),
    ],
)
def test_wrong_regions_are_refused(
    explained: Explanations, masks: Any, axes: tuple[Axis, ...], more: dict[str, Any], message: str
) -> None:
    explanation, place = explained["image"]
    with pytest.raises(m2ib.InputError) as caught:
        explanation.with_regions(masks, axes, **{"at": place, **more})
    assert str(caught.value).startswith(message)


def test_a_renderer_that_cannot_outline_says_so(explained: Explanations) -> None:
    explanation, place = explained["image"]
    values = dataclasses.replace(explanation[place], renderer=m2ib.renderers.ValuesRenderer())
    with pytest.raises(m2ib.InputError) as caught:
        m2ib.Explanation((values, explanation["text"]), 0.5).with_regions(
            {"bell": grid_mask(2, 3)}, PIXELS, at=0
        )
    assert str(caught.value) == "regions: the renderer 'values' of 'image' cannot outline them"


def test_a_region_along_one_axis() -> None:
    mask = np.array([[True, False, False], [True, True, False]])
    region = Region("x", mask, PIXELS)
    assert region.along("row").mask.tolist() == [True, True]
    assert region.along("column").mask.tolist() == [True, True, False]
    assert region.along("column").touches(1.5, 9)
    assert not region.along("column").touches(2, 9)
