"""FiftyOne: a dataset on disk in its own format (``fiftyone.types.FiftyOneDataset``), a sample for each picture, its map a Heatmap.

FiftyOne is not needed to write it. Documents are those that FiftyOne 1.0 stores; later versions bring them up to date as they read.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.contract.arrays import at_size
from m2ib.contract.layout import Axis
from m2ib.export.rows import Exported, Files, JsonList, Source, as_json, words_of, written_into
from m2ib.results.rows import Row, RowSide

if TYPE_CHECKING:
    from m2ib.results.table import ResultTable

_VERSION = "1.0.0"
_LONGEST = 224  # values of a map along its longer side


def to_fiftyone(
    table: ResultTable, folder: str | Path, *, force: bool = False, show_progress: bool = True
) -> Exported:
    """Write a dataset into ``folder``: ``fiftyone.Dataset.from_dir(folder, dataset_type=fiftyone.types.FiftyOneDataset)`` reads it.

    A sample has the picture's file and the fields ``heat``, a Heatmap over the whole picture in the map's own unit whose ``range`` is where
    heat begins and is full; ``heat_against`` for a contrast; ``words``, Classifications of the other input's words with their ``value``,
    ``start`` and ``end``; ``other``, its text or name; ``pair``, ``method``, ``similarity`` and ``warnings``. Tags are the method and the
    modality. A picture without a file is written beside.

    Raises :class:`StorageError`, and :class:`InputError` where no pair has a picture.
    """
    source = Source(table, "fiftyone", "pictures with maps", show_progress)
    begin = f"{table.manifest['fingerprint']} {table.folder.absolute()}"
    with written_into(folder, force) as (place, path):
        files = Files(source, place, path)
        with (place / "samples.json").open("w", encoding="utf-8") as file:
            file.write('{"samples": [')
            samples = JsonList(file)
            for row, sides in source:
                for n, side, found in files.pictures(row, sides):
                    samples.add(
                        _sample(row, side, sides[2 - n], found, f"{begin} {row['id']} {row['method']} {n}")
                    )
            file.write("\n]}\n")
        (place / "metadata.json").write_text(as_json(_metadata(table, begin)), encoding="utf-8")
        return source.exported(path, samples=samples.count)


def _sample(row: Row, side: RowSide, other: RowSide, file: Path, name: str) -> dict[str, Any]:
    height, width = side.raster
    words = [
        {
            **_document("Classification", f"{name} {n}"),
            "label": word,
            "value": value,
            "start": start,
            "end": end,
        }
        for n, (word, start, end, value) in enumerate(words_of(other))
    ]
    return {
        "_id": _id(name),
        "_rand": int(_id(name)["$oid"][:8], 16) / 2**32,
        "_media_type": "image",
        "filepath": str(file),
        "tags": [row["method"], side.stored.modality],
        "metadata": {"_cls": "ImageMetadata", "width": width, "height": height},
        "heat": _heatmap(side, side.grid, name),
        "heat_against": None if side.against is None else _heatmap(side, side.against, f"{name} against"),
        "words": {"_cls": "Classifications", "classifications": words} if words else None,
        "pair": row["id"],
        "method": row["method"],
        "similarity": row["similarity"],
        "other": other.input,
        "warnings": row["warnings"] or [],
    }


def _heatmap(side: RowSide, values: np.ndarray, name: str) -> dict[str, Any]:
    """Over the whole picture, small; heat's beginning where the model does not look."""
    low, high = float(side.grid.min()), float(side.grid.max())
    if side.stored.full is not None:
        low, high = min(low, 0.0), max(high, side.stored.full)
    share = min(1.0, _LONGEST / max(side.raster))
    size = [max(1, round(length * share)) for length in side.raster]
    axes = [
        Axis(
            axis.name,
            axis.unit,
            tuple((start * small / length, end * small / length) for start, end in axis.spans),
        )
        for axis, small, length in zip(side.axes, size, side.raster, strict=True)
    ]
    shown = np.nan_to_num(at_size(values, axes, size, density=False), nan=low).astype(np.float32)
    buffer = io.BytesIO()
    np.save(buffer, shown, allow_pickle=False)
    packed = base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")
    return {
        **_document("Heatmap", f"{name} map"),
        "map": {"$binary": {"base64": packed, "subType": "00"}},
        "range": [low, high],
        "unit": side.stored.unit,
    }


def _document(kind: str, name: str) -> dict[str, Any]:
    return {"_id": _id(name), "_cls": kind, "tags": []}


def _id(name: str) -> dict[str, str]:
    """The same whenever the same row is written."""
    return {"$oid": hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}


@dataclass(frozen=True)
class _Field:
    """Of a document, as FiftyOne declares it.

    kind  of field
    of    what a list holds, or which document is embedded
    """

    name: str
    kind: str
    subfield: str | None = None
    document: str | None = None
    fields: Sequence[_Field] = ()
    read_only: bool = False

    def declared(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ftype": f"fiftyone.core.fields.{self.kind}Field",
            "subfield": None if self.subfield is None else f"fiftyone.core.fields.{self.subfield}Field",
            "embedded_doc_type": None if self.document is None else f"fiftyone.core.{self.document}",
            "fields": [each.declared() for each in self.fields],
            "db_field": "_id" if self.name == "id" else self.name,
            "description": None,
            "info": None,
            "read_only": self.read_only,
            "created_at": None,
        }


_TAGS = _Field("tags", "List", "String")
_LABEL = (_Field("id", "ObjectId"), _TAGS)
_HEATMAP = (
    *_LABEL,
    _Field("map", "Array"),
    _Field("map_path", "String"),
    _Field("range", "HeatmapRange", "Float"),
    _Field("unit", "String"),
)
_WORD = (
    *_LABEL,
    _Field("label", "String"),
    _Field("confidence", "Float"),
    _Field("logits", "Vector"),
    _Field("value", "Float"),
    _Field("start", "Int"),
    _Field("end", "Int"),
)
_SIZES = ("size_bytes", "width", "height", "num_channels")
FIELDS = (
    _Field("id", "ObjectId"),
    _Field("filepath", "String"),
    _TAGS,
    _Field(
        "metadata",
        "EmbeddedDocument",
        document="metadata.ImageMetadata",
        fields=(_Field("mime_type", "String"), *(_Field(name, "Int") for name in _SIZES)),
    ),
    _Field("created_at", "DateTime", read_only=True),
    _Field("last_modified_at", "DateTime", read_only=True),
    _Field("_media_type", "String"),
    _Field("_rand", "Float"),
    _Field("_dataset_id", "ObjectId"),
    _Field("heat", "EmbeddedDocument", document="labels.Heatmap", fields=_HEATMAP),
    _Field("heat_against", "EmbeddedDocument", document="labels.Heatmap", fields=_HEATMAP),
    _Field(
        "words",
        "EmbeddedDocument",
        document="labels.Classifications",
        fields=(
            _Field("classifications", "List", "EmbeddedDocument", "labels.Classification", _WORD),
            _Field("logits", "Vector"),
        ),
    ),
    _Field("pair", "String"),
    _Field("method", "String"),
    _Field("similarity", "Float"),
    _Field("other", "String"),
    _Field("warnings", "List", "String"),
)


def _metadata(table: ResultTable, begin: str) -> Mapping[str, Any]:
    """The document of the dataset."""
    identity = _id(begin)
    name = f"m2ib-{table.manifest['fingerprint']}"
    about = {
        "data": table.manifest.get("data"),
        "model": table.manifest.get("provenance"),
        "methods": table.manifest["asked"]["methods"],
    }
    return {
        "_id": identity,
        "name": name,
        "slug": name,
        "version": _VERSION,
        "media_type": "image",
        "sample_collection_name": f"samples.{identity['$oid']}",
        "frame_collection_name": None,
        "persistent": False,
        "tags": ["m2ib"],
        "info": about,
        "app_config": {
            "media_fields": ["filepath"],
            "grid_media_field": "filepath",
            "modal_media_field": "filepath",
            "plugins": {},
        },
        "classes": {},
        "default_classes": [],
        "mask_targets": {},
        "default_mask_targets": {},
        "skeletons": {},
        "group_media_types": {},
        "sample_fields": [each.declared() for each in FIELDS],
        "frame_fields": [],
        "saved_views": [],
        "workspaces": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }
