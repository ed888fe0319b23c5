"""An explanation as a row of a table, and back.

A row has columns for people, and for each side (``_1``, ``_2``) one of JSON, ``side``, with what else an
:class:`~m2ib.contract.attribution.Attribution` is made of. Grids are float16; ``scale`` is what they are multiplied by, 1 but where float16
could not hold the values. What the renderers show is not in the row: it is read again out of the inputs' own files, or kept once for
each input in a table of views.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.contract.attribution import Attribution, Rastered
from m2ib.contract.interactions import Interactions
from m2ib.contract.layout import Axis, axes_at
from m2ib.contract.null import Null
from m2ib.contract.pair import AttributionPair
from m2ib.contract.schema import parsed, read_json
from m2ib.contract.words import placed_words
from m2ib.page.links import named_links
from m2ib.paths import is_text, local_path, printable
from m2ib.registry.foreign import renderer_code
from m2ib.renderers.names import several
from m2ib.renderers.pixels import MOST_RAW
from m2ib.results.reading import StoredAttribution, StoredInteractions, rebuilt
from m2ib.results.storage import NULL_MAPS, described, stored_view

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
MANIFEST, ROWS, VIEWS, ARRAYS = "run.json", "rows", "views", "arrays"  # in a run's folder
LARGE = 2**14  # cells of a map; a larger one lies beside
_LEAST, _MOST = 2.0**-4, 60_000.0  # of a map's greatest value, for float16
ASKED_FOR = ("null", "interactions")  # options that have columns of their own
_SIDES = (1, 2)
_NULL_MAPS = tuple(f"null_{name}" for name in NULL_MAPS)
_LINKS = 8


@dataclass(frozen=True)
class KeptView:
    """What a renderer stored of an input.

    key    SHA-256 of the rest
    view   JSON
    files  (name, content)
    """

    key: str
    renderer: str
    view: str
    files: tuple[tuple[str, bytes], ...]


def schema(options: Mapping[str, Any] | None = None) -> pa.Schema:
    """Of the rows of a run with these options: what ``null`` and ``interactions`` give has columns where they are asked for."""
    import pyarrow as pa

    options = options or {}
    word = pa.struct([("word", pa.string()), ("value", pa.float32()), ("deviation", pa.float32())])
    fields = [
        ("id", pa.string()),
        ("number", pa.int64()),
        ("key", pa.int64()),
        ("method", pa.string()),
        *((f"modality_{n}", pa.string()) for n in _SIDES),
        *((f"input_{n}", pa.string()) for n in _SIDES),
        ("similarity", pa.float64()),
        ("unit", pa.string()),
    ]
    if options.get("null"):
        fields += [("specificity", pa.float64()), ("unspecific", pa.bool_())]
        for n in _SIDES:
            maps = [(f"{name}_{n}", pa.list_(pa.float32())) for name in _NULL_MAPS]
            fields += [(f"null_score_{n}", pa.float64()), *maps]
    if options.get("interactions"):
        link = pa.struct([("first", pa.string()), ("second", pa.string()), ("value", pa.float32())])
        fields += [
            ("links", pa.list_(link)),
            ("matrix", pa.list_(pa.float32())),
            ("interactions", pa.string()),
        ]
    for n in _SIDES:
        fields += [
            (f"grid_{n}", pa.list_(pa.float16())),
            (f"shape_{n}", pa.list_(pa.int32())),
            (f"scale_{n}", pa.float32()),
            (f"against_{n}", pa.list_(pa.float32())),
            (f"deviation_{n}", pa.list_(pa.float32())),
            (f"by_seed_{n}", pa.list_(pa.float32())),
            (f"tokens_{n}", pa.list_(pa.string())),
            (f"words_{n}", pa.list_(word)),
            (f"layer_{n}", pa.int32()),
        ]
    fields += [
        ("warnings", pa.list_(pa.string())),
        ("error", pa.string()),
        ("error_kind", pa.string()),
        ("seconds", pa.float32()),
        *((f"side_{n}", pa.string()) for n in _SIDES),
        *((f"view_{n}", pa.string()) for n in _SIDES),
        ("provenance", pa.string()),
        ("arrays", pa.string()),
    ]
    return pa.schema(fields)


def view_schema() -> pa.Schema:
    """Of the table of views."""
    import pyarrow as pa

    file = pa.struct([("name", pa.string()), ("content", pa.binary())])
    return pa.schema(
        [("key", pa.string()), ("renderer", pa.string()), ("view", pa.string()), ("files", pa.list_(file))]
    )


def explained(
    explanation: AttributionPair,
    raws: tuple[Any, Any],
    known: Mapping[str, Any],
    made: dict[int, KeptView],
    *,
    keep: bool,
) -> tuple[Row, dict[str, np.ndarray], list[KeptView]]:
    """An explanation as (the columns that are its own, maps that lie beside by column, views that are kept).

    raws   the two raw inputs
    known  of its provenance, what stands elsewhere
    made   by identity, what was stored of views before; filled meanwhile
    keep   views of inputs that have a file of their own too
    """
    row: Row = {
        "similarity": explanation.similarity,
        "unit": explanation[0].unit,
        "warnings": list(dict.fromkeys(said for each in explanation for said in each.warnings)),
        "provenance": _json({k: v for k, v in explanation.provenance.items() if known.get(k) != v}),
    }
    beside: dict[str, np.ndarray] = {}
    views: list[KeptView] = []
    if explanation.specificity is not None:
        row |= {"specificity": explanation.specificity, "unspecific": explanation.unspecific}
    if (found := explanation.interactions) is not None:
        matrix = np.ascontiguousarray(found.matrix, np.float32)
        lying = beside if matrix.size > LARGE else row
        lying["matrix"] = matrix if lying is beside else matrix.reshape(-1)
        names = ("first", "second", "value")
        row["links"] = [dict(zip(names, link, strict=True)) for link in named_links(explanation, _LINKS)]
        row["interactions"] = _json({k: v for k, v in asdict(found).items() if k != "matrix"})
        row["warnings"] = list(dict.fromkeys([*row["warnings"], *found.warnings]))
    for n, (side, raw) in enumerate(zip(explanation, raws, strict=True), 1):
        row[f"modality_{n}"], row[f"input_{n}"] = side.modality, name_of(raw, side)
        scale, more = 1.0, {"against": side.against, "by_seed": side.by_seed, "deviation": side.deviation}
        if side.null is not None:
            row[f"null_score_{n}"] = side.null.score
            more |= dict(zip(_NULL_MAPS, (side.null.mean, side.null.deviation), strict=True))
        if side.grid.size > LARGE:
            maps = {"grid": side.grid, **more}
            beside |= {
                f"{k}_{n}": np.ascontiguousarray(v, np.float32) for k, v in maps.items() if v is not None
            }
        else:
            scale = scale_of(side.grid)
            row[f"grid_{n}"] = (side.grid / scale).astype(np.float16).reshape(-1)
            row |= {f"{k}_{n}": v.astype(np.float32).reshape(-1) for k, v in more.items() if v is not None}
        row[f"shape_{n}"], row[f"scale_{n}"] = list(side.grid.shape), scale
        row[f"tokens_{n}"] = list(map(printable, side.tokens)) or None
        spread: Sequence[float | None] = side.word_deviations or [None] * len(side.words)
        words = [
            {"word": printable(word), "value": value, "deviation": apart}
            for (word, value), apart in zip(side.words, spread, strict=True)
        ]
        row[f"words_{n}"] = words or None
        row[f"layer_{n}"] = side.settings.get("layer")
        about = described(side)
        if not has_file(raw, side) or keep:
            kept = made[id(side.view)] = made.get(id(side.view)) or _view_of(side)
            if kept.files:
                views.append(kept)
                row[f"view_{n}"] = kept.key
            about["view"] = json.loads(kept.view)
        if (raster := _raster(side)) is not None:
            about["raster"] = raster
        row[f"side_{n}"] = _json(about)
    return row, beside, views


def _raster(side: Attribution) -> dict[str, Any] | None:
    """The size of a raw picture, and where the cells lie in it where the layout does not say; None of what is none."""
    if side.layout.tokens or not isinstance(side.renderer, Rastered):
        return None
    with renderer_code(side.renderer):
        size, axes = side.renderer.raster(side)
    known, wanted = ([(each.name, each.unit, len(each.spans)) for each in both] for both in (side.axes, axes))
    return {"size": [*size], "axes": [] if known == wanted else [asdict(axis) for axis in axes]}


def has_file(raw: Any, side: Attribution) -> bool:
    """Whether an input can be read again from where it was."""
    return isinstance(raw, (str, os.PathLike)) and not side.layout.tokens


def name_of(raw: Any, side: Attribution | None = None) -> str:
    """An input in one line: a path, a text, or what kind of thing it was."""
    if isinstance(raw, (str, os.PathLike)):
        named = side is not None and has_file(raw, side)
        return printable(os.path.abspath(local_path(raw)) if named else os.fspath(raw))
    if side is None:
        return type(raw).__name__
    if side.layout.tokens and isinstance(side.view, Mapping):
        return printable(several(side) or str(side.view.get("text", "")))
    return printable(str(side.origin.get("source", "")))


def scale_of(grid: np.ndarray) -> float:
    """A power of two by which float16 holds the values; 1 where it holds them as they are."""
    most = float(np.abs(grid).max(initial=0.0))
    if most == 0 or _LEAST <= most <= _MOST:
        return 1.0
    return 2.0 ** (math.floor(math.log2(most)) - 10)


def _view_of(side: Attribution) -> KeptView:
    with TemporaryDirectory() as place:
        folder = Path(place)
        view = _json(stored_view(side, folder, "view", condensed=True))
        files = tuple((path.name, path.read_bytes()) for path in sorted(folder.iterdir()))
    found = hashlib.sha256(f"{side.renderer.name} {view}".encode())
    for name, content in files:
        found.update(f" {name} {len(content)} ".encode() + content)
    return KeptView(found.hexdigest()[:32], side.renderer.name, view, files)


def _json(value: Any) -> str:
    """Short; half a character is spelled out."""
    return printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


@dataclass(frozen=True, eq=False)
class RowSide:
    """One side of a row: all but what is shown of it.

    stored   what it is described by; its ``view`` is {} where what is shown was not kept
    kept     whether it was
    grid     ``against``, ``by_seed`` (seeds, *grid) and the maps of ``null``, in float32
    raster   (rows, columns) of the raw picture; () of what is none
    axes     where the grid's cells lie in the raw input; () where that is unknown
    input    its path, its text, or what kind of thing it was
    view     the key of the view that was kept apart; None where there is none
    """

    stored: StoredAttribution
    kept: bool
    grid: np.ndarray
    against: np.ndarray | None
    by_seed: np.ndarray | None
    raster: tuple[int, ...]
    axes: tuple[Axis, ...]
    input: str
    view: str | None
    null: Null | None = None

    @property
    def text(self) -> str | None:
        """Of a text; None of anything else."""
        text = self.stored.view.get("text") if self.stored.layout.tokens else None
        return text if isinstance(text, str) else None

    @property
    def words(self) -> list[tuple[int, int, float]]:
        """(start, end, value) of a text's words, as :attr:`m2ib.Attribution.placed_words`; [] of anything else."""
        tokens, mean = self.stored.layout.tokens, not self.stored.additive
        return [] if self.text is None else placed_words(self.text, tokens, self.grid, mean=mean)

    @property
    def file(self) -> Path | None:
        """The file that it was read from; None of what came from none."""
        origin = self.stored.origin
        named = "sha256" in origin and origin["source"] != origin.get("given_as")
        return Path(self.input) if named else None


@dataclass(frozen=True)
class _Raster:
    size: tuple[int, ...]
    axes: tuple[Axis, ...]


def side_of(row: Row, n: int, beside: Mapping[str, np.ndarray]) -> RowSide:
    """One side of a row.

    beside  by column, the maps that are not in the row

    Raises ValueError for what does not belong together.
    """
    content = read_json(row[f"side_{n}"].encode())
    if not is_text(json.dumps(content, ensure_ascii=False)):
        raise ValueError(f"side_{n} holds half a character (a lone surrogate)")
    raster: _Raster = parsed(_Raster, content.pop("raster", {"size": [], "axes": []}), f"side_{n}.raster")
    stored: StoredAttribution = parsed(StoredAttribution, {"view": {}, **content}, f"side_{n}")
    shape = tuple(row[f"shape_{n}"])
    grid = beside.get(f"grid_{n}")
    if grid is None:
        grid = np.asarray(row[f"grid_{n}"], np.float64).reshape(shape) * row[f"scale_{n}"]
    tokens = len(stored.layout.tokens)
    if grid.shape != shape or (tokens and shape != (tokens,)):
        raise ValueError(f"grid_{n} has the shape {grid.shape}, shape_{n} is {shape}, for {tokens} tokens")
    if raster.size and (len(raster.size) != 2 or min(raster.size) < 1 or math.prod(raster.size) > MOST_RAW):
        raise ValueError(f"side_{n}.raster.size is {raster.size!s:.60}, not (rows, columns) of a picture")
    against, by_seed = (beside.get(name, row[name]) for name in (f"against_{n}", f"by_seed_{n}"))
    null = None
    if (known := stored.null) is not None:
        maps = (beside.get(name, row.get(name)) for name in (f"{each}_{n}" for each in _NULL_MAPS))
        mean, deviation = (np.asarray(each, np.float32).reshape(shape) for each in maps)
        null = Null(mean, deviation, known.similarities, known.similarity)
    return RowSide(
        stored,
        "view" in content,
        grid.astype(np.float32),
        None if against is None else np.asarray(against, np.float32).reshape(shape),
        None if by_seed is None else np.asarray(by_seed, np.float32).reshape(-1, *shape),
        raster.size,
        raster.axes or axes_at(stored.layout.axes, shape),
        row[f"input_{n}"],
        row[f"view_{n}"],
        null,
    )


def attribution(side: RowSide, n: int, view: Any, files: Mapping[str, bytes] | None) -> Attribution:
    """The ``n``-th side of a row with what is shown of it.

    view   read again; None where ``side`` or ``files`` has it
    files  of the kept view

    Raises ValueError for what does not belong together, and OSError.
    """
    given = side.stored, f"side_{n}", side.grid
    more: dict[str, Any] = {"against": side.against, "by_seed": side.by_seed, "null": side.null}
    if view is not None:
        return rebuilt(*given, **more, view=view)
    with TemporaryDirectory() as place:
        for name, data in (files or {}).items():
            (Path(place) / Path(name).name).write_bytes(data)
        return rebuilt(*given, **more, folder=Path(place))


def interactions(row: Row, beside: Mapping[str, np.ndarray]) -> Interactions:
    """Of a row that has them.

    beside  by column, what is not in the row

    Raises ValueError for what does not belong together.
    """
    content = read_json(row["interactions"].encode())
    if not is_text(json.dumps(content, ensure_ascii=False)):
        raise ValueError("interactions holds half a character (a lone surrogate)")
    about: StoredInteractions = parsed(StoredInteractions, content, "interactions")
    matrix = np.asarray(beside.get("matrix", row["matrix"]), np.float32)
    first, second = (units.number for units in about.units)
    return Interactions(matrix.reshape(first, second), **vars(about))
