"""How much an input may hold, and a model's description stand for, looked at before memory is taken.

A few bytes can stand for more than there is. Each bound lies far above what is usual. Whoever has something larger, and knows it,
raises all bounds together by the environment variable ``M2IB_LARGER``: 4 lets in what is four times as large.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from m2ib.errors import CheckpointError, InputError, M2IBError, SettingError

LARGER = "M2IB_LARGER"


@dataclass(frozen=True)
class Bound:
    """The most that there may be of something.

    what  in the plural, for messages
    """

    most: int
    what: str

    @property
    def limit(self) -> int:
        """With what the environment says. Raises :class:`SettingError` where that is no number."""
        given = os.environ.get(LARGER, "1")
        with suppress(ValueError):
            if 1 <= (factor := float(given)) < math.inf:
                return int(self.most * factor)
        raise SettingError(f"{LARGER} is a number from 1 on, not {given!r}")

    def check(
        self, name: str, found: int, shown: str | None = None, error: type[M2IBError] = InputError
    ) -> None:
        """Raises ``error``, in the name of ``name``, for more; ``shown`` is how it is said there."""
        if found <= self.limit:
            return
        factor = -(-found // self.most)
        raised = f", or set {LARGER}={factor} in the environment if it is no fake" if factor < _ABSURD else ""
        raise error(
            f"{name} has {shown or f'{found:,} {self.what}'}, more than the {self.most:,} that are safe to open; make it "
            f"smaller{raised}"
        )


PIXELS = Bound(178_956_970, "pixels")  # 0.5 GiB of RGB
NUMBERS = Bound(2**25, "pixels")  # of depth, heat and DICOM, which are computed with in float64
PAGES = Bound(10_000, "pages")  # of a TIFF, whose pages are found one by one, ever more slowly
FRAMES = Bound(2**32, "pixels in its frames")  # of an animation, which are all decoded
BYTES = Bound(2**36, "bytes")  # of a file, all of which is read for its hash
WHOLE = Bound(2**30, "bytes")  # of what is held at once: a stream, an MP3 without a length, a deflated DICOM
TEXT = Bound(2**27, "bytes")  # of a table, whose cells become 20 times as large
ROWS = Bound(2**22, "rows")
COLUMNS = Bound(2**10, "columns")
SAMPLES = Bound(2**33, "samples")  # of a sound, a day in stereo; they are read block by block
HELD = Bound(2**28, "samples to be held at once")  # of a sound's channels
MEASURED = Bound(2**26, "numbers")  # of an array of motion

LAYERS = Bound(2**10, "layers")
SIDE = Bound(2**13, "pixels along a side")
SIZE = Bound(2**22, "")  # any whole number of a model's description
WEIGHTS = Bound(2**33, "weights")

_MADE = re.compile(  # by which tensors are made
    r"heads$|layers$|width$|dim$|dims$|channels$|features$|embeddings$|context_length$|bins$"
    r"|(hidden|intermediate|vocab|patch|kernel|embed|image|feature|latent|type_vocab)_size$"
)
_LAYERS = re.compile(r"layers?(_|$)|depths?(_|$)|blocks?(_|$)")
_SIDES = ("image_size", "size", "crop_size", "pad_size", "height", "shortest_edge", "longest_edge", "pixels")
_ABSURD = 10**6
_SMALL = 2**28  # weights, 1 GiB; a model of fewer is made before its file is looked into, which says more
_DEEPEST = 20  # descriptions in descriptions


def check_pixels(name: str, width: int, height: int, bound: Bound = PIXELS) -> None:
    """Raises :class:`InputError` for a picture of more than :data:`PIXELS`, or another bound."""
    bound.check(name, width * height, f"{width}x{height} pixels")


def check_described(
    described: Any, who: str, error: type[M2IBError] = CheckpointError, key: str = "", deep: int = 0
) -> None:
    """The sizes in the JSON that describes a model, or what makes its inputs ready, before anything is made by them; and that
    timm's models in it are of its own.

    Raises ``error``, in the name of ``who``.
    """
    if deep > _DEEPEST:
        raise error(f"{who} describes parts in parts in parts, more than {_DEEPEST} deep; it is damaged")
    if isinstance(described, Mapping):
        for name, value in described.items():
            check_described(value, who, error, str(name), deep + 1)
    elif isinstance(described, (list, tuple)):
        if _LAYERS.search(key) and all(isinstance(value, int) for value in described):
            LAYERS.check(who, sum(map(abs, described)), f"{key}={sum(described)}", error)
        for value in described:
            check_described(value, who, error, key, deep + 1)
    elif isinstance(described, str) and (
        key == "checkpoint_path" or (key == "architecture" and ":" in described)
    ):
        raise error(
            f"{who} has {key}={described!r:.60}, a model from elsewhere, which is not read; load it yourself and give the model in "
            "memory"
        )
    elif isinstance(described, int) and not isinstance(described, bool):
        if described < 0 and _MADE.search(key):
            raise error(f"{who} has {key}={described!s:.20}, which is no size")
        bound = LAYERS if _LAYERS.search(key) else SIDE if key in _SIDES else SIZE
        if bound is not SIZE or _MADE.search(key):
            bound.check(who, abs(described), f"{key}={described!s:.20}", error)


def check_weights(
    make: Callable[[], nn.Module], who: str, there: int | None, error: type[M2IBError] = CheckpointError
) -> None:
    """:func:`check_module` of what is yet to be made, by making it without memory; what cannot be made so is let pass."""
    try:
        with torch.device("meta"):
            module = make()
    except Exception:  # made in earnest, it says why
        return
    check_module(module, who, there, error)


def check_module(
    module: nn.Module, who: str, there: int | None, error: type[M2IBError] = CheckpointError
) -> None:
    """How many numbers a model holds that has no memory yet.

    there  bytes of the file of its weights, which are at least as many as they; None: it is not known

    Raises ``error``, in the name of ``who``.
    """
    weights = sum(each.numel() for each in module.parameters())
    WEIGHTS.check(who, weights + sum(each.numel() for each in module.buffers()), error=error)
    if there is not None and weights > max(there, _SMALL):
        raise error(
            f"{who} describes a model of {weights:,} weights, and the file of its weights has {there:,} bytes; they do not "
            "belong together"
        )
