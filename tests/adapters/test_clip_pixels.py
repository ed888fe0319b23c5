"""The pixels of a CLIP are those of transformers' own image processor, whatever its file says, or the file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import m2ib
from tiny_clip import save_tiny_clip

SIDE = 32  # of the model's input
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"), blocks=2)


def says(folder: Path, name: str = "preprocessor_config.json", **given: Any) -> Path:
    usual = {"image_processor_type": "CLIPImageProcessor", "size": SIDE, "crop_size": SIDE}
    content = {**usual, **given}
    (folder / "preprocessor_config.json").unlink(missing_ok=True)
    (folder / "processor_config.json").unlink(missing_ok=True)
    nested = {"image_processor": content} if name.startswith("processor") else content
    (folder / name).write_text(json.dumps(nested))
    return folder


def load(folder: Path) -> Any:
    return m2ib.load_model("clip", checkpoint=folder, device="cpu")


def transformers_own(folder: Path, image: Image.Image) -> torch.Tensor:
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels: torch.Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
    return pixels.float()


def photo(width: int, height: int) -> Image.Image:
    from skimage.data import astronaut

    return Image.fromarray(astronaut()[40 : 40 + height, 90 : 90 + width])


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


edges = st.integers(20, 60)
ways = st.one_of(  # each makes images of the model's size
    st.fixed_dictionaries({"size": edges | edges.map(lambda edge: {"shortest_edge": edge})}),
    st.fixed_dictionaries({"size": st.builds(lambda a, b: {"height": a, "width": b}, edges, edges)}),
    st.fixed_dictionaries(
        {"size": edges.map(lambda edge: {"shortest_edge": edge, "longest_edge": edge + 13})}
    ),
    st.just({"do_resize": False}),
    st.just({"do_center_crop": False, "size": square(SIDE)}),
    st.just({"crop_size": 25, "do_pad": True, "pad_size": square(SIDE)}),
    st.just(
        {
            "do_center_crop": False,
            "size": {"max_height": 30, "max_width": 24},
            "do_pad": True,
            "pad_size": square(SIDE),
        }
    ),
)
values = st.fixed_dictionaries(
    {},
    optional={
        "do_rescale": st.booleans(),
        "rescale_factor": st.sampled_from([1 / 255, 1 / 127.5, 1.0]),
        "do_normalize": st.booleans(),
        "image_mean": st.sampled_from([0.4, [0.1, 0.5, 0.9]]),
        "image_std": st.sampled_from([0.3, [0.2, 0.5, 1.5]]),
        "do_convert_rgb": st.booleans(),
        "resample": st.integers(0, 5),
    },
)


@pytest.mark.filterwarnings("ignore:.*centre crop sees")
@settings(max_examples=60, derandomize=True)
@given(way=ways, value=values, width=st.integers(20, 150), height=st.integers(20, 150))
def test_pixels_are_transformers_own_for_every_combination(
    folder: Path, way: dict[str, Any], value: dict[str, Any], width: int, height: int
) -> None:
    image = photo(width, height)
    says(folder, **way, **value)
    item = load(folder).item("image", image)
    torch.testing.assert_close(item.inputs, transformers_own(folder, image), **EXACT)


@pytest.mark.filterwarnings("ignore:.*centre crop sees")
@settings(max_examples=30, derandomize=True)
@given(way=ways, width=st.integers(60, 250), height=st.integers(60, 250))
def test_the_map_lies_where_the_pixels_come_from(
    folder: Path, way: dict[str, Any], width: int, height: int
) -> None:
    """Of an image whose red says the column and whose green the row, what the model gets tells where it looks."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    places = Image.fromarray(np.stack([columns, rows, np.full_like(rows, 255)], 2))
    says(folder, **way, do_rescale=False, do_normalize=False, resample=2)
    item = load(folder).item("image", places)
    red, green, blue = item.inputs.double()
    down, across = (np.repeat([np.mean(span) for span in axis.spans], 8) for axis in item.layout.axes)
    within = np.tile(np.arange(8) - 3.5, 4)
    sizes = [(axis.spans[0][1] - axis.spans[0][0]) / 8 for axis in item.layout.axes]  # of one input pixel
    inside = (blue == 255).numpy()  # no padding, nor its border
    for found, wanted, size in (
        (green, (down + within * sizes[0])[:, None], sizes[0]),
        (red, (across + within * sizes[1])[None], sizes[1]),
    ):
        off = np.abs(found.numpy() - (wanted - 0.5))[inside]
        assert off.max() <= 0.6 * max(size, 1) + 0.5


def test_as_transformers_5_nests_it(folder: Path) -> None:
    image = photo(100, 61)
    says(folder, "processor_config.json", size=50, do_rescale=False)
    wanted = transformers_own(folder, image)
    assert wanted.max() > 100
    torch.testing.assert_close(load(folder).item("image", image).inputs, wanted, **EXACT)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a crop of another size": ({"crop_size": 36}, r"36x36 pixels .*crop_size .* its model takes 32x32"),
    "a squash of another size": (
        {"do_center_crop": False, "size": square(40)},
        r"40x40 pixels \(size \{'height': 40, 'width': 40\}\)",
    ),
    "a size that Pillow's processor has not": (
        {"size": {"longest_edge": 32}},
        "Size must contain .* longest_edge",
    ),
    "no size": ({"size": "big"}, "Could not convert size input to size dict: big"),
    "an unknown step": ({"do_flip_channel_order": True}, "has 'do_flip_channel_order', which"),
    "another processor": (
        {"image_processor_type": "Siglip2ImageProcessor"},
        "Siglip2ImageProcessorPil, whose steps",
    ),
    "a short mean": ({"image_mean": [0.5]}, r"the image_mean \[0.5\] .* the model takes 3 channels"),
    "no number": ({"image_mean": "grey"}, "the image_mean grey"),
    "a deviation of 0": ({"image_std": 0}, "the image_std 0; "),
    "a filter": ({"resample": 9}, "the resample 9"),
    "a factor": ({"rescale_factor": 0}, "the rescale_factor 0"),
    "a word for a number": ({"do_pad": True, "pad_size": "big"}, "Could not convert size"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_whose_pixels_cannot_be_made_is_refused(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(m2ib.CheckpointError, match=message) as caught:
        load(says(folder, **change))
    assert "\n" not in str(caught.value)


def test_an_image_that_comes_out_at_another_size_is_refused(folder: Path) -> None:
    model = load(says(folder, do_center_crop=False))
    assert model.item("image", photo(60, 60)).inputs.shape == (3, SIDE, SIDE)
    with pytest.raises(
        m2ib.InputError,
        match=r"120x60 pixels: .* makes it 64x32, and the model takes 32x32: size \{'shortest_edge': 32\}",
    ):
        model.item("image", photo(120, 60))


def test_a_very_long_image_is_not_resized_whole(folder: Path) -> None:
    model = load(says(folder))
    raw = np.zeros((3, 200_000, 3), np.uint8)
    raw[:, 100_000:] = 255
    with pytest.warns(m2ib.M2IBWarning, match="sees 0.0% of it"):
        item = model.item("image", raw)
    assert item.inputs[:, :, 0].max() < 0 < item.inputs[:, :, -1].min()
    assert item.view.scale[0] * 100_000 == pytest.approx(sum(item.view.region[::2]) / 2, abs=0.01)


@pytest.mark.parametrize("mean", [0.4, [0.4]])
def test_a_model_of_one_channel_sees_grey(tmp_path: Path, mean: Any) -> None:
    folder = says(
        save_tiny_clip(tmp_path, blocks=2, num_channels=1),
        image_mean=mean,
        image_std=mean,
        do_convert_rgb=False,
    )
    model, image = load(folder), photo(60, 50)
    item = model.item("image", image)
    assert item.inputs.shape == (1, SIDE, SIDE)
    torch.testing.assert_close(item.inputs, transformers_own(folder, image.convert("L")), **EXACT)
    again = model.item("image", item.inputs)
    assert np.abs(again.view.pixels.astype(int) - 102 * (item.inputs[0, ..., None].numpy() + 1)).max() <= 1
    assert model.embed("image", item.inputs[None]).shape == (1, 16)


@pytest.mark.parametrize(
    ("channels", "message"),
    [(1, r"the model takes 1 channels: give one number"), (4, "num_channels 4; images have 3 channels here")],
)
def test_channels_that_do_not_fit(tmp_path: Path, channels: int, message: str) -> None:
    folder = save_tiny_clip(tmp_path, blocks=2, num_channels=channels)
    with pytest.raises(m2ib.CheckpointError, match=message):
        load(folder)
