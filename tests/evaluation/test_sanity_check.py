"""Weights become random from the last part to the first, maps are compared, and the model is as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

import m2ib
from m2ib import Encoder, Layout, Token
from m2ib.contract.attribution import Attribution
from m2ib.contract.degradation import gather
from m2ib.errors import AdapterError, InputError, SettingError
from m2ib.evaluation.sanity import Cascade, Verdict, cascade
from m2ib.evaluation.sanity_figures import maps_figure
from m2ib.evaluation.weights import parts, redraw
from m2ib.methods import Batch, Map, Method, PreparedBatch
from m2ib.registry.plan import Plan, plan_of
from m2ib.renderers import TextRenderer
from m2ib.scenes import scenes
from m2ib.scenes.questions import questions
from toy import EXAMPLES, toy_model

IDS = torch.tensor([98, 5, 9, 11, 99])


def bits(model: m2ib.Model) -> dict[str, tuple[bytes, bool, bool]]:
    """Everything that a cascade could leave changed."""
    modes = {name: module.training for name, module in model.module.named_modules()}
    values = {**dict(model.module.named_parameters()), **dict(model.module.named_buffers())}
    return {
        name: (value.detach().numpy().tobytes(), value.requires_grad, modes[name.rpartition(".")[0]])
        for name, value in values.items()
    }


# Parts


def test_parts_of_the_toy_are_its_modules_from_the_last_to_the_first() -> None:
    model = toy_model()
    for modality, first in (
        ("image", {"patches.weight", "patches.bias", "first"}),
        ("text", {"words.weight"}),
    ):
        found = parts(model, modality, model.preprocess(modality, EXAMPLES[modality]))
        blocks = [f"{modality}_blocks.{number}" for number in (2, 1, 0)]
        assert [part.name for part in found] == ["head", *blocks, "stem"]
        assert set(found[0].parameters) == {f"{modality}_head.weight", f"{modality}_head.bias"}
        assert set(found[-1].parameters) == first
        for part in found[1:-1]:
            assert set(part.parameters) == {
                f"{part.name}.{layer}.{kind}"
                for layer in ("query", "key", "value")
                for kind in ("weight", "bias")
            }


def reached(model: m2ib.Model, modality: str, inputs: Any) -> set[str]:
    """The names of the weights with a gradient, by plain backward."""
    named = dict(model.module.named_parameters())
    for value in named.values():
        value.requires_grad_(True)
    try:
        model.encoder(modality).embed(inputs).sum().backward()
        return {name for name, value in named.items() if value.grad is not None}
    finally:
        for value in named.values():
            value.requires_grad_(False)
            value.grad = None


def check_partition(model: m2ib.Model, modality: str, inputs: Any) -> list[str]:
    before = bits(model)
    found = parts(model, modality, inputs)
    assert bits(model) == before
    names = [name for part in found for name in part.parameters]
    assert len(names) == len(set(names))
    assert set(names) == reached(model, modality, inputs)
    encoder = model.encoder(modality)
    assert [part.name for part in found] == ["head", *(layer.name for layer in encoder.layers[::-1]), "stem"]
    for part in found[1:-1]:
        (layer,) = (layer for layer in encoder.layers if layer.name == part.name)
        assert {id(value) for value in part.parameters.values()} == {
            id(value) for value in layer.module.parameters()
        }
    return names


def test_parts_of_clip_are_all_that_each_encoder_uses(clip64: m2ib.Model) -> None:
    image = check_partition(clip64, "image", clip64.preprocess("image", [torch.zeros(3, 32, 32)]))
    text = check_partition(clip64, "text", clip64.preprocess("text", [IDS]))
    assert not set(image) & set(text)
    assert image[0] == "vision_model.post_layernorm.weight"
    assert "visual_projection.weight" in image[:3]
    assert "vision_model.pre_layrnorm.weight" in image[-7:]
    assert "text_projection.weight" in text[:3]
    assert text[-2:] == [
        "text_model.embeddings.token_embedding.weight",
        "text_model.embeddings.position_embedding.weight",
    ]


def test_parts_of_a_convolutional_network_and_a_sentence_encoder(photo64: m2ib.Model) -> None:
    pixels = photo64.preprocess("image", [np.zeros((64, 64, 3), np.uint8)])
    image = parts(photo64, "image", pixels)
    check_partition(photo64, "image", pixels)
    assert {name.split(".")[1] for name in image[0].parameters} == {"conv_head", "bn2"}
    assert {name.split(".")[1] for name in image[-1].parameters} == {"conv_stem", "bn1"}
    ids = photo64.preprocess("text", ["a dog"])
    text = parts(photo64, "text", ids)
    check_partition(photo64, "text", ids)
    assert set(text[0].parameters) == {"text_map.weight", "text_map.bias"}


def test_what_several_parts_share_belongs_to_the_last_of_them() -> None:
    def tie(encoder: Encoder, model: list[m2ib.Model]) -> Encoder:
        def embed(ids: Any) -> Tensor:
            return encoder.embed(ids) @ model[0].module.words.weight[:6, :6]

        return replace(encoder, embed=embed)

    holder: list[m2ib.Model] = []
    model = toy_model(text=partial(tie, model=holder))
    holder.append(model)
    blocks = model.module.text_blocks
    blocks[0].query = blocks[2].query
    found = parts(model, "text", model.preprocess("text", EXAMPLES["text"]))
    assert [part.name for part in found] == ["head", "text_blocks.2", "text_blocks.1", "text_blocks.0"]
    assert "words.weight" in found[0].parameters
    assert [len(part.parameters) for part in found[1:]] == [6, 6, 4]


def test_a_stem_that_does_not_run_is_named() -> None:
    other = toy_model().encoder("text").stem
    model = toy_model(text=lambda encoder: replace(encoder, stem=other))
    with pytest.raises(
        AdapterError, match=r"text: layer -1 \(text_blocks.0 \(input\)\) did not run in the forward"
    ):
        parts(model, "text", model.preprocess("text", EXAMPLES["text"]))


# Random weights


def test_a_redrawn_tensor_keeps_its_mean_and_spread_and_nothing_else() -> None:
    values = torch.nn.Parameter(3 + 0.5 * torch.randn(200, 100))
    flat, single = torch.nn.Parameter(torch.full((7,), 0.1)), torch.nn.Parameter(torch.tensor([2.0]))
    before = values.detach().clone()
    redraw([values, flat, single], torch.Generator().manual_seed(1))
    assert values.mean().item() == pytest.approx(3, abs=0.02)
    assert values.std().item() == pytest.approx(0.5, abs=0.02)
    assert abs(np.corrcoef(values.detach().ravel(), before.ravel())[0, 1]) < 0.05
    assert torch.equal(flat, torch.full((7,), 0.1))
    assert single.item() == 2
    again = torch.nn.Parameter(before.clone())
    redraw([again], torch.Generator().manual_seed(1))
    assert torch.equal(again, values)


# The cascade


def run_toy(model: m2ib.Model, modality: str = "image", **options: Any) -> Cascade:
    items = [model.item(modality, raw) for raw in EXAMPLES[modality]]
    targets = model.embed(
        *((other := "text" if modality == "image" else "image"), model.preprocess(other, EXAMPLES[other]))
    )
    plans = {name: plan_of(name, {"seed": 0}) for name in ("m2ib", "random", "uniform")}
    return cascade(model, modality, items, model.collate(modality, items), targets, plans, **options)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_the_model_is_as_it_was_and_the_first_maps_are_its_own(modality: str) -> None:
    model = toy_model()
    model.module.image_head.train()
    model.module.words.weight.requires_grad_(True)
    before = bits(model)
    counted: list[int] = []
    found = run_toy(model, modality, steps=lambda total: partial(counted.append, total))
    assert bits(model) == before
    assert counted == [6 * 3] * 18
    other = "text" if modality == "image" else "image"
    for number, raw in enumerate(EXAMPLES[modality]):
        pair = m2ib.explain(model, (modality, raw), (other, EXAMPLES[other][number]))
        assert np.allclose(found.grids("m2ib")[0][number], pair[0].grid, rtol=1e-4)
    assert found.grids("m2ib")[0][0].shape == found.grids("m2ib")[5][0].shape
    for one, later in pairwise(found.grids("m2ib")):
        assert not np.array_equal(one[0], later[0])


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_the_model_is_as_it_was_when_something_raises_in_the_middle(error: type[BaseException]) -> None:
    model = toy_model()
    before, seen = bits(model), []

    def steps(total: int) -> Callable[[], None]:
        def advance() -> None:
            seen.append(bits(model))
            if len(seen) == 8:
                raise error

        return advance

    with pytest.raises(error):
        run_toy(model, steps=steps)
    changed = {name for name, value in before.items() if seen[-1][name] != value}
    assert changed == {
        name for name in before if name.startswith(("image_head", "image_blocks.2"))
    }  # in the second stage; the other encoder never
    assert bits(model) == before


def test_looking_at_fewer_stages_changes_none_of_them() -> None:
    every, some = run_toy(toy_model()), run_toy(toy_model(), stages=3)
    assert every.stages == ("head", "image_blocks.2", "image_blocks.1", "image_blocks.0", "stem")
    assert every.labels == ("head", "block 2", "block 1", "block 0", "stem")
    assert some.stages == ("head", "image_blocks.1", "stem")
    for few, all_ in ((0, 0), (1, 1), (2, 3), (3, 5)):
        assert all(map(np.array_equal, some.grids("m2ib")[few], every.grids("m2ib")[all_]))
    other = run_toy(toy_model(), seed=1)
    assert not np.array_equal(other.grids("m2ib")[1][0], every.grids("m2ib")[1][0])
    assert run_toy(toy_model(), stages=99).stages == every.stages


def made(grids: Mapping[str, list[np.ndarray]], layout: Layout) -> Cascade:
    """One input, its maps given by method: intact first."""

    def attribution(name: str, grid: np.ndarray) -> Attribution:
        return Attribution("text", name, grid, None, layout, None, {}, {"text": "a b c d"}, TextRenderer())

    maps = {name: [[attribution(name, grid)] for grid in rows] for name, rows in grids.items()}
    return Cascade("text", tuple(f"part {n}" for n in range(len(next(iter(grids.values()))) - 1)), maps, 0)


def test_correlations_are_spearmans_without_special_tokens() -> None:
    random = np.random.default_rng(0)
    rows = [random.integers(0, 4, 9).astype(float) for _ in range(3)]
    tokens = tuple(Token("t", 0, 0, special=n in (0, 8)) for n in range(9))
    rows[0][[0, 8]], rows[1][[0, 8]] = 50, 50
    found = made({"one": rows}, Layout((9,), tokens=tokens)).correlations("one")
    assert found.shape == (2, 1)
    assert found[:, 0] == pytest.approx([spearmanr(rows[0][1:8], row[1:8]).statistic for row in rows[1:]])


def test_undefined_correlations_are_counted_and_unchanged_constant_maps_are_caught() -> None:
    up, flat = np.arange(4.0), np.ones(4)
    found = made(
        {"flat": [flat, flat, flat], "dead": [up, -up, flat], "broken": [up, flat, 0.5 * up]}, Layout((4,))
    )
    assert [(each.count, each.undefined) for each in found.curve("broken")] == [(0, 1), (1, 0)]
    assert found.curve("dead")[0].mean == -1
    assert found.verdict("flat") == Verdict("flat", 1.0, 0.7)
    assert found.verdict("dead").ignores_the_model is None
    assert found.verdict("broken").ignores_the_model is True
    assert found.verdict("broken", threshold=1.0).ignores_the_model is False


@pytest.mark.parametrize("stages", [1, 0, True, 2.0])
def test_a_number_of_stages_that_cannot_be_is_refused(stages: Any) -> None:
    with pytest.raises(
        SettingError, match=rf"sanity check: stages={stages!r} is out of range; give a whole number"
    ):
        run_toy(toy_model(), stages=stages)


def test_inputs_and_targets_must_be_as_many() -> None:
    model = toy_model()
    item = model.item("image", EXAMPLES["image"][0])
    inputs = model.collate("image", [item])
    with pytest.raises(InputError, match="1 image inputs and 2 targets; give as many"):
        cascade(model, "image", [item], inputs, torch.ones(2, 6), {"m2ib": plan_of("m2ib", {})})
    with pytest.raises(InputError, match="no image inputs were given; give at least one"):
        cascade(model, "image", [], inputs, torch.ones(0, 6), {"m2ib": plan_of("m2ib", {})})


# A trained model


def edges() -> Method:
    """An edge detector: the size of the picture's own gradient. It never asks the model."""

    def prepare(batch: Batch, settings: Any) -> PreparedBatch:
        assert isinstance(batch.inputs, Tensor)
        down, across = torch.gradient(batch.inputs.mean(1), dim=(1, 2))  # (N, H, W) each
        sizes = (down.square() + across.square()).sqrt()

        def maps(targets: Tensor, advance: Callable[[], None]) -> list[Map]:
            shape = batch.layouts[0].grid
            assert shape is not None
            return [Map(grid) for grid in gather(sizes, shape).numpy()]

        return PreparedBatch(batch.embed(), maps)

    return Method(prepare)


@pytest.fixture(scope="module")
def trained() -> m2ib.Model:
    return m2ib.load_model("imagebind-tiny", device="cpu")


@pytest.fixture(scope="module")
def seen(trained: m2ib.Model) -> Cascade:
    asked = questions("tune", 0, 6)
    items = [trained.item("image", question.scene.image) for question in asked]
    targets = trained.embed("text", trained.preprocess("text", [f"a {question.kind}" for question in asked]))
    plans = {"m2ib": plan_of("m2ib", {"seed": 0}), "edges": Plan("edges", edges(), (), {})}
    return cascade(trained, "image", items, trained.collate("image", items), targets, plans)


def test_the_bottleneck_depends_on_the_weights_and_an_edge_detector_is_caught(seen: Cascade) -> None:
    assert seen.correlations("edges") == pytest.approx(np.ones((6, 6)), abs=1e-12)
    assert seen.verdict("edges").ignores_the_model is True
    curve = [stage.mean for stage in seen.curve("m2ib")]
    assert curve[0] > 0.7  # the head alone: the evidence is still found
    assert max(curve[2:]) < 0.5
    assert seen.verdict("m2ib").ignores_the_model is False
    assert seen.verdict("m2ib").correlation < 0.5


@pytest.mark.parametrize("modality", ["image", "text", "audio", "depth", "thermal", "imu"])
def test_parts_of_every_encoder_of_imagebind(trained: m2ib.Model, modality: str) -> None:
    (scene,) = scenes([900_700_000])
    check_partition(trained, modality, trained.preprocess(modality, [scene.inputs[modality]]))


# Figures


def test_figures_have_a_row_for_each_input_and_method_and_no_colour_bars(seen: Cascade) -> None:
    figure = maps_figure(seen, inputs=(0, 3))
    columns = 1 + 1 + len(seen.stages)  # names, intact, stages
    assert len(figure.axes) == 4 * columns
    titles = [axes.get_title() for axes in figure.axes[:columns]]
    assert titles[1:3] == ["intact\n ", f"head\n{seen.correlations('m2ib')[0, 0]:+.2f}"]
    assert titles[-1].startswith("stem\n")
    assert [figure.axes[place].texts[0].get_text() for place in (0, columns)] == ["m2ib", "edges"]
    assert not any(axes.texts for axes in figure.axes[1:columns])
    figure.savefig(BytesIO(), dpi=40)
    assert len(maps_figure(seen, methods=["edges"]).axes) == columns


def test_figures_of_texts_show_their_words_once(trained: m2ib.Model) -> None:
    drawn = scenes([900_700_000, 900_700_001])
    items = [trained.item("text", scene.text) for scene in drawn]
    targets = trained.embed("image", trained.preprocess("image", [scene.image for scene in drawn]))
    plans = {"m2ib": plan_of("m2ib", {}), "uniform": plan_of("uniform", {})}
    found = cascade(trained, "text", items, trained.collate("text", items), targets, plans, stages=2)
    assert found.labels == ("head", "stem")
    figure = maps_figure(found)
    first = figure.axes[1]
    assert [label.get_text() for label in first.get_yticklabels()] == drawn[0].text.split()
    assert not figure.axes[2].yaxis.get_tick_params()["labelleft"]
    assert figure.axes[6].get_title() == "constant"
    figure.savefig(BytesIO(), dpi=40)
