"""Explanations logged by the real libraries, offline, and read back."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import m2ib
from m2ib.export import log_mlflow, log_tensorboard, log_wandb


@pytest.fixture(scope="module")
def explanation(table: m2ib.results.ResultTable) -> m2ib.Explanation:
    return table["array"]


def words(explanation: m2ib.Explanation) -> list[list[Any]]:
    return [["text", word, pytest.approx(value)] for word, value in explanation["text"].words]


def test_weights_and_biases(
    explanation: m2ib.Explanation,
    table: m2ib.results.ResultTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wandb = pytest.importorskip("wandb")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    run = wandb.init(project="test", mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True))
    log_wandb(explanation, run)
    log_wandb(table, run, name="all")
    kept, files = dict(run.summary), Path(run.dir)
    run.finish()
    assert kept["m2ib/similarity"] == explanation.similarity
    assert (kept["all/explained"], kept["all/errors"]) == (6, 2)
    picture = np.asarray(Image.open(files / kept["m2ib/maps"]["path"]))
    assert picture.ndim == 3
    assert picture.std() > 10
    shown = json.loads((files / kept["m2ib/words"]["path"]).read_text())
    assert (shown["columns"], shown["data"]) == (["side", "word", "value"], words(explanation))
    rows = json.loads((files / kept["all/rows"]["path"]).read_text())
    assert [row[0] for row in rows["data"]] == [row["id"] for row in table]
    with pytest.raises(
        m2ib.InputError, match="log_wandb: it takes an explanation or a table of results, not a dict"
    ):
        log_wandb({}, run)  # type: ignore[arg-type]


# Of mlflow's own store.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_mlflow(
    explanation: m2ib.Explanation,
    table: m2ib.results.ResultTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'store.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("test", (tmp_path / "artifacts").as_uri()))
    with pytest.raises(
        m2ib.SettingError, match=r"no run is active; give one, as in log_mlflow\(explanation, mlflow"
    ):
        log_mlflow(explanation)
    with mlflow.start_run() as run:
        log_mlflow(explanation, step=3)
    log_mlflow(table, run.info.run_id, name="all")
    client = mlflow.MlflowClient()
    (similarity,) = client.get_metric_history(run.info.run_id, "m2ib/similarity")
    assert (similarity.value, similarity.step) == (explanation.similarity, 3)
    assert client.get_run(run.info.run_id).data.metrics["all/explained"] == 6
    place = tmp_path / "artifacts" / run.info.run_id / "artifacts"
    assert np.asarray(Image.open(place / "m2ib" / "maps.png")).std() > 10
    assert "<figure" in (place / "m2ib" / "page.html").read_text()
    rows = [*csv.reader((place / "m2ib" / "words.csv").read_text().splitlines())]
    assert [[side, word, float(value)] for side, word, value in rows[1:]] == words(explanation)
    assert [row[0] for row in csv.reader((place / "all" / "rows.csv").read_text().splitlines())] == [
        "id",
        *(row["id"] for row in table),
    ]


def test_tensorboard(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        log_tensorboard(explanation, writer, 7)
        with pytest.raises(m2ib.InputError, match="log_tensorboard: it takes an explanation, not a str"):
            log_tensorboard("page", writer)  # type: ignore[arg-type]
    found = reader.EventAccumulator(str(tmp_path))
    found.Reload()
    (similarity,) = found.Scalars("m2ib/similarity")
    assert (similarity.step, similarity.value) == (7, pytest.approx(explanation.similarity))
    (image,) = found.Images("m2ib/maps")
    assert image.width > 500
    (text,) = found.Tensors("m2ib/words/text_summary")
    lines = text.tensor_proto.string_val[0].decode().splitlines()
    assert lines[2:] == [f"| text | {word} | {value:.4g} |" for word, value in explanation["text"].words]


@pytest.mark.parametrize(
    ("log", "library", "run", "example"),
    [
        (log_wandb, "wandb", None, "is no run; give one, as in log_wandb(explanation, wandb.init())"),
        (log_mlflow, "mlflow", 5, "is no run; give one, as in log_mlflow(explanation, mlflow.start_run())"),
        (
            log_tensorboard,
            "tensorboard",
            None,
            "is no writer; give one, as in log_tensorboard(explanation, SummaryWriter())",
        ),
    ],
)
def test_what_cannot_be_logged_to(
    explanation: m2ib.Explanation, log: Callable[..., None], library: str, run: Any, example: str
) -> None:
    pytest.importorskip(library)
    with pytest.raises(m2ib.SettingError, match=f"^{log.__name__}: {run} {re.escape(example)}$"):
        log(explanation, run)
    run = SimpleNamespace(log=None, info=None, add_scalar=None)
    with pytest.raises(
        m2ib.SettingError, match=f"^{log.__name__}: step 'a' is not a whole number; give one, or None$"
    ):
        log(explanation, run, step="a")
