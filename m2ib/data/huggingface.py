"""Pairs out of a data set of the library ``datasets``, at hand or on disk. Nothing is downloaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.data.cells import boxes_in, id_in, pair_of_row
from m2ib.data.columns import InputColumns, as_option, check_boxes, chosen_columns, modalities_of
from m2ib.data.files import called, folder_of, listed
from m2ib.data.media import raw_of
from m2ib.data.pairs import Pair, Pairs, Row
from m2ib.errors import InputError, SettingError, did_you_mean

_HERE = Path()

Name = str | None


def from_datasets(
    dataset: Any,
    columns: Mapping[str, str],
    *,
    name: str | None = None,
    id_column: str | None = None,
    boxes_column: str | None = None,
) -> Pairs:
    """The rows of a ``datasets.Dataset`` or ``IterableDataset``.

    columns       by modality, as in {"image": "image", "text": "caption"}, in the pairs' order; two of one modality
                  are "text_1" and "text_2"
    name          how to call them in a table; None: as the data set calls itself
    id_column     None: a pair's id is the number of its row
    boxes_column  lists of [x, y, w, h] in pixels of the raw image, or their JSON, where a label may follow

    Images come as paths, or as PIL images that have not been decoded. Other columns are not read.

    Raises :class:`InputError` and :class:`SettingError`.
    """
    who = "data" if name is None else f"data {name!r}"
    if isinstance(dataset, Mapping) and dataset and all(map(is_dataset, dataset.values())):
        raise InputError(f"{who}: it has the splits {listed(list(dataset))}; give one of them")
    if isinstance(dataset, Mapping) or not is_dataset(dataset):
        raise InputError(f"{who}: it is a {type(dataset).__name__}; give a datasets.Dataset")
    inputs = chosen_columns(columns)
    others = [column for column in (id_column, boxes_column) if column is not None]
    wanted = list(dict.fromkeys([*(column.name for column in inputs), *others]))
    features = getattr(dataset, "features", None) or {}
    there = list(getattr(dataset, "column_names", None) or next(iter(dataset), {}))
    for column in wanted:
        if column not in there:
            raise InputError(
                f"{who} lacks the column {column!r}{did_you_mean(column, there)} It has {listed(there)}"
            )
    if boxes_column is not None:
        check_boxes(inputs, who)
    raw = dataset.select_columns(wanted)
    if hasattr(raw, "with_format"):
        raw = raw.with_format(None)
    for column in wanted:
        if getattr(features.get(column), "decode", False):
            raw = raw.cast_column(column, dataclasses.replace(features[column], decode=False))
    dtypes = {column: _dtype(features.get(column)) for column in wanted}
    read = partial(_pair, inputs, dtypes, id_column, boxes_column)
    name = name or getattr(getattr(dataset, "info", None), "dataset_name", None) or "dataset"
    located, numbered = boxes_column is not None, id_column is None
    rows, total = partial(_rows, raw, read), partial(_length, raw)
    return Pairs(name, modalities_of(inputs), rows, located=located, numbered=numbered, total=total)


def _rows(records: Any, read: Callable[..., Pair]) -> Iterator[Row]:
    for number, record in enumerate(records):
        yield Row(f"row {number}", partial(read, record, number))


def _pair(
    inputs: InputColumns,
    dtypes: Mapping[str, Any],
    id_column: Name,
    boxes_column: Name,
    record: Mapping[str, Any],
    number: int,
) -> Pair:
    identity = str(number) if id_column is None else id_in(record.get(id_column))
    with pair_of_row(identity):
        first, second = (
            (at.modality, raw_of(record.get(at.name), at, dtypes[at.name], _HERE)) for at in inputs
        )
        boxes = () if boxes_column is None else boxes_in(record.get(boxes_column))
        return Pair(identity, (first, second), boxes)


def _length(records: Any) -> int | None:
    """Of a data set; None of one that is streamed."""
    return len(records) if hasattr(records, "__len__") else None


def open_huggingface(
    path: Any, columns: Any, *, split: Name = None, id_column: Name = None, boxes_column: Name = None
) -> Pairs:
    """A folder that ``save_to_disk`` wrote.

    split  of a folder that holds several; else as for :func:`from_datasets`

    Raises :class:`InputError` and :class:`SettingError`.
    """
    folder = folder_of(path, "path")
    who = called(folder)
    try:
        datasets = import_module("datasets")
    except ImportError:
        raise SettingError(
            "data format 'huggingface' needs the package datasets: pip install datasets"
        ) from None
    try:
        dataset = datasets.load_from_disk(str(folder))
    except Exception as error:  # of the library, of Arrow, of the system
        reason = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"{who} is no data set that save_to_disk wrote: {reason[0]:.200}") from None
    if isinstance(dataset, Mapping):
        if split not in dataset:
            given, way = (
                "" if split is None else f", not {split!r}",
                as_option("split", next(iter(dataset), "")),
            )
            raise InputError(
                f"{who} has the splits {listed(list(dataset))}{given}; give one of them, as in {way}"
            )
        dataset = dataset[split]
    elif split is not None:
        raise InputError(f"{who} has no splits; leave split out, which is {split!r}")
    name = folder.resolve().name if split is None else f"{folder.resolve().name} {split}"
    return from_datasets(dataset, columns, name=name, id_column=id_column, boxes_column=boxes_column)


def is_dataset(dataset: Any) -> bool:
    """Whether it is a ``datasets.Dataset`` or ``IterableDataset``."""
    return all(hasattr(dataset, name) for name in ("__iter__", "select_columns", "cast_column"))


def _dtype(feature: Any) -> Any:
    """The type of an array's numbers, where the data set says it."""
    while getattr(feature, "feature", None) is not None:
        feature = feature.feature
    try:
        return np.dtype(getattr(feature, "dtype", None))
    except TypeError:
        return None
