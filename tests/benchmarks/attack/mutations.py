"""What is done to files: to their bytes, to the trees of JSON in them, to what kind of file they are."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

DEEP = "[" * 100_000
NUMBERS = (
    0,
    -1,
    1,
    2,
    1.5,
    -0.0,
    1e30,
    1e308,
    -1e308,
    5e-324,
    2**31,
    2**63,
    10**30,
    10**400,
    float("nan"),
    float("inf"),
    -float("inf"),
    True,
)
TEXTS = (
    "", "x", "\0", "\ud800", "../../etc/passwd", "/etc/passwd", "..", "a\\b", "C:\\x", "<script>alert(1)</script>",
    "${oc.env:PATH}", "${" * 500, "$\\frac{", "%s{0}", "\n\r\x1b[31m", "é" * 5000, "\u202e\u200d", "nan", "1e999", "http://127.0.0.1:9/x", "__import__('os')",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, [], {}, [[]], [None], {"": None}, [0] * 3, {"a": {"b": [1, "2", None]}})


def value(rng: Random) -> Any:
    """Of any kind but the right one, mostly."""
    made = rng.choice((NUMBERS, NUMBERS, TEXTS, OTHERS))
    return deepcopy(rng.choice(made))


def _nodes(tree: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """(container, key) of everything in it."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        found.append((tree, key))
        _nodes(tree[key], found)
    return found


def tree(rng: Random, content: Any, times: int = 1) -> tuple[str, str]:
    """JSON with a few of its nodes changed: what was done, and the text."""
    content, done = json.loads(json.dumps(content)), []
    raw: list[tuple[str, str]] = []  # what no JSON of Python's would write
    for _ in range(times):
        nodes = _nodes(content, [])
        if not nodes:
            break
        where, key = rng.choice(nodes)
        how = rng.choice(_CHANGES)
        done.append(f"{how.__name__.strip('_')} {key!r:.30}")
        how(rng, where, key, nodes, raw)
    text = json.dumps(content, ensure_ascii=rng.random() < 0.5)
    for mark, instead in raw:
        text = text.replace(f'"{mark}"', instead)
    return ", ".join(done), text


def _set(rng: Random, where: Any, key: Any, nodes: Any, raw: Any) -> None:
    where[key] = value(rng)


def _scale(rng: Random, where: Any, key: Any, nodes: Any, raw: Any) -> None:
    old = where[key]
    if isinstance(old, (int, float)) and abs(old) < 1e300:
        new = rng.choice(
            (old * 1e9, old * 30_000, -old, old + 1, old - 1, old / 1e9, int(old * 1000), str(old))
        )
        where[key] = new
    elif isinstance(old, str):
        where[key] = rng.choice((old * 3, old[:-1], old.upper(), old + "\0", " " + old, f"../{old}"))
    else:
        where[key] = value(rng)


def _extreme(rng: Random, where: Any, key: Any, nodes: Any, raw: Any) -> None:
    """Some number of the tree as another one of its type, however far away."""
    numbers = [(part, name) for part, name in nodes if type(part[name]) in (int, float)]
    if numbers:
        part, name = rng.choice(numbers)
        whole = (0, 1, 2, 3, 7, -1, 63, 1000, 4097, 65_536, 2**24, 2**26, 2**31 - 1, 2**40, 10**18)
        part[name] = rng.choice(whole) if type(part[name]) is int else rng.choice((*map(float, whole), *FAR))


FAR = (0.5, 1e-9, 1e-30, 5e-324, 1e12, 1e15, 1e18, 9e29, -1e-9, -0.5, -1e15, 1 + 1e-12)


def _drop(rng: Random, where: Any, key: Any, nodes: Any, raw: Any) -> None:
    del where[key]


def _add(rng: Random, where: Any, key: Any, nodes: Any, raw: Any) -> None:
    if isinstance(where, dict):
        where[rng.choice(("x", f"{key}2", "__class__", "", *TEXTS))] = value(rng)
    else:
        where.insert(key, rng.choice((value(rng), where[key])))


def _repeat(rng: Random, where: Any, key: Any, nodes: Any, raw: Any) -> None:
    if isinstance(where, list):
        where *= rng.choice((2, 3, 100))
    else:
        where[key] = [where[key]] * rng.choice((1, 2, 1000))


def _swap(rng: Random, where: Any, key: Any, nodes: Any, raw: Any) -> None:
    other, place = rng.choice(nodes)
    if (other, place) != (where, key):
        copied = json.dumps(other[place])
        other[place] = json.loads(json.dumps(where[key]))
        where[key] = json.loads(copied)


def _raw(rng: Random, where: Any, key: Any, nodes: Any, raw: list[tuple[str, str]]) -> None:
    mark = f"mark-{len(raw)}"
    where[key] = mark
    raw.append(
        (
            mark,
            rng.choice(
                (
                    "NaN",
                    "Infinity",
                    "-Infinity",
                    "1e999",
                    "9" * 5000,
                    DEEP,
                    '{"a":' * 50_000,
                    "[" * 900 + "]" * 900,
                    '{"a":1,"a":2}',
                    '"\\ud800"',
                    "'x'",
                    "tru",
                )
            ),
        )
    )


_CHANGES: tuple[Callable[..., None], ...] = (
    _set,
    _set,
    _extreme,
    _extreme,
    _extreme,
    _extreme,
    _scale,
    _scale,
    _drop,
    _add,
    _repeat,
    _swap,
    _raw,
)


def damaged(rng: Random, content: bytes) -> tuple[str, bytes]:
    """Bytes flipped, cut, doubled, zeroed; or numbers in them made large."""
    changed, done = bytearray(content), []
    for _ in range(rng.choice((1, 1, 2, 8))):
        size = len(changed)
        if not size:
            changed, done = bytearray(rng.randbytes(64)), [*done, "noise"]
            continue
        # Headers are at the beginning of most formats, and at the end of some.
        at = min(
            size - 1,
            rng.choice(
                (rng.randrange(size), rng.randrange(min(size, 256)), size - 1 - rng.randrange(min(size, 256)))
            ),
        )
        length = rng.choice((1, 2, 4, 64, 1000))
        how = rng.choice(("flip", "cut", "drop", "double", "zero", "ones", "big", "splice", "noise"))
        if how == "flip":
            changed[at] ^= 1 << rng.randrange(8)
        elif how == "cut":
            del changed[at:]
        elif how == "drop":
            del changed[at : at + length]
        elif how == "double":
            changed[at:at] = changed[at : at + length]
        elif how in ("zero", "ones"):
            part = changed[at : at + length]
            changed[at : at + length] = (b"\0" if how == "zero" else b"\xff") * len(part)
        elif how == "big":
            number = struct.pack(
                rng.choice("<>") + "I", rng.choice((2**31 - 1, 2**32 - 1, 30_000, 65_535, 10**9))
            )
            changed[at : at + 4] = number
        elif how == "splice":
            other = rng.randrange(size)
            changed[at : at + length] = changed[other : other + length]
        else:
            changed[at : at + length] = rng.randbytes(length)
        done.append(f"{how} at {at}")
    return ", ".join(done), bytes(changed)


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, rows: int | None = None) -> bytes:
    """Of one value, deflated well: a few kilobytes whatever its header claims."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    line = 1 + (width * channels * depth + 7) // 8
    packer, body = zlib.compressobj(9), b""
    for _ in range(min(rows if rows is not None else height, 2**28 // line)):
        body += packer.compress(bytes(line))
    body += packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def other_kind(rng: Random, path: Path) -> str:
    """In place of a file: nothing, a folder, a link, a pipe, a device's name, or one that claims to be vast."""
    how = rng.choice(("nothing", "folder", "link out", "link to zeros", "pipe", "vast", "empty", "loop"))
    path.unlink(missing_ok=True)
    if how == "folder":
        path.mkdir()
    elif how in ("link out", "link to zeros", "loop"):
        path.symlink_to({"link out": "/etc/passwd", "link to zeros": "/dev/zero", "loop": path.name}[how])
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "vast":
        path.touch()
        os.truncate(path, 2**40)
    elif how == "empty":
        path.touch()
    return f"{how} in place of {path.name}"
