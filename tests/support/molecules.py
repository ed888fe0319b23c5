"""The package in ``plugin_molecules/`` made ready for a test, and molecules to ask about."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

import m2ib.registry.discovery
from installed import Plugins
from m2ib.registry.discovery import Registry

PLUGIN = Path(__file__).parent / "plugin_molecules"
CHLORIDE = "OCC(CN)CCCl"
ATOMS = ["O", "C", "C", "C", "N", "C", "C", "Cl"]
SCRIPT = 'atom.classList.toggle("picked")'
PAIRS = [
    ("OCCCl", "a chloride"),
    ("OCCCl", "an alcohol"),
    ("NCC(Br)CC", "some bromide here"),
    ("c1ccccc1S", "thiol"),
]


def install(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as an installer puts it, by what its pyproject.toml says, in a registry of its own; the folder."""
    told = tomllib.loads((PLUGIN / "pyproject.toml").read_text())
    (source,) = told["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    project = told["project"]
    shutil.copytree(PLUGIN / source, plugins.folder / Path(source).name)
    info = plugins.folder / f"m2ib_molecules-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = [f"{name} = {place}" for name, place in project["entry-points"]["m2ib"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[m2ib]", *points, ""]))
    monkeypatch.setattr(m2ib.registry.discovery, "_default", Registry.discover())
    return plugins.folder
