"""Explanations out of a run's rows, and out of what lies beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from m2ib.contract.attribution import Attribution
from m2ib.contract.schema import parsed, read_json
from m2ib.errors import InputError, StorageError
from m2ib.folders.files import regular
from m2ib.registry.foreign import plugin_code
from m2ib.results.explanation import Explanation
from m2ib.results.query import SHARD
from m2ib.results.reading import Usual, said
from m2ib.results.rows import ARRAYS, ROWS, Row, RowSide, attribution, interactions, side_of
from m2ib.results.views import KeptViews

if TYPE_CHECKING:
    from m2ib.contract.model import Model


class Restoring:
    """Of the rows of one run's folder.

    manifest  what was asked, of which model
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self._folder, self._manifest = folder, manifest
        self._views = KeptViews(folder)

    def explained(self, row: Row, model: Model | Callable[[], Model] | None) -> Explanation:
        """See :meth:`m2ib.results.ResultTable.explanation`."""
        sides = self.sides(row)
        shown = [self.shown(row, n, side, model) for n, side in enumerate(sides, 1)]
        with _whole(self._folder / ROWS):
            about = parsed(Mapping[str, Any], read_json((row["provenance"] or "{}").encode()), "provenance")
            known = {**self._manifest["provenance"], **about}
            parsed(Mapping[str, Usual], known.get("usual", {}), "provenance.usual")
            asked = row.get("interactions") is not None
            found = interactions(row, self._arrays(row)) if asked else None
            return Explanation((shown[0], shown[1]), row["similarity"], known, found)

    def sides(self, row: Row) -> tuple[RowSide, RowSide]:
        """Raises :class:`InputError` for a row that has an error, and :class:`StorageError` for a damaged one."""
        if row["error"] is not None:
            raise InputError(f"results: the pair {row['id']!r:.80} has no explanation: {row['error']}")
        with _whole(self._folder / ROWS):
            beside = self._arrays(row)
            first, second = (side_of(row, n, beside) for n in (1, 2))
        return first, second

    def shown(
        self, row: Row, n: int, side: RowSide, model: Model | Callable[[], Model] | None
    ) -> Attribution:
        """The ``n``-th side of a row, from 1, with what is shown of it."""
        again = None if side.kept else self._view_again(row, n, side, model)
        with _whole(self._folder / ROWS):
            kept = {} if side.view is None else self._views.files(side.view, row.get(SHARD, ""))
            return attribution(side, n, again, kept)

    def _view_again(self, row: Row, n: int, side: RowSide, model: Model | Callable[[], Model] | None) -> Any:
        modality, name = row[f"modality_{n}"], row[f"input_{n}"]
        called = f"results: the {modality} {name!r:.120}"
        if model is None:
            raise InputError(
                f"{called} was not kept, and what is shown of it is read again by the model; give model=, or run with "
                "keep_inputs=True (--keep-inputs)"
            )
        reader = model() if callable(model) else model
        with plugin_code("the model"):
            item = reader.item(
                modality, name, truncate=bool(self._manifest["asked"]["options"].get("truncate"))
            )
        before, now = dict(side.stored.origin), json.loads(json.dumps(dict(item.origin)))
        if now.get("sha256") != before.get("sha256"):
            raise InputError(
                f"{called} is not the file that was explained; bring that back, or explain it again"
            )
        for key, value in now.items():
            if key != "source" and value != before.get(key):
                raise InputError(
                    f"{called} is read in another way than by the model that explained it: its {key} is {value!r:.60}, not "
                    f"{before.get(key)!r:.60}; give that model"
                )
        return item.view

    def _arrays(self, row: Row) -> dict[str, np.ndarray]:
        """The maps that lie beside, by column."""
        if row["arrays"] is None:
            return {}
        name = f"{ARRAYS}/{Path(row['arrays']).name}"
        path = self._folder / name
        regular(self._folder, escape(name))
        mine = f"{row['number']}.{row['method']}."
        with _whole(path), safe_open(path, "numpy") as file:
            names = [each for each in file.keys() if each.startswith(mine)]  # noqa: SIM118 - it is no mapping
            found = {each.removeprefix(mine): file.get_tensor(each) for each in names}
            for n in (1, 2):
                if row[f"grid_{n}"] is None and f"grid_{n}" not in found:
                    raise ValueError(f"it holds no {mine}grid_{n}")
            return found


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """What is raised inside is damage of what lies there: decoders and renderers of plugins raise anything. Raises :class:`StorageError`."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(
            f"{str(path)!r} is damaged: {said(error)}; bring it back, or begin anew with --force"
        ) from error
