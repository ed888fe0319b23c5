"""Image, depth and heat of planned scenes: one geometry, three ways of seeing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import grid_sample

from m2ib.scenes import icons
from m2ib.scenes.icons import KINDS, Atlas
from m2ib.scenes.plan import MOST, SIDE, ScenePlan

_MARGIN = 32  # pixels around the picture that an icon may reach into while it is drawn
_PADDED = SIDE + 2 * _MARGIN
_SEEN = slice(_MARGIN, _MARGIN + SIDE)
_BOX, _PIECE_BOX = 58, 40  # pixels that hold any icon, and any piece of clutter, turned
_PIECES = 7  # shapes of clutter
_COARSE = 8  # cells of the background's noise, each way
_COVERED = 0.5  # of a pixel: from here on it belongs to the object
_IMAGE, _DEPTH, _THERMAL = 1, 2, 3  # purposes of random numbers

_RGB = np.array([
    (0.86, 0.13, 0.13), (0.96, 0.52, 0.08), (0.95, 0.86, 0.15), (0.15, 0.66, 0.22),
    (0.14, 0.32, 0.88), (0.55, 0.17, 0.72), (0.97, 0.55, 0.75), (0.95, 0.95, 0.95),
])  # fmt: skip
"""By colour of :data:`m2ib.scenes.plan.COLOURS`."""

# By kind: how warm it is, what its dark and light parts add, and how heat changes across and down.
_HEAT = {
    "car": (0.62, -0.25, 0.10, -0.22, 0.05),
    "bell": (0.40, 0.20, -0.15, 0.0, -0.08),
    "drum": (0.46, -0.15, 0.18, 0.0, 0.10),
    "clock": (0.52, 0.28, -0.20, 0.0, 0.0),
    "bee": (0.74, -0.22, -0.28, -0.10, 0.0),
    "bird": (0.82, -0.30, -0.15, -0.12, -0.05),
    "cat": (0.84, -0.20, 0.12, 0.0, -0.10),
    "train": (0.66, 0.24, -0.12, 0.18, 0.10),
    "phone": (0.58, 0.10, 0.26, 0.0, -0.16),
    "kettle": (0.88, -0.40, 0.10, 0.0, 0.20),
    "guitar": (0.42, 0.14, 0.0, -0.10, 0.08),
    "frog": (0.36, 0.22, 0.16, 0.0, 0.12),
}
# By kind: metres that it stands out from what is behind it, its roundness, and what dark and light parts add.
_RELIEF = {
    "car": (1.5, 0.1, -0.45, -0.25),
    "bell": (1.3, 0.6, 0.35, 0.0),
    "drum": (1.6, 0.3, 0.15, -0.45),
    "clock": (1.4, 0.0, 0.25, -0.50),
    "bee": (1.7, 0.5, 0.30, -0.60),
    "bird": (1.5, 0.6, -0.30, 0.40),
    "cat": (1.8, 0.5, 0.25, -0.30),
    "train": (1.7, 0.0, 0.45, -0.35),
    "phone": (1.2, 0.0, 0.40, -0.30),
    "kettle": (1.5, 0.5, -0.40, 0.30),
    "guitar": (1.3, 0.2, -0.50, 0.0),
    "frog": (1.6, 0.4, 0.20, 0.45),
}


@dataclass(frozen=True)
class _Drawn:
    """One icon a scene: where its box lies, and what it covers there.

    which       (n,) scenes
    corner      (n, 2) column and row of the box in the padded picture
    body, tone  (n, box, box)
    across, down (n, box, box) the icon's own coordinates, -1 to 1
    """

    which: np.ndarray
    corner: np.ndarray
    body: np.ndarray
    tone: np.ndarray
    across: np.ndarray
    down: np.ndarray

    def boxes(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Views of (N, padded, padded, ...) pictures, one for each icon."""
        box = self.body.shape[1]
        places = zip(self.which.tolist(), self.corner.tolist(), strict=True)
        return [pictures[scene, row : row + box, column : column + box] for scene, (column, row) in places]

    def behind(self, pictures: np.ndarray) -> np.ndarray:
        """(n, box, box, ...) what the icons are drawn over."""
        return np.stack(self.boxes(pictures))

    def over(self, pictures: np.ndarray, values: np.ndarray) -> None:
        """Draw ``values`` (n, box, box, ...) where the icons are."""
        body = self.body if values.ndim == 3 else self.body[..., None]
        for box, share, value in zip(self.boxes(pictures), body, values, strict=True):
            box += share * (value - box)


def _draw(
    which: np.ndarray,
    atlas: Atlas,
    number: np.ndarray,
    centre: np.ndarray,
    pixels: np.ndarray,
    turn: np.ndarray,
    mirror: np.ndarray,
    box: int,
) -> _Drawn:
    """Icons (n,) of an atlas at their places, bilinearly."""
    corner = np.floor(centre - box / 2).astype(int)  # (n, 2) x and y
    offsets = np.arange(box) + 0.5
    x = (corner[:, :1] + offsets - centre[:, :1]).astype(np.float32)  # (n, box)
    y = (corner[:, 1:] + offsets - centre[:, 1:]).astype(np.float32)
    scale = 2 / pixels
    cos, sin = ((scale * of(turn)).astype(np.float32)[:, None, None] for of in (np.cos, np.sin))
    across = cos * x[:, None] + sin * y[:, :, None]  # (n, box, box), -1 to 1 within the icon
    down = cos * y[:, :, None] - sin * x[:, None]
    across *= np.where(mirror, -1, 1).astype(np.float32)[:, None, None]
    places = torch.from_numpy(np.stack([across, down], -1))  # (n, box, box, 2)
    drawn = grid_sample(torch.from_numpy(atlas.planes[number]), places, align_corners=False).numpy()
    return _Drawn(which, corner + _MARGIN, drawn[:, 0], drawn[:, 1], across, down)


def _objects(plan: ScenePlan) -> Iterator[tuple[int, _Drawn]]:
    """Slot by slot, all scenes' objects that are there."""
    fields = (plan.kind, plan.centre, plan.pixels, plan.turn, plan.mirror)
    for slot in range(MOST):
        which = np.flatnonzero(plan.present[:, slot])
        if len(which):
            number, centre, pixels, turn, mirror = (values[which, slot] for values in fields)
            yield slot, _draw(which, icons.kinds(), number, centre, pixels, turn, mirror, _BOX)


def _clutter(u: np.ndarray) -> Iterator[tuple[int, _Drawn]]:
    """Shapes that mean nothing, from (N, pieces, 6) uniform numbers."""
    atlas, which = icons.clutter(), np.arange(len(u))
    for piece in range(_PIECES):
        number = (u[:, piece, 0] * len(atlas)).astype(int)
        centre, pixels = u[:, piece, 1:3] * SIDE, 8 + 20 * u[:, piece, 3] ** 2
        turn = u[:, piece, 4] * 2 * np.pi
        yield piece, _draw(which, atlas, number, centre, pixels, turn, turn > np.pi, _PIECE_BOX)


def _smooth(coarse: np.ndarray) -> np.ndarray:
    """(N, cells, cells, ...) -> (N, padded, padded, ...), bilinearly."""
    place = np.linspace(0, coarse.shape[1] - 1, _PADDED)
    low = np.minimum(place.astype(int), coarse.shape[1] - 2)
    matrix = np.zeros((_PADDED, coarse.shape[1]), np.float32)
    matrix[np.arange(_PADDED), low] = 1 - (place - low)
    matrix[np.arange(_PADDED), low + 1] += place - low
    count, cells = coarse.shape[:2]
    flat = coarse.astype(np.float32).reshape(count, cells, -1)  # (N, cells, cells * channels)
    moved = (matrix @ flat).reshape(count, _PADDED, cells, -1).swapaxes(2, 3)  # (N, padded, channels, cells)
    channels = moved.shape[2]
    smooth = moved.reshape(count, _PADDED * channels, cells) @ matrix.T  # (N, padded * channels, padded)
    smooth = smooth.reshape(count, _PADDED, channels, _PADDED).swapaxes(2, 3)
    return np.ascontiguousarray(smooth.reshape(count, _PADDED, _PADDED, *coarse.shape[3:]))


def _uniform(plan: ScenePlan, purpose: int, *counts: int) -> list[np.ndarray]:
    """Uniform numbers, (N, count) for each of the counts."""
    drawn = np.stack([random.random(sum(counts), np.float32) for random in plan.random(purpose)])
    return np.split(drawn, np.cumsum(counts[:-1]), axis=1)


def _ground(
    grain: np.ndarray, base: np.ndarray, level: float, spread: float, rough: float, down: float, across: float
) -> np.ndarray:
    """(N, padded, padded) what lies behind everything: a rough plane, from uniform numbers (N, cells) and (N, 3)."""
    slope = np.linspace(-1, 1, _COARSE)
    rough_plane = rough * (grain.reshape(-1, _COARSE, _COARSE) - 0.5)
    coarse = level + spread * (base[:, 0, None, None] - 0.5) + rough_plane
    coarse = coarse + down * (base[:, 1, None, None] - 0.5) * slope[:, None]
    return _smooth(coarse + across * (base[:, 2, None, None] - 0.5) * slope)


def _inside(drawn: _Drawn, dark: np.ndarray, light: np.ndarray) -> np.ndarray:
    """What an icon's dark and light parts add."""
    return np.asarray(np.where(drawn.tone < 0, dark * -drawn.tone, light * drawn.tone))


def images(plan: ScenePlan) -> np.ndarray:
    """(N, 112, 112, 3) uint8."""
    grain, base, pieces, light = _uniform(plan, _IMAGE, _COARSE**2 * 3, 6, _PIECES * 9, MOST)
    grain = grain.reshape(-1, _COARSE, _COARSE, 3) - 0.5
    grain = 0.55 * grain.mean(-1, keepdims=True) + 0.45 * grain  # muted
    coarse = 0.42 + 0.30 * (base[:, None, None, :3] - 0.5) + 0.42 * grain
    slope = np.linspace(-1, 1, _COARSE)
    coarse += 0.12 * (base[:, 3, None, None, None] - 0.5) * slope[:, None, None]
    coarse += 0.12 * (base[:, 4, None, None, None] - 0.5) * slope[:, None]
    canvas = _smooth(coarse)  # (N, padded, padded, 3)
    pieces = pieces.reshape(-1, _PIECES, 9)
    for piece, drawn in _clutter(pieces[..., :6]):
        tint = 0.15 + 0.6 * pieces[:, piece, 6:]  # (N, 3)
        tint = 0.4 * tint.mean(-1, keepdims=True) + 0.6 * tint  # muted
        drawn.over(canvas, _toned(tint[:, None, None], drawn.tone, 0.4))
    for slot, drawn in _objects(plan):
        bright = 0.82 + 0.3 * light[drawn.which, slot]  # (n,)
        own = (_RGB[plan.colour[drawn.which, slot]] * bright[:, None]).clip(0, 1)[:, None, None]
        shade = 1 - 0.16 * (drawn.down + drawn.across)[..., None]
        drawn.over(canvas, _toned(own, drawn.tone, 0.8) * shade)
    return (canvas[:, _SEEN, _SEEN].clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _toned(colour: np.ndarray, tone: np.ndarray, strength: float) -> np.ndarray:
    """A colour (..., 3) darkened and lightened by tones in [-1, 1]."""
    colour = colour.astype(np.float32)
    dark, light = 1 + strength * np.minimum(tone, 0), strength * np.maximum(tone, 0)
    return np.asarray(colour * (dark - light)[..., None] + light[..., None])


def depths(plan: ScenePlan) -> np.ndarray:
    """(N, 112, 112) float32, metres."""
    grain, base, pieces = _uniform(plan, _DEPTH, _COARSE**2, 3, _PIECES * 7)
    canvas = _ground(grain, base, 4.6, spread=0.8, rough=0.35, down=0.9, across=0.6)
    pieces = pieces.reshape(-1, _PIECES, 7)
    for piece, drawn in _clutter(pieces[..., :6]):
        drawn.over(canvas, drawn.behind(canvas) - 0.5 * pieces[:, piece, 6, None, None])
    relief = np.array([_RELIEF[kind] for kind in KINDS], np.float32)
    for slot, drawn in _objects(plan):
        out, round_, dark, light = relief[plan.kind[drawn.which, slot]].T[..., None, None]  # (n, 1, 1) each
        behind = drawn.behind(canvas).mean((1, 2), keepdims=True)
        bulge = round_ * np.sqrt((1 - drawn.across**2 - drawn.down**2).clip(0))
        drawn.over(canvas, behind - out - bulge - _inside(drawn, dark, light))
    return canvas[:, _SEEN, _SEEN].clip(0.5, 8).astype(np.float32)


def thermals(plan: ScenePlan) -> np.ndarray:
    """(N, 112, 112) float32 in [0, 1], cold to hot."""
    grain, base, pieces, warmth = _uniform(plan, _THERMAL, _COARSE**2, 3, _PIECES * 7, MOST)
    canvas = _ground(grain, base, 0.16, spread=0.10, rough=0.10, down=0.10, across=0.05)
    pieces = pieces.reshape(-1, _PIECES, 7)
    for piece, drawn in _clutter(pieces[..., :6]):
        drawn.over(canvas, drawn.behind(canvas) + 0.22 * (pieces[:, piece, 6, None, None] - 0.4))
    heat = np.array([_HEAT[kind] for kind in KINDS], np.float32)
    for slot, drawn in _objects(plan):
        warm, dark, light, across, down = heat[plan.kind[drawn.which, slot]].T[..., None, None]
        own = warm + 0.08 * (warmth[drawn.which, slot] - 0.5)[:, None, None]
        shown = own + _inside(drawn, dark, light) + across * drawn.across + down * drawn.down
        drawn.over(canvas, shown)
    return canvas[:, _SEEN, _SEEN].clip(0, 1).astype(np.float32)


def masks(plan: ScenePlan) -> np.ndarray:
    """(N, 3, 112, 112) bool: the pixels of each slot's object, at least half covered by it and by no later one."""
    found = np.zeros((len(plan.seeds), MOST, _PADDED, _PADDED), bool)
    for slot, drawn in _objects(plan):
        covered = drawn.body >= _COVERED  # (n, box, box)
        for earlier in range(slot):
            for box, body in zip(drawn.boxes(found[:, earlier]), covered, strict=True):
                box &= ~body
        for box, body in zip(drawn.boxes(found[:, slot]), covered, strict=True):
            box[:] = body
    return np.ascontiguousarray(found[..., _SEEN, _SEEN])
