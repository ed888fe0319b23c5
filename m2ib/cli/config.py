"""Options from a YAML file, from flags and as ``key=value``, later ones over earlier ones."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from m2ib.errors import SettingError, did_you_mean
from m2ib.registry import default_registry

AGAINST = "against"


@dataclass
class ExplainConfig:
    """All options of ``m2ib explain``. A setting that is null comes from the preset, the adapter or the method.

    inputs   two of them: ``{image: dog.jpg, text: a dog}``, or for two of one modality a list
             ``[{text: a dog}, {text: a hound}]``; ``against`` beside an input makes it a contrast
    options  the adapter's own, e.g. ``{architecture: ViT-B-32}``
    reference  for ``standardize``, lists of inputs by modality: ``{image: [a.png, b.png]}``
    boxes    drawn over the image: a file, COCO JSON or MS-CXR's CSV, or a list of [x, y, width, height, label]
    """

    model: str = "photo"
    checkpoint: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    inputs: Any = None
    boxes: Any = None
    method: str = "m2ib"
    beta: Any = None
    variance: Any = None
    layer: Any = None
    steps: Any = None
    samples: Any = None
    lr: Any = None
    seed: int = 0
    readout: Any = None
    granularity: Any = None
    standardize: Any = None
    shifts: Any = None
    smooth: Any = None
    noise: Any = None
    preset: Any = None
    reference: Any = None
    truncate: bool = False
    out: str = "m2ib-report"
    force: bool = False
    title: str | None = None


_SWITCHES = ("truncate", "force")
_KNOWN = tuple(f.name for f in dataclasses.fields(ExplainConfig))
_FLAGS = tuple(name for name in _KNOWN if name not in ("inputs", "options", *_SWITCHES))
# A value, or a mapping by modality.
_FREE = (
    "beta",
    "variance",
    "layer",
    "steps",
    "samples",
    "lr",
    "readout",
    "granularity",
    "standardize",
    "shifts",
    "smooth",
    "noise",
    "preset",
    "reference",
)
FIT_OPTIONS = ("method", "seed", "truncate", *_FREE)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The flags of :class:`ExplainConfig`; inputs are left over for :func:`read_config`."""
    parser.add_argument("--config", metavar="FILE", help="a YAML file with any of these options")
    parser.add_argument("--print-config", action="store_true", help="show the resolved options and stop")
    for name in _FLAGS:
        parser.add_argument(f"--{name}", metavar=name.upper())
    for name in _SWITCHES:
        parser.add_argument(f"--{name}", action="store_true", default=None)


def read_config(parsed: argparse.Namespace, rest: Sequence[str]) -> ExplainConfig:
    """File, then flags, then ``key=value`` words, over the defaults.

    rest  what argparse did not know: ``--<modality> value``, ``--against value`` and ``key=value``

    Raises :class:`SettingError`.
    """
    inputs, overrides = _split(rest)
    config = OmegaConf.structured(ExplainConfig)
    try:
        if parsed.config is not None:
            config = _merge(config, _read_file(Path(parsed.config)), f"config {parsed.config!r}")
        for name in (*_FLAGS, *_SWITCHES):
            if (value := getattr(parsed, name)) is not None:
                config = _merge(config, _flag(name, value), "options")
        for word in overrides:
            config = _merge(config, _parsed(word), "options")
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:  # an interpolation that cannot be resolved
        raise SettingError(f"options: {_reason(error)}") from error
    assert isinstance(plain, dict)
    if inputs:
        twice = [word for word in overrides if re.match(r"inputs\b", word)]
        if twice:
            raise SettingError(
                f"options: inputs are given twice, as --{next(iter(inputs[0]))} and as {twice[0]!r}; an input with "
                "options of its own is written --depth '{depth: room.png, unit: mm}'"
            )
        plain["inputs"] = inputs
    for name in ("name", "checkpoint", "device", "dtype", "registry"):
        if name in plain["options"]:
            raise SettingError(
                f"options: {name!r} is not one of an adapter's own options; see m2ib explain --help"
            )
    return ExplainConfig(**{str(name): value for name, value in plain.items()})


def print_config(config: ExplainConfig) -> str:
    """YAML that :func:`read_config` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(_escaped(dataclasses.asdict(config))))


def _flag(name: str, value: Any) -> Any:
    """A flag's value: as in YAML where it is of free type, else what it is, without interpolation."""
    if name in _FREE:
        return _parsed(f"{name}={value}")
    return {name: _escaped(value)}


def _parsed(word: str) -> Any:
    """``key=value``, the value as in YAML."""
    try:
        if re.match(r"\w[\w.\[\]-]*=", word):
            return OmegaConf.from_dotlist([word])
        error = None
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, IndexError) as caught:
        error = caught
    raise SettingError(f"options: {word!r} is not key=value with a YAML value") from error


def _escaped(value: Any) -> Any:
    """``value`` with every ``${`` in its strings taken literally by OmegaConf."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", value)
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    return [_escaped(each) for each in value] if isinstance(value, list) else value


def _merge(config: Any, new: Any, where: str) -> Any:
    for key in new:
        if key not in _KNOWN:
            hint = did_you_mean(key, _KNOWN)
            if any(key in info.spec.options for info in default_registry().list()):
                hint = f"; did you mean 'options.{key}', an option of the adapter?"
            raise SettingError(f"{where}: {str(key)!r} is unknown{hint} Known: {', '.join(_KNOWN)}")
    try:
        return OmegaConf.merge(config, new)
    except OmegaConfBaseException as error:
        raise SettingError(f"{where}: {_reason(error)}") from error
    except TypeError as error:
        raise SettingError(
            f"{where}: a list and a mapping cannot be merged; write {' and '.join(map(repr, new))} as a whole"
        ) from error


def _reason(error: OmegaConfBaseException) -> str:
    key = f"{error.full_key}: " if error.full_key else ""
    return f"{key}{(str(error).splitlines() or ['cannot be used'])[0]}"


def _read_file(path: Path) -> Any:
    try:
        loaded = OmegaConf.load(path)
    except OSError as error:
        raise SettingError(f"config {str(path)!r} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
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
                    raise SettingError(
                        "options: --against follows the input it is held against, "
                        "as in --text 'a cat' --against 'a dog'"
                    )
                inputs[-1].setdefault(AGAINST, []).append(value)
            else:
                inputs.append({name: _with_options(name, value)})
        elif "=" in word:
            overrides.append(word)
        else:
            raise SettingError(f"options: {word!r} is neither an option nor key=value")
    return inputs, overrides


def _with_options(name: str, value: str) -> Any:
    """``{depth: room.png, unit: mm}`` as a mapping: an input with options of its own. Anything else as it is."""
    if not value.startswith("{"):
        return value
    try:
        given = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return given if isinstance(given, dict) and name in given else value


def read_inputs(config: ExplainConfig) -> list[tuple[str, Any]]:
    """The pair in a config, its modalities checked against the adapter's, before any model is loaded.

    Raises :class:`SettingError`, and :class:`AdapterError` for an unknown model.
    """
    from m2ib.api import contrast  # imports torch, which --help and --print-config need not wait for

    rows: Any = config.inputs or []
    if isinstance(rows, dict):
        if AGAINST in rows:
            raise SettingError(
                "inputs: 'against' stands beside one input, so write a list: "
                "[{image: pets.jpg}, {text: a cat, against: a dog}]"
            )
        rows = [{name: value} for name, value in rows.items()]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SettingError(
            "inputs: must be a mapping such as {image: dog.jpg, text: a dog}, or a list of such, "
            f"not {rows!r:.80}"
        )
    takes = default_registry().find(config.model).modalities
    flags = ", ".join(f"--{modality}" for modality in takes)
    pair: list[tuple[str, Any]] = []
    for row in rows:
        for name in (name for name in row if name != AGAINST):
            if name not in takes:
                known = [*takes, *_FLAGS, *_SWITCHES, AGAINST, "config", "print-config"]
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"; did you mean --{close[0]}?" if close else "."
                raise SettingError(
                    f"options: --{name} is unknown{hint} The model {config.model!r} takes {flags}"
                )
            value, others = row[name], row.get(AGAINST)
            if others:
                value = contrast(value, *(others if isinstance(others, list) else [others]))
            pair.append((str(name), value))
    if len(pair) != 2:
        raise SettingError(f"inputs: need two, got {len(pair)}; the model {config.model!r} takes {flags}")
    return pair
