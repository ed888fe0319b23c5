"""``m2ib benchmark scenes --model imagebind-tiny --out m2ib-benchmark``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from m2ib.cli.help import (
    ANEW,
    BATCH,
    GO_ON,
    RAY,
    WORKERS,
    Group,
    add_command,
    add_quiet,
    add_row,
    group_of,
)
from m2ib.cli.options import CHECKPOINT, DEVICE, DTYPE, OPTIONS, ModelConfig, adapter_options, path_of
from m2ib.cli.output import console, say
from m2ib.progress import progress

_EXAMPLES = """examples:

  m2ib benchmark scenes --random-weights --out m2ib-benchmark
  m2ib benchmark scenes --scenes 32 --seeds 0 --methods m2ib sharp \\
      --modalities image audio
  m2ib benchmark scenes --interactions --random-weights --out m2ib-interactions
"""


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "score maps on scenes whose evidence is known",
        "scenes [options] [options.NAME=VALUE ...]",
        "Scores a model's maps on scenes in which it is known where the evidence is. Writes CSV files and a page; prints the tables "
        "and the path of the page. A benchmark that was cut off goes on where it was when the command is given again.",
        _EXAMPLES,
    )
    add_quiet(parser)
    parser.add_argument(
        "suite", choices=("scenes",), metavar="scenes", help="what to score them on: scenes, made-up ones"
    )
    asked = group_of(parser, Group.INPUTS)
    asked.add_argument(
        "--scenes", type=int, default=256, metavar="N", help="how many for each seed; default: %(default)s"
    )
    asked.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        metavar="N",
        help="each has scenes of its own; standard errors are over them; default: 0 1 2",
    )
    asked.add_argument(
        "--modalities",
        nargs="+",
        metavar="NAME",
        help="image, text, audio, depth, thermal, imu, or some of them; default: all that the model takes",
    )
    asked.add_argument(
        "--split",
        default="test",
        metavar="NAME",
        help="test, or tune for choosing settings; default: %(default)s",
    )
    model = group_of(parser, Group.MODEL)
    model.add_argument(
        "--model",
        default="m2ib:imagebind-tiny",
        metavar="NAME",
        help="the adapter that opens it (`m2ib adapters` lists them); default: %(default)s",
    )
    model.add_argument("--checkpoint", metavar="PATH", help=CHECKPOINT)
    model.add_argument("--device", default="auto", metavar="NAME", help=f"{DEVICE}; default: %(default)s")
    model.add_argument("--dtype", default="float32", metavar="NAME", help=f"{DTYPE}; default: %(default)s")
    add_row(parser, Group.MODEL, "options.NAME=VALUE", f"{OPTIONS}; before flags that take several words")
    model.add_argument(
        "--random-weights",
        action="store_true",
        help="a control: score the same model without its training too (checkpoint=random, where the adapter takes it)",
    )
    method = group_of(parser, Group.METHOD)
    method.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="m2ib, sharp, rise, random, uniform, oracle, or others (`m2ib methods` lists them); default: these six, and with "
        "--interactions second-order, by-word and banzhaf",
    )
    method.add_argument(
        "--interactions",
        action="store_true",
        help="score whether each object's word points into that object, instead of maps",
    )
    work = group_of(parser, Group.WORK)
    work.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help=f"{BATCH}; default: %(default)s"
    )
    work.add_argument("--workers", type=int, default=1, metavar="N", help=f"{WORKERS}; default: %(default)s")
    work.add_argument("--ray", metavar="ADDRESS", help=RAY)
    output = group_of(parser, Group.OUTPUT)
    output.add_argument(
        "--out", default="m2ib-benchmark", metavar="FOLDER", help=f"{GO_ON}; default: %(default)s"
    )
    output.add_argument("--force", action="store_true", help=ANEW)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Run it; write CSV files and a page into a folder; print the tables and the page's path."""

    from m2ib.benchmark import METHODS, run_scenes, save
    from m2ib.benchmark.report import show
    from m2ib.benchmark.run import KIND, checked, modalities_of
    from m2ib.corpus.backends import check_workers
    from m2ib.folders import check_folder, open_folder

    options = adapter_options(rest, "benchmark")
    folder = path_of("out", parsed.out)
    names = ("index.html", "results.csv", "maps.csv", "settings.json")
    if parsed.interactions:
        check_folder(
            folder, KIND, force=parsed.force, names=("interactions.csv", "apart.csv", "settings.json")
        )
        _interactions(parsed, options, folder)
        return
    check_folder(folder, KIND, force=parsed.force, resume=True, names=names)
    methods = parsed.methods or METHODS
    config = ModelConfig(parsed.model, parsed.checkpoint, parsed.device, parsed.dtype, options)
    # What is wrong shows before a model is loaded.
    checked(parsed.scenes, parsed.seeds, methods, parsed.split, parsed.batch_size)
    modalities_of(config.adapter.modalities, config.name, parsed.modalities)
    check_workers(parsed.workers, parsed.ray)
    model = config.load()
    control = _random_weights(config) if parsed.random_weights else None
    if parsed.force:
        open_folder(folder, KIND, force=True).discard()
    benchmark = run_scenes(
        model,
        scenes=parsed.scenes,
        seeds=parsed.seeds,
        methods=methods,
        modalities=parsed.modalities,
        split=parsed.split,
        random_weights=control,
        batch_size=parsed.batch_size,
        folder=folder,
        workers=parsed.workers,
        ray=parsed.ray,
    )
    with progress("write the report"):
        page = save(benchmark, folder, force=True)  # refused above already
    show(benchmark, console())
    say(page.resolve())


def _interactions(parsed: argparse.Namespace, options: dict[str, Any], folder: Path) -> None:
    from m2ib.benchmark.files import save_interactions
    from m2ib.benchmark.interactions import WAYS, checked, run_interactions
    from m2ib.benchmark.report import show_interactions

    ways = parsed.methods or WAYS
    config = ModelConfig(parsed.model, parsed.checkpoint, parsed.device, parsed.dtype, options)
    takes = config.adapter.modalities
    checked(takes, parsed.scenes, parsed.seeds, ways, parsed.modalities, parsed.split)  # before a model is
    found = run_interactions(
        config.load(),
        scenes=parsed.scenes,
        seeds=parsed.seeds,
        ways=ways,
        modalities=parsed.modalities,
        split=parsed.split,
        random_weights=_random_weights(config) if parsed.random_weights else None,
    )
    show_interactions(found, console())
    say(save_interactions(found, folder, force=True).resolve())  # refused above already


def _random_weights(config: ModelConfig) -> Any:
    """The model without its training. Raises :class:`SettingError` where the adapter has no such thing."""
    from m2ib.errors import M2IBError, SettingError

    name = config.name
    try:
        return replace(config, model=name, checkpoint="random").load()
    except M2IBError as error:
        raise SettingError(
            f'benchmark: --random-weights needs an adapter that takes checkpoint="random", and {name!r} refuses it: {error}'
        ) from error
