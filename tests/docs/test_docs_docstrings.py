"""Docstrings become Markdown, and say what is there."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from house_docstrings import entries, inline, to_markdown, without_entries
from public_names import KIT, MODULES, identifier


def test_a_list_becomes_definitions() -> None:
    text = """What it does.

    first   one thing,
            on two lines
    second, third
            two things
    a_long_name a text after one space

    Raises :class:`InputError`.
    """
    assert to_markdown(text) == (
        "What it does.\n\n`first`\n:   one thing, on two lines\n\n`second`, `third`\n:   two things\n\n"
        "`a_long_name`\n:   a text after one space\n\nRaises `InputError`."
    )
    assert entries(text) == {
        "first": "one thing, on two lines",
        "second": "two things",
        "third": "two things",
        "a_long_name": "a text after one space",
    }
    assert without_entries(text) == "What it does.\n\nRaises :class:`InputError`."


def test_names_in_literals_are_names() -> None:
    assert entries("``Fading``     numbers\n``Replacing``  token ids") == {
        "Fading": "numbers",
        "Replacing": "token ids",
    }


def test_a_paragraph_is_no_list() -> None:
    text = "The scores of\none side, in two\nlines."
    assert to_markdown(text) == "The scores of one side, in two lines."
    assert entries(text) == {}
    assert entries("A sentence.  And another one, whose\nlines go on.") == {}


def test_what_stands_as_it_is() -> None:
    text = "As in::\n\n    a --> b\n\n      c\n\nand then."
    assert to_markdown(text) == "As in:\n\n```text\na --> b\n\n  c\n```\n\nand then."
    assert to_markdown("Before.\n\n::\n\n    x  y\n    u  v\n") == "Before.\n\n```text\nx  y\nu  v\n```"


def test_a_doctest() -> None:
    text = "Words.\n\n>>> one(\n...     two)\n3\n\nMore."
    assert to_markdown(text) == "Words.\n\n```pycon\n>>> one(\n...     two)\n3\n```\n\nMore."


def test_a_table() -> None:
    rule = "====== ======="
    assert to_markdown(f"{rule}\n``a``  what | b\n``bc`` :func:`d`\n{rule}") == (
        "|  |  |\n| --- | --- |\n| `a` | what \\| b |\n| `bc` | `d` |"
    )
    assert to_markdown(f"{rule}\nname   what\n{rule}\nx      y\n{rule}").startswith(
        "| name | what |\n| --- |"
    )


def test_inline_marks() -> None:
    assert inline("``a*b`` * :class:`~m2ib.Encoder` <x> _y_ snake_case", lambda name: None) == (
        "`a*b` \\* `m2ib.Encoder` \\<x> \\_y\\_ snake_case"
    )
    assert inline(":class:`Item`", {"Item": "m2ib.Item"}.get) == "[`Item`][m2ib.Item]"


def test_names_are_found_in_the_reference() -> None:
    assert identifier("Encoder") == "m2ib.Encoder"
    assert identifier("m2ib.methods.Method") == "m2ib.methods.Method"
    assert identifier("Explanation.save") == "m2ib.Explanation.save"
    assert identifier("Sound") == "m2ib_adapters.kit.Sound"
    assert identifier("Explanation.nothing") is None
    assert identifier("PluginManager") is None


def public() -> Iterator[tuple[str, Any]]:
    """Every public name with a docstring of its own, and the methods of classes."""
    for module in (*MODULES, KIT):
        home = importlib.import_module(module)
        for name in home.__all__:
            value = getattr(home, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module}.{name}", value
            for member, own in vars(value).items() if inspect.isclass(value) else ():
                if inspect.isfunction(own) and own.__doc__ and not member.startswith("_"):
                    yield f"{module}.{name}.{member}", own


@pytest.mark.parametrize(("name", "value"), [pytest.param(*each, id=each[0]) for each in public()])
def test_every_public_docstring_turns_out_well(name: str, value: Any) -> None:
    assert value.__doc__, f"{name} has no docstring"
    outside = re.sub(
        r"```.*?```|``.*?``|`[^`]*`", "", to_markdown(value.__doc__, identifier), flags=re.DOTALL
    )
    assert not re.search(r":\w+:|``|(?<!\\)[*<]|::|>>>|={3}", outside.replace("->", "")), outside


@pytest.mark.parametrize(("name", "value"), [pytest.param(*each, id=each[0]) for each in public()])
def test_a_list_names_what_there_is(name: str, value: Any) -> None:
    """The names in a function's docstring are its parameters, those in a class's its fields and members."""
    said = set(entries(value.__doc__ or ""))
    if inspect.isfunction(value):
        assert said <= set(inspect.signature(value).parameters)
    else:
        bases = [base for base in value.__mro__ if base.__module__.startswith("m2ib")]
        members = {each for base in bases for each in (*vars(base), *inspect.get_annotations(base))}
        source = "".join(map(inspect.getsource, bases))
        assert [each for each in said - members if not re.search(rf"self\.{each}\b.*=", source)] == []
