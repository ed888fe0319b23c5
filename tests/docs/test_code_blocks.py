"""Every block of code in the README and in the pages runs as it stands, in the order of its page.

A page's blocks share a folder with small real files (``conftest.py``) and one namespace. A block with a ``title`` is a file, with
``append`` the end of one. Blocks below ``<!-- slow -->`` take long; no other block needs them.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import markdown
import pytest
import yaml

import m2ib.registry.discovery
from m2ib.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = ("python", "bash", "console", "yaml", "toml", "json", "csv", "markdown", "text")
SITE_PACKAGES = Path(sysconfig.get_path("purelib", vars={"base": "site", "platbase": "site"}))
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    number    on the page, from 1
    line      of the page that it begins on
    language  that it is written in
    title     the file that it is, or whose end it is
    append    whether it is the end of a file
    slow      whether it takes long
    """

    number: int
    line: int
    language: str
    title: str | None
    append: bool
    slow: bool
    code: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for number, fence in enumerate(_FENCE.finditer(text), 1):
        language, _, options = fence["info"].partition(" ")
        title = re.fullmatch(r'title="([^"]+)"( append)?', options)
        assert not options or title, f"{page}: {options!r}"
        slow = text[: fence.start()].rstrip().endswith("<!-- slow -->")
        line = text.count("\n", 0, fence.start("code")) + 1
        name, append = (title[1], bool(title[2])) if title else (None, False)
        found.append(Block(number, line, language, name, append, slow, fence["code"]))
    return found


@dataclass
class Page:
    """A page whose blocks are run up to the one that is asked for."""

    path: Path
    folder: Path
    blocks: list[Block]
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    ran: set[int] = field(default_factory=set)
    failed: int | None = None
    packages: list[str] = field(default_factory=list)  # what the page installed, for sys.path

    def run(self, number: int) -> None:
        for block in self.blocks[:number]:
            if block.number in self.ran or (block.slow and block.number != number):
                continue
            assert self.failed is None, f"block {self.failed} of this page failed before"
            try:
                with self.inside():
                    self.one(block)
            except BaseException:
                self.failed = block.number
                raise
            self.ran.add(block.number)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """In the page's folder, with what it installed."""
        before, path, known = Path.cwd(), list(sys.path), set(sys.modules)
        os.chdir(self.folder)
        sys.path[:0] = self.packages
        try:
            yield
        finally:
            os.chdir(before)
            sys.path[:] = path
            if self.packages:  # another page may have another package of that name
                for name in set(sys.modules) - known:
                    if str(self.folder) in str(getattr(sys.modules[name], "__file__", "")):
                        del sys.modules[name]
                m2ib.registry.discovery._default = None

    def one(self, block: Block) -> None:
        if block.title is not None:
            file = self.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            before = file.read_text(encoding="utf-8") if block.append else ""
            file.write_text(before + block.code, encoding="utf-8")
        match block.language:
            case "python":
                code = compile("\n" * (block.line - 1) + block.code, str(self.path), "exec")
                if block.title is None:
                    exec(code, self.names)
            case "bash" | "console":
                for command in commands_of(block.code):
                    self.command(command)
            case "yaml":
                assert isinstance(yaml.safe_load(block.code), dict)
            case "toml":
                assert tomllib.loads(block.code)
            case "json":
                assert json.loads(block.code)
            case "csv":
                rows = list(csv.reader(io.StringIO(block.code)))
                assert len(rows) > 1
                assert {len(row) for row in rows} == {len(rows[0])}

    def command(self, words: list[str]) -> None:
        match words:
            case ["m2ib", *arguments]:
                assert main(arguments) == 0, shlex.join(words)
            case ["python", *arguments]:
                self.started([sys.executable, *arguments])
            case ["pip", "install", "-e", folder]:
                self.pip("install", "--prefix", "site", "--no-deps", "--editable", folder)
                self.packages = [str(self.folder / SITE_PACKAGES)]
                for names in (self.folder / SITE_PACKAGES).glob(
                    "*.pth"
                ):  # where an editable install points to
                    self.packages += names.read_text().split()
                m2ib.registry.discovery._default = None
                importlib.invalidate_caches()
            case ["pip", "wheel", *arguments]:
                self.pip("wheel", *arguments)
            case _:
                pytest.fail(f"this test does not know how to run {shlex.join(words)!r}")

    def pip(self, command: str, *arguments: str) -> None:
        build = ["--no-build-isolation"] if find_spec("hatchling") else []
        self.started([sys.executable, "-m", "pip", command, "--quiet", *build, *arguments])

    def started(self, words: list[str]) -> None:
        path = os.pathsep.join([*self.packages, *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        done = subprocess.run(
            words, cwd=self.folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        assert done.returncode == 0, done.stdout + done.stderr


def commands_of(code: str) -> list[list[str]]:
    lines = code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [each for each in words if each]


@pytest.fixture(scope="session")
def opened(working_folder: Callable[[str], Path]) -> Callable[[Path], Page]:
    """Each page once."""
    pages: dict[Path, Page] = {}

    def get(path: Path) -> Page:
        if path not in pages:
            pages[path] = Page(path, working_folder(path.stem), blocks_of(path))
        return pages[path]

    return get


def cases() -> Iterator[Any]:
    for page in PAGES:
        for block in blocks_of(page):
            name = f"{page.relative_to(ROOT)}-{block.number}"
            if page.name == "README.md" and page.parent == ROOT and block.number <= 2:
                continue  # they make the environment: .ci/run runs them
            yield pytest.param(page, block.number, id=name, marks=pytest.mark.slow if block.slow else ())


@pytest.mark.parametrize(("page", "number"), [*cases()])
def test_a_block_runs(page: Path, number: int, opened: Callable[[Path], Page]) -> None:
    skipped = {1, 2} if page == ROOT / "README.md" else set()
    found = opened(page)
    found.ran |= skipped
    found.run(number)
    assert number in found.ran


@pytest.mark.parametrize("number", [1, 2])
def test_the_readmes_first_blocks_are_those_that_ci_runs(number: int) -> None:
    script = (ROOT / ".ci" / "run").read_text()
    function = next(line for line in script.splitlines() if line.startswith("block()"))
    printed = subprocess.run(
        ["bash", "-c", f"{function}\nblock {number}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    block = blocks_of(ROOT / "README.md")[number - 1]
    assert printed.stdout == block.code
    assert block.language == "bash"
    name = {1: "demo", 2: "test"}[number]
    assert f'block {number} > "$work/{name}.sh"' in script
    assert f'bash "$work/{name}.sh"' in script


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_stands_in_fences_of_a_known_language(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [block.language for block in blocks_of(page) if block.language not in LANGUAGES] == []
    assert len(re.findall("^ *(```|~~~)", text, re.MULTILINE)) == 2 * len(blocks_of(page)), (
        "a fence is indented or open"
    )
    assert indented(text) == []


def indented(text: str) -> list[str]:
    """Code blocks that are made by indenting."""
    html = markdown.markdown(
        _FENCE.sub("", text), extensions=["tables", "def_list", "admonition", "attr_list"]
    )
    return re.findall("<pre>.*?</pre>", html, re.DOTALL)


def test_an_indented_block_would_be_found() -> None:
    assert indented("text\n\n    m2ib demo\n") != []
    assert indented("text\n\n!!! note\n    words\n\n`name`\n:   words\n") == []


def test_files_of_settings_are_used() -> None:
    """A block that is a file of settings or pairs is of use to a later one of its page."""
    for page in PAGES:
        blocks = blocks_of(page)
        for block in blocks:
            if block.title and block.language in ("yaml", "json", "csv"):
                later = "".join(each.code for each in blocks[block.number :])
                assert block.title in later, f"{page}: {block.title}"
