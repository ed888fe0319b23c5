"""How parts of an input are taken out, against loops; and how maps and positions go over into each other."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import m2ib
from m2ib.contract.degradation import (
    Degradation,
    Fading,
    Replacing,
    cells_of,
    fill_cells,
    gather,
    holds_numbers,
    spread,
)
from m2ib.renderers.interpolation import upsample

CELLS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=3)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layout_of(grid: tuple[int, ...], tokens: tuple[m2ib.Token, ...] = ()) -> m2ib.Layout:
    return m2ib.Layout(grid, tokens=tokens)


@given(st.permutations(range(4)), st.integers(1, 4), st.booleans(), st.floats(-2, 2))
def test_fading_is_a_loop_whatever_the_axes(
    order: list[int], number: int, negative: bool, fill: float
) -> None:
    shape = (2, 3, 4, 5)
    axes = tuple(order[:number])
    fading = Fading(fill, tuple(axis - 4 for axis in axes) if negative else axes)
    x = drawn(1, 1, *shape)
    positions = fading.positions(x, (1,) * number)
    assert positions == tuple(shape[axis] for axis in axes)
    keep = drawn(2, 3, *positions)
    found = fading.apply(x, keep, layout_of(positions))
    assert found.shape == (3, *shape)
    for k, *place in itertools.product(range(3), *map(range, shape)):
        share = keep[k, *(place[axis] for axis in axes)].item()
        value = x[0, *place].item()
        assert found[k, *place].item() == pytest.approx(fill + (value - fill) * share, abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "grid", "positions"),
    [
        ((3, 8, 6), (4, 3), (8, 6)),  # colours, rows, columns
        ((6, 40), (10,), (40,)),  # traces, time
        ((2, 1, 12, 20), (2, 4, 5), (2, 12, 20)),  # clips, channels, bands, frames
        ((2, 3, 5, 8, 6), (2, 5, 4, 3), None),  # clips, channels, frames, rows, columns: has to be told
        ((16,), (4,), (16,)),
    ],
)
def test_by_default_the_last_axes_are_positions(
    shape: tuple[int, ...], grid: tuple[int, ...], positions: tuple[int, ...] | None
) -> None:
    x = torch.ones(1, *shape)
    if positions is None:
        with pytest.raises(
            m2ib.InputError, match=r"has \(2, 3, 8, 6\) positions under a map of \(2, 5, 4, 3\)"
        ):
            Fading().positions(x, grid)
        assert Fading(axes=(0, 2, 3, 4)).positions(x, grid) == (2, 5, 8, 6)
    else:
        assert Fading().positions(x, grid) == positions
        assert Fading().hideable(layout_of(grid), grid).all()


def test_fading_gives_back_what_is_kept_and_the_fill_for_the_rest() -> None:
    x = drawn(0, 1, 3, 4, 4)
    ends = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
    none, whole = Fading(0.25).apply(x, ends, layout_of((2, 2)))
    assert (none == 0.25).all()
    torch.testing.assert_close(whole, x[0], rtol=0, atol=1e-15)
    assert Fading().apply(x.half(), ends, layout_of((2, 2))).dtype == torch.float16


@pytest.mark.parametrize("axes", [(0, 0), (1,), (0, 3), (-4, 0)])
def test_axes_that_do_not_fit(axes: tuple[int, ...]) -> None:
    fading = Fading(axes=axes)
    with pytest.raises(m2ib.InputError) as caught:
        fading.positions(torch.ones(1, 3, 4, 4), (2, 2))
    assert str(caught.value) == (
        f"degradation: an input with 3 axes and a map with 2 do not fit the axes {axes}"
    )


def test_numbers_are_told_from_the_rest() -> None:
    assert holds_numbers(torch.ones(2))
    assert not holds_numbers(torch.ones(2, dtype=torch.long))
    assert not holds_numbers({"pixels": torch.ones(2)})


@pytest.mark.parametrize(
    ("inputs", "kind"), [(torch.tensor([[1, 2]]), "token ids"), ({"a": torch.ones(1, 2)}, "several tensors")]
)
def test_what_cannot_fade(inputs: Any, kind: str) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        Fading().positions(inputs, (2,))
    assert str(caught.value) == (
        f"degradation: this encoder takes {kind}, whose values cannot fade; its adapter has to say how parts of an "
        "input are taken out (Encoder.degradation)"
    )


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(0, 3), st.integers(0, 9))
def test_replacing_keeps_special_tokens(special: list[bool], added: int, seed: int) -> None:
    count = len(special)
    tokens = tuple(m2ib.Token("x", 0, 0, flag) for flag in special)
    tokens += (m2ib.Token("<cls>", 0, 0, True),) * added  # positions that the tower adds after the ids
    layout = layout_of((len(tokens),), tokens)
    ids = torch.arange(10, 10 + count)[None]
    keep = drawn(seed, 4, len(tokens)).round()
    replacing = Replacing(7)
    assert replacing.positions(ids, layout.grid or ()) == layout.grid
    assert replacing.hideable(layout, layout.grid or ()).tolist() == [not token.special for token in tokens]
    found = replacing.apply(ids, keep, layout)
    for k, t in itertools.product(range(4), range(count)):
        stays = special[t] or keep[k, t] == 1
        assert found[k, t] == (ids[0, t] if stays else 7)
    assert ids.tolist() == [list(range(10, 10 + count))]


def test_replacing_leaves_the_padding_of_a_batch() -> None:
    ids = torch.tensor([[5, 6, 0, 0]])
    found = Replacing(9).apply(ids, torch.tensor([[0.0, 1.0]]), layout_of((2,)))
    assert found.tolist() == [[9, 6, 0, 0]]


def test_only_ids_can_be_replaced() -> None:
    with pytest.raises(m2ib.InputError) as caught:
        Replacing(0).apply(torch.ones(1, 3), torch.ones(1, 3), layout_of((3,)))
    assert str(caught.value) == "degradation: only an encoder that takes token ids can have tokens replaced"


def test_both_are_degradations() -> None:
    assert isinstance(Fading(), Degradation)
    assert isinstance(Replacing(0), Degradation)
    assert Fading().gradual
    assert not Replacing(0).gradual


# Maps at positions, positions by cell


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_spreading_a_picture_is_bilinear(rows: int, cols: int, high: int, wide: int, seed: int) -> None:
    grids = drawn(seed, 2, rows, cols)
    size = (max(rows, high), max(cols, wide))
    found = spread(grids, size)
    bilinear = torch.nn.functional.interpolate(grids[:, None], size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, bilinear[:, 0], rtol=0, atol=1e-12)
    shown = np.stack([upsample(grid.numpy(), size) for grid in grids])
    np.testing.assert_allclose(found.numpy(), shown, rtol=0, atol=1e-12)


def test_spreading_keeps_an_axis_that_fits() -> None:
    grids = drawn(0, 2, 3, 4, 5)
    found = spread(grids, (3, 8, 5))
    for clip, time in itertools.product(range(3), range(5)):
        line = torch.nn.functional.interpolate(grids[:, None, clip, :, time], 8, mode="linear")
        torch.testing.assert_close(found[:, clip, :, time], line[:, 0])


@given(CELLS, st.integers(0, 99))
def test_gathering_is_the_mean_and_filling_its_inverse(sizes: list[tuple[int, int]], seed: int) -> None:
    """Sizes of (cells, more positions than that)."""
    grid = tuple(cells for cells, _ in sizes)
    positions = tuple(cells + more for cells, more in sizes)
    values = drawn(seed, 2, *positions)
    found = gather(values, grid)
    filled = fill_cells(found, positions)
    assert found.shape == (2, *grid)
    members: dict[tuple[int, ...], list[Tensor]] = {}
    for place in itertools.product(*map(range, positions)):
        cell = tuple(
            math.floor((p + 0.5) * cells / length)
            for p, cells, length in zip(place, grid, positions, strict=True)
        )
        members.setdefault(cell, []).append(values[:, *place])
        assert torch.equal(filled[:, *place], found[:, *cell])
    assert set(members) == set(itertools.product(*map(range, grid)))  # each cell has a position
    for cell, own in members.items():
        torch.testing.assert_close(found[:, *cell], torch.stack(own).mean(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(gather(filled, grid), found, rtol=0, atol=1e-12)


def test_cells_share_an_axis() -> None:
    assert cells_of(3, 9).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert cells_of(2, 5).tolist() == [0, 0, 1, 1, 1]
    assert cells_of(4, 4).tolist() == [0, 1, 2, 3]
