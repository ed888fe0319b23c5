"""What is in a scene and where: the choices that all of its modalities share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2ib.errors import InputError, SettingError, did_you_mean
from m2ib.scenes.icons import KINDS

MOST = 3  # objects in a scene
SIDE = 112  # pixels of pictures
SECONDS = 2.0  # of sound and of motion
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SIZES = ("small", "big")
_PIXELS = ((26.0, 33.0), (40.0, 47.0))  # across, by size
_TRIES = 40  # placements drawn, of which the first without overlap is used
_EVENT = (0.42, 0.60)  # seconds that an object sounds or shakes


@dataclass(frozen=True)
class ScenePlan:
    """N scenes with up to three objects each; slots from ``count`` on are empty.

    seeds    (N,)
    count    (N,) 1 to 3
    kind     (N, 3) numbers of :data:`KINDS`, distinct within a scene
    colour   (N, 3) numbers of :data:`COLOURS`
    size     (N, 3) numbers of :data:`SIZES`
    pixels   (N, 3) across
    centre   (N, 3, 2) x and y in pixels
    turn     (N, 3) radians
    mirror   (N, 3) bool
    sounds   (N, 3, 2) start and end of its sound, seconds; no two overlap
    motions  (N, 3, 2) the same of its vibration
    """

    seeds: tuple[int, ...]
    count: np.ndarray
    kind: np.ndarray
    colour: np.ndarray
    size: np.ndarray
    pixels: np.ndarray
    centre: np.ndarray
    turn: np.ndarray
    mirror: np.ndarray
    sounds: np.ndarray
    motions: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """(N, 3) bool: which slots hold an object."""
        return np.arange(MOST) < self.count[:, None]

    def random(self, purpose: int) -> list[np.random.Generator]:
        """A generator for each scene, another one for each purpose."""
        return [np.random.default_rng((seed, purpose)) for seed in self.seeds]


def plan(seeds: Sequence[int], *, kinds: Sequence[str] | None = None, count: int | None = None) -> ScenePlan:
    """The plan of each seed: a scene's own seed decides, whatever stands beside it.

    kinds  which objects, for all of them; None: drawn
    count  how many, 1 to 3; None: drawn

    Raises :class:`SettingError` and :class:`InputError`.
    """
    numbers = None if kinds is None else _numbers(kinds)
    if count is not None and (count not in (1, 2, 3) or isinstance(count, bool)):
        raise SettingError(f"scenes: count={count!r} is out of range; a scene holds 1, 2 or 3 objects")
    if numbers is not None and count not in (None, len(numbers)):
        raise SettingError(
            f"scenes: count={count} does not go with {len(numbers)} kinds; leave one of them out"
        )
    checked = tuple(_seed(seed) for seed in seeds)
    drawn = np.stack([np.random.default_rng((seed, 0)).random(_NUMBERS) for seed in checked])  # (N, numbers)
    parts = np.split(drawn, np.cumsum(_PARTS)[:-1], axis=1)
    u_count, u_kind, u_colour, u_size, u_pixels, u_turn, u_mirror, u_places, u_sounds, u_motions = parts
    chosen = np.argsort(u_kind, axis=1)[:, :MOST]  # (N, 3)
    many = 1 + (u_count[:, 0] * MOST).astype(int)  # (N,)
    if numbers is not None:
        chosen[:, : len(numbers)] = numbers
        many[:] = len(numbers)
    elif count is not None:
        many[:] = count
    size = (u_size * len(SIZES)).astype(int)  # (N, 3)
    low, high = np.array(_PIXELS)[size].transpose(2, 0, 1)  # (N, 3) each
    pixels = low + u_pixels * (high - low)
    return ScenePlan(
        seeds=checked,
        count=many,
        kind=chosen,
        colour=(u_colour * len(COLOURS)).astype(int),
        size=size,
        pixels=pixels,
        centre=_placed(u_places.reshape(-1, _TRIES, MOST, 2), pixels, many),
        turn=(u_turn - 0.5) * 0.5,
        mirror=u_mirror < 0.5,
        sounds=_timed(u_sounds, many),
        motions=_timed(u_motions, many),
    )


_PARTS = (1, len(KINDS), MOST, MOST, MOST, MOST, MOST, _TRIES * MOST * 2, 3 * MOST + 1, 3 * MOST + 1)
_NUMBERS = sum(_PARTS)


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SettingError(f"scenes: seed={seed!r} is not a whole number >= 0")
    return int(seed)


def _numbers(kinds: Sequence[str]) -> list[int]:
    if isinstance(kinds, str) or not 1 <= len(kinds) <= MOST or len(set(kinds)) < len(kinds):
        raise InputError(
            f"scenes: kinds={kinds!r} are not one to three different ones, as in ('bell', 'car')"
        )
    for kind in kinds:
        if kind not in KINDS:
            hint = did_you_mean(str(kind), KINDS)
            raise InputError(f"scenes: there is no {kind!r}{hint} The kinds are {', '.join(KINDS)}")
    return [KINDS.index(kind) for kind in kinds]


def _placed(u: np.ndarray, pixels: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(N, 3, 2) centres so that no two objects overlap, out of (N, tries, 3, 2) uniform numbers."""
    radius = pixels[:, None, :, None] / 2  # (N, 1, 3, 1)
    centres = radius + u * (SIDE - 2 * radius)  # (N, tries, 3, 2)
    apart = np.linalg.norm(centres[:, :, :, None] - centres[:, :, None], axis=-1)  # (N, tries, 3, 3)
    needed = (pixels[:, :, None] + pixels[:, None]) / 2  # (N, 3, 3)
    there = np.arange(MOST) < count[:, None]  # (N, 3)
    pair = there[:, :, None] & there[:, None] & ~np.eye(MOST, dtype=bool)  # (N, 3, 3)
    fits = ((apart >= needed[:, None]) | ~pair[:, None]).all((2, 3))  # (N, tries)
    centres[:, -1] = np.array([(28, 28), (84, 28), (28, 84)])  # always fits
    fits[:, -1] = True
    return np.asarray(centres[np.arange(len(u)), fits.argmax(1)])


def _timed(u: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(N, 3, 2) start and end of events that do not overlap, in a random order."""
    lengths = _EVENT[0] + u[:, :MOST] * (_EVENT[1] - _EVENT[0])  # (N, 3)
    there = np.arange(MOST) < count[:, None]
    lengths = lengths * there
    order = np.argsort(np.where(there, u[:, MOST : 2 * MOST], 2.0), axis=1)  # (N, 3) first to last
    gaps = np.diff(np.sort(u[:, 2 * MOST :], axis=1)[:, : MOST + 1], prepend=0.0, append=1.0, axis=1)
    # (N, 5): before each event, and after the last
    share = np.where(np.arange(MOST + 2) <= count[:, None], gaps, 0)
    share /= share.sum(1, keepdims=True)
    free = (SECONDS - lengths.sum(1))[:, None] * share
    ordered = np.take_along_axis(lengths, order, 1)
    starts = np.cumsum(free[:, :MOST], 1) + np.cumsum(ordered, 1) - ordered  # (N, 3) by order
    events = np.zeros((len(u), MOST, 2))
    np.put_along_axis(events[..., 0], order, starts, 1)
    np.put_along_axis(events[..., 1], order, starts + ordered, 1)
    return np.asarray(events * there[..., None])
