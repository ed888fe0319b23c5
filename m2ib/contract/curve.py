"""How a fit went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2ib.contract.schema import require

_NOTHING = 0.01  # of a similarity of at most 1: what stands no higher above noise is not told from it


@dataclass(frozen=True)
class Curve:
    """How one fit went, a value per forward pass.

    fit          mean similarity to the target over the noise samples (Eq. 15)
    information  mean KL over the elements of the activation, nats
    loss         weight * information - fit; the weight is beta, or for a lambda shared by C channels beta / sqrt(C)
    noise        the similarity of noise alone, over the first step's draws: what is left where nothing is let through
    zero         the similarity of inputs that have nothing in common; None: there is no such number, as of distances
    """

    fit: tuple[float, ...]
    information: tuple[float, ...]
    loss: tuple[float, ...]
    noise: float | None = None
    zero: float | None = 0.0

    def __post_init__(self) -> None:
        lengths = tuple(map(len, (self.fit, self.information, self.loss)))
        require(
            len({*lengths}) == 1 and lengths[0] > 0,
            "curve: its length",
            lengths,
            "the same for fit, information and loss, 1 or more",
        )

    @property
    def kept(self) -> float | None:
        """The share of the similarity that the fit kept: 1 for as much as at its start, 0 for no more than noise has.

        ``(last - noise) / (first - noise)`` of the means, which may be above 1 or below 0; None where the
        one at the start is not above ``zero``, or less than .01 above that of noise: there is nothing to keep.
        """
        nothing = self.zero is not None and self.fit[0] <= self.zero
        if self.noise is None or nothing or self.fit[0] - self.noise < _NOTHING:
            return None
        return (self.fit[-1] - self.noise) / (self.fit[0] - self.noise)

    @classmethod
    def mean(cls, curves: Sequence[Curve]) -> Curve:
        """Of several fits of one length."""
        names = ("fit", "information", "loss")
        means = (np.mean([getattr(curve, name) for curve in curves], axis=0) for name in names)
        alone = [curve.noise for curve in curves if curve.noise is not None]
        noise = float(np.mean(alone)) if len(alone) == len(curves) else None
        fit, information, loss = (tuple(mean.tolist()) for mean in means)
        return cls(fit, information, loss, noise, curves[0].zero)
