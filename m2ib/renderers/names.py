"""What inputs are called, where people read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from m2ib.contract.words import clusters

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
