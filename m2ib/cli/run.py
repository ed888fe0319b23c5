"""``m2ib run --data pairs.csv --model clip --out results/``"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from m2ib.cli.config import OF_PAIRS_HELP, SEEDS_HELP, SETTING_HELP, with_settings
from m2ib.cli.evaluate import pairs_of
from m2ib.cli.options import AS_WRITTEN, ModelConfig, Reader, add_command, key_values, path_of
from m2ib.cli.output import say
from m2ib.cli.tables import show_summary
from m2ib.errors import InputError

_EXAMPLES = """every option may also stand in a YAML file (--config) or be written as key=value:

  m2ib run --data pairs.csv --model clip --out results/
  m2ib run --data webdataset data.path='shards/{000..099}.tar' --model clip --method m2ib,gradcam --workers 2
  m2ib run --data pairs.parquet --model clip --out results/ --shard 3/16

A run that was cut off goes on where it was when the command is given again; `m2ib results results/` shows what there is.
"""


@dataclass
@with_settings
class RunConfig(ModelConfig):
    """All options of ``m2ib run``. A setting that is null comes from the preset, the adapter or the method.

    data     a file of pairs; or {format: NAME, ...} with the format's options
    options  the adapter's own
    method   one, or several with commas between
    settings of methods, by name; of several methods each takes those it has
    The others are those of :func:`m2ib.run`.
    """

    data: Any = None
    limit: int | None = None
    shard: str | None = None
    method: str = "m2ib:m2ib"
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    seeds: int = 1
    null: int = 0
    signed: bool = False
    interactions: Any = None
    reference: Any = None
    truncate: bool = False
    batch_size: int | None = None
    workers: int = 1
    ray: str | None = None
    errors: str = "keep"
    retry_errors: bool = False
    keep_inputs: bool = False
    out: str = "m2ib-results"
    force: bool = False


_HELP = {
    **OF_PAIRS_HELP,
    "seeds": SEEDS_HELP,
    "limit": "the first so many rows of the data",
    "shard": "3/16: the third of sixteen runs that share the pairs",
    "workers": "processes of this machine, or actors of a Ray cluster",
    "ray": "the address of a Ray cluster, auto for the one that is here, local to begin one",
    "batch_size": "pairs worked on together; fewer where memory does not suffice",
    "errors": "keep: a row with an error; raise: it ends the run",
    "retry_errors": "try pairs again whose row has an error",
    "keep_inputs": "keep what is shown of files too, so that pages need neither them nor the model",
    "force": "begin anew over the results of another run",
}

READER = Reader(
    RunConfig,
    free=(*SETTING_HELP, "reference", "interactions"),
    switches=("signed", "truncate", "retry_errors", "keep_inputs", "force"),
    hidden=("options", "settings"),
    named=("data",),
    help={**SETTING_HELP, **_HELP},
)


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    help = "explain many pairs into a folder of tables"
    READER.add_options(add_command(commands, name, help, _EXAMPLES, formatter_class=AS_WRITTEN))


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Explain, or go on; print what there is. Raises :class:`InputError` where no pair could be explained."""
    config: RunConfig | None = READER.config_of(parsed, key_values(rest, "run"))
    if config is None:
        return

    from m2ib.cli.comparison import check_methods, options_of
    from m2ib.corpus.run import run as run_pairs
    from m2ib.corpus.shards import KIND, Part
    from m2ib.folders import check_folder

    Part.of(config.shard)
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
