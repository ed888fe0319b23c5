"""Tables of pairs, files of boxes, and the file that an evaluation keeps its results in."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from attack.mutations import DEEP, NUMBERS, TEXTS, damaged, other_kind, tree, value
from m2ib.data import open_pairs
from m2ib.data.boxes import read_boxes
from m2ib.evaluation.files import save
from m2ib.evaluation.results import read_results
from m2ib.evaluation.store import FILE, MapRecord, Store

_ROWS = [
    {"id": "a", "image": "a.png", "text": "a bell beside a train", "boxes": [[1, 2, 3, 4, "bell"]]},
    {"id": "b", "image": "a.png", "text": "größe", "boxes": []},
]
_COCO = {
    "images": [{"id": 1, "file_name": "files/a.png", "width": 40, "height": 48, "path": "files/a.png"}],
    "categories": [{"id": 7, "name": "bell"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "label_text": "a bell"}],
}
_INSTANCES = {
    "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 48}],
    "categories": [{"id": 7, "name": "bell"}, {"id": 8, "name": "owl"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 7,
            "bbox": [1, 2, 3, 4],
            "area": 9,
            "segmentation": [[1, 2, 9, 2, 9, 9.5]],
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 7,
            "iscrowd": 1,
            "segmentation": {"size": [48, 40], "counts": [900, 20, 1000]},
        },
        {
            "id": 3,
            "image_id": 1,
            "category_id": 8,
            "segmentation": {"size": [48, 40], "counts": "e=?Q1000000000000000000000000000000000000000k>"},
        },
        {"id": 4, "image_id": 1, "caption": "a bell"},
    ],
}
_RSICD = {
    "images": [
        {"filename": "a.png", "split": "test", "sentences": [{"raw": "a plane .", "tokens": ["a", "plane"]}]}
    ],
    "dataset": "rsicd",
}
_MS_CXR = "category_name,label_text,dicom_id,path,x,y,w,h,image_width,image_height\nbell,a bell,a,files/a.png,1,2,3,4,40,48\n"
_STUDY = {"methods": ["rise", "uniform"], "metrics": ["drop"], "seeds": [0, 1], "settings": {}, "sides": None}


class Target:
    """Changes one table; or one cell of an evaluation's."""

    def __init__(self, home: Path) -> None:
        self.store = home / FILE
        with Store(home) as store:
            grid = np.random.default_rng(0).random((2, 3))
            maps = [
                MapRecord(0, name, seed, pair, n, grid, {"drop": 0.1, "iou": 0.5}, 0.2)
                for name in ("rise", "uniform") for seed in (0, 1) for n, pair in enumerate("ab")
            ]  # fmt: skip
            store.add(maps)
            facts = {
                "asked": {
                    "data": {"name": "pairs", "modalities": ["image", "text"]}, "study": _STUDY,
                    "model": {"adapter": "photo", "device": "cpu", "dtype": "float32"}, "versions": {"m2ib": "0.1.0", "torch": "2"},
                },
                "pairs": 2, "controls": ["uniform"], "settings 0 rise": {"masks": 3},
                "sanity 0": {"stages": ["a", "b"], "methods": {"rise": [1.0, 0.5]}},
            }  # fmt: skip
            for name, fact in facts.items():
                store.set_fact(name, fact)
            store.note("bad row", "line 3", "it lacks 'text'")
            store.warn((0, "rise", 0, "a"), "beware")
        save(read_results(home))
        with sqlite3.connect(self.store) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def attack(self, rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
        make = rng.choice(
            (
                *(_jsonl, _csv, _csv, _rsicd, _coco, _ms_cxr, _captions, self._evaluation, self._evaluation),
                *(_instances, _instances, _tar, _parquet),
            )
        )
        Image.new("RGB", (40, 48)).save(folder / "a.png")
        return make(rng, folder)

    def _evaluation(self, rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
        path = folder / FILE
        path.write_bytes(self.store.read_bytes())
        if rng.random() < 0.2:
            done, content = damaged(rng, path.read_bytes())
            path.write_bytes(content)
        elif rng.random() < 0.1:
            done = other_kind(rng, path)
        else:
            done = _cell(rng, path)
        return f"evaluation: {done}", lambda: save(read_results(folder))


def _cell(rng: Random, path: Path) -> str:
    connection = sqlite3.connect(path, isolation_level=None)
    tables = {"facts": ("name", "value"), "maps": ("side", "method", "seed", "pair", "number", "shape", "grid", "seconds"),
              "scores": ("side", "method", "seed", "pair", "number", "metric", "value"), "notes": ("kind", "place", "text")}  # fmt: skip
    table = rng.choice(("facts",) * 4 + tuple(tables))
    column = rng.choice(tables[table])
    rows = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
    rowid, old = rng.choice(rows)
    how = rng.choice(("json", "json", "text", "number", "blob", "null", "drop row", "drop table", "schema"))
    if how == "json" and table == "facts" and column == "value":
        done, new = tree(rng, json.loads(old))
    else:
        done, new = (
            how,
            {
                "text": rng.choice((*TEXTS, DEEP)),
                "number": rng.choice((0, -1, 2**62, 1e308, 7.5)),
                "blob": rng.randbytes(9),
            }.get(how),
        )
    if isinstance(new, str):
        new = new.encode("utf-8", "replace").decode()
    try:
        if how == "drop row":
            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
        elif how == "drop table":
            connection.execute(f"DROP TABLE {table}")
        elif how == "schema":
            connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}x")
        else:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, rowid))
    except sqlite3.Error:
        pass
    connection.close()
    return f"{table}.{column} of {str(old)[:20]!r}: {done}"


def _all(name: str, **options: object) -> None:
    for pair in open_pairs(name, **options):
        repr(pair)


def _written(rng: Random, path: Path, content: bytes) -> str:
    path.write_bytes(content)
    if rng.random() < 0.3:
        done, content = damaged(rng, content)
        path.write_bytes(content)
        return done
    if rng.random() < 0.05:
        return other_kind(rng, path)
    return ""


def _jsonl(rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
    lines, done = [], []
    for row in _ROWS:
        said, text = tree(rng, row, rng.choice((0, 1, 2)))
        lines.append(text)
        done.append(said)
    path = folder / "pairs.jsonl"
    done.append(_written(rng, path, "\n".join(lines).encode("utf-8", "surrogatepass")))
    return f"pairs.jsonl: {done}", lambda: _all(str(path))


def _csv(rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
    rows = [
        ["id", "image", "text", "boxes"],
        *([row["id"], row["image"], row["text"], json.dumps(row["boxes"])] for row in _ROWS),
    ]
    done = []
    for _ in range(rng.choice((0, 1, 1, 3))):
        row = rng.choice(rows)
        at = rng.randrange(len(row))
        row[at] = str(
            rng.choice((*TEXTS, *NUMBERS, DEEP[:50_000], json.dumps([[1, 2, 3, value(rng)]], default=str)))
        )
        done.append(f"{row[at]:.20}")
    quoted = [
        "\t".join(row)
        if rng.random() < 0.02
        else ",".join('"' + cell.replace('"', '""') + '"' for cell in row)
        for row in rows
    ]
    path = folder / rng.choice(("pairs.csv", "pairs.tsv"))
    done.append(_written(rng, path, "\n".join(quoted).encode("utf-8", "surrogatepass")))
    return f"{path.name}: {done}", lambda: _all(str(path))


def _coco(rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
    done, text = tree(rng, _COCO, rng.choice((1, 2)))
    path = folder / "boxes.json"
    done += _written(rng, path, text.encode("utf-8", "surrogatepass"))
    if rng.random() < 0.5:
        return f"boxes.json as ms-cxr: {done}", lambda: _all("ms-cxr", boxes=str(path), images=str(folder))
    return f"boxes.json: {done}", lambda: read_boxes(path, rng.choice((None, "a", "a.png")), (40, 48))


def _instances(rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
    kept = _INSTANCES["annotations"][rng.choice((0, 3)) :][:3]  # objects, or a caption
    done, text = tree(rng, _INSTANCES | {"annotations": kept}, rng.choice((1, 2)))
    path = folder / "instances.json"
    done += _written(rng, path, text.encode("utf-8", "surrogatepass"))
    least = rng.choice((None, None, 0.001))
    return f"coco: {done}", lambda: _all("coco", annotations=str(path), images=str(folder), least=least)


def _tar(rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
    path = folder / rng.choice(("s.tar", "s.tar.gz"))
    done, text = tree(rng, {"caption": "a bell"}, rng.choice((0, 1)))
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz" if path.suffix == ".gz" else "w") as archive:
        for number in range(2):
            for ending, member in (
                ("png", (folder / "a.png").read_bytes()),
                ("json", text.encode("utf-8", "replace")),
            ):
                name = rng.choice((f"{number}.{ending}",) * 9 + (f"{rng.choice(TEXTS)}.{ending}",)).encode(
                    "utf-8", "replace"
                )
                info = tarfile.TarInfo(name.decode().replace("\0", ""))
                info.size = len(member)
                info.type = rng.choice(
                    (tarfile.REGTYPE,) * 9 + (tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
                )
                archive.addfile(info, io.BytesIO(member))
    done += _written(rng, path, content.getvalue())
    return f"{path.name}: {done}", lambda: _all(str(path), columns="image=png,text=json.caption")


def _parquet(rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
    import pyarrow
    import pyarrow.parquet

    cell = rng.choice(
        (
            {"bytes": (folder / "a.png").read_bytes(), "path": "a.png"},
            "a.png",
            b"x",
            [[1.5]],
            *map(str, TEXTS[:4]),
        )
    )
    content = io.BytesIO()
    with contextlib.suppress(pyarrow.ArrowException, UnicodeError):  # what it cannot hold
        pyarrow.parquet.write_table(
            pyarrow.table({"image": [cell, cell], "text": ["a bell", "größe"]}), content
        )
    path = folder / "p.parquet"
    done = _written(rng, path, content.getvalue())
    return f"p.parquet: {cell!r:.20} {done}", lambda: _all(str(path))


def _ms_cxr(rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
    head, row = (line.split(",") for line in _MS_CXR.splitlines())
    at = rng.randrange(len(row))
    (row if rng.random() < 0.8 else head)[at] = str(rng.choice((*NUMBERS, *TEXTS)))
    path = folder / "boxes.csv"
    done = _written(rng, path, (",".join(head) + "\n" + ",".join(row)).encode("utf-8", "surrogatepass"))
    if rng.random() < 0.5:
        return f"boxes.csv as ms-cxr: {row[at]:.20} {done}", lambda: _all(
            "ms-cxr", boxes=str(path), images=str(folder)
        )
    return f"boxes.csv: {row[at]:.20} {done}", lambda: read_boxes(path, "a", (40, 48))


def _rsicd(rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
    done, text = tree(rng, _RSICD, rng.choice((1, 2)))
    path = folder / "rsicd.json"
    done += _written(rng, path, text.encode("utf-8", "surrogatepass"))
    return f"rsicd: {done}", lambda: _all("rsicd", captions=str(path), images=str(folder))


def _captions(rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
    path = folder / "captions.tsv"
    cell = str(rng.choice((*TEXTS, "a dog")))
    done = _written(
        rng, path, f"a dog\thttp://x/a.png\ta.png\n{cell}\t{cell}\t{cell}\n".encode("utf-8", "surrogatepass")
    )
    options = {"captions": str(path), "images": str(folder)}
    if rng.random() < 0.5:
        options["filename"] = rng.choice(
            ("{row}", "{row:08d}.jpg", "{x}", "{", "{row.__class__}", "{row:999999999}", "../{md5}", *TEXTS)
        )
    name = rng.choice(("conceptual-captions", "conceptual-captions", "roco"))
    if name == "roco":
        options.pop("filename", None)
    return f"{name}: {cell:.20} {options.get('filename', '')} {done}", lambda: _all(name, **options)
