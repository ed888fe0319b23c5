"""A page with the maps of several methods for one pair, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from m2ib.contract.pair import AttributionPair
from m2ib.errors import InputError
from m2ib.page.guide import guide, made_by, pair_name
from m2ib.page.parts import attribution_values, specific_line, table_rows
from m2ib.page.templates import joined_scripts, template


def render_comparison(explanations: Sequence[AttributionPair], *, title: str | None = None) -> str:
    """The page as HTML. Raises :class:`InputError` for explanations of different pairs."""
    first = explanations[0]
    if any(explanation.modalities != first.modalities for explanation in explanations):
        raise InputError(
            "comparison: the explanations are of different pairs; give one pair by several methods"
        )
    rows = [
        [
            attribution_values(each[place], f"e{number}-{place}", each.similarity_name)
            for number, each in enumerate(explanations)
        ]
        for place in range(len(first))
    ]
    for row in rows:
        for side, made in zip(row, made_by(explanations), strict=True):
            side["method"] = made
    tables = [(attribution.modality, table_rows(attribution.origin)) for attribution in first]
    return template("page/comparison.html.jinja").render(
        title=title or "m2ib: methods side by side",
        name=pair_name(first),
        guide=guide(explanations),
        similarity=f"{first.similarity:.4f}",
        similarity_title=first.similarity_title,
        specific=specific_line(first),
        unspecific=first.unspecific,
        rows=rows,
        tables=[*tables, ("model", table_rows(first.provenance))],
        script=joined_scripts(side["script"] for row in rows for side in row),
    )
