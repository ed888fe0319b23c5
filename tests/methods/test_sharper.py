"""The settings beyond the paper's method, against the textbook loop of `naive.py`, and what becomes of finer grids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import m2ib
import naive
from m2ib.activations.reference import References
from m2ib.cli import main
from m2ib.contract.layout import Axis, Layout, axes_at, refined
from m2ib.contract.settings import resolve
from m2ib.methods.bottleneck.settings import SETTINGS
from m2ib.methods.bottleneck.shifts import Shifts, offsets
from m2ib.methods.bottleneck.smooth import smoothed
from m2ib.page.explanation import render_page
from tiny_clip import END, START
from toy import EXAMPLES, save_clip_with_words, toy_model

IDS = torch.tensor([START, 5, 60, 7, 8, 41, END])
SHORT = torch.tensor([START, 9, END])
FEW: dict[str, Any] = {"steps": 4, "samples": 3}


def pixels(size: int = 32, seed: int = 1) -> Tensor:
    return torch.randn(3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def error(found: np.ndarray, expected: Any) -> float:
    expected = np.asarray(expected).reshape(found.shape)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


class Side:
    """One side of the tiny CLIP by the model's own calls."""

    def __init__(self, model: m2ib.Model, side: str, layer: int) -> None:
        module: Any = model.module
        self.side = side
        self.get = module.get_image_features if side == "image" else module.get_text_features
        tower = module.vision_model if side == "image" else module.text_model
        self.block = tower.encoder.layers[max(layer, 0)]
        self.at = "input" if layer == -1 else "output"

    def embed(self, x: Tensor) -> Tensor:
        return self.get(**{"pixel_values" if self.side == "image" else "input_ids": x[None]}).pooler_output

    def target(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.embed(x)

    def activation(self, x: Tensor) -> Tensor:
        return naive.read_layer(lambda: self.embed(x), self.block, at=self.at)

    def capacity(self, x: Tensor, target: Tensor, **settings: Any) -> Tensor:
        settings = {"beta": 0.1, "variance": 1.0, **settings}
        return naive.capacity(lambda: self.embed(x), self.block, target, at=self.at, **settings)


def sides(model: m2ib.Model, layer: int) -> dict[str, Side]:
    return {side: Side(model, side, layer) for side in ("image", "text")}


# One lambda for each position, standardised activations, noise in pairs.


@pytest.mark.parametrize("layer", [-1, 1])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("granularity", ["element", "token"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize(("noise", "samples"), [("independent", 3), ("antithetic", 4), ("antithetic", 3)])
def test_each_setting_equals_the_textbook_loop(
    clip64: m2ib.Model,
    layer: int,
    fast: bool,
    granularity: Any,
    standardize: bool,
    noise: Any,
    samples: int,
) -> None:
    image = pixels()
    reference = {"image": [pixels(seed=7), pixels(seed=8)], "text": [IDS, SHORT]}
    common: dict[str, Any] = {
        "seed": 3, "steps": 4, "samples": samples, "variance": 0.5, "granularity": granularity
    }  # fmt: skip
    flags: dict[str, Any] = {"fast": fast, "standardize": standardize, "noise": noise}
    given = {"image": image, "text": IDS}
    usual_inputs = reference if standardize else None
    exp = m2ib.explain(clip64, **given, layer=layer, reference=usual_inputs, **flags, **common)
    both = sides(clip64, layer)
    for side, other in (("image", "text"), ("text", "image")):
        usual = naive.usual([both[side].activation(x) for x in reference[side]]) if standardize else None
        expected = both[side].capacity(
            given[side],
            both[other].target(given[other]),
            statistics=usual,
            antithetic=noise == "antithetic",
            **common,
        )
        assert error(exp[side].capacity, expected) <= 1e-9
        assert exp[side].settings["granularity"] == granularity
        assert exp[side].settings["noise"] == noise
        assert exp[side].settings["standardize"] is standardize
    source = {"inputs": 2, "from": "given"}
    expected_source = {"image": source, "text": source} if standardize else None
    assert exp.provenance.get("reference") == expected_source


def test_maps_of_channels_first_equal_the_textbook_loop(photo64: m2ib.Model) -> None:
    image, reference = pixels(64), [pixels(64, 7), pixels(64, 8)]
    module: Any = photo64.module
    blocks = [block for stage in module.image.blocks for block in stage]

    def embed(x: Tensor) -> Tensor:
        return module.image.forward_features(x[None]).mean((2, 3))

    exp = m2ib.explain(
        photo64,
        ("image", image),
        ("image", reference[0]),
        layer=14,
        granularity="token",
        standardize=True,
        noise="antithetic",
        smooth=0,
        reference={"image": reference},
        **FEW,
    )
    with torch.no_grad():
        target = embed(reference[0])
    usual = naive.usual([naive.read_layer(lambda x=x: embed(x), blocks[14]) for x in reference], 1)
    expected = naive.capacity(
        lambda: embed(image),
        blocks[14],
        target,
        beta=0.1,
        variance=1.0,
        channel_axis=1,
        granularity="token",
        statistics=usual,
        antithetic=True,
        **FEW,
    )
    assert error(exp[0].grid, expected) <= 1e-9


def test_padding_has_no_part_in_the_statistics(clip64: m2ib.Model) -> None:
    longer = torch.cat([SHORT, torch.full((6,), END)])
    options: Any = {"standardize": {"text": True}, "layer": 1, **FEW}
    one, other = (
        m2ib.explain(clip64, image=pixels(), text=IDS, reference={"text": [IDS, text]}, **options)
        for text in (SHORT, longer)
    )
    np.testing.assert_array_equal(one["text"].grid, other["text"].grid)
    assert one["image"].settings["standardize"] is False


def test_a_channel_that_never_moves_is_not_blown_up() -> None:
    model = toy_model()
    with torch.no_grad():
        model.module.words.weight[:, 3] = 1.0
    found = References({"text": EXAMPLES["text"]}).statistics(model, "text", -1)
    assert found.mean[3] == 1.0
    assert found.std[3] == 0.01 < found.std[[0, 1, 2]].min()
    options: Any = {
        "standardize": {"text": True},
        "reference": {"text": EXAMPLES["text"]},
        "layer": -1,
        **FEW,
    }
    exp = m2ib.explain(model, image=EXAMPLES["image"][0], text="a dog", **options)
    assert np.isfinite(exp["text"].grid).all()


def test_the_adapters_reference_is_used_once_and_forgotten_with_the_weights() -> None:
    calls = []

    def reference() -> Sequence[Any]:
        calls.append(1)
        return EXAMPLES["text"]

    model = toy_model(text=lambda e: replace(e, reference=reference))
    options: Any = {"standardize": {"text": True}, **FEW}
    pair = {"image": EXAMPLES["image"][0], "text": "a dog"}
    first = m2ib.explain(model, **pair, **options)
    again = m2ib.explain(model, **pair, **options)
    assert len(calls) == 1
    assert first.provenance["reference"] == {"text": {"inputs": 2, "from": "the adapter's"}}
    settings = {name: {"text": value} for name, value in first["text"].settings.items()}
    once_more = m2ib.explain(model, **pair, **(settings | {"steps": FEW["steps"], "samples": FEW["samples"]}))
    np.testing.assert_array_equal(first["text"].grid, once_more["text"].grid)
    np.testing.assert_array_equal(first["text"].grid, again["text"].grid)
    given = m2ib.explain(model, **pair, reference={"text": EXAMPLES["text"]}, **options)
    np.testing.assert_array_equal(first["text"].grid, given["text"].grid)
    other = m2ib.explain(model, **pair, reference={"text": ["a cat on a mat"]}, **options)
    assert not np.array_equal(first["text"].grid, other["text"].grid)
    m2ib.explain(model, **pair, layer={"text": 0}, **options)
    assert len(calls) == 2  # of another layer
    with torch.no_grad():
        next(model.module.parameters()).mul_(1.5)
    m2ib.explain(model, **pair, **options)
    assert len(calls) == 3


def test_given_references_are_run_once_for_many_pairs() -> None:
    prepared = []

    def counting(encoder: m2ib.Encoder) -> m2ib.Encoder:
        def prepare(raw: Any, *, truncate: bool = False) -> m2ib.Item:
            prepared.append(raw)
            return encoder.prepare(raw, truncate=truncate)

        return replace(encoder, prepare=prepare)

    pairs = [{"image": EXAMPLES["image"][0], "text": text} for text in ("a dog", "a cat", "a bee")]
    options: Any = {"standardize": {"text": True}, "reference": {"text": ["one", "two words"]}, **FEW}
    assert len(list(m2ib.explain_many(toy_model(text=counting), pairs, batch_size=1, **options))) == 3
    assert sorted(prepared) == ["a bee", "a cat", "a dog", "one", "two words"]


# Shifts.


@pytest.mark.parametrize(("shifts", "counts"), [(4, (2, 2)), (9, (3, 3)), ((1, 4), (1, 4))])
def test_shifts_equal_a_loop_over_shifted_images(
    clip64: m2ib.Model, shifts: Any, counts: tuple[int, int]
) -> None:
    image, step = pixels(), (8, 8)
    exp = m2ib.explain(
        clip64, image=image, text=IDS, layer=1, shifts={"image": shifts}, granularity="token", **FEW
    )
    both = sides(clip64, 1)
    maps, whole, target = {}, [], both["text"].target(IDS)
    for down, right in itertools.product(*(naive.offsets(8, n) for n in counts)):
        shifted = naive.moved(naive.moved(image, 1, down), 2, right)
        nats = both["image"].capacity(shifted, target, granularity="token", **FEW)
        whole.append(nats)
        maps[down, right] = nats[1:].reshape(4, 4)
    a = exp["image"]
    assert len(maps) == np.prod(counts)
    assert a.grid.shape == (4 * counts[0], 4 * counts[1])
    cells = itertools.product(*map(range, a.grid.shape))
    assert error(a.grid, [naive.fine_cell(maps, cell, counts, step) for cell in cells]) <= 1e-9
    assert error(a.capacity, torch.stack(whole).mean(0)) <= 1e-9
    assert a.settings["shifts"] == (shifts if isinstance(shifts, int) else list(shifts))
    # The other side, and the similarity, are those of the image as it is.
    plain = m2ib.explain(clip64, image=image, text=IDS, layer=1, granularity="token", **FEW)
    assert exp.similarity == pytest.approx(plain.similarity, abs=1e-12)
    assert error(exp["text"].grid, plain["text"].grid) <= 1e-9


def test_one_shift_is_none(clip64: m2ib.Model) -> None:
    options: Any = {"image": pixels(), "text": IDS, "layer": 1, **FEW}
    plain = m2ib.explain(clip64, **options)
    for shifts in (1, (1, 1), {"text": 1}):
        one = m2ib.explain(clip64, shifts=shifts, **options)
        np.testing.assert_array_equal(one["image"].grid, plain["image"].grid)
        assert dict(one["image"].settings) == dict(plain["image"].settings)


def test_the_curve_is_the_mean_over_the_shifts(clip64: m2ib.Model) -> None:
    image = pixels()
    exp = m2ib.explain(clip64, image=image, text=IDS, layer=1, shifts=(1, 2), steps=2, samples=2)
    alone = [
        m2ib.explain(
            clip64, ("image", naive.moved(image, 2, offset)), ("text", IDS), layer=1, steps=2, samples=2
        )
        for offset in offsets(8, 2)
    ]
    expected = np.mean([one["image"].curve.information for one in alone], axis=0)
    np.testing.assert_allclose(exp["image"].curve.information, expected, rtol=1e-12)


def test_a_contrast_has_two_finer_grids(clip64: m2ib.Model) -> None:
    exp = m2ib.explain(clip64, image=pixels(), text=m2ib.contrast(IDS, SHORT), layer=1, shifts=4, **FEW)
    assert exp["image"].against is not None
    assert exp["image"].against.shape == exp["image"].grid.shape == (8, 8)
    assert not np.allclose(exp["image"].against, exp["image"].grid)


def random_maps(seed: int, counts: tuple[int, ...], cells: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).random((*counts, *cells))


def fine(counts: tuple[int, ...], stride: tuple[int, ...], maps: np.ndarray) -> np.ndarray:
    cells = maps.shape[len(counts) :]
    return Shifts(counts, stride).grid(Layout(cells), list(maps.reshape(-1, *cells)))


@given(step=st.integers(1, 32), data=st.data())
def test_offsets_are_whole_distinct_and_around_0(step: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, step))
    found = offsets(step, count)
    assert len(found) == count
    assert list(found) == sorted(set(found))
    assert 0 in found
    assert max(found) - min(found) < step
    assert 0 <= max(found) + min(found) <= -(-step // count)
    assert list(found) == naive.offsets(step, count)
    still = Shifts((3, count), (6, step)).still
    assert (
        Shifts((3, count), (6, step))
        .apply(torch.arange(5.0 * step).reshape(1, 5, step))[still]
        .equal(torch.arange(5.0 * step).reshape(5, step))
    )


@given(step=st.integers(4, 16), count=st.integers(2, 4), place=st.integers(0, 47))
def test_a_spot_is_in_the_fine_cell_that_has_most(step: int, count: int, place: int) -> None:
    place = min(place, 3 * step - 1)
    line = torch.zeros(1, 3 * step)
    line[0, place] = 1
    shifts = Shifts((count,), (step,))
    cells = shifts.apply(line).reshape(count, 3, step).sum(-1).numpy()  # what three cells see of it
    found = shifts.grid(Layout((3,)), list(cells))
    best = np.flatnonzero(found == found.max())
    distance = np.abs((best + 0.5) * step / count - (place + 0.5)).min()
    assert distance <= step / (2 * count) + 0.5  # half a fine cell, and the rounding of offsets
    # and the map's centre of mass, away from the ends, is the spot
    if step <= place < 2 * step:
        centre = ((np.arange(3 * count) + 0.5) * step / count * found).sum() / found.sum()
        assert abs(centre - (place + 0.5)) <= step / (2 * count) + 0.5


@given(
    counts=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(4, 16), st.integers(4, 16)),
    cells=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_finer_cells_are_means_over_the_shifts(
    counts: tuple[int, int], stride: tuple[int, int], cells: tuple[int, int]
) -> None:
    maps = random_maps(0, counts, cells)
    found = fine(counts, stride, maps)
    by_offset = {
        (down, right): torch.tensor(maps[i, j])
        for i, down in enumerate(offsets(stride[0], counts[0]))
        for j, right in enumerate(offsets(stride[1], counts[1]))
    }
    places = itertools.product(*map(range, found.shape))
    np.testing.assert_allclose(
        found.ravel(), [naive.fine_cell(by_offset, place, counts, stride) for place in places], rtol=1e-12
    )
    # Nats add up: a map that is everywhere the same has the sum of the whole cells.
    assert fine(counts, stride, np.ones_like(maps)).sum() == pytest.approx(np.prod(cells))


def test_what_is_mirrored_has_a_mirrored_map() -> None:
    for count, step in ((3, 15), (3, 14), (5, 16)):  # an odd number of shifts is as far to either side
        assert offsets(step, count) == tuple(-offset for offset in reversed(offsets(step, count)))
        maps = random_maps(1, (count, count), (3, 4))
        mirrored = maps[::-1, ::-1, ::-1, ::-1]
        found = fine((count, count), (step, step), np.ascontiguousarray(mirrored))
        np.testing.assert_allclose(found, fine((count, count), (step, step), maps)[::-1, ::-1], rtol=1e-12)


def test_clips_pass_through_and_one_axis_will_do() -> None:
    maps = random_maps(2, (2, 3), (2, 4, 5))  # two clips of 4 bands and 5 times
    found = fine((2, 3), (16, 9), maps)
    assert found.shape == (2, 8, 15)
    for clip in range(2):
        np.testing.assert_allclose(found[clip], fine((2, 3), (16, 9), maps[:, :, clip]), rtol=1e-12)
    line = random_maps(3, (5,), (6,))
    assert fine((5,), (5,), line).shape == (30,)
    np.testing.assert_allclose(
        fine((5,), (5,), line), fine((1, 5), (7, 5), line[None, :, None])[0], rtol=1e-12
    )


def test_an_input_is_moved_and_its_edge_repeated() -> None:
    x = torch.arange(2 * 6, dtype=torch.float64).reshape(1, 2, 6)
    one, two = Shifts((2,), (4,)).apply(x)  # by 0 and 2
    assert one.equal(x[0])
    assert two[0].tolist() == [0, 0, 0, 1, 2, 3]
    (back, *_) = Shifts((3,), (4,)).apply(x)  # by -1
    assert back[0].tolist() == [1, 2, 3, 4, 5, 5]
    both = Shifts((2, 2), (2, 4)).apply(torch.cat([x, x + 100]))  # rows by 0 and 1, columns as above
    assert both.shape == (8, 2, 6)
    assert both[2].tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert both[7].tolist() == [[100, 100, 100, 101, 102, 103]] * 2


def test_axes_are_split_with_the_grid() -> None:
    even = refined(Axis("row", "px", ((0, 8), (8, 16))), 2)
    assert even == Axis("row", "px", ((0, 4), (4, 8), (8, 12), (12, 16)))
    overlapping = refined(Axis("time", "s", ((0, 2), (1, 3), (2, 4))), 2)
    assert overlapping.spans == ((0.5, 1), (1, 1.5), (1.5, 2), (2, 2.5), (2.5, 3), (3, 3.5))
    assert refined(Axis("time", "s", ((2, 3),)), 2).spans == ((2, 2.5), (2.5, 3))
    assert refined(Axis("row", "px", ((8, 16), (0, 8))), 2).spans == ((12, 16), (8, 12), (4, 8), (0, 4))
    edges = 700 * np.expm1(np.linspace(0.5, 2.5, 9))  # as mel bands lie in hertz
    split = refined(Axis("frequency", "Hz", tuple(itertools.pairwise(edges[::2].tolist()))), 2)
    np.testing.assert_allclose([start for start, _ in split.spans], edges[:-1], rtol=0.02)


def test_a_finer_map_is_stored_shown_and_placed(clip64: m2ib.Model, tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    exp = m2ib.explain(clip64, image=photo, text=IDS, preset="sharp", layer=1)
    a = exp["image"]
    assert a.grid.shape == (8, 8)
    assert a.capacity.shape == (17,)
    assert [axis.spans[0] for axis in a.axes] == [(0, 6), (24, 30)]
    assert [axis.spans[-1] for axis in a.axes] == [(42, 48), (66, 72)]
    assert a.scores.shape == (32, 32)
    assert a.layout.to_grid(a.capacity).shape == (4, 4)
    loaded = m2ib.load_explanation(exp.save(tmp_path / "x"))
    back = loaded["image"]
    for name in ("grid", "capacity", "scores"):
        np.testing.assert_array_equal(getattr(back, name), getattr(a, name))
    assert (back.axes, back.layout, back.curve) == (a.axes, a.layout, a.curve)
    assert dict(back.settings) == dict(a.settings)
    page = render_page([exp])
    assert page == render_page([loaded])
    assert "<figure" in page
    exp.figure()


# Smoothing.


@given(
    sigma=st.floats(0.05, 6.0),
    line=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=12),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_smoothing_is_a_gaussian_mean_that_keeps_the_total(
    sigma: float, line: list[float], dtype: Any
) -> None:
    grid = np.array([line, line[::-1]], dtype=dtype)
    found = smoothed(grid, [sigma])
    assert found.dtype == dtype
    close: Any = {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(found[0], naive.smoothed(line, sigma), **close)
    np.testing.assert_allclose(found[1], found[0][::-1], **close)
    assert found.sum() == pytest.approx(grid.sum(), rel=1e-5)
    along_rows = smoothed(grid.T, [sigma, 0.0])  # each axis on its own, and those before them not at all
    np.testing.assert_array_equal(along_rows, found.T)
    np.testing.assert_array_equal(smoothed(grid, [0.0, 0.0]), grid)


def test_a_map_smoothed_beyond_measure_is_flat() -> None:
    grid = np.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(smoothed(grid, [1e12, 1e300]), np.full((3, 4), grid.mean()), rtol=1e-3)


def test_the_narrowest_gaussian_reaches_no_neighbour() -> None:
    grid = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(smoothed(grid, [5e-324, 0.124]), grid)
    assert (smoothed(grid, [0.0, 0.13]) != grid).any()


@pytest.mark.parametrize(("shifts", "counts"), [(1, (1, 1)), ((1, 4), (1, 4)), (4, (2, 2))])
def test_a_smooth_map_is_the_same_map_smoothed(
    clip64: m2ib.Model, shifts: Any, counts: tuple[int, int]
) -> None:
    options: Any = {
        "image": pixels(),
        "text": m2ib.contrast(IDS, SHORT),
        "layer": 1,
        "shifts": {"image": shifts},
    }
    rough, smooth = (m2ib.explain(clip64, smooth=sigma, **options, **FEW) for sigma in (0, 0.7))
    for name in ("grid", "against"):
        expected = getattr(rough["image"], name)
        for axis, count in enumerate(counts):  # in cells of the model's own grid, however fine the map's are
            expected = np.apply_along_axis(
                lambda line, n=count: naive.smoothed(line.tolist(), 0.7 * n), axis, expected
            )
        assert error(getattr(smooth["image"], name), expected) <= 1e-9
    np.testing.assert_array_equal(smooth["image"].capacity, rough["image"].capacity)
    assert smooth["image"].settings["smooth"] == 0.7
    np.testing.assert_array_equal(smooth["text"].grid, rough["text"].grid)  # words are no places
    assert smooth["text"].settings["smooth"] == 0.0


def test_an_adapter_may_smooth_by_default_and_is_overruled() -> None:
    model = toy_model(
        image=lambda e: replace(
            e, stride=(2, 2), defaults=m2ib.Defaults(layer=1, methods={"m2ib": {"smooth": 0.7}})
        )
    )
    pair: dict[str, Any] = {"image": EXAMPLES["image"][0], "text": "a dog", "steps": 2}
    usual, given, rough = (
        m2ib.explain(model, **pair, **options) for options in ({}, {"smooth": 0.7}, {"smooth": 0})
    )
    assert (usual["image"].settings["smooth"], rough["image"].settings["smooth"]) == (0.7, 0.0)
    np.testing.assert_array_equal(usual["image"].grid, given["image"].grid)
    assert error(rough["image"].grid, usual["image"].grid) > 1e-3
    sharp = m2ib.explain(model, preset="sharp", **pair)
    assert sharp["image"].settings["smooth"] == m2ib.PRESETS["sharp"]["smooth"]


# All of them, batched.

WAYS: list[dict[str, Any]] = [
    {"granularity": "token"},
    {"standardize": True, "reference": {"image": [pixels(seed=7)], "text": [SHORT, IDS]}},
    {"noise": "antithetic"},
    {"shifts": 4},
    {"smooth": 0.5},
    {"shifts": {"image": (2, 1)}, "granularity": {"image": "token"}},
    {"preset": "sharp"},
    {"preset": {"text": "sharp"}},
]


@pytest.mark.parametrize("options", WAYS, ids=lambda options: "+".join(options))
def test_batches_give_what_pairs_give_alone(clip64: m2ib.Model, options: dict[str, Any]) -> None:
    texts = [IDS, SHORT, torch.tensor([START, 3, 4, 5, END])]
    pairs = [{"image": pixels(seed=n), "text": text} for n, text in enumerate(texts)]
    many = m2ib.explain_many(clip64, pairs, batch_size=3, layer=1, steps=3, **options)
    for pair, batched in zip(pairs, many, strict=True):
        alone = m2ib.explain(clip64, layer=1, steps=3, **pair, **options)
        for one, other in zip(alone, batched, strict=True):
            np.testing.assert_allclose(other.grid, one.grid, rtol=1e-9)
            np.testing.assert_allclose(other.capacity, one.capacity, rtol=1e-9)
            assert dict(other.settings) == dict(one.settings)


# Presets.


def test_what_is_given_stands_over_the_preset_and_that_over_the_defaults() -> None:
    own = {"sharp": {"beta": 0.3, "layer": 0, "steps": 3}}
    model = toy_model(image=lambda e: replace(e, stride=(2, 2), presets=own))
    pair = {"image": EXAMPLES["image"][0], "text": "a dog"}
    exp = m2ib.explain(model, preset="sharp", samples={"image": 1}, **pair)
    image, text = (dict(a.settings) for a in exp)
    core = m2ib.PRESETS["sharp"]
    assert {name: image[name] for name in (*core, "steps")} == {**core, "steps": 3, "samples": 1}
    assert (image["beta"], image["layer"], image["lr"], image["preset"]) == (0.3, 0, 1.0, "sharp")
    assert {name: text[name] for name in core} == {**core, "shifts": 1, "smooth": 0.0}  # words are no places
    assert (text["beta"], text["layer"]) == (0.1, 1)
    over = m2ib.explain(model, preset={"image": "sharp"}, beta=0.2, layer=1, shifts=1, **pair)
    assert (over["image"].settings["beta"], over["image"].settings["layer"]) == (0.2, 1)
    assert over["image"].grid.shape == (4, 4)
    assert over["text"].settings["preset"] is None
    assert over["text"].settings["granularity"] == "element"


# Refusals.


def stride(*steps: int) -> m2ib.Model:
    return toy_model(image=lambda e: replace(e, stride=steps))


@pytest.mark.parametrize(("steps", "shifts"), [((8, 8), 4), ((8,), 4), ((2, 2, 2), 1), ((3,), 1)])
def test_a_presets_shifts_are_left_out_where_they_do_not_suit(steps: tuple[int, ...], shifts: int) -> None:
    encoder = stride(*steps).encoder("image")
    assert resolve(SETTINGS, encoder, ("image",), {"preset": "sharp"})["shifts"] == shifts


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (toy_model, {"granularity": "channel"}, "granularity for image: 'channel' is unknown; it is 'element' or 'token'"),
        (toy_model, {"noise": {"text": 3}}, "noise for text: 3 is unknown; it is 'independent' or 'antithetic'"),
        (toy_model, {"readout": {"text": "mean"}}, "readout for text: 'mean' is unknown; it is 'last' or 'final'"),
        (toy_model, {"standardize": 1}, "standardize for image: 1 is neither True nor False; give one, or a dict"),
        (toy_model, {"preset": "shrap"}, r"preset for image: 'shrap' is unknown; did you mean 'sharp'\? There is sharp"),
        (toy_model, {"shifts": 0}, "shifts for image: 0 is out of range; it must be >= 1"),
        (toy_model, {"shifts": ()}, r"shifts for image: \(\) is out of range; it must be >= 1"),
        (toy_model, {"shifts": 2.0}, "shifts for image: 2.0 is not a whole number; give one, or a dict by modality"),
        (toy_model, {"shifts": "4"}, "shifts for image: '4' is not a whole number"),
        (toy_model, {"shifts": {"text": 4}}, "shifts for text: 4 is not possible; this encoder has no cells of a known"),
        (toy_model, {"shifts": {"sound": 4}}, "shifts: 'sound' is not a modality of this explanation"),
        (lambda: stride(2, 2), {"shifts": 3}, "shifts for image: 3 is not a square; this encoder's cells have 2 axes"),
        (lambda: stride(2, 2), {"shifts": 9}, "shifts for image: 9 is too many; this encoder's cells are 2 and 2 samples"),
        (lambda: stride(2, 2), {"shifts": (1, 2, 1)}, r"shifts for image: \(1, 2, 1\) are 3 numbers; this encoder's"),
        (lambda: stride(2), {"shifts": (2, 2)}, r"\(2, 2\) are 2 numbers; .* cells have 1 axis, 2 samples apart"),
        (toy_model, {"smooth": {"text": 0.5}}, "smooth for text: 0.5 is not possible; this encoder has no cells of a known"),
        (toy_model, {"smooth": -1}, "smooth for image: -1 is out of range; it must be >= 0"),
        (toy_model, {"smooth": "much"}, "smooth for image: 'much' is not a finite number; give one >= 0"),
        (toy_model, {"standardize": True}, r"standardize for image: this model brings no reference .*reference=\{'image': \["),
        (toy_model, {"reference": ["a dog"]}, r"reference: \['a dog'\] is not a dict by modality, as in reference="),
        (toy_model, {"reference": {"text": "a dog"}}, "reference for text: 'a dog' is not a list of raw inputs; give some"),
        (toy_model, {"reference": {"text": []}}, r"reference for text: \[\] is not a list of raw inputs; give some"),
        (
            toy_model,
            {"standardize": {"text": True}, "reference": {"sound": ["x"]}},
            r"reference: 'sound' is not a modality of this model \(image, text\)",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make: Callable[[], m2ib.Model], options: Any, message: str) -> None:
    with pytest.raises(m2ib.SettingError, match=message):
        m2ib.explain(make(), image=EXAMPLES["image"][0], text="a dog", **options)


def test_a_number_for_all_leaves_out_what_cannot_be_shifted() -> None:
    exp = m2ib.explain(stride(2, 2), image=EXAMPLES["image"][0], text="a dog", shifts=4, **FEW)
    assert exp["image"].grid.shape == (8, 8)
    assert [a.settings["shifts"] for a in exp] == [4, 1]


# The command line.


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip_with_words(tmp_path_factory.mktemp("words") / "clip")


def command(clip: Path, *words: str) -> int:
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save("dog.png")
    chosen = ("--model", "clip", "--checkpoint", str(clip), "--device", "cpu")
    return main(["explain", *chosen, "--image", "dog.png", "--text", "a dog", "--force", *words])


def test_the_settings_on_the_command_line(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        command(
            clip,
            "--preset",
            "sharp",
            "--smooth",
            "0.25",
            "steps=2",
            "noise=antithetic",
            "granularity.text=element",
        )
        == 0
    )
    image, text = m2ib.load_explanation("m2ib-report")
    assert image.grid.shape == (8, 8)
    assert {**m2ib.PRESETS["sharp"], "smooth": 0.25, "steps": 2, "noise": "antithetic"}.items() <= dict(
        image.settings
    ).items()
    assert text.settings["granularity"] == "element"
    Path("s.yaml").write_text(
        yaml.safe_dump(
            {
                "shifts": {"image": [1, 2]},
                "standardize": True,
                "reference": {"image": ["dog.png"], "text": ["a cat", "a cup"]},
                "steps": 1,
                "samples": 1,
            }
        )
    )
    assert command(clip, "--config", "s.yaml") == 0
    loaded = m2ib.load_explanation("m2ib-report")
    assert loaded["image"].grid.shape == (4, 8)
    assert loaded["image"].settings["shifts"] == [1, 2]
    assert loaded.provenance["reference"] == {
        "image": {"inputs": 1, "from": "given"},
        "text": {"inputs": 2, "from": "given"},
    }
    capsys.readouterr()
    assert command(clip, "shifts=3") == 2
    assert "shifts for image: 3 is not a square" in capsys.readouterr().err
    assert command(clip, "--standardize", "yes please") == 2
    assert "standardize for image: 'yes please' is neither True nor False" in capsys.readouterr().err


def test_axes_of_a_layer_with_fewer_cells_are_runs_of_the_finest_ones() -> None:
    seconds = m2ib.Axis("time", "s", tuple((n / 10, n / 10 + 0.15) for n in range(12)))  # they overlap
    hertz = m2ib.Axis("frequency", "Hz", ((20.0, 50.0), (50.0, 110.0), (110.0, 250.0), (250.0, 600.0)))
    frequency, time = axes_at((hertz, seconds), (2, 3))
    assert frequency == m2ib.Axis("frequency", "Hz", ((20.0, 110.0), (110.0, 600.0)))
    assert [tuple(round(edge, 9) for edge in span) for span in time.spans] == [
        (0, 0.45),
        (0.4, 0.85),
        (0.8, 1.25),
    ]
    assert axes_at((hertz, seconds), (4, 12)) == (hertz, seconds)
    assert axes_at((hertz, seconds), (3, 12)) == (hertz, seconds)  # three of four are no runs
    assert axes_at((hertz, seconds), (12,)) == (hertz, seconds)
