"""``m2ib evaluate --model photo --data pairs.jsonl --methods m2ib gradcam --out m2ib-evaluation``"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from m2ib.cli.options import AS_WRITTEN, ModelConfig, Reader, add_command, key_values, path_of
from m2ib.cli.output import console, say
from m2ib.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from m2ib.data import Pairs
    from m2ib.evaluation.study import Study

_EXAMPLES = """every option may also stand in a YAML file (--config) or be written as key=value:

  m2ib evaluate --model photo --data pairs.jsonl --methods m2ib gradcam rise --metrics drop increase
  m2ib evaluate --model imagebind-tiny --data scenes data.modality=audio data.count=50 --methods all
  m2ib evaluate --config examples/reproduce_table1.yaml data.captions=Validation.tsv data.images=images

An evaluation that was cut off goes on where it was when the command is given again.
"""


@dataclass
class EvaluateConfig(ModelConfig):
    """All options of ``m2ib evaluate``.

    data     a .csv, .jsonl, .parquet or .tar file; or {format: NAME, ...} with the format's options
    options  the adapter's own
    settings of the methods, by name or by method
    paper    whose figures stand beside: conceptual-captions or ms-cxr
    roar     of the fine-tuning, for the metric roar
    workers, ray
             processes of this machine, or actors of a Ray cluster, that make maps and scores
    The others are those of :class:`m2ib.evaluation.study.Study`.
    """

    data: Any = None
    limit: int | None = None
    methods: Any = "all"
    metrics: Any = "all"
    seeds: Any = field(default_factory=lambda: [0, 1, 2])
    sides: Any = None
    settings: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 8
    curve_steps: int = 20
    controls: bool = True
    sanity_pairs: int = 8
    sanity_stages: int = 6
    null: int | None = None
    roar: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    ray: str | None = None
    paper: str | None = None
    out: str = "m2ib-evaluation"
    force: bool = False


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
    help = "compare methods by metrics on many pairs"
    READER.add_options(add_command(commands, name, help, _EXAMPLES, formatter_class=AS_WRITTEN))


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Evaluate, or go on; write CSV, Markdown and a page into the folder; print the tables and the page's path."""
    config: EvaluateConfig | None = READER.config_of(parsed, key_values(rest, "evaluate"))
    if config is None:
        return

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
    check(study, pairs, config.adapter)  # what is wrong shows before the model is loaded
    folder = path_of("out", config.out)
    check_folder(folder, KIND, force=config.force, resume=True, names=(*FILES, *TABLES))
    model = config.load()
    opened = open_folder(folder, KIND, force=config.force, resume=True)
    if config.force:
        opened.discard()
    evaluate(model, pairs, study, folder, workers=config.workers, ray=config.ray)
    results = read_results(folder, paper=config.paper)
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
            f"{command}: data is a .csv, .jsonl, .parquet or .tar file, or a format with its options, as in data.format=ms-cxr; "
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
