"""Chest X-rays as CXR-RePaiR reads them: grey levels from 0 to 255, with a mean and deviation of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from m2ib.contract.inputs import Item
from m2ib.contract.layout import Layout
from m2ib.errors import SettingError
from m2ib.notices import warn
from m2ib.renderers import ImageView
from m2ib_adapters.inputs.images import ImageOptions, ImagePreparation, Region, padded, placed
from m2ib_adapters.inputs.media import called


@dataclass(frozen=True)
class Way:
    """How one training set was prepared.

    mean, std  of grey levels from 0 to 255
    square     the side of the black square into which an image is fitted first (Lanczos); None: it is
               resized to the model's input as it is (bicubic), whatever its shape
    equalized  whether its pictures were made of DICOMs by :func:`equalized`
    """

    mean: float
    std: float
    square: int | None = None
    equalized: bool = False


WAYS = {"mimic": Way(101.48761, 83.43944, 320, equalized=True), "chexpert": Way(129.4185, 73.3378)}


def way_named(name: Any) -> Way:
    """The ``preprocess`` option. Raises :class:`SettingError`."""
    if not isinstance(name, str) or name not in WAYS:
        raise SettingError(f"cxr-repair: preprocess {name!r} is unknown; it is one of {', '.join(WAYS)}")
    return WAYS[name]


@dataclass(frozen=True)
class XrayPreparation(ImageOptions):
    """A :class:`m2ib_adapters.inputs.images.Preparation`.

    name      of the way
    size      rows, and columns, of the model's input
    equalize  whether the histogram of grey levels is made flat first; of a DICOM that of all its values, as
              MIMIC-CXR-JPG's files were made: from the least to the greatest, whatever window it names. None: of a
              DICOM where the way's training set was, of no other picture
    """

    name: str
    size: int
    equalize: bool | None = None

    def prepare(self, raw: Any, layout: Layout) -> Item:
        """A path (a DICOM too), PIL image or array as an :class:`Item` with (3, size, size) float32 pixels.

        Or a mapping with the key "image" for one of these and page, minimum and maximum for this input.
        """
        way, size = WAYS[self.name], (self.size, self.size)
        mine, value = self.with_input(raw)
        equalize = way.equalized if self.equalize is None else self.equalize
        image, origin = mine.opened(value, full=equalize and mine.minimum is None and mine.maximum is None)
        dicom = origin.get("dicom")
        equalize = bool(self.equalize) if dicom is None else equalize
        if dicom and self.equalize is None and dicom.get("window_ignored"):
            warn(
                f"{called(value, 'image')}: its window is passed over and its histogram equalised, as the pictures were "
                f"made on which this model was trained; for its window, say equalize=False (options.equalize=false)"
            )
        grey = image.convert("L")
        if equalize:
            grey = Image.fromarray(equalized(np.asarray(grey)))
        fitted, region = self._fit(grey)
        pixels = torch.from_numpy(np.array(fitted, dtype=np.float32)).expand(3, -1, -1)  # (3, s, s)
        inputs = (pixels - way.mean) / way.std
        if fitted.size != size:  # after normalising, and without antialiasing, as in training
            inputs = interpolate(inputs[None], size, mode="bicubic", align_corners=False)[0]  # (3, H, W)
        origin |= {
            "preprocess": self.name,
            "grey": True,
            "equalize": equalize,
            **({"equalize_assumed": True} if dicom and self.equalize is None else {}),
            "square": way.square,
            "mean": way.mean,
            "std": way.std,
            "input_size": list(size),
        }
        view = ImageView.of(grey.convert("RGB"), region, size)
        return Item(inputs.contiguous(), placed(layout, region), view, origin)

    def describe(self, pixels: Tensor, layout: Layout) -> Item:
        """One preprocessed tensor (3, size, size), shown with mean and deviation undone."""
        way = WAYS[self.name]
        mean, std = (way.mean / 255,) * 3, (way.std / 255,) * 3
        return ImagePreparation((self.size, self.size), mean, std).describe(pixels, layout)

    def _fit(self, grey: Image.Image) -> tuple[Image.Image, Region]:
        """The picture before the tensor is resized, and the region of ``grey`` that it shows."""
        square, (width, height) = WAYS[self.name].square, grey.size
        if square is None:
            return grey.resize((self.size, self.size), Image.Resampling.BICUBIC), (0, 0, width, height)
        ratio = square / max(width, height)
        inner = (max(1, int(width * ratio)), max(1, int(height * ratio)))  # rounded down, as in training
        return padded(grey, inner, (square, square), Image.Resampling.LANCZOS)


def equalized(grey: np.ndarray) -> np.ndarray:
    """Grey levels (H, W) uint8 spread so that all are about equally frequent, as OpenCV does it.

    The darkest level becomes 0, any other the share of the remaining pixels up to it, times 255.
    """
    counts = np.bincount(grey.reshape(-1), minlength=256)
    darkest = int(np.flatnonzero(counts)[0])
    rest = grey.size - counts[darkest]
    if rest == 0:
        return grey
    shares = (np.cumsum(counts) - counts[darkest]) / rest
    return np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)[grey]
