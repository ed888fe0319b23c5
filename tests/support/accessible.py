"""What of a page's accessibility can be told from its text: colours, tables, alternatives for what is drawn."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files

Colour = tuple[float, float, float]
_VOID = {"img", "input", "br", "meta", "link", "hr", "source"}
_DRAWN = {"img", "svg", "canvas", "iframe", "audio"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str]]] = []
        self.lacking: list[str] = []
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {name: value or "" for name, value in attrs}
        around = [each for _, each in self.open]
        if tag == "table" and not any(_scrolls(each) for each in around):
            self.lacking.append(f"table {own}: in no region that keys can scroll")
        if tag in _DRAWN:
            said = own.get("alt") or own.get("aria-label") or own.get("title")
            labels = [each["aria-label"] for each in around if each.get("role") == "group" or "href" in each]
            if not said and own.get("aria-hidden") != "true" and tag != "audio" and not any(labels):
                self.lacking.append(f"{tag} {str(own)[:200]}: without words")
            self.said += [said] if said else []
        if own.get("role") == "group":
            self.said.append(own.get("aria-label", ""))
        if tag == "th" and "scope" not in own:
            self.lacking.append("th: of a row or a column?")
        if tag not in _VOID:
            self.open.append((tag, own))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass


def _scrolls(element: dict[str, str]) -> bool:
    known = element.get("role") == "region" and element.get("tabindex") == "0"
    return known and bool(element.get("aria-label")) and "scroll" in element.get("class", "")


def lacking(page: str) -> list[str]:
    """Tables that keys cannot scroll, and what is drawn without a text alternative."""
    return _parsed(page).lacking


def alternatives(page: str) -> list[str]:
    """What is said of all that is drawn."""
    return _parsed(page).said


def _parsed(page: str) -> _Page:
    found = _Page()
    found.feed(page)
    return found


def style() -> str:
    """The style sheet of all pages."""
    return files("m2ib.page").joinpath("page.css").read_text(encoding="utf-8")


def themes() -> dict[str, dict[str, Colour]]:
    """By theme, the colours that the style sheet names, in [0, 255]."""
    light, dark = re.findall(r":root \{(.*?)\}", style(), re.DOTALL)
    found = {"light": _colours(light)}
    return found | {"dark": found["light"] | _colours(dark)}


def _colours(block: str) -> dict[str, Colour]:
    hexes = re.findall(r"--([\w-]+): #([0-9a-f]{6});", block)
    plain = re.findall(r"--([\w-]+): (\d+) (\d+) (\d+);", block)
    found: dict[str, Colour] = {}
    for name, value in hexes:
        red, green, blue = bytes.fromhex(value)
        found[name] = (red, green, blue)
    return found | {name: (int(red), int(green), int(blue)) for name, red, green, blue in plain}


def blended(over: Colour, under: Colour, opacity: float) -> Colour:
    red, green, blue = (opacity * a + (1 - opacity) * b for a, b in zip(over, under, strict=True))
    return red, green, blue


def contrast(one: Colour, other: Colour) -> float:
    """By WCAG 2: from 1 to 21; text needs 4.5."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Colour) -> float:
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4
        for each in (value / 255 for value in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
