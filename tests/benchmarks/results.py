"""A folder of a million results: what it takes to sum it up, to ask it something and to open one row.

    python tests/benchmarks/results.py [--rows 1000000] [--folder DIR]

The folder is made of real rows (``imagebind-tiny`` on drawn scenes), each many times: with ids and similarities of its own, and with the
values of its maps and of the fits' curves changed, so that they do not compress better than real ones. Each question is asked in a process
of its own by the Python API; the time to import m2ib and its libraries is told apart, and the peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SHARD = 8192  # rows, as a run writes
_ASKED = """
import json, resource, sys, time
began = time.perf_counter()
import m2ib.results
from m2ib.results.query import require_arrow
require_arrow("results")
imported = time.perf_counter()
table = m2ib.results.open(sys.argv[1])
{code}
ended = time.perf_counter()
print(json.dumps([imported - began, ended - imported, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, str(found)]))
"""
QUESTIONS = {
    "summary": "found = table.summary().rows",
    "filter, its count": "found = len(table.where('similarity < .2'))",
    "filter, its first 20 rows": "found = table.where('similarity < .2').head(20).to_arrow('id', 'similarity', 'error').num_rows",
    "the 20 least similar": "found = table.sort('similarity').head(20).to_arrow('id', 'similarity', 'error').num_rows",
    "the 20 least similar, whole": "found = len([*table.sort('similarity').head(20)])",
    "the first 40,000 of all, sorted, whole": "found = sum(1 for _, row in zip(range(40_000), table.sort('similarity')))",
    "one row by its id": "found = table.row({id!r})['id']",
    "one explanation": "found = table[{id!r}].similarity",
    "the summary of a filter": "found = table.where('similarity < .2').summary().rows",
}


def make(folder: Path, count: int, scenes: int) -> None:
    """The folder of ``count`` rows."""
    with tempfile.TemporaryDirectory() as temporary:
        repeated(real_rows(Path(temporary) / "real", scenes), folder, count)


def real_rows(folder: Path, scenes: int) -> Path:
    """A run over drawn scenes."""
    import m2ib
    from m2ib.scenes.questions import questions

    model = m2ib.load_model("imagebind-tiny", device="cpu")
    asked = questions("test", 0, scenes)
    pairs = [
        {"id": str(n), "image": each.scene.image, "text": f"a photo of a {each.kind}"}
        for n, each in enumerate(asked)
    ]
    m2ib.run(model, pairs, folder, show_progress=False)
    return folder


def repeated(real: Path, folder: Path, count: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.copytree(real, folder, ignore=shutil.ignore_patterns("part-*.parquet"))
    shutil.copytree(real / "views", folder / "views", dirs_exist_ok=True)
    table = pa.concat_tables([pq.read_table(path) for path in sorted((real / "rows").glob("*.parquet"))])
    rng = np.random.default_rng(0)
    curves = [json.dumps(curve) for curve in rng.normal(size=(SHARD, 30)).tolist()]
    for number, start in enumerate(range(0, count, SHARD)):
        size = min(SHARD, count - start)
        rows = table.take(pa.array(rng.integers(0, len(table), size)))
        numbers = np.arange(start, start + size)
        changed: dict[str, Any] = {
            "id": pa.array(map(id_of, numbers.tolist())),
            "number": pa.array(numbers),
            "key": pa.array(rng.integers(0, 2**62, size)),
            "similarity": pa.array(rng.normal(0.4, 0.15, size).clip(-1, 1)),
            "seconds": pa.array(rng.exponential(0.2, size).astype(np.float32)),
        }
        for n in (1, 2):
            changed[f"grid_{n}"] = shuffled(rows[f"grid_{n}"].combine_chunks(), rng)
            sides, order = rows[f"side_{n}"].to_pylist(), rng.permutation(SHARD)
            changed[f"side_{n}"] = pa.array(
                [with_curve(side, curves[each]) for side, each in zip(sides, order, strict=False)]
            )
        for name, values in changed.items():
            field = rows.schema.field(name)
            rows = rows.set_column(rows.schema.get_field_index(name), field, values.cast(field.type))
        path = folder / "rows" / f"part-{number:06d}.parquet"
        pq.write_table(rows, path, compression="zstd", write_page_index=True)


def id_of(number: int) -> str:
    """In no order, as hashes and UUIDs are."""
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def shuffled(lists: pa.ListArray, rng: np.random.Generator) -> pa.Array:
    """A column of lists with all its values in another order, the lists as long as they were."""
    import pyarrow as pa

    values = lists.flatten().to_numpy(zero_copy_only=False)
    return pa.ListArray.from_arrays(lists.offsets, pa.array(rng.permutation(values)))


def with_curve(side: str, curve: str) -> str:
    """A side's JSON with thirty other numbers in its curve, ten of each kind."""
    before, _, rest = side.partition('"curve":')
    each = curve[1:-1].split(", ")
    told = ",".join(f'"{name}":[{",".join(each[n : n + 10])}]' for name, n in _CURVES)
    return f'{before}"curve":{{{told},"noise":{each[0]}}}{rest[rest.index("}") + 1 :]}'


_CURVES = (("fit", 0), ("information", 10), ("loss", 20))


def asked(folder: Path, code: str) -> tuple[float, float, float, str]:
    """Seconds to import, seconds, MiB at most, and the answer, of a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", _ASKED.format(code=code), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    imported, took, most, found = json.loads(done.stdout.splitlines()[-1])
    return imported, took, most, found


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--scenes", type=int, default=64, help="real rows that are repeated")
    parser.add_argument(
        "--folder", help="made there and kept, or used as it lies there; default: a temporary one"
    )
    given = parser.parse_args()
    from rich.console import Console
    from rich.table import Table

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or Path(temporary) / "results")
        if not folder.exists():
            began = time.perf_counter()
            making = multiprocessing.get_context("spawn").Process(
                target=make, args=(folder, given.rows, given.scenes)
            )
            making.start()  # apart: Linux counts a parent's peak memory as its child's
            making.join()
            print(
                f"{folder}: {size_of(folder) / 2**30:.2f} GiB in {time.perf_counter() - began:.0f} s",
                file=sys.stderr,
            )
        shown = Table("question", "import, s", "seconds", "peak MiB", "answer", "load")
        middle = id_of(given.rows // 2)
        for name, code in QUESTIONS.items():
            load = os.getloadavg()[0]
            imported, took, most, found = asked(folder, code.format(id=middle))
            shown.add_row(name, f"{imported:.2f}", f"{took:.2f}", f"{most:.0f}", found, f"{load:.1f}")
        Console().print(shown)


if __name__ == "__main__":
    main()
