"""What stands over maps: by which method, with which settings, of what."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from m2ib.contract.attribution import Attribution
from m2ib.contract.pair import AttributionPair
from m2ib.registry.discovery import list_methods
from m2ib.renderers.names import contrasted, ensemble, file_name, several, shortened

_ALWAYS = ("layer", "preset")


def title_of(attribution: Attribution) -> str:
    """Of a map that stands alone: what it is of, its method and settings, and how its fit went."""
    told = settings_of(attribution)
    title = f"{attribution.modality}: {attribution.method}" + (f" ({told})" if told else "")
    if attribution.curve is not None and attribution.curve.noise is not None:
        kept = attribution.curve.kept
        share = "no similarity to keep" if kept is None else f"the fit kept {min(max(kept, 0.0), 1.0):.0%}"
        title += ("\n" if len(title) > 40 else ", ") + share
    names = contrasted(attribution)
    if names is None:
        all_of = ensemble(attribution)
        return title + (f"\nof {shortened(all_of[0], 45)}, the first of {len(all_of)}" if all_of else "")
    this, other = (shortened(name, 45) for name in names)
    between = " " if len(this + other) < 45 else "\n"
    return f"{title}\n{this}{between}rather than {other}"


def settings_of(attribution: Attribution, without: Container[Any] = ()) -> str:
    """The settings that matter, in words: the layer, the preset, and all that is not as it usually is; "" for none.

    without  names of settings that are told elsewhere
    """
    given, usual = attribution.settings, _usual(attribution.method)
    names = [name for name in _ALWAYS if given.get(name) is not None]
    names += [name for name in usual if name in given and name not in _ALWAYS and given[name] != usual[name]]
    names += [name for name in ("seeds",) if name in given]
    return ", ".join(f"{name} {_value(given[name])}" for name in names if name not in without)


def _usual(method: str) -> dict[str, Any]:
    """By setting, what every encoder has by default, and what a method that is installed here has with every encoder."""
    from m2ib.contract.encoder import Defaults  # with torch, which pages of results do without

    usual: dict[str, Any] = {"beta": Defaults.beta, "variance": Defaults.variance, "target": Defaults.target}
    try:
        declared = list_methods()[method].spec.settings
    except KeyError:
        return usual
    return usual | {each.name: each.default for each in declared if not callable(each.default)}


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else f"{value!s:.40}"


def similarity_of(explanation: AttributionPair) -> str:
    """What it is, with its number."""
    to = " to the mean" if any(map(ensemble, explanation)) else ""
    to = " to the difference" if any(map(contrasted, explanation)) else to
    return f"{explanation.similarity_title} {explanation.similarity:.3f}{to}"


def caption_of(attribution: Attribution) -> str:
    """What an input is called in a line: a text by itself, anything else by its file, or by its kind."""
    if found := several(attribution):
        return found
    if attribution.words:
        return str(attribution.view["text"])
    return file_name(attribution) or attribution.modality
