"""A page with several explanations of one pair, by method or by the value of a setting, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from m2ib.contract.pair import AttributionPair
from m2ib.errors import InputError
from m2ib.page.guide import guide, made_by, pair_name
from m2ib.page.parts import attribution_values, specific_line, table_rows
from m2ib.page.templates import joined_scripts, template


def check_one_pair(explanations: Sequence[AttributionPair]) -> None:
    """Raises :class:`InputError` for none, and for explanations of different pairs."""
    if not explanations:
        raise InputError("comparison: there is no explanation in it; give one pair by several methods")
    if any(each.modalities != explanations[0].modalities for each in explanations):
        raise InputError(
            "comparison: the explanations are of different pairs; give one pair by several methods"
        )


def render_comparison(
    explanations: Sequence[AttributionPair], *, title: str | None = None, names: Sequence[str] | None = None
) -> str:
    """The page as HTML; ``names`` over the maps, or by what they are made. Raises :class:`InputError` for explanations of different pairs."""
    check_one_pair(explanations)
    first, heads = explanations[0], made_by(explanations) if names is None else names
    rows = [
        [
            {
                **attribution_values(each[place], f"e{number}-{place}", each.similarity_name),
                "head": head,
            }
            for number, (head, each) in enumerate(zip(heads, explanations, strict=True))
        ]
        for place in range(len(first))
    ]
    tables = [(attribution.modality, table_rows(attribution.origin)) for attribution in first]
    return template("page/comparison.html.jinja").render(
        title=title or "m2ib: maps of one pair side by side",
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
