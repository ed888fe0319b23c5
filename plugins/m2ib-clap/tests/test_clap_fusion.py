"""With fusion: the whole of a long sound and three parts of it, always the same ones; and parts taken out of all four."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
from clap_checkpoint import BANDS, FRAMES, HOP, RATE, SAMPLES, processor, transformers_of
from m2ib.renderers import SoundView
from m2ib_clap.degradation import FadingViews
from m2ib_clap.spectrograms import SILENCE


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


@pytest.fixture
def fused(models: dict[str, m2ib.Model]) -> m2ib.Model:
    return models["fused"]


def inputs_of(model: m2ib.Model, samples: int) -> dict[str, torch.Tensor]:
    inputs = model.item("audio", (noise(samples), RATE)).inputs
    assert isinstance(inputs, dict)
    return inputs


def middle(choices: Any) -> Any:
    """In the place of transformers' draw."""
    return choices[len(choices) // 2]


@pytest.mark.parametrize(
    "samples", [SAMPLES + HOP, SAMPLES + 2 * HOP, SAMPLES + 9 * HOP + 7, 3 * SAMPLES, 5 * SAMPLES + 1]
)
def test_a_long_sound_is_what_transformers_makes_with_the_middle_parts(
    fused: m2ib.Model, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    monkeypatch.setattr(np.random, "choice", middle)
    wanted = processor(folders["fused"])(audio=noise(samples), sampling_rate=RATE, return_tensors="pt")
    inputs = inputs_of(fused, samples)
    torch.testing.assert_close(inputs["input_features"], wanted["input_features"][0], rtol=0, atol=1e-5)
    with torch.no_grad():
        embedding = transformers_of(fused).get_audio_features(**wanted).pooler_output
    given = fused.embed("audio", fused.preprocess("audio", [(noise(samples), RATE)]))
    torch.testing.assert_close(given, embedding, rtol=0, atol=2e-6)


@pytest.mark.parametrize("samples", [SAMPLES + 1, SAMPLES + HOP - 1])
def test_longer_by_less_than_a_frame(fused: m2ib.Model, folders: dict[str, Path], samples: int) -> None:
    wanted = processor(folders["fused"])(audio=noise(samples), sampling_rate=RATE, return_tensors="pt")
    inputs = inputs_of(fused, samples)
    assert torch.equal(inputs["input_features"], wanted["input_features"][0])
    assert inputs["frames"].tolist() == [FRAMES, 0, 0, 0]


def test_where_the_parts_begin(fused: m2ib.Model) -> None:
    item = fused.item("audio", (noise(3 * SAMPLES), RATE))
    assert isinstance(item.inputs, dict)
    total = 3 * SAMPLES // HOP + 1  # frames; a part can begin at 0 .. 400, thirds of 134, 134 and 133
    assert item.inputs["frames"].tolist() == [total, 67, 134 + 67, 268 + 66]
    assert item.origin["parts"] == [[0.335, 1.335], [1.005, 2.005], [1.67, 2.67]]
    assert item.origin["heard"] == (
        "shrunk to 1 s, and mixed into that three parts of 1 s, from 0.34, 1.00, 1.67 s on: the map's times are those of "
        "the shrunk whole"
    )
    assert item.origin["truncated"] is False
    # One place more than frames in a view: two places, and the last third is empty.
    assert inputs_of(fused, SAMPLES + HOP)["frames"].tolist() == [FRAMES + 1, 0, 1, 0]


def test_times_of_a_long_sound_reach_to_its_end(fused: m2ib.Model) -> None:
    item = fused.item("audio", (noise(3 * SAMPLES), RATE))
    spans = np.array(item.layout.axes[1].spans)
    assert (spans[0, 0], spans[-1, 1]) == (0, 3)
    total = 3 * SAMPLES // HOP + 1
    np.testing.assert_allclose(np.diff(spans[1:-1, 0]), 4 * 200 / 255 * total / FRAMES * HOP / RATE)
    view = item.view
    assert isinstance(view, SoundView)
    assert view.clips == view.played == ((0.0, 3.0),)
    assert view.frames == (FRAMES,)
    assert view.step * FRAMES == pytest.approx(total * HOP / RATE)
    assert len(view.waveform) == 3 * SAMPLES


def changed_at(fused: m2ib.Model, *pair: m2ib.Inputs) -> torch.Tensor:
    """(64 times,) how much the stem's output differs between two inputs."""
    layer = fused.encoder("audio").layer(-1)
    seen = []
    handle = layer.module.register_forward_hook(
        lambda module, args, output: seen.append(layer.read(output)[0])
    )
    for inputs in pair:
        fused.embed("audio", inputs)
    handle.remove()
    moved: torch.Tensor = (seen[1] - seen[0]).norm(dim=-1).sum(0)
    return moved


def test_a_burst_of_a_long_sound_moves_its_own_time(fused: m2ib.Model) -> None:
    """In the whole one's view; the parts are kept as they were."""
    hiss = np.random.default_rng(0).normal(0, 1e-3, 3 * SAMPLES)
    burst = hiss.copy()
    burst[int(2.15 * RATE) : int(2.25 * RATE)] *= 500
    plain, loud = (fused.preprocess("audio", [(wave, RATE)]) for wave in (hiss, burst))
    assert isinstance(plain, dict)
    assert isinstance(loud, dict)
    loud["input_features"][:, 1:] = plain["input_features"][:, 1:]
    heavy = changed_at(fused, plain, loud)
    spans = fused.item("audio", (burst, RATE)).layout.axes[1].spans
    for column in heavy.topk(2).indices.tolist():
        assert 2.1 < sum(spans[column]) / 2 < 2.3


def test_parts_are_mixed_in_at_other_times(fused: m2ib.Model) -> None:
    """What the README warns of: frame i of part n is in columns 21 n on of the chunk that i falls into."""
    inputs = fused.preprocess("audio", [(noise(3 * SAMPLES), RATE)])
    assert isinstance(inputs, dict)
    other = {name: tensor.clone() for name, tensor in inputs.items()}
    other["input_features"][0, 2, 0:4] += 40  # the first frames of the second part
    heavy = changed_at(fused, inputs, other)
    # A chunk has 32 columns; its parts have 128 // 12 = 10 each, side by side: the second one's begin at the tenth.
    assert int(heavy.argmax()) == 10


def test_a_sound_beyond_all_bounds(fused: m2ib.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        fused.item("audio", (np.zeros(RATE * 601, np.int16), RATE))
    assert str(caught.value) == (
        "audio lasts 601 s, more than the 600 s that this model is given at once; cut it, or pass truncate=True "
        "(--truncate), which takes its beginning"
    )
    monkeypatch.setattr("m2ib_clap.sounds.LONGEST", 2)
    item = fused.item("audio", (noise(3 * SAMPLES), RATE), truncate=True)
    start = fused.item("audio", (noise(3 * SAMPLES)[: 2 * SAMPLES], RATE))
    assert isinstance(item.inputs, dict)
    assert isinstance(start.inputs, dict)
    assert torch.equal(item.inputs["input_features"], start.inputs["input_features"])
    assert item.origin["heard"].startswith("the first 2 s of 3 s; shrunk to 1 s")


def test_of_a_very_long_sound_the_parts_are_played(fused: m2ib.Model) -> None:
    sound = noise(45 * RATE)
    item = fused.item("audio", (sound, RATE))
    view, parts = item.view, item.origin["parts"]
    assert isinstance(view, SoundView)
    assert [list(part) for part in view.played] == parts
    assert len(view.waveform) == 3 * SAMPLES
    first = round(parts[1][0] * RATE)
    np.testing.assert_allclose(
        view.waveform[SAMPLES : 2 * SAMPLES], sound[first : first + SAMPLES], rtol=1e-6
    )


def test_a_tensor_of_four_views(fused: m2ib.Model) -> None:
    tensor = inputs_of(fused, 3 * SAMPLES)["input_features"]
    with pytest.raises(m2ib.InputError) as caught:
        fused.item("audio", tensor)
    assert str(caught.value) == (
        "audio: the four views of this preprocessed tensor differ, as of a long sound, and where they are in it is not "
        "known; give the sound itself"
    )
    with pytest.raises(
        m2ib.InputError, match=rf"has the shape \(4, {FRAMES}, {BANDS}\), floating point, not \(1, "
    ):
        fused.item("audio", tensor[:1])
    short = inputs_of(fused, 2500)
    item = fused.item("audio", short["input_features"])
    assert isinstance(item.inputs, dict)
    assert torch.equal(item.inputs["frames"], short["frames"])


@pytest.mark.parametrize("samples", [2500, 3 * SAMPLES, 3 * SAMPLES + 777])
def test_what_is_taken_out_of_the_whole_is_out_of_the_parts(fused: m2ib.Model, samples: int) -> None:
    """Frame by frame, against where each lies in the sound."""
    item = fused.item("audio", (noise(samples), RATE))
    inputs = fused.collate_one(item.inputs)
    assert isinstance(inputs, dict)
    degradation = fused.encoder("audio").degradation
    assert isinstance(degradation, FadingViews)
    assert degradation.positions(inputs, (8, 32)) == (BANDS, FRAMES)
    keep = torch.rand(2, BANDS, FRAMES, generator=torch.Generator().manual_seed(0))
    given = degradation.apply(inputs, keep, item.layout)
    assert isinstance(given, dict)
    assert torch.equal(given["frames"], inputs["frames"].expand(2, -1))
    total, *starts = inputs["frames"][0].tolist()
    for view, start in enumerate([None, *starts]):
        for frame in range(FRAMES):
            moment = frame + 0.5 if start is None else (start + frame + 0.5) * FRAMES / total
            kept = keep[:, :, min(int(moment), FRAMES - 1)]  # (2, bands)
            wanted = SILENCE + (inputs["input_features"][0, view, frame] - SILENCE) * kept
            torch.testing.assert_close(given["input_features"][:, view, frame], wanted)


def test_maps_and_inputs_that_do_not_fit(fused: m2ib.Model) -> None:
    inputs = fused.preprocess("audio", [(noise(2500), RATE)])
    with pytest.raises(m2ib.InputError) as caught:
        FadingViews().positions(inputs, (65, 32))
    assert (
        str(caught.value)
        == "degradation: a sound of 64 bands and 201 frames does not fit a map of (65, 32) cells"
    )
    with pytest.raises(m2ib.InputError) as caught:
        FadingViews().positions(torch.zeros(1, 4, FRAMES, BANDS), (8, 32))
    assert (
        str(caught.value) == "degradation: an input of CLAP with fusion holds 'input_features' and 'frames'"
    )


def test_without_fusion_hidden_columns_are_silent(models: dict[str, m2ib.Model]) -> None:
    model = models["unfused"]
    item = model.item("audio", (noise(SAMPLES), RATE))
    inputs = model.collate_one(item.inputs)
    assert isinstance(inputs, torch.Tensor)
    degradation = model.encoder("audio").degradation
    assert degradation is not None
    assert degradation.positions(inputs, (8, 32)) == (BANDS, FRAMES)
    keep = torch.ones(1, BANDS, FRAMES)
    keep[:, :8, 50:60] = 0
    given = degradation.apply(inputs, keep, item.layout)
    assert isinstance(given, torch.Tensor)
    assert (given[0, 0, 50:60, :8] == SILENCE).all()
    given[0, 0, 50:60, :8] = inputs[0, 0, 50:60, :8]
    torch.testing.assert_close(given, inputs)


@pytest.mark.parametrize("method", ["rise", "kernelshap"])
def test_methods_that_hide(model: m2ib.Model, method: str) -> None:
    sound = (noise(SAMPLES), RATE)
    pair = m2ib.explain(model, audio=sound, text="a dog barking", method=method, masks=8, show_progress=False)
    grid = pair["audio"].grid
    assert grid.shape == (8, 32)
    assert np.ptp(grid) > 0
