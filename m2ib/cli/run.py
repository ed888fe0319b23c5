"""``m2ib run --data pairs.csv --model clip --out results/``"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from m2ib.cli.config import SETTING_HELP, MapConfig
from m2ib.cli.evaluate import pairs_of
from m2ib.cli.help import DATA, KEYS, OUT, RAY, WORKERS, Group, add_command, add_quiet, option
from m2ib.cli.options import Reader, key_values, path_of
from m2ib.cli.output import say
from m2ib.cli.tables import show_summary
from m2ib.errors import InputError

_EXAMPLES = """examples:

  m2ib run --data pairs.csv --model clip --out results/
  m2ib run --data webdataset data.path='shards/{000..099}.tar' \\
      --model clip --method m2ib,gradcam --workers 2
  m2ib run --data pairs.parquet --model clip --out results/ --shard 3/16
  m2ib results results/
"""


@dataclass
class RunConfig(MapConfig):
    """All options of ``m2ib run``; what they do is told by :func:`m2ib.run`."""

    data: Any = option(None, Group.INPUTS, "DATA", DATA)
    limit: int | None = option(None, Group.INPUTS, "N", "the first so many rows of the data; left out: all")
    shard: str | None = option(
        None,
        Group.INPUTS,
        "I/N",
        "3/16: the third of sixteen runs that share the pairs, and may share the folder",
    )
    batch_size: int | None = option(
        None,
        Group.WORK,
        "N",
        "pairs worked on together; fewer where memory does not suffice; left out: 16, on a GPU 64",
    )
    workers: int = option(1, Group.WORK, "N", WORKERS)
    ray: str | None = option(None, Group.WORK, "ADDRESS", RAY)
    errors: str = option(
        "keep",
        Group.WORK,
        "WHAT",
        "keep: a pair that cannot be explained is a row with an error; raise: it ends the run",
    )
    retry_errors: bool = option(False, Group.WORK, "", "try pairs again whose row has an error")
    keep_inputs: bool = option(
        False,
        Group.OUTPUT,
        "",
        "keep what is shown of files too, so that pages need neither them nor the model",
    )
    out: str = option(
        "m2ib-results", Group.OUTPUT, "FOLDER", f"where to: {OUT}, or one of this run, which goes on"
    )
    force: bool = option(False, Group.OUTPUT, "", "begin anew over the results of another run")


READER = Reader(
    RunConfig,
    free=(*SETTING_HELP, "reference", "interactions"),
    switches=("signed", "truncate", "retry_errors", "keep_inputs", "force"),
    hidden=("options", "settings"),
    named=("data",),
)


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "explain many pairs into a folder of tables",
        "--data DATA [options] [key=value ...]",
        "Explains many pairs into a folder of tables, which `m2ib results` shows. A run that was cut off goes on where it was when "
        f"the command is given again. {KEYS}",
        _EXAMPLES,
    )
    READER.add_options(parser)
    add_quiet(parser)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Explain, or go on; print what there is. Raises :class:`InputError` where no pair could be explained."""
    config: RunConfig | None = READER.config_of(parsed, key_values(rest, "run"))
    if config is None:
        return

    from m2ib.cli.comparison import check_methods, options_of
    from m2ib.corpus.run import check_run
    from m2ib.corpus.run import run as run_pairs
    from m2ib.corpus.shards import KIND
    from m2ib.folders import check_folder

    check_run(config.workers, config.ray, config.batch_size, config.limit, config.shard, config.errors)
    pairs = pairs_of(config.data, "run")
    check_methods(config, pairs.modalities)  # what is wrong shows before the model is loaded
    folder = path_of("out", config.out)
    check_folder(folder, KIND, force=config.force, resume=True)
    model = config.load()
    before = signal.signal(signal.SIGTERM, _interrupt)  # of schedulers: what is done is kept
    try:
        table = run_pairs(
            model,
            pairs,
            folder,
            workers=config.workers,
            ray=config.ray,
            batch_size=config.batch_size,
            limit=config.limit,
            shard=config.shard,
            errors=config.errors,  # type: ignore[arg-type]
            retry_errors=config.retry_errors,
            keep_inputs=config.keep_inputs,
            force=config.force,
            **options_of(config),
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    summary = table.summary()
    if summary.rows and not summary.explained:
        kind, (_, said) = next(iter(summary.errors.items()))
        raise InputError(f"run: no pair of {summary.rows} could be explained: {kind}: {said}")
    show_summary(table)
    say(folder.resolve())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
