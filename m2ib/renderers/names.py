"""What inputs are called, where people read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m2ib.contract.attribution import Attribution


def file_name(attribution: Attribution) -> str:
    """The name of the file the input came from; "" for an input that came from none, and of bytes without a name."""
    origin = attribution.origin
    named = "sha256" in origin and origin["source"] != origin.get("given_as")
    return Path(origin["source"]).name if named else ""


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
    if attribution.layout.tokens:
        return str(attribution.view["text"]), ", ".join(others)
    return file_name(attribution) or "this one", ", ".join(Path(other).name for other in others)
