"""What goes in is what transformers' extractor makes, without its dice; what is shown and told is what was heard."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.functional
from torch import Tensor

import m2ib
from clap_checkpoint import BANDS, FRAMES, HOP, RATE, SAMPLES, extractor, processor, save_clap
from m2ib.renderers import SoundView
from m2ib_clap.folding import tower_of
from m2ib_clap.sounds import SoundPreparation
from m2ib_clap.spectrograms import SILENCE, LogMel


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


def features(inputs: m2ib.Inputs) -> Tensor:
    return inputs["input_features"] if isinstance(inputs, dict) else inputs


def view_of(item: m2ib.Item) -> SoundView:
    assert isinstance(item.view, SoundView)
    return item.view


@pytest.mark.parametrize("samples", [1, 80, 2500, SAMPLES // 2, SAMPLES // 2 + 1, SAMPLES - 1, SAMPLES])
def test_a_short_sound_is_exactly_what_transformers_makes_of_it(
    model: m2ib.Model, folder: Path, samples: int
) -> None:
    sound = noise(samples)
    wanted = processor(folder)(audio=sound, sampling_rate=RATE, return_tensors="pt")["input_features"]
    with pytest.warns(m2ib.M2IBWarning, match="silent") if samples == 1 else nullcontext():
        given = features(model.preprocess("audio", [(sound, RATE)]))
    assert torch.equal(given, wanted)
    assert given.shape == (1, 1 if wanted.shape[1] == 1 else 4, FRAMES, BANDS)


@pytest.mark.parametrize(
    ("padding", "repeats", "filled"), [("repeatpad", 3, 7500), ("repeat", 4, 8000), ("pad", 1, 2500)]
)
def test_every_padding(padding: str, repeats: int, filled: int) -> None:
    sound = noise(2500)
    made = extractor(False, padding=padding)
    heard = LogMel(made, False).spectrograms(sound)
    assert torch.equal(
        heard.spectrograms, made(sound, sampling_rate=RATE, return_tensors="pt")["input_features"][0]
    )
    assert heard.repeats == repeats
    np.testing.assert_array_equal(heard.waveform, np.tile(sound, 4)[:filled])


def test_dice_change_nothing_and_are_left_alone(model: m2ib.Model, kind: str) -> None:
    length = 3 * SAMPLES if kind == "fused" else SAMPLES
    np.random.seed(1)  # noqa: NPY002 - the state that transformers draws from
    first = model.preprocess("audio", [(noise(length), RATE)])
    np.random.seed(2)  # noqa: NPY002
    second = model.preprocess("audio", [(noise(length), RATE)])
    assert torch.equal(features(first), features(second))
    if isinstance(first, dict) and isinstance(second, dict):
        assert torch.equal(first["frames"], second["frames"])


def test_the_mean_of_all_channels_is_heard(model: m2ib.Model) -> None:
    left, right = noise(3000, 1), noise(3000, 2)
    item = model.item("audio", (np.stack([left, right]), RATE))
    mono = model.item("audio", ((left + right) / 2, RATE))
    torch.testing.assert_close(features(item.inputs), features(mono.inputs), rtol=0, atol=1e-3)
    assert not torch.allclose(
        features(item.inputs), features(model.item("audio", (left, RATE)).inputs), atol=1
    )
    assert item.origin["heard"] == "the mean of 2 channels; 2 times in a row"
    assert item.origin["channels"] == 2


def test_another_rate_is_resampled(model: m2ib.Model) -> None:
    sound = noise(11025)
    item = model.item("audio", (sound, 22050))
    wanted = torchaudio.functional.resample(torch.from_numpy(sound), 22050, RATE).numpy()
    assert len(wanted) == 4000
    torch.testing.assert_close(
        features(item.inputs), features(model.item("audio", (wanted, RATE)).inputs), rtol=0, atol=1e-3
    )
    assert (item.origin["rate"], item.origin["resampled_to"], item.origin["seconds"]) == (22050, RATE, 0.5)


def test_a_file(model: m2ib.Model, tmp_path: Path) -> None:
    path = tmp_path / "bark.wav"
    soundfile.write(path, noise(3000), RATE, subtype="FLOAT")
    item = model.item("audio", path)
    assert torch.equal(features(item.inputs), features(model.item("audio", (noise(3000), RATE)).inputs))
    assert item.origin["source"] == str(path)
    assert len(item.origin["sha256"]) == 64


def test_an_mp3_that_does_not_say_how_long_it_is(models: dict[str, m2ib.Model], tmp_path: Path) -> None:
    path = tmp_path / "bark.mp3"
    soundfile.write(path, np.concatenate([noise(4000) / 1000, noise(4000)]), RATE, bitrate_mode="VARIABLE")
    whole = path.read_bytes()
    second = whole.index(whole[:2], 40)  # behind the header's frame
    path.write_bytes(whole[second:])
    seconds = models["fused"].item("audio", path).origin["seconds"]
    assert 1.0 <= seconds < 1.3


def test_what_is_shown_and_played(model: m2ib.Model) -> None:
    sound = noise(2500)
    item = model.item("audio", (sound, RATE))
    view = view_of(item)
    assert view.spectrogram.shape == (1, BANDS, FRAMES)
    np.testing.assert_allclose(view.spectrogram[0], features(item.inputs)[0].T * np.log(10) / 10, rtol=1e-6)
    np.testing.assert_array_equal(view.waveform, np.tile(sound, 3))
    assert view.clips == ((0.0, 7500 / RATE),)
    assert view.played == view.clips
    assert view.frames == (7500 // HOP + 1,)
    assert view.step == HOP / RATE
    assert view.envelope.shape == (2, 1000)
    assert view.envelope[0, 0] == pytest.approx(sound[:7].min())  # columns of 7 and 8 samples
    assert view.envelope[1, 1] == pytest.approx(sound[7:15].max())
    assert (item.origin["repeats"], item.origin["heard"]) == (3, "3 times in a row")
    whole = view_of(model.item("audio", (noise(SAMPLES), RATE)))
    assert whole.frames == (FRAMES,)
    assert whole.clips == ((0.0, 1.0),)


def test_frequencies_rise_from_the_lowest_to_the_highest(model: m2ib.Model, kind: str) -> None:
    item = model.item("audio", (noise(SAMPLES), RATE))
    axis, view = item.layout.axes[0], view_of(item)
    starts, ends = np.array(axis.spans).T
    assert len(starts) == 16
    assert starts[0] == pytest.approx(50)
    assert ends[-1] == pytest.approx(3500)
    assert (np.diff(starts) > 0).all()
    assert (np.diff(ends) > 0).all()
    for row in range(16):  # four bands, whose centres lie inside
        assert (starts[row] < view.hertz[4 * row : 4 * row + 4]).all()
        assert (view.hertz[4 * row : 4 * row + 4] < ends[row]).all()
    filters = extractor(kind == "fused")
    bank = filters.mel_filters if kind == "fused" else filters.mel_filters_slaney  # (257, bands)
    bins = np.linspace(0, RATE / 2, len(bank))
    for band in (
        20,
        40,
        63,
    ):  # between its neighbours' centres each filter lets through what it says, and no more
        through = bins[bank[:, band] > 0]
        edges = LogMel(filters, kind == "fused").hertz()
        assert edges[band] < through.min() < edges[band] + RATE / 512 + 1e-6
        assert edges[band + 2] - RATE / 512 - 1e-6 < through.max() < edges[band + 2]


def test_times_run_from_0_to_the_end(model: m2ib.Model) -> None:
    spans = np.array(model.item("audio", (noise(SAMPLES), RATE)).layout.axes[1].spans)
    assert spans[0, 0] == 0
    assert spans[-1, 1] == 1
    np.testing.assert_allclose(spans[1:, 0], spans[:-1, 1])
    np.testing.assert_allclose(np.diff(spans[1:-1, 0]), 4 * 200 / 255 * HOP / RATE)


def test_a_long_sound_is_refused_without_fusion(models: dict[str, m2ib.Model], tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, noise(SAMPLES + 4000), RATE, subtype="FLOAT")
    with pytest.raises(m2ib.InputError) as caught:
        models["unfused"].item("audio", path)
    assert str(caught.value) == (
        f"audio {str(path)!r} lasts 1.5 s, more than the 1 s that this model hears; cut it, or pass truncate=True "
        "(--truncate), which takes its beginning"
    )
    with pytest.raises(m2ib.InputError, match=r"^audio lasts 1\.000125 s, more than the 1 s"):
        models["unfused"].item("audio", (noise(SAMPLES + 1), RATE))


def test_a_long_sound_is_cut_where_that_is_asked_for(models: dict[str, m2ib.Model]) -> None:
    item = models["unfused"].item("audio", (noise(SAMPLES + 4000), RATE), truncate=True)
    start = models["unfused"].item("audio", (noise(SAMPLES + 4000)[:SAMPLES], RATE))
    assert torch.equal(features(item.inputs), features(start.inputs))
    assert item.origin["truncated"] is True
    assert start.origin["truncated"] is False
    assert item.origin["heard"] == "the first 1 s of 1.5 s"
    assert item.origin["seconds"] == 1.5
    assert view_of(item).length == 1


@pytest.mark.parametrize(
    ("padding", "fused", "samples", "shown"),
    [
        ("repeatpad", False, 2500, "a sound of 0.3125 s, 3 times in a row"),
        ("repeat", False, 2500, "a sound of 0.3125 s, 3 times and a part of it in a row"),
        ("repeat", False, 2000, "a sound of 0.25 s, 4 times in a row"),
        ("pad", False, 2500, "the whole sound"),
        ("repeatpad", False, SAMPLES, "the whole sound"),
        ("repeatpad", False, 4 * SAMPLES, "the first 1 s of 4 s"),
        ("repeatpad", True, 2500, "a sound of 0.3125 s, 3 times in a row"),
        ("repeatpad", True, 4 * SAMPLES, "the whole sound"),
        ("repeatpad", True, 601 * SAMPLES, "the first 600 s of 601 s"),
    ],
)
def test_what_is_shown_is_called_what_it_is(
    models: dict[str, m2ib.Model], padding: str, fused: bool, samples: int, shown: str
) -> None:
    model = models["fused" if fused else "unfused"]
    tower = tower_of(model.module, "clap")
    prepared = SoundPreparation(LogMel(extractor(fused, padding=padding), fused), tower)
    view = view_of(prepared.prepare((noise(samples), RATE), truncate=True))
    assert view.shown == shown
    heard = min(samples, 600 * SAMPLES if fused else SAMPLES)
    assert (view.length > heard / RATE) == (
        "in a row" in shown
    )  # what is shown is longer than the sound only there


def test_the_page_says_how_much_of_a_sound_it_shows(models: dict[str, m2ib.Model], tmp_path: Path) -> None:
    sound = (noise(4 * SAMPLES), RATE)
    explained = m2ib.explain(models["unfused"], audio=sound, text="a dog", truncate=True, steps=1)
    html = explained.to_html(tmp_path / "page.html").read_text()
    assert "the first 1 s of 4 s, shaded by" in html
    assert "the whole sound" not in html


def test_warnings(models: dict[str, m2ib.Model]) -> None:
    model = models["unfused"]
    with pytest.warns(m2ib.M2IBWarning, match=r"^audio is silent; the map shows nothing about sound$"):
        item = model.item("audio", (np.zeros(2000, np.float32), RATE))
    assert item.origin["warnings"] == ["audio is silent; the map shows nothing about sound"]
    assert float(features(item.inputs).min()) == float(features(item.inputs).max()) == SILENCE
    opposite = np.stack([noise(2000), -noise(2000)])
    with pytest.warns(m2ib.M2IBWarning, match=r"^audio is silent once its channels are averaged; the map"):
        model.item("audio", (opposite, RATE))
    with pytest.warns(
        m2ib.M2IBWarning, match=r"^audio: its samples lie in \[-.*\], where the model was made for \[-1, 1\]"
    ):
        model.item("audio", (noise(2000) * 3000, RATE))


def test_a_preprocessed_tensor(model: m2ib.Model) -> None:
    tensor = features(model.preprocess("audio", [(noise(2500), RATE)]))[0]
    item = model.item("audio", tensor)
    assert torch.equal(features(item.inputs), tensor)
    assert item.layout.axes == model.item("audio", (noise(2500), RATE)).layout.axes
    view = view_of(item)
    assert view.waveform.size == view.envelope.size == 0
    assert (
        view.frames[0] == 7500 // HOP + 1 + (256 + HOP - 1) // HOP - 1
    )  # half a window more than has sound in its middle
    pair = m2ib.explain(model, audio=tensor, text="tone", steps=1, samples=1, show_progress=False)
    raw = m2ib.explain(model, audio=(noise(2500), RATE), text="tone", steps=1, samples=1, show_progress=False)
    np.testing.assert_array_equal(pair["audio"].grid, raw["audio"].grid)


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (torch.zeros(FRAMES, BANDS), f"({FRAMES}, {BANDS}) torch.float32"),
        (torch.zeros(1, FRAMES - 1, BANDS), f"(1, {FRAMES - 1}, {BANDS}) torch.float32"),
        (torch.zeros(1, FRAMES, BANDS, dtype=torch.long), f"(1, {FRAMES}, {BANDS}) torch.int64"),
    ],
)
def test_a_tensor_of_another_shape(models: dict[str, m2ib.Model], tensor: Tensor, told: str) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        models["unfused"].item("audio", tensor)
    assert str(caught.value) == (
        f"audio: a preprocessed tensor of this model has the shape (1, {FRAMES}, {BANDS}), floating point, not {told}"
    )


@pytest.mark.parametrize("raw", ["missing.wav", 3, (np.zeros(10),)])
def test_no_sound_at_all(model: m2ib.Model, raw: Any) -> None:
    with pytest.raises(
        m2ib.InputError, match=r"does not exist; check the path|give a path, or \(waveform, rate\)"
    ):
        model.item("audio", raw)


def test_the_public_checkpoints_grid(tmp_path: Path) -> None:
    """Their audio settings: 16 x 256 cells of 39 ms at the stem, 4 x 64 where they are explained by default."""
    folder = save_clap(
        tmp_path,
        spec_size=256,
        window_size=8,
        depths=(2, 2, 6, 2),
        num_attention_heads=(1, 2, 4, 4),
        hidden_size=64,
    )
    made = extractor(
        False, sampling_rate=48000, hop_length=480, max_length_s=10, fft_window_size=1024, frequency_max=14000
    )
    made.save_pretrained(folder)
    model = m2ib.load_model("clap", checkpoint=folder, device="cpu")
    pair = m2ib.explain(
        model, audio=(noise(96000), 48000), text="tone", steps=1, samples=1, show_progress=False
    )
    assert pair["audio"].grid.shape == (4, 64)
    assert pair["audio"].settings["layer"] == 9
    axes = model.item("audio", (noise(96000), 48000)).layout.axes
    assert tuple(len(axis.spans) for axis in axes) == (16, 256)
    start, end = axes[1].spans[100]
    assert end - start == pytest.approx(4 * 1000 / 1023 * 0.01)
