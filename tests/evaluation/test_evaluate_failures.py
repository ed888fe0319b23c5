"""One map, method or pair that fails is a row of an evaluation, and is tried again when it goes on."""

from __future__ import annotations

import csv
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
import m2ib.registry.discovery
from installed import Plugins
from m2ib.data import Pair, Pairs, Row
from m2ib.evaluation.files import save
from m2ib.evaluation.report import remarks
from m2ib.evaluation.results import Results, read_results
from m2ib.evaluation.run import evaluate
from m2ib.evaluation.store import Score, Store
from m2ib.evaluation.study import Study
from m2ib.registry.discovery import Registry
from toy import prepare_image, toy_model

STUDY = Study(
    ("saliency", "gradcam"), ("drop",), seeds=(0, 1), batch_size=3, controls=False, sides=("image",)
)
METHODS = """
import sys

import m2ib
from m2ib.methods import Method, PreparedBatch


def prepare(batch, settings):
    {body}


@m2ib.hookimpl
def m2ib_register_methods(register):
    register(m2ib.MethodSpec("odd", "a test's own", load=lambda: Method(prepare)))
"""


def pairs(black: int | None = 1) -> Pairs:
    """Three pictures with words; one of them is black."""

    def rows() -> Iterator[Row]:
        for number in range(3):
            pixels = np.random.default_rng(number).random((8, 8, 3)) * (number != black)
            yield Row(
                f"line {number}", lambda n=number, p=pixels: Pair(str(n), (("image", p), ("text", "a dog")))
            )  # type: ignore[misc]

    return Pairs("toys", ("image", "text"), rows)


def with_a_root(encoder: m2ib.Encoder) -> m2ib.Encoder:
    """The gradient of its square root is infinite over a black picture: 0 times it is none."""
    own = encoder.embed

    def embed(pixels: Tensor) -> Tensor:
        return own(pixels) + 0 * pixels.sum((1, 2, 3)).sqrt()[:, None]

    return replace(encoder, embed=embed, tail=None)


def over_black(act: Callable[[], object]) -> Callable[[m2ib.Encoder], m2ib.Encoder]:
    """An encoder whose pass over a black picture does something else."""

    def change(encoder: m2ib.Encoder) -> m2ib.Encoder:
        own = encoder.embed

        def embed(pixels: Tensor) -> Tensor:
            if (pixels == 0).flatten(1).all(1).any():
                act()
            return own(pixels)

        return replace(encoder, embed=embed, tail=None)

    return change


def run(model: m2ib.Model, folder: Path, study: Study = STUDY, black: int | None = 1) -> Results:
    return read_results(evaluate(model, pairs(black), study, folder, show_progress=False))


def scored(results: Results, method: str) -> set[str]:
    cell = results.tables[0].cells.get((method, "drop"))
    return set() if cell is None else set(cell.samples)


def test_a_map_that_cannot_be_made_is_a_row(tmp_path: Path) -> None:
    results = run(toy_model(image=with_a_root), tmp_path)
    assert scored(results, "saliency") == {"0", "2"}
    assert scored(results, "gradcam") == {"0", "1", "2"}
    assert set(results.failures) == {(0, "saliency", 0, "1")}  # it draws nothing: one seed is all
    reason = results.failures[0, "saliency", 0, "1"][0]
    assert "saliency" in reason
    assert "NaN" in reason
    save(results)
    with (tmp_path / "bad-rows.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert ["saliency of image, seed 0, pair 1", reason] in rows
    assert f"saliency of image: 1 map could not be made, as {reason!r}; all are in bad-rows.csv" in remarks(
        results
    )
    alone = run(toy_model(image=with_a_root), tmp_path / "gradcam", replace(STUDY, methods=("gradcam",)))
    assert (
        results.tables[0].cells["gradcam", "drop"].samples == alone.tables[0].cells["gradcam", "drop"].samples
    )


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    run(toy_model(image=with_a_root), tmp_path)
    results = run(toy_model(), tmp_path)
    whole = run(toy_model(), tmp_path / "whole")
    assert not results.failures
    assert scored(results, "saliency") == {"0", "1", "2"}
    for method in STUDY.methods:
        assert (
            results.tables[0].cells[method, "drop"].samples == whole.tables[0].cells[method, "drop"].samples
        )


def broken() -> None:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (broken, "the model failed: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (sys.exit, "the model failed: SystemExit"),
    ],
    ids=["error", "exit"],
)
def test_a_pair_over_which_the_model_fails_is_a_row(
    tmp_path: Path, act: Callable[[], object], reason: str
) -> None:
    for _ in range(2):
        results = run(toy_model(image=over_black(act)), tmp_path)
        assert results.notes == [("1", reason)]
        for method in STUDY.methods:
            assert scored(results, method) == {"0", "2"}


def test_an_embedding_that_is_none_is_a_row(tmp_path: Path) -> None:
    def nan(encoder: m2ib.Encoder) -> m2ib.Encoder:
        own = encoder.embed
        return replace(encoder, embed=lambda x: own(x) / x.abs().sum((1, 2, 3)).sign()[:, None], tail=None)

    results = run(toy_model(image=nan), tmp_path)
    ((pair, reason),) = results.notes
    assert pair == "1"
    assert "NaN" in reason or "infinite" in reason
    assert scored(results, "gradcam") == {"0", "2"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(0)", "method 'odd' of 'odd-plugin' failed: SystemExit: 0"),
        ("raise KeyboardInterrupt", "method 'odd' of 'odd-plugin' failed: KeyboardInterrupt"),
        ("raise RuntimeError('x' * 100_000)", "method 'odd' of 'odd-plugin' failed: RuntimeError: xxx"),
        ("return None", "method 'odd' of 'odd-plugin': prepare returned NoneType, not"),
    ],
)
def test_a_method_that_fails_leaves_the_others_their_figures(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, reason: str
) -> None:
    plugins.add("odd-plugin", METHODS.format(body=body))
    monkeypatch.setattr(m2ib.registry.discovery, "_default", Registry.discover())
    results = run(toy_model(), tmp_path / "out", replace(STUDY, methods=("odd", "gradcam")), black=None)
    assert scored(results, "gradcam") == {"0", "1", "2"}
    assert scored(results, "odd") == set()
    assert len(results.failures) == 3
    for (_, method, _, _), said in results.failures.items():
        assert method == "odd"
        assert said[0].startswith(reason)
        assert len(said[0]) < 400


def test_where_nothing_can_be_made_it_is_said_why(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugins.add("odd-plugin", METHODS.format(body="sys.exit(0)"))
    monkeypatch.setattr(m2ib.registry.discovery, "_default", Registry.discover())
    with pytest.raises(m2ib.InputError) as caught:
        run(toy_model(), tmp_path / "out", replace(STUDY, methods=("odd",)), black=None)
    assert str(caught.value) == (
        "evaluate: no pair of 'toys' can be used: odd: method 'odd' of 'odd-plugin' failed: SystemExit: 0"
    )


def test_warnings_that_are_errors_end_it(tmp_path: Path) -> None:
    """They are the caller's wish."""

    def warned(encoder: m2ib.Encoder) -> m2ib.Encoder:
        own = encoder.embed

        def embed(x: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                m2ib.warn("toy: look here")
            return own(x)

        return replace(encoder, embed=embed, tail=None)

    with pytest.raises(m2ib.M2IBWarning, match="toy: look here"):
        run(toy_model(image=warned), tmp_path)


def test_a_model_that_fails_over_what_a_metric_makes_is_a_row(tmp_path: Path) -> None:
    """Blank pictures are what deletion ends with."""

    def refuse() -> None:
        raise ValueError("a blank picture")

    study = replace(STUDY, metrics=("drop", "deletion"), methods=("gradcam",))
    results = run(toy_model(image=over_black(refuse)), tmp_path / "out", study, black=None)
    assert {key[3] for key in results.failures} == {"0", "1", "2"}
    (reason,) = {said for each in results.failures.values() for said in each}
    assert reason == (
        "deletion: the model, over what a metric makes of an input, failed: ValueError: a blank picture"
    )
    whole = run(toy_model(), tmp_path / "whole", study, black=None)
    found, wanted = (each.tables[0].cells["gradcam", "drop"].samples for each in (results, whole))
    assert found == wanted


def test_a_pair_over_which_the_model_failed_is_tried_again(tmp_path: Path) -> None:
    def starved() -> None:
        raise MemoryError

    first = run(toy_model(image=over_black(starved)), tmp_path)
    assert first.notes == [("1", "the model failed: MemoryError")]
    later = run(toy_model(), tmp_path)
    assert not later.notes
    for method in (*STUDY.methods,):
        assert scored(later, method) == {"0", "1", "2"}


def test_workers_give_the_figures_of_one_process(tmp_path: Path) -> None:
    """Also where one dies over a chunk: what it had to do is noted, and done when the evaluation goes on."""
    mark, given, mine = tmp_path / "deadly", pairs(black=None), os.getpid()
    last = [pair.inputs[0][1] for pair in given][-1]

    def deadly(encoder: m2ib.Encoder) -> m2ib.Encoder:
        def prepare(raw: Any, *, truncate: bool = False) -> m2ib.Item:
            if mark.exists() and os.getpid() != mine and np.array_equal(raw, last):
                os.kill(os.getpid(), signal.SIGKILL)
            return prepare_image(raw)

        return replace(encoder, prepare=prepare)

    model = toy_model(image=deadly)
    study = Study(("m2ib", "gradcam"), ("drop",), (0, 1), {"steps": 2, "samples": 2}, batch_size=1)

    def found(name: str, workers: int) -> list[Score]:
        evaluate(model, given, study, tmp_path / name, workers=workers, show_progress=False)
        with Store(tmp_path / name) as store:
            return store.scores()

    whole = found("one", 1)
    mark.touch()
    assert found("two", 2) == [score for score in whole if score.pair != "2"]
    why = {said for texts in read_results(tmp_path / "two").failures.values() for said in texts}
    (said,) = why
    assert said.startswith("the process that worked on it was ended by signal 9, 2 times")
    mark.unlink()
    assert found("two", 2) == whole
    assert read_results(tmp_path / "two").failures == {}
