"""The benchmark's arithmetic, each piece against a slow loop or a case whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
from m2ib.benchmark import GATES, METHODS, Gate
from m2ib.benchmark.health import query_auc, retrieval
from m2ib.benchmark.scores import COLUMNS, HEALTH, METRICS, MapScores, figures, means
from m2ib.contract.targets import Targets
from m2ib.data import Pair
from m2ib.data.made_up import pair_of
from m2ib.evaluation.degrading import Degraded
from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.raster import even_axes, on_cells, on_raster, on_samples, places, shares
from m2ib.evaluation.scoring import located, scores_of
from m2ib.evaluation.truth import Truth, truth_of
from m2ib.methods.rise import SmoothMasks
from m2ib.metrics import Aggregate, auc, iou, mass_over_area, mass_share, pointing, top
from m2ib.pipeline import explain_side
from m2ib.registry.plan import plan_of
from m2ib.scenes import KINDS, query, scene, scenes
from m2ib.scenes.questions import questions, single_scenes
from m2ib.scenes.splits import LOCALISE, RETRIEVE, SINGLE, SPLITS, scene_seeds
from scene_model import SceneModel, save_scene_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SceneModel:
    return save_scene_model(tmp_path_factory.mktemp("weights") / "random.safetensors")


def axis(name: str, *cuts: float) -> m2ib.Axis:
    return m2ib.Axis(name, "", tuple(pairwise(map(float, cuts))))


# Metrics


def naive_measures(v: np.ndarray, mask: np.ndarray, others: np.ndarray) -> dict[str, float]:
    best = [n for n in range(len(v)) if v[n] == max(v)]
    pairs = [(a, b) for a, inside in zip(v, mask, strict=True) if inside for b in v[~mask]]
    mass = sum(max(x, 0) for x in v)
    inside = sum(max(x, 0) for x, m in zip(v, mask, strict=True) if m)
    return {
        "pointing": sum(bool(mask[n]) for n in best) / len(best),
        "wrong": sum(bool(others[n] and not mask[n]) for n in best) / len(best),
        "mass": (inside / mass) / (sum(mask) / len(mask)),
        "auc": sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs),
    }


def truth(mask: np.ndarray, others: np.ndarray, filler: np.ndarray | None = None) -> Truth:
    """On a line of places, on which a map has a cell for each."""
    line = (axis("time", *range(len(mask) + 1)),)
    nothing = np.zeros_like(mask)
    return Truth(
        mask, others, nothing if filler is None else filler, line, line, mask, m2ib.Layout((len(mask),))
    )


def measures(values: np.ndarray, mask: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """By the benchmark's names, those of :func:`naive_measures` and the IoU."""
    found = located(values, truth(mask, others), seed=0)
    return {name: found[COLUMNS[name]] for name in ("pointing", "wrong", "mass", "auc", "iou")}


@pytest.mark.parametrize("levels", [3, 1000])
def test_metrics_are_those_of_a_loop(levels: int) -> None:
    random = np.random.default_rng(levels)
    for _ in range(20):
        v = random.integers(-1, levels, 40).astype(np.float64)
        v[0] = levels  # there is mass
        mask, others = random.random((2, 40)) < 0.3
        mask[:2] = (True, False)
        found = measures(v, mask, others)
        assert iou(top(v, int(mask.sum()), np.random.default_rng(0)), mask) == found.pop("iou")
        assert found == pytest.approx(naive_measures(v, mask, others), abs=1e-12)


def test_a_map_like_the_mask_is_perfect() -> None:
    mask = np.zeros(50, bool)
    mask[10:15] = True
    found = measures(mask.astype(float), mask, ~mask)
    assert found == {"pointing": 1, "wrong": 0, "mass": pytest.approx(10), "auc": 1, "iou": 1}
    assert mass_share(mask.astype(float), mask) == pytest.approx(1)


def test_a_map_that_is_the_opposite_of_the_mask_has_nothing() -> None:
    mask = np.arange(50) < 5
    flipped = 1.0 - mask
    found = measures(flipped, mask, ~mask)
    assert found == {"pointing": 0, "wrong": 1, "mass": 0, "auc": 0, "iou": 0}


def test_top_takes_the_highest_and_draws_among_equal_ones() -> None:
    values = np.array([5.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    random = np.random.default_rng(0)
    counts = np.mean([top(values, 2, random) for _ in range(4000)], axis=0)
    assert counts[0] == 1
    assert counts[5] == 0
    assert counts[1:5] == pytest.approx([0.25] * 4, abs=0.03)
    same = [top(values, 2, np.random.default_rng(7)).tolist() for _ in range(2)]
    assert same[0] == same[1]


def test_metrics_of_nothing() -> None:
    mask = np.array([True, False])
    assert mass_over_area(np.array([-1.0, -2.0]), mask) == 1
    assert math.isnan(auc(np.zeros(2), np.zeros(2, bool)))
    assert pointing(np.zeros(2), mask) == 0.5
    assert iou(mask, mask) == 1


def test_what_is_not_there_has_no_score_but_all_objects_have() -> None:
    values, others = np.array([1.0, 2, 1, 0]), np.array([True, False, True, False])
    assert located(values, truth(np.zeros(4, bool), others), 0) == {"objects": 0.5}
    found = located(values, truth(others, np.zeros(4, bool)), 0)
    assert math.isnan(found["wrong"])
    assert math.isnan(found["above-filler"])
    filler = np.array([False, False, False, True])
    assert located(values, truth(others, ~others, filler), 0)["above-filler"] == 1
    assert located(values, truth(filler, others, others), 0)["above-filler"] == 0


# Rasters


def naive_line(values: np.ndarray, centres: list[float], length: int) -> np.ndarray:
    """Linear between centres, constant beyond, read at .5, 1.5, ..."""
    pairs = sorted(zip(centres, values, strict=True), key=lambda pair: pair[0])
    found = []
    for point in np.arange(length) + 0.5:
        if point <= pairs[0][0]:
            found.append(pairs[0][1])
        elif point >= pairs[-1][0]:
            found.append(pairs[-1][1])
        else:
            (a, va), (b, vb) = next((p, q) for p, q in pairwise(pairs) if p[0] <= point <= q[0])
            found.append(va + (vb - va) * (point - a) / (b - a))
    return np.array(found)


def test_on_raster_is_linear_between_centres_along_every_axis() -> None:
    values = np.random.default_rng(0).random((2, 1, 3, 4))  # a clip, 3 frequencies (falling), 4 times
    frequency = m2ib.Axis("frequency", "Hz", ((200.0, 400.0), (100.0, 200.0), (50.0, 100.0)))
    axes = (axis("clip", 0, 2), frequency, axis("time", 0, 0.5, 1, 1.5, 2))
    raster = (
        axis("frequency", 50, 71, 100, 141, 200, 283, 400),
        axis("time", *np.arange(11) / 5),
    )
    found = on_raster(values, axes, raster)
    assert found.shape == (2, 6, 10)
    middle = np.stack(
        [
            np.stack(
                [naive_line(values[n, 0, :, t], [5, 3, 1], 6) for t in range(4)], 1
            )  # in places, not in hertz
            for n in range(2)
        ]
    )
    times = [1.25, 3.75, 6.25, 8.75]
    expected = np.stack([np.stack([naive_line(row, times, 10) for row in rows]) for rows in middle])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_on_raster_sums_over_axes_that_the_raster_has_not_and_refuses_missing_ones() -> None:
    values = np.random.default_rng(0).random((1, 3, 4))
    axes = (axis("frequency", 0, 1, 2, 3), axis("time", 0, 1, 2, 3, 4))
    time = axis("time", 0, 1, 2, 3, 4)
    np.testing.assert_allclose(on_raster(values, axes, (time,)), values.sum(1))
    with pytest.raises(m2ib.InputError) as error:
        on_raster(values, axes, (axis("row", 0, 1),))
    assert str(error.value) == "regions: a map over frequency, time cannot be laid over a mask's row"


def test_an_even_map_stays_exactly_even() -> None:
    for value in (0.1, 1 / 3, 7e5):
        flat = on_raster(
            np.full((1, 7, 5), value), even_axes((7, 5), scene(0).axes["image"]), scene(0).axes["image"]
        )
        assert (flat == value).all()


def test_on_cells_is_the_mean_of_the_mask_in_each_cell() -> None:
    mask = np.random.default_rng(0).random((2, 6, 10)) < 0.4
    raster = (axis("row", *range(7)), axis("column", *range(11)))
    axes = (axis("clip", 0, 1, 2), axis("row", 0, 2, 6), axis("column", 0, 5, 10, 12))
    found = on_cells(mask, raster, axes)
    assert found.shape == (2, 2, 2, 3)
    for n in range(2):
        for r, rows in enumerate((slice(0, 2), slice(2, 6))):
            for c, columns in enumerate((slice(0, 5), slice(5, 10))):
                assert found[n, :, r, c] == pytest.approx(mask[n, rows, columns].mean())
    assert (found[..., 2] == 0).all()  # beyond the raster
    half = on_cells(np.array([[True, False]]), (axis("time", 0, 1, 2),), (axis("time", 0, 0.5, 1.5, 2),))
    np.testing.assert_allclose(half, [[1, 0.5, 0]])


def test_grids_without_axes_cover_the_raster() -> None:
    raster = scene(0).axes["audio"]
    frequency, time = even_axes((4, 20), raster)
    np.testing.assert_allclose(places(frequency, raster[0])[:, 0], [0, 16, 32, 48], atol=1e-9)
    np.testing.assert_allclose(places(time, raster[1])[3], [30, 40], atol=1e-9)
    with pytest.raises(
        m2ib.InputError, match=r"a map of shape \(5,\) does not tell its axes.*Layout `axes`$"
    ):
        even_axes((5,), raster)


# Hiding


def known(tiny: SceneModel, modality: str, along: str = "") -> tuple[Pair, m2ib.Item, Truth]:
    pair = pair_of(questions("test", 0, 2)[0], modality, along=along)
    item = tiny.model.item(modality, pair.inputs[0][1])
    found = truth_of(pair, 0, item)
    assert found is not None
    return pair, item, found


def test_positions_of_the_tiny_model_are_the_raster(tiny: SceneModel) -> None:
    for modality, shape in {"image": (112, 112), "imu": (200,)}.items():
        _, _, found = known(tiny, modality)
        mask = found.positions(found.mask, shape, tiny.model.encoder(modality))
        np.testing.assert_array_equal(mask, found.mask.reshape(shape))
    _, _, over_time = known(tiny, "audio", along="time")
    whole = known(tiny, "audio")[2]
    assert over_time.mask.tolist() == whole.mask.any(0).tolist()
    hidden = over_time.positions(over_time.mask, (1, 64, 200), tiny.model.encoder("audio"))
    np.testing.assert_array_equal(hidden, np.broadcast_to(over_time.mask, (1, 64, 200)))


def test_what_can_be_shown_is_the_whole_mask_in_each_cell(tiny: SceneModel) -> None:
    whole, over_time = known(tiny, "audio")[2], known(tiny, "audio", along="time")[2]
    cells = whole.cells((1, 4, 20))
    np.testing.assert_array_equal(over_time.cells((1, 4, 20)), cells)
    assert cells[0, 2, 3] == pytest.approx(whole.mask[32:48, 30:40].mean())
    pair, item, words = known(tiny, "text")
    named = [token.text for token, share in zip(item.layout.tokens, words.cells(()), strict=True) if share]
    assert named == [pair.regions[0].name]


def test_samples_of_a_cropped_larger_picture() -> None:
    raster = (axis("row", *range(9)), axis("column", *range(9)))
    cells = (axis("row", 2, 4, 6), axis("column", 2, 4, 6))  # the middle, at twice the resolution
    mask = np.random.default_rng(0).random((8, 8)) < 0.5
    found = on_samples(mask, raster, cells, (8, 8), (4, 4))
    np.testing.assert_array_equal(found, mask[2:6, 2:6].repeat(2, 0).repeat(2, 1))
    turned = on_samples(mask, raster, cells[::-1], (8, 8), (4, 4))
    np.testing.assert_array_equal(turned, found.T)
    beyond = on_samples(np.array([True, True]), (axis("time", 0, 1, 2),), (axis("time", -1, 1),), (2,), (2,))
    assert beyond.tolist() == [False, True]


def test_hiding_what_counts_costs_the_cosine(tiny: SceneModel) -> None:
    """A model whose embedding is (weights * input, 1): its cosine with (1, 0) grows with the weighted sum."""
    weights = torch.zeros(6, 6, dtype=torch.float64)
    weights[1:3, 1:3] = 1

    def embed(x: Any) -> Tensor:
        total = (x * weights).flatten(1).sum(1)
        return torch.stack([total, torch.ones_like(total)], 1)

    encoder = replace(tiny.model.encoder("image"), embed=embed, stride=None)
    model = replace(tiny.model, encoders={"image": encoder})
    square = (axis("row", *range(7)), axis("column", *range(7)))
    mask, inputs = weights.numpy() > 0, torch.ones(1, 1, 6, 6, dtype=torch.float64)
    item = m2ib.Item(inputs[0], m2ib.Layout((3, 3)), None)
    nothing = np.zeros_like(mask)
    whole = Truth(mask, nothing, nothing, square, square, mask, item.layout)
    target = Targets.of(model, torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    degraded = Degraded(model, "image", item, inputs, target)
    lost, won = degraded.worth([mask, np.arange(36).reshape(6, 6) > 25], (3, 3), whole)
    full = 4 / math.sqrt(17)
    np.testing.assert_allclose(lost, [full, 0], atol=1e-6)
    np.testing.assert_allclose(won, [full, 0], atol=1e-6)
    metrics = ("top-deletion", "mask-insertion", "total", "peak")
    grid = np.zeros((3, 3))
    grid[2, 2] = 3
    found = scores_of(grid, metrics, degraded, whole, curve_steps=1, seed=0)
    assert found == pytest.approx(
        {"top-deletion": 0, "mask-insertion": full, "total": 3, "peak": 3}, abs=1e-6
    )


# RISE


def test_random_masks_are_coarse_cells_made_smooth() -> None:
    length, cells = 20, 4
    masks = SmoothMasks.draw(300, (length,), (cells,), 0.5, seed=3)[:].numpy()
    random = np.random.default_rng(3)
    coarse = (random.random((300, cells)) < 0.5).astype(float)
    shift = random.integers(0, 5, 300)
    for number in range(0, 300, 17):
        size = 25  # five cells of five samples for four values
        centres = [(k + 0.5) * size / cells for k in range(cells)]
        wide = naive_line(coarse[number], centres, size)
        np.testing.assert_allclose(masks[number], wide[shift[number] : shift[number] + length], atol=1e-6)
    square = SmoothMasks.draw(2000, (12, 10), (3, 2), 0.5, seed=0)[:]
    assert square.shape == (2000, 12, 10)
    assert square.min() >= 0
    assert square.max() <= 1
    np.testing.assert_allclose(square.mean(0), 0.5, atol=0.04)


# Maps of one side


@pytest.mark.parametrize("modality", ["image", "audio", "imu", "text"])
@pytest.mark.parametrize("preset", [None, "sharp"])
def test_one_side_is_that_of_explain(tiny: SceneModel, modality: str, preset: str | None) -> None:
    model = tiny.model
    seen = scenes([3, 4])
    raws = [one.inputs[modality] for one in seen]
    kind = seen[0].kinds[0]
    other = ("depth", scene(5).depth) if modality == "text" else ("text", query(kind))
    items = [model.item(modality, raw) for raw in raws]
    target = model.embed(other[0], model.preprocess(other[0], [other[1]])).double()
    options = {"preset": preset, "steps": 2, "samples": 2, "seed": 5}
    inputs = model.collate(modality, items)
    plan = plan_of("m2ib", options)
    maps = explain_side(model, modality, items, inputs, target.expand(2, -1), plan)
    for raw, found in zip(raws, maps, strict=True):
        expected = m2ib.explain(model, (modality, raw), other, **options)[0]
        np.testing.assert_allclose(found.grid, expected.grid, rtol=1e-5, atol=1e-6)  # the target was float32


# Words


def test_tokens_belong_to_the_words_they_overlap() -> None:
    words = m2ib.Axis("word", "characters", ((0.0, 3.0), (4.0, 8.0)))
    tokens = (
        m2ib.Token("<s>", 0, 0, special=True),
        m2ib.Token("red", 0, 3),
        m2ib.Token(" be", 3, 6),
        m2ib.Token("ll", 6, 8),
        m2ib.Token("</s>", 8, 8, special=True),
    )
    assert shares(tokens, words).tolist() == [[0, 1, 0, 0, 0], [0, 0, 1, 1, 0]]


# The model's health


def test_retrieval_both_ways() -> None:
    kinds = [("bell", "car"), ("car", "bell"), ("bee",), ("cat",)]
    seen = [scene(number, kinds=some) for number, some in enumerate(kinds)]
    cosine = torch.tensor(  # scenes by captions
        [
            [0.1, 0.9, 0.0, 0.0],  # the other caption of the same kinds
            [0.2, 0.8, 0.1, 0.1],
            [0.0, 0.1, 0.7, 0.3],
            [0.3, 0.2, 0.6, 0.5],  # the bee's
        ]
    )
    found = retrieval(seen, cosine)
    assert (found["recall_to_text"], found["kinds_to_text"]) == (0.5, 0.75)  # scenes 1 and 2; and 0
    assert (found["recall_from_text"], found["kinds_from_text"]) == (0.5, 0.75)  # captions 2 and 3; and 1
    assert found["kinds_found"] == 0.75


def test_query_auc_of_embeddings_that_hold_the_kinds() -> None:
    seen = scenes(range(30))
    rows = torch.tensor([[float(kind in one.kinds) for kind in KINDS] for one in seen])
    queries = dict(zip(KINDS, torch.eye(len(KINDS)), strict=True))
    assert query_auc(seen, rows, queries) == 1
    assert query_auc(seen, -rows, queries) == 0
    assert math.isnan(query_auc([], rows[:0], queries))


# Scenes


def test_splits_and_parts_share_no_scene() -> None:
    taken: set[int] = set()
    for split in SPLITS:
        for seed in (0, 1, 99):
            for part in (LOCALISE, RETRIEVE, SINGLE):
                seeds = scene_seeds(split, seed, 500, part)
                assert len(seeds) == 500
                assert not taken & set(seeds)
                taken |= set(seeds)
    assert max(taken) < 2**40
    assert scene_seeds("test", 2, 3, LOCALISE) == [502_000_000, 502_000_001, 502_000_002]
    assert scene_seeds("tune", 0, 2, LOCALISE) == [900_000_000, 900_000_001]
    last = {split: max(scene_seeds(split, most, 250_000, 3)) for split, most in (("test", 399), ("tune", 99))}
    assert last == {split: end - 1 for split, (_, end) in SPLITS.items()}


@pytest.mark.parametrize(
    ("split", "seed", "count", "message"),
    [
        ("train", 0, 4, "benchmark: split 'train' is unknown; it is 'test' or 'tune'"),
        ("test", 400, 4, "benchmark: seed 400 is out of range; the split 'test' has the seeds 0 to 399"),
        ("tune", -1, 4, "benchmark: seed -1 is out of range; the split 'tune' has the seeds 0 to 99"),
        ("test", 0, 1, "benchmark: scenes=1 is out of range; give 2 to 250,000"),
        ("test", 0, 2.5, "benchmark: scenes=2.5 is out of range; give 2 to 250,000"),
    ],
)
def test_scenes_that_are_not_there(split: str, seed: int, count: Any, message: str) -> None:
    with pytest.raises(m2ib.SettingError) as error:
        scene_seeds(split, seed, count, LOCALISE)
    assert str(error.value) == message


def test_questions_name_one_object_of_two_or_three() -> None:
    many, few = questions("test", 1, 12), questions("test", 1, 5)
    assert [(q.scene.text, q.kind, q.absent) for q in many[:5]] == [
        (q.scene.text, q.kind, q.absent) for q in few
    ]
    assert {len(q.scene.kinds) for q in many} == {2, 3}
    assert all(q.kind in q.scene.kinds and q.absent not in q.scene.kinds for q in many)
    assert len({q.scene.kinds.index(q.kind) for q in many}) > 1
    kinds = [q.kind for q in many]
    singles = single_scenes("test", 1, kinds)
    assert [one.kinds for one in singles] == [(kind,) for kind in kinds]
    assert not {one.seed for one in singles} & {q.scene.seed for q in many}


# Figures and gates


def row(seed: int, **values: float) -> MapScores:
    return MapScores(seed, 7, "image", "sharp", "", "bell", values)


def test_results_are_means_of_a_seed_and_figures_means_of_seeds() -> None:
    rows = [
        row(0, pointing=1, deletion=0.2, mask_deletion=0.4),
        row(0, pointing=0, deletion=0.4, mask_deletion=0.2),
        row(0, auc=math.nan, deletion=0.3, mask_deletion=0.3),
        row(1, pointing=1, deletion=0.1, mask_deletion=0.2),
        row(2, pointing=0.5, deletion=0.1, mask_deletion=-0.2),
    ]
    found = means(rows)
    by = {(seed, key[3]): value for (seed, key), value in found.items()}
    assert by[0, "pointing"] == (0.5, 2)
    assert by[0, "deletion_ratio"] == (pytest.approx(1), 3)
    assert by[1, "deletion_ratio"] == (pytest.approx(0.5), 1)
    assert (2, "deletion_ratio") not in by  # hiding the object itself did no harm
    assert (0, "auc") not in by
    figure = figures(found)["image", "sharp", "", "pointing"]
    values = [0.5, 1, 0.5]
    mean = sum(values) / 3
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / 2) / math.sqrt(3)
    assert (figure.mean, figure.standard_error, figure.count) == (
        pytest.approx(mean),
        pytest.approx(error),
        3,
    )
    assert math.isnan(figures(means(rows[:1]))["image", "sharp", "", "pointing"].standard_error)


def test_a_gate_can_pass_fail_and_stay_unmeasured() -> None:
    key, other = ("image", "sharp", "", "seconds"), ("image", "rise", "", "seconds")
    found = {key: Aggregate(0.5, 0.1, 3), other: Aggregate(2.0, 0.1, 3)}
    assert Gate("g", key, "at least", 0.5).check(found).verdict == "pass"
    assert Gate("g", key, "at least", 0.51).check(found).verdict == "FAIL"
    assert Gate("g", key, "at most", 0.49).check(found).verdict == "FAIL"
    ratio = Gate("g", key, "at most", 0.25, over=other)
    assert (ratio.check(found).value, ratio.check(found).passed) == (0.25, True)
    assert ratio.check({key: found[key]}).verdict == "not measured"
    assert Gate("g", other, "at most", 0.25).check({}).verdict == "not measured"


def test_gates_speak_of_what_is_measured() -> None:
    for gate in GATES:
        modality, method, control, metric = gate.key
        assert method in (*METHODS, HEALTH)
        assert modality in scene(0).inputs
        assert metric in METRICS
        assert control in ("", "random weights")
    assert len({gate.name for gate in GATES}) == len(GATES) == 47
    assert set(COLUMNS.values()) <= set(MEASURES)


def test_figures_keep_health_apart() -> None:
    found = figures({(0, ("image", HEALTH, "", "query_auc")): (0.9, 4)})
    assert found["image", HEALTH, "", "query_auc"].mean == 0.9
