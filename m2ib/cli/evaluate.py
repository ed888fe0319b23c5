"""``m2ib evaluate --model photo --data pairs.jsonl --methods m2ib gradcam --out m2ib-evaluation``"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m2ib.cli.help import (
    ANEW,
    BATCH,
    CURVE,
    DATA,
    GO_ON,
    KEYS,
    METHODS,
    RAY,
    ROAR,
    WORKERS,
    Group,
    add_command,
    add_quiet,
    option,
)
from m2ib.cli.options import ModelConfig, Reader, key_values, path_of
from m2ib.cli.output import console, say
from m2ib.errors import SettingError, did_you_mean
from m2ib.progress import progress

if TYPE_CHECKING:
    from m2ib.data import Pairs
    from m2ib.evaluation.study import Study

_EXAMPLES = """examples:

  m2ib evaluate --model photo --data pairs.jsonl --methods m2ib gradcam rise \\
      --metrics drop increase
  m2ib evaluate --model imagebind-tiny --data scenes data.modality=audio \\
      data.count=50 --methods all
  m2ib evaluate --config examples/reproduce_table1.yaml \\
      data.captions=Validation.tsv data.images=images
"""


@dataclass
class EvaluateConfig(ModelConfig):
    """All options of ``m2ib evaluate``; what they do is told by :class:`m2ib.evaluation.study.Study`."""

    data: Any = option(None, Group.INPUTS, "DATA", DATA)
    limit: int | None = option(None, Group.INPUTS, "N", "the first so many pairs; left out: all")
    methods: Any = option("all", Group.METHOD, "NAME", METHODS)
    metrics: Any = option(
        "all",
        Group.SCORES,
        "NAME",
        "names with spaces or commas between, or all that these pairs allow: drop, increase, deletion, insertion, iou, pointing, "
        'mass, specificity, matched-auc, sanity, roar, ...: the documentation, "Is the map true?", says what each of them is',
    )
    seeds: Any = option(
        [0, 1, 2], Group.SCORES, "N", "of whatever is drawn; means are over pairs, standard errors over seeds"
    )
    sides: Any = option(
        None,
        Group.INPUTS,
        "MODALITY",
        "whose maps are evaluated, as in --sides image; left out: those of both inputs",
    )
    settings: dict[str, Any] = option(
        {},
        Group.METHOD,
        "settings.NAME=VALUE",
        "of all methods that have it, as in settings.masks=512, or of one: settings.rise.masks=512; a variant of a method has a "
        "name of its own: settings.mine='{method: m2ib, preset: sharp}'",
    )
    batch_size: int = option(8, Group.WORK, "N", BATCH)
    curve_steps: int = option(20, Group.SCORES, "N", CURVE)
    controls: bool = option(
        True,
        Group.METHOD,
        "TRUTH",
        "whether maps that know nothing are shown too (uniform, random, each method's own values in other places): true or false",
    )
    sanity_pairs: int = option(8, Group.SCORES, "N", "of the metric sanity: on how many pairs")
    sanity_stages: int = option(
        6, Group.SCORES, "N", "of the metric sanity: how many stages of random weights at most"
    )
    null: int | None = option(
        None,
        Group.SCORES,
        "N",
        "of the metrics of specificity: how many other inputs each pair is compared with, of 32 at most; left out: 16",
    )
    roar: dict[str, Any] = option({}, Group.SCORES, "roar.NAME=VALUE", ROAR)
    workers: int = option(1, Group.WORK, "N", WORKERS)
    ray: str | None = option(None, Group.WORK, "ADDRESS", RAY)
    paper: str | None = option(
        None, Group.OUTPUT, "NAME", "show the paper's own figures beside: conceptual-captions or ms-cxr"
    )
    out: str = option("m2ib-evaluation", Group.OUTPUT, "FOLDER", GO_ON)
    force: bool = option(False, Group.OUTPUT, "", ANEW)


_LISTS = ("methods", "metrics", "seeds", "sides")


READER = Reader(
    EvaluateConfig,
    free=("seeds", "controls"),
    words=_LISTS,
    switches=("force",),
    hidden=("options", "settings", "roar"),
    named=("data",),
)


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "compare methods by metrics on many pairs",
        "--data DATA [options] [key=value ...]",
        "Compares the maps of several methods by metrics, on many pairs. Writes tables and a page; prints the tables and the path of "
        "the page. An evaluation that was cut off goes on where it was when the command is given again. "
        + KEYS,
        _EXAMPLES,
    )
    READER.add_options(parser)
    add_quiet(parser)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Evaluate, or go on; write CSV, Markdown and a page into the folder; print the tables and the page's path."""
    config: EvaluateConfig | None = READER.config_of(parsed, key_values(rest, "evaluate"))
    if config is None:
        return

    from m2ib.corpus.backends import check_workers
    from m2ib.evaluation.files import TABLES, save
    from m2ib.evaluation.published import PUBLISHED
    from m2ib.evaluation.report import show
    from m2ib.evaluation.results import read_results
    from m2ib.evaluation.run import evaluate
    from m2ib.evaluation.store import FILES, KIND
    from m2ib.evaluation.study import check
    from m2ib.folders import check_folder, open_folder

    check_paper(config.paper, PUBLISHED, "evaluate")
    pairs = pairs_of(config.data, "evaluate")
    study = study_of(config)
    check_workers(config.workers, config.ray)
    check(study, pairs, config.adapter)  # what is wrong shows before the model is loaded
    folder = path_of("out", config.out)
    check_folder(folder, KIND, force=config.force, resume=True, names=(*FILES, *TABLES))
    model = config.load()
    opened = open_folder(folder, KIND, force=config.force, resume=True)
    if config.force:
        opened.discard()
    evaluate(model, pairs, study, folder, workers=config.workers, ray=config.ray)
    results = read_results(folder, paper=config.paper)
    with progress("write the report"):
        page = save(results)
    show(results, console())
    say(page.resolve())


def check_paper(paper: str | None, known: Collection[str], command: str) -> None:
    """Raises :class:`SettingError` for a paper whose figures are not here."""
    if paper is not None and paper not in known:
        raise SettingError(
            f"{command}: paper {paper!r} is unknown{did_you_mean(paper, known)} There is {', '.join(known)}"
        )


def pairs_of(data: Any, command: str) -> Pairs:
    """``data`` as in a configuration. Raises :class:`SettingError` and :class:`InputError`."""
    from m2ib.data import FORMATS, open_pairs

    if isinstance(data, str):
        data = {"format": data}
    if not isinstance(data, dict) or not data:
        raise SettingError(
            f"{command}: {'--data is missing; it' if data is None else 'data'} is a .csv, .jsonl, .parquet or .tar file, or a format with its options, as in data.format=ms-cxr; "
            f"the formats are {', '.join(FORMATS)}"
        )
    options = {str(key): value for key, value in data.items()}
    name = options.pop("format", None) or options.pop("path", None)
    if name is None:
        raise SettingError(f"{command}: data has no format; the formats are {', '.join(FORMATS)}")
    return open_pairs(str(name), **options)


def study_of(config: EvaluateConfig) -> Study:
    """What is to be evaluated."""
    from m2ib.evaluation.study import Study

    methods, metrics, seeds, sides = (_listed(getattr(config, name)) for name in _LISTS)
    others = {name: getattr(config, name) for name in Study.__dataclass_fields__ if name not in _LISTS}
    seeds = tuple(map(_number, seeds or ()))
    return Study(methods=methods or (), metrics=metrics or (), seeds=seeds, sides=sides, **others)


def _listed(value: Any) -> tuple[Any, ...] | None:
    """One word, several with commas between, or a list."""
    if value is None:
        return None
    words = value if isinstance(value, (list, tuple)) else [value]
    return tuple(
        part.strip() if isinstance(part, str) else part
        for word in words
        for part in (word.split(",") if isinstance(word, str) else [word])
        if part != ""
    )


def _number(value: Any) -> Any:
    """A part of "0,1,2", which YAML takes for a word."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value
