"""NaFlex: patches are transformers' own, cells keep their places in photos of any shape, and padding carries nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib

SIZES = [(40, 90), (75, 60), (64, 64), (8, 300), (500, 20), (1, 1), (3, 3), (3, 40), (160, 128)]
NAMES = ("pixel_values", "pixel_attention_mask", "spatial_shapes")


def load(folder: Any, **options: Any) -> Any:
    return m2ib.load_model("siglip", checkpoint=folder, device="cpu", **options)


def photo(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(rows + columns).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(naflex: Path) -> Any:
    return load(naflex)


def processed(folder: Path, image: np.ndarray) -> dict[str, torch.Tensor]:
    """What transformers' own processor gives, (1, ...) by name; left alone, it cuts patches of 16 pixels, at most 256."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    made = processor(images=Image.fromarray(image), return_tensors="pt", max_num_patches=20, patch_size=8)
    return {name: made[name] for name in NAMES}


@pytest.mark.parametrize("size", SIZES)
def test_patches_are_exactly_those_of_transformers(model: Any, naflex: Path, size: tuple[int, int]) -> None:
    wanted = processed(naflex, photo(*size))
    for raw in (photo(*size), Image.fromarray(photo(*size))):
        inputs = model.preprocess("image", [raw])
        assert list(inputs) == list(NAMES)
        for name in NAMES:
            assert torch.equal(inputs[name], wanted[name]), name


@pytest.mark.parametrize("size", SIZES)
def test_the_grid_is_the_photos_own_and_covers_all_of_it(model: Any, size: tuple[int, int]) -> None:
    item = model.item("image", photo(*size))
    rows, columns = item.inputs["spatial_shapes"].tolist()
    assert item.layout.grid == (rows, columns)
    assert item.layout.read == rows * columns <= 20
    for axis, cells, pixels in zip(item.layout.axes, (rows, columns), size, strict=True):
        starts, ends = zip(*axis.spans, strict=True)
        assert (axis.unit, len(axis.spans), starts[0]) == ("px", cells, 0)
        assert ends == pytest.approx([*starts[1:], pixels])
    assert item.view.region == (0, 0, size[1], size[0])
    assert item.view.size == (rows * 8, columns * 8)


@pytest.mark.parametrize("size", [(200, 500), (375, 300), (320, 320)])
def test_a_change_inside_one_cell_of_the_photo_moves_that_cell_alone(
    model: Any, size: tuple[int, int]
) -> None:
    before = photo(*size)
    layout = model.item("image", before).layout
    rows, columns = layout.grid
    stem = model.module.vision_model.embeddings

    def embedded(image: np.ndarray) -> Any:
        inputs = model.preprocess("image", [image])
        with torch.no_grad():
            return stem(inputs["pixel_values"], inputs["spatial_shapes"])[0]  # (P, C)

    for cell in ((0, 0), (rows - 1, columns - 1), (rows // 2, 0)):
        spans = [axis.spans[at] for axis, at in zip(layout.axes, cell, strict=True)]
        inside = tuple(slice(round(a + 0.4 * (b - a)), round(a + 0.6 * (b - a))) for a, b in spans)
        after = before.copy()
        after[inside] = 255 - after[inside]
        moved = (embedded(before) - embedded(after)).abs().sum(-1).double().numpy()  # (P,)
        assert np.count_nonzero(moved) == 1
        assert layout.to_grid(moved)[cell] > 0


def test_padding_is_not_read(model: Any) -> None:
    inputs = model.preprocess("image", [photo(40, 90)])
    count = int(inputs["spatial_shapes"].prod())
    assert count < 20
    plain = model.embed("image", inputs)
    filled = inputs["pixel_values"].clone()
    filled[:, count:] = 7
    torch.testing.assert_close(model.embed("image", inputs | {"pixel_values": filled}), plain, rtol=0, atol=0)
    cut = {name: inputs[name][:, :count] for name in NAMES[:2]} | {NAMES[2]: inputs[NAMES[2]]}
    torch.testing.assert_close(model.embed("image", cut), plain)


def test_photos_of_different_shapes_share_a_batch(model: Any) -> None:
    photos = [photo(40, 90), photo(75, 60), photo(64, 64)]
    together = model.embed("image", model.preprocess("image", photos))
    assert len({tuple(model.item("image", each).layout.grid) for each in photos}) == 3
    for row, each in zip(together, photos, strict=True):
        torch.testing.assert_close(row, model.embed("image", model.preprocess("image", [each]))[0])


@pytest.mark.parametrize("most", [1, 6, 20, 100])
def test_max_patches(naflex: Path, most: int) -> None:
    from transformers import AutoImageProcessor

    model = load(naflex, max_patches=most)
    item = model.item("image", photo(75, 60))
    assert len(item.inputs["pixel_values"]) == item.origin["max_patches"] == most
    assert item.layout.read <= most
    processor = AutoImageProcessor.from_pretrained(naflex)
    wanted = processor(images=Image.fromarray(photo(75, 60)), max_num_patches=most, return_tensors="pt")
    for name in NAMES:
        assert torch.equal(item.inputs[name], wanted[name][0]), name


def test_where_an_image_comes_from_is_told(model: Any) -> None:
    origin = model.item("image", photo(40, 90)).origin
    assert origin["source"] == "array"
    assert origin["size"] == [90, 40]
    assert origin["input_size"] == [8 * side for side in origin["patches"]]
    assert origin["interpolation"] == "bilinear"
    assert origin["mean"] == origin["std"] == [0.5, 0.5, 0.5]
    assert origin["processor"].startswith("Siglip2ImageProcessor")


def ready(model: Any) -> dict[str, torch.Tensor]:
    return dict(model.item("image", photo(40, 90)).inputs)


def test_an_image_that_is_ready_is_explained_like_the_photo(model: Any) -> None:
    described = model.item("image", ready(model))
    resized = model.item("image", photo(40, 90))
    assert (described.layout.grid, described.layout.read) == (resized.layout.grid, resized.layout.read)
    assert described.view.pixels.shape == (*resized.view.size, 3)
    maps = [
        m2ib.explain(model, image=image, text="a dog", steps=2, samples=2)["image"].grid
        for image in (photo(40, 90), ready(model))
    ]
    np.testing.assert_array_equal(maps[0], maps[1])


def test_an_image_that_is_ready_is_shown_with_mean_and_std_undone(model: Any) -> None:
    size = model.item("image", photo(40, 90)).view.size
    exact = photo(*size)  # is not resized
    assert model.item("image", exact).view.size == size
    np.testing.assert_array_equal(
        model.item("image", dict(model.item("image", exact).inputs)).view.pixels, exact
    )


def test_one_tensor_is_refused(model: Any) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        model.item("image", torch.zeros(3, 32, 32))
    assert str(caught.value) == (
        "image: a NaFlex model takes pixel_values, pixel_attention_mask, spatial_shapes, not one tensor of shape "
        "(3, 32, 32); give the image itself (a path, a PIL image or an array), or a dict of what the model's image "
        "processor makes of it, without the batch axis"
    )


def test_embed_refuses_one_tensor(model: Any) -> None:
    with pytest.raises(
        m2ib.InputError,
        match="image: a NaFlex model takes pixel_values, pixel_attention_mask, spatial_shapes;",
    ):
        model.embed("image", torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pixel_values": None},
            "holds tensors named pixel_values, pixel_attention_mask, spatial_shapes, not",
        ),
        ({"more": torch.zeros(1)}, "not pixel_values, pixel_attention_mask, spatial_shapes, more;"),
        (
            {"pixel_values": torch.zeros(20, 100)},
            r"pixel_values are \(patches, 192\) .* not \(20, 100\) torch.float32",
        ),
        ({"pixel_values": torch.zeros(1, 20, 192)}, r"not \(1, 20, 192\) torch.float32"),
        ({"pixel_values": torch.zeros(20, 192).long()}, r"not \(20, 192\) torch.int64"),
        ({"pixel_values": torch.full((20, 192), float("nan"))}, "pixel_values hold NaN or infinite values"),
        ({"spatial_shapes": torch.tensor([5, 5])}, r"rows and columns of at most 20 patches, not \[5, 5\]"),
        ({"spatial_shapes": torch.tensor([-1, -5])}, r"not \[-1, -5\]"),
        ({"spatial_shapes": torch.tensor([[2, 5]])}, r"not \[\[2, 5\]\]"),
        ({"pixel_attention_mask": torch.ones(20)}, "is 1 for the first 3 x 6 of 20 patches and 0 after them"),
        ({"pixel_attention_mask": torch.ones(18)}, "is 1 for the first 3 x 6 of 20 patches and 0 after them"),
    ],
)
def test_what_the_processor_would_not_make_is_refused(
    model: Any, change: dict[str, Any], message: str
) -> None:
    given = ready(model)
    assert given["spatial_shapes"].tolist() == [3, 6]
    with pytest.raises(m2ib.InputError, match=message):
        model.item("image", given | change)


def test_pixels_fade_as_before_the_image_was_cut(model: Any) -> None:
    degradation = model.encoder("image").degradation
    item = model.item("image", photo(40, 90))
    inputs = model.collate_one(item.inputs)
    assert isinstance(degradation, m2ib.Degradation)
    assert degradation.gradual
    rows, columns = degradation.positions(inputs, (3, 6))
    assert (rows, columns) == (24, 48)
    assert degradation.hideable(item.layout, (3, 6)).all()
    patches = inputs["pixel_values"][0, :18].reshape(3, 6, 8, 8, 3)
    image = patches.permute(4, 0, 2, 1, 3).reshape(3, 24, 48)  # back to (channels, rows, columns)
    keep = torch.rand(4, 24, 48, generator=torch.Generator().manual_seed(0)).requires_grad_()
    faded: Any = degradation.apply(inputs, keep, item.layout)
    wanted = m2ib.Fading().apply(image[None], keep, item.layout)  # (4, 3, 24, 48)
    for row, each in zip(faded["pixel_values"], wanted, strict=True):
        for place in range(18):
            down, across = 8 * (place // 6), 8 * (place % 6)
            patch = each[:, down : down + 8, across : across + 8]  # (3, 8, 8)
            torch.testing.assert_close(row[place], patch.permute(1, 2, 0).flatten())
        assert torch.equal(row[18:], inputs["pixel_values"][0, 18:])
    for name in NAMES[1:]:
        assert torch.equal(faded[name], inputs[name].expand(4, -1))
    model.encoder("image").embed(faded).sum().backward()
    assert keep.grad is not None
    assert bool((keep.grad != 0).any((1, 2)).all())


def test_a_map_of_another_shape_is_refused_by_the_degradation(model: Any) -> None:
    degradation = model.encoder("image").degradation
    assert degradation is not None
    with pytest.raises(m2ib.InputError, match=r"an image of 3 x 6 patches, and a map of \(4, 4\) cells"):
        degradation.positions(model.preprocess("image", [photo(40, 90)]), (4, 4))
    with pytest.raises(m2ib.InputError, match="an image in patches is a dict of tensors, not a Tensor"):
        degradation.positions(torch.zeros(1, 3, 8, 8), (1, 1))


def test_shifts_are_refused_with_a_reason(model: Any) -> None:
    with pytest.raises(m2ib.SettingError, match="shifts for image"):
        m2ib.explain(model, image=photo(64, 64), text="a dog", shifts={"image": 4, "text": 1})


@pytest.mark.parametrize(
    "change",
    [{"image_mean": 0.3, "image_std": 0.6}, {"do_normalize": False}, {"do_rescale": False, "image_std": 9.0}],
)
def test_an_image_that_is_ready_is_shown_with_all_steps_undone(
    naflex: Path, edited: Any, change: dict[str, Any]
) -> None:
    from transformers import AutoImageProcessor

    folder = edited(naflex, "preprocessor_config.json", **change)
    model, image = load(folder), photo(24, 48)
    item = model.item("image", image)
    wanted = AutoImageProcessor.from_pretrained(folder)(images=Image.fromarray(image), return_tensors="pt")
    torch.testing.assert_close(item.inputs["pixel_values"], wanted["pixel_values"][0])
    shown = model.item("image", dict(item.inputs)).view.pixels
    assert np.abs(shown.astype(int) - image).max() <= 1  # as large as it is, nothing is resized


def test_a_number_that_the_image_processor_cannot_have(naflex: Path, edited: Any) -> None:
    folder = edited(naflex, "preprocessor_config.json", image_mean=[0.5, 0.5])
    with pytest.raises(m2ib.CheckpointError, match=r"the image_mean \[0.5, 0.5\]"):
        load(folder)
