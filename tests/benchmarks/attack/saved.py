"""Folders of saved explanations: what loads must look, save and compare as any other."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import safetensors.numpy

import m2ib
from attack.mutations import damaged, other_kind, png, tree
from attack.sandbox import Finding
from drawn import explanations, listed_again


class Target:
    """Changes one of the samples' folders."""

    def __init__(self, home: Path) -> None:
        self.folders = [each.save(home / name) for name, each in explanations().items()]
        for (
            folder
        ) in self.folders:  # what is whole passes; and all that is loaded late is there before a fork
            use(folder, home / f"{folder.name}-again")

    def attack(self, rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
        here, there = folder / "saved", folder / "again"
        origin = rng.choice(self.folders)
        shutil.copytree(origin, here)
        how = rng.choice(
            (_manifest,) * 12 + (_arrays,) * 5 + (_bytes,) * 3 + (_picture, _kind, _kind, _header)
        )
        done = f"{origin.name}: {how(rng, here)}"
        if how in (_arrays, _bytes, _picture, _header) and rng.random() < 0.9:
            with contextlib.suppress(
                ValueError, TypeError, KeyError, OSError
            ):  # its manifest is none any more
                listed_again(here)
        return done, lambda: use(here, there)


def use(here: Path, there: Path) -> None:
    """All that one does with an explanation that was loaded."""
    explanation = m2ib.load_explanation(here)
    repr(explanation)
    page = explanation.to_html(there / "page.html").read_text(encoding="utf-8")
    if "<script>alert" in page:
        raise Finding("a script of the manifest is on the page")
    explanation.figure().savefig(there / "figure.png", dpi=40)
    explanation._repr_html_()
    for place, each in enumerate(explanation):
        repr(each), each.words, each.placed_words, each.tokens, each.axes
        scores = each.scores
        if scores.size and not (scores.min() >= 0 and scores.max() <= 1):
            raise Finding(f"scores from {scores.min()} to {scores.max()}")
        each.to_xarray()
        kept = each.curve and each.curve.kept
        assert kept is None or isinstance(kept, float)
        for more in (lambda at=place: explanation.with_boxes([(1, 1, 2, 2, "x")], at=at), each.at_input_size):
            with contextlib.suppress(m2ib.InputError):  # this kind of input has none
                more()
    again = m2ib.load_explanation(explanation.save(there / "saved"))
    differing = [name for name, a, b in _compared(explanation, again) if not _alike(a, b)]
    if differing:
        raise Finding(f"saved again it differs in {differing}")


def _compared(a: Any, b: Any) -> Any:
    yield "similarity", a.similarity, b.similarity
    yield "provenance", a.provenance, b.provenance
    for one, other in zip(a, b, strict=True):
        for field in dataclasses.fields(one):
            if field.name != "renderer":
                yield field.name, getattr(one, field.name), getattr(other, field.name)


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, dict):
        return set(a) == set(b) and all(_alike(a[key], b[key]) for key in a)
    if dataclasses.is_dataclass(a):
        return all(_alike(getattr(a, each.name), getattr(b, each.name)) for each in dataclasses.fields(a))
    return type(a) is type(b) and a == b


def _manifest(rng: Random, here: Path) -> str:
    path = here / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    if rng.random() < 0.15:
        row = rng.choice(content["attributions"])
        row["renderer"] = rng.choice(
            (
                "image",
                "text",
                "sound",
                "field",
                "film",
                "traces",
                "embedding",
                "values",
                "m2ib:image",
                "nope",
                "x" * 10**6,
            )
        )
        done, text = f"renderer {row['renderer']:.20}", json.dumps(content)
    elif rng.random() < 0.1:
        row = rng.choice(content["attributions"])
        row["view"]["size"] = [30_000, 30_000]
        done, text = "a vast size", json.dumps(content)
    else:
        part = rng.choice(
            [
                content,
                content["attributions"][rng.randrange(2)]["view"],
                content["attributions"][rng.randrange(2)]["layout"],
            ]
        )
        marked = {"part": "mark-tree"}
        done, changed = tree(rng, part, rng.choice((1, 1, 2, 4)))
        if part is content:
            text = changed
        else:
            for row in content["attributions"]:
                for name in ("view", "layout"):
                    if row[name] is part:
                        row[name] = marked["part"]
            text = json.dumps(content).replace('"mark-tree"', changed)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return f"manifest: {done}"


def _arrays(rng: Random, here: Path) -> str:
    path = rng.choice(sorted(here.glob("*.safetensors")))
    arrays = safetensors.numpy.load_file(path)
    name = rng.choice(sorted(arrays))
    values = np.array(arrays[name])
    how = rng.choice(
        (
            "nan",
            "inf",
            "huge",
            "tiny",
            "zero",
            "shape",
            "dtype",
            "empty",
            "drop",
            "extra",
            "swap",
            "more",
            "flat",
            "negative",
        )
    )
    if how in ("nan", "inf", "huge", "tiny") and values.size and values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            values.reshape(-1)[rng.randrange(values.size)] = {
                "nan": np.nan,
                "inf": -np.inf,
                "huge": 3e38,
                "tiny": 1e-44,
            }[how]
    elif how == "zero":
        values[...] = 0
    elif how == "negative" and values.dtype.kind == "f":
        values = -values
    elif how == "shape":
        values = rng.choice(
            (values.T.copy(), values[None].copy(), values.reshape(-1), values[..., None].copy())
        )
    elif how == "flat":
        values = values.reshape(-1)[: max(1, values.size // 2)].copy()
    elif how == "dtype":
        values = values.astype(
            rng.choice(("float16", "float64", "int32", "bool", "uint8", "int64", "float32", "complex64"))
        )
        values = values if values.dtype.kind != "c" else values.real.copy()
    elif how == "empty":
        values = np.zeros(rng.choice(((0,), (), (0, 3), (1, 0, 2))), values.dtype)
    elif how == "more":
        values = np.concatenate([values, values]) if values.ndim else values
    arrays[name] = values
    if how == "drop":
        del arrays[name]
    if how == "extra":
        arrays["2.grid"] = values
    if how == "swap":
        other = rng.choice(sorted(arrays))
        arrays[name], arrays[other] = arrays[other], arrays[name]
    path.write_bytes(
        safetensors.numpy.save({key: np.ascontiguousarray(each) for key, each in arrays.items()})
    )
    return f"{path.name}: {how} of {name}"


def _header(rng: Random, here: Path) -> str:
    """The JSON at the head of a safetensors file."""
    path = rng.choice(sorted(here.glob("*.safetensors")))
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    done, text = tree(rng, json.loads(content[8 : 8 + length]), 1)
    if rng.random() < 0.3:
        text = text.replace("F32", rng.choice(("BF16", "F8_E4M3", "F64", "BOOL", "X", "U4")))
    head = text.encode("utf-8", "surrogatepass")
    claimed = rng.choice((len(head), len(head), len(head), 2**63, 2**40, 0))
    path.write_bytes(struct.pack("<Q", claimed) + head + content[8 + length :])
    return f"{path.name}: header, {done}"


def _bytes(rng: Random, here: Path) -> str:
    path = rng.choice(sorted(each for each in here.iterdir() if each.is_file()))
    done, content = damaged(rng, path.read_bytes())
    path.write_bytes(content)
    return f"{path.name}: {done}"


def _picture(rng: Random, here: Path) -> str:
    path = here / "0.png"
    width, height = rng.choice(
        ((20_000, 20_000), (50, 30), (1, 1), (2**31 - 1, 1), (30, 50), (0, 5), (4000, 4000))
    )
    path.write_bytes(
        png(
            width,
            height,
            depth=rng.choice((8, 8, 16)),
            colour=rng.choice((2, 2, 0, 6)),
            rows=rng.choice((None, 3)),
        )
    )
    return f"a picture of {width}x{height}"


def _kind(rng: Random, here: Path) -> str:
    return other_kind(rng, rng.choice(sorted(here.iterdir())))
