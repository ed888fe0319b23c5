"""``m2ib.adapt``: a model of any module; what is found out is right, and what cannot be is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import m2ib
from m2ib.adapting.shapes import keeps_proportions
from m2ib.testing import ConformanceError, check_adapter
from toy import EXAMPLES, Toy, prepare_image, prepare_text, toy_model

IDS = torch.tensor([1, 5, 9, 2])


def same_maps(model: m2ib.Model, other: m2ib.Model) -> None:
    pair = {"image": EXAMPLES["image"][0], "text": EXAMPLES["text"][1]}
    for mine, theirs in zip(m2ib.explain(model, **pair), m2ib.explain(other, **pair), strict=True):
        assert mine.grid.shape == theirs.grid.shape
        np.testing.assert_allclose(mine.grid, theirs.grid, rtol=1e-5, atol=1e-6)


def toy_encoders(**image: Any) -> tuple[Toy, dict[str, m2ib.Encoder]]:
    module = toy_model().module
    assert isinstance(module, Toy)
    encoders = {
        "image": m2ib.Encoder(
            embed=module.embed_image, prepare=lambda raw: prepare_image(raw).inputs, **image
        ),
        "text": m2ib.Encoder(embed=module.embed_text, prepare=lambda raw: prepare_text(raw).inputs),
    }
    return module, encoders


# What is found out is what the adapter says.


def test_maps_are_those_of_the_adapter_that_names_everything() -> None:
    module, encoders = toy_encoders()
    model = m2ib.adapt(
        module, encoders, examples={"image": EXAMPLES["image"][0], "text": EXAMPLES["text"][0]}
    )
    adapter = toy_model()
    for modality, encoder in model.encoders.items():
        told = adapter.encoders[modality]
        assert [layer.name for layer in encoder.blocks] == [layer.name for layer in told.blocks]
        assert [layer.read for layer in encoder.blocks] == [layer.read for layer in told.blocks]
        assert encoder.layer(-1).name == told.layer(-1).name
        assert encoder.default_layer == 1
    item, told_item = (each.item("image", EXAMPLES["image"][0]) for each in (model, adapter))
    assert item.layout.grid == told_item.layout.grid == (4, 4)
    assert item.layout.index == told_item.layout.index == tuple(range(1, 17))
    assert model.encoders["image"].stride == (2, 2)
    same_maps(model, adapter)


def test_names_of_lists_do_without_an_example() -> None:
    module, encoders = toy_encoders(layers="image_blocks")
    model = m2ib.adapt(module, {"image": encoders["image"]})
    assert [layer.name for layer in model.encoders["image"].blocks] == [f"image_blocks.{n}" for n in range(3)]
    assert model.item("image", EXAMPLES["image"][0]).layout.grid == (4, 4)


def test_names_of_blocks_and_layers_may_be_mixed() -> None:
    module, _ = toy_encoders()
    layers = ["image_blocks.0", m2ib.Layer(module.image_blocks[2], "the last")]
    image = m2ib.Encoder(embed=module.embed_image, layers=layers, stem="patches", layout=m2ib.Layout((4, 4)))
    model = m2ib.adapt(module, {"image": image})
    assert [layer.name for layer in model.encoders["image"].blocks] == ["image_blocks.0", "the last"]
    assert model.encoders["image"].layer(-1).name == "patches"


def test_it_keeps_the_contract_and_leaves_the_module_alone() -> None:
    module, encoders = toy_encoders()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.train()
    model = m2ib.adapt(
        module, encoders, examples={"image": EXAMPLES["image"][0], "text": EXAMPLES["text"][0]}, name="mine"
    )
    assert module.training
    assert all(
        parameter.requires_grad is False for parameter in module.parameters()
    )  # as toy_model left them
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    module.eval()
    assert repr(model).startswith("Model(mine,")
    check_adapter(model, {"image": EXAMPLES["image"], "text": [IDS, torch.tensor([1, 7, 30, 31, 8, 2])]})


def test_what_prepare_gives_may_be_an_item() -> None:
    module, encoders = toy_encoders(layers="image_blocks")
    text = m2ib.Encoder(embed=module.embed_text, prepare=prepare_text)
    model = m2ib.adapt(module, {**encoders, "text": text}, examples={"text": EXAMPLES["text"][0]})
    explanation = m2ib.explain(model, image=EXAMPLES["image"][0], text="two cats")
    assert [word for word, _ in explanation["text"].words] == ["two", "cats"]


def test_pages_show_what_is_plain_to_see() -> None:
    module, encoders = toy_encoders()
    model = m2ib.adapt(
        module, encoders, examples={"image": EXAMPLES["image"][0], "text": EXAMPLES["text"][0]}
    )
    explanation = m2ib.explain(model, image=EXAMPLES["image"][0], text=IDS)
    image, text = explanation
    assert image.renderer.name == "image"
    assert [axis.name for axis in image.axes] == ["row", "column"]
    assert image.axes[0].spans[:2] == ((0.0, 2.0), (2.0, 4.0))
    assert text.tokens == ("1", "5", "9", "2")
    assert explanation.figure() is not None


# Proofs, over the kinds of stems there are.


class Patched(nn.Module):
    """Patches, ``before`` and ``after`` them tokens of its own; blocks; the mean."""

    def __init__(
        self, patch: tuple[int, int], before: int = 0, after: int = 0, stride: int | None = None
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, patch, patch if stride is None else stride)
        self.before, self.after = (
            nn.Parameter(torch.randn(1, before, 8)),
            nn.Parameter(torch.randn(1, after, 8)),
        )
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3))

    def tokens(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2)  # (N, cells, 8)
        extra = [part.expand(len(x), -1, -1) for part in (self.before, self.after)]
        return torch.cat([extra[0], x, extra[1]], 1)  # (N, T, 8)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.tokens(pixels)
        for block in self.blocks:
            x = block(x)
        return x.mean(1)


def layout_of(module: nn.Module, shape: tuple[int, ...], **encoder: Any) -> m2ib.Layout:
    made = m2ib.Encoder(embed=module, **{"layers": "blocks", **encoder})
    return m2ib.adapt(module, {"image": made}).item("image", torch.randn(shape)).layout


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("after", [0, 4])
@pytest.mark.parametrize("size", [(12, 12), (8, 20), (13, 15)])
def test_patches_are_found_wherever_they_stand(before: int, after: int, size: tuple[int, int]) -> None:
    layout = layout_of(Patched((4, 4), before, after), (3, *size))
    rows, columns = size[0] // 4, size[1] // 4
    assert layout.grid == (rows, columns)
    places = tuple(range(before, before + rows * columns))
    assert layout.index == (places if before or after else None)


def test_tokens_in_another_order_are_found() -> None:
    class Columns(Patched):
        def tokens(self, pixels: Tensor) -> Tensor:
            return self.patches(pixels).transpose(2, 3).flatten(2).transpose(1, 2)  # column by column

    layout = layout_of(Columns((4, 4)), (3, 8, 12))
    assert layout.grid == (2, 3)
    assert layout.index == (0, 2, 4, 1, 3, 5)


def test_windows_over_time_are_found() -> None:
    class Windows(Patched):
        def __init__(self) -> None:
            super().__init__((4, 4), before=1)
            self.patches = nn.Conv1d(6, 8, 10, 10)

    layout = layout_of(Windows(), (6, 70))
    assert layout.grid == (7,)
    assert layout.index == tuple(range(1, 8))


def normalised(pixels: Tensor) -> Tensor:
    return pixels / pixels.pow(2).mean((1, 2, 3), keepdim=True).sqrt()


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        pytest.param(Patched((4, 4), stride=2), (3, 12, 12), id="windows that overlap"),
        pytest.param(Patched((4, 2), stride=None), (3, 12, 12), id="patches that are no squares"),
    ],
)
def test_what_is_not_proven_is_asked_for(module: Patched, shape: tuple[int, ...]) -> None:
    tokens = module.tokens(torch.zeros(1, *shape)).shape[1]
    seen = rf"layer -1 \(blocks\.0 \(input\)\): \(1, {tokens}, 8\).*layer 2 \(blocks\.2\): \(1, {tokens}, 8\)"
    with pytest.raises(
        m2ib.AdapterError,
        match=rf"image: the layout cannot be proven. Seen: input \(3, 12, 12\) float32; {seen}",
    ) as caught:
        layout_of(module, shape)
    assert "Encoder(layout=m2ib.Layout(grid=(rows, columns), index=(...)))" in str(caught.value)


def test_an_example_is_a_way_out_where_none_was_given() -> None:
    module, image = Convolutions(), torch.randn(3, 24, 40)
    named = {"image": m2ib.Encoder(embed=module, layers="stages")}
    with pytest.raises(
        m2ib.AdapterError, match=r"or give adapt an example, to find which axes hold batch and channels$"
    ):
        m2ib.adapt(module, named).item("image", image)
    assert m2ib.adapt(module, named, examples={"image": image}).item("image", image).layout == m2ib.Layout()


def test_a_stem_that_mixes_everything_proves_nothing() -> None:
    class Mixing(Patched):
        def tokens(self, pixels: Tensor) -> Tensor:
            return super().tokens(normalised(pixels))

    with pytest.raises(m2ib.AdapterError, match="the layout cannot be proven"):
        layout_of(Mixing((4, 4)), (3, 12, 12))
    given = m2ib.Layout((3, 3))
    assert layout_of(Mixing((4, 4)), (3, 12, 12), layout=given).grid == (3, 3)


class Convolutions(nn.Module):
    """Stages of a convolutional net; with ``last`` channels last."""

    def __init__(self, last: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.last = last
        self.stages = nn.ModuleList(Stage(width, 2 * width, last) for width in (4, 8))
        self.stem = nn.Conv2d(3, 4, 2, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.stem(pixels)
        x = x.permute(0, 2, 3, 1) if self.last else x
        for stage in self.stages:
            x = stage(x)
        return x.mean((1, 2) if self.last else (2, 3))


class Stage(nn.Module):
    def __init__(self, width: int, out: int, last: bool) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(width, out, 3, 2, 1), last

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if self.last else self.conv(x)


@pytest.mark.parametrize("last", [False, True])
def test_channels_are_found_among_four_axes(last: bool) -> None:
    module = Convolutions(last).eval()
    image = torch.randn(3, 24, 40)
    model = m2ib.adapt(module, {"image": m2ib.Encoder(embed=module)}, examples={"image": image})
    encoder = model.encoders["image"]
    assert {encoder.layer(number).channel_axis for number in (-1, 0, 1)} == {-1 if last else 1}
    found = m2ib.explain(model, ("image", image), ("image", torch.randn(3, 24, 40)), layer=0)
    assert found[0].grid.shape == (6, 10)


def test_channels_that_could_be_rows_are_asked_for() -> None:
    module = Convolutions()
    with pytest.raises(
        m2ib.AdapterError,
        match=r"layer 'stages.1' gives \(1, 16, 16, 16\) for one input \(1, 3, 128, 128\) float32 and \(2, 16, 16, 16\) for "
        r"two: which axis holds the channels cannot be told; give an m2ib.Layer\(module, name, channel_axis=",
    ):
        m2ib.adapt(
            module, {"image": m2ib.Encoder(embed=module)}, examples={"image": torch.randn(3, 128, 128)}
        )


@pytest.mark.parametrize(
    ("positions", "sizes", "kept"),
    [
        ((7, 7), (3, 224, 224), True),
        ((512, 7), (3, 224, 224), False),
        ((7, 10), (3, 224, 320), True),
        ((7, 7), (3, 224, 320), False),
        ((13, 13), (3, 100, 100), True),  # steps of 8, the last one not whole
        ((50,), (6, 200), True),
        ((64,), (6, 200), False),
        ((7, 7), (3,), False),
    ],
)
def test_proportions(positions: tuple[int, ...], sizes: tuple[int, ...], kept: bool) -> None:
    assert keeps_proportions(positions, sizes) is kept


# Errors.


def adapt_toy(change: Callable[[Toy], dict[str, Any]], **options: Any) -> m2ib.Model:
    module = toy_model().module
    assert isinstance(module, Toy)
    encoder = m2ib.Encoder(**{"embed": module.embed_image, **change(module)})
    return m2ib.adapt(module, {"image": encoder}, **options)


@pytest.mark.parametrize(
    ("given", "example", "message"),
    [
        (
            {},
            None,
            "adapt: image: no layers were given, and several lists could be its blocks: image_blocks (3), text_blocks (3); name the "
            'list, as in Encoder(layers="visual.blocks"), or each block; or give an example, and those are taken that run',
        ),
        (
            {"layers": "image_block"},
            None,
            "adapt: image: the module has no part 'image_block'; did you mean 'image_blocks'? Its parts are patches, "
            "image_blocks, image_head, words, text_blocks, text_head",
        ),
        (
            {"layers": "text_blocks"},
            torch.zeros(3, 8, 8),
            "adapt: image: layer 'text_blocks.0 (input)' does not run when an input is embedded",
        ),
        (
            {},
            torch.zeros(1, 3, 8, 8),
            "adapt: image: embed raised RuntimeError on inputs (1, 1, 3, 8, 8) float32, which is what prepare gives with a batch "
            "axis before it: ",
        ),
        (
            {"embed": lambda pixels: pixels.mean()},
            torch.zeros(3, 8, 8),
            "adapt: image: embed gives () float32 for inputs (1, 3, 8, 8) float32; it must be (1, D)",
        ),
        (
            {},
            "a.png",
            "adapt: image: the example is a str, and the encoder has no `prepare`; give a preprocessed tensor",
        ),
    ],
)
def test_errors_say_what_to_give(given: dict[str, Any], example: Any, message: str) -> None:
    with pytest.raises(m2ib.AdapterError) as caught:
        adapt_toy(lambda module: given, examples=None if example is None else {"image": example})
    assert str(caught.value).startswith(message)


def test_no_list_of_blocks() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        m2ib.AdapterError, match=r"there is no list of blocks of one class \(lists: none\); name the list"
    ):
        m2ib.adapt(module, {"image": m2ib.Encoder(embed=module)})
    named = m2ib.Encoder(embed=module, layers=["0", "1"])
    model = m2ib.adapt(module, {"image": named}, examples={"image": torch.randn(3, 8, 12)})
    assert model.encoders["image"].layer(0).channel_axis == 1


def test_folded_batches_are_asked_for() -> None:
    class Folded(Patched):
        def forward(self, pixels: Tensor) -> Tensor:
            x = self.tokens(pixels).unflatten(1, (3, 3)).flatten(0, 1)  # rows as a batch
            for block in self.blocks:
                x = block(x)
            return x.unflatten(0, (-1, 3)).mean((1, 2))

    module = Folded((4, 4))
    with pytest.raises(
        m2ib.AdapterError,
        match=r"layer 'blocks.0 \(input\)' gives \(3, 3, 8\) for one input .* and \(6, 3, 8\) for two: which axis is the batch "
        "cannot be told; give an m2ib.Layer",
    ):
        m2ib.adapt(module, {"image": m2ib.Encoder(embed=module)}, examples={"image": torch.randn(3, 12, 12)})


def test_other_things_that_cannot_be() -> None:
    with pytest.raises(m2ib.AdapterError, match=r"takes a torch\.nn\.Module first, not function"):
        m2ib.adapt(lambda x: x, {})  # type: ignore[arg-type]
    with pytest.raises(m2ib.AdapterError, match=r"'image' is no m2ib\.Encoder but function"):
        m2ib.adapt(nn.Identity(), {"image": lambda x: x})  # type: ignore[dict-item]
    with pytest.raises(m2ib.AdapterError, match=r"examples of \['sound'\], but encoders of \['image'\]"):
        m2ib.adapt(nn.Identity(), {"image": m2ib.Encoder(embed=nn.Identity())}, examples={"sound": 1})
    module, encoders = toy_encoders(layers="image_blocks")
    model = m2ib.adapt(
        module,
        {"image": encoders["image"], "more": m2ib.Encoder(embed=module.embed_image, layers="image_blocks")},
    )
    with pytest.raises(
        m2ib.InputError, match="more: this model takes no raw inputs; give a preprocessed tensor"
    ):
        model.item("more", "x.png")
    named = m2ib.Model(module, encoders, torch.device("cpu"), torch.float32)
    with pytest.raises(
        m2ib.AdapterError, match=r"encoder: its layers are names, 'image_blocks'; m2ib.adapt\(module"
    ):
        m2ib.explain(named, image=torch.zeros(3, 8, 8), text=IDS)


# What the first readers of the tutorial tripped over.


def test_a_layout_holds_tokens_and_axes() -> None:
    with pytest.raises(m2ib.AdapterError, match=r"Layout: axes holds 'time', which is no m2ib\.Axis"):
        m2ib.Layout((3,), axes=("time",))  # type: ignore[arg-type]
    with pytest.raises(m2ib.AdapterError, match=r"Layout: tokens holds 'a', which is no m2ib\.Token"):
        m2ib.Layout((3,), tokens=("a", "b", "c"))  # type: ignore[arg-type]


def test_whose_describe_it_is_that_differs() -> None:
    module, _ = toy_encoders(layers="image_blocks")

    def shifted(raw: Any) -> m2ib.Item:
        return m2ib.Item(prepare_image(raw).inputs, m2ib.Layout((2, 2), (1, 2, 3, 4)), None)

    image = m2ib.Encoder(embed=module.embed_image, layers="image_blocks", prepare=shifted)
    text = m2ib.Encoder(embed=module.embed_text, prepare=prepare_text)
    model = m2ib.adapt(module, {"image": image, "text": text}, examples={"text": EXAMPLES["text"][0]})
    with pytest.raises(ConformanceError) as caught:
        check_adapter(model, EXAMPLES)
    assert (
        "image: preprocessed input: the layout's grid is (2, 2) after prepare(raw) and (4, 4) after describe(inputs). This "
        "describe is what m2ib.adapt proves of a tensor; look at the layout of prepare" in str(caught.value)
    )
    assert (
        "This describe is m2ib.adapt's, which knows no special tokens: give Encoder(describe=...), ids -> Item"
        in str(caught.value)
    )


def test_a_batch_axis_too_many_is_told_by_the_kit() -> None:
    module, _ = toy_encoders(layers="image_blocks")
    given = m2ib.Encoder(
        embed=module.embed_image,
        layers="image_blocks",
        prepare=lambda raw: m2ib.Item(
            prepare_image(raw).inputs[None], m2ib.Layout((4, 4), tuple(range(1, 17))), None
        ),
    )
    model = m2ib.adapt(module, {"image": given})
    with pytest.raises(
        ConformanceError,
        match=r"image: embed raised RuntimeError on inputs \(1, 1, 3, 8, 8\) float32, which is what prepare gives with a batch axis "
        "before it: ",
    ):
        check_adapter(model, {"image": EXAMPLES["image"]})


# A batch of one is the one, though nothing said of which shape an input is.


@pytest.mark.parametrize("layout", [None, m2ib.Layout((4, 4), index=tuple(range(1, 17)))])
def test_a_batch_of_one_is_taken_as_the_one(layout: m2ib.Layout | None) -> None:
    module, encoders = toy_encoders(layout=layout)
    model = m2ib.adapt(
        module, encoders, examples={"image": EXAMPLES["image"][0], "text": EXAMPLES["text"][0]}
    )
    raw = EXAMPLES["image"][0]
    pixels = model.item("image", raw).inputs
    assert isinstance(pixels, Tensor)
    for given in (pixels[None], [pixels], [raw]):
        item = model.item("image", given)
        assert torch.equal(item.inputs, pixels)  # type: ignore[arg-type]
        assert item.layout.grid == (4, 4)
    with pytest.raises(m2ib.InputError, match=r"^image: this is a batch of 2, give one of them"):
        model.item("image", torch.stack([pixels, pixels]))


def test_patches_that_leave_a_border_lie_where_they_are() -> None:
    """They were stretched over all of the input, and their step with them: 17 of 70 pixels in place of 16."""
    module = Patched((16, 16)).eval()
    image = torch.randn(3, 70, 54, generator=torch.Generator().manual_seed(0))
    model = m2ib.adapt(module, {"image": m2ib.Encoder(embed=module)}, examples={"image": image})
    encoder, item = model.encoders["image"], model.item("image", image)
    assert encoder.stride == (16, 16)
    assert item.layout.grid == (4, 3)
    assert [axis.spans[-1] for axis in item.layout.axes] == [(48.0, 64.0), (32.0, 48.0)]
    found = m2ib.explain(model, ("image", image), ("image", image.flip(2)), method="uniform")[0]
    raised = replace(found, grid=np.eye(4, 3)).scores
    assert raised.shape == (70, 54)
    assert raised[:64, :48].any()
    assert not raised[64:].any()
    assert not raised[:, 48:].any()
    kept = encoder.degradation.apply(image[None], torch.zeros(1, 70, 54), item.layout)  # type: ignore[union-attr]
    assert kept.shape == (1, 3, 70, 54)
