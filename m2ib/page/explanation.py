"""One self-contained page for any number of explanations: no network, light and dark, keyboard and mouse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from m2ib.contract.notebook import Side, framed
from m2ib.contract.pair import AttributionPair
from m2ib.errors import StorageError
from m2ib.folders import write_whole
from m2ib.page.comparison import render_comparison
from m2ib.page.guide import guide, made_by, pair_name
from m2ib.page.links import links_values
from m2ib.page.parts import attribution_values, specific_line, table_rows, usual_words
from m2ib.page.templates import joined_scripts, own_script, template
from m2ib.paths import is_url, local_path

Remark = tuple[str, Sequence[tuple[bool, str]]]


def render_page(
    explanations: Iterable[AttributionPair],
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    remarks: Sequence[Remark] = (),
    overview: Markup | None = None,
) -> str:
    """The page as HTML.

    title     of the page; by default what is explained
    notes     headings of the explanations, in order; may be shorter. Others are called by their inputs. Each has its method beside it
    remarks   shown under it: a line, and what was found out, each with whether that is right; may be shorter
    overview  HTML in place of the list of explanations; those have the ids e0, e1, ...
    """
    explanations = list(explanations)
    cards: list[dict[str, Any]] = [
        {
            "number": number,
            "heading": (notes[number] if number < len(notes) else "") or pair_name(explanation),
            "made_by": made,
            "remark": remarks[number] if number < len(remarks) else ("", ()),
            "similarity": f"{explanation.similarity:.4f}",
            "similarity_title": explanation.similarity_title,
            "usual": usual_words(explanation),
            "specific": specific_line(explanation),
            "unspecific": explanation.unspecific,
            "sides": [
                attribution_values(each, f"e{number}-{n}", explanation.similarity_name)
                for n, each in enumerate(explanation)
            ],
            "links": links_values(explanation, [f"e{number}-{n}" for n in range(2)]),
            "provenance": table_rows(explanation.provenance),
        }
        for number, (explanation, made) in enumerate(zip(explanations, made_by(explanations), strict=True))
    ]
    sides = [side for card in cards for side in card["sides"]]
    links = [own_script("links.js")] if any(card["links"] for card in cards) else []
    return template("page/explanation.html.jinja").render(
        title=title or "m2ib explanation",
        guide=guide(explanations),
        cards=cards,
        methods=len({card["made_by"] for card in cards}),
        overview=overview,
        script=joined_scripts([*(side["script"] for side in sides), *links]),
    )


def notebook_html(explanation: AttributionPair, sides: Sequence[Side]) -> str:
    """The maps in the output cell of a notebook, with what the page says of interactions and of a null."""
    links = links_values(explanation, [f"m{number}" for number in range(len(sides))])
    macros: Any = template("page/links.html.jinja").module
    return framed(
        repr(explanation),
        [sides],
        over=specific_line(explanation) + macros.line(links),
        under=macros.table(links),
        script=own_script("links.js") if links else "",
        kind="unspecific" if explanation.unspecific else "",
    )


def write_page(
    explanations: Iterable[AttributionPair],
    path: str | Path,
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    remarks: Sequence[Remark] = (),
    overview: Markup | None = None,
) -> Path:
    """Write :func:`render_page` to ``path`` and give the path back. Raises :class:`StorageError`."""
    text = render_page(explanations, title=title, notes=notes, remarks=remarks, overview=overview)
    return write_html(local_path(path), text)


def write_comparison(
    explanations: Sequence[AttributionPair],
    path: str | Path,
    *,
    title: str | None = None,
    names: Sequence[str] | None = None,
) -> Path:
    """One pair in several ways, their maps side by side, on one self-contained page.

    explanations  of the same pair, one for each way
    names         what stands over each of their maps; None: its method

    Gives the path back. Raises :class:`InputError` for explanations of different pairs, and :class:`StorageError`.
    """
    return write_html(local_path(path), render_comparison(explanations, title=title, names=names))


def write_html(path: Path, text: str) -> Path:
    """A page. Gives the path back. Raises :class:`StorageError`."""
    if is_url(path):
        raise StorageError(
            f"cannot write the page {str(path)!r}: it is a URL, and nothing is sent; name a file here"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write the page {str(path)!r}: {error.strerror or error}") from error
    write_whole(path, text)
    return path
