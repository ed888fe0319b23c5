"""Pictures of maps: a folder for each pair, with the heat over its picture, the bare map, and its texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from m2ib.contract.abilities import Sketching
from m2ib.contract.arrays import at_size
from m2ib.contract.attribution import Attribution
from m2ib.errors import InputError, one_line
from m2ib.export.rows import Exported, Source, as_json, words_of, written_into
from m2ib.registry.foreign import renderer_code
from m2ib.renderers.pixels import PixelRenderer
from m2ib.renderers.plotting import in_own_style, write
from m2ib.results.rows import Row, RowSide

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from m2ib.contract.model import Model
    from m2ib.results.table import ResultTable

_MOST = 10_000  # pairs; the list of a folder names each of their files
_STEPS = 65_534  # of a map in 16 bits; 0 is no step


def to_png(
    table: ResultTable,
    folder: str | Path,
    *,
    model: Model | Callable[[], Model] | None = None,
    force: bool = False,
    show_progress: bool = True,
) -> Exported:
    """Write a folder for each pair, called as its id, with files by the name of each input: ``image``, or ``image_1`` and ``image_2``.

    Of a picture: ``image.png``, it with its heat at its own size; ``image-map.png``, the bare map at that size in 16 bits, at each pixel its
    cell's value; and ``image-map.json``, which values of the map those are. Of a text: ``text.html``, its words, shaded, and ``text.json``,
    their values. Of anything else, as ``audio.png``, its figure.

    model  as in :meth:`m2ib.results.ResultTable.explanation`; without it pairs whose inputs were not kept are left out

    Pictures whose longer side has more than 1024 pixels, of those that a run kept 512, are enlarged from what a page shows of them. Raises
    :class:`StorageError`, and :class:`InputError` for more than 10,000 pairs and where there is nothing to write.
    """
    source = Source(table, "png", "explained pairs", show_progress)
    if len(table) > _MOST:
        raise InputError(
            f"png: {len(table):,} pairs are more than {_MOST:,}, for which it writes files; choose some with where or head "
            "(--where, --limit)"
        )
    used: set[str] = set()
    count = 0
    with written_into(folder, force) as (place, path):
        for row, sides in source:
            try:
                shown = [table.shown(row, n, side, model) for n, side in enumerate(sides, 1)]
            except InputError as error:
                lacking = model is None and not all(side.kept for side in sides)
                way = "whose input was not kept (give model=, or run with --keep-inputs)"
                source.skip(
                    way if lacking else "whose input cannot be shown", "" if lacking else one_line(error)
                )
                continue
            inside = place / _name(row, used)
            inside.mkdir()
            for n, (side, found) in enumerate(zip(sides, shown, strict=True), 1):
                name = found.modality + (f"_{n}" if row["modality_1"] == row["modality_2"] else "")
                _write(row, side, found, inside, name)
            count += 1
        style = files("m2ib.page").joinpath("page.css").read_text(encoding="utf-8")
        (place / "style.css").write_text(style, encoding="utf-8")
        return source.exported(path, pairs=count)


def _name(row: Row, used: set[str]) -> str:
    """A folder of its own, for any file system."""
    name = re.sub(r"[^\w.-]+", "-", f"{row['id']}").strip("-. ")[:80] or "pair"
    for each in (name, f"{name}-{row['method'].replace(':', '-')}", f"{name}-{len(used)}"):
        if each.lower() not in used:
            used.add(each.lower())
            return each
    raise AssertionError(name)


def _write(row: Row, side: RowSide, shown: Attribution, place: Path, name: str) -> None:
    about = {
        "pair": row["id"],
        "method": row["method"],
        "similarity": row["similarity"],
        "input": side.input,
        "unit": shown.unit,
    }
    with renderer_code(shown.renderer):
        if isinstance(shown.renderer, PixelRenderer) and len(side.axes) == 2:
            rows, columns = side.raster
            Image.fromarray(shown.renderer.overlay(shown, (rows, columns))).save(place / f"{name}.png")
            pixels, scale = _in_16_bits(side)
            Image.fromarray(pixels).save(place / f"{name}-map.png")
            (place / f"{name}-map.json").write_text(as_json({**about, **scale}), encoding="utf-8")
        elif side.text is not None and isinstance(shown.renderer, Sketching):
            keys = ("word", "start", "end", "value")
            words = [dict(zip(keys, word, strict=True)) for word in words_of(side)]
            (place / f"{name}.json").write_text(as_json({**about, "words": words}), encoding="utf-8")
            (place / f"{name}.html").write_text(_page(shown.renderer.sketch(shown, 0)), encoding="utf-8")
        else:
            write(_figure(shown), place / f"{name}.png", 150)


def _in_16_bits(side: RowSide) -> tuple[np.ndarray, dict[str, Any]]:
    """The map at the raw picture's size, (rows, columns) uint16, and what its pixels mean."""
    low, high = float(side.grid.min()), float(side.grid.max())
    values = at_size(side.grid, side.axes, side.raster, density=False)
    steps = np.nan_to_num((values - low) / ((high - low) or 1.0) * _STEPS + 1, nan=0)
    told = f"0: not seen by the model; else low + (pixel - 1) / {_STEPS} * (high - low)"
    return np.rint(steps).astype(np.uint16), {"low": low, "high": high, "value": told}


def _page(words: Markup) -> str:
    return Markup(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<link rel="stylesheet" href="../style.css"></head><body><main>{}</main></body></html>'
    ).format(words)


@in_own_style
def _figure(shown: Attribution) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    shown.renderer.draw(shown, figure.subplots())
    return figure
