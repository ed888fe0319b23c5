"""Options from a YAML file, from flags and as ``key=value``, later ones over earlier ones."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from m2ib.errors import SettingError
from m2ib.pipeline import contrast
from m2ib.registry import default_registry

AGAINST = "against"


@dataclass
class ExplainConfig:
    """All options of ``m2ib explain``. A setting that is null comes from the adapter.

    inputs   two of them: ``{image: dog.jpg, text: a dog}``, or for two of one modality a list
             ``[{text: a dog}, {text: a hound}]``; ``against`` beside an input makes it a contrast
    options  the adapter's own, e.g. ``{architecture: ViT-B-32}``
    """

    model: str = "photo"
    checkpoint: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    inputs: Any = field(default_factory=list)
    method: str = "m2ib"
    beta: Any = None
    variance: Any = None
    layer: Any = None
    steps: Any = 10
    samples: Any = 10
    lr: Any = 1.0
    seed: int = 0
    readout: str = "last"
    truncate: bool = False
    out: str = "m2ib-report"
    force: bool = False
    title: str | None = None


_SWITCHES = ("truncate", "force")
_FLAGS = tuple(f.name for f in dataclasses.fields(ExplainConfig) if f.name not in ("inputs", "options", *_SWITCHES))

FIT_OPTIONS = (
    "method",
    "beta",
    "variance",
    "layer",
    "steps",
    "samples",
    "lr",
    "seed",
    "readout",
    "truncate",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The flags of :class:`ExplainConfig`; inputs are left over for :func:`read_config`."""
    parser.add_argument("--config", metavar="FILE", help="a YAML file with any of these options")
    parser.add_argument("--print-config", action="store_true", help="show the resolved options and stop")
    for name in _FLAGS:
        parser.add_argument(f"--{name}", metavar=name.upper())
    for name in _SWITCHES:
        parser.add_argument(f"--{name}", action="store_true", default=None)


def read_config(parsed: argparse.Namespace, rest: Sequence[str]) -> DictConfig:
    """File, then flags, then ``key=value`` words, over the defaults.

    rest  what argparse did not know: ``--<modality> value``, ``--against value`` and ``key=value``

    Raises :class:`SettingError`.
    """
    inputs, overrides = _split(rest)
    config = OmegaConf.structured(ExplainConfig)
    try:
        if parsed.config is not None:
            config = _merge(config, _read_file(Path(parsed.config)), f"config {parsed.config!r}")
        flags = {name: getattr(parsed, name) for name in (*_FLAGS, *_SWITCHES) if getattr(parsed, name) is not None}
        config = _merge(config, {name: _scalar(name, value) for name, value in flags.items()}, "options")
        config = _merge(config, OmegaConf.from_dotlist(overrides), "options")
        if inputs:
            config.inputs = inputs
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise SettingError(f"options: {str(error).splitlines()[0]}") from error
    assert isinstance(config, DictConfig)
    return config


def _scalar(name: str, value: Any) -> Any:
    """Flags of free type are read as YAML; the others are what they are."""
    free = name in ("beta", "variance", "layer", "steps", "samples", "lr")
    return yaml.safe_load(value) if free and isinstance(value, str) else value


def _merge(config: Any, new: Any, where: str) -> Any:
    known = [f.name for f in dataclasses.fields(ExplainConfig)]
    for key in new:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SettingError(f"{where}: {key!r} is unknown{hint} Known: {', '.join(known)}")
    return OmegaConf.merge(config, new)


def _read_file(path: Path) -> Any:
    try:
        loaded = OmegaConf.load(path)
    except OSError as error:
        raise SettingError(f"config {str(path)!r} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(f"config {str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, DictConfig):
        raise SettingError(f"config {str(path)!r} holds a list; it must be a mapping of options")
    return loaded


def _split(rest: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    inputs: list[dict[str, Any]] = []
    overrides: list[str] = []
    words = iter(rest)
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            if not equals:
                following = next(words, None)
                if following is None:
                    raise SettingError(f"options: --{name} needs a value")
                value = following
            if name == AGAINST:
                if not inputs:
                    raise SettingError("options: --against follows the input it is held against, as in --text 'a cat' --against 'a dog'")
                inputs[-1].setdefault(AGAINST, []).append(value)
            else:
                inputs.append({name: value})
        elif "=" in word:
            overrides.append(word)
        else:
            raise SettingError(f"options: {word!r} is neither an option nor key=value")
    return inputs, overrides


def read_inputs(config: DictConfig) -> list[tuple[str, Any]]:
    """The pair in a config, its modalities checked against the adapter's, before any model is loaded."""
    plain: Any = OmegaConf.to_container(config.inputs) if OmegaConf.is_config(config.inputs) else config.inputs
    rows: Any
    if isinstance(plain, dict):
        rows = [{name: value} for name, value in plain.items() if name != AGAINST]
    else:
        rows = plain
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SettingError("inputs: must be a mapping such as {image: dog.jpg, text: a dog}, or a list of such")
    takes = default_registry().find(config.model).modalities
    pair: list[tuple[str, Any]] = []
    for row in rows:
        names = [name for name in row if name != AGAINST]
        for name in names:
            if name not in takes:
                close = difflib.get_close_matches(str(name), [*takes, *_FLAGS], n=1)
                hint = f"; did you mean --{close[0]}?" if close else ""
                raise SettingError(
                    f"options: --{name} is unknown{hint} The model {config.model!r} takes {', '.join(f'--{m}' for m in takes)}"
                )
            value = row[name]
            others = row.get(AGAINST)
            if others:
                value = contrast(value, *(others if isinstance(others, list) else [others]))
            pair.append((name, value))
    if len(pair) != 2:
        raise SettingError(
            f"inputs: need two, got {len(pair)}; the model {config.model!r} takes {', '.join(f'--{m}' for m in takes)}"
        )
    return pair
