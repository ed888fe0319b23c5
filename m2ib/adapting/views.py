"""What is shown of inputs about which no more is known than their numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.contract.inputs import Inputs
from m2ib.contract.layout import Layout, Token, even_axis


def token_texts(inputs: Inputs) -> list[str]:
    """Token ids (T,) as words; [] for any other inputs."""
    if not isinstance(inputs, Tensor) or inputs.is_floating_point() or inputs.ndim != 1:
        return []
    return [str(value) for value in inputs.tolist()]


def view_of(inputs: Inputs, layout: Layout, step: int | None = None) -> tuple[Layout, Any]:
    """The layout with tokens or axes where they are plain to see, and what a renderer shows.

    step  from cell to cell, where they are square patches; what is left beyond the last whole one is not read

    Token ids are shown as numbers, (3, H, W) and (1, H, W) as a picture from their lowest value to their highest; of
    anything else the map alone is shown.
    """
    words = token_texts(inputs)
    if words and layout.grid == (len(words),):
        return _text(words, layout)
    flat = layout.grid is None or len(layout.grid) == 2
    if flat and isinstance(inputs, Tensor) and inputs.ndim == 3 and inputs.shape[0] in (1, 3):
        return _picture(inputs, layout, step)
    return layout, None


def _text(words: list[str], layout: Layout) -> tuple[Layout, Any]:
    if layout.tokens:
        return layout, {"text": " ".join(token.text for token in layout.tokens)}
    tokens, place = [], 0
    for word in words:
        tokens.append(Token(word, place, place + len(word)))
        place += len(word) + 1
    return replace(layout, tokens=tuple(tokens)), {"text": " ".join(words)}


def _picture(pixels: Tensor, layout: Layout, step: int | None) -> tuple[Layout, Any]:
    from PIL import Image

    from m2ib.renderers import ImageView

    values = pixels.detach().cpu().float()
    low, high = float(values.min()), float(values.max())
    grey = ((values - low) / ((high - low) or 1.0) * 255).round().byte().numpy()  # (1 or 3, H, W)
    colours = np.broadcast_to(grey, (3, *grey.shape[1:])).transpose(1, 2, 0)  # (H, W, 3)
    size = (colours.shape[0], colours.shape[1])
    read = size if layout.grid is None or step is None else (layout.grid[0] * step, layout.grid[1] * step)
    if layout.grid is not None and not layout.axes:
        down, across = layout.grid
        axes = even_axis("row", "px", down, 0, read[0]), even_axis("column", "px", across, 0, read[1])
        layout = replace(layout, axes=axes)
    view = ImageView.of(Image.fromarray(np.ascontiguousarray(colours)), (0, 0, read[1], read[0]), size)
    return layout, view if read == size else replace(view, read=read)
