"""Corruption against loops, fine-tuning that changes losses and leaves no trace, and runs that go on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
from m2ib import Item, Layout
from m2ib.contract.degradation import Fading, Replacing
from m2ib.errors import InputError, SettingError, StorageError
from m2ib.evaluation.fine_tune import Sides, Training, TrainingOutcome, embed, fine_tune, info_nce, steps_of
from m2ib.evaluation.roar import corrupt, roar_plus, split
from m2ib.pipeline import explain_side
from m2ib.registry.plan import Plan, plan_of
from m2ib.scenes import scenes
from toy import PAD, toy_model

BOTH = ("image", "text")
QUICK = Training(epochs=3, batch_size=4, lr=1e-3)


def bits(model: m2ib.Model) -> dict[str, tuple[bytes, bool, bool, bool]]:
    """Everything that a training could leave changed."""
    modes = {name: module.training for name, module in model.module.named_modules()}
    values = {**dict(model.module.named_parameters()), **dict(model.module.named_buffers())}
    return {
        name: (
            value.detach().numpy().tobytes(),
            value.requires_grad,
            value.grad is None,
            modes[name.rpartition(".")[0]],
        )
        for name, value in values.items()
    }


def clip_pairs(model: m2ib.Model, count: int, seed: int) -> Sides:
    """Random pictures and texts of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    images, texts = [], []
    for number in range(count):
        images.append(model.item("image", torch.randn(3, 32, 32, generator=generator)))
        words = torch.randint(1, 90, (3 + number % 4,), generator=generator)
        texts.append(model.item("text", torch.cat([torch.tensor([98]), words, torch.tensor([99])])))
    return images, texts


# What is lost


def percentile(values: list[float], share: float) -> float:
    """Linear between the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def enlarged(grid: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Bilinear between the cells' centres, one value after the other; beyond the outermost centres it stays."""

    def between(length: int, cells: int, place: int) -> tuple[int, int, float]:
        at = min(max((place + 0.5) * cells / length - 0.5, 0), cells - 1)
        low = min(int(at), cells - 1)
        return low, min(low + 1, cells - 1), at - low

    wide = np.zeros((rows, columns))
    for row in range(rows):
        top, bottom, down = between(rows, grid.shape[0], row)
        for column in range(columns):
            left, right, across = between(columns, grid.shape[1], column)
            upper = grid[top, left] * (1 - across) + grid[top, right] * across
            lower = grid[bottom, left] * (1 - across) + grid[bottom, right] * across
            wide[row, column] = upper * (1 - down) + lower * down
    return wide


@pytest.mark.parametrize("share", [0.25, 0.4])
def test_pictures_lose_what_a_loop_takes_out(share: float) -> None:
    model, random = toy_model(), np.random.default_rng(0)
    items = [model.item("image", random.random((8, 8, 3))) for _ in range(3)]
    grids = [random.random((4, 4)) for _ in items]
    found = corrupt(model, "image", items, grids, Training(share=share))
    for item, grid, changed in zip(items, grids, found, strict=True):
        assert isinstance(item.inputs, Tensor)
        assert isinstance(changed.inputs, Tensor)
        wide, pixels = enlarged(grid, 8, 8), item.inputs.numpy()
        threshold, lost = percentile(wide.ravel().tolist(), 1 - share), 0
        for row in range(8):
            for column in range(8):
                for channel in range(3):
                    mean = sum(pixels[channel].ravel().tolist()) / 64
                    here = changed.inputs[channel, row, column].item()
                    gone = wide[row, column] > threshold
                    assert here == (pytest.approx(mean, abs=1e-6) if gone else pixels[channel, row, column])
                    lost += gone
        assert lost == 3 * (63 - math.floor(63 * (1 - share)))
        assert (changed.layout, changed.view, changed.origin) == (item.layout, item.view, item.origin)


def test_texts_lose_what_a_loop_takes_out() -> None:
    model = toy_model(text=lambda encoder: replace(encoder, degradation=Replacing(PAD)))
    random = np.random.default_rng(0)
    for words in (1, 2, 5, 8):
        item = model.item("text", " ".join(["word"] * words))
        grid = random.random(words + 2)
        grid[[0, -1]] = 9
        (changed,) = corrupt(model, "text", [item], [grid], Training())
        assert isinstance(item.inputs, Tensor)
        median = percentile(grid[1:-1].tolist(), 0.5)
        wanted = [
            PAD if 0 < place <= words and grid[place] > median else token
            for place, token in enumerate(item.inputs.tolist())
        ]
        assert isinstance(changed.inputs, Tensor)
        assert changed.inputs.tolist() == wanted
        assert wanted.count(PAD) == words // 2


def test_a_film_loses_places_of_single_moments_and_keeps_its_frames_means() -> None:
    """Clips, channels, frames, rows, columns under a grid of clips, rows, columns."""
    fading = Fading(fill=5.0)
    model = toy_model(image=lambda encoder: replace(encoder, degradation=fading))
    film = torch.randn(2, 3, 2, 4, 6)
    grid = np.arange(2 * 2 * 3.0).reshape(2, 2, 3)
    item = Item(film, Layout((2, 2, 3)), None)
    (changed,) = corrupt(model, "image", [item], [grid], Training())
    assert isinstance(changed.inputs, Tensor)
    wide = np.stack([enlarged(each, 4, 6) for each in grid])
    gone = torch.from_numpy(wide > percentile(wide.ravel().tolist(), 0.75))
    means = film.mean((0, 3, 4))  # (channels, frames)
    for channel in range(3):
        for frame in range(2):
            wanted = torch.where(gone, means[channel, frame], film[:, channel, frame])
            assert torch.allclose(changed.inputs[:, channel, frame], wanted, atol=1e-6)
    assert 0 < gone.sum() <= 12


@pytest.mark.parametrize("modality", ["audio", "depth", "thermal", "imu"])
def test_other_inputs_lose_a_quarter_to_their_own_mean(modality: str) -> None:
    model = m2ib.load_model("imagebind-tiny", device="cpu")
    item = model.item(modality, scenes([900_700_000])[0].inputs[modality])
    assert item.layout.grid is not None
    grid = np.random.default_rng(0).random(item.layout.grid)
    (changed,) = corrupt(model, modality, [item], [grid], Training())
    assert isinstance(item.inputs, Tensor)
    assert isinstance(changed.inputs, Tensor)
    places = tuple(range(item.inputs.ndim - min(len(grid.shape), 2), item.inputs.ndim))
    means = item.inputs.mean(places, keepdim=True).expand_as(item.inputs)
    gone = changed.inputs != item.inputs
    assert torch.allclose(changed.inputs[gone], means[gone], atol=1e-5)
    assert gone.float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_a_constant_map_takes_nothing_out() -> None:
    model = toy_model(text=lambda encoder: replace(encoder, degradation=Replacing(PAD)))
    for modality, raw, shape in (
        ("image", np.random.default_rng(0).random((8, 8, 3)), (4, 4)),
        ("text", "a b c", (5,)),
    ):
        item = model.item(modality, raw)
        (changed,) = corrupt(model, modality, [item], [np.full(shape, 0.1)], Training())
        assert isinstance(changed.inputs, Tensor)
        assert isinstance(item.inputs, Tensor)
        assert torch.equal(changed.inputs, item.inputs)


def test_maps_that_cannot_be_used_are_named() -> None:
    model = toy_model(text=lambda encoder: replace(encoder, degradation=None))
    item = model.item("image", np.zeros((8, 8, 3)))
    with pytest.raises(InputError, match="roar: 1 image inputs and 0 maps; give a map for each"):
        corrupt(model, "image", [item], [], Training())
    with pytest.raises(InputError, match="roar: a map holds NaN or infinite values"):
        corrupt(model, "image", [item], [np.full((4, 4), np.nan)], Training())
    with pytest.raises(InputError, match="token ids, whose values cannot fade"):
        corrupt(model, "text", [model.item("text", "a b")], [np.arange(4.0)], Training())


# The loss


def test_the_loss_is_that_of_a_loop() -> None:
    one, other = torch.randn(5, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
    cosines = [[float(a @ b / (a.norm() * b.norm())) / 0.2 for b in other] for a in one]
    total = 0.0
    for i in range(5):
        across = sum(math.exp(cosines[i][j]) for j in range(5))
        down = sum(math.exp(cosines[j][i]) for j in range(5))
        total -= math.log(math.exp(cosines[i][i]) / across) + math.log(math.exp(cosines[i][i]) / down)
    assert info_nce(one, other, 0.2).item() == pytest.approx(total / 10)


def test_inputs_that_cannot_be_collated_are_embedded_in_order() -> None:
    model = toy_model()
    shapes = [(3, 8, 8), (3, 8, 4), (3, 8, 8), (3, 4, 8), (3, 8, 4)]
    items = [Item(torch.randn(shape), Layout(), None) for shape in shapes]
    rows = embed(model, "image", items)
    for row, item in zip(rows, items, strict=True):
        assert torch.allclose(row, embed(model, "image", [item])[0], atol=1e-6)


# Fine-tuning


def test_training_lowers_the_loss_on_what_it_trains_on_and_leaves_no_trace(clip64: m2ib.Model) -> None:
    train = clip_pairs(clip64, 8, 0)
    clip64.module.vision_model.train()
    before = bits(clip64)
    try:
        found = fine_tune(clip64, BOTH, train, train, QUICK)
        assert bits(clip64) == before
    finally:
        clip64.module.vision_model.eval()
    with torch.no_grad():
        untrained = info_nce(embed(clip64, "image", train[0]), embed(clip64, "text", train[1]), 0.07).item()
    assert found.before == pytest.approx(untrained, rel=1e-12)
    assert found.after < found.before - 0.1
    assert len(found.losses) == 3
    assert found.losses[-1] < found.losses[0]


def test_one_step_is_that_of_adamw_on_the_weights_of_both_encoders() -> None:
    """Of a copy that is trained by hand."""
    model, other = toy_model(), toy_model()
    random = np.random.default_rng(0)
    raws = [random.random((8, 8, 3)) for _ in range(4)], ["a b", "c d e", "f", "g h"]
    train: Sides = tuple([model.item(m, raw) for raw in rows] for m, rows in zip(BOTH, raws, strict=True))  # type: ignore[assignment]
    training = Training(epochs=2, batch_size=4, lr=0.01, temperature=0.5, weight_decay=0.1)
    found = fine_tune(model, BOTH, train, train, training, seed=3)
    weights = list(other.module.parameters())
    for weight in weights:
        weight.requires_grad_(True)
    adam = torch.optim.AdamW(weights, lr=0.01, weight_decay=0.1)

    def loss() -> Tensor:
        first, second = (
            other.encoder(m).embed(other.collate(m, items)) for m, items in zip(BOTH, train, strict=True)
        )
        return info_nce(first, second, 0.5)

    losses = []
    for _ in range(2):
        adam.zero_grad()
        value = loss()
        value.backward()
        adam.step()
        losses.append(value.item())
    assert found.before == pytest.approx(losses[0], rel=1e-5)
    assert found.losses == pytest.approx(losses, rel=1e-5)
    assert found.after == pytest.approx(loss().item(), rel=1e-5)


def test_weights_of_other_encoders_are_not_trained_and_gradients_of_the_caller_stay() -> None:
    model = toy_model()
    weight = model.module.words.weight
    weight.requires_grad_(True)
    weight.grad = torch.ones_like(weight)
    images = [model.item("image", np.random.default_rng(n).random((8, 8, 3))) for n in range(6)]
    pairs: Sides = (images[:3], images[3:])
    seen = []

    def advance() -> None:
        seen.append(model.module.image_head.weight.requires_grad)

    before = weight.detach().clone()
    found = fine_tune(model, ("image", "image"), pairs, pairs, Training(epochs=1, lr=0.01), advance=advance)
    assert found.before != found.after
    assert seen == [True]
    assert weight.requires_grad
    assert torch.equal(weight, before)
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert not model.module.image_head.weight.requires_grad
    assert model.module.image_head.weight.grad is None


def test_a_seed_decides_the_result(clip64: m2ib.Model) -> None:
    train, held = clip_pairs(clip64, 8, 0), clip_pairs(clip64, 5, 1)
    first = fine_tune(clip64, BOTH, train, held, QUICK)
    assert first == fine_tune(clip64, BOTH, train, held, QUICK)
    other = fine_tune(clip64, BOTH, train, held, QUICK, seed=1)
    assert first.before == other.before
    assert first.after != other.after


def test_no_pair_is_left_out_or_alone(clip64: m2ib.Model) -> None:
    for count, batch_size, batches in ((8, 4, 2), (7, 2, 3), (3, 2, 1), (2, 32, 1), (9, 4, 2)):
        training = Training(epochs=2, batch_size=batch_size, lr=1e-3)
        seen: list[int] = []
        pairs = clip_pairs(clip64, count, 0)
        fine_tune(clip64, BOTH, pairs, pairs, training, advance=lambda seen=seen: seen.append(1))
        assert len(seen) == 2 * batches == steps_of(training, count)


# Going on


def cut(after: int) -> Callable[[], None]:
    """Raises after so many steps."""
    seen: list[int] = []

    def advance() -> None:
        seen.append(1)
        if len(seen) == after:
            raise KeyboardInterrupt

    return advance


@pytest.mark.parametrize("steps", [1, 3, 4, 5])
def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(
    clip64: m2ib.Model, tmp_path: Path, steps: int
) -> None:
    train, held = clip_pairs(clip64, 8, 0), clip_pairs(clip64, 5, 1)
    path = tmp_path / "folder" / "state.pt"
    before = bits(clip64)
    whole = fine_tune(clip64, BOTH, train, held, QUICK)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(clip64, BOTH, train, held, QUICK, checkpoint=path, advance=cut(steps))
    assert bits(clip64) == before
    counted: list[int] = []
    found = fine_tune(clip64, BOTH, train, held, QUICK, checkpoint=path, advance=lambda: counted.append(1))
    assert found == whole
    assert len(counted) == 6 - 2 * ((steps - 1) // 2)
    assert [each.name for each in path.parent.iterdir()] == ["state.pt"]
    size = path.stat().st_size
    assert fine_tune(clip64, BOTH, train, held, QUICK, checkpoint=path, advance=cut(1)) == whole
    assert path.stat().st_size == size < 10_000


def test_a_checkpoint_of_another_training_is_refused(clip64: m2ib.Model, tmp_path: Path) -> None:
    train, held = clip_pairs(clip64, 4, 0), clip_pairs(clip64, 2, 1)
    path = tmp_path / "state.pt"
    fine_tune(clip64, BOTH, train, held, QUICK, checkpoint=path)

    def refused(what: str, train: Sides, held: Sides, training: Training, seed: int = 0) -> None:
        with pytest.raises(
            SettingError, match=rf"state.pt' is of another training: its {what} is .*; remove it or"
        ):
            fine_tune(clip64, BOTH, train, held, training, seed=seed, checkpoint=path)

    refused("seed", train, held, QUICK, seed=1)
    refused("training.lr", train, held, replace(QUICK, lr=0.5))
    refused("pairs", held, held, QUICK)
    weight = clip64.module.visual_projection.weight
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight += 1
        refused("weights", train, held, QUICK)
    finally:
        with torch.no_grad():
            weight.copy_(kept)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_a_damaged_checkpoint_is_named(clip64: m2ib.Model, tmp_path: Path, content: bytes) -> None:
    pairs = clip_pairs(clip64, 2, 0)
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    before = bits(clip64)
    with pytest.raises(StorageError, match=r"state.pt' cannot be read \(.+\); remove it to begin anew"):
        fine_tune(clip64, BOTH, pairs, pairs, QUICK, checkpoint=path)
    assert bits(clip64) == before


def test_a_checkpoint_that_cannot_be_written_is_named(clip64: m2ib.Model, tmp_path: Path) -> None:
    pairs = clip_pairs(clip64, 2, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"state.pt' cannot be written: "):
        fine_tune(clip64, BOTH, pairs, pairs, QUICK, checkpoint=tmp_path / "file" / "state.pt")


# What is refused


def test_too_few_pairs_are_named(clip64: m2ib.Model) -> None:
    some, one, none = (clip_pairs(clip64, count, 0) for count in (2, 1, 0))
    for train, held, there in (
        (one, some, "only 1 training pair"),
        (none, some, "no training pairs"),
        (some, none, "no validation pairs"),
        (some, one, "only 1 validation pair"),
    ):
        with pytest.raises(
            InputError, match=rf"^fine-tuning: there is {there}; a contrastive loss needs 2 or more$"
        ):
            fine_tune(clip64, BOTH, train, held, QUICK)
    with pytest.raises(InputError, match="2 and 1 training inputs on the two sides; give as many of both"):
        fine_tune(clip64, BOTH, (some[0], one[1]), some, QUICK)


def test_a_loss_that_is_no_number_is_one_line_and_leaves_no_trace(clip64: m2ib.Model) -> None:
    train = clip_pairs(clip64, 4, 0)
    before = bits(clip64)
    with pytest.raises(
        SettingError, match=r"image and text: the loss is nan in epoch 2, batch 1; lower lr \(1e\+200\) or"
    ) as caught:
        fine_tune(clip64, BOTH, train, train, replace(QUICK, lr=1e200, weight_decay=0))
    assert "\n" not in str(caught.value)
    assert bits(clip64) == before


def test_half_precision_is_refused() -> None:
    model = replace(toy_model(), dtype=torch.float16)
    with pytest.raises(
        SettingError, match="loaded in float16, too coarse for small steps; load it with dtype='float32'"
    ):
        fine_tune(model, BOTH, ([], []), ([], []), QUICK)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", True),
        ("batch_size", 1),
        ("pairs", 3),
        ("lr", 0.0),
        ("lr", "1"),
        ("temperature", math.inf),
        ("share", 1.0),
        ("token_share", 0),
        ("validation", math.nan),
        ("weight_decay", -0.1),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=rf"training: {name}={value!r} is out of range; give a "):
        Training(**{name: value})


# ROAR+


def test_pairs_are_split_without_overlap() -> None:
    train, held = split(100, Training())
    assert sorted(train + held) == list(range(100))
    assert (len(train), len(held)) == (80, 20)
    assert train == sorted(train)
    assert split(100, Training()) == (train, held)
    assert split(100, Training(), seed=1) != (train, held)
    train, held = split(100, Training(pairs=10, validation=0.1))
    assert (len(train), len(held), len({*train, *held})) == (8, 2, 10)
    assert [len(part) for part in split(4, Training(validation=0.9))] == [2, 2]
    with pytest.raises(InputError, match="roar: 3 pairs cannot be split; give 4 or more"):
        split(3, Training())


def side_grids(model: m2ib.Model, side: int, pairs: Sides, plan: Plan) -> list[np.ndarray]:
    """The maps that a method makes of one side of pairs, one after the other."""
    modality, other = BOTH[side], BOTH[1 - side]
    found = []
    for item, against in zip(pairs[side], pairs[1 - side], strict=True):
        target = model.embed(other, model.collate(other, [against]))
        maps = explain_side(model, modality, [item], model.collate(modality, [item]), target, plan)
        found.append(maps[0].grid)
    return found


def test_scores_are_against_one_original_a_seed(clip64: m2ib.Model, tmp_path: Path) -> None:
    train, held = clip_pairs(clip64, 6, 0), clip_pairs(clip64, 4, 1)
    before = bits(clip64)
    plans = {name: plan_of(name, {"seed": 0}) for name in ("random", "uniform")}
    for side in (0, 1):
        grids = {name: side_grids(clip64, side, train, plan) for name, plan in plans.items()}
        counted: list[int] = []

        def steps(total: int, counted: list[int] = counted) -> Callable[[], None]:
            return lambda: counted.append(total)

        found = roar_plus(
            clip64, BOTH, side, train, held, grids, QUICK, seeds=(0, 7), checkpoints=tmp_path, steps=steps
        )
        assert found.modality == BOTH[side]
        each = steps_of(QUICK, 6)
        # The second side finds the original's losses among the files.
        assert counted == [each * 6] * (each * (6 if side == 0 else 4))
        assert found.metric("uniform").samples.tolist() == [0, 0]
        assert found.metric("random").keys == (0, 7)
        lost = corrupt(clip64, BOTH[side], train[side], grids["random"], QUICK)
        pairs = (lost, train[1]) if side == 0 else (train[0], lost)
        for seed, score in zip((0, 7), found.metric("random").samples, strict=True):
            original = fine_tune(clip64, BOTH, train, held, QUICK, seed=seed)
            corrupted = fine_tune(clip64, BOTH, pairs, held, QUICK, seed=seed)
            assert (found.original[seed], found.corrupted["random"][seed]) == (original, corrupted)
            assert score == pytest.approx(100 * (corrupted.after - original.after) / original.after)
        again = roar_plus(clip64, BOTH, side, train, held, {}, QUICK, seeds=(0,), original=found.original)
        assert again.original == {0: found.original[0]}
    assert bits(clip64) == before
    assert len(list(tmp_path.iterdir())) == 2 + 2 * 2 * 2


def test_a_side_and_seeds_that_cannot_be_are_refused(clip64: m2ib.Model) -> None:
    pairs = clip_pairs(clip64, 2, 0)
    with pytest.raises(SettingError, match="roar: side=2 is unknown; it is 0 or 1"):
        roar_plus(clip64, BOTH, 2, pairs, pairs, {}, QUICK)
    for seeds in ((), (1, 1)):
        with pytest.raises(SettingError, match="must be one or more different numbers"):
            roar_plus(clip64, BOTH, 0, pairs, pairs, {}, QUICK, seeds=seeds)


@pytest.mark.slow
def test_a_trained_model_learns_less_without_the_evidence() -> None:
    """imagebind-tiny on scenes: 64 pairs to train on, 64 to validate."""
    model = m2ib.load_model("imagebind-tiny", device="cpu")
    drawn = scenes(range(900_500_000, 900_500_128))
    images, texts = ([model.item(name, scene.inputs[name]) for scene in drawn] for name in BOTH)
    train, held = (images[:64], texts[:64]), (images[64:], texts[64:])
    training = Training(epochs=4, batch_size=16, lr=3e-4)
    plans = {name: plan_of(name, {"seed": 0}) for name in ("m2ib", "random")}
    known: dict[int, TrainingOutcome] = {}
    for side, modality in enumerate(BOTH):
        grids = {name: side_grids(model, side, train, plan) for name, plan in plans.items()}
        found = roar_plus(model, BOTH, side, train, held, grids, training, seeds=(0, 1, 2), original=known)
        known = dict(found.original)
        for seed, outcome in known.items():
            print(
                f"\n{modality} seed {seed}: l_o {outcome.after:.4f} (untrained {outcome.before:.4f})", end=""
            )
        for name in plans:
            score = found.metric(name).compute()
            print(f"\n{modality} {name}: ROAR+ {score.mean:.1f} ± {score.standard_error:.1f} %", end="")
            print(f" {found.metric(name).samples.round(1).tolist()}", end="")
            assert np.isfinite(found.metric(name).samples).all()
            assert all(outcome.losses[-1] < outcome.losses[0] for outcome in found.corrupted[name].values())
        assert found.metric("m2ib").compute().mean > 0
    assert known[0].before != known[0].after
    print()
