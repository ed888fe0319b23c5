"""Label Studio: tasks with pre-annotations, boxes over pictures and spans of texts, and the labelling configuration for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from m2ib.export.regions import check_threshold, hot_regions
from m2ib.export.rows import Exported, Files, JsonList, Source, from_root, shares, words_of, written_into
from m2ib.results.rows import Row, RowSide

if TYPE_CHECKING:
    from m2ib.results.table import ResultTable

_FILE, _CONFIG = "tasks.json", "config.xml"
_LOCAL = "/data/local-files/?d="  # how Label Studio serves files of its own machine
_LABEL = "evidence"


def to_label_studio(
    table: ResultTable,
    folder: str | Path,
    *,
    threshold: float | None = None,
    percentile: float | None = None,
    prefix: str = _LOCAL,
    root: str | Path | None = None,
    force: bool = False,
    show_progress: bool = True,
) -> Exported:
    """Write ``folder``/tasks.json, a task for each row, and ``folder``/config.xml, the labelling configuration of the project.

    threshold, percentile  of the regions, as for :func:`to_coco`
    prefix  before the names of pictures' files; by default as local storage serves them, whose LOCAL_FILES_DOCUMENT_ROOT is ``root``
    root    names are told from this folder on; None: from the root of the file system

    Boxes are in per cent of the picture, and their ``score`` is the region's share of the map. Words are spans of characters with their share.
    A side that is neither picture nor text is left out, and so are rows of other inputs than the first: a project has those of one kind.

    Raises :class:`SettingError`, :class:`StorageError`, and :class:`InputError` where no pair has a picture or a text.
    """
    check_threshold(threshold, percentile)
    source = Source(table, "label-studio", "pictures and texts", show_progress)
    shown: dict[str, str] = {}  # kind by name
    regions = 0
    with written_into(folder, force) as (place, path):
        files = Files(source, place, path)
        with (place / _FILE).open("w", encoding="utf-8") as file:
            file.write("[")
            tasks = JsonList(file)
            for row, sides in source:
                data: dict[str, str] = {}
                results: list[dict[str, Any]] = []
                kinds: dict[str, str] = {}
                for n, side in enumerate(sides, 1):
                    name = side.stored.modality + (f"_{n}" if row["modality_1"] == row["modality_2"] else "")
                    if side.text is not None:
                        data[name], kinds[name] = side.text, "text"
                        results += _spans(row, name, side)
                    elif side.raster and len(side.axes) == 2:
                        found = files.of(row, n, side)
                        if found is None:
                            break
                        data[name] = prefix + from_root("/" if root is None else root, found)
                        kinds[name] = "picture"
                        results += _boxes(row, name, side, threshold, percentile)
                else:
                    if not data:
                        source.skip(
                            f"without a picture or a text ({row['modality_1']} and {row['modality_2']})"
                        )
                        continue
                    shown = shown or kinds
                    if kinds != shown:
                        source.skip(
                            f"of other inputs than the first ({', '.join(kinds)}; a project has those of one kind)"
                        )
                        continue
                    tasks.add(_task(row, data, results))
                    regions += len(results)
            file.write("\n]\n")
        (place / _CONFIG).write_text(_config(shown), encoding="utf-8")
        return source.exported(path / _FILE, tasks=tasks.count, regions=regions)


def _task(row: Row, data: dict[str, str], results: list[dict[str, Any]]) -> dict[str, Any]:
    about = {"pair": row["id"], "method": row["method"], "similarity": row["similarity"]}
    prediction = {"model_version": f"m2ib {row['method']}", "score": row["similarity"], "result": results}
    return {"data": {**data, **about}, "predictions": [prediction]}


def _spans(row: Row, name: str, side: RowSide) -> Iterator[dict[str, Any]]:
    words = list(words_of(side))
    score = shares(np.array([value for *_, value in words]))
    for number, ((word, start, end, value), share) in enumerate(zip(words, score.tolist(), strict=True)):
        yield {
            "id": f"{row['number']}-{name}-{number}",
            "from_name": f"{name}-words",
            "to_name": name,
            "type": "labels",
            "value": {"start": start, "end": end, "text": word, "labels": [_LABEL]},
            "score": round(share, 6),
            "meta": {"text": [f"{value:.4g} {side.stored.unit}".strip()]},
        }


def _boxes(
    row: Row, name: str, side: RowSide, threshold: float | None, percentile: float | None
) -> Iterator[dict[str, Any]]:
    height, width = side.raster
    for number, region in enumerate(hot_regions(side, threshold, percentile)):
        left, top, across, down = region.box
        yield {
            "id": f"{row['number']}-{name}-{number}",
            "from_name": f"{name}-regions",
            "to_name": name,
            "type": "rectanglelabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "x": 100 * left / width,
                "y": 100 * top / height,
                "width": 100 * across / width,
                "height": 100 * down / height,
                "rotation": 0,
                "rectanglelabels": [_LABEL],
            },
            "score": round(region.score, 6),
        }


def _config(shown: dict[str, str]) -> str:
    """The labelling configuration, for inputs of these names."""
    tags = {
        "picture": '  <Image name="{0}" value="${0}"/>\n  <RectangleLabels name="{0}-regions" toName="{0}"><Label value="{1}"/></RectangleLabels>\n',
        "text": '  <Labels name="{0}-words" toName="{0}"><Label value="{1}"/></Labels>\n  <Text name="{0}" value="${0}"/>\n',
    }
    return (
        "<View>\n"
        + "".join(Markup(tags[kind]).format(name, _LABEL) for name, kind in shown.items())
        + "</View>\n"
    )
