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


def contrasted(attribution: Attribution) -> tuple[str, str] | None:
    """(this, the others) of an input that is explained rather than others; None for any other input."""
    others = attribution.origin.get("rather_than")
    if not others:
        return None
    if attribution.layout.tokens:
        return str(attribution.view["text"]), ", ".join(others)
    return file_name(attribution) or "this one", ", ".join(Path(other).name for other in others)
