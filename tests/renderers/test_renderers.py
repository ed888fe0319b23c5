"""What people look at: one renderer for each kind of input, compared with slow and simple twins."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import wave
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

import m2ib
from drawn import (
    BANDS,
    FRAMES,
    HERTZ,
    KINDS,
    attribution,
    contrast,
    field_view,
    film_view,
    grid_of,
    image_view,
    sound_axes,
    sound_view,
    traces_view,
)
from m2ib.contract.attribution import Attribution
from m2ib.contract.layout import Axis, Layout
from m2ib.page.explanation import render_page
from m2ib.renderers import (
    Box,
    FieldRenderer,
    FilmRenderer,
    ImageRenderer,
    SoundRenderer,
    SoundView,
    TracesRenderer,
    renderer_named,
    scale,
)
from m2ib.renderers.formatting import flatness, format_number, format_time, ticks, time_ticks
from m2ib.renderers.media import hatch, polyline_points
from m2ib.renderers.values import ValuesRenderer

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'
VOID = {"img", "input"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Slow twins.


def between(values: list[float], centres: list[float], at: float) -> float:
    """Linear between rising centres, constant outside."""
    if at <= centres[0]:
        return values[0]
    for n in range(len(centres) - 1):
        if at <= centres[n + 1]:
            share = (at - centres[n]) / (centres[n + 1] - centres[n])
            return values[n] * (1 - share) + values[n + 1] * share
    return values[-1]


def naive_map(grid: np.ndarray, y: list[float], x: list[float], size: tuple[int, int]) -> np.ndarray:
    shown = np.zeros(size)
    for row in range(size[0]):
        for column in range(size[1]):
            line = [between(list(cells), x, column + 0.5) for cells in grid.astype(float)]
            shown[row, column] = between(line, y, row + 0.5)
    return shown


def tiled(count: int, length: float, start: float = 0.0) -> list[float]:
    return [start + (n + 0.5) * length / count for n in range(count)]


def min_max(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.min()) / (values.max() - values.min()))


# Reading a page.


class Reader(HTMLParser):
    """Collects elements and text, and fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str, of: str = "") -> list[dict[str, str | None]]:
        return [
            each for name, each in self.tags if name == tag and of in ["", *(each.get("class") or "").split()]
        ]


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json">(.*?)</script>', html)
    assert found
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def content_of(url: str | None) -> bytes:
    assert url
    return base64.b64decode(url.partition(",")[2])


# Scores.


def test_scores_of_fields_are_bilinear() -> None:
    a = KINDS["field"]()
    expected = min_max(naive_map(a.grid, tiled(3, 16), tiled(4, 16), (16, 16)))
    assert a.scores.dtype == np.float32
    np.testing.assert_allclose(a.scores, expected, atol=1e-6)


def test_scores_of_sounds_stand_where_the_overlapping_patches_do() -> None:
    a = KINDS["sound"]()
    y, x = [3.0, 8.0, 13.0], [4.0, 8.0, 12.0, 16.0, 20.0]
    expected = min_max(np.stack([naive_map(clip, y, x, (BANDS, FRAMES)) for clip in a.grid]))
    assert a.scores.shape == (2, BANDS, FRAMES)
    np.testing.assert_allclose(a.scores, expected, atol=1e-5)
    assert (a.scores.min(), a.scores.max()) == (0, 1)


def test_scores_of_one_clip_count_from_its_start() -> None:
    view = sound_view(
        spectrogram=sound_view().spectrogram[:1], clips=((1.0, 3.0),), frames=(20,), played=((1.0, 3.0),)
    )
    a = attribution(SoundRenderer(), view, grid_of(3, 5), axes=sound_axes(first=1.0))
    y, x = [3.0, 8.0, 13.0], [4.0, 8.0, 12.0, 16.0, 20.0]
    np.testing.assert_allclose(a.scores, min_max(naive_map(a.grid, y, x, (BANDS, FRAMES))), atol=1e-5)
    even = attribution(SoundRenderer(), view, grid_of(3, 5))
    expected = min_max(naive_map(a.grid, tiled(3, BANDS), tiled(5, FRAMES), (BANDS, FRAMES)))
    np.testing.assert_allclose(even.scores, expected, atol=1e-5)
    assert len(data_of(even.renderer.fragment(even, "x"))["panels"]) == 2


@pytest.mark.parametrize("named", [True, False])
def test_scores_of_traces_are_linear_between_windows(named: bool) -> None:
    spans = tuple((0.5 + n * 0.2, 0.7 + n * 0.2) for n in range(15))
    a = KINDS["traces"](axes=(Axis("time", "s", spans),) if named else ())
    expected = min_max(np.array([between(list(a.grid), tiled(15, 60), n + 0.5) for n in range(60)]))
    assert a.scores.shape == (60,)
    np.testing.assert_allclose(a.scores, expected, atol=1e-6)


def test_scores_of_films_share_one_range() -> None:
    a = KINDS["film"]()
    expected = min_max(np.stack([naive_map(clip, tiled(3, 10), tiled(4, 10), (10, 10)) for clip in a.grid]))
    np.testing.assert_allclose(a.scores, expected, atol=1e-6)
    one = attribution(FilmRenderer(), film_view(), a.grid[0])
    np.testing.assert_allclose(one.scores, min_max(expected[0]), atol=1e-6)


def test_a_constant_grid_has_zero_scores_and_can_be_shown(kind: str) -> None:
    a = dataclasses.replace(KINDS[kind](), grid=np.full_like(KINDS[kind]().grid, 2))
    assert not a.scores.any()
    Reader(a.renderer.fragment(a, "x"))
    a.renderer.draw(a, Figure().subplots())


# Fragments.


@pytest.mark.parametrize("sides", [1, 2])
def test_fragments_are_whole_and_carry_the_grid(kind: str, sides: int) -> None:
    a = KINDS[kind]() if sides == 1 else contrast(kind)
    html = a.renderer.fragment(a, "e0-1")
    reader, data = Reader(html), data_of(html)
    (figure,) = reader.all("figure")
    assert figure["id"] == "e0-1"
    np.testing.assert_array_equal(data["maps"]["for"], a.grid)
    assert len(reader.all("canvas")) == len(data["panels"]) == len(reader.all("div", "stage"))
    assert all(stage["tabindex"] == "0" for stage in reader.all("div", "stage"))
    assert len(reader.all("select", "which")) == sides - 1
    assert figure["class"] == "heat"
    if sides == 2:
        assert a.against is not None
        np.testing.assert_array_equal(data["maps"]["against"], a.against)
    else:
        assert "against" not in data["maps"]
    for panel in data["panels"]:
        for part in panel["parts"]:
            rows = np.atleast_3d(a.grid.reshape(-1, *a.grid.shape[-2:]))
            assert part["map"] < max(1, len(rows))
            left, top, right, bottom = part["region"]
            assert min(part["x"]) >= left
            assert max(part["x"]) <= right
            assert top <= min(part["y"]) <= max(part["y"]) <= bottom


def test_names_are_escaped() -> None:
    view = image_view().with_boxes([Box(1, 1, 9, 9, EVIL)])
    field = field_view(label=EVIL, unit=EVIL)
    traces = traces_view(names=(EVIL,) * 4, units=(EVIL,) * 4)
    for a in (
        attribution(ImageRenderer(), view, grid_of(3, 4)),
        attribution(FieldRenderer(), field, grid_of(3, 4)),
        attribution(TracesRenderer(), traces, grid_of(5)),
    ):
        html = a.renderer.fragment(a, "x")
        reader = Reader(html)
        assert "<script>alert" not in html
        assert "onerror" not in {name for _, attributes in reader.tags for name in attributes}
        assert len(reader.all("script")) == 1
        assert EVIL in "".join(reader.texts)
    assert data_of(FieldRenderer().fragment(attribution(FieldRenderer(), field, grid_of(3, 4)), "x"))["panels"][0][
        "unit"
    ] == EVIL  # fmt: skip


def test_a_page_holds_each_script_once_and_those_of_others() -> None:
    class Theirs:
        name = "theirs"
        script = "/* theirs */"

        def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
            return grid

        def fragment(self, attribution: Attribution, ident: str) -> str:
            return f"<p id={ident}>mine</p>"

        def draw(self, attribution: Attribution, axes: Any) -> None: ...

        def store(self, view: Any, folder: Path, stem: str) -> dict[str, Any]:
            return {}

        def restore(self, stored: Any, folder: Path) -> None: ...

    theirs = attribution(Theirs(), None, grid_of(3))
    page = render_page(
        m2ib.Explanation((KINDS[kind](), theirs), 0.1, {}) for kind in ("image", "sound", "field", "film")
    )
    assert page.count("const RAMP") == page.count("toSource =") == page.count("/* theirs */") == 1
    assert page.count('<figure class="heat"') == 4
    assert "<p id=e3-1>mine</p>" in page
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert renderer_named("sound").name == "sound"


# Sounds.


def test_the_sound_on_the_page_is_the_waveform() -> None:
    loud = sound_view().waveform.copy()
    loud[100] = 1.5
    a = dataclasses.replace(KINDS["sound"](), view=sound_view(waveform=loud))
    (tag,) = Reader(a.renderer.fragment(a, "x")).all("audio")
    assert "controls" in tag
    with wave.open(io.BytesIO(content_of(tag["src"]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (800, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    np.testing.assert_allclose(samples, np.clip(loud, -1, 1), atol=0.51 / 32767)


def test_padding_is_striped_and_low_sounds_are_below() -> None:
    energy = np.full((2, BANDS, FRAMES), -9, np.float32)
    energy[:, 2, :20] = 3  # one low tone
    a = dataclasses.replace(KINDS["sound"](), view=sound_view(spectrogram=energy))
    html = a.renderer.fragment(a, "x")
    for picture in Reader(html).all("img"):
        with Image.open(io.BytesIO(content_of(picture["src"]))) as image:
            pixels = np.asarray(image)
        assert pixels.shape == (BANDS, FRAMES, 3)
        np.testing.assert_array_equal(pixels[::-1, 20:], hatch(BANDS, 4, 6))
        assert set(pixels[BANDS - 1 - 2, :20].ravel().tolist()) == {225}
        assert pixels[: BANDS - 3, :20].max() < 20
    panels = data_of(html)["panels"]
    assert [panel["padding"] for panel in panels] == [20, 20, None]
    assert "clip 2 of 2, 1.00–3.00 s; striped: padding, no sound" in html


def test_the_pointer_reads_seconds_and_hertz() -> None:
    a = KINDS["sound"]()
    first, second, whole = data_of(a.renderer.fragment(a, "x"))["panels"]
    assert first["x"]["values"] == pytest.approx([0, 2.4])
    assert second["x"]["values"] == pytest.approx([1, 3.4])
    assert whole["x"]["values"] == [0, 3]
    for band, hertz in enumerate(HERTZ):  # the lowest at the bottom, pixels counted from the top
        assert np.interp(BANDS - band - 0.5, first["y"]["places"][::-1], first["y"]["values"][::-1]) == pytest.approx(
            hertz
        )  # fmt: skip
    assert first["parts"][0]["y"] == pytest.approx([BANDS - 3, BANDS - 8, BANDS - 13])
    assert first["parts"][0]["x"] == pytest.approx([4, 8, 12, 16, 20])


def test_the_waveform_is_shaded_by_the_sum_over_frequencies() -> None:
    a = contrast("sound")
    assert a.against is not None
    html = a.renderer.fragment(a, "x")
    whole = data_of(html)["panels"][-1]
    for side, grid in (("for", a.grid), ("against", a.against)):
        expected = [[[sum(float(v) for v in clip[:, t]) for t in range(5)]] for clip in grid]
        np.testing.assert_allclose(whole["maps"][side], expected, rtol=1e-6)
    assert [part["map"] for part in whole["parts"]] == [0, 1]
    assert [part["region"] for part in whole["parts"]] == [[0, 0, 2, 1], [1, 0, 3, 1]]
    assert whole["parts"][1]["x"] == pytest.approx([1.4, 1.8, 2.2, 2.6, 3.0])
    (bars,) = Reader(html).all("div", "bars")
    assert bars["style"] == "--rows:2"
    assert re.findall(r'<span style="--row:(\d);left:([\d.]+)%;width:([\d.]+)%">([\d ]+)</span>', html) == [
        ("0", "33.333", "66.667", "1"),
        ("1", "66.667", "66.667", "2"),
    ]


def test_a_spectrogram_alone_has_no_waveform_and_no_sound() -> None:
    silent = sound_view(envelope=np.zeros((2, 0), np.float32), waveform=np.zeros(0, np.float32), played=())
    a = dataclasses.replace(KINDS["sound"](), view=silent)
    html = a.renderer.fragment(a, "x")
    assert len(data_of(html)["panels"]) == 2
    assert not Reader(html).all("audio")
    assert "sound" not in data_of(html)


def test_a_repeated_clip_says_so() -> None:
    short = sound_view(clips=((0.0, 0.9), (0.0, 0.9)), length=0.9, frames=(9, 9), played=((0.0, 0.9),))
    a = dataclasses.replace(KINDS["sound"](), view=short)
    html = a.renderer.fragment(a, "x")
    assert "clip 2 of 2, 0.00–0.90 s, the same sound as clip 1; striped: padding, no sound" in html
    assert ">1 2</span>" in html  # one bar for both


def test_the_caption_tells_how_much_lies_on_padding() -> None:
    short = sound_view(clips=((0.0, 0.9), (0.0, 2.4)), length=2.4, frames=(9, 24), played=((0.0, 2.4),))
    a = dataclasses.replace(KINDS["sound"](), view=short)
    html = a.renderer.fragment(a, "x")
    first = a.grid[0]  # its columns have their centres at frames 4, 8, 12, 16, 20
    share = sum(float(v) for v in first[:, 2:].ravel()) / sum(float(v) for v in first.ravel())
    assert f"padding, no sound: 62 % of the clip, {100 * share:.0f} % of its nats" in html
    assert html.count("of its nats") == 2  # of the first clip only, seen and read out


def test_long_sounds_count_minutes_and_hours() -> None:
    for length, ticked, span in (
        (90.0, ["0:00", "0:15", "0:30", "0:45", "1:00", "1:15", "1:30"], "1:28.00–1:30.00"),
        (10_800.0, ["0:00:00", "1:00:00", "2:00:00", "3:00:00"], "2:59:58.00–3:00:00.00"),
    ):
        clips = ((0.0, 2.0), (length - 2, length))
        a = dataclasses.replace(
            KINDS["sound"](),
            view=sound_view(length=length, played=clips, clips=clips),
            layout=Layout((2, 3, 5)),
        )
        reader = Reader(a.renderer.fragment(a, "x"))
        assert set(ticked) <= set(reader.texts)
        assert any(f"clip 2 of 2, {span}" in text for text in reader.texts)
        axes = Figure().subplots()
        a.renderer.draw(a, axes)
        assert "+" not in "".join(text.get_text() for text in axes.get_xticklabels())


def test_of_a_long_sound_the_page_says_what_is_played() -> None:
    long = sound_view(length=60.0, played=((0.0, 2.0), (58.0, 60.0)), clips=((0.0, 2.0), (58.0, 60.0)))
    a = dataclasses.replace(KINDS["sound"](), view=long)
    html = a.renderer.fragment(a, "x")
    assert data_of(html)["sound"]["played"] == [[0, 2], [58, 60]]
    assert "of this long sound only the clips can be heard" in html
    assert "only the clips" not in KINDS["sound"]().renderer.fragment(KINDS["sound"](), "x")


def test_a_page_and_a_figure_say_what_is_shown_of_a_sound() -> None:
    usual = KINDS["sound"]()
    assert "the whole sound" in usual.renderer.fragment(usual, "x")
    view = dataclasses.replace(usual.view, shown="the first 2 s of 9 s", played=((0.5, 1.0), (1.5, 2.0)))
    a = dataclasses.replace(usual, view=view)
    html = a.renderer.fragment(a, "x")
    assert "the whole sound" not in html
    assert "waveform of the first 2 s of 9 s" in html
    assert "of this long sound only 0.50–1.00 s and 1.50–2.00 s can be heard" in html
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    assert axes.get_xlabel().startswith("seconds of the first 2 s of 9 s")


def test_a_sound_of_ten_seconds_makes_a_page_of_sane_size() -> None:
    rng = np.random.default_rng(0)
    view = SoundView(
        rng.normal(size=(3, 128, 204)).astype(np.float32),
        np.geomspace(30, 7900, 128),
        ((0.0, 2.0), (4.0, 6.0), (8.0, 10.0)),
        0.01,
        (198,) * 3,
        10.0,
        np.stack([-rng.random(1500), rng.random(1500)]).astype(np.float32),
        rng.uniform(-1, 1, 160_000).astype(np.float32),
        16_000,
        ((0.0, 10.0),),
    )
    a = attribution(SoundRenderer(), view, grid_of(3, 12, 19))
    assert len(a.renderer.fragment(a, "x")) < 1_200_000  # the whole and what is kept, 427 kB each


# Fields.


def test_what_was_not_measured_is_striped_and_said() -> None:
    a = KINDS["field"]()
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    missing = np.isnan(a.view.values) & ~np.ma.getmaskarray(
        axes.images[1].get_array()
    )  # where the model looks
    assert missing.any()
    np.testing.assert_array_equal(axes.images[0].get_array()[missing], hatch(20, 30, 0)[missing])  # type: ignore[index]
    html = a.renderer.fragment(a, "x")
    values = data_of(html)["panels"][0]["values"]
    assert np.array(values, dtype=float).shape == (20, 30)
    np.testing.assert_allclose(np.array(values, dtype=float), a.view.values, rtol=1e-3)
    assert "not measured" in html
    assert "depth 0.5 m" in html
    whole = dataclasses.replace(a, view=field_view(values=np.nan_to_num(a.view.values)))
    assert "not measured" not in whole.renderer.fragment(whole, "x")


def test_a_field_without_any_value_can_be_shown() -> None:
    a = dataclasses.replace(KINDS["field"](), view=field_view(values=np.full((20, 30), np.nan, np.float32)))
    assert "depth: nothing was measured" in a.renderer.fragment(a, "x")
    a.renderer.draw(a, Figure().subplots())


def test_a_field_is_coloured_between_its_limits(tmp_path: Path) -> None:
    values = np.linspace(0.5, 8, 20 * 30, dtype=np.float32).reshape(20, 30)
    plain = dataclasses.replace(KINDS["field"](), view=field_view(values=values))
    wild = values.copy()
    wild[0, 0], wild[19, 29] = -1e10, 1e10  # 0.5 and 8 in the other
    a = dataclasses.replace(plain, view=field_view(values=wild, limits=(0.5, 8.0)))
    np.testing.assert_array_equal(a.renderer.pixels(a.view), plain.renderer.pixels(plain.view))
    html = a.renderer.fragment(a, "x")
    assert "depth ≤ 0.5 m" in html
    assert "≥ 8 m" in html
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    assert any("≤ 0.5 to ≥ 8 m" in text.get_text() for text in axes.findobj(Text))
    within = dataclasses.replace(plain, view=field_view(values=values, limits=(0.0, 10.0)))
    assert "depth 0 m" in within.renderer.fragment(within, "x")
    assert "≤" not in within.renderer.fragment(within, "x")
    renderer = FieldRenderer()
    assert renderer.restore(renderer.store(a.view, tmp_path, "x"), tmp_path).limits == (0.5, 8.0)


def test_large_fields_are_read_out_coarsely() -> None:
    values = np.arange(300 * 200, dtype=np.float32).reshape(300, 200)
    a = dataclasses.replace(KINDS["field"](), view=field_view(values=values))
    shown = np.array(data_of(a.renderer.fragment(a, "x"))["panels"][0]["values"])
    assert shown.shape == (64, 64)
    assert shown[10, 20] == pytest.approx(values[int(10.5 * 300 / 64), int(20.5 * 200 / 64)], rel=1e-3)


# Traces and films.


def test_traces_lie_in_lanes_and_the_unseen_is_left_out() -> None:
    a = KINDS["traces"]()
    html = a.renderer.fragment(a, "x")
    reader = Reader(html)
    (panel,) = data_of(html)["panels"]
    assert panel["parts"][0]["region"] == [0.5, 0, 3.5, 4]
    assert panel["parts"][0]["x"] == pytest.approx([0.6 + 0.2 * n for n in range(15)])
    for lane, curve in enumerate(reader.all("polyline")):
        points = np.array([[float(v) for v in p.split(",")] for p in (curve["points"] or "").split()])
        assert lane < points[:, 1].min() < points[:, 1].max() < lane + 1
        assert points[:, 0].max() == pytest.approx(3.99)
    assert "push z, m/s²" in reader.texts
    assert "turn, rad/s" in reader.texts


def test_many_windows_are_shaded_softly_and_kept() -> None:
    a = attribution(TracesRenderer(), traces_view(), grid_of(250))
    html = a.renderer.fragment(a, "x")
    np.testing.assert_array_equal(data_of(html)["maps"]["for"], a.grid)
    (row,) = data_of(html)["panels"][0]["soft"]["for"][0]
    expected = list(a.grid.astype(float))
    for _ in range(2):
        expected = [
            sum(expected[min(max(n + step, 0), 249)] for step in range(-2, 3)) / 5 for n in range(250)
        ]
    np.testing.assert_allclose(row, expected, rtol=1e-6)
    assert "running mean over 9 windows" in html
    assert data_of(KINDS["traces"]().renderer.fragment(KINDS["traces"](), "x"))["panels"][0]["soft"] is None


def test_a_recording_shorter_than_what_the_model_sees_leaves_room() -> None:
    a = dataclasses.replace(KINDS["traces"](), view=traces_view(span=(0.0, 6.0)))
    (panel,) = data_of(a.renderer.fragment(a, "x"))["panels"]
    assert panel["width"] == 6
    assert panel["parts"][0]["region"] == [0, 0, 6, 4]


def test_long_curves_keep_their_extremes() -> None:
    y = np.zeros(100_000)
    y[77_777], y[33_333], y[5] = 4, -3, np.nan
    points = [
        tuple(map(float, point.split(","))) for point in polyline_points(np.arange(100_000.0), y).split()
    ]
    assert len(points) <= 1200
    assert max(points, key=lambda p: p[1])[1] == 4
    assert min(points, key=lambda p: p[1])[1] == -3
    assert points == sorted(points)


def test_overlapping_parts_of_a_moment_are_averaged() -> None:
    a = KINDS["film"]()
    html = a.renderer.fragment(a, "x")
    panels = data_of(html)["panels"]
    assert [[part["map"] for part in panel["parts"]] for panel in panels] == [
        [0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]
    ]  # fmt: skip
    assert [panel["note"] for panel in panels] == ["0.00 s", "0.25 s", "0.50 s", "0.75 s", "1.00 s", "1.25 s"]
    assert panels[1]["parts"][1]["region"] == [4, 0, 16, 12]
    assert "clip 2 of 3: 0.50 s" in html
    assert "the frames of a clip share one map; the model sees 2 windows of each clip" in html
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    shown = np.asarray(axes.images[1].get_array())
    left = naive_map(a.grid[0], tiled(3, 12), tiled(4, 12), (12, 20))
    right = naive_map(a.grid[1], tiled(3, 12), tiled(4, 12, 4), (12, 20))
    np.testing.assert_allclose(shown[:12, :4], left[:, :4], rtol=1e-6)
    np.testing.assert_allclose(shown[:12, 4:12], (left + right)[:, 4:12] / 2, rtol=1e-6)
    np.testing.assert_allclose(shown[:12, 12:16], right[:, 12:16], rtol=1e-6)
    bare = np.ma.getmaskarray(axes.images[1].get_array())
    assert bare[:12, 16:20].all()  # the model does not look there
    assert not bare[:12, :16].any()


# What hardly differs.


def test_maps_that_are_nearly_flat_say_so(kind: str) -> None:
    a = KINDS[kind]()
    assert "nearly flat" not in a.renderer.fragment(a, "x")
    flat = dataclasses.replace(a, grid=350 + 1.3 * scale(a.grid))
    assert "nearly flat: the highest is only 0.37 % above the lowest" in a.renderer.fragment(flat, "x")
    both = dataclasses.replace(flat, grid=a.grid * 10, against=a.grid * 10 + np.float32(0.01))
    assert "the two sides hardly differ: by 0.0" in a.renderer.fragment(both, "x")


def test_flatness_of_nothing_and_of_zeros() -> None:
    assert flatness(np.zeros(0)) == flatness(np.zeros(3)) == flatness(np.ones(1)) == ""
    assert flatness(np.array([0.9, 1.0])) == ""
    assert flatness(np.array([4.0, 4.0])).endswith("only 0 % above the lowest")
    assert "nearly flat" in flatness(np.array([100, 101]))  # whole numbers


# Boxes.


def test_boxes_stand_in_pixels_of_the_raw_image() -> None:
    a = KINDS["image"]()  # 50 x 30 pixels of a raw image of 100 x 120
    reader = Reader(a.renderer.fragment(a, "x"))
    (lines,) = reader.all("svg", "regions")
    assert lines["viewbox"] == "0 0 50 30"
    corners = [
        sorted(p.split(",") for p in re.split("[MLZ]", d["d"] or "") if p) for d in reader.all("path", "edge")
    ]
    assert corners == [
        [["10", "10"], ["10", "25"], ["25", "10"], ["25", "25"]],
        [["0", "0"], ["0", "2.5"], ["5", "0"], ["5", "2.5"]],
    ]
    (tag,) = reader.all("span", "tag")
    assert tag["style"] == "left:20.000%;top:33.333%"
    assert "a nodule" in reader.texts
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    # Matplotlib's pixels have their centres at whole numbers. Two lines each: dark under light.
    frames = [patch.get_path().get_extents().bounds for patch in axes.patches]
    assert frames == [(9.5, 9.5, 15, 15)] * 2 + [(-0.5, -0.5, 5, 2.5)] * 2
    assert "a nodule" in [text.get_text() for text in axes.texts]


def test_boxes_are_checked() -> None:
    with pytest.raises(m2ib.InputError) as caught:
        Box(1, 2, 0, 4, "spot")
    assert str(caught.value) == (
        "box 'spot': x, y, width, height are (1, 2, 0, 4); give finite numbers, width and height above 0"
    )
    with pytest.raises(m2ib.InputError, match="give finite numbers"):
        Box(float("nan"), 2, 3, 4)
    with pytest.raises(m2ib.InputError) as caught:
        image_view().with_boxes([Box(100, 10, 20, 20, "spot")])
    assert str(caught.value) == (
        "box 'spot' at x 100, y 10 with 20x20 pixels lies outside the image of 100x120; "
        "give pixels of the raw image, counted from its left upper corner"
    )
    view = image_view().with_boxes([Box(-5, -5, 200, 300)])
    assert view.boxes == (Box(-5, -5, 200, 300),)
    assert view.pixels is not None


# Figures.


def test_figures_show_the_data(kind: str) -> None:
    for a in (KINDS[kind](), contrast(kind)):
        shown = a.grid if a.against is None else a.grid - a.against
        axes = Figure().subplots()
        a.renderer.draw(a, axes)
        heat = axes.images[-1]
        values = np.asarray(heat.get_array())
        assert np.isfinite(values).all()
        assert shown.min() - 1e-5 <= values.min() < values.max() <= shown.max() + 1e-5
        assert (heat.norm.vmin == -heat.norm.vmax) == (a.against is not None)  # type: ignore[operator]
        assert axes.has_data()


def test_the_figure_of_a_sound_has_low_sounds_below() -> None:
    a = KINDS["sound"]()
    axes = Figure().subplots()
    a.renderer.draw(a, axes)
    y, x = [3.0, 8.0, 13.0], [4.0, 8.0, 12.0, 16.0, 20.0]
    expected = naive_map(a.grid[0], y, x, (BANDS, FRAMES))[::-1]
    np.testing.assert_allclose(np.asarray(axes.images[1].get_array())[:, :FRAMES], expected, rtol=1e-5)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "2", "1", "3"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["200 Hz", "500 Hz", "1 kHz"]


def test_every_kind_fits_a_figure(kind: str, tmp_path: Path) -> None:
    a = KINDS[kind]()
    m2ib.Explanation((a, contrast(kind)), 0.5).figure().savefig(tmp_path / "figure.png", dpi=50)
    with Image.open(tmp_path / "figure.png") as image:
        assert np.asarray(image.convert("L")).std() > 5


# Files.


def alike(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    for name in (field.name for field in dataclasses.fields(a)):
        x, y = getattr(a, name), getattr(b, name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        else:
            assert x == y, name


def test_views_come_back_exactly(kind: str, tmp_path: Path) -> None:
    a = KINDS[kind]()
    stored = json.loads(json.dumps(a.renderer.store(a.view, tmp_path, "stem7")))
    assert all(path.name.startswith("stem7") for path in tmp_path.iterdir())
    alike(a.view, a.renderer.restore(stored, tmp_path))


def test_explanations_come_back_exactly(kind: str, tmp_path: Path) -> None:
    explanation = m2ib.Explanation((KINDS[kind](), contrast(kind)), 0.5, {})
    loaded = m2ib.load_explanation(explanation.save(tmp_path / "x"))
    for before, after in zip(explanation, loaded, strict=True):
        alike(before.view, after.view)
        np.testing.assert_array_equal(before.scores, after.scores)
        assert before.axes == after.axes
    assert render_page([loaded]) == render_page([explanation])


def test_files_outside_the_folder_and_damaged_ones_are_refused(kind: str, tmp_path: Path) -> None:
    folder = m2ib.Explanation((KINDS[kind](), KINDS[kind]()), 0.5, {}).save(tmp_path / "x")
    manifest = json.loads((folder / "manifest.json").read_text())
    view = manifest["attributions"][0]["view"]
    (key,) = {"pixels", "arrays"} & set(view)
    whole = (folder / view[key]).read_bytes()
    (tmp_path / view[key]).write_bytes(whole)
    view[key] = f"../{view[key]}"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        m2ib.StorageError, match=r"'\.\./0\..*' is not the name of a file in it; save it again"
    ):
        m2ib.load_explanation(folder)
    view[key] = Path(view[key]).name
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / view[key]).unlink()
    with pytest.raises(m2ib.StorageError, match="is missing"):
        m2ib.load_explanation(folder)
    (folder / view[key]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(m2ib.StorageError, match=r"is damaged: .* is not the file that was saved"):
        m2ib.load_explanation(folder)


def test_images_stored_before_there_were_boxes_still_load(tmp_path: Path) -> None:
    view = image_view()
    stored = dict(ImageRenderer().store(view, tmp_path, "0"))
    del stored["scale"], stored["boxes"]
    alike(ImageRenderer().restore(stored, tmp_path), dataclasses.replace(view, scale=(1.0, 1.0), boxes=()))


def test_numbers_are_written_out() -> None:
    assert [format_number(v) for v in (0.0, 0.12345, 999.96, 1234.5, 15_823.4, -15_823.4, 3e7)] == [
        "0", "0.1235", "1,000", "1,234", "15,820", "-15,820", "3e+07"
    ]  # fmt: skip
    assert [format_time(v, 70, 2) for v in (0, 59.999, 61.5)] == ["0:00.00", "1:00.00", "1:01.50"]
    assert [format_time(v, 4000) for v in (0, 3599, 3600)] == ["0:00:00", "0:59:59", "1:00:00"]
    assert (format_time(1.5, 3), format_time(2, 3, 2)) == ("1.5 s", "2.00 s")
    assert time_ticks(0, 50, 5) == ticks(0, 50, 5)
    assert time_ticks(10, 130, 6) == [30, 60, 90, 120]


def test_ticks_are_round_numbers_inside() -> None:
    assert ticks(0, 2, 5) == [0, 0.5, 1, 1.5, 2]
    assert ticks(3.97, 6.01, 5) == [4, 4.5, 5, 5.5, 6]
    assert ticks(0, 0.9, 6) == [0, 0.2, 0.4, 0.6, 0.8]
    assert ticks(1, 1, 5) == []


def test_values_of_many_cells_are_shades_with_their_ends() -> None:
    values = np.arange(20, dtype=np.float32)
    found = Attribution(
        "wave", "m2ib", values, None, Layout((20,)), None, {}, {"wave": np.zeros(3)}, ValuesRenderer()
    )
    html = found.renderer.fragment(found, "x")
    assert html.count("<td") == html.count("></td>") == 20
    assert "<figcaption>0 to 19 nats</figcaption>" in html
    few = dataclasses.replace(found, grid=values[:6])
    assert few.renderer.fragment(few, "x").count("></td>") == 0


def test_a_view_that_is_for_another_renderer_is_not_stored(tmp_path: Path) -> None:
    renderer = ValuesRenderer()
    assert renderer.store({"wave": np.zeros(3)}, tmp_path, "0") == {}
    assert renderer.store(["a"], tmp_path, "0") == {}
    assert renderer.store({"names": ["a", "b"]}, tmp_path, "0") == {"names": ["a", "b"]}
