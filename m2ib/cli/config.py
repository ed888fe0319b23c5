"""The options of ``m2ib explain``, and the pair in them."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from m2ib.cli.options import ModelConfig, Reader, flag_of
from m2ib.cli.values import with_options
from m2ib.contract.settings import TARGET
from m2ib.errors import SettingError
from m2ib.methods.bottleneck.settings import SETTINGS

ALSO, AGAINST = "also", "against"  # beside an input
C = TypeVar("C")


SETTING_HELP = {each.name: f"{each.help}: {each.kind}" for each in (*SETTINGS, TARGET)}
"""What is said of the settings of m2ib, each of which is an option of its own; other methods' are in ``settings``."""


def with_settings(config: type[C]) -> type[C]:
    """With an option for each setting of m2ib, null by default, before ``reference``."""
    fields = list(config.__annotations__.items())
    at = [name for name, _ in fields].index("reference")
    config.__annotations__ = dict([*fields[:at], *((name, Any) for name in SETTING_HELP), *fields[at:]])
    for name in SETTING_HELP:
        setattr(config, name, None)
    return config


OF_PAIRS_HELP = {
    "null": "the same maps against so many other inputs: what of them is of this pair alone",
    "signed": "also what speaks against",
    "interactions": "which unit of one input acts together with which of the other: true, or a way (second-order, by-word, banzhaf, "
    "maxsim), or {method: banzhaf, masks: 1024}",
}
SEEDS_HELP = "so many seeds, --seed and those that follow: the maps' mean, and by how much they differ"


@dataclass
@with_settings
class ExplainConfig(ModelConfig):
    """All options of ``m2ib explain``. A setting that is null comes from the preset, the adapter or the method.

    inputs   two of them: ``{image: dog.jpg, text: a dog}``, or for two of one modality a list
             ``[{text: a dog}, {text: a hound}]``; ``also`` beside an input makes it an ensemble, ``against`` a contrast
    options  the adapter's own, e.g. ``{architecture: ViT-B-32}``
    method   one, or several with commas between: their maps side by side on one page
    settings of methods, by name, e.g. ``{masks: 512}``; of several methods each takes those it has
    reference  what is usual, for ``standardize``, ``target: centred`` and ``null``: lists of inputs by modality: ``{image: [a.png, b.png]}``
    units    segments of inputs that stand for one each, by modality: ``{image: "slic:50", text: [a tabby cat]}``; ``onsets`` of a
             sound, ``words``, or the file of a mask
    boxes    drawn over the image: a file, COCO JSON or MS-CXR's CSV, or a list of [x, y, width, height, label]
    """

    inputs: Any = None
    boxes: Any = None
    method: str = "m2ib:m2ib"
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    seeds: int = 1
    null: int = 0
    signed: bool = False
    interactions: Any = None
    units: Any = None
    reference: Any = None
    truncate: bool = False
    out: str = "m2ib-report"
    force: bool = False
    title: str | None = None


READER = Reader(
    ExplainConfig,
    free=(*SETTING_HELP, "reference", "interactions", "units"),
    switches=("truncate", "force", "signed"),
    hidden=("inputs", "options", "settings"),
    help={
        **SETTING_HELP,
        **OF_PAIRS_HELP,
        "seeds": SEEDS_HELP,
    },
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
                known = [*takes, *READER.flags, *READER.switches, ALSO, AGAINST, "config", "print-config"]
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
