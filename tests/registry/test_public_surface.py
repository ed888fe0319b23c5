"""Plugins are written from public names alone: what they import of m2ib, and what each of those modules offers."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from m2ib.new_plugin import write_plugin

ROOT = Path(__file__).parents[2]
PUBLIC = (
    "m2ib",
    "m2ib.methods",
    "m2ib.metrics",
    "m2ib.renderers",
    "m2ib.scenes",
    "m2ib.testing",
    "m2ib_adapters.kit",
)
SOURCES = [
    *sorted((ROOT / "plugins").rglob("*.py")),
    *sorted((ROOT / "tests" / "support" / "plugin_molecules").rglob("*.py")),
]


def imported(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) of every import of m2ib or its adapters; the name is "" for a module as a whole."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        else:
            continue
        yield from (each for each in names if each[0].partition(".")[0] in ("m2ib", "m2ib_adapters"))


def private(source: str) -> list[str]:
    """What a source imports that is not public."""
    found = []
    for module, name in imported(source):
        if module not in PUBLIC:
            found.append(module)
        elif name and name not in importlib.import_module(module).__all__:
            found.append(f"{module}.{name}")
    return found


def attributes(source: str) -> list[str]:
    """Names that are taken from ``m2ib`` itself and are not public."""
    public = importlib.import_module("m2ib").__all__
    taken = (
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "m2ib"
    )
    return [name for name in taken if name not in public and not name.startswith("__")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_import_public_names_alone(path: Path) -> None:
    assert private(path.read_text()) == []
    assert attributes(path.read_text()) == []


@pytest.mark.parametrize("inputs", [("image", "text"), ("spectrogram", "series")])
def test_a_new_plugin_does_so_too(inputs: tuple[str, str], tmp_path: Path) -> None:
    written = [*write_plugin("fresh", tmp_path / "fresh", inputs=inputs).rglob("*.py")]
    assert len(written) == 4
    for file in written:
        assert private(file.read_text()) == []
        assert attributes(file.read_text()) == []


def test_that_test_would_notice() -> None:
    assert private(
        "from m2ib.activations.capture import record\nfrom m2ib import explain, hookimpl, pluggy"
    ) == [
        "m2ib.activations.capture",
        "m2ib.pluggy",
    ]
    assert private("import m2ib_adapters.bounds\nfrom m2ib_adapters.kit import Sound, torch") == [
        "m2ib_adapters.bounds",
        "m2ib_adapters.kit.torch",
    ]
    assert attributes("import m2ib\nm2ib.explain(m2ib.registry)") == ["registry"]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_there(module: str) -> None:
    names = importlib.import_module(module).__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(importlib.import_module(module), name), name


def test_the_plugins_are_there() -> None:
    assert {"m2ib-clap", "m2ib-minimal"} <= {path.name for path in (ROOT / "plugins").iterdir()}
