"""The page of the contract has every hook with its signature and every field under its class, and none that is gone."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from from_code import class_as_markdown, filled, taken
from house_docstrings import entries

from m2ib.contract import encoder, inputs, layout
from m2ib.registry import hookspecs

PAGE = Path(__file__).parents[2] / "docs" / "extending" / "contract.md"
CLASSES = {
    "m2ib": "AdapterSpec MethodSpec RendererSpec Encoder Layer Layout Item Token Axis Defaults Attention Model "
    "Degradation Fading Replacing Setting Similarity",
    "m2ib.renderers": "Renderer Outlining",
    "m2ib.methods": "Method Batch PreparedBatch Map Settings Targets",
}
PATHS = [f"{module}.{name}" for module, names in CLASSES.items() for name in names.split()]
# Whose members are said by the protocol that they keep.
KEPT = {
    "m2ib.Fading": "m2ib.Degradation",
    "m2ib.Replacing": "m2ib.Degradation",
}


def named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def asked_for(path: str) -> set[str]:
    """A dataclass's fields; all that a protocol asks for."""
    cls = named(path)
    if dataclasses.is_dataclass(cls):
        return {each.name for each in dataclasses.fields(cls)}
    if not getattr(cls, "_is_protocol", False):
        return set()
    return {name for name in (*vars(cls), *inspect.get_annotations(cls)) if not name.startswith("_")}


def hooks() -> dict[str, str]:
    """Name -> signature."""
    found = {name: value for name, value in vars(hookspecs).items() if isinstance(value, FunctionType)}
    return {
        name: str(inspect.signature(value)).replace("'", "")
        for name, value in found.items()
        if hasattr(value, "m2ib_spec")
    }


def sections(page: str) -> dict[str, str]:
    """By the heading of third order above it."""
    parts = re.split(r"^### (\S+)\n", page, flags=re.MULTILINE)
    return dict(
        zip(
            parts[1::2], (re.split(r"^## ", part, flags=re.MULTILINE)[0] for part in parts[2::2]), strict=True
        )
    )


def wrong_with(page: str) -> list[str]:
    """What a page of the contract lacks, and what it has too much."""
    found, problems = sections(page), []
    for name, signature in hooks().items():
        if f"{name}{signature}\n" not in found.pop(name, ""):
            problems.append(f"the hook {name}{signature} is not there")
    for path in PATHS:
        name = path.rpartition(".")[2]
        text = found.pop(name, "")
        if f"`{path}`" not in text:
            problems.append(f"{path} has no section")
        there = set(re.findall(rf"^`(\w+)`{{ #{name}\.\1 \.field }}", text, re.MULTILINE))
        problems += [f"{path}.{field} is not there" for field in sorted(asked_for(path) - there)]
        problems += [f"{path}.{field} is gone" for field in sorted(there - asked_for(path))]
        for field, said in re.findall(r"^`(\w+)`\{ #.*\n:   (.*)$", text, re.MULTILINE):
            if not said.strip():
                problems.append(f"{path}.{field} is not described")
    return problems + [f"{name} is no part of the contract" for name in found]


@pytest.fixture(scope="module")
def page() -> str:
    """As MkDocs gets it."""
    return filled(PAGE.read_text(encoding="utf-8"))


def test_the_page_has_all_of_it_and_no_more(page: str) -> None:
    assert wrong_with(page) == []


def test_there_are_three_hooks() -> None:
    assert set(hooks()) == {
        "m2ib_register_adapters",
        "m2ib_register_methods",
        "m2ib_register_renderers",
    }


def more(changed: str, page: str) -> list[str]:
    """What is wrong with a changed page alone."""
    assert changed != page
    return [problem for problem in wrong_with(changed) if problem not in wrong_with(page)]


def test_what_is_taken_out_of_the_page_is_missed(page: str) -> None:
    shorter = re.sub(r"^`stride`\{.*\n:   .*\n", "", page, flags=re.MULTILINE)
    assert more(shorter, page) == ["m2ib.Encoder.stride is not there"]

    shorter = re.sub(r"^m2ib_register_methods\(.*\n", "", page, flags=re.MULTILINE)
    assert more(shorter, page) == [
        "the hook m2ib_register_methods(register: Callable[[MethodSpec], None]) -> None is not there"
    ]

    assert "m2ib.Axis has no section" in more(page.replace("### Axis\n", ""), page)


def test_what_is_gone_from_the_code_is_found(page: str) -> None:
    old = "`patience`{ #Defaults.patience .field } `int`{ .type }\n:   steps without gain\n\n"
    longer = page.replace("`variance`{ #Defaults.variance", f"{old}`variance`{{ #Defaults.variance")
    assert more(longer, page) == ["m2ib.Defaults.patience is gone"]
    assert more(page + "\n### Trainer\n", page) == ["Trainer is no part of the contract"]


def test_a_field_that_is_not_described_is_found(page: str) -> None:
    silent = re.sub(r"(?<=\n:   )the block; it must run exactly once.*", "", page)
    assert more(silent, page) == ["m2ib.Layer.module is not described"]


@pytest.mark.parametrize("path", PATHS)
def test_the_docstring_says_what_each_field_is(path: str) -> None:
    """In the class's list; of a protocol's member in its own docstring; or in the protocol that a class keeps."""
    cls = named(path)
    said = set(entries(cls.__doc__))
    if path in KEPT:
        said |= asked_for(KEPT[path])
    elif not dataclasses.is_dataclass(cls):
        said |= {name for name in asked_for(path) if inspect.getdoc(vars(cls)[name])}
    assert sorted(asked_for(path) - said) == []


def test_every_dataclass_of_the_contract_is_on_the_page() -> None:
    ours = [
        name
        for module in (encoder, inputs, layout)
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and dataclasses.is_dataclass(value)
    ]
    assert {f"m2ib.{name}" for name in ours} <= set(PATHS)


def test_lines_that_are_filled_lead_to_the_code() -> None:
    """Whoever reads the page as it lies in the repository gets to the class."""
    for kind, what, file in taken(PAGE.read_text(encoding="utf-8")):
        value = named(what) if kind == "fields" else getattr(hookspecs, what)
        assert (PAGE.parent / file).resolve() == Path(inspect.getsourcefile(value)).resolve(), what


def test_types_and_defaults_are_those_of_the_code() -> None:
    text = class_as_markdown("m2ib.Layer")
    assert (
        "`at`{ #Layer.at .field } `Literal['output', 'input']`{ .type } <small>left out:</small> `'output'`"
        in text
    )
    assert (
        "`read`{ #Layer.read .field } `Callable[[Any], Tensor]`{ .type } <small>left out:</small> `read_first`"
        in text
    )
    assert "`module`{ #Layer.module .field } `nn.Module`{ .type } <small>must be given</small>" in text


def test_a_class_that_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"docs: there is no m2ib\.Encodr"):
        filled("[fields of m2ib.Encodr](../../m2ib/contract/encoder.py)")
