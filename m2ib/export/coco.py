"""COCO JSON: the hot regions of maps as boxes and masks, a category for each text."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from m2ib.errors import SettingError
from m2ib.export.regions import check_threshold, hot_regions
from m2ib.export.rows import Exported, Files, JsonList, Source, as_json, from_root, written_into
from m2ib.renderers.names import several
from m2ib.results.rows import Row, RowSide

if TYPE_CHECKING:
    from m2ib.results.table import ResultTable

_FILE = "annotations.json"


def to_coco(
    table: ResultTable,
    folder: str | Path,
    *,
    threshold: float | None = None,
    percentile: float | None = None,
    root: str | Path | None = None,
    force: bool = False,
    show_progress: bool = True,
) -> Exported:
    """Write ``folder``/annotations.json: an image for each picture, an annotation for each connected region of its maps.

    threshold   what a cell of a region has to be above, from 0 where heat begins to 1 where it is full; None: .5, the line on a page
    percentile  in place of it, this percentile of the map's own cells
    root        file names are told from this folder on; None: whole paths. A picture without a file is written beside

    ``bbox`` and ``segmentation`` (run lengths, as pycocotools reads them) are in pixels of the raw image, ``score`` is the region's share of
    the map. The category is the pair's other input: its text, "a rather than b" of a contrast, "the mean of a, b" of an ensemble; of what is no
    text its file's name, or what kind of thing it was and the pair's id. ``pair``, ``method`` and ``similarity`` are told besides.

    Raises :class:`SettingError`, :class:`StorageError`, and :class:`InputError` where no pair has a picture.
    """
    check_threshold(threshold, percentile)
    try:
        from pycocotools import mask as coco_mask
    except ImportError:
        raise SettingError("coco: it needs pycocotools: pip install 'm2ib[export]'") from None
    source = Source(table, "coco", "regions of pictures", show_progress)
    images: dict[str, int] = {}
    categories: dict[tuple[str, str], int] = {}
    inputs: dict[str, str] = {}  # by what they are called
    with written_into(folder, force) as (place, path), ExitStack() as stack:
        files = Files(source, place, path)
        parts = [
            stack.enter_context((place / f"{_FILE}.{name}").open("w+", encoding="utf-8")) for name in _LISTS
        ]
        lists = [JsonList(part) for part in parts]
        for row, sides in source:
            for n, side, file in files.pictures(row, sides):
                height, width = side.raster
                if (image := images.get(str(file))) is None:
                    image = images[str(file)] = len(images) + 1
                    name = from_root(root, file)
                    lists[0].add({"id": image, "file_name": name, "width": width, "height": height})
                kind = sides[2 - n].stored.modality
                called = _called(table, row, 3 - n, sides[2 - n], inputs)
                if (category := categories.get((kind, called))) is None:
                    category = categories[kind, called] = len(categories) + 1
                    lists[2].add({"id": category, "name": called, "supercategory": kind})
                before = lists[1].count
                for region in hot_regions(side, threshold, percentile):
                    runs = {"size": [height, width], "counts": [*region.counts]}
                    packed = coco_mask.frPyObjects(runs, height, width)
                    lists[1].add(
                        {
                            "id": lists[1].count + 1,
                            "image_id": image,
                            "category_id": category,
                            "bbox": [*region.box],
                            "area": region.area,
                            "iscrowd": 0,
                            "segmentation": {"size": [height, width], "counts": packed["counts"].decode()},
                            "score": round(region.score, 6),
                            "pair": row["id"],
                            "method": row["method"],
                            "similarity": row["similarity"],
                        }
                    )
                if lists[1].count == before:
                    source.skip("without a cell above the threshold, but for their picture")
        about = {
            "description": f"hot regions of {table.manifest.get('data', '')}",
            "threshold": threshold,
            "percentile": percentile,
        }
        with (place / _FILE).open("w", encoding="utf-8") as whole:
            whole.write(f'{{"info": {as_json(about)}')
            for name, part in zip(_LISTS, parts, strict=True):
                whole.write(f',\n"{name}": [')
                part.seek(0)
                shutil.copyfileobj(part, whole)
                whole.write("]")
                part.close()
                (place / f"{_FILE}.{name}").unlink()
            whole.write("}\n")
        return source.exported(
            path / _FILE, **{name: each.count for name, each in zip(_LISTS, lists, strict=True)}
        )


def _called(table: ResultTable, row: Row, n: int, side: RowSide, inputs: dict[str, str]) -> str:
    """What the category of an input is called; a file whose name another file has, by its path."""
    called = side.input if side.file is None else side.file.name
    if side.text is None and {"ensemble", "rather_than"} & side.stored.origin.keys():
        called = several(table.shown(row, n, side)) or called
    if side.text is None and side.file is None:
        called += f" ({row['id']}{f', {n}' if row['modality_1'] == row['modality_2'] else ''})"
    return called if inputs.setdefault(called, side.input) == side.input else side.input


_LISTS = ("images", "annotations", "categories")
