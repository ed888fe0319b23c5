"""``m2ib tune --model photo --data pairs.jsonl --side image --metric insertion --out m2ib-tuning``"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m2ib.cli.evaluate import check_paper, pairs_of
from m2ib.cli.help import (
    ANEW,
    BATCH,
    CURVE,
    DATA,
    GO_ON,
    KEYS,
    RAY,
    ROAR,
    WORKERS,
    Group,
    add_command,
    add_quiet,
    option,
)
from m2ib.cli.options import ModelConfig, Reader, as_yaml, elsewhere, key_values, path_of
from m2ib.cli.output import console, say
from m2ib.errors import SettingError, did_you_mean
from m2ib.paths import local_path
from m2ib.progress import progress

if TYPE_CHECKING:
    from m2ib.data import Pairs
    from m2ib.tuning.results import Tuned
    from m2ib.tuning.search import Search

_EXAMPLES = """examples:

  m2ib tune --model photo --data pairs.jsonl --side image --metric insertion
  m2ib tune --model imagebind-tiny --data scenes data.split=tune --side image \\
      --metric iou settings.steps=20
  m2ib tune --data pairs.csv --sampler tpe --trials 15 \\
      grid.layer=[10,12,14] grid.beta.image=[1,0.3,0.1]
  m2ib explain --config m2ib-tuning/settings.yaml --image dog.jpg --text "a dog"
"""


@dataclass
class TuneConfig(ModelConfig):
    """All options of ``m2ib tune``; what they do is told by :class:`m2ib.tuning.search.Search`."""

    data: Any = option(None, Group.INPUTS, "DATA", DATA)
    side: Any = option(
        None,
        Group.INPUTS,
        "MODALITY",
        "whose maps are tuned, or both with a comma between; left out: both, one search after the other",
    )
    metric: str = option(
        "insertion",
        Group.SEARCH,
        "NAME",
        "what the best setting is chosen by: drop, increase, deletion, insertion, roar, and for pairs whose true places are "
        "known iou, pointing, mass-in-region",
    )
    grid: dict[str, Any] = option(
        {},
        Group.SEARCH,
        "grid.NAME=[...]",
        "the values of layer, beta and variance that are tried, as in grid.beta=[1,0.1], or of one side: grid.beta.image=[1]; left "
        "out: the paper's, and three layers up to the adapter's own",
    )
    sampler: str = option(
        "grid",
        Group.SEARCH,
        "NAME",
        "grid: every point is tried; tpe: so many as --trials says, those that look promising (Bergstra et al. 2011)",
    )
    trials: int | None = option(
        None, Group.SEARCH, "N", "of tpe: how many points are tried, the adapter's own settings among them"
    )
    seeds: Any = option([0], Group.SEARCH, "N", "of the noise; a score is the mean over them")
    pairs: int | None = option(
        None,
        Group.INPUTS,
        "N",
        "how many pairs settings are chosen on: the first usable ones; left out: half of them, 100 at most",
    )
    held_out: int | None = option(
        None,
        Group.INPUTS,
        "N",
        "how many pairs the best setting is compared with the adapter's own on: those that follow, seen by no trial; left out: the "
        "other half, 100 at most",
    )
    method: str = option("m2ib:m2ib", Group.METHOD, "NAME", "one with the settings layer, beta and variance")
    settings: dict[str, Any] = option(
        {}, Group.METHOD, "settings.NAME=VALUE", "another setting of the method, the same in all trials"
    )
    batch_size: int = option(8, Group.WORK, "N", BATCH)
    curve_steps: int = option(20, Group.SEARCH, "N", CURVE)
    roar: dict[str, Any] = option({}, Group.SEARCH, "roar.NAME=VALUE", ROAR)
    workers: int = option(1, Group.WORK, "N", WORKERS)
    ray: str | None = option(None, Group.WORK, "ADDRESS", RAY)
    paper: str | None = option(
        None,
        Group.OUTPUT,
        "NAME",
        "with --metric roar: show the paper's Table 2 beside: conceptual-captions or ms-cxr",
    )
    out: str = option("m2ib-tuning", Group.OUTPUT, "FOLDER", GO_ON)
    force: bool = option(False, Group.OUTPUT, "", ANEW)


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
    parser = add_command(
        commands,
        name,
        "find a method's best settings on your own pairs",
        "--data DATA [options] [key=value ...]",
        "Finds the layer, beta and variance whose maps score best on the first pairs, and judges them on those that follow. Writes "
        "tables, pictures and settings.yaml for `m2ib explain --config`. A search that was cut off goes on where it was when the "
        "command is given again. " + KEYS,
        _EXAMPLES,
    )
    READER.add_options(parser)
    add_quiet(parser)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Search, or go on; write tables, pictures and settings into the folder; print the tables and the settings' path."""
    config: TuneConfig | None = READER.config_of(parsed, key_values(rest, "tune"))
    if config is None:
        return

    from m2ib.corpus.backends import check_workers
    from m2ib.evaluation.published import PUBLISHED_GRIDS
    from m2ib.folders import check_folder, open_folder
    from m2ib.tuning.report import SETTINGS, save, show
    from m2ib.tuning.run import tune
    from m2ib.tuning.search import check
    from m2ib.tuning.split import check_rows
    from m2ib.tuning.trials import FILES, KIND, require_optuna

    check_paper(config.paper, PUBLISHED_GRIDS, "tune")
    pairs = pairs_of(config.data, "tune")
    searches = searches_of(config, pairs)
    for search in searches:
        check(search, pairs, config.adapter)  # what is wrong shows before the model is loaded
    check_rows(pairs, config.pairs, config.held_out)
    require_optuna()
    check_workers(config.workers, config.ray)
    folder = path_of("out", config.out)
    check_folder(folder, KIND, force=config.force, resume=True, names=(*FILES, SETTINGS))
    model = config.load()
    opened = open_folder(folder, KIND, force=config.force, resume=True)
    if config.force:
        opened.discard()
    for search in searches:
        tuned = tune(model, pairs, search, folder, workers=config.workers, ray=config.ray)
        with progress("write the report"):
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
