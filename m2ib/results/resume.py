"""What a run was asked for, kept beside its results: a run goes on with its own, and with no other's."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from m2ib.activations.reference import state_of
from m2ib.contract.inputs import Inputs
from m2ib.contract.model import Model
from m2ib.paths import LONGEST_PATH, local_path

WEIGHTS = "weights"
_NO_FILES = ("name", "dtype")  # of a recipe, whatever folders are called so
_SMALL = 2**25  # bytes of what is no weights
_digests: WeakKeyDictionary[nn.Module, tuple[int, str]] = WeakKeyDictionary()  # with the state of the weights


def model_facts(model: Model) -> dict[str, Any]:
    """Where the model came from, its weights and the small files beside them, and on what kind of device and in which dtype it runs; JSON-able."""
    place = {"device": model.device.type, "dtype": str(model.dtype).removeprefix("torch.")}
    given = {name: value for name, value in (model.recipe or {}).items() if name not in _NO_FILES}
    files = [_files_digest(Path(value)) for value in given.values() if isinstance(value, str)]
    whole = hashlib.sha256(json.dumps([weights_digest(model.module), *files]).encode()).hexdigest()
    return {**model.origin, **place, WEIGHTS: whole}


def _files_digest(folder: Path) -> str:
    """SHA-256 of what lies in a checkpoint's folder beside its weights: descriptions, tokenizers; "" where there is none."""
    if len(str(folder)) > LONGEST_PATH or not os.path.isdir(folder):
        return ""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size <= _SMALL:
            found.update(f"{path.name} {path.stat().st_size} ".encode("utf-8", "surrogateescape"))
            found.update(path.read_bytes())
    return found.hexdigest()


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of parameters and buffers with their names; computed again when they change."""
    state, known = state_of(module), _digests.get(module)
    if known is None or known[0] != state:
        named = {
            name: each.detach() for name, each in chain(module.named_parameters(), module.named_buffers())
        }
        known = _digests[module] = state, digest([named])
    return known[1]


def digest(values: Iterable[Inputs]) -> str:
    """SHA-256 of tensors, bit for bit, with their names, shapes and dtypes."""
    found = hashlib.sha256()
    for value in values:
        for name, tensor in ({"": value} if isinstance(value, Tensor) else value).items():
            for plain in _plain_tensors(tensor.detach()):
                found.update(f"{name} {tuple(plain.shape)} {plain.dtype}".encode())
                flat = plain.cpu().contiguous().reshape(-1)
                found.update(flat.view(torch.uint8).numpy().data)
    return found.hexdigest()


def _plain_tensors(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor, or those that one of another class is made of."""
    if tensor.is_quantized:
        yield tensor.dequantize()
    elif hasattr(tensor, "__tensor_flatten__"):
        for name in tensor.__tensor_flatten__()[0]:
            yield from _plain_tensors(getattr(tensor, name))
    else:
        yield tensor


def version_facts() -> dict[str, str]:
    """Of what decides the figures."""
    return {"m2ib": version("m2ib"), "torch": torch.__version__}


def differences(
    known: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    groups: Sequence[str],
    may_differ: Collection[str] = (),
) -> list[str]:
    """As "group name", each fact that is another one than was known; none where nothing was.

    Of facts within facts "group name name (3, now 4)", with what they were and are where that is short.

    known, asked  facts by group and name
    """
    if known is None:
        return []
    return [
        " ".join([group, *path]) + told
        for group in groups
        for path, told in _leaves(known[group], asked[group])
        if path[0] not in may_differ
    ]


def _leaves(known: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[tuple[list[str], str]]:
    for name in sorted({*known, *asked}):
        before, now = known.get(name), asked.get(name)
        if before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from (([name, *path], told) for path, told in _leaves(before, now))
        elif all(each is None or isinstance(each, (bool, int, float)) for each in (before, now)):
            yield [name], f" ({before}, now {now})"
        else:
            yield [name], ""


def plain(value: Any, *, times: bool = True) -> Any:
    """JSON-able, another one for another value. Raises TypeError for what it does not know.

    times  whether another time of a file makes another value, or its name and size alone
    """
    inner = partial(plain, times=times)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, io.BytesIO):
        return ["bytes", hashlib.sha256(value.getbuffer()).hexdigest()]
    if isinstance(value, str):  # a text, or how somebody names a file
        return ["str", value, *(_looks(local_path(value), times) if len(value) < LONGEST_PATH else [])]
    if isinstance(value, PathLike):
        return ["path", Path(value).name, *_looks(local_path(value), times, inside=True)]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return ["array", value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, Tensor):
        return ["tensor", digest([value])]
    if isinstance(value, Mapping):
        return ["dict", [[inner(name), inner(each)] for name, each in value.items()]]
    if isinstance(value, (list, tuple)):
        return [inner(each) for each in value]
    if is_dataclass(value):
        return [type(value).__name__, *(inner(getattr(value, field.name)) for field in fields(value))]
    raise TypeError(type(value).__name__)


def _looks(path: Path, times: bool, *, inside: bool = False) -> list[Any]:
    """Size, and times, of a file, or of all files in a folder; nothing where there is none of this name."""
    try:
        if inside and path.is_dir():
            return [[each.name, *_looks(each, times)] for each in sorted(path.rglob("*"))]
        found = path.stat()
    except (OSError, ValueError):
        return []
    return [found.st_size, *((found.st_mtime_ns, found.st_ctime_ns) if times else ())]
