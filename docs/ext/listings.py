"""What pages list out of the code: commands' help, adapters, kinds of raw input, methods, formats of pairs."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Iterable, Mapping
from typing import Any
from unittest.mock import patch

from house_docstrings import entries, inline
from public_names import identifier


def help_of(command: str) -> str:
    """What ``m2ib COMMAND --help`` prints, 88 columns wide."""
    from m2ib.cli import main

    printed = io.StringIO()
    words = command.split()[1:]
    narrow = patch.dict(os.environ, {"COLUMNS": "88", "NO_COLOR": "1"})
    with narrow, contextlib.redirect_stdout(printed):
        main([*words, "--help"])
    return f"```{{ .text .no-copy }}\n{printed.getvalue().rstrip()}\n```"


def adapter_as_markdown(name: str) -> str:
    """What an adapter's specification says, and its options as its ``load`` says them."""
    from m2ib import list_adapters

    spec = list_adapters()[name].spec
    rows = {
        "opens": spec.models,
        "takes": ", ".join(f"`{each}`" for each in spec.modalities),
        "shows attention of": ", ".join(f"`{each}`" for each in spec.attention or ()) or "none",
        "install": f"`pip install '{spec.extra}'`",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
    said = options_of(name)
    told = [each for each in ("checkpoint", *spec.options) if each in said]
    return "\n\n".join([table, "## Options", _grouped(told, said)])


def _grouped(names: Iterable[str], said: Mapping[str, str]) -> str:
    """Options that share a text stand together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(said[name], []).append(f"`{name}`{{ .field }}")
    return "\n\n".join(
        f"{', '.join(group)}\n:   {inline(text, identifier)}" for text, group in groups.items()
    )


def options_of(name: str) -> dict[str, str]:
    """By option, what the adapter's ``load`` says of it."""
    from m2ib import list_adapters

    loader = list_adapters()[name].spec.loader
    own = getattr(loader, "func", loader)  # of one that some arguments are given to already
    return entries(own.__doc__ or "")


def preparation_as_markdown(kind: str) -> str:
    """The options of a kind of raw input, as the class that prepares it says them."""
    made = getattr(importlib.import_module(f"m2ib_adapters.inputs.{kind}"), f"{kind.title()}Preparation")
    said = entries(made.__doc__ or "")
    return _grouped(made.OPTIONS, said)


def methods_as_markdown(_: str) -> str:
    """The methods that come with m2ib, with their settings."""
    from m2ib import list_methods

    found = list_methods()
    rows = [
        f"| `{name}` | {info.summary.replace('|', '/')} | {', '.join(f'`{each}`' for each in info.spec.setting_names)} |"
        for name, info in zip(found.names, found, strict=True)
        if info.origin == "m2ib"
    ]
    table = "\n".join(["| method | what it is | settings |", "|---|---|---|", *rows])
    return "\n\n".join([table, *(_settings_of(row.spec) for row in found if row.origin == "m2ib")])


def _settings_of(spec: Any) -> str:
    """A method's settings, folded away."""
    rows = [
        f"| `{each.name}` | {_escaped(each.kind)} | {each.default_text} | {_escaped(each.help)} |"
        for each in spec.settings
    ]
    table = "\n".join(["| setting | values | default | what it is |", "|---|---|---|---|", *rows])
    return f"### {spec.name}\n\n{table}"


def _escaped(text: str) -> str:
    return text.replace("|", "/").replace("<", "&lt;").replace(">", "&gt;")


def formats_as_markdown(_: str) -> str:
    """The formats of pairs, with their options."""
    from m2ib.data import FORMATS

    parts = []
    for name, kind in FORMATS.items():
        options = [
            f"`{each}`{' <small>must be given</small>' if each in kind.needs else ''}\n:   {said}"
            for each, said in kind.options.items()
        ]
        parts.append("\n\n".join([f"### {name}", kind.summary, *options]))
    return "\n\n".join(parts)
