"""Pages out of Jinja templates: one way to read them, their style sheet and their scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from m2ib.renderers.panels import scrollable


def template(name: str, **filters: Callable[..., Any]) -> Template:
    """The template ``name``, a path in m2ib's folder: escapes what it shows, refuses what it is not given.

    It knows ``style``, the style sheet of all pages, and these filters, with ``scrollable`` for tables.
    """
    environment = Environment(
        loader=PackageLoader("m2ib", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = files("m2ib.page").joinpath("page.css").read_text(encoding="utf-8")
    environment.globals["style"] = Markup(style)
    environment.filters.update(scrollable=scrollable, **filters)
    return environment.get_template(name)


def own_script(name: str) -> str:
    """A script of this room."""
    return files("m2ib.page").joinpath(name).read_text(encoding="utf-8")


def joined_scripts(scripts: Iterable[str]) -> Markup:
    """Each script once, in the order in which they come."""
    return Markup("\n".join(filter(None, dict.fromkeys(scripts))))
