"""Photographs under a heatmap."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image
from torch.nn.functional import interpolate

from m2ib.renderers.base import scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.attribution import Attribution

_LONGEST_VIEW = 1024  # pixels; what is shown need not be larger


@dataclass(frozen=True)
class Box:
    """A rectangle in an image: its left upper corner and its size, in pixels of the raw image."""

    x: float
    y: float
    width: float
    height: float
    label: str = ""


@dataclass(frozen=True, eq=False)
class ImageView:
    """What is shown of an image.

    pixels  (height, width, 3) uint8, upright RGB
    region  (left, top, right, bottom) in pixels of ``pixels``: the part the model sees
    size    (rows, columns) of the model's input
    scale   (horizontal, vertical) pixels of ``pixels`` for one of the raw image
    boxes   drawn over the map, in pixels of the raw image
    """

    pixels: np.ndarray
    region: tuple[float, float, float, float]
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    boxes: tuple[Box, ...] = ()

    @classmethod
    def of(
        cls,
        image: Image.Image,
        region: tuple[float, float, float, float],
        size: tuple[int, int],
    ) -> ImageView:
        """A view of an RGB image, made smaller where it is large; ``region`` in pixels of ``image``."""
        factor = min(1.0, _LONGEST_VIEW / max(image.size))
        ratio = (1.0, 1.0)
        if factor < 1:
            width, height = (max(1, round(side * factor)) for side in image.size)
            ratio = (width / image.width, height / image.height)
            region = (
                region[0] * ratio[0],
                region[1] * ratio[1],
                region[2] * ratio[0],
                region[3] * ratio[1],
            )
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        return cls(np.asarray(image.convert("RGB")), region, size, ratio)


def upsample(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, (rows, cols) -> size, half-pixel centres."""
    tensor = torch.from_numpy(np.ascontiguousarray(grid, dtype=np.float64))[None, None]  # (1, 1, r, c)
    return interpolate(tensor, size, mode="bilinear", align_corners=False)[0, 0].numpy()


class ImageRenderer:
    """A grid (rows, cols) over an :class:`ImageView`."""

    name = "image"

    @property
    def script(self) -> str:
        return files("m2ib.page").joinpath("heatmap.js").read_text(encoding="utf-8")

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(rows, columns) of the model's input: bilinear, then min-max."""
        return scale(upsample(grid, attribution.view.size))

    def fragment(self, attribution: Attribution, ident: str) -> str:
        view: ImageView = attribution.view
        height, width = view.pixels.shape[:2]
        maps = {"for": attribution.grid.tolist()}
        if attribution.against is not None:
            maps["against"] = attribution.against.tolist()
        data = json.dumps({"maps": maps, "region": list(view.region), "width": width, "height": height})
        choice = ""
        if attribution.against is not None:
            choice = (
                '<label>Evidence <select class="which"><option value="both">both sides</option>'
                '<option value="for">for this one</option>'
                '<option value="against">for the other</option></select></label>'
            )
        return Markup(
            '<figure class="heat{contrast}" id="{ident}" tabindex="0" aria-label="heatmap over the image">'
            '<div class="stage" style="--shape:{shape:.4f}"><img alt="the image that is explained" src="{source}" width="{width}" '
            'height="{height}"><canvas></canvas><output class="probe"></output></div>'
            '<figcaption><div class="knobs">'
            '<label>Show <select class="mode"><option value="heat">heat</option>'
            '<option value="spotlight">spotlight</option></select></label>{choice}'
            '<label>Opacity <input type="range" class="opacity" min="0" max="100" value="75"><output></output></label>'
            '<label>Threshold <input type="range" class="threshold" min="0" max="100" value="0"><output></output></label>'
            '<label><input type="checkbox" class="smooth" checked> smooth</label></div>'
            '<div class="legend"><span class="low"></span><span class="ramp"></span><span class="high"></span>'
            '</div></figcaption><script type="application/json">{data}</script></figure>'
        ).format(
            ident=ident,
            contrast="" if attribution.against is None else " contrast",
            shape=width / height,
            source=_data_url(view.pixels),
            width=width,
            height=height,
            choice=Markup(choice),
            data=Markup(data),  # numbers only
        )

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        view: ImageView = attribution.view
        left, top, right, bottom = view.region
        size = (round(bottom - top) or 1, round(right - left) or 1)
        place: dict[str, Any] = {"extent": (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)}
        if attribution.against is None:
            axes.imshow(view.pixels)
            shown = upsample(attribution.grid, size)
            heat = axes.imshow(shown, cmap="inferno", alpha=0.35 + 0.5 * scale(shown), **place)
            label = "nats per position"
        else:  # what speaks for this less what speaks for the other, over a grey photo
            axes.imshow(view.pixels.mean(-1), cmap="gray", vmin=0, vmax=255)
            shown = upsample(attribution.grid - attribution.against, size)
            most = float(np.abs(shown).max()) or 1.0
            heat = axes.imshow(shown, cmap="PuOr_r", vmin=-most, vmax=most, alpha=0.75, **place)
            label = "nats per position: for this one, less for the other"
        axes.set_xlim(-0.5, view.pixels.shape[1] - 0.5)
        axes.set_ylim(view.pixels.shape[0] - 0.5, -0.5)
        axes.set_axis_off()
        bar = axes.figure.colorbar(heat, ax=axes, fraction=0.046, pad=0.02)
        bar.set_label(label)

    def store(self, view: ImageView, folder: Path, stem: str) -> Mapping[str, Any]:
        name = f"{stem}.png"
        Image.fromarray(view.pixels).save(folder / name)
        return {"pixels": name, "region": list(view.region), "size": list(view.size)}

    def restore(self, stored: Mapping[str, Any], folder: Path) -> ImageView:
        name = Path(stored["pixels"]).name  # never outside the folder
        with Image.open(folder / name) as image:
            pixels = np.asarray(image.convert("RGB"))
        left, top, right, bottom = stored["region"]
        rows, columns = stored["size"]
        return ImageView(pixels, (left, top, right, bottom), (rows, columns))


def _data_url(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
