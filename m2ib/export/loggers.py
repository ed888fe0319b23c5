"""Explanations among what a run of Weights & Biases, MLflow or TensorBoard logs."""

from __future__ import annotations

import io
from numbers import Integral
from typing import TYPE_CHECKING, Any

from PIL import Image

from m2ib.errors import InputError, SettingError
from m2ib.renderers.plotting import write
from m2ib.results.explanation import Explanation
from m2ib.results.files import csv_text

if TYPE_CHECKING:
    from m2ib.results.table import ResultTable

_ROWS = 10_000  # of a table, beyond which no page shows them
_COLUMNS = ("id", "method", "similarity", "input_1", "input_2", "error")
_WORDS = ("side", "word", "value")


def log_wandb(
    given: Explanation | ResultTable, run: Any, *, name: str = "m2ib", step: int | None = None
) -> None:
    """Log to a run of Weights & Biases, as ``log_wandb(explanation, wandb.init())``.

    Of an explanation: its figure, similarity and a table of its words. Of a table: its rows, the first 10,000, and its summary.

    name  what the keys begin with

    Raises :class:`SettingError` where wandb is missing and for what is no run, and :class:`InputError` for anything else.
    """
    try:
        import wandb
    except ImportError:
        raise SettingError("log_wandb: it needs wandb: pip install wandb") from None
    _check("log_wandb", run, hasattr(run, "log"), "run", "wandb.init()", step)
    if isinstance(given, Explanation):
        content = {"similarity": given.similarity, "maps": wandb.Image(_picture(given))}
        if words := _words_of(given):
            content["words"] = wandb.Table(columns=[*_WORDS], data=[list(each) for each in words])
    else:
        rows = [[row[column] for column in _COLUMNS] for row in _rows_of(given, "log_wandb")]
        content = {**_summary(given), "rows": wandb.Table(columns=[*_COLUMNS], data=rows)}
    run.log({f"{name}/{key}": value for key, value in content.items()}, step=step)


def log_mlflow(
    given: Explanation | ResultTable, run: Any = None, *, name: str = "m2ib", step: int | None = None
) -> None:
    """Log to a run of MLflow: metrics, and artifacts in a folder ``name``.

    Of an explanation: its figure, page, similarity and a table of its words. Of a table: its rows, the first 10,000, and its summary.

    run   as ``mlflow.start_run()`` gives it, or its id; None: the active one

    Raises :class:`SettingError` where mlflow is missing, no run is active, or it is none, and :class:`InputError` for anything else.
    """
    try:
        import mlflow
    except ImportError:
        raise SettingError("log_mlflow: it needs mlflow: pip install mlflow") from None
    run = mlflow.active_run() if run is None else run
    if run is None:
        raise SettingError(
            "log_mlflow: no run is active; give one, as in log_mlflow(explanation, mlflow.start_run())"
        )
    known = isinstance(run, str) or hasattr(run, "info")
    _check("log_mlflow", run, known, "run", "mlflow.start_run()", step)
    client, run_id = mlflow.MlflowClient(), run if isinstance(run, str) else run.info.run_id
    if isinstance(given, Explanation):
        from m2ib.page.explanation import render_page

        client.log_metric(run_id, f"{name}/similarity", given.similarity, step=step)
        client.log_figure(run_id, given.figure(), f"{name}/maps.png")
        client.log_text(run_id, render_page([given]), f"{name}/page.html")
        if words := _words_of(given):
            client.log_text(run_id, csv_text([_WORDS, *words]), f"{name}/words.csv")
        return
    rows = [[row[column] for column in _COLUMNS] for row in _rows_of(given, "log_mlflow")]
    client.log_text(run_id, csv_text([_COLUMNS, *rows]), f"{name}/rows.csv")
    for key, value in _summary(given).items():
        client.log_metric(run_id, f"{name}/{key}", value, step=step)


def log_tensorboard(
    explanation: Explanation, writer: Any, step: int | None = None, *, name: str = "m2ib"
) -> None:
    """Log an explanation to a ``torch.utils.tensorboard.SummaryWriter``: its figure, similarity and a table of its words.

    Raises :class:`SettingError` for what is no writer, and :class:`InputError` for anything else.
    """
    _check("log_tensorboard", writer, hasattr(writer, "add_scalar"), "writer", "SummaryWriter()", step)
    if not isinstance(explanation, Explanation):
        raise InputError(f"log_tensorboard: it takes an explanation, not a {type(explanation).__name__}")
    writer.add_scalar(f"{name}/similarity", explanation.similarity, step)
    writer.add_figure(f"{name}/maps", explanation.figure(), step)
    if words := _words_of(explanation):
        lines = [f"| {side} | {_cell(word)} | {value:.4g} |" for side, word, value in words]
        writer.add_text(
            f"{name}/words", "\n".join(["| side | word | value |", "|---|---|---|", *lines]), step
        )


def _check(who: str, run: Any, known: bool, kind: str, example: str, step: Any) -> None:
    """That it can be logged to. Raises :class:`SettingError`."""
    if not known:
        raise SettingError(f"{who}: {run!r:.40} is no {kind}; give one, as in {who}(explanation, {example})")
    if step is not None and not isinstance(step, Integral):
        raise SettingError(f"{who}: step {step!r:.40} is not a whole number; give one, or None")


def _picture(explanation: Explanation) -> Image.Image:
    buffer = io.BytesIO()
    write(explanation.figure(), buffer, 150)
    return Image.open(buffer)


def _words_of(explanation: Explanation) -> list[tuple[str, str, float]]:
    return [(side.modality, word, float(value)) for side in explanation for word, value in side.words]


def _rows_of(given: Any, who: str) -> Any:
    if not hasattr(given, "records"):
        raise InputError(
            f"{who}: it takes an explanation or a table of results, not a {type(given).__name__}"
        )
    return given.head(_ROWS).records(*_COLUMNS)


def _summary(table: ResultTable) -> dict[str, Any]:
    found = table.summary()
    numbers = {"explained": found.explained, "errors": found.rows - found.explained, "warned": found.warned}
    return numbers | ({} if found.similarity is None else {"median_similarity": found.similarity[2]})


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
