"""YAML that a user gives, as a file or as ``key=value``: values as they stand there, within bounds.

Nothing in it stands for something else: an alias (``*name``) could make gigabytes of a few lines, and ``${...}`` would be
resolved by OmegaConf, which reads environment variables too and would put them into a page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from m2ib.errors import SettingError, one_line
from m2ib.paths import file_fault

MOST_BYTES = 1 << 20
MOST_DEEP = 32

_Events = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_KEY = re.compile(r"\w[\w.\[\]-]*=")
_REFERENCE = re.compile(
    r"(?<!\\)(?:\\\\)*\$\{"
)  # as OmegaConf sees it: after an odd number of backslashes it is text


def read_file(path: Path) -> DictConfig:
    """A mapping of options out of a file. Raises :class:`SettingError`."""
    who = f"config {str(path)!r}"
    try:
        if fault := file_fault(path):
            raise SettingError(f"{who} {fault}")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except SettingError:
        raise
    except (OSError, ValueError) as error:
        raise SettingError(f"{who} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MOST_BYTES:
        raise SettingError(f"{who} has more than {MOST_BYTES:,} bytes; it holds options, not data")
    try:
        text = data.decode("utf-8-sig")
        _check(text, who)
        found = OmegaConf.create(text)
    except SettingError:
        raise
    except Exception as error:  # whatever the two libraries make of a stranger's file
        raise SettingError(f"{who} is not YAML: {one_line(error)}") from error
    if not isinstance(found, DictConfig):
        raise SettingError(f"{who} holds a list; it must be a mapping of options")
    return found


def parsed_word(word: str, who: str = "options") -> DictConfig:
    """``key=value``, the value as in YAML. Raises :class:`SettingError`."""
    said = f"{who}: {word!r:.200} is not key=value with a YAML value"
    key, _, value = word.partition("=")
    if not _KEY.match(word) or len(re.split(r"[.\[]", key)) > MOST_DEEP:
        raise SettingError(said)
    try:
        _check(value, f"{who}: {key}")
        return OmegaConf.from_dotlist([word])
    except SettingError:
        raise
    except Exception as error:
        raise SettingError(said) from error


def parsed_words(words: Sequence[str], who: str) -> dict[str, Any]:
    """Several of them as one mapping, later ones over earlier ones. Raises :class:`SettingError`."""
    parsed = [parsed_word(word, who) for word in words]
    try:
        found = OmegaConf.to_container(OmegaConf.merge({}, *parsed), resolve=True)
    except Exception as error:
        raise SettingError(
            f"{who}: {' '.join(words)!r:.200} do not go together: {one_line(error)}"
        ) from error
    assert isinstance(found, dict)
    return {str(name): value for name, value in found.items()}


def parsed_value(text: str, who: str) -> Any:
    """A YAML value. Raises :class:`SettingError`."""
    try:
        _check(text, who, literal=True)
        return yaml.safe_load(text)
    except SettingError:
        raise
    except Exception as error:
        raise SettingError(f"{who}: {text!r:.200} is no YAML value") from error


def with_options(name: str, value: str) -> Any:
    """``{depth: room.png, unit: mm}`` as a mapping: an input with options of its own. Anything else as it is."""
    if not value.startswith("{"):
        return value
    try:
        given = parsed_value(value, f"options: --{name}")
    except SettingError:
        return value
    return given if isinstance(given, dict) and name in given else value


def list_or_text(value: str) -> Any:
    """``[[10, 20, 30, 40, cat]]`` as a list; anything else, as the path of a file, as it is."""
    if not value.startswith("["):
        return value
    try:
        given = parsed_value(value, "options")
    except SettingError:
        return value
    return given if isinstance(given, list) else value


def escaped(value: Any) -> Any:
    """``value`` with every ``${`` in its strings taken literally by OmegaConf."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", value)
    if isinstance(value, dict):
        return {key: escaped(each) for key, each in value.items()}
    return [escaped(each) for each in value] if isinstance(value, list) else value


def _check(text: str, who: str, *, literal: bool = False) -> None:
    """Before anything is built of it. Raises :class:`SettingError`, and ``YAMLError`` for what is no YAML.

    literal  whether ``${`` is text, as it is to all but OmegaConf
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Events):
        if isinstance(event, yaml.AliasEvent):
            raise SettingError(
                f"{who}: the alias '*{event.anchor:.60}' is not read; write what it stands for"
            )
        if isinstance(event, yaml.ScalarEvent) and not literal and _REFERENCE.search(event.value):
            raise SettingError(
                f"{who}: {event.value!r:.80} refers to a value elsewhere, and ${{...}} is not read; write the value itself "
                r'(the sign is written \${), or let the shell fill it in: NAME="$VALUE"'
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEEP:
            raise SettingError(f"{who} is nested more than {MOST_DEEP} deep")
