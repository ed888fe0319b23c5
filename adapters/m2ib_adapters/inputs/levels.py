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
    floating = np.issubdtype(values.dtype, np.floating)
    given = minimum is not None or maximum is not None
    black, by, assumed = float(minimum or 0), "given", False
    if maximum is not None:
        white = maximum
    elif given and (floating or least < 0):
        white = max(most, 1)
    elif floating:
        if least < 0 or most > 1:
            raise InputError(
                f"{name}: floating-point pixels lie in [0, 1], not in [{least:g}, {most:g}]; "
                f"scale them, give uint8, or say which value is white: {saying('image', 'maximum', float(most))}"
            )
        white, by = 1.0, "unit"
    elif not given and (most > _MOST or least < -_MOST):
        raise InputError(
            f"{name}: grey levels lie in 0 to {_MOST}, not in {least} to {most}; say which value is white: "
            f"{saying('image', 'maximum', int(most))}"
        )
    elif least < 0:
        warn(
            f"{name}: its values run from {least} to {most}, and nothing says which are black and white: the least "
            f"and the greatest are taken; say others (options.image.minimum, options.image.maximum)"
        )
        black, white = float(least), max(float(most), float(least) + 1)
        by, assumed = "least and greatest value", True
    else:
        white, by, assumed = _white(values, told, name)
    if black >= white:
        raise InputError(f"{name}: minimum={black:g} is not below maximum={white:g}")
    return Levels(black, float(white), "given" if given else by, assumed, told.inverted)


def _white(values: np.ndarray, told: Told, name: str) -> tuple[float, str, bool]:
    """Of whole numbers from 0 on: what is white, where that stands, and whether it is assumed, which is warned of."""
    most = int(values.max())
    if told.white is not None and most <= told.white:
        return told.white, told.by, False
    bits = next((bits for bits in USUAL_BITS if most < 2**bits), None)
    if bits is None:  # where black is said, it may be beyond them
        return float(most), "greatest value", False
    all_bits = 255 if values.dtype.itemsize == 1 else _MOST
    white = 2**bits - 1
    if most == 0 or white >= all_bits:
        return float(all_bits), f"{all_bits.bit_length()} bits", False
    warn(
        f"{name}: its whole numbers end at {most}, so they are read as {bits} bits, with {white} as white; if that is "
        f"wrong, say {saying('image', 'maximum', _MOST)}"
    )
    return float(white), f"{bits} bits, the fewest that hold the values", True
