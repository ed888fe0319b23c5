"""What an author gets wrong about the output of a block is named with what to write instead, by the kit and by ``explain``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import m2ib
from m2ib import Encoder, Item, Layer, Layout
from m2ib.testing import ConformanceError, check_adapter

WIDTH, GRID = 8, (2, 3)
EXAMPLES = list(torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)))
SEQUENCE_FIRST: dict[str, Any] = {"read": m2ib.read_sequence_first, "write": m2ib.write_sequence_first}
CLASS_FIRST = Layout(GRID, tuple(range(1, 7)))


class Attending(nn.Module):
    """(T, N, C), or (N, T, C) in a tuple."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=batch_first)

    def forward(self, x: Tensor) -> Any:
        out = x + self.attention(x, x, x, need_weights=False)[0]
        return (out, None) if self.attention.batch_first else out


class Mixing(nn.Module):
    """Maps (N, C, rows, columns), or (N, rows, columns, C)."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.mix, self.channels_last = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), channels_last

    def forward(self, x: Tensor) -> Tensor:
        if self.channels_last:
            return x + self.mix(x.permute(0, 3, 1, 2)).relu().permute(0, 2, 3, 1)
        return x + self.mix(x).relu()


class Net(nn.Module):
    """Patches of 8 pixels through blocks of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.first = nn.Conv2d(3, WIDTH, 8, 8), nn.Parameter(torch.randn(1, 1, WIDTH))
        self.ntc, self.tnc = (nn.ModuleList(Attending(first) for _ in range(2)) for first in (True, False))
        self.nhwc, self.nchw = (nn.ModuleList(Mixing(last) for _ in range(2)) for last in (True, False))
        self.windows = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.norm = nn.BatchNorm1d(WIDTH, track_running_stats=False)
        self.lively = nn.Dropout(0.5)

    def embed_ntc(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2)  # (N, 6, C)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)  # (N, 7, C)
        for block in self.ntc:
            x, _ = block(x)
        return x.mean(1)

    def embed_tnc(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).permute(2, 0, 1)  # (6, N, C)
        x = torch.cat([self.first.expand(-1, x.shape[1], -1), x])  # (7, N, C)
        for block in self.tnc:
            x = block(x)
        return x.mean(0)

    def embed_nhwc(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).permute(0, 2, 3, 1)  # (N, 2, 3, C)
        for block in self.nhwc:
            x = block(x)
        return x.mean((1, 2))

    def embed_nchw(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels)  # (N, C, 2, 3)
        for block in self.nchw:
            x = block(x)
        return x.mean((2, 3))

    def embed_windows(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).permute(0, 2, 3, 1)  # (N, 2, 3, C)
        for block in self.windows:
            x = block(x.flatten(0, 1)).relu().reshape(x.shape)  # (2 N, 3, C): a window is a row
        return x.mean((1, 2))

    def embed_standardised(self, pixels: Tensor) -> Tensor:
        return self.norm(self.embed_ntc(pixels))

    def embed_with_dropout(self, pixels: Tensor) -> Tensor:
        return self.lively.train()(self.embed_ntc(pixels))

    def embed_with_loose_dropout(self, pixels: Tensor) -> Tensor:
        return nn.functional.dropout(self.embed_ntc(pixels), 0.5)


def model_of(blocks: str, layout: Layout, embed: str = "", **layer: Any) -> m2ib.Model:
    """Its layers as an author would tell them: nothing is found out."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net().eval()
    layers = tuple(
        Layer(part, f"{blocks}.{number}", **layer) for number, part in enumerate(getattr(net, blocks))
    )

    def item(pixels: Any) -> Item:
        return Item(pixels, layout, None)

    encoder = Encoder(
        modality="image",
        embed=getattr(net, embed or f"embed_{blocks}"),
        prepare=lambda raw, truncate=False: item(raw),
        describe=item,
        layers=layers,
    )
    return m2ib.Model(net, {"image": encoder}, torch.device("cpu"), torch.float32, {"adapter": "net"})


RIGHT: dict[str, tuple[Any, ...]] = {
    "(N, T, C) in a tuple": ("ntc", CLASS_FIRST, "", {}),
    "(T, N, C)": ("tnc", CLASS_FIRST, "", SEQUENCE_FIRST),
    "(N, H, W, C)": ("nhwc", Layout(GRID), "", {}),
    "(N, C, H, W)": ("nchw", Layout(), "", {"channel_axis": 1}),
}
SWAPPED = "a grid of (3, 2) does not fit 6 positions of an activation with (2, 3)"
WRONG: dict[str, tuple[Any, ...]] = {
    "(T, N, C) as (N, T, C)": (
        ("tnc", CLASS_FIRST, "", {}),
        "read gives (7, 1, 8) for one input; the batch axis must come first and have one row, then positions and channels. What the "
        "block gives is (7, 1, 8), which looks like (T, N, C), sequence first: give m2ib.Layer(module, name, "
        "read=m2ib.read_sequence_first, write=m2ib.write_sequence_first); to m2ib.adapt an example",
        True,
    ),
    "(N, T, C) as (T, N, C)": (
        ("ntc", CLASS_FIRST, "", SEQUENCE_FIRST),
        "What the block gives is (1, 7, 8), which looks like (N, T, C), batch first: leave `read` and `write` of its m2ib.Layer out",
        True,
    ),
    "no batch at all": (
        ("ntc", CLASS_FIRST, "", {"read": lambda out: m2ib.read_first(out)[0]}),
        "read gives (7, 8) for one input",
        True,
    ),
    "windows in place of inputs": (
        ("windows", Layout(GRID), "", {}),
        "What the block gives is (2, 3, 8), in which no axis looks like the batch's: name a part around it whose output has one",
        True,
    ),
    "(N, C, H, W) as (N, H, W, C)": (
        ("nchw", Layout(), "", {}),
        "a map (1, 8, 2, 3) of an input (1, 3, 16, 24) float32 looks like (N, C, rows, columns), and is read as (N, rows, columns, "
        "C); give m2ib.Layer(module, name, channel_axis=1)",
        False,
    ),
    "(N, H, W, C) as (N, C, H, W)": (
        ("nhwc", Layout(), "", {"channel_axis": 1}),
        "looks like (N, rows, columns, C), and is read as (N, C, rows, columns); leave channel_axis out",
        False,
    ),
    "a tuple taken for a tensor": (
        ("ntc", CLASS_FIRST, "", {"read": lambda out: out}),
        "read gives a tuple, not a tensor; leave `read` and `write` out, or give read=m2ib.read_first, write=m2ib.write_first",
        True,
    ),
    "a tensor put for a tuple": (
        ("ntc", CLASS_FIRST, "", {"write": lambda out, value: value}),
        "the block gives a tuple, and write gives a tensor in its place, so what comes after cannot take it apart; leave `write` "
        "out, or give write=m2ib.write_first",
        True,
    ),
    "class token left in": (
        ("ntc", Layout(GRID), "", {}),
        "a grid of (2, 3) does not fit 7 positions of an activation with (7,); the adapter's layout and layer disagree: 1 more than "
        "cells. Where class or register tokens come first, Layout(grid=(2, 3), index=tuple(range(1, 7))) leaves them out",
        True,
    ),
    "fewer tokens than cells": (
        ("ntc", Layout((4, 6)), "", {}),
        "does not fit 7 positions of an activation with (7,); the adapter's layout and layer disagree: where tokens are merged on "
        "the way, a grid holds for the layers before that alone",
        True,
    ),
    "class token taken for the last one": (
        ("ntc", Layout(GRID, tuple(range(6))), "", {}),
        "changing parts of the input shows other positions than the layout tells: the grid is (2, 3), its cells the positions 1 to "
        "6, not (2, 3) of 0 to 5; give Layout(grid=(2, 3), index=tuple(range(1, 7)))",
        False,
    ),
    "grid of tokens the other way round": (
        ("ntc", Layout(GRID[::-1], tuple(range(1, 7))), "", {}),
        "its cells the positions 1 to 6, not (3, 2) of 1 to 6; give Layout(grid=(2, 3), index=tuple(range(1, 7)))",
        False,
    ),
    "grid of a map the other way round": (
        ("nhwc", Layout(GRID[::-1]), "", {}),
        f"{SWAPPED}; the adapter's layout and layer disagree: the axes are the other way round; give Layout(grid=(2, 3)), or Layout()",
        True,
    ),
    "grid of another map": (
        ("nhwc", Layout((4, 6)), "", {}),
        "Layout() takes each layer's own grid, and the Layer's channel_axis tells a map (N, C, rows, columns) by 1 from",
        True,
    ),
    "statistics of the batch": (
        ("ntc", CLASS_FIRST, "embed_standardised", {}),
        "norm (BatchNorm1d) normalises by the batch's own mean and variance: use running ones (track_running_stats=True), and let",
        False,
    ),
    "dropout that is on": (
        ("ntc", CLASS_FIRST, "embed_with_dropout", {}),
        "embed gives another embedding at the second call: there is randomness, or state, in the forward pass. The first that "
        "differs is lively (Dropout); give dropout training=self.training",
        False,
    ),
    "dropout in no part": (
        ("ntc", CLASS_FIRST, "embed_with_loose_dropout", {}),
        "No part of the module differs: it is what embed does after the last of them; give dropout training=self.training",
        False,
    ),
}


@pytest.mark.parametrize(("blocks", "layout", "embed", "layer"), RIGHT.values(), ids=RIGHT)
def test_what_the_documentation_says_to_write(blocks: str, layout: Layout, embed: str, layer: Any) -> None:
    check_adapter(model_of(blocks, layout, embed, **layer), {"image": EXAMPLES})


@pytest.mark.parametrize(("given", "cure", "explaining"), WRONG.values(), ids=WRONG)
def test_the_cure_is_named(given: tuple[Any, ...], cure: str, explaining: bool) -> None:
    """``explaining``: no map can be made, and the error says the same."""
    blocks, layout, embed, layer = given
    model = model_of(blocks, layout, embed, **layer)
    with pytest.raises(ConformanceError) as caught:
        check_adapter(model, {"image": EXAMPLES})
    assert cure in str(caught.value).splitlines()[1]
    if explaining:
        pair = [("image", example) for example in EXAMPLES]
        with pytest.raises(m2ib.M2IBError) as raised:
            m2ib.explain(model, *pair, steps=1, samples=1, show_progress=False)
        assert cure in str(raised.value)


def test_frequencies_may_be_told_from_below_and_before_the_time() -> None:
    """A spectrogram's grid is turned where its index says so: that is no mistake."""
    cells = np.arange(1, 7).reshape(GRID)
    turned = cells.T[::-1]  # (3, 2)
    layout = Layout(turned.shape, tuple(turned.flatten().tolist()))
    check_adapter(model_of("ntc", layout), {"image": EXAMPLES})


def test_an_example_shows_adapt_where_the_axes_are() -> None:
    net = model_of("tnc", CLASS_FIRST).module
    encoders = {
        name: Encoder(embed=getattr(net, f"embed_{name}"), layers=name, examples=lambda: EXAMPLES)
        for name in ("ntc", "tnc", "nhwc", "nchw")
    }
    check_adapter(m2ib.adapt(net, encoders))
