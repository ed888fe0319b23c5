"""Pages out of Jinja templates: one way to read them, their style sheet and their scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup


def template(package: str, name: str, **filters: Callable[..., Any]) -> Template:
    """The template ``name`` that lies in ``package``: escapes what it shows, refuses what it is not given.

    It knows ``style``, the style sheet of all pages, and these filters.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["style"] = Markup(_text("m2ib.page", "page.css"))
    environment.filters.update(filters)
    return environment.from_string(_text(package, name))


def joined_scripts(scripts: Iterable[str]) -> Markup:
    """Each script once, in the order in which they come."""
    return Markup("\n".join(filter(None, dict.fromkeys(scripts))))


def _text(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
