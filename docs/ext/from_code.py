"""What pages take from the code, so that it is written once: fields and signatures here, lists of options in ``listings.py``.

A page says where with a line that holds nothing but a link to the file in question, such as
``[fields of m2ib.Encoder](../../m2ib/contract/encoder.py)``; :func:`filled` puts the Markdown in its place.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from textwrap import dedent
from typing import Any

from house_docstrings import entries, to_markdown, without_entries
from listings import (
    adapter_as_markdown,
    formats_as_markdown,
    help_of,
    methods_as_markdown,
    preparation_as_markdown,
)
from public_names import identifier, named

_LINE = re.compile(r"^\[([a-z ]+?)(?: of)? ([\w. -]+)\]\(([\w./-]+)\)$", re.MULTILINE)
# Classes that say of a member what the protocol says that they keep.
_KEPT = {
    "m2ib.Fading": "m2ib.Degradation",
    "m2ib.Replacing": "m2ib.Degradation",
}


@dataclasses.dataclass(frozen=True)
class Member:
    """A field, property or method, as a page shows it.

    shape    its type, or its signature
    default  what it is where it is left out, as it stands in the code; None for what must be given or is no field
    said     in our docstrings' marks; "" for nothing
    """

    name: str
    shape: str
    default: str | None
    said: str
    field: bool


def filled(markdown: str) -> str:
    """A page with what it takes from the code. Raises :class:`ValueError` for what there is not."""

    def text(found: re.Match[str]) -> str:
        kind, what, _ = found.groups()
        return _KINDS[kind](what) if kind in _KINDS else found[0]

    return _LINE.sub(text, markdown)


def taken(markdown: str) -> list[tuple[str, str, str]]:
    """(kind, what, file) of each line that :func:`filled` would replace."""
    return [found for found in _LINE.findall(markdown) if found[0] in _KINDS]


def members(path: str) -> list[Member]:
    """Of a dataclass its fields, of a protocol all that it asks for; then what else a class has, if it says what it is."""
    cls = named(path)
    said = entries(cls.__doc__ or "")
    kept = {each.name: each.said for each in members(_KEPT[path])} if path in _KEPT else {}
    protocol = getattr(cls, "_is_protocol", False)
    found = [
        Member(name, shape, default, said.get(name) or kept.get(name, ""), True)
        for name, shape, default in (_fields(cls) if dataclasses.is_dataclass(cls) else ())
    ]
    for name, value in vars(cls).items():
        if (
            name.startswith("_")
            or name in {each.name for each in found}
            or not (inspect.isfunction(value) or isinstance(value, property))
        ):
            continue
        function = value.fget if isinstance(value, property) else value
        own = said.get(name) or inspect.cleandoc(function.__doc__ or "")
        if own or protocol:
            shape = (
                inspect.signature(function).return_annotation
                if isinstance(value, property)
                else signature(value)
            )
            found.append(Member(name, _plain(shape), None, own, protocol))
    return found


def signature(function: Callable[..., Any]) -> str:
    """As :mod:`inspect` writes it, without ``self``."""
    found = inspect.signature(function)
    parameters = [each for each in found.parameters.values() if each.name != "self"]
    return _plain(str(found.replace(parameters=parameters)))


def _plain(annotation: Any) -> str:
    """Annotations are strings in our modules; their quotes are not shown."""
    return re.sub(r"(?<![\w\[])'([^']*)'", r"\1", str(annotation))


def _fields(cls: type) -> Iterator[tuple[str, str, str | None]]:
    """(name, type, default) of a dataclass, as they stand in the code."""
    (body,) = ast.parse(dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    written = {
        each.target.id: each
        for each in body.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    for field in dataclasses.fields(cls):
        line = written[field.name]
        default = None if line.value is None else ast.unparse(line.value)
        if default and (made := re.fullmatch(r"field\(default_factory=(\w+)\)", default)):
            default = "{}" if made[1] == "dict" else f"{made[1]}()"
        yield field.name, ast.unparse(line.annotation), default


def class_as_markdown(path: str) -> str:
    """What it is, and its members, each with its type, its default and what is said of it."""
    cls = named(path)
    parts = [to_markdown(without_entries(cls.__doc__ or ""), identifier)]
    parts += [f"`{path}`{{ .type }}"]
    found = members(path)
    parts += [_member(cls.__name__, each) for each in found if each.field]
    more = [_member(cls.__name__, each) for each in found if not each.field]
    return "\n\n".join([*parts, *(["It also has"] if more else []), *more])


def _member(owner: str, member: Member) -> str:
    name = f"`{member.name}`{{ #{owner}.{member.name} .{'field' if member.field else 'besides'} }}"
    left_out = ""
    if member.field and not member.shape.startswith("("):
        left_out = (
            " <small>must be given</small>"
            if member.default is None
            else f" <small>left out:</small> `{member.default}`"
        )
    first, *rest = to_markdown(member.said, identifier).split("\n\n") if member.said else [""]
    text = "\n\n".join(
        [f":   {first}", *("\n".join(f"    {line}" for line in block.splitlines()) for block in rest)]
    )
    return f"{name} `{member.shape}`{{ .type }}{left_out}\n{text}"


def hook_as_markdown(name: str) -> str:
    """How a hook is called."""
    from m2ib.registry import hookspecs

    hook = getattr(hookspecs, name, None)
    if hook is None:
        raise ValueError(f"docs: there is no hook {name}")
    return f"```{{ .text .no-copy .signature }}\n{name}{signature(hook)}\n```\n\n{to_markdown(hook.__doc__, identifier)}"


_KINDS: dict[str, Callable[[str], str]] = {
    "fields": class_as_markdown,
    "signature": hook_as_markdown,
    "help": help_of,
    "adapter": adapter_as_markdown,
    "options": preparation_as_markdown,
    "methods": methods_as_markdown,
    "formats": formats_as_markdown,
}
