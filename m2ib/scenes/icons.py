"""The kinds' icons, and the clutter behind them, drawn once: silhouettes and the tones inside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64  # pixels of an icon
_FINE = 256  # pixels that it is drawn with
_DARK, _PLAIN, _LIGHT = 30, 128, 235


@dataclass(frozen=True)
class Atlas:
    """Icons by number.

    planes  (icons, 2, SIDE, SIDE) float32: how much of a pixel the icon covers, in [0, 1]; and its tone in
            [-1, 1], dark to light, where 0 is the icon's own colour
    """

    planes: np.ndarray

    def __len__(self) -> int:
        return len(self.planes)


class _Pen:
    """Draws silhouette and tones in coordinates from 0 to 1, y downwards."""

    def __init__(self) -> None:
        self._body = Image.new("L", (_FINE, _FINE), 0)
        self._tone = Image.new("L", (_FINE, _FINE), _PLAIN)

    def polygon(self, *points: tuple[float, float], tone: int = _PLAIN) -> None:
        self._each("polygon", [(x * _FINE, y * _FINE) for x, y in points], tone)

    def ellipse(self, x: float, y: float, rx: float, ry: float | None = None, *, tone: int = _PLAIN) -> None:
        ry = rx if ry is None else ry
        box = [(x - rx) * _FINE, (y - ry) * _FINE, (x + rx) * _FINE, (y + ry) * _FINE]
        self._each("ellipse", box, tone)

    def box(self, left: float, top: float, right: float, bottom: float, *, tone: int = _PLAIN) -> None:
        self._each("rectangle", [left * _FINE, top * _FINE, right * _FINE, bottom * _FINE], tone)

    def line(self, *points: tuple[float, float], width: float = 0.05, tone: int = _PLAIN) -> None:
        scaled = [(x * _FINE, y * _FINE) for x, y in points]
        self._each("line", scaled, tone, width=round(width * _FINE), joint="curve")

    def _each(self, shape: str, place: Sequence[object], tone: int, **how: Any) -> None:
        for image, fill in ((self._body, 255), (self._tone, tone)):
            getattr(ImageDraw.Draw(image), shape)(place, fill=fill, **how)

    def finished(self) -> np.ndarray:
        small = (SIDE, SIDE)
        body = np.asarray(self._body.resize(small, Image.Resampling.BOX), np.float32) / 255
        tone = np.asarray(self._tone.resize(small, Image.Resampling.BOX), np.float32)
        return np.stack([body, (tone - _PLAIN) / (255 - _PLAIN)])


def _car(p: _Pen) -> None:
    p.polygon((0.22, 0.48), (0.36, 0.24), (0.68, 0.24), (0.82, 0.48))
    p.box(0.03, 0.45, 0.97, 0.72)
    p.polygon((0.31, 0.46), (0.40, 0.30), (0.50, 0.30), (0.50, 0.46), tone=_LIGHT)
    p.polygon((0.55, 0.30), (0.64, 0.30), (0.73, 0.46), (0.55, 0.46), tone=_LIGHT)
    for x in (0.25, 0.75):
        p.ellipse(x, 0.72, 0.14, tone=_DARK)
        p.ellipse(x, 0.72, 0.05, tone=_LIGHT)


def _bell(p: _Pen) -> None:
    p.ellipse(0.5, 0.12, 0.08)
    p.ellipse(0.5, 0.38, 0.26, 0.28)
    p.polygon((0.24, 0.38), (0.76, 0.38), (0.84, 0.70), (0.94, 0.80), (0.06, 0.80), (0.16, 0.70))
    p.box(0.10, 0.70, 0.90, 0.77, tone=_DARK)
    p.ellipse(0.5, 0.88, 0.10, tone=_DARK)
    p.ellipse(0.40, 0.42, 0.06, 0.14, tone=_LIGHT)


def _drum(p: _Pen) -> None:
    p.box(0.08, 0.34, 0.92, 0.80)
    p.ellipse(0.5, 0.80, 0.42, 0.14)
    for left, right in ((0.12, 0.30), (0.30, 0.50), (0.50, 0.70), (0.70, 0.88)):
        p.line((left, 0.44), ((left + right) / 2, 0.84), (right, 0.44), width=0.035, tone=_DARK)
    p.ellipse(0.5, 0.34, 0.42, 0.14, tone=_LIGHT)
    p.line((0.12, 0.04), (0.46, 0.32), width=0.05, tone=_DARK)
    p.line((0.88, 0.04), (0.54, 0.32), width=0.05, tone=_DARK)


def _clock(p: _Pen) -> None:
    p.ellipse(0.24, 0.14, 0.13)
    p.ellipse(0.76, 0.14, 0.13)
    p.line((0.28, 0.84), (0.18, 0.96), width=0.09)
    p.line((0.72, 0.84), (0.82, 0.96), width=0.09)
    p.ellipse(0.5, 0.54, 0.40)
    p.ellipse(0.5, 0.54, 0.30, tone=_LIGHT)
    p.line((0.5, 0.54), (0.5, 0.32), width=0.055, tone=_DARK)
    p.line((0.5, 0.54), (0.66, 0.62), width=0.055, tone=_DARK)


def _bee(p: _Pen) -> None:
    p.ellipse(0.36, 0.24, 0.15, 0.22, tone=_LIGHT)
    p.ellipse(0.62, 0.22, 0.15, 0.21, tone=_LIGHT)
    p.ellipse(0.50, 0.60, 0.44, 0.26)
    for x in (0.34, 0.52, 0.70):
        p.box(x - 0.045, 0.38, x + 0.045, 0.82, tone=_DARK)
    p.ellipse(0.12, 0.58, 0.12, tone=_DARK)
    p.polygon((0.92, 0.55), (1.0, 0.60), (0.92, 0.66), tone=_DARK)


def _bird(p: _Pen) -> None:
    p.polygon((0.62, 0.50), (0.98, 0.36), (0.96, 0.62), (0.70, 0.70))
    p.ellipse(0.48, 0.56, 0.32, 0.24)
    p.ellipse(0.26, 0.34, 0.18)
    p.polygon((0.12, 0.30), (0.0, 0.38), (0.13, 0.42), tone=_DARK)
    p.ellipse(0.24, 0.31, 0.045, tone=_DARK)
    p.polygon((0.36, 0.50), (0.70, 0.46), (0.58, 0.70), tone=_LIGHT)
    p.line((0.42, 0.78), (0.38, 0.97), width=0.045, tone=_DARK)
    p.line((0.56, 0.78), (0.58, 0.97), width=0.045, tone=_DARK)


def _cat(p: _Pen) -> None:
    p.polygon((0.10, 0.50), (0.10, 0.04), (0.44, 0.28))
    p.polygon((0.90, 0.50), (0.90, 0.04), (0.56, 0.28))
    p.ellipse(0.5, 0.58, 0.44, 0.38)
    p.ellipse(0.33, 0.50, 0.08, 0.10, tone=_LIGHT)
    p.ellipse(0.67, 0.50, 0.08, 0.10, tone=_LIGHT)
    p.ellipse(0.33, 0.50, 0.03, 0.08, tone=_DARK)
    p.ellipse(0.67, 0.50, 0.03, 0.08, tone=_DARK)
    p.polygon((0.44, 0.64), (0.56, 0.64), (0.50, 0.72), tone=_DARK)
    p.line((0.38, 0.80), (0.50, 0.73), (0.62, 0.80), width=0.03, tone=_DARK)


def _train(p: _Pen) -> None:
    p.box(0.60, 0.10, 0.94, 0.72)
    p.box(0.08, 0.36, 0.62, 0.72)
    p.box(0.16, 0.12, 0.30, 0.38)
    p.box(0.11, 0.08, 0.35, 0.17, tone=_DARK)
    p.box(0.67, 0.18, 0.87, 0.40, tone=_LIGHT)
    p.polygon((0.08, 0.56), (0.08, 0.86), (0.0, 0.86))
    for x in (0.20, 0.45, 0.76):
        p.ellipse(x, 0.78, 0.13, tone=_DARK)
        p.ellipse(x, 0.78, 0.05, tone=_LIGHT)


def _phone(p: _Pen) -> None:
    p.box(0.26, 0.02, 0.74, 0.98)
    p.box(0.32, 0.12, 0.68, 0.46, tone=_LIGHT)
    for y in (0.58, 0.71, 0.84):
        for x in (0.38, 0.50, 0.62):
            p.ellipse(x, y, 0.042, tone=_DARK)
    p.box(0.42, 0.055, 0.58, 0.08, tone=_DARK)


def _kettle(p: _Pen) -> None:
    p.line((0.24, 0.40), (0.28, 0.12), (0.72, 0.12), (0.76, 0.40), width=0.075, tone=_DARK)
    p.polygon((0.70, 0.62), (0.98, 0.34), (1.0, 0.46), (0.76, 0.82))
    p.polygon((0.26, 0.36), (0.74, 0.36), (0.88, 0.92), (0.12, 0.92))
    p.box(0.26, 0.33, 0.74, 0.40, tone=_DARK)
    p.ellipse(0.5, 0.29, 0.06, tone=_DARK)
    p.polygon((0.32, 0.46), (0.42, 0.46), (0.36, 0.84), (0.24, 0.84), tone=_LIGHT)


def _guitar(p: _Pen) -> None:
    p.ellipse(0.32, 0.70, 0.28)
    p.ellipse(0.48, 0.50, 0.20)
    p.line((0.50, 0.50), (0.88, 0.12), width=0.09, tone=_DARK)
    p.line((0.84, 0.16), (0.96, 0.04), width=0.16)
    p.ellipse(0.40, 0.60, 0.10, tone=_DARK)
    p.line((0.18, 0.74), (0.28, 0.84), width=0.05, tone=_DARK)


def _frog(p: _Pen) -> None:
    p.ellipse(0.28, 0.24, 0.17)
    p.ellipse(0.72, 0.24, 0.17)
    p.ellipse(0.5, 0.46, 0.40, 0.26)
    p.ellipse(0.5, 0.70, 0.32, 0.24)
    p.ellipse(0.14, 0.84, 0.14, 0.10)
    p.ellipse(0.86, 0.84, 0.14, 0.10)
    for x in (0.28, 0.72):
        p.ellipse(x, 0.22, 0.10, tone=_LIGHT)
        p.ellipse(x, 0.22, 0.05, tone=_DARK)
    p.line((0.24, 0.52), (0.50, 0.60), (0.76, 0.52), width=0.035, tone=_DARK)
    p.ellipse(0.5, 0.76, 0.18, 0.14, tone=_LIGHT)


KINDS = ("car", "bell", "drum", "clock", "bee", "bird", "cat", "train", "phone", "kettle", "guitar", "frog")
"""The kinds of objects, in the order of their numbers."""

_DRAWERS = (_car, _bell, _drum, _clock, _bee, _bird, _cat, _train, _phone, _kettle, _guitar, _frog)


def _blob(p: _Pen) -> None:
    p.ellipse(0.5, 0.5, 0.48, 0.4)


def _slab(p: _Pen) -> None:
    p.box(0.04, 0.2, 0.96, 0.8)


def _wedge(p: _Pen) -> None:
    p.polygon((0.05, 0.92), (0.6, 0.05), (0.95, 0.85))


def _bar(p: _Pen) -> None:
    p.box(0.4, 0.0, 0.6, 1.0)


def _ring(p: _Pen) -> None:
    p.ellipse(0.5, 0.5, 0.46)
    p.ellipse(0.5, 0.5, 0.28, tone=_DARK)


_CLUTTER = (_blob, _slab, _wedge, _bar, _ring)


def _drawn(drawers: Sequence[Callable[[_Pen], None]]) -> Atlas:
    icons = []
    for draw in drawers:
        pen = _Pen()
        draw(pen)
        icons.append(pen.finished())
    return Atlas(np.stack(icons))


@cache
def kinds() -> Atlas:
    """One icon for each of :data:`KINDS`."""
    return _drawn(_DRAWERS)


@cache
def clutter() -> Atlas:
    """Shapes that mean nothing."""
    return _drawn(_CLUTTER)
