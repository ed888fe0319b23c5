"""What a map keeps of its sound and what it leaves out: against a slow twin, and on the page."""

from __future__ import annotations

import base64
import cmath
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import m2ib
from drawn import KINDS, attribution, contrast, grid_of, sound_view
from m2ib.contract.attribution import Attribution
from m2ib.contract.layout import Axis
from m2ib.page.cards import Card, write_cards
from m2ib.renderers import SoundRenderer, SoundView, sound_parts

RATE, BANDS = 400, 12
HERTZ = 22.0 + 14 * np.arange(BANDS)  # 22 to 176 Hz: half the rate, 200 Hz, is not heard
ALL = np.linspace(5, 195, BANDS)  # all of it is
SIZE = 16  # samples of a window, .05 s and the nearest power of 2


def heard(grid: np.ndarray, *, seconds: float = 1.5, seed: int = 0, **more: Any) -> Attribution:
    """Noise of float64 under a map, two rows of bands and clips of a second."""
    clips = more.pop("clips", ((0.0, seconds),))
    played = more.pop("played", ((0.0, seconds),))
    samples = sum(round((end - start) * RATE) for start, end in played)
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, samples)
    view = SoundView(
        np.zeros((len(clips), BANDS, 30), np.float32),
        more.pop("hertz", HERTZ),
        clips,
        0.05,
        (30,) * len(clips),
        seconds,
        np.zeros((2, 0), np.float32),
        more.pop("waveform", wave),
        RATE,
        played,
    )
    return attribution(SoundRenderer(), view, grid.astype(np.float64), **more)


# A slow twin: every window, every bin, every cell by itself.


def cell(values: np.ndarray, band: float, frame: float, rows: list[float], columns: list[float]) -> float:
    """Linear between the cells' centres, constant outside."""
    lines = [float(np.interp(frame, columns, line)) for line in values]
    return float(np.interp(band, rows, lines))


def naive_parts(
    a: Attribution, levels: np.ndarray, rows: list[float], columns: list[float]
) -> dict[str, np.ndarray]:
    """``levels`` (clips, rows, columns), below 0 for the other side, at these bands and frames of a clip."""
    view = a.view
    window = [math.sin(math.pi * n / SIZE) ** 2 for n in range(SIZE)]
    found: dict[str, list[float]] = {"kept": [], "against": []}
    begin = 0
    for start, end in view.played:
        count = round((end - start) * RATE)
        samples = dict(enumerate(view.waveform[begin : begin + count]))
        begin += count
        sums = {name: [0.0] * count for name in found}
        weight = [0.0] * count
        for centre in range(0, count + SIZE, SIZE // 4):
            places = range(centre - SIZE // 2, centre + SIZE // 2)
            part = [w * samples.get(n, 0.0) for w, n in zip(window, places, strict=True)]
            masked = {name: [0j] * SIZE for name in found}
            for k in range(SIZE):
                value = sum(x * cmath.exp(-2j * math.pi * k * n / SIZE) for n, x in enumerate(part))
                hertz = min(k, SIZE - k) * RATE / SIZE
                band = (hertz - 22) / 14 + 0.5
                moment = min(start + centre / RATE, end)
                there = [
                    cell(level, band, (moment - first) / 0.05, rows, columns)
                    for level, (first, last) in zip(levels, view.clips, strict=True)
                    if first <= moment <= last
                ]
                gain = sum(there) / len(there) if there and -1 <= band <= BANDS + 1 else 0.0
                masked["kept"][k], masked["against"][k] = value * max(gain, 0), value * max(-gain, 0)
            for offset, place in enumerate(places):
                if 0 <= place < count:
                    weight[place] += window[offset] ** 2
                    for name, values in masked.items():
                        turned = (
                            v * cmath.exp(2j * math.pi * k * offset / SIZE) for k, v in enumerate(values)
                        )
                        sums[name][place] += window[offset] * sum(turned).real / SIZE
        for name, values in sums.items():
            found[name] += [v / w for v, w in zip(values, weight, strict=True)]
    return {name: np.array(values) for name, values in found.items()}


def axes(clips: tuple[tuple[float, float], ...]) -> tuple[Axis, ...]:
    """Three rows at bands 2, 6 and 9, four columns of .4 s that overlap: at frames 4, 8, 12, 16 of a clip."""
    rows = tuple((22.0 + 14 * (band - 2.5), 22.0 + 14 * (band + 1.5)) for band in (2, 6, 9))
    columns = tuple((0.2 * n, 0.2 * n + 0.4) for n in range(4))
    return Axis("clip", "s", clips), Axis("frequency", "Hz", rows), Axis("time", "s", columns)


ROWS, COLUMNS = [2.0, 6.0, 9.0], [4.0, 8.0, 12.0, 16.0]
GAP = ((0.0, 1.0), (0.5, 1.5), (2.0, 3.0))  # two clips overlap, and half a second is in none


@pytest.mark.parametrize("played", [((0.0, 3.2),), GAP], ids=["whole", "clips"])
def test_what_is_kept_is_the_masked_spectrogram_with_its_phase(
    played: tuple[tuple[float, float], ...],
) -> None:
    a = heard(grid_of(3, 3, 4), seconds=3.2, clips=GAP, played=played, axes=axes(GAP), full=12.0)
    levels = a.grid / 12
    expected = naive_parts(a, levels, ROWS, COLUMNS)
    parts = sound_parts(a)
    assert list(parts) == ["kept", "left_out"]
    np.testing.assert_allclose(parts["kept"], expected["kept"], atol=1e-12)
    np.testing.assert_allclose(parts["left_out"], a.view.waveform - expected["kept"], atol=1e-12)


def test_of_a_contrast_each_side_has_its_lead() -> None:
    a = heard(
        grid_of(2, 3, 4), seconds=1.5, clips=GAP[:2], axes=axes(GAP[:2]), against=grid_of(2, 3, 4, seed=7)
    )
    assert a.against is not None
    lead = a.grid - a.against
    expected = naive_parts(a, lead / np.abs(lead).max(), ROWS, COLUMNS)
    parts = sound_parts(a)
    assert list(parts) == ["kept", "against", "left_out"]
    for name, values in expected.items():
        assert np.abs(values).max() > 0.01
        np.testing.assert_allclose(parts[name], values, atol=1e-12)


def test_cells_without_axes_fill_the_spectrogram_evenly() -> None:
    a = heard(grid_of(2, 3))
    levels = (a.grid - a.grid.min()) / (a.grid.max() - a.grid.min())
    expected = naive_parts(a, levels[None], [3.0, 9.0], [5.0, 15.0, 25.0])
    np.testing.assert_allclose(sound_parts(a)["kept"], expected["kept"], atol=1e-12)


def test_a_grid_of_times_alone_has_one_gain_for_all_frequencies() -> None:
    a = heard(grid_of(1, 3))
    levels = (a.grid - a.grid.min()) / (a.grid.max() - a.grid.min())
    expected = naive_parts(a, levels[None], [6.0], [5.0, 15.0, 25.0])
    np.testing.assert_allclose(sound_parts(a)["kept"], expected["kept"], atol=1e-12)


@pytest.mark.parametrize("kind", ["map", "contrast"])
def test_the_parts_add_up_to_the_whole(kind: str) -> None:
    a = contrast("sound") if kind == "contrast" else KINDS["sound"]()
    parts = sound_parts(a)
    assert {part.dtype for part in parts.values()} == {np.dtype("float32")}
    np.testing.assert_allclose(sum(parts.values()), a.view.waveform, atol=2e-7)


def test_what_a_map_leaves_out_is_what_the_opposite_map_keeps() -> None:
    a = heard(grid_of(3, 4), hertz=ALL)
    opposite = replace(a, grid=a.grid.max() - a.grid)
    np.testing.assert_allclose(sound_parts(a)["left_out"], sound_parts(opposite)["kept"], atol=1e-12)


def test_a_map_of_one_band_and_time_lets_only_that_through() -> None:
    moments = np.arange(RATE * 6) / RATE
    low, high = (0.4 * np.sin(2 * math.pi * hertz * moments) for hertz in (25.0, 150.0))
    grid = np.zeros((3, 6))
    grid[0, 2] = 1  # up to 50 Hz, and none from 100 Hz on; 2.5 s, and none before 1.5 and after 3.5 s
    bands = Axis("frequency", "Hz", ((0.0, 100.0), (60.0, 140.0), (100.0, 200.0)))
    seconds = Axis("time", "s", tuple((float(n), n + 1.0) for n in range(6)))
    a = heard(grid, seconds=6.0, waveform=low + high, axes=(bands, seconds), hertz=ALL)
    kept = sound_parts(a)["kept"]
    assert not kept[: 600 - SIZE].any()
    assert not kept[1400 + SIZE :].any()
    np.testing.assert_allclose(kept[980:1020], low[980:1020], atol=0.03)
    assert abs(kept @ high) < 1e-3 * (kept @ low)


def test_a_map_of_ones_keeps_all_that_the_model_hears() -> None:
    a = heard(np.ones((2, 3)), full=1.0, hertz=ALL)
    np.testing.assert_allclose(sound_parts(a)["kept"], a.view.waveform, atol=1e-12)
    short = replace(a, view=replace(a.view, clips=((0.0, 0.5),)))
    kept = sound_parts(short)["kept"]
    np.testing.assert_allclose(kept[: 200 - SIZE], a.view.waveform[: 200 - SIZE], atol=1e-12)
    assert not kept[200 + SIZE :].any()  # no clip holds it
    tone = np.sin(2 * math.pi * 150 * np.arange(600) / RATE)
    narrow = replace(a, view=replace(a.view, hertz=np.linspace(20, 100, BANDS), waveform=tone))
    assert np.abs(sound_parts(narrow)["kept"][SIZE:-SIZE]).max() < 1e-12  # no band is as high


@pytest.mark.parametrize("samples", [1, 5, 17])
def test_a_sound_shorter_than_a_window_keeps_its_length(samples: int) -> None:
    a = heard(grid_of(2, 3), waveform=np.full(samples, 0.5), played=((0.0, samples / RATE),))
    assert {name: len(part) for name, part in sound_parts(a).items()} == {
        "kept": samples,
        "left_out": samples,
    }


def test_what_cannot_be_heard_is_refused() -> None:
    with pytest.raises(
        m2ib.InputError, match="'thing' whose view is ImageView is no sound; only one with a Sound"
    ):
        sound_parts(KINDS["image"]())
    silent = replace(
        KINDS["sound"](),
        view=sound_view(waveform=np.zeros(0, np.float32), envelope=np.zeros((2, 0), np.float32)),
    )
    with pytest.raises(
        m2ib.InputError, match=r"of this thing there is a spectrogram alone, .* explain the sound"
    ):
        sound_parts(silent)
    with pytest.raises(m2ib.AdapterError, match=r"SoundView: played is \(\); it must be one part or more"):
        sound_view(played=())


# On the page.

LOW = sound_view(hertz=5 + 20.0 * np.arange(16))  # whose bands hold its tone


def sound_of(html: str) -> Any:
    found = re.search(r'<script type="application/json">(.*?)</script>', html)
    assert found
    return json.loads(found.group(1))["sound"]


def choices(html: str) -> list[tuple[str, str]]:
    return re.findall(
        r'<label><input type="radio" name="x-part" value="(\w+)"(?: checked)?> (.*?)</label>', html
    )


def pcm(url: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(url.partition(",")[2])[44:], "<i2") / 32767


def test_the_page_plays_what_is_kept_at_its_own_loudness() -> None:
    a = replace(KINDS["sound"](), view=LOW)
    html, kept = a.renderer.fragment(a, "x"), sound_parts(a)["kept"]
    assert choices(html) == [
        ("whole", "the whole"),
        ("kept", "what the map keeps"),
        ("left_out", "what it leaves out"),
    ]
    assert html.count(" checked> the whole") == 1
    assert list(sound_of(html)["parts"]) == ["kept"]  # the script takes it from the whole
    np.testing.assert_allclose(pcm(sound_of(html)["parts"]["kept"]), kept, atol=0.51 / 32767)
    share = 100 * sum(float(v) ** 2 for v in kept) / sum(float(v) ** 2 for v in a.view.waveform)
    assert f"{share:.0f}\u00a0% of the sound&#39;s energy" in html


def test_the_page_of_a_contrast_plays_both_sides() -> None:
    a = replace(contrast("sound"), view=LOW)
    html = a.renderer.fragment(a, "x")
    assert [value for value, _ in choices(html)] == ["whole", "kept", "against", "left_out"]
    for name, url in sound_of(html)["parts"].items():
        np.testing.assert_allclose(pcm(url), sound_parts(a)[name], atol=0.51 / 32767)


@pytest.mark.parametrize("why", ["flat", "silent"])
def test_a_map_that_keeps_nothing_says_so(why: str) -> None:
    a = KINDS["sound"]()
    if why == "flat":
        a = replace(a, grid=np.ones_like(a.grid))
    else:
        a = replace(a, view=replace(a.view, waveform=np.zeros_like(a.view.waveform)))
    html = a.renderer.fragment(a, "x")
    assert '<p class="note">the map keeps nothing of this sound that can be heard</p>' in html
    assert choices(html) == []
    assert sound_of(html)["parts"] == {}


def test_what_is_too_long_is_played_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    a = KINDS["sound"]()
    monkeypatch.setattr("m2ib.renderers.sound_player._LONGEST", a.view.waveform.size - 1)
    html = a.renderer.fragment(a, "x")
    assert "this sound is too long for what the map keeps of it to be on the page" in html
    assert choices(html) == []
    assert sound_of(html)["parts"] == {}


def test_a_card_holds_a_sound_once(tmp_path: Path) -> None:
    exp = m2ib.Explanation((KINDS["sound"](), KINDS["traces"]()), 0.1, {})
    card = Card("a", "m2ib", 0.1, [], [], None, exp)
    page = write_cards([card], tmp_path / "cards.html", summary=[], total=1).read_text(encoding="utf-8")
    assert page.count("data:audio/wav") == 1
    assert "what the map keeps:" not in page
