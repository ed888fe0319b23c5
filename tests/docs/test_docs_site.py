"""The site is built without a warning, needs nothing from elsewhere, and has a place for everything."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from from_code import filled, taken
from listings import options_of
from public_names import KIT, MODULES

import m2ib
from m2ib.cli import _COMMANDS
from m2ib_adapters.inputs.depth import SENSORS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
FIRST_PARTY = [info.spec for info in m2ib.list_adapters() if info.origin == "m2ib"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    made = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    assert made == {
        "404.html",
        *(str(page.relative_to(DOCS).with_suffix(".html")) for page in [*PAGES, *NOTEBOOKS]),
    }
    assert not list(site.rglob("*.py"))


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:link|script|img|source|iframe)\b[^>]*\b(?:href|src)="([^"]+)"', text)
        assert fetched
        assert [
            address for address in fetched if "//" in address and not address.startswith("data:")
        ] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(
            r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")
        ), style


@pytest.mark.parametrize("module", [*MODULES, KIT])
def test_the_reference_has_every_public_name(module: str, site: Path) -> None:
    name = module.rpartition(".")[2]
    text = (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
    home = importlib.import_module(module)
    rooms = {each for each in home.__all__ if f"{module}.{each}" in MODULES}  # each has a page of its own
    missing = [each for each in home.__all__ if f'id="{module}.{each}"' not in text and each not in rooms]
    assert missing == []
    assert "doc-symbol-module" not in text, "a module stands where a function of the same name should"


def test_a_docstring_of_ours_reads_well_there(site: Path) -> None:
    text = (site / "reference" / "m2ib.html").read_text(encoding="utf-8")
    assert "<dt><code>show_progress</code></dt>\n<dd>\n<p>a bar on a terminal" in text or re.search(
        r"<dt><code>show_progress</code></dt>\s*<dd>(<p>)?a bar on a terminal", text
    )
    assert re.search(r'<a [^>]*href="#m2ib\.InputError"[^>]*><code>InputError</code></a>', text)
    assert ":class:" not in text


def test_the_navigation_has_every_page() -> None:
    def leaves(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [
            leaf for each in (entry.values() if isinstance(entry, dict) else entry) for leaf in leaves(each)
        ]

    listed = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in [*PAGES, *NOTEBOOKS])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_lines_that_are_filled_lead_to_a_file(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for kind, what, file in taken(text):
        assert (page.parent / file).resolve().is_file(), f"{kind} of {what}"
    outside = [
        target for target in re.findall(r"\]\(((?:\.\./)+[^)#]+)\)", filled(text)) if target.endswith(".py")
    ]
    assert outside == [], "a line that should be filled was not"


@pytest.mark.parametrize("spec", FIRST_PARTY, ids=lambda spec: spec.name)
def test_every_adapter_has_its_page(spec: m2ib.AdapterSpec) -> None:
    source = (DOCS / "adapters" / f"{spec.name}.md").read_text(encoding="utf-8")
    text = filled(source)
    said = options_of(spec.name)
    assert set(spec.options) <= set(said)
    options = text[text.index("## Options") :].split("\n## ")[0]
    listed = set(re.findall(r"`(\w+)`\{ \.field \}", options))
    assert set(spec.options) <= listed <= {"checkpoint", *spec.options}
    assert all(f"`{modality}`" in text for modality in spec.modalities)
    assert f"pip install '{spec.extra}'" in text
    assert spec.models in text
    for heading in ("## Layers and defaults", "## Good to know", "```python"):
        assert heading in source
    assert f"]({spec.name}.md)" in (DOCS / "adapters" / "index.md").read_text(encoding="utf-8")
    assert f"](docs/adapters/{spec.name}.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_there_are_nine_adapters() -> None:
    assert sorted(spec.name for spec in FIRST_PARTY) == [
        "clip",
        "cxr-repair",
        "imagebind",
        "imagebind-tiny",
        "open-clip",
        "photo",
        "sentence-transformers",
        "siglip",
        "transformers",
    ]


def test_the_command_line_has_every_command() -> None:
    source = (DOCS / "cli.md").read_text(encoding="utf-8")
    shown = {what for kind, what, _ in taken(source) if kind == "help"}
    assert shown == {"m2ib", *(f"m2ib {name}" for name in _COMMANDS)}
    text = filled(source)
    for name in _COMMANDS:
        assert f"\n## m2ib {name}\n" in text
        assert f"\nusage: m2ib {name} " in text
    for flag in ("--granularity", "--sanity-pairs", "--held-out", "--random-weights", "--tolerance"):
        assert flag in text


def test_every_method_and_format_is_listed() -> None:
    text = filled((DOCS / "methods.md").read_text(encoding="utf-8"))
    for info in m2ib.list_methods():
        if info.origin == "m2ib":
            assert f"| `{info.spec.name}` | {info.summary}" in text
    from m2ib.data import FORMATS

    text = filled((DOCS / "evaluation.md").read_text(encoding="utf-8"))
    for name, kind in FORMATS.items():
        section = text.split(f"### {name}\n")[1].split("\n##")[0]
        assert all(f"`{option}`" in section for option in kind.options)


def test_every_sensor_of_depth_is_named() -> None:
    text = (DOCS / "inputs.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"The sensors are ([^.]*)\.", text)
    assert re.findall("`(.*?)`", sentence) == list(SENSORS)


def test_the_readmes_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).is_file()] == []
    assert len(text.splitlines()) <= 130
