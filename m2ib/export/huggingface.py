"""Hugging Face datasets: a row for each pair, pictures as paths, maps as arrays, words with their values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.errors import SettingError
from m2ib.export.rows import Exported, Files, Source, words_of, written_into
from m2ib.results.rows import Row, RowSide

if TYPE_CHECKING:
    from m2ib.results.table import ResultTable

_SHARD, _BATCH = 2**16, 256  # rows of a file, and in memory


def to_huggingface(
    table: ResultTable,
    folder: str | Path,
    *,
    embed_files: bool = False,
    force: bool = False,
    show_progress: bool = True,
) -> Exported:
    """Write a data set into ``folder``, which ``datasets.load_from_disk`` reads.

    embed_files  pictures' files too; by default an Image has its file's path, and the file is read when it is looked at

    By the name of each kind of input, as ``image`` (``text_1`` and ``text_2`` where both are of one), there is the input: an Image, a text, or
    what it is called; ``image_map``, the grid in as many axes as it has; ``image_against`` of a contrast; ``text_words``, a list of {word, start,
    end, value}. Besides there are ``id``, ``method``, ``similarity``, ``unit`` and ``warnings``.

    Raises :class:`SettingError`, :class:`StorageError`, and :class:`InputError` where there is nothing to write.
    """
    try:
        import datasets
        from datasets.arrow_writer import ArrowWriter
    except ImportError:
        raise SettingError("huggingface: it needs datasets: pip install 'm2ib[export]'") from None
    source = Source(table, "huggingface", "explained pairs", show_progress)
    depths = _depths(table)
    features = datasets.Features(_features(depths, datasets))
    with written_into(folder, force) as (place, path):
        with _quietly(datasets):
            datasets.Dataset.from_dict({name: [] for name in features}, features).save_to_disk(place)
        state = json.loads((place / "state.json").read_text(encoding="utf-8"))
        for each in state["_data_files"]:
            (place / each["filename"]).unlink()
        files = Files(source, place, path)
        count, names = 0, list[str]()
        writer: Any = None
        for row, sides in source:
            made = _row(row, sides, depths, source, files, embed_files)
            if made is None:
                continue
            if writer is None:
                names.append(f"data-{len(names):05d}.arrow")
                writer = ArrowWriter(features=features, path=str(place / names[-1]), writer_batch_size=_BATCH)
            writer.write({**dict.fromkeys(features), **made})
            count += 1
            if count % _SHARD == 0:
                _close(writer)
                writer = None
        _close(writer)
        state["_data_files"] = [{"filename": name} for name in names]
        (place / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
        if embed_files:
            shutil.rmtree(place / "images", ignore_errors=True)
        return source.exported(path, rows=count)


def _close(writer: Any) -> None:
    if writer is not None:
        writer.finalize()
        writer.close()


def _names(row: Row) -> tuple[str, str]:
    first, second = row["modality_1"], row["modality_2"]
    return (first, second) if first != second else (f"{first}_1", f"{second}_2")


def _depths(table: ResultTable) -> dict[str, int]:
    """How many axes the maps of each kind of input have."""
    found: dict[str, int] = {}
    for row in table.kinds():
        for n, name in enumerate(_names(row), 1):
            found.setdefault(name, row[f"axes_{n}"])
    return found


def _features(depths: dict[str, int], datasets: Any) -> dict[str, Any]:
    value = datasets.Value
    found = {"id": value("string"), "method": value("string"), "similarity": value("float64")}
    for name, depth in depths.items():
        grid = value("float32")
        for _ in range(depth):
            grid = datasets.Sequence(grid)
        kind = name.removesuffix("_1").removesuffix("_2")
        found[name] = datasets.Image() if kind == "image" else value("string")
        found[f"{name}_map"] = found[f"{name}_against"] = grid
        if kind == "text":
            places = {"start": value("int32"), "end": value("int32"), "value": value("float32")}
            found[f"{name}_words"] = [{"word": value("string"), **places}]
    return {**found, "unit": value("string"), "warnings": datasets.Sequence(value("string"))}


def _row(
    row: Row,
    sides: tuple[RowSide, RowSide],
    depths: dict[str, int],
    source: Source,
    files: Files,
    embed: bool,
) -> dict[str, Any] | None:
    """None where it is left out."""
    made = {name: row[name] for name in ("id", "method", "similarity", "unit")}
    made["warnings"] = row["warnings"] or []
    for n, (name, side) in enumerate(zip(_names(row), sides, strict=True), 1):
        if side.grid.ndim != depths[name]:
            source.skip(
                f"whose map of the {name} has {side.grid.ndim} axes, and another one's {depths[name]}"
            )
            return None
        made[name] = side.input if side.text is None else side.text
        if side.stored.modality == "image":
            file = files.of(row, n, side)
            if file is None:
                return None
            made[name] = {"bytes": files.read(file, side), "path": file.name} if embed else str(file)
        made[f"{name}_map"] = side.grid
        made[f"{name}_against"] = side.against
        if side.text is not None:
            keys = ("word", "start", "end", "value")
            made[f"{name}_words"] = [dict(zip(keys, word, strict=True)) for word in words_of(side)]
    return made


@contextmanager
def _quietly(datasets: Any) -> Iterator[None]:
    """Without its bars."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
