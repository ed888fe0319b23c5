"""Which stored values become black and white: one rule for all pictures of more than 8 bits.

In this order: what the user says (``minimum``, ``maximum``); what the file tells (``Told``); of whole numbers the
smallest of 8, 10, 12, 14 and 16 bits that holds the greatest of them, since many cameras and scanners fill a
part of 16 bits; with negative ones, as in CT, the least and the greatest. What is assumed of fewer than 16 bits
is warned of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from m2ib.errors import InputError
from m2ib.notices import warn
from m2ib_adapters.inputs.media import rounded
from m2ib_adapters.inputs.options import saying

USUAL_BITS = (8, 10, 12, 14, 16)
_MOST = 2 ** USUAL_BITS[-1] - 1
Limits = tuple[float | None, float | None]
"""What the user says is black and white; None: nothing."""


@dataclass(frozen=True)
class Told:
    """What a file says of its values.

    white     the value that is white; None: it says nothing
    by        where that stands
    inverted  whether 0 is white
    """

    white: float | None = None
    by: str = ""
    inverted: bool = False


@dataclass(frozen=True)
class Levels:
    """Black and white among stored values, and how they were found: ``by``, for the provenance."""

    black: float
    white: float
    by: str
    assumed: bool = False
    inverted: bool = False

    def shares(self, values: np.ndarray) -> np.ndarray:
        """Values as shares of white, float64 in [0, 1]."""
        shares = ((values.astype(np.float64) - self.black) / (self.white - self.black)).clip(0, 1)
        return 1 - shares if self.inverted else shares

    @property
    def origin(self) -> dict[str, Any]:
        """For the provenance."""
        told: dict[str, Any] = {"black": rounded(self.black), "white": rounded(self.white), "by": self.by}
        return told | {"assumed": self.assumed} | ({"inverted": True} if self.inverted else {})


def levels_of(
    values: np.ndarray, told: Told, name: str, *, minimum: float | None = None, maximum: float | None = None
) -> Levels:
    """Of whole or floating-point numbers, by the rule. Raises :class:`InputError`, in the name of ``name``."""
    least, most = values.min(), values.max()  # floating-point numbers are checked by whoever read them
    if maximum is not None or minimum is not None:
        black = 0.0 if minimum is None else float(minimum)
        white = float(maximum) if maximum is not None else _white(most, told)
        if black >= white:
            raise InputError(f"{name}: minimum={black:g} is not below maximum={white:g}")
        return Levels(black, white, "given", False, told.inverted)
    if np.issubdtype(values.dtype, np.floating):
        if least < 0 or most > 1:
            raise InputError(
                f"{name}: floating-point pixels lie in [0, 1], not in [{least:g}, {most:g}]; "
                f"scale them, give uint8, or say which value is white: {saying('image', 'maximum', float(most))}"
            )
        return Levels(0.0, 1.0, "unit", False, told.inverted)
    if most > _MOST or least < -_MOST:
        raise InputError(
            f"{name}: grey levels lie in 0 to {_MOST}, not in {least} to {most}; say which value is white: "
            f"{saying('image', 'maximum', int(most))}"
        )
    if least < 0:
        white = float(most) if most > least else float(least) + 1
        warn(
            f"{name}: its values run from {least} to {most}, and no file says which are black and white: the least "
            f"and the greatest are taken; say others (options.image.minimum, options.image.maximum)"
        )
        return Levels(float(least), white, "least and greatest value", True, told.inverted)
    if told.white is not None and most <= told.white:
        return Levels(0.0, told.white, told.by, False, told.inverted)
    white = _white(most, Told())
    if white < _MOST and most > 0:
        bits = int(np.log2(white + 1))
        warn(
            f"{name}: its whole numbers end at {most}, so they are read as {bits} bits, with {white:g} as white; if "
            f"that is wrong, say {saying('image', 'maximum', _MOST)}"
        )
        return Levels(0.0, white, f"{bits} bits, the fewest that hold the values", True, told.inverted)
    return Levels(0.0, float(_MOST), "16 bits", False, told.inverted)


def _white(most: float, told: Told) -> float:
    """As the file tells, else the end of the fewest usual bits that hold ``most``."""
    if told.white is not None and most <= told.white:
        return float(told.white)
    return float(next((2**bits - 1 for bits in USUAL_BITS if most < 2**bits), most))
