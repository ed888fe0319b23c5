"""``m2ib benchmark scenes --model imagebind-tiny --out m2ib-benchmark``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m2ib.cli.options import AS_WRITTEN, ModelConfig, adapter_options, add_command, path_of
from m2ib.cli.output import console, say

_MORE = """options of the adapter are written as options.NAME=VALUE, before flags that take several words.

  m2ib benchmark scenes --random-weights --out m2ib-benchmark
  m2ib benchmark scenes --scenes 32 --seeds 0 --methods m2ib sharp --modalities image audio
  m2ib benchmark scenes --interactions --random-weights --out m2ib-interactions

A benchmark that was cut off goes on where it was when the command is given again.
"""


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "score maps on scenes whose evidence is known",
        "Scores a model's maps on scenes in which it is known where the evidence is.",
        epilog=_MORE,
        formatter_class=AS_WRITTEN,
    )
    parser.add_argument("suite", choices=("scenes",), help="what to score them on")
    parser.add_argument("--model", default="m2ib:imagebind-tiny", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--checkpoint")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument(
        "--scenes", type=int, default=256, metavar="N", help="for each seed; default: %(default)s"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument(
        "--interactions",
        action="store_true",
        help="whether each object's word points into that object, instead of maps; --methods are ways to find them",
    )
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="default: all of them")
    parser.add_argument("--modalities", nargs="+", metavar="NAME", help="default: all that the model takes")
    parser.add_argument("--split", default="test", help="test, or tune for choosing settings")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="maps made together")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes of this machine, or actors of a Ray cluster; default: %(default)s",
    )
    parser.add_argument("--ray", metavar="ADDRESS", help="of a Ray cluster; local begins one")
    parser.add_argument(
        "--random-weights", action="store_true", help='a control: the same with checkpoint="random"'
    )
    parser.add_argument("--out", default="m2ib-benchmark", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="write into a folder that exists")


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Run it; write CSV files and a page into a folder; print the tables and the page's path."""

    from m2ib.benchmark import METHODS, run_scenes, save
    from m2ib.benchmark.report import show
    from m2ib.benchmark.run import KIND, checked
    from m2ib.folders import check_folder, open_folder
    from m2ib.loading import load_model

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
    checked(parsed.scenes, parsed.seeds, methods, parsed.split, parsed.batch_size)  # before a model is loaded
    place = {"device": parsed.device, "dtype": parsed.dtype, **options}
    name = ModelConfig(parsed.model, parsed.checkpoint, options=options).name
    model = load_model(name, checkpoint=parsed.checkpoint, **place)
    control = _random_weights(name, place) if parsed.random_weights else None
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
    page = save(benchmark, folder, force=True)  # refused above already
    show(benchmark, console())
    say(page.resolve())


def _interactions(parsed: argparse.Namespace, options: dict[str, Any], folder: Path) -> None:
    from m2ib.benchmark.files import save_interactions
    from m2ib.benchmark.interactions import WAYS, run_interactions
    from m2ib.benchmark.report import show_interactions
    from m2ib.loading import load_model
    from m2ib.registry.pair_plan import pair_plan_of

    ways = parsed.methods or WAYS
    for way in ways:
        pair_plan_of(way)  # before a model is loaded
    place = {"device": parsed.device, "dtype": parsed.dtype, **options}
    name = ModelConfig(parsed.model, parsed.checkpoint, options=options).name
    found = run_interactions(
        load_model(name, checkpoint=parsed.checkpoint, **place),
        scenes=parsed.scenes,
        seeds=parsed.seeds,
        ways=ways,
        modalities=parsed.modalities,
        split=parsed.split,
        random_weights=_random_weights(name, place) if parsed.random_weights else None,
    )
    show_interactions(found, console())
    say(save_interactions(found, folder, force=True).resolve())  # refused above already


def _random_weights(name: str, place: dict[str, Any]) -> Any:
    """The model without its training. Raises :class:`SettingError` where the adapter has no such thing."""
    from m2ib.errors import M2IBError, SettingError
    from m2ib.loading import load_model

    try:
        return load_model(name, checkpoint="random", **place)
    except M2IBError as error:
        raise SettingError(
            f'benchmark: --random-weights needs an adapter that takes checkpoint="random", and {name!r} refuses it: {error}'
        ) from error
