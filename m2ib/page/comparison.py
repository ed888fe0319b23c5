"""A page with the maps of several methods for one pair, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from m2ib.contract.attribution import AttributionPair
from m2ib.errors import InputError
from m2ib.page.parts import held, rows_of, summary
from m2ib.renderers.names import contrasted, file_name


def render_comparison(explanations: Sequence[AttributionPair], *, title: str | None = None) -> str:
    """The page as HTML. Raises :class:`InputError` for explanations of different pairs."""
    first = explanations[0]
    if any(explanation.modalities != first.modalities for explanation in explanations):
        raise InputError(
            "comparison: the explanations are of different pairs; give one pair by several methods"
        )
    here = files("m2ib.page")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(here.joinpath("comparison.html.jinja").read_text(encoding="utf-8"))
    scripts: dict[str, None] = {}
    rows = []
    for place, attribution in enumerate(first):
        sides = []
        for number, explanation in enumerate(explanations):
            mine = explanation[place]
            scripts[mine.renderer.script] = None
            sides.append(
                {
                    "method": mine.method,
                    "summary": summary(mine.method),
                    "held": held(mine),
                    "fragment": Markup(mine.renderer.fragment(mine, f"e{number}-{place}")),
                    "settings": rows_of(mine.settings),
                }
            )
        rows.append(
            {
                "modality": attribution.modality,
                "name": file_name(attribution),
                "warnings": attribution.origin.get("warnings", []),
                "contrast": contrasted(attribution),
                "sides": sides,
            }
        )
    tables = [(attribution.modality, rows_of(attribution.origin)) for attribution in first]
    return template.render(
        title=title or "m2ib: methods side by side",
        similarity=f"{first.similarity:.4f}",
        rows=rows,
        tables=[*tables, ("model", rows_of(first.provenance))],
        style=Markup(here.joinpath("page.css").read_text(encoding="utf-8")),
        script=Markup("\n".join(filter(None, scripts))),
    )
