"""The house as it stands: imports run one way and in no circle, the root is small, and the pages that guide through it are true."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml

import m2ib
from m2ib.api import Options, PerModality
from m2ib.methods.bottleneck.settings import SETTINGS

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "m2ib", ROOT / "adapters" / "m2ib_adapters")
PATHS = re.compile(r"`((?:m2ib|adapters|tests|docs)/[\w./-]*|pyproject\.toml)`")
GUIDES = ("way", "changes")


def sources(*packages: Path) -> dict[str, str]:
    """The text of every module, by its dotted name."""
    found = {}
    for package in packages:
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return found


def imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Which of the modules each imports, anywhere in its text: under ``TYPE_CHECKING`` and in functions too."""
    found: dict[str, set[str]] = {name: set() for name in modules}
    for name, text in modules.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found[name] |= {each.name for each in node.names if each.name in modules}
            elif isinstance(node, ast.ImportFrom):
                for each in node.names:
                    whole = f"{node.module}.{each.name}"
                    found[name] |= {whole} if whole in modules else {node.module or ""} & set(modules)
    return found


def circle(modules: Mapping[str, str]) -> list[str]:
    """A circle of imports; [] where there is none."""
    try:
        TopologicalSorter(imports(modules)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_of_imports() -> None:
    assert circle(sources(*PACKAGES)) == []


@pytest.mark.parametrize(
    "back",
    [
        "from house import door",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.door import Door",
        "def late():\n    import house.door",
    ],
)
def test_that_test_would_notice(back: str) -> None:
    assert circle({"house": "", "house.door": "from house.key import Key", "house.key": "import os"}) == []
    assert set(circle({"house": "", "house.door": "from house.key import Key", "house.key": back})) == {
        "house.door",
        "house.key",
    }


def test_the_root_holds_the_straight_line_and_the_ground() -> None:
    assert len(list((ROOT / "m2ib").glob("*.py"))) <= 10


def test_every_room_says_what_it_is() -> None:
    for room in (ROOT / "m2ib").rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(room.read_text(encoding="utf-8"))), room


@pytest.mark.parametrize("guide", GUIDES)
def test_the_guides_name_files_that_there_are(guide: str) -> None:
    named = PATHS.findall((ROOT / "docs" / "house" / f"{guide}.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_way_names_each_file_once() -> None:
    named = PATHS.findall(
        (ROOT / "docs" / "house" / "way.md").read_text(encoding="utf-8").split("## The house")[0]
    )
    assert sorted(named) == sorted(set(named))


def test_every_room_is_on_the_map() -> None:
    floors = (ROOT / "docs" / "house" / "way.md").read_text(encoding="utf-8").split("## The house")[1]
    rooms = {f"m2ib/{path.name}/" for path in (ROOT / "m2ib").iterdir() if (path / "__init__.py").is_file()}
    lines = {f"m2ib/{path.name}" for path in (ROOT / "m2ib").glob("*.py") if not path.name.startswith("__")}
    assert rooms | lines <= set(PATHS.findall(floors))


def test_every_setting_of_the_bottleneck_is_a_typed_keyword() -> None:
    """Each is declared once; ``explain`` and ``explain_many`` name it once, with its type."""
    typed = get_type_hints(Options)
    types = get_type_hints(m2ib.FitSettings)
    assert [each.name for each in fields(m2ib.FitSettings) if each.name != "seed"] == [
        s.name for s in SETTINGS
    ]
    for name in (each.name for each in SETTINGS):
        plain = str if name == "preset" else types[name]
        assert typed[name] == PerModality[plain], name  # type: ignore[index]
    others = {"method", "seed", "seeds", "reference", "settings", "truncate", "fast", "units"}
    others |= {"target", "null", "signed", "interactions"}
    assert set(typed) == {each.name for each in SETTINGS} | others
    for function in (m2ib.explain, m2ib.explain_many):
        assert set(typed) <= set(inspect.signature(function).parameters)


def test_every_declared_setting_says_what_it_is() -> None:
    for row in m2ib.list_methods():
        for each in row.spec.settings:
            assert each.help, (row.name, each.name)
            assert each.kind, (row.name, each.name)


def test_what_is_to_be_cited_is_this_version_and_the_paper() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    (paper,) = cited["references"]
    assert paper["identifiers"][0]["value"] == "arXiv:2312.17174"
    assert paper["url"] in (ROOT / "README.md").read_text(encoding="utf-8")
