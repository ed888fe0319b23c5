"""``m2ib check my-adapter --audio bark.wav --audio bell.wav``: does an adapter keep the contract, and what does it not tell?"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2ib.cli.beforehand import check_file
from m2ib.cli.help import KEYS, Group, add_command, add_quiet, add_row, option, taken_modalities
from m2ib.cli.options import CHECKPOINT, DEVICE, DTYPE, OPTIONS, Reader, as_yaml, flag_of, path_of
from m2ib.cli.output import console, say
from m2ib.cli.values import with_options
from m2ib.errors import M2IBError, SettingError, StorageError, did_you_mean
from m2ib.folders import write_whole
from m2ib.registry.specs import AdapterSpec

_EXAMPLES = """examples:

  m2ib check photo
  m2ib check clip --checkpoint folder --image a.png --image b.png
  m2ib check my-adapter --audio bark.wav --audio bell.wav --json report.json
"""
_REPORT = "m2ib check"  # in the file, to know it again
_MOST = 1 << 24  # bytes of one


@dataclass
class CheckConfig:
    """All options of ``m2ib check``; ``examples`` are by modality, as in ``{audio: [bark.wav, bell.wav]}``."""

    checkpoint: str | None = option(None, Group.MODEL, "PATH", CHECKPOINT)
    device: str = option("cpu", Group.MODEL, "NAME", DEVICE)
    dtype: str = option("float32", Group.MODEL, "NAME", DTYPE)
    tolerance: float = option(
        1e-4, Group.SCORES, "SHARE", "relative error that two ways of computing the same embedding may have"
    )
    examples: dict[str, Any] = option(
        {},
        Group.INPUTS,
        "",
        'an example, by its kind; give two or more of a kind, different ones and of different lengths, as in --text "a dog" --text '
        '"a longer text". Without them the encoder\'s own are used, or made-up scenes. In a YAML file examples: {text: [a dog, a '
        "longer text]}. The installed adapters take",
    )
    json: str | None = option(None, Group.OUTPUT, "FILE", "write the report there too, as JSON")
    options: dict[str, Any] = option({}, Group.MODEL, "options.NAME=VALUE", OPTIONS)


READER = Reader(CheckConfig, hidden=("examples", "options"))


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "check an adapter against the contract",
        "NAME [options] [key=value ...]",
        "Checks an installed adapter against the contract; says what it does not tell, and how long a step of a fit takes. The exit "
        f"code is 1 where a check failed, and 2 for what is no fault of the adapter. {KEYS}",
        _EXAMPLES,
    )
    parser.add_argument(
        "adapter", metavar="NAME", help="the adapter, which comes first (`m2ib adapters` lists them)"
    )
    kind = CheckConfig.__dataclass_fields__["examples"].metadata["help"]
    add_row(parser, Group.INPUTS, "--MODALITY VALUE", lambda: f"{kind} {taken_modalities()}")
    READER.add_options(parser)
    add_quiet(parser)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> int:
    """Check it; print the report, and write it where it is asked for. 1 where a check failed."""
    spec = _spec(parsed.adapter, rest)
    given, overrides = _split(rest, parsed.adapter, spec.modalities)
    plain = READER.read(parsed, overrides)
    plain["examples"] = {**plain["examples"], **given}
    config = CheckConfig(**plain)
    if parsed.print_config:
        say(as_yaml(config), end="")
        return 0
    for modality, raws in config.examples.items():
        for raw in raws if isinstance(raws, list) else [raws]:
            check_file(spec, modality, raw)
    file = None if config.json is None else _writable(path_of("json", config.json))

    from m2ib.testing.report import report_on
    from m2ib.testing.terminal import show

    report = report_on(
        parsed.adapter,
        given=config.examples,
        tolerance=config.tolerance,
        checkpoint=config.checkpoint,
        device=config.device,
        dtype=config.dtype,
        **config.options,
    )
    show(report, console())
    if file is not None:
        row = {"report": _REPORT, **report.to_dict()}
        write_whole(file, json.dumps(row, indent=2, ensure_ascii=False) + "\n")
    return 0 if report.passed else 1


def _spec(name: str, rest: Sequence[str]) -> AdapterSpec:
    """What the adapter was registered with. Raises :class:`AdapterError` for an unknown one."""
    from m2ib.registry.discovery import default_registry

    registry = default_registry()
    try:
        return registry.adapters.find(name).spec
    except M2IBError:
        late = next((word for word in rest if word in registry.adapters.names), None)
        if late is None:
            raise
        raise SettingError(f"check: the adapter's name comes first, as in m2ib check {late} ...") from None


def _split(rest: Sequence[str], adapter: str, takes: Sequence[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """Examples by modality, and ``key=value`` words. Raises :class:`SettingError`."""
    given: dict[str, list[Any]] = {}
    overrides: list[str] = []
    words = iter(rest)
    for word in words:
        if not word.startswith("--") or len(word) == 2:
            if "=" not in word:
                raise SettingError(
                    f"check: {word!r} is neither an option nor key=value; see m2ib check --help"
                )
            overrides.append(word)
            continue
        name = word[2:].partition("=")[0]
        if name not in takes:
            hint = did_you_mean(f"--{name}", [f"--{known}" for known in (*takes, *READER.flags)])
            flags = ", ".join(f"--{modality}" for modality in takes)
            raise SettingError(f"options: --{name} is unknown{hint} The adapter {adapter!r} takes {flags}")
        given.setdefault(name, []).append(with_options(*flag_of(word, words)))
    return given, overrides


def _writable(file: Path) -> Path:
    """Raises :class:`StorageError` before anything long is begun."""
    if os.path.isdir(file) or not os.path.isdir(file.absolute().parent):
        why = "it is a folder" if os.path.isdir(file) else "its folder does not exist"
        raise StorageError(
            f"json: {str(file)!r} cannot be written: {why}; name a file in a folder that exists"
        )
    if os.path.lexists(file) and not _is_report(file):
        raise StorageError(
            f"json: {str(file)!r} is there already and is no report of this command; move it away, or name another file"
        )
    return file


def _is_report(file: Path) -> bool:
    """Whether this command wrote it."""
    try:
        row = json.loads(file.read_bytes()) if os.path.isfile(file) and file.stat().st_size < _MOST else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(row, dict) and row.get("report") == _REPORT
