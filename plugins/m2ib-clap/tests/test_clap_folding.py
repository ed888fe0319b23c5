"""Rows are frequencies, the lowest first, and columns are times: at the stem, and from stage to stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
from clap_checkpoint import BANDS, FRAMES, HOP, RATE, SAMPLES, save_clap, transformers_of
from m2ib_clap.folding import Folding, tower_of, under


def passing(module: Any, run: Any) -> Any:
    """What a module gives when ``run()`` runs."""
    seen: list[Any] = []
    handle = module.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        run()
    handle.remove()
    (output,) = seen
    return output


def stem(model: m2ib.Model, inputs: Any) -> Tensor:
    """(frequencies, times, C) of one input."""
    layer = model.encoder("audio").layer(-1)
    grid: Tensor = layer.read(passing(layer.module, lambda: model.encoder("audio").embed(inputs)))[0]
    return grid


def moved(before: Tensor, after: Tensor) -> Tensor:
    """(cells...) how far each cell is from where it was."""
    far: Tensor = (after - before).norm(dim=-1)
    return far


@pytest.mark.parametrize(("bands", "side"), [(64, 128), (16, 64), (64, 256)])
def test_unfolding_undoes_what_transformers_folds(tmp_path: Path, bands: int, side: int) -> None:
    """Every sample of a spectrogram is told by its number, in the square as in the grid."""
    folder = save_clap(tmp_path, num_mel_bins=bands, spec_size=side, window_size=2)
    encoder = transformers_of(
        m2ib.load_model("clap", checkpoint=folder, device="cpu")
    ).audio_model.audio_encoder
    chunks = side // bands
    numbers = torch.arange(side * chunks * bands, dtype=torch.float32).reshape(1, 1, side * chunks, bands)
    square = encoder.reshape_mel2img(numbers)  # (1, 1, side, side)
    folding = Folding(chunks, bands, side)
    rows = square.flatten(2).transpose(1, 2)  # (1, side * side, 1)
    grid = folding.unfold(rows)  # (1, bands, frames, 1)
    assert torch.equal(grid[0, :, :, 0], numbers[0, 0].T)
    assert torch.equal(folding.fold(grid), rows)
    several = torch.randn(3, chunks * 2 * 5, 7)
    small = Folding(chunks, 2, 5)
    assert small.unfold(several).shape == (3, 2, chunks * 5, 7)
    assert torch.equal(small.fold(small.unfold(several)), several)


@pytest.mark.parametrize("band", [0, 3, 4, 31, 63])
@pytest.mark.parametrize("frame", [0, 1, 37, 99, 100, 101, 150, 199, 200])
def test_one_sample_of_the_spectrogram_moves_its_own_cell(
    models: dict[str, m2ib.Model], band: int, frame: int
) -> None:
    model = models["unfused"]
    inputs = model.preprocess("audio", [(np.random.default_rng(0).normal(0, 0.1, SAMPLES), RATE)])
    assert isinstance(inputs, Tensor)
    other = inputs.clone()
    other[0, 0, frame, band] += 30  # dB
    far = moved(stem(model, inputs), stem(model, other))  # (16, 64)
    assert far.shape == (16, 64)
    axes = model.item("audio", (np.zeros(SAMPLES) + np.eye(1, SAMPLES)[0], RATE)).layout.axes
    moment = frame * HOP / RATE
    here = [n for n, (start, end) in enumerate(axes[1].spans) if start <= moment <= end]
    rows, columns = (set(far.nonzero()[:, axis].tolist()) for axis in (0, 1))
    assert rows == {band // 4}
    assert here
    assert set(here) <= columns
    assert columns <= {n + step for n in here for step in (-1, 0, 1)}  # stretching mixes neighbouring frames
    assert int(far.max(0).values.argmax()) in {n + step for n in here for step in (-1, 0, 1)}


@pytest.mark.parametrize("hertz", [200.0, 700.0, 1500.0, 3000.0])
def test_a_tone_moves_the_row_of_its_pitch(model: m2ib.Model, kind: str, hertz: float) -> None:
    hiss = np.random.default_rng(0).normal(0, 1e-3, SAMPLES)
    times = np.arange(SAMPLES) / RATE
    plain, toned = ((hiss + amount * np.sin(2 * np.pi * hertz * times), RATE) for amount in (0, 0.5))
    far = moved(*(stem(model, model.preprocess("audio", [raw])) for raw in (plain, toned)))
    spans = model.item("audio", toned).layout.axes[0].spans
    here = {row for row, (low, high) in enumerate(spans) if low <= hertz <= high}
    near = (
        1 if kind == "fused" else 0
    )  # fusion weighs each cell by the mean over all, so that none stays where it was
    assert min(abs(int(far.sum(1).argmax()) - row) for row in here) <= near


@pytest.mark.parametrize("moment", [0.05, 0.31, 0.5, 0.52, 0.9])
def test_a_burst_moves_the_column_of_its_time(models: dict[str, m2ib.Model], moment: float) -> None:
    model = models["unfused"]
    hiss = np.random.default_rng(0).normal(0, 1e-3, SAMPLES)
    burst = hiss.copy()
    burst[int((moment - 0.01) * RATE) : int((moment + 0.01) * RATE)] *= 500
    far = moved(*(stem(model, model.preprocess("audio", [(wave, RATE)])) for wave in (hiss, burst)))
    heavy = far.sum(0).numpy()  # (64,)
    middles = np.array([sum(span) / 2 for span in model.item("audio", (burst, RATE)).layout.axes[1].spans])
    assert abs((heavy * middles).sum() / heavy.sum() - moment) < 0.01
    assert heavy[np.abs(middles - moment) > 0.06].max() == 0  # a window is 0.064 s long


@pytest.mark.parametrize("stage", [0, 1])
def test_a_stage_joins_two_by_two_cells(model: m2ib.Model, stage: int) -> None:
    """One cell after a stage's last block moves one cell before the next stage's first, at half its place."""
    encoder = model.encoder("audio")
    last, first = ((0, 1), (2, 3))[stage]
    inputs = model.preprocess("audio", [(np.random.default_rng(0).normal(0, 0.1, SAMPLES), RATE)])
    before, after = encoder.blocks[last], encoder.blocks[first]

    def entering(change: Tensor | None) -> Tensor:
        seen: list[Tensor] = []
        hooks = [
            after.module.register_forward_pre_hook(lambda module, args: seen.append(after.read(args[0])[0]))
        ]
        if change is not None:
            hooks.append(
                before.module.register_forward_hook(
                    lambda module, args, output: before.write(output, before.read(output) + change)
                )
            )
        with torch.no_grad():
            encoder.embed(inputs)
        for hook in hooks:
            hook.remove()
        return seen[0]

    plain = entering(None)
    frequencies, times, channels = passing_shape(encoder, last, inputs)
    for place in [(0, 0), (3, 5), (1, times // 2 - 1), (1, times // 2), (frequencies - 1, times - 1)]:
        change = torch.zeros(1, frequencies, times, channels)
        change[0][place] = torch.linspace(-1, 1, channels)
        far = moved(plain, entering(change))
        assert far.nonzero().tolist() == [[place[0] // 2, place[1] // 2]]


def passing_shape(encoder: m2ib.Encoder, number: int, inputs: Any) -> tuple[int, int, int]:
    layer = encoder.blocks[number]
    grid = layer.read(passing(layer.module, lambda: encoder.embed(inputs)))
    return grid.shape[1], grid.shape[2], grid.shape[3]


def test_what_lies_under_a_cell() -> None:
    assert under(4, 2, 8, 8) == [(-0.5, 1.5), (1.5, 3.5), (3.5, 5.5), (5.5, 7.5)]
    first, *_, last = under(64, 4, 256, FRAMES)
    assert first == pytest.approx((-0.5 * 200 / 255, 3.5 * 200 / 255))
    assert last[1] == pytest.approx(255.5 * 200 / 255)


def test_an_architecture_that_cannot_be_unfolded(tmp_path: Path) -> None:
    folder = save_clap(
        tmp_path, spec_size=160, depths=(1, 1, 1, 1), num_attention_heads=(1, 2, 4, 4), hidden_size=64
    )
    with pytest.raises(m2ib.CheckpointError) as caught:
        m2ib.load_model("clap", checkpoint=folder, device="cpu")
    assert str(caught.value) == (
        f"clap: checkpoint {str(folder)!r} has an audio tower whose stage 3 has 5 x 5 cells of a spectrogram that is folded "
        "2 times into 160 x 160: its cells cannot be told apart by frequency and time; use one whose spec_size is a "
        "multiple of chunks, patch_stride and 2 to the number of stages"
    )


def test_the_tower_tells_its_grid(model: m2ib.Model) -> None:
    tower = tower_of(model.module, "x")
    assert (tower.bands, tower.frames, tower.stride, tower.grid) == (BANDS, 256, (4, 4), (16, 64))
    assert tower.stages == (1, 2, 1)
    assert [layer.name for layer in tower.blocks][1:3] == [
        f"audio_model.audio_encoder.layers.1.blocks.{number}" for number in (0, 1)
    ]
