"""A distribution with an adapter to start from: what ``m2ib new-plugin NAME`` writes.

The template is in ``template/``; ``package`` in its names is the new package. What it writes works as it is, with a small
module of random weights where the author's model belongs, and passes its own tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from jinja2 import Environment, StrictUndefined

from m2ib.errors import SettingError, StorageError, did_you_mean
from m2ib.folders import check_folder
from m2ib.paths import local_path
from m2ib.registry.discovery import default_registry

INPUTS: Mapping[str, str] = {
    "image": "pixels (3, rows, columns)",
    "text": "token ids (T,)",
    "spectrogram": "of a sound, (1, frequencies, times)",
    "waveform": "of a sound, (1, samples)",
    "series": "channels of numbers over time",
}
AXES: Mapping[str, str] = {
    "NTC": "tokens, batch first",
    "TNC": "tokens, sequence first",
    "NCHW": "maps of images and spectrograms, channels first",
    "NHWC": "such maps, channels last",
}
POOLING: Mapping[str, str] = {
    "mean": "over the positions",
    "class": "a class token before the others",
    "last": "the last token",
    "attention": "a weighted mean, as of a map or attention head",
}
_MAPS = ("image", "spectrogram")  # kinds of input that can be maps
_FACTS: Mapping[str, Mapping[str, str]] = {  # what the template fills in by kind of input
    "modalities": {
        **dict.fromkeys(("spectrogram", "waveform"), "audio"),
        "image": "image",
        "text": "text",
        "series": "series",
    },
    "shapes": {"image": "3, 64, 64", "spectrogram": "1, 64, 64", "waveform": "1, 1600", "series": "6, 80"},
    "stems": {
        "image": "nn.Conv2d(3, 32, 16, 16)",
        "spectrogram": "nn.Conv2d(1, 32, 16, 16)",
        "waveform": "nn.Conv1d(1, 32, 160, 160)",
        "series": "nn.Conv1d(6, 32, 10, 10)",
        "text": "nn.Embedding(257, 32)",
    },
    "grids": {"image": "(4, 4)", "spectrogram": "(4, 4)", "waveform": "(10,)", "series": "(8,)"},
    "examples": {
        "image": "list(np.random.default_rng(0).integers(0, 256, (2, 80, 60, 3), dtype=np.uint8))",
        "text": '["a dog", "two cats asleep on a sofa"]',
        "spectrogram": "list(np.random.default_rng(0).standard_normal((2, 64, 64)))",
        "waveform": "list(np.random.default_rng(0).standard_normal((2, 1600)))",
        "series": "list(np.random.default_rng(0).standard_normal((2, 6, 80)))",
    },
    "shown": {
        "image": "photo.jpg",
        "text": '"a dog"',
        **dict.fromkeys(("spectrogram", "waveform"), "sound.wav"),
        "series": "series.npy",
    },
}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_plugin(
    name: str,
    folder: Path | None = None,
    *,
    inputs: Sequence[str] = ("image", "text"),
    axes: str = "NTC",
    pooling: str = "mean",
    force: bool = False,
) -> Path:
    """Write a distribution ``m2ib-NAME`` with an adapter ``NAME``; its folder.

    name    of the adapter: lower-case letters, digits and dashes. ``m2ib-`` before it belongs to the distribution
    folder  None: ``m2ib-NAME`` in the working folder
    inputs  two of :data:`INPUTS`, of different modalities
    axes    of what the blocks give, one of :data:`AXES`; texts and whatever else is no map keep to tokens
    pooling of positions to an embedding, one of :data:`POOLING`
    force   write into a folder that holds something, beside it

    Raises :class:`SettingError` for choices that do not go together, and for a name that cannot be one or is taken, :class:`StorageError` for the folder.
    """
    name = name.removeprefix("m2ib-")
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"new-plugin: {name!r} cannot be the name of an adapter; take lower-case letters, digits and dashes, as in my-model"
        )
    taken = [info.origin for info in default_registry().adapters if info.name == name]
    if taken:
        raise SettingError(
            f"new-plugin: {name!r} is the name of an adapter of {taken[0]!r} already; choose another"
        )
    kinds, maps = _checked(inputs, axes, pooling)
    distribution, package = f"m2ib-{name}", f"m2ib_{name.replace('-', '_')}"
    names = {
        **{what: {kind: facts.get(kind, "") for kind in kinds} for what, facts in _FACTS.items()},
        "inputs": kinds,
        "maps": maps,
        "axes": axes,
        "pooling": pooling,
        "kit": [
            *(["ImagePreparation"] if "image" in kinds else []),
            *(["check_text"] if "text" in kinds else []),
        ],
        "name": name,
        "distribution": distribution,
        "package": package,
        "model": "".join(part.capitalize() for part in name.split("-")),
        "version": version("m2ib"),
    }
    place = Path(distribution) if folder is None else local_path(folder)
    check_folder(place, "plugin", force=force)
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    written = {
        place.joinpath(*(part.replace("package", package) for part in path.parts)): environment.from_string(
            template.read_text(encoding="utf-8")
        ).render(names)
        for path, template in _templates()
    }
    for target in written:
        if os.path.lexists(target):  # the author's own by now, whoever wrote it
            raise StorageError(
                f"new-plugin: {str(target)!r} is there already; move it away, or name another folder"
            )
    try:
        for target, text in written.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise StorageError(
            f"new-plugin: cannot write {error.filename!r}: {error.strerror or error}"
        ) from error
    return place


def _checked(inputs: Sequence[str], axes: str, pooling: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kinds of input, and those of them that are maps."""
    for what, given, known in (
        *(("inputs", kind, INPUTS) for kind in inputs),
        ("axes", axes, AXES),
        ("pooling", pooling, POOLING),
    ):
        if given not in known:
            raise SettingError(
                f"new-plugin: {what} {given!r} is unknown{did_you_mean(given, known)} There are {', '.join(known)}"
            )
    modalities = _FACTS["modalities"]
    if len(inputs) != 2 or modalities[inputs[0]] == modalities[inputs[1]]:
        raise SettingError(
            f"new-plugin: inputs are two of different modalities, as in image text, not {' '.join(inputs)!r}"
        )
    maps = tuple(kind for kind in inputs if kind in _MAPS and axes in ("NCHW", "NHWC"))
    if axes in ("NCHW", "NHWC") and not maps:
        raise SettingError(
            f"new-plugin: axes {axes} are of maps, which {' and '.join(inputs)} have none of; take NTC or TNC"
        )
    if maps and pooling in ("class", "last"):
        raise SettingError(
            f"new-plugin: pooling {pooling!r} is of tokens, and axes {axes} are of maps; take mean or attention"
        )
    return tuple(inputs), maps


def _templates() -> Iterator[tuple[PurePosixPath, Traversable]]:
    """What is written where, and from which template."""
    waiting = [(PurePosixPath(), files("m2ib.new_plugin").joinpath("template"))]
    while waiting:
        path, part = waiting.pop()
        if part.is_dir():
            waiting += [(path / each.name, each) for each in part.iterdir()]
        elif part.name.endswith(".jinja"):
            yield path.with_suffix(""), part
