"""Raw thermal images -> grey levels in [0, 1] -> the tensor a model takes.

ImageBind's authors have not published a loader. A user who measured LLVIP reports 62.4 % with grey levels in
[0, 1] as they are and 55.2 % with CLIP's mean and std, so the default mean is 0 and the default std 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from torch import Tensor

from m2ib.contract.inputs import Item
from m2ib.errors import InputError, SettingError
from m2ib.notices import warn
from m2ib_adapters.inputs.fields import FieldPreparation, fit, is_flat, open_field, seen_part
from m2ib_adapters.inputs.media import called, rounded
from m2ib_adapters.inputs.options import is_number

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as PIL weighs colours
_GREY_ENOUGH = 8 / 255  # difference of channels that JPEG leaves in a grey picture, in shares of white
_PERCENTILES = (0.1, 99.9)


@dataclass(frozen=True)
class ThermalPreparation(FieldPreparation):
    """How a model wants thermal images.

    mean, std  of grey levels in [0, 1]
    low, high  raw values that become black and white, both or none. None: 0 and 255 for 8 bits, 0 and 1 for
               floating point within them; for all else the image's own percentiles .1 and 99.9, since
               cameras use a small part of 16 bits, and a single dead pixel must not decide
    page       of a raw input of several, counted from 0; None: the first, with a warning
    """

    low: float | None = None
    high: float | None = None

    MODALITY: ClassVar[str] = "thermal"
    IN_INPUT: ClassVar[tuple[str, ...]] = ("low", "high", "page")
    OPTIONS: ClassVar[tuple[str, ...]] = (*IN_INPUT, "mean", "std")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is None and self.high is None:
            return
        if not (is_number(self.low) and is_number(self.high) and self.low < self.high):  # type: ignore[operator]
            raise SettingError(
                f"thermal: low and high are the raw values of black and white, two numbers in this order, not "
                f"{self.low!r} and {self.high!r}"
            )

    def prepare(self, raw: Any) -> Item:
        """A thermal image as an :class:`Item` with (1, rows, columns) float32 numbers.

        A path, PIL image or array: grey, uint8, uint16 or floating point (temperatures too), or with three
        equal channels; or a mapping with the key "thermal" for one of these and low, high and page for this
        input.

        Raises :class:`InputError`; warns of false colours, and of an input that is the same everywhere.
        """
        mine, value = self.with_input(raw)
        name = called(value, "thermal")
        stored, origin = open_field(value, "thermal", mine.page, grey=True)
        levels = _grey(stored, name)  # (H, W)
        whole = not np.issubdtype(stored.dtype, np.floating)
        shares = not whole and levels.min() >= 0 and levels.max() <= 1  # of white, not temperatures
        low, high, stretch = mine._limits(levels, stored.dtype, shares)
        pixels = ((levels - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(levels)
        fitted, region = fit(pixels, self.size, Image.Resampling.BICUBIC, name)
        inputs = self.normalised(fitted.clip(0, 1))  # (1, rows, columns)
        if is_flat(inputs):
            _warn_of_one_level(seen_part(levels, region), low, high, name)
        origin |= {
            "stretch": stretch,
            "low": rounded(low),
            "high": rounded(high),
            "measured": [rounded(levels.min()), rounded(levels.max())],
            "interpolation": "bicubic",
        }
        unit = "grey level" if whole or shares else "as given"
        return self.item(inputs, levels, "thermal", unit, "bone", region, origin, (low, high))

    def describe(self, inputs: Tensor) -> Item:
        """One preprocessed tensor (1, H, W) as an :class:`Item`; shown with mean and std undone."""
        return self.item(inputs, self.denormalised(inputs), "thermal", "grey level", "bone")

    def _limits(self, levels: np.ndarray, dtype: np.dtype[Any], shares: bool) -> tuple[float, float, str]:
        """The raw values that become black and white, and how they were chosen."""
        if self.low is not None and self.high is not None:
            return float(self.low), float(self.high), "given"
        if dtype == np.uint8:
            return 0.0, 255.0, "8 bits"
        if shares:
            return 0.0, 1.0, "unit"
        low, high = np.percentile(levels, _PERCENTILES)
        return float(low), float(high), "percentiles"


def _warn_of_one_level(seen: np.ndarray, low: float, high: float, name: str) -> None:
    """Where the model sees one grey level."""
    least, most = float(seen.min()), float(seen.max())
    shows = "so the map shows nothing about heat"
    if least == most:
        warn(f"{name}: all values that the model sees are {least:g}, {shows}")
        return
    warn(
        f"{name}: its values from {least:g} to {most:g} become one grey level with low={low:g} and high={high:g}, "
        f"{shows}; say other limits (options.thermal.low, options.thermal.high)"
    )


def _grey(stored: np.ndarray, name: str) -> np.ndarray:
    """float64 (H, W). Warns of colours; raises :class:`InputError` for values that are not numbers."""
    values = stored.astype(np.float64)
    if not np.isfinite(values).all():
        missing = int((~np.isfinite(values)).sum())
        raise InputError(
            f"{name}: {missing} of {values.size} values are NaN or infinite; fill them, or crop the image"
        )
    if values.ndim == 2:
        return values
    colours = values[:, :, :3]
    white = 1.0 if np.issubdtype(stored.dtype, np.floating) else float(np.iinfo(stored.dtype).max)
    if np.ptp(colours, axis=2).max() > _GREY_ENOUGH * white:
        warn(
            f"{name}: a picture in false colours is not a measurement: its brightness is taken, which need not "
            "rise with temperature; give the camera's grey image"
        )
    return colours @ _LUMA
