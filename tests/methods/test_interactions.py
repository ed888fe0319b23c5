"""Which word sees which region, against whole Jacobians, the naive bottleneck and the mean over all subsets, in float64."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

import m2ib
from late import PATCH, WORD, late_model, white
from m2ib.contract.encoder import Encoder
from m2ib.contract.layout import Layout
from m2ib.methods.base import Settings
from m2ib.methods.bottleneck.shifts import Shifts
from m2ib.methods.interactions.base import Side
from naive import capacity
from naive_interactions import activations, banzhaf, integrated
from scene_model import MODALITIES, example, save_scene_model
from toy import PAD, prepare_text, toy_model

TEXT = "a red dog sleeps"
GRID = (4, 4)


@pytest.fixture
def toy() -> m2ib.Model:
    made = toy_model()
    made.module.double()
    return replace(made, dtype=torch.float64)


def pixels(seed: int = 1) -> Tensor:
    return torch.rand(3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def ids(*gone: int) -> Tensor:
    """(1, T), words by their number replaced by padding."""
    found = torch.as_tensor(prepare_text(TEXT).inputs)[None].clone()
    for word in gone:
        found[0, 1 + word] = PAD
    return found


def explained(model: m2ib.Model, way: Any, **options: Any) -> m2ib.Interactions:
    few: Any = {"steps": 1, "samples": 1}
    found = m2ib.explain(model, image=pixels(), text=TEXT, interactions=way, **few, **options).interactions
    assert found is not None
    assert [each.modality for each in found.units] == ["image", "text"]
    assert found.units[1].names == tuple(TEXT.split())
    return found


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2e-7 * np.abs(expected).max()  # they are kept as float32


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("baseline", ["hidden", "zero"])
def test_second_order_is_the_product_of_whole_jacobians(toy: m2ib.Model, baseline: str, fast: bool) -> None:
    net: Any = toy.module
    image, text = partial(net.embed_image, pixels()[None]), partial(net.embed_text, ids())
    dark, empty = (
        partial(net.embed_image, torch.zeros(1, 3, 8, 8).double()),
        partial(net.embed_text, ids(0, 1, 2, 3)),
    )
    seen, read = net.image_blocks[1], net.text_blocks[0]
    start, end = activations(image, dark, seen)
    first, last = activations(text, empty, read, sequence_first=True)
    if baseline == "zero":
        start, first = start * 0, first * 0
    of_image = integrated(image, seen, start, end, steps=3)  # (17, D)
    of_text = integrated(text, read, first, last, steps=5, sequence_first=True)  # (6, D)
    whole = (of_image @ of_text.T).detach().numpy()

    way = {
        "method": "second-order",
        "layer": {"image": 1, "text": 0},
        "steps": {"image": 3, "text": 5},
        "baseline": baseline,
    }
    found = explained(toy, way, fast=fast)
    close(found.matrix, whole[1:, 1:-1])  # without the class token, and those that begin and end the text
    assert found.unit == "cosine"
    assert found.settings["image"]["layer"] == 1
    assert found.settings["text"]["steps"] == 5


@pytest.mark.parametrize("turned", [False, True])
def test_by_word_is_the_bottleneck_against_what_each_word_brings(toy: m2ib.Model, turned: bool) -> None:
    net: Any = toy.module
    image = partial(net.embed_image, pixels()[None])
    unit = partial(normalize, dim=-1)
    expected = []
    with torch.no_grad():
        whole, gone = unit(net.embed_text(ids())), [unit(net.embed_text(ids(word))) for word in range(4)]
        lost = [(unit(image()) @ (whole - each).T).item() for each in gone]
    for difference, without in zip(lost, gone, strict=True):
        sign = np.sign(difference)
        found = capacity(
            image, net.image_blocks[1], sign * (whole - without), beta=0.1, variance=1.0, steps=3, samples=2
        )
        expected.append(sign * found.detach().numpy()[1:])
    assert len({np.sign(difference) for difference in lost}) == 2  # both kinds are there
    way = {"method": "by-word", "layer": 1, "steps": 3, "samples": 2}
    if turned:
        pair = ("text", TEXT), ("image", pixels())
        found_turned = m2ib.explain(toy, *pair, interactions=way, steps=1, samples=1).interactions
        assert found_turned is not None
        matrix = found_turned.matrix.T
    else:
        matrix = explained(toy, way).matrix
    close(matrix, np.stack(expected, 1))


def test_a_word_that_makes_no_difference_has_no_region(toy: m2ib.Model) -> None:
    net: Any = toy.module
    with torch.no_grad():
        net.words.weight[ids()[0, 2]] = 0  # "red" is a word of nothing
        for block in net.text_blocks:
            for part in (block.query, block.key, block.value):
                part.weight.zero_()
                part.bias.zero_()
        net.text_head.bias.zero_()
    found = explained(toy, {"method": "by-word", "steps": 1, "samples": 1})
    assert not found.of("red").any()  # the mean without it is the same direction
    assert found.of("dog").any()


@pytest.mark.parametrize("masks", [16, 64])
def test_banzhaf_is_the_mean_over_all_that_else_may_be_there(toy: m2ib.Model, masks: int) -> None:
    net: Any = toy.module

    @cache
    @torch.no_grad()
    def value(left: tuple[int, ...], right: tuple[int, ...]) -> float:
        keep = (
            torch.tensor(left, dtype=torch.float64).view(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1)
        )
        text = net.embed_text(ids(*(word for word in range(4) if not right[word])))
        return cosine_similarity(net.embed_image((pixels() * keep)[None]), text).item()

    found = explained(toy, {"method": "banzhaf", "masks": masks, "units": 4})
    assert found.units[0].shape == (2, 2)
    close(found.matrix, banzhaf(value, 4, 4))
    assert not found.warnings


def test_banzhaf_with_too_few_versions_says_so(toy: m2ib.Model) -> None:
    found = explained(toy, {"method": "banzhaf", "masks": 20})
    assert found.warnings == (
        "image: 20 versions of 16 units are too few to tell each of them; give more masks, or fewer units",
    )
    with_more = explained(toy, {"method": "banzhaf", "masks": 4096})
    other = explained(toy, {"method": "banzhaf", "masks": 4096}, seed=1)
    assert np.corrcoef(with_more.matrix.flat, other.matrix.flat)[0, 1] > 0.95


def test_a_maxsim_is_read_off() -> None:
    model = late_model()
    exp = m2ib.explain(model, image=white(), text="small bird sits", interactions=True, steps=1, samples=1)
    found = exp.interactions
    assert found is not None
    assert found.method == "maxsim"
    first = found.links(1)[0]
    assert (first.first, first.second) == (PATCH, WORD)
    assert found.matrix.sum() == pytest.approx(exp.similarity, abs=1e-6)
    turned = m2ib.explain(
        model, ("text", "small bird sits"), ("image", white()), interactions=True, steps=1, samples=1
    )
    assert turned.interactions is not None
    assert np.array_equal(turned.interactions.matrix.T, found.matrix)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> m2ib.Model:
    return save_scene_model(tmp_path_factory.mktemp("tiny") / "weights.safetensors").model


@pytest.mark.parametrize("way", ["second-order", "banzhaf", "by-word"])
@pytest.mark.parametrize("modality", MODALITIES)
def test_any_two_modalities_and_back_again(tiny: m2ib.Model, way: str, modality: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "second-order": {"steps": 2},
        "banzhaf": {"masks": 8},
        "by-word": {"steps": 1, "samples": 1},
    }
    pair = (modality, example(modality, 1)), ("text", example("text", 2))
    exp = m2ib.explain(tiny, *pair, steps=1, samples=1, interactions={"method": way, **given[way]})
    assert exp.interactions is not None
    assert exp.interactions.method == way
    words = tuple(word for word, _ in exp[1].words)
    assert exp.interactions.units[1].names == words
    if (modality, way) == ("thermal", "second-order"):  # whose adapter asks for shifts
        assert exp.interactions.units[0].shape == tuple(2 * cells for cells in exp[0].grid.shape)
    elif modality != "text" and way != "banzhaf":
        assert exp.interactions.units[0].shape == exp[0].grid.shape
    exp.save(tmp_path / "saved")
    again = m2ib.load_explanation(tmp_path / "saved").interactions
    assert again is not None
    assert np.array_equal(again.matrix, exp.interactions.matrix)
    assert (again.units, again.method, again.unit) == (exp.interactions.units, way, exp.interactions.unit)
    assert dict(again.settings) == dict(exp.interactions.settings)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("given", [{"method": "second-order"}, {"method": "by-word", "samples": 1}])
def test_shifts_are_the_mean_over_shifted_inputs(
    tiny: m2ib.Model, given: dict[str, Any], turned: bool
) -> None:
    image, text = example("image", 1), example("text", 2)
    shifts = Shifts((2, 2), (14, 14))

    def matrix(x: Tensor, count: int) -> np.ndarray:
        way = {"shifts": {"image": count}, "steps": 2, **given}
        pair = ("image", x), ("text", text)
        found = m2ib.explain(
            tiny, *(pair[::-1] if turned else pair), interactions=way, steps=1, samples=1
        ).interactions
        assert found is not None
        words = found.matrix.T if not turned else found.matrix  # (words, cells)
        return words if found.unit == "cosine" else np.abs(words)  # a bottleneck's sign is that of its word

    moved = shifts.apply(image[None])
    assert isinstance(moved, Tensor)
    each = np.stack([matrix(x, 1).reshape(-1, 8, 8) for x in moved])  # (4, words, 8, 8)
    found, expected = matrix(image, 4), shifts.joined(each)
    assert np.abs(found - expected.reshape(found.shape)).max() <= 1e-5 * np.abs(expected).max()


def test_in_a_batch_as_alone(toy: m2ib.Model) -> None:
    pairs = [{"image": pixels(n), "text": text} for n, text in ((1, TEXT), (2, "two cats"))]
    options: Any = {"steps": 1, "samples": 1, "interactions": True}
    for pair, found in zip(pairs, m2ib.explain_many(toy, pairs, **options), strict=True):
        alone = m2ib.explain(toy, **pair, **options).interactions
        assert found.interactions is not None
        assert alone is not None
        close(found.interactions.matrix, alone.matrix)


class Cut(torch.autograd.Function):
    """Someone's own operation, of which only the backward derivative is known."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class Cutting(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return Cut.apply(self.inner(x))


def test_a_model_without_a_forward_derivative_is_told(toy: m2ib.Model) -> None:
    net: Any = toy.module
    net.image_head, net.text_head = Cutting(net.image_head), Cutting(net.text_head)
    with pytest.raises(
        m2ib.AdapterError,
        match=r"text: second-order needs a forward derivative of what comes after layer 1, .* interactions='by-word' and 'banzhaf' need none",
    ):
        explained(toy, "second-order")
    assert explained(toy, {"method": "by-word", "steps": 1, "samples": 1}).matrix.any()


def without_degradation(encoder: Encoder) -> Encoder:
    return replace(encoder, degradation=None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"interactions": "gradcam"},
            "interactions: the method 'gradcam' makes maps of one input; there is second-order, by-word",
        ),
        ({"interactions": "by-wrd"}, "by-wrd"),
        ({"interactions": 3}, "interactions: 3 is not possible; give True, a name, or a dict"),
        (
            {"interactions": {"method": "banzhaf", "mask": 3}},
            "interactions: 'mask' is unknown; did you mean 'masks'",
        ),
        ({"interactions": {"steps": 0}}, "steps for image: 0 is out of range; it must be >= 1"),
        (
            {"interactions": "maxsim"},
            "interactions: 'maxsim' is not defined for this model: it is read off a MaxSim",
        ),
        (
            {"method": "by-word"},
            "method 'by-word' finds interactions between two inputs, and makes no map of one",
        ),
        (
            {"text": m2ib.contrast("a dog", "a cat"), "interactions": True},
            r"they are of two inputs, and contrast\(\) is none",
        ),
    ],
)
def test_interactions_that_cannot_be_had(options: dict[str, Any], said: str) -> None:
    model = toy_model()
    with pytest.raises(m2ib.M2IBError, match=said):
        m2ib.explain(model, **{"image": pixels().float(), "text": TEXT, **options})


def test_words_that_cannot_be_hidden_are_told() -> None:
    model = toy_model(text=without_degradation)
    pair: Any = {"image": pixels().float(), "text": TEXT}
    with pytest.raises(
        m2ib.InputError, match="degradation: this encoder takes token ids, whose values cannot fade"
    ):
        m2ib.explain(model, **pair, interactions="banzhaf")
    found = m2ib.explain(model, **pair, interactions={"method": "second-order", "baseline": {"text": "zero"}})
    assert found.interactions is not None


@pytest.mark.parametrize(
    ("grid", "most", "expected"),
    [
        ((8, 8), 64, (8, 8)),
        ((24, 24), 64, (6, 6)),
        ((1, 4, 20), 64, (1, 4, 10)),
        ((7, 7), 9, (7, 7)),
        ((40,), 6, (5,)),
    ],
)
def test_neighbours_are_one_unit_where_cells_are_many(
    grid: tuple[int, ...], most: int, expected: tuple[int, ...]
) -> None:
    settings = Settings(layer=0, units=most)
    batch: Any = SimpleNamespace(
        modality="image",
        grids=lambda layer: [grid],
        encoder=SimpleNamespace(step=lambda layer: None),
        items=[SimpleNamespace(layout=Layout(grid), view=None)],
    )
    side = Side(batch, settings)
    assert side.units.shape == expected
    assert side.cells.shape == (int(np.prod(expected)), int(np.prod(grid)))
    assert side.cells.sum(0).tolist() == [1] * int(np.prod(grid))  # each cell is in one unit
    assert len({*side.cells.sum(1).tolist()}) == 1  # as many in each
