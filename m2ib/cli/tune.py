"""``m2ib tune --model photo --data pairs.jsonl --side image --metric insertion --out m2ib-tuning``"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from m2ib.cli.evaluate import check_paper, pairs_of
from m2ib.cli.options import (
    AS_WRITTEN,
    ModelConfig,
    Reader,
    add_command,
    as_yaml,
    elsewhere,
    key_values,
    path_of,
)
from m2ib.cli.output import console, say
from m2ib.errors import SettingError, did_you_mean
from m2ib.paths import local_path

if TYPE_CHECKING:
    from m2ib.data import Pairs
    from m2ib.tuning.results import Tuned
    from m2ib.tuning.search import Search

_EXAMPLES = """finds the layer, beta and variance whose maps score best, side by side if there are two:

  m2ib tune --model photo --data pairs.jsonl --side image --metric insertion --out m2ib-tuning
  m2ib tune --model imagebind-tiny --data scenes data.split=tune --side image --metric iou settings.steps=20
  m2ib tune --data pairs.csv --sampler tpe --trials 15 grid.layer=[10,12,14] grid.beta.image=[1,0.3,0.1]
  m2ib explain --config m2ib-tuning/settings.yaml --image dog.jpg --text "a dog"

Every option may also stand in a YAML file (--config) or be written as key=value. The first pairs are for the search,
those that follow are held out to judge what it found. A search that was cut off goes on where it was when the command
is given again; --force begins anew.
"""


@dataclass
class TuneConfig(ModelConfig):
    """All options of ``m2ib tune``.

    data     a .csv, .jsonl, .parquet or .tar file; or {format: NAME, ...} with the format's options
    side     the modality to tune, or both of them with a comma between; null: both
    options  the adapter's own
    grid     {layer: [...], beta: [...], variance: [...]}, each a list or a dict of lists by modality
    settings of the method, the same in all trials
    workers, ray
             processes of this machine, or actors of a Ray cluster, that make maps and scores
    paper    whose Table 2 stands beside, with the metric roar: conceptual-captions or ms-cxr
    The others are those of :class:`m2ib.tuning.search.Search`.
    """

    data: Any = None
    side: Any = None
    metric: str = "insertion"
    grid: dict[str, Any] = field(default_factory=dict)
    sampler: str = "grid"
    trials: int | None = None
    seeds: Any = field(default_factory=lambda: [0])
    pairs: int = 100
    held_out: int = 100
    method: str = "m2ib:m2ib"
    settings: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 8
    curve_steps: int = 20
    roar: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    ray: str | None = None
    paper: str | None = None
    out: str = "m2ib-tuning"
    force: bool = False


def _hint(key: str) -> str:
    if key in ("layer", "beta", "variance"):
        return f"; did you mean 'grid.{key}', values to be tried?"
    return elsewhere(key)


READER = Reader(
    TuneConfig,
    free=("seeds",),
    words=("seeds",),
    switches=("force",),
    hidden=("options", "grid", "settings", "roar"),
    named=("data",),
    hint=_hint,
)


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    help = "find a method's best settings on your own pairs"
    READER.add_options(add_command(commands, name, help, _EXAMPLES, formatter_class=AS_WRITTEN))


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Search, or go on; write tables, pictures and settings into the folder; print the tables and the settings' path."""
    config: TuneConfig | None = READER.config_of(parsed, key_values(rest, "tune"))
    if config is None:
        return

    from m2ib.evaluation.published import PUBLISHED_GRIDS
    from m2ib.folders import check_folder, open_folder
    from m2ib.tuning.report import SETTINGS, save, show
    from m2ib.tuning.run import tune
    from m2ib.tuning.search import check
    from m2ib.tuning.trials import FILES, KIND, require_optuna

    check_paper(config.paper, PUBLISHED_GRIDS, "tune")
    pairs = pairs_of(config.data, "tune")
    searches = searches_of(config, pairs)
    for search in searches:
        check(search, pairs, config.adapter)  # what is wrong shows before the model is loaded
    require_optuna()
    folder = path_of("out", config.out)
    check_folder(folder, KIND, force=config.force, resume=True, names=(*FILES, SETTINGS))
    model = config.load()
    opened = open_folder(folder, KIND, force=config.force, resume=True)
    if config.force:
        opened.discard()
    for search in searches:
        tuned = tune(model, pairs, search, folder, workers=config.workers, ray=config.ray)
        settings = save(tuned, settings_yaml(tuned, config.name, config.checkpoint, config.options))
        show(tuned, console(), paper=config.paper)
    say(settings.resolve())


def settings_yaml(tuned: Tuned, model: str, checkpoint: Any, options: Mapping[str, Any]) -> str:
    """A configuration of ``m2ib explain``, each setting by modality.

    model, checkpoint, options  as the model was loaded; a checkpoint that is a path is written as an absolute one
    """
    import yaml

    from m2ib.cli.config import ExplainConfig
    from m2ib.registry.discovery import default_registry
    from m2ib.tuning.report import SETTINGS

    given: dict[str, Any] = {"model": model}
    if checkpoint is not None:
        there = local_path(str(checkpoint))
        given["checkpoint"] = str(there.absolute()) if os.path.exists(there) else str(checkpoint)
    if options:
        given["options"] = dict(options)
    if tuned.asked["method"]["name"] != default_registry().methods.own("m2ib"):
        given["method"] = tuned.asked["method"]["name"]
    for modality, settings in tuned.settings.items():
        for name, value in settings.items():
            known = name in ExplainConfig.__dataclass_fields__
            place = given if known else given.setdefault("settings", {})
            place.setdefault(name, {})[modality] = value
    written = yaml.safe_load(as_yaml(ExplainConfig(**given)))
    text = yaml.safe_dump({name: written[name] for name in given}, sort_keys=False, allow_unicode=True)
    return f"# m2ib explain --config {SETTINGS}\n{text}"


def searches_of(config: TuneConfig, pairs: Pairs) -> list[Search]:
    """One for each side. Raises :class:`SettingError`."""
    from m2ib.tuning.search import Search

    given = config.side or pairs.modalities
    given = (
        given.split(",") if isinstance(given, str) else given if isinstance(given, (list, tuple)) else [given]
    )
    sides = [side.strip() if isinstance(side, str) else side for side in given]
    for side in sides:
        if not isinstance(side, str):
            raise SettingError(
                f"tune: side {side!r:.60} is no modality; it is {' or '.join(pairs.modalities)}"
            )
    own = ("modality", "seeds", "grid")
    others = {name: getattr(config, name) for name in Search.__dataclass_fields__ if name not in own}
    others["seeds"] = tuple(config.seeds) if isinstance(config.seeds, list) else (config.seeds,)
    by_modality = {name: values for name, values in config.grid.items() if isinstance(values, Mapping)}
    for name, values in by_modality.items():
        for modality in values:
            if modality not in pairs.modalities:
                raise SettingError(
                    f"tune: grid {name!r}: {modality!r} is not a modality of the pairs"
                    f"{did_you_mean(modality, pairs.modalities)} They are {' and '.join(pairs.modalities)}"
                )
    shared = {name: values for name, values in config.grid.items() if name not in by_modality}
    found = []
    for side in dict.fromkeys(sides):
        grid = {name: values[side] for name, values in by_modality.items() if side in values}
        found.append(Search(modality=side, grid={**shared, **grid}, **others))
    return found
