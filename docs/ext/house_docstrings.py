"""Our docstrings as Markdown.

They are plain text: paragraphs; lists whose entries are a name, two spaces or more, and a text (what follows is indented); ``::``
before what stands as it is; doctests; tables between lines of ``=``; and the inline marks of reStructuredText.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator

Link = Callable[[str], str | None]
"""A name as it stands in a docstring -> the identifier that the reference has for it; None for one that it has not."""

_NAME = r"(?:``[^`]+``|\*{0,2}\w[\w.]*(?:=\w+)?)"
_ENTRY = re.compile(rf"({_NAME}(?:, (?:{_NAME}|\.\.\.))*)(?:(\s+)(\S.*))?")
_MARKS = re.compile(r":\w+:`~?([^`]+)`|``(.+?)``|`([^`]+)`|([*<]|(?<!\w)_|_(?!\w))")


def to_markdown(text: str, link: Link = lambda name: None) -> str:
    """A docstring as Markdown, its lists as definition lists."""
    return "\n\n".join(_blocks(inspect.cleandoc(text).splitlines(), link))


def entries(text: str) -> dict[str, str]:
    """What the lists of a docstring say of each name, in its own marks; names that share a text have it each."""
    found: dict[str, str] = {}
    for block in _paragraphs(inspect.cleandoc(text).splitlines()):
        for names, said in _listed(block):
            found |= dict.fromkeys(names.replace("`", "").split(", "), said)
    return found


def without_entries(text: str) -> str:
    """A docstring without its lists."""
    blocks = _paragraphs(inspect.cleandoc(text).splitlines())
    return "\n\n".join("\n".join(block) for block in blocks if not _listed(block))


def inline(text: str, link: Link = lambda name: None) -> str:
    """Text with the inline marks of reStructuredText, with those of Markdown."""

    def marked(found: re.Match[str]) -> str:
        role, literal, code, sign = found.groups()
        if sign:
            return f"\\{sign}"
        if role is None:
            return f"``{literal or code}``" if "`" in (literal or code) else f"`{literal or code}`"
        place = link(role)
        return f"`{role}`" if place is None else f"[`{role}`][{place}]"

    return _MARKS.sub(marked, text)


def _blocks(lines: list[str], link: Link) -> Iterator[str]:
    literal = False
    for block in _paragraphs(lines):
        if literal:
            yield _fenced("text", block)
            literal = False
        elif block[0].startswith(">>>"):
            yield _fenced("pycon", block)
        elif re.fullmatch(r"=+( +=+)+", block[0]):
            yield _table(block, link)
        elif listed := _listed(block):
            yield "\n\n".join(_definition(names, said, link) for names, said in listed)
        else:
            literal = block[-1].endswith("::")
            if literal:
                block = [
                    *block[:-1],
                    block[-1].removesuffix("::").rstrip() + (":" if len(block[-1]) > 2 else ""),
                ]
            if said := " ".join(line.strip() for line in block).strip():
                yield inline(said, link)


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """What empty lines part; what stands after ``::`` is one, up to the next line that is not indented."""
    block: list[str] = []
    for number, line in enumerate(lines):
        following = next((later for later in lines[number:] if later.strip()), "")
        if line.strip() or (block and block[0].startswith(" ") and following.startswith(" ")):
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _listed(block: list[str]) -> list[tuple[str, str]]:
    """(names, text) of each entry; nothing for what is no list."""
    heads = [_ENTRY.fullmatch(line) for line in block if not line.startswith(" ")]
    aligned = any(head and len(head[2] or "") > 1 for head in heads)
    if not aligned or not all(heads) or block[0].startswith(">>>"):
        return []
    made: list[tuple[str, list[str]]] = []
    for line in block:
        head = None if line.startswith(" ") else _ENTRY.fullmatch(line)
        if head:
            made.append((head[1], [head[3] or ""]))
        else:
            made[-1][1].append(line.strip())
    return [(names, " ".join(said).strip()) for names, said in made]


def _definition(names: str, said: str, link: Link) -> str:
    shown = ", ".join(f"`{name}`" for name in names.replace("`", "").split(", "))
    return f"{shown}\n:   {inline(said, link)}"


def _fenced(kind: str, lines: list[str]) -> str:
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join([f"```{kind}", *(line[indent:] for line in lines), "```"])


def _table(block: list[str], link: Link) -> str:
    """A simple table: its columns are as wide as the lines of ``=`` say."""
    starts = [found.start() for found in re.finditer("=+", block[0])]
    edges = list(zip(starts, [*starts[1:], None], strict=True))
    rows = [
        [inline(line[start:end].strip(), link).replace("|", "\\|") for start, end in edges]
        for line in block
        if not line.startswith("=")
    ]
    head, body = (
        (rows[0], rows[1:]) if sum(line.startswith("=") for line in block) > 2 else ([""] * len(edges), rows)
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(edges), *body])
