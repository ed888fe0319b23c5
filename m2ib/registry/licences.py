"""Licence and origin of weights, as far as they tell it: a README's front matter, or the metadata of a safetensors file.

What stands there is a stranger's. It is read within bounds, from this machine alone, and becomes one short line of text each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from m2ib.errors import shortened
from m2ib.paths import file_fault, local_path

FACTS = ("license", "base_model", "datasets", "language")
_README = "README.md"
_MOST = 2**20  # bytes of a README: some have thousands of measured values before their end
_BLOCK = 2**12  # characters of one entry
_LONGEST, _NAMES = 120, 6  # characters of a name, and names of a list
_ENTRY = re.compile(r"^(license(?:_name|_link)?|base_model|datasets|language):.*(?:\n(?:[ \t-].*)?)*", re.M)


def weights_facts(origin: Mapping[str, Any], known: str = "") -> dict[str, str]:
    """Licence, base model, data sets and languages of a model's weights, each in one line; what is not told is left out.

    origin  of a model: its ``checkpoint``, where those weights came ``from``, and the ``base`` that they change, folders, files
            or hub ids that are cached; its own ``license``. One without a checkpoint has no weights of anybody's
    known   the licence that an adapter knows of
    """
    if origin.get("checkpoint") is None:
        return {}
    told = {**told_by(origin.get("from")), **told_by(origin["checkpoint"])}
    base = told_by(origin.get("base")).get("license")
    licences = (told.get("license"), base and f"of the base model: {base}", known, origin.get("license"))
    licence = "; ".join(dict.fromkeys(each for each in licences if each))
    return {**told, **({"license": licence} if licence else {})}


def told_by(place: Any) -> dict[str, str]:
    """What a folder, a file or a cached hub id tells, out of :data:`FACTS`; {} of anything else."""
    if not isinstance(place, (str, PathLike)):
        return {}
    told: dict[str, str] = {}
    with suppress(Exception):  # whatever there is: no model is refused for what stands beside it
        path = local_path(place)
        readme, weights = path / _README, path
        if os.path.isdir(path):
            weights = min(path.glob("*.safetensors"), default=path)
        elif "/" in str(place) and not os.path.exists(path):
            readme = _cached(str(place))
        told = {**_in_metadata(weights), **_in_front_matter(readme)}
    return {name: told[name] for name in FACTS if name in told}


def _cached(repository: str) -> Path:
    """A hub id's README as it lies on this machine. Raises what the hub's library does, and TypeError where it does not."""
    from huggingface_hub import try_to_load_from_cache

    return Path(try_to_load_from_cache(repository, _README))  # type: ignore[arg-type]


def _in_metadata(path: Path) -> dict[str, str]:
    """What ``__metadata__`` of a safetensors file says, by these names or by those of ModelSpec."""
    if path.suffix != ".safetensors" or file_fault(path):
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        found = file.metadata() or {}
    told = {name: found.get(name) or found.get(f"modelspec.{name}") for name in FACTS}
    return {name: shortened(value, _LONGEST) for name, value in told.items() if value}


def _in_front_matter(path: Path) -> dict[str, str]:
    """What stands between the first two lines of dashes."""
    if not os.path.isfile(path):
        return {}
    with path.open("rb") as file:
        text = file.read(_MOST).decode("utf-8-sig", "replace").replace("\r\n", "\n")
    front, closed, _ = text.removeprefix("---\n").partition("\n---")
    found = dict(_entries(front)) if closed and text.startswith("---\n") else {}
    name, link = found.pop("license_name", ""), found.pop("license_link", "")
    licence = name if name and found.get("license", "other") == "other" else found.get("license", "")
    if licence:
        found["license"] = f"{licence} ({link})" if link else licence
    return found


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Each read by itself, so that neither its neighbours nor what they refer to can make it anything else."""
    import yaml

    for entry in _ENTRY.finditer(text):
        if len(entry[0]) > _BLOCK:
            continue
        with suppress(Exception):  # no YAML
            front: Any = yaml.compose(entry[0], yaml.SafeLoader)  # nodes alone: `no` stays Norwegian
            _, value = front.value[0]
            nodes = value.value if isinstance(value, yaml.SequenceNode) else [value]
            names = [each.value for each in nodes if isinstance(each, yaml.ScalarNode) and each.value]
            more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
            if names:
                yield entry[1], ", ".join(shortened(each, _LONGEST) for each in names[:_NAMES]) + more
