"""A distribution with an adapter to start from: what ``m2ib new-plugin NAME`` writes.

The template is in ``template/``; ``package`` in its names is the new package. What it writes works as it is, with a small
module of random weights where the author's model belongs, and passes its own tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from jinja2 import Environment, StrictUndefined

from m2ib.errors import SettingError, StorageError
from m2ib.folders import check_folder
from m2ib.paths import local_path
from m2ib.registry.discovery import default_registry

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_plugin(name: str, folder: Path | None = None, *, force: bool = False) -> Path:
    """Write a distribution ``m2ib-NAME`` with an adapter ``NAME``; its folder.

    name    of the adapter: lower-case letters, digits and dashes. ``m2ib-`` before it belongs to the distribution
    folder  None: ``m2ib-NAME`` in the working folder
    force   write into a folder that holds something, beside it

    Raises :class:`SettingError` for a name that cannot be one or is taken, :class:`StorageError` for the folder.
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
    names = {
        "name": name,
        "distribution": f"m2ib-{name}",
        "package": f"m2ib_{name.replace('-', '_')}",
        "model": "".join(part.capitalize() for part in name.split("-")),
        "version": version("m2ib"),
    }
    place = Path(names["distribution"]) if folder is None else local_path(folder)
    check_folder(place, "plugin", force=force)
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    written = {
        place.joinpath(
            *(part.replace("package", names["package"]) for part in path.parts)
        ): environment.from_string(template.read_text(encoding="utf-8")).render(names)
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


def _templates() -> Iterator[tuple[PurePosixPath, Traversable]]:
    """What is written where, and from which template."""
    waiting = [(PurePosixPath(), files("m2ib.new_plugin").joinpath("template"))]
    while waiting:
        path, part = waiting.pop()
        if part.is_dir():
            waiting += [(path / each.name, each) for each in part.iterdir()]
        elif part.name.endswith(".jinja"):
            yield path.with_suffix(""), part
