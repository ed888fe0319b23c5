"""A model of pictures and texts that a plugin might bring: no axes, no stride, no trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import m2ib
from m2ib.renderers import ImageRenderer, ImageView, TextRenderer
from m2ib.scenes import WORDS

SIDE, CELL, WIDTH = 28, 7, 8  # pixels, of which a cell has 7, and channels


class Spotter(nn.Module):
    """The mean of cells, the mean of words."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, WIDTH, CELL, CELL)
        self.mixed = nn.Conv2d(WIDTH, WIDTH, 1)
        self.words = nn.Embedding(len(WORDS), WIDTH)
        self.read = nn.Identity()

    def image(self, inputs: Any) -> Tensor:
        pixels = inputs["pixels"] if isinstance(inputs, dict) else inputs  # (N, 3, 28, 28)
        return self.mixed(self.cells(pixels).tanh()).flatten(2).mean(2)  # (N, C)

    def text(self, ids: Tensor) -> Tensor:
        known = ids >= 0
        rows = self.read(self.words(ids.clamp(min=0)))  # (N, T, C)
        return (rows * known[..., None]).sum(1) / known.sum(1, keepdim=True)


def spotter(*, by_name: bool = False) -> m2ib.Model:
    """by_name  its pictures are dicts of tensors, in which no positions can be hidden"""
    torch.manual_seed(0)
    module = Spotter().eval().requires_grad_(False)

    def prepare_image(raw: Any, *, truncate: bool = False) -> m2ib.Item:
        small = np.asarray(raw, np.float32).reshape(SIDE, 4, SIDE, 4, 3).mean((1, 3)) / 255
        pixels = torch.from_numpy(small).permute(2, 0, 1).contiguous()  # (3, 28, 28)
        view = ImageView.of(Image.fromarray(np.asarray(raw)), (0, 0, 112, 112), (SIDE, SIDE))
        return m2ib.Item({"pixels": pixels} if by_name else pixels, m2ib.Layout(), view)

    def prepare_text(raw: Any, *, truncate: bool = False) -> m2ib.Item:
        tokens, place = [], 0
        for word in raw.split():
            tokens.append(m2ib.Token(word, place, place + len(word)))
            place += len(word) + 1
        ids = torch.tensor([WORDS.index(token.text) for token in tokens])
        layout = m2ib.Layout((len(ids),), read=len(ids), tokens=tuple(tokens))
        return m2ib.Item(ids, layout, {"text": raw})

    def pad(items: Sequence[m2ib.Inputs]) -> m2ib.Inputs:
        rows = [item for item in items if isinstance(item, Tensor)]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)

    cells = m2ib.Layer(module.cells, "cells", channel_axis=1)
    words = m2ib.Layer(module.read, "read")
    image = m2ib.Encoder(
        modality="image",
        prepare=prepare_image,
        describe=lambda inputs: m2ib.Item(inputs, m2ib.Layout(), None),
        embed=module.image,
        layers=(cells,),
        stem=m2ib.Layer(module.cells, "cells (input)", channel_axis=1, at="input"),
        defaults=m2ib.Defaults(0),
        renderer=ImageRenderer(),
    )
    text = m2ib.Encoder(
        modality="text",
        prepare=prepare_text,
        describe=lambda inputs: m2ib.Item(inputs, m2ib.Layout(), {"text": ""}),
        embed=module.text,
        layers=(words,),
        stem=m2ib.Layer(module.read, "read (input)", at="input"),
        defaults=m2ib.Defaults(0),
        renderer=TextRenderer(),
        collate=pad,
    )
    return m2ib.Model(
        module, {"image": image, "text": text}, torch.device("cpu"), torch.float32, {"adapter": "spotter"}
    )
