"""The options of ``m2ib explain``, and the pair in them."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from m2ib.cli.help import FORCE, OUT, Group, option
from m2ib.cli.options import ModelConfig, Reader, flag_of
from m2ib.cli.values import with_options
from m2ib.contract.settings import TARGET
from m2ib.errors import SettingError
from m2ib.methods.bottleneck.settings import SETTINGS

ALSO, AGAINST = "also", "against"  # beside an input
C = TypeVar("C")


SETTING_HELP = {
    each.name: f"{each.help}: {each.kind}; default: {each.default_text}" for each in (*SETTINGS, TARGET)
}
"""What is said of the settings of m2ib, each of which is an option of its own; other methods' are in ``settings``."""


def with_settings(config: type[C]) -> type[C]:
    """With an option for each setting of m2ib, null by default, before ``reference``."""
    fields = list(config.__annotations__.items())
    at = [name for name, _ in fields].index("reference")
    config.__annotations__ = dict([*fields[:at], *((name, Any) for name in SETTING_HELP), *fields[at:]])
    for name, help in SETTING_HELP.items():
        setattr(config, name, option(None, Group.SETTINGS, "VALUE", help))
    return config


@dataclass
@with_settings
class MapConfig(ModelConfig):
    """What decides a map. A setting that is null comes from the preset, the adapter or the method."""

    method: str = option(
        "m2ib:m2ib",
        Group.METHOD,
        "NAME[,NAME...]",
        "what makes the maps, or several with commas between, to compare them (`m2ib methods` lists them)",
    )
    settings: dict[str, Any] = option(
        {},
        Group.METHOD,
        "settings.NAME=VALUE",
        "a setting of the method, as in settings.masks=512 (`m2ib methods NAME` lists them); of several methods each takes "
        "those it has",
    )
    seed: int = option(0, Group.METHOD, "N", "of the random numbers")
    seeds: int = option(
        1,
        Group.METHOD,
        "N",
        "make each map with so many seeds, --seed and those that follow: their mean, and by how much they differ",
    )
    null: int = option(
        0,
        Group.METHOD,
        "N",
        "make the same maps against so many other inputs than the pair's own: what of them is of this pair alone",
    )
    signed: bool = option(False, Group.METHOD, "", "also show what speaks against the similarity")
    interactions: Any = option(
        None,
        Group.METHOD,
        "WAY",
        "also find which unit of one input acts together with which of the other: true, or a way (second-order, by-word, "
        "banzhaf, maxsim), or {method: banzhaf, masks: 1024}",
    )
    reference: Any = option(
        None,
        Group.METHOD,
        "LISTS",
        "what is usual, for --standardize, --target centred and --null: lists of inputs by modality, as in '{image: [a.png, "
        "b.png]}'; left out: the adapter's",
    )
    truncate: bool = option(
        False, Group.INPUTS, "", "cut an input that is longer than the model takes, instead of refusing it"
    )


@dataclass
class ExplainConfig(MapConfig):
    """All options of ``m2ib explain``."""

    inputs: Any = option(
        None,
        Group.INPUTS,
        "",
        "one of the two inputs, by its kind: a file, or the words of a text; twice the same for two of one kind. In a YAML file "
        "inputs: {image: dog.jpg, text: a dog}, or a list of such. The installed adapters take",
    )
    boxes: Any = option(
        None,
        Group.INPUTS,
        "BOXES",
        "draw known places over the image: a file, COCO JSON or MS-CXR's CSV, or a list of [x, y, width, height, label]",
    )
    units: Any = option(
        None,
        Group.INPUTS,
        "UNITS",
        "segments of the inputs that get one value each, by modality: '{image: \"slic:50\", text: [a tabby cat]}'; onsets of a "
        "sound, words of a text, or the file of a mask",
    )
    sweep: Any = option(
        None,
        Group.METHOD,
        "NAME=VALUES",
        "compare the maps of several values of one setting, as in layer=0,3,6,9; layer alone: six at most of the layers that can be "
        "explained",
    )
    out: str = option("m2ib-report", Group.OUTPUT, "FOLDER", f"where to: {OUT}")
    force: bool = option(False, Group.OUTPUT, "", FORCE)
    figure: dict[str, Any] = option(
        {"format": "png"},
        Group.OUTPUT,
        "FORMAT",
        "the files of the figure: png, pdf, svg, or several with commas between; figure.cmap=viridis and figure.scale=shared (own, "
        "shared, or a number) say how it looks",
    )
    title: str | None = option(None, Group.OUTPUT, "WORDS", "of the page; left out: the two inputs")


READER = Reader(
    ExplainConfig,
    free=(*SETTING_HELP, "reference", "interactions", "units"),
    lists=("boxes",),
    switches=("truncate", "force", "signed"),
    hidden=("inputs", "options", "settings"),
    named=("figure",),
)


def read_config(parsed: argparse.Namespace, rest: Sequence[str]) -> ExplainConfig:
    """File, then flags, then ``key=value`` words, over the defaults.

    rest  what argparse did not know: ``--<modality> value``, ``--also value``, ``--against value`` and ``key=value``

    Raises :class:`SettingError`.
    """
    inputs, overrides = _split(rest)
    plain = READER.read(parsed, overrides)
    if inputs:
        twice = [word for word in overrides if re.match(r"inputs\b", word)]
        if twice:
            raise SettingError(
                f"options: inputs are given twice, as --{next(iter(inputs[0]))} and as {twice[0]!r}; an input with "
                "options of its own is written --depth '{depth: room.png, unit: mm}'"
            )
        plain["inputs"] = inputs
    return ExplainConfig(**plain)


def _split(rest: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    inputs: list[dict[str, Any]] = []
    overrides: list[str] = []
    words = iter(rest)
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, following = flag_of(word, words)
            if name in (ALSO, AGAINST):
                if not inputs:
                    raise SettingError(
                        f"options: --{name} follows the input it "
                        + (
                            "is held against, as in --text 'a cat' --against 'a dog'"
                            if name == AGAINST
                            else "belongs to, as in --text 'a cat' --also 'a photo of a cat'"
                        )
                    )
                inputs[-1].setdefault(name, []).append(following)
            else:
                inputs.append({name: with_options(name, following)})
        elif "=" in word:
            overrides.append(word)
        else:
            raise SettingError(f"options: {word!r} is neither an option nor key=value")
    return inputs, overrides


def read_inputs(config: ExplainConfig) -> list[tuple[str, Any]]:
    """The pair in a config, its modalities checked against the adapter's, before any model is loaded.

    Raises :class:`SettingError`, and :class:`AdapterError` for an unknown model.
    """
    from m2ib.api import (  # imports torch, which --help and --print-config need not wait for
        contrast,
        ensemble,
    )

    rows: Any = config.inputs or []
    if isinstance(rows, dict):
        if beside := next((name for name in (ALSO, AGAINST) if name in rows), None):
            raise SettingError(
                f"inputs: {beside!r} stands beside one input, so write a list: "
                f"[{{image: pets.jpg}}, {{text: a cat, {beside}: {'a dog' if beside == AGAINST else 'a photo of a cat'}}}]"
            )
        rows = [{name: value} for name, value in rows.items()]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SettingError(
            "inputs: must be a mapping such as {image: dog.jpg, text: a dog}, or a list of such, "
            f"not {rows!r:.80}"
        )
    takes = config.adapter.modalities
    flags = ", ".join(f"--{modality}" for modality in takes)
    pair: list[tuple[str, Any]] = []
    for row in rows:
        for name in (name for name in row if name not in (ALSO, AGAINST)):
            if name not in takes:
                known = [
                    *takes,
                    *READER.flags,
                    *READER.switches,
                    ALSO,
                    AGAINST,
                    "config",
                    "print-config",
                    "quiet",
                ]
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"; did you mean --{close[0]}?" if close else "."
                raise SettingError(
                    f"options: --{name} is unknown{hint} The model {config.model!r} takes {flags}"
                )
            value, also, others = row[name], *(_listed(row.get(key)) for key in (ALSO, AGAINST))
            if also:
                value = ensemble(value, *also)
            if others:
                value = contrast(value, *others)
            pair.append((str(name), value))
    if len(pair) != 2:
        raise SettingError(f"inputs: need two, got {len(pair)}; the model {config.model!r} takes {flags}")
    return pair


def _listed(given: Any) -> list[Any]:
    """One or several; none for nothing."""
    return given if isinstance(given, list) else [given] if given else []
