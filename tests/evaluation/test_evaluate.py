"""The table of an evaluation is that of a loop over ``m2ib.explain``; and what happens to bad pairs and old folders."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib
from late import late_model
from m2ib.data import Pair, Pairs, Row, open_pairs
from m2ib.errors import InputError, SettingError, StorageError
from m2ib.evaluation.files import save
from m2ib.evaluation.report import remarks
from m2ib.evaluation.results import Results, read_results
from m2ib.evaluation.run import evaluate
from m2ib.evaluation.store import FILE, Store
from m2ib.evaluation.study import Study, check
from m2ib.metrics import rank_correlation
from m2ib.pipeline import explain_side
from m2ib.renderers import Box
from naive_degrading import multiplied, replaced, similarity
from scene_model import SceneModel, save_scene_model
from toy import save_clip_with_words, toy_model

CONFIDENCE = ("drop", "increase")


def toy_pairs(count: int = 5, *, bad: Sequence[int] = (), name: str = "toys", located: bool = False) -> Pairs:
    """Pictures and captions; a bad one holds no picture."""

    def pair(number: int) -> Pair:
        random = np.random.default_rng(number)
        words = " ".join(random.choice(["dog", "cat", "red", "sofa", "on", "a"], 2 + number % 3))
        picture = None if number in bad else random.random((8, 8, 3))
        boxes = (Box(2, 2, 3, 4),) if located else ()
        return Pair(str(number), (("image", picture), ("text", words)), boxes)

    def rows() -> Iterator[Row]:
        for number in range(count):
            yield Row(f"line {number}", lambda number=number: pair(number))  # type: ignore[misc]

    return Pairs(name, ("image", "text"), rows, located=located, total=lambda: count)


def picky(encoder: m2ib.Encoder) -> m2ib.Encoder:
    """Refuses what is no picture."""

    def prepare(raw: Any, *, truncate: bool = False) -> m2ib.Item:
        if raw is None:
            raise InputError("image: there is no picture")
        return encoder.prepare(raw, truncate=truncate)

    return replace(encoder, prepare=prepare)


@pytest.fixture
def toy() -> m2ib.Model:
    return toy_model(image=picky)


def study_of(*methods: str, metrics: Sequence[str] = CONFIDENCE, **more: Any) -> Study:
    return Study(methods=methods, metrics=tuple(metrics), **{"seeds": (0, 1), "batch_size": 2, **more})


def run(model: m2ib.Model, pairs: Pairs, study: Study, folder: Path) -> Results:
    return read_results(evaluate(model, pairs, study, folder, show_progress=False))


def cells(results: Results) -> dict[tuple[str, str, str], tuple[float, float, int]]:
    """(modality, method, metric) -> mean, standard error over seeds, pairs."""
    return {
        (table.modality, *key): (cell.found.mean, cell.found.standard_error, len(cell.samples))
        for table in results.tables
        for key, cell in table.cells.items()
    }


def same(one: Results, other: Results) -> None:
    """To the last bit."""
    assert repr(cells(one)) == repr(cells(other))
    for first, second in zip(one.tables, other.tables, strict=True):
        assert first.rows == second.rows
        for key, cell in first.cells.items():
            assert repr(dict(cell.samples)) == repr(dict(second.cells[key].samples))


def naive_table(
    model: m2ib.Model,
    pairs: Pairs,
    methods: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    padding: int,
) -> dict[tuple[str, str, str], tuple[float, float]]:
    """(modality, method, metric) -> mean and standard error, one explanation after the other."""
    found = {}
    for method, settings in methods.items():
        by_seed: dict[tuple[str, str], list[float]] = {}
        for seed in seeds:
            scores: dict[tuple[str, str], list[float]] = {}
            for pair in pairs:
                (one, raw), (other, text) = pair.inputs
                explanation = m2ib.explain(
                    model, *pair.inputs, method=method, seed=seed, settings=settings, show_progress=False
                )
                inputs = {one: model.item(one, raw), other: model.item(other, text)}
                for place, modality in enumerate((one, other)):
                    item, grid = inputs[modality], explanation[place].grid
                    against = (one, other)[1 - place]
                    whole = model.collate(against, [inputs[against]])
                    with torch.no_grad():
                        target = model.encoder(against).embed(whole)[0]
                    ready = model.collate(modality, [item])[0]
                    if modality == "text":
                        special = [token.special for token in item.layout.tokens]
                        after = replaced(ready, grid, special, padding)
                    else:
                        after = multiplied(modality, ready, grid)
                    before = similarity(model, modality, ready, target)
                    cosine = similarity(model, modality, after, target)
                    scores.setdefault((modality, "drop"), []).append(100 * max(0.0, before - cosine))
                    scores.setdefault((modality, "increase"), []).append(100.0 * (before < cosine))
            for key, values in scores.items():
                by_seed.setdefault(key, []).append(sum(values) / len(values))
        for (modality, metric), means in by_seed.items():
            mean = sum(means) / len(means)
            spread = math.sqrt(sum((m - mean) ** 2 for m in means) / (len(means) - 1))
            found[modality, method, metric] = mean, spread / math.sqrt(len(means))
    return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SceneModel:
    return save_scene_model(tmp_path_factory.mktemp("scenes") / "weights.safetensors")


def agrees(results: Results, naive: Mapping[tuple[str, str, str], tuple[float, float]]) -> None:
    found = cells(results)
    for key, (mean, error) in naive.items():
        assert found[key][0] == pytest.approx(mean, rel=1e-7, abs=1e-7), key
        assert found[key][1] == pytest.approx(error, rel=1e-6, abs=1e-7), key


@pytest.mark.parametrize("modality", ["image", "imu"])
def test_the_table_of_scenes_is_that_of_a_loop(scene: SceneModel, tmp_path: Path, modality: str) -> None:
    pairs = open_pairs("scenes", modality=modality, count=3)
    settings = {"m2ib": {"steps": 2, "samples": 2}, "gradcam": {"layer": {modality: 1, "text": 1}}}
    study = study_of("m2ib", "gradcam", settings=settings)
    agrees(run(scene.model, pairs, study, tmp_path), naive_table(scene.model, pairs, settings, (0, 1), 0))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> m2ib.Model:
    folder = save_clip_with_words(tmp_path_factory.mktemp("words") / "clip")
    return m2ib.load_model("clip", checkpoint=folder, device="cpu", dtype="float64")


def pictures(folder: Path, texts: Sequence[str], boxes: Sequence[Any] | None = None) -> Path:
    """A JSONL file of pictures of several sizes with captions."""
    lines = []
    for number, text in enumerate(texts):
        random = np.random.default_rng(number)
        name = f"picture{number}.png"
        shape = (40 + 7 * number, 60, 3)
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
        row = {"id": f"p{number}", "image": name, "text": text}
        lines.append(json.dumps(row | ({} if boxes is None else {"boxes": boxes[number]})))
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


TEXTS = ("a cat", "the red dog of a cup", "red cup", "a photo of the dog")


def test_the_table_of_pictures_is_that_of_a_loop(clip: m2ib.Model, tmp_path: Path) -> None:
    pairs = open_pairs(pictures(tmp_path, TEXTS))
    settings = {"m2ib": {"steps": 2, "samples": 2}, "gradcam": {}}
    padding = clip.encoder("text").degradation.padding  # type: ignore[union-attr]
    results = run(clip, pairs, study_of("m2ib", "gradcam", settings=settings), tmp_path / "out")
    agrees(results, naive_table(clip, pairs, settings, (0, 1), padding))
    assert [table.modality for table in results.tables] == ["image", "text"]
    assert results.tables[0].rows == (
        ("m2ib", False),
        ("m2ib (shuffled)", True),
        ("gradcam", False),
        ("gradcam (shuffled)", True),
        ("uniform", True),
        ("random", True),
    )
    assert (results.pairs, results.notes) == (4, [])
    assert set(results.tables[1].cells["m2ib", "drop"].samples) == {"p0", "p1", "p2", "p3"}


def test_a_bad_picture_is_listed_and_the_others_count(clip: m2ib.Model, tmp_path: Path) -> None:
    path = pictures(tmp_path, TEXTS)
    good = run(clip, open_pairs(path), study_of("gradcam"), tmp_path / "good")
    (tmp_path / "picture1.png").write_bytes(b"no picture at all")
    found = run(clip, open_pairs(path), study_of("gradcam"), tmp_path / "bad")
    ((place, reason),) = found.notes
    assert place == "p1"
    assert "picture1.png" in reason
    for table, whole in zip(found.tables, good.tables, strict=True):
        for key, cell in table.cells.items():
            wanted = {pair: v for pair, v in whole.cells[key].samples.items() if pair != "p1"}
            assert dict(cell.samples) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_a_line_that_is_no_pair_is_listed(clip: m2ib.Model, tmp_path: Path) -> None:
    path = pictures(tmp_path, TEXTS[:2])
    path.write_text(
        path.read_text() + "{oh dear\n" + '{"id": "p9", "image": "nowhere.png", "text": "a cat"}\n'
    )
    found = run(clip, open_pairs(path), study_of("uniform"), tmp_path / "out")
    assert [place for place, _ in found.notes] == ["line 3", "line 4"]
    assert found.pairs == 2


def test_without_a_usable_pair_there_is_one_clear_error(toy: m2ib.Model, tmp_path: Path) -> None:
    for _ in range(2):  # when it goes on as well
        with pytest.raises(InputError) as caught:
            evaluate(
                toy, toy_pairs(3, bad=(0, 1, 2)), study_of("uniform"), tmp_path / "out", show_progress=False
            )
        assert str(caught.value) == "evaluate: no pair of 'toys' can be used: 0: image: there is no picture"
    with pytest.raises(InputError, match=r"^evaluate: no pair of 'none' can be used: it has none$"):
        evaluate(toy, toy_pairs(0, name="none"), study_of("uniform"), tmp_path / "none", show_progress=False)


def test_a_bad_pair_that_is_mended_comes_in(tmp_path: Path) -> None:
    """Of every method: every mean of one evaluation is over the same pairs."""
    first = run(toy_model(image=picky), toy_pairs(4, bad=(1,)), study_of("gradcam", "random"), tmp_path)
    study = study_of(
        "gradcam", "random", "uniform", seeds=(0, 1, 2), metrics=(*CONFIDENCE, "rank-correlation")
    )
    with pytest.raises(StorageError, match="study metrics"):
        run(toy_model(image=picky), toy_pairs(4), study, tmp_path)
    again = run(toy_model(image=picky), toy_pairs(4, bad=(1,)), study_of("gradcam", "uniform"), tmp_path)
    with pytest.warns(
        m2ib.M2IBWarning, match="^evaluate: the pair '1' has changed since; what has changed is"
    ):
        later = run(toy_model(image=picky), toy_pairs(4), replace(study, metrics=CONFIDENCE), tmp_path)
    for found, pairs in ((first, "023"), (again, "023"), (later, "0123")):
        assert found.pairs == len(pairs)
        assert not {note[0] for note in found.notes} & {*pairs}
        for table in found.tables:
            for cell in table.cells.values():
                assert set(cell.samples) == {*pairs}


def test_pairs_of_several_shapes_share_a_chunk(toy: m2ib.Model, tmp_path: Path) -> None:
    study = study_of("saliency", "rise", settings={"masks": 20})
    for size in (6, 1):
        run(toy, toy_pairs(6), replace(study, batch_size=size), tmp_path / str(size))
    with Store(tmp_path / "6") as together, Store(tmp_path / "1") as alone:
        for side, name, seed in itertools.product((0, 1), study.methods, (0, 1)):
            grids = alone.grids(side, name, seed)
            for pair, grid in together.grids(side, name, seed).items():
                np.testing.assert_allclose(grid, grids.pop(pair), rtol=1e-4, atol=1e-6)
            assert not grids


def test_against_another_pairs_partner(toy: m2ib.Model, tmp_path: Path) -> None:
    """The figure is one of those that a loop over all other partners gives, whatever the batches, and 1 is of the input alone."""
    study = study_of("saliency", "random", seeds=(0,), metrics=("mismatched",), controls=False)
    found = run(toy, toy_pairs(6, bad=[4]), study, tmp_path / "2")
    pairs = [pair for pair in toy_pairs(6, bad=[4]) if pair.id != "4"]
    for place, table in enumerate(found.tables):
        samples = table.cells["saliency", "mismatched"].samples
        assert set(samples) == {pair.id for pair in pairs}
        for pair in pairs:
            maps = {}
            for other in pairs:
                sides = [*pair.inputs]
                sides[1 - place] = other.inputs[1 - place]
                maps[other.id] = m2ib.explain(toy, *sides, method="saliency")[place].grid
            own = maps.pop(pair.id)
            possible = [rank_correlation(own, each) for each in maps.values()]
            assert min(abs(samples[pair.id] - each) for each in possible) < 1e-6
        assert ("random", "mismatched") not in table.cells
    again = run(toy, toy_pairs(6, bad=[4]), replace(study, batch_size=5), tmp_path / "5")
    for one, other in zip(found.tables, again.tables, strict=True):
        mine, theirs = (each.cells["saliency", "mismatched"].samples for each in (one, other))
        assert {pair: round(value, 6) for pair, value in mine.items()} == {
            pair: round(value, 6) for pair, value in theirs.items()
        }
    alone = run(
        toy, toy_pairs(1), study_of("saliency", seeds=(0,), metrics=("drop", "mismatched")), tmp_path / "1"
    )
    assert ("saliency", "mismatched") not in alone.tables[0].cells  # there is no other


def told_apart(own: Mapping[str, float], anothers: Mapping[str, float]) -> dict[str, float]:
    """Each pair against all mismatched ones, one by one."""
    return {
        pair: sum((z > other) + (z == other) / 2 for other in anothers.values()) / len(anothers)
        for pair, z in own.items()
    }


def test_matched_pairs_against_mismatched_ones(tmp_path: Path) -> None:
    """z-scores are those of explanations with a null, whatever the batches; the AUC is over all pairs of a matched and a mismatched one."""
    random = np.random.default_rng(9)
    usual = {
        "image": [random.random((8, 8, 3)) for _ in range(6)],
        "text": ["a red sofa", "two cats", "on", "a dog on a dog", "sofa sofa"],
    }
    toy = toy_model(
        image=lambda encoder: replace(picky(encoder), reference=lambda: usual["image"]),
        text=lambda encoder: replace(encoder, reference=lambda: usual["text"]),
    )
    study = study_of("uniform", metrics=("matched-auc",), null=4, controls=False)
    found = run(toy, toy_pairs(6, bad=[4]), study, tmp_path / "2")
    pairs = [pair for pair in toy_pairs(6, bad=[4]) if pair.id != "4"]
    for place, table in enumerate(found.tables):
        assert table.metrics == ("specificity", "mismatched-specificity", "matched-auc", "mass")
        own, anothers, auc = (table.cells["uniform", name] for name in table.metrics[:3])
        for pair in pairs:
            z = {}
            for other in pairs:
                sides = [*pair.inputs]
                sides[1 - place] = other.inputs[1 - place]
                null = m2ib.explain(toy, *sides, method="uniform", null=4)[place].null
                assert null
                z[other.id] = null.score
            assert own.samples[pair.id] == pytest.approx(z.pop(pair.id), abs=1e-4)
            assert min(abs(anothers.samples[pair.id] - each) for each in z.values()) < 1e-4
        assert auc.samples == pytest.approx(told_apart(own.samples, anothers.samples))
        assert 0 < auc.found.mean < 1
        assert auc.found.mean == pytest.approx(np.mean([*auc.samples.values()]))
    again = run(toy, toy_pairs(6, bad=[4]), replace(study, batch_size=5), tmp_path / "5")
    for one, other in zip(found.tables, again.tables, strict=True):
        for metric in one.metrics[:2]:
            mine, theirs = (each.cells["uniform", metric].samples for each in (one, other))
            assert mine == pytest.approx(theirs, abs=1e-4)


def late_pairs(count: int) -> Pairs:
    """Sets of vectors, of one to four words."""
    texts = ("small", "bird sits", "small bird sits", "sits", "bird sits bird small")[:count]
    pictures = np.random.default_rng(1).random((count, 1, 16, 16))
    pairs = [
        Pair(str(number), (("image", torch.tensor(picture)), ("text", text)))
        for number, (picture, text) in enumerate(zip(pictures, texts, strict=True))
    ]
    rows = [Row(f"line {pair.id}", lambda pair=pair: pair) for pair in pairs]  # type: ignore[misc]
    return Pairs("late", ("image", "text"), lambda: iter(rows))


@pytest.mark.parametrize(("model", "some"), [(toy_model, toy_pairs), (late_model, late_pairs)])
def test_without_reference_inputs_other_pairs_partners_are_the_null(
    model: Callable[[], m2ib.Model], some: Callable[[int], Pairs], tmp_path: Path
) -> None:
    toy, pairs = model(), [*some(5)]
    study = study_of("uniform", seeds=(0,), metrics=("matched-auc",), sides=("image",), controls=False)
    (table,) = run(toy, some(5), study, tmp_path / "5").tables
    captions = {pair.id: pair.inputs[1][1] for pair in pairs}
    for pair in pairs:
        possible = []
        for another in captions.keys() - {pair.id}:  # the null has neither partner
            others = [other for other in pairs if other.id not in (pair.id, another)]
            reference = {side: [dict(other.inputs)[side] for other in others] for side in ("image", "text")}
            null = [
                m2ib.explain(
                    toy, pair.inputs[0], ("text", text), method="uniform", null=3, reference=reference
                )
                for text in (captions[pair.id], captions[another])
            ]
            possible.append([each["image"].null.score for each in null if each["image"].null])
        cells = [table.cells["uniform", metric] for metric in ("specificity", "mismatched-specificity")]
        scores = [cell.samples[pair.id] for cell in cells]
        assert min(np.abs(np.subtract(scores, each)).max() for each in possible) < 1e-4
    few = run(toy, some(3), study, tmp_path / "3")
    assert few.tables[0].metrics == ("mass",)  # one other is left, which has no deviation


def test_a_pair_that_has_changed_is_told_apart_anew(tmp_path: Path) -> None:
    study = study_of("uniform", seeds=(0,), metrics=("matched-auc",), controls=False)
    run(toy_model(image=picky), toy_pairs(6, bad=(2,)), study, tmp_path / "out")
    with pytest.warns(m2ib.M2IBWarning, match="the pair '2' has changed since"):
        later = run(toy_model(image=picky), toy_pairs(6), study, tmp_path / "out")
    for table in later.tables:
        own, anothers, auc = (table.cells["uniform", name].samples for name in table.metrics[:3])
        assert set(auc) == set("012345")
        assert auc == pytest.approx(told_apart(own, anothers))


def test_one_side_alone(toy: m2ib.Model, tmp_path: Path) -> None:
    both = run(toy, toy_pairs(), study_of("gradcam"), tmp_path / "both")
    text = run(toy, toy_pairs(), study_of("gradcam", sides=("text",)), tmp_path / "text")
    assert [table.modality for table in text.tables] == ["text"]
    wanted = {key: value for key, value in cells(both).items() if key[0] == "text"}
    assert cells(text) == wanted


def test_the_first_pairs_alone(toy: m2ib.Model, tmp_path: Path) -> None:
    found = run(toy, toy_pairs(), study_of("uniform", limit=3), tmp_path)
    assert found.pairs == 3
    assert list(found.tables[0].cells["uniform", "drop"].samples) == ["0", "1", "2"]


def test_settings_by_method_and_by_modality(toy: m2ib.Model, tmp_path: Path) -> None:
    settings = {
        "masks": 8,
        "layer": {"image": 0, "text": 2},
        "rise": {"masks": {"image": 12, "text": 10}},
        "gradcam": {"layer": 1},
    }
    study = study_of("rise", "gradcam", "saliency", "kernelshap", settings=settings)
    found = run(toy, toy_pairs(2), study, tmp_path).settings
    assert (found[0, "rise"]["masks"], found[1, "rise"]["masks"]) == (12, 10)
    assert (found[0, "kernelshap"]["masks"], found[1, "kernelshap"]["masks"]) == (8, 8)
    assert (found[0, "gradcam"]["layer"], found[1, "gradcam"]["layer"]) == (1, 1)
    assert (found[0, "saliency"]["layer"], found[1, "saliency"]["layer"]) == (0, 2)
    wrong = study_of("gradcam", settings={"layer": {"imag": 1}})
    with pytest.raises(SettingError, match="layer: 'imag' is not a modality of this explanation"):
        run(toy, toy_pairs(2), wrong, tmp_path / "wrong")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int, int]]:
    """(method, modality, seed, inputs) of each call that makes maps."""
    calls: list[tuple[str, str, int, int]] = []

    def counting(
        model: Any, modality: Any, items: Any, inputs: Any, targets: Any, plan: Any, other: str
    ) -> Any:
        calls.append((plan.name, modality, plan.given["seed"], len(items)))
        return explain_side(model, modality, items, inputs, targets, plan, other)

    monkeypatch.setattr("m2ib.evaluation.chunks.explain_side", counting)
    return calls


def test_what_draws_nothing_is_run_for_one_seed(
    toy: m2ib.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch)
    found = run(toy, toy_pairs(4), study_of("gradcam", "random", seeds=(3, 1, 2), controls=False), tmp_path)
    assert {seed for name, _, seed, _ in calls if name == "gradcam"} == {3}
    assert {seed for name, _, seed, _ in calls if name == "random"} == {1, 2, 3}
    table = found.tables[1]
    assert table.cells["gradcam", "drop"].found.standard_error == 0
    assert table.cells["gradcam", "drop"].found.count == 3
    assert table.cells["random", "drop"].found.standard_error > 0
    assert [name for name, _ in table.rows] == ["gradcam", "random"]  # no control without being asked for


def test_another_batch_size_goes_on_where_it_was(
    toy: m2ib.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut off in a chunk of four, gone on with one map at a time, then three: no map twice, and those of an evaluation in one go."""
    study = study_of("saliency", "random", settings={"layer": 2}, batch_size=4, controls=False)
    whole = run(toy, toy_pairs(11, bad=[1]), study, tmp_path / "whole")
    calls, set_done = counted(monkeypatch), Store.set_done
    done: list[str] = []

    def cut_off(self: Store, unit: str) -> None:
        done.append(unit)
        if len(done) in (11, 13):
            raise KeyboardInterrupt
        set_done(self, unit)

    monkeypatch.setattr(Store, "set_done", cut_off)
    at_once = []
    for size in (4, 1, 3):
        before = len(calls)
        with suppress(KeyboardInterrupt):
            evaluate(toy, toy_pairs(11, bad=[1]), replace(study, batch_size=size), tmp_path / "r")
        at_once.append(max(inputs for *_, inputs in calls[before:]))
    assert at_once == [4, 1, 3]
    assert len(done) == len(set(done)) + 2  # those that were cut off alone were made again
    assert capsys.readouterr().err.splitlines() == [
        "m2ib: evaluate: going on: 32 of 80 maps were there already",
        "m2ib: evaluate: going on: 36 of 80 maps were there already",
    ]
    found = read_results(tmp_path / "r")
    for key, (mean, error, pairs) in cells(whole).items():
        np.testing.assert_allclose(cells(found)[key], (mean, error, pairs), rtol=1e-5, atol=1e-7)
    assert (found.pairs, found.batch_sizes, whole.batch_sizes) == (10, (4, 1, 3), (4,))
    assert found.asked["study"]["batch_size"] == 3
    (remark,) = (each for each in remarks(found) if "at a time" in each)
    assert remark == (
        "maps were made 4 and 1 and 3 at a time, on which the time of a map depends: times are comparable where an evaluation has "
        "one batch size"
    )
    assert not any("at a time" in each for each in remarks(whole))


def test_more_seeds_and_methods_keep_what_is_there(
    toy: m2ib.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = (*CONFIDENCE, "deletion", "insertion", "rank-correlation")
    more = {"metrics": metrics, "settings": {"rise": {"masks": 16}}}
    run(toy, toy_pairs(), study_of("rise", "saliency", **more), tmp_path / "out")
    calls = counted(monkeypatch)
    whole = study_of("rise", "saliency", "gradcam", seeds=(0, 1, 2), **more)
    grown = run(toy, toy_pairs(), whole, tmp_path / "out")
    assert {(name, seed) for name, _, seed, _ in calls} == {
        ("rise", 2),
        ("gradcam", 0),
        ("random", 2),  # a control, without being asked for
    }
    same(grown, run(toy, toy_pairs(), whole, tmp_path / "at once"))
    calls.clear()
    fewer = run(toy, toy_pairs(), study_of("rise", **more), tmp_path / "out")
    assert calls == []
    same(fewer, run(toy, toy_pairs(), study_of("rise", **more), tmp_path / "fewer"))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"metrics": ("drop",)}, "study metrics"),
        (
            {"settings": {"layer": 0}, "curve_steps": 7},
            "study curve_steps (20, now 7), study settings layer (None, now 0)",
        ),
        ({"sides": ("text",)}, "study sides"),
        ({"limit": 3}, "study limit (None, now 3)"),
    ],
)
def test_a_folder_of_another_study_is_refused(
    toy: m2ib.Model, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    study = study_of("gradcam")
    run(toy, toy_pairs(), study, tmp_path)
    with pytest.raises(StorageError) as caught:
        run(toy, toy_pairs(), replace(study, **change), tmp_path)
    assert str(caught.value) == (
        f"the folder holds an evaluation with another {what}: use another folder, or begin anew with --force"
    )


def test_a_folder_of_another_model_or_of_other_pairs_is_refused(toy: m2ib.Model, tmp_path: Path) -> None:
    study = study_of("gradcam")
    before = run(toy, toy_pairs(), study, tmp_path)
    with pytest.raises(StorageError, match="with another model checkpoint: use another folder"):
        run(replace(toy, origin={"adapter": "toy", "checkpoint": "b"}), toy_pairs(), study, tmp_path)
    with pytest.raises(StorageError, match="with another data name: use"):
        run(toy, toy_pairs(name="others"), study, tmp_path)
    begin = "the folder holds an evaluation of other pairs "
    for others, which in (
        (toy_pairs(7), "(more or fewer of them)"),
        (toy_pairs(4), "(more or fewer of them)"),
    ):
        with pytest.raises(StorageError) as caught:
            run(toy, others, study, tmp_path)
        assert str(caught.value).startswith(begin + which)

    def other_names() -> Iterator[Row]:
        for row in toy_pairs()._rows():
            pair = row.read()
            yield Row(row.place, lambda pair=pair: replace(pair, id=pair.id.replace("3", "zebra")))  # type: ignore[misc]

    with pytest.raises(
        StorageError, match=r"of other pairs \(another 'zebra'\): use another folder, or begin anew"
    ):
        run(toy, Pairs("toys", ("image", "text"), other_names), study, tmp_path)
    same(before, run(toy, toy_pairs(), study, tmp_path))


def test_two_texts(tmp_path: Path) -> None:
    def rows() -> Iterator[Row]:
        for number, (one, other) in enumerate([("a dog", "one cat on a sofa"), ("two dogs", "a red cat")]):
            yield Row(
                f"line {number}",
                lambda n=number, a=one, b=other: Pair(str(n), (("text", a), ("text", b))),  # type: ignore[misc]
            )

    pairs = Pairs("texts", ("text", "text"), rows)
    found = run(toy_model(), pairs, study_of("saliency", sides=("text",)), tmp_path)
    assert [(table.side, table.modality) for table in found.tables] == [(0, "text"), (1, "text")]
    assert len(found.tables[0].cells["saliency", "drop"].samples) == 2


def test_the_model_is_left_as_it_was(toy: m2ib.Model, tmp_path: Path) -> None:
    toy.module.requires_grad_(True)
    toy.module.train()
    before = {name: value.clone() for name, value in toy.module.state_dict().items()}
    run(toy, toy_pairs(2), study_of("m2ib", "saliency", settings={"steps": 1}), tmp_path)
    assert toy.module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in toy.module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in toy.module.state_dict().items())


def test_a_run_that_was_cut_off_is_read_as_far_as_it_came(
    toy: m2ib.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of("saliency", "random")
    whole = run(toy, toy_pairs(), study, tmp_path / "whole")
    set_done: Callable[..., None] = Store.set_done
    done: list[str] = []

    def cut(self: Store, unit: str) -> None:
        set_done(self, unit)
        done.append(unit)
        if len(done) % 4 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "set_done", cut)
    for _ in range(40):
        try:
            evaluate(toy, toy_pairs(), study, tmp_path / "cut", show_progress=False)
            break
        except KeyboardInterrupt:
            part = read_results(tmp_path / "cut")
            assert all(
                set(cell.samples.items()) <= set(whole.tables[table.side].cells[key].samples.items())
                or len(cell.found.by_seed) < 2
                for table in part.tables
                for key, cell in table.cells.items()
                if key[0] == "saliency"
            )
    assert len(done) > 12
    same(whole, read_results(tmp_path / "cut"))
    assert (tmp_path / "cut" / FILE).is_file()


# Variants of a method, and the control that knows where the evidence is


def test_a_variant_is_the_method_with_settings_of_its_own(tmp_path: Path) -> None:
    model, metrics = toy_model(), ("drop", "total", "peak", "cosine", "seconds")
    settings: dict[str, Any] = {"longer": {"method": "m2ib", "steps": 4}, "m2ib": {"steps": 2}, "samples": 2}
    both = study_of("m2ib", "longer", metrics=metrics, settings=settings, controls=False)
    found = run(model, toy_pairs(3), both, tmp_path / "both")
    assert [name for name, _ in found.tables[0].rows] == ["m2ib", "longer"]
    assert found.settings[0, "longer"]["steps"] == 4
    for name, steps in (("m2ib", 2), ("longer", 4)):
        alone = study_of("m2ib", metrics=metrics, settings={"steps": steps, "samples": 2}, controls=False)
        wanted = cells(run(model, toy_pairs(3), alone, tmp_path / name))
        for (modality, _, metric), value in wanted.items():
            if metric != "seconds":
                assert cells(found)[modality, name, metric] == value


def test_the_oracle_is_the_mask_on_the_cells_where_it_is_known(tmp_path: Path) -> None:
    metrics = ("iou", "pointing", "auc", "mass-over-area", "wrong", "top-deletion", "mask-deletion")
    study = study_of("oracle", "uniform", metrics=metrics, seeds=(0,), controls=False)
    found = run(toy_model(), toy_pairs(3, located=True), study, tmp_path)
    (image, text) = found.tables
    assert image.rows == (("oracle", True), ("uniform", True))
    assert [name for name, _ in text.rows] == ["uniform"]
    by = {key: cell.found.mean for key, cell in image.cells.items()}
    assert by["oracle", "pointing"] == 1
    assert by["oracle", "auc"] > 0.9
    assert by["oracle", "mass-over-area"] > by["uniform", "mass-over-area"] == pytest.approx(1)
    assert by["oracle", "mask-deletion"] == by["uniform", "mask-deletion"]
    assert ("oracle", "wrong") not in by  # no other objects are known


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        (
            ("oracle",),
            {},
            "evaluate: the method 'oracle' is the true mask, and the data 'toys' has no boxes or regions; leave it out, "
            "or give pairs with boxes",
        ),
        (
            ("rise",),
            {"rise": {"method": "m2ib"}},
            "evaluate: there is a method 'rise'; call the variant of it something else",
        ),
        (
            ("sharp",),
            {"sharp": {"method": "m2ib", "preset": "sharp", "mask": 3}},
            "evaluate: the method 'sharp' has no setting 'mask'. It has layer",
        ),
    ],
)
def test_what_cannot_be_is_refused(methods: tuple[str, ...], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        check(Study(methods, ("drop",), settings=settings), toy_pairs())
    assert str(caught.value).startswith(message)


def test_all_methods_are_the_registered_ones_and_the_variants() -> None:
    found = check(Study(("all",), ("drop",), settings={"sharp": {"method": "m2ib"}}), toy_pairs())
    assert list(found.methods)[-1] == "sharp"
    assert "oracle" not in found.methods


def test_names_that_are_not_utf8_come_to_the_end(tmp_path: Path, toy: m2ib.Model) -> None:
    """As os.fsdecode gives those of old file systems."""

    def rows() -> Iterator[Row]:
        for row in toy_pairs(3, bad=(1,))._rows():
            pair = row.read()
            yield Row(row.place, lambda pair=pair: replace(pair, id=f"caf\udce9 {pair.id}"))  # type: ignore[misc]

    pairs = Pairs("d\udce9s", ("image", "text"), rows)
    for _ in range(2):
        results = run(toy, pairs, study_of("gradcam", seeds=(0,)), tmp_path)
        page = save(results).read_text(encoding="utf-8")
        assert r"caf\udce9 1,image: there is no picture" in (tmp_path / "bad-rows.csv").read_text(
            encoding="utf-8"
        )
        assert r"caf\udce9 2" in page
        assert set(results.tables[0].cells["gradcam", "drop"].samples) == {r"caf\udce9 0", r"caf\udce9 2"}
