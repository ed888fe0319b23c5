"""What inputs are called, where people read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2ib.contract.layout import Axis, axes_at
from m2ib.contract.words import clusters
from m2ib.renderers.formatting import format_hertz, format_number

if TYPE_CHECKING:
    from m2ib.contract.attribution import Attribution


def file_name(attribution: Attribution) -> str:
    """The name of the file the input came from; "" for an input that came from none, and of bytes without a name."""
    origin = attribution.origin
    named = "sha256" in origin and origin["source"] != origin.get("given_as")
    return Path(origin["source"]).name if named else ""


def own_name(attribution: Attribution) -> str:
    """An input's words, or the name of the file that it came from; "" where there are neither."""
    text = attribution.view["text"] if attribution.layout.tokens and attribution.words else ""
    return f"“{shortened(str(text), _LONGEST)}”" if text else file_name(attribution)


def input_name(attribution: Attribution) -> str:
    """Which input it is: its kind, and its :func:`own_name`."""
    return f"{attribution.modality} {own_name(attribution)}".strip()


_LONGEST = 80  # characters


def described(attribution: Attribution) -> str:
    """A map to those who do not see it: of which input, by which method, and where it is highest."""
    told = f"{input_name(attribution)}, by {attribution.method}"
    values = attribution.balance
    if not values.size:
        return f"{told}, without cells"
    highest, unit = format_number(values.max()), f" {attribution.unit}" if attribution.unit else ""
    if words := attribution.words:
        word, most = max(words, key=lambda each: each[1])
        return f"{told}, highest at “{word}” with {format_number(most)}{unit}"
    place = np.unravel_index(int(values.argmax()), values.shape)
    names = [steps[at] for steps, at in zip(step_names(attribution, values.shape), place, strict=True)]
    cells = " × ".join(map(str, values.shape))
    return f"{told}, highest at {', '.join(filter(None, names))} of {cells} cells with {highest}{unit}"


def step_names(attribution: Attribution, shape: tuple[int, ...]) -> list[list[str]]:
    """For each axis of a grid of this shape what each step along it is called: a time or frequency, or counted from 1."""
    axes = axes_at(attribution.layout.axes, shape)
    if tuple(len(axis.spans) for axis in axes) != shape:
        plain = ("row", "column") if len(shape) == 2 else ("map", "row", "column")
        named = plain if len(shape) in (2, 3) else ("cell", *[""] * 9)
        return [[f"{name} {n + 1}" for n in range(size)] for name, size in zip(named, shape, strict=False)]
    return [[_step(axis, n) for n in range(len(axis.spans))] for axis in axes]


def _step(axis: Axis, number: int) -> str:
    start, end = axis.spans[number]
    if axis.name != "clip" and axis.unit == "s":
        return f"{start:.4g}–{end:.4g} s"
    if axis.unit == "Hz":
        return f"{format_hertz(start)}–{format_hertz(end)}"
    return f"{axis.name} {number + 1}"


def ensemble(attribution: Attribution) -> list[str]:
    """What the inputs are called whose mean is the target, the first of which has the map; [] of a single one."""
    names = attribution.origin.get("ensemble", [])
    return list(names) if attribution.layout.tokens else [Path(name).name for name in names]


def contrasted(attribution: Attribution) -> tuple[str, str] | None:
    """(this, the others) of an input that is explained rather than others; None for any other input."""
    others = attribution.origin.get("rather_than")
    if not others:
        return None
    if several := ensemble(attribution):
        return f"the mean of {', '.join(several)}", ", ".join(Path(other).name for other in others)
    if attribution.layout.tokens and attribution.words:
        return str(attribution.view["text"]), ", ".join(others)
    return file_name(attribution) or "this one", ", ".join(Path(other).name for other in others)


def is_contrast(attribution: Attribution) -> bool:
    """Whether ``against`` is what speaks for the other side of a contrast, and not what speaks against the pair."""
    return attribution.against is not None and not attribution.settings.get("signed")


def several(attribution: Attribution) -> str | None:
    """What an ensemble or a contrast is called, all of it; None of a single input."""
    if found := contrasted(attribution):
        return " rather than ".join(found)
    names = ensemble(attribution)
    return f"the mean of {', '.join(names)}" if names else None


def shortened(text: str, length: int) -> str:
    """``text`` on one line of so many characters at most, cut after a word where there is one, never within a character."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    ends = [end for _, end in clusters(text[:length]) if end <= length - 2]
    cut = text[: ends[-1] if ends else 0]
    whole, _, rest = cut.rpartition(" ")
    return (
        f"{whole if rest and len(whole) > length // 2 and not text[len(cut)].isspace() else cut.rstrip()} …"
    )
