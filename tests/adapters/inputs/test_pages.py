"""Files and arrays of several pages or frames: which is read, what is said of it, and how one is chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import m2ib
from m2ib.errors import InputError, M2IBWarning
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.images import ImagePreparation, open_image
from m2ib_adapters.inputs.thermal import ThermalPreparation
from xrays import save_dicom, xray

PAGES = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")]
LOSSY = 40  # grey levels, of MPO's JPEG
PREPARATION = ImagePreparation((16, 16), (0.5,) * 3, (0.5,) * 3)


def save(path: Path, pages: list[Image.Image], **ways: Any) -> Path:
    copies = [page.copy() for page in pages]  # Pillow leaves settings of one format on them
    copies[0].save(path, save_all=True, append_images=copies[1:], **ways)
    return path


@pytest.mark.parametrize("name", ["x.tif", "x.gif", "x.png", "x.webp", "x.mpo", "x.avif"])
def test_one_of_several_pages(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, PAGES, **({"lossless": True} if name == "x.webp" else {}))
    said = (
        f"^image '{path}' holds 3 pages \\(or frames\\), and the first is read; choose one, 0 to 2: page=0 "
    )
    with pytest.warns(M2IBWarning, match=said):
        first, origin = open_image(path)
    assert (origin["page"], origin["pages"]) == (0, 3)
    assert np.abs(np.asarray(first).astype(int) - np.asarray(PAGES[0])).max() < LOSSY
    for number, expected in enumerate(PAGES):
        picture, origin = open_image(path, page=number)
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(expected)).max() < LOSSY
        assert (origin["page"], origin["pages"]) == (number, 3)
    with pytest.raises(
        InputError, match=r"there is no page=3 \(options.image.page\), counted from 0; there is 0 to 2"
    ):
        open_image(path, page=3)


def test_one_page_is_no_matter(tmp_path: Path) -> None:
    PAGES[1].save(tmp_path / "x.tif")
    assert "pages" not in open_image(tmp_path / "x.tif")[1]
    assert open_image(tmp_path / "x.tif", page=0)[0].getpixel((0, 0)) == (0, 255, 0)
    with pytest.raises(InputError, match=r"there is no page=1 .*; there is 0 alone"):
        open_image(tmp_path / "x.tif", page=1)


def test_smaller_copies_of_the_first_are_not_pages(tmp_path: Path) -> None:
    """TIFF's pyramids, and the previews in a camera's MPO: nothing is chosen between them."""
    small = PAGES[0].resize((20, 15))
    save(tmp_path / "x.mpo", [PAGES[0], small])
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(np.asarray(PAGES[0]), photometric="rgb")
        file.write(np.asarray(small), photometric="rgb", subfiletype=1)
    for name in ("x.tif", "x.mpo"):
        picture, origin = open_image(tmp_path / name)
        assert (picture.size, origin["pages"]) == ((40, 30), 2)


def test_a_pil_image_is_at_its_page(tmp_path: Path) -> None:
    with Image.open(save(tmp_path / "x.tif", PAGES)) as image:
        with pytest.warns(M2IBWarning, match="^image holds 3 pages"):
            open_image(image)
        assert open_image(image, page=2)[0].getpixel((0, 0)) == (0, 0, 255)
        assert image.tell() == 0
        image.seek(1)
        assert open_image(image)[0].getpixel((0, 0)) == (0, 255, 0)


def test_options_of_one_input(tmp_path: Path) -> None:
    path = save(tmp_path / "x.tif", PAGES)
    item = PREPARATION.prepare({"image": path, "page": 2}, m2ib.Layout())
    expected = PREPARATION.prepare(PAGES[2], m2ib.Layout()).inputs
    assert isinstance(item.inputs, torch.Tensor)
    assert isinstance(expected, torch.Tensor)
    assert torch.equal(item.inputs, expected)
    assert item.origin["page"] == 2
    with pytest.raises(InputError, match=r"x\.tif': page is a whole number from 0 on, not 'last'"):
        PREPARATION.prepare({"image": path, "page": "last"}, m2ib.Layout())


def test_arrays_with_a_page_axis() -> None:
    stack = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(open_image(stack, page=4)[0]), stack[4])
    assert open_image(stack, page=4)[1]["pages"] == 5
    origin = PREPARATION.prepare({"image": stack, "page": np.int64(2)}, m2ib.Layout()).origin
    assert json.loads(json.dumps(dict(origin)))["page"] == 2
    grey = stack[..., 0]
    assert np.array_equal(np.asarray(open_image(grey, page=1)[0])[..., 0], grey[1])
    for raw in (stack, grey):
        with pytest.raises(
            InputError, match=r"of several pages, say which: page=0 \(options.image.page=0\)$"
        ):
            open_image(raw)


def test_stacks_of_heat_and_depth(tmp_path: Path) -> None:
    frames = [np.linspace(29000 + 500 * n, 31000, 1600).astype(np.uint16).reshape(40, 40) for n in range(3)]
    save(tmp_path / "heat.tif", [Image.fromarray(frame) for frame in frames])
    np.save(tmp_path / "heat.npy", np.stack(frames))
    metres = [np.linspace(1 + n, 4, 1600).reshape(40, 40) for n in range(3)]
    np.save(tmp_path / "depth.npy", np.stack(metres))
    for preparation, kind, name, pages in (
        (ThermalPreparation(size=(32, 32)), "thermal", "heat.tif", frames),
        (ThermalPreparation(size=(32, 32)), "thermal", "heat.npy", frames),
        (DepthPreparation(size=(32, 32)), "depth", "depth.npy", metres),
    ):
        chosen = preparation.prepare({kind: tmp_path / name, "page": 2})
        assert torch.equal(chosen.inputs, preparation.prepare(pages[2]).inputs)  # type: ignore[arg-type]
        assert (chosen.origin["page"], chosen.origin["pages"]) == (2, 3)
        if name.endswith(".tif"):
            with pytest.warns(M2IBWarning, match=rf"^{kind} .* holds 3 pages .* \(options.{kind}.page=0\)"):
                preparation.prepare(tmp_path / name)
        else:
            with pytest.raises(
                InputError, match=rf"not \(3, 40, 40\); of several pages, say which: page=0 \(options.{kind}"
            ):
                preparation.prepare(tmp_path / name)


def test_frames_of_a_dicom(tmp_path: Path) -> None:
    frames = np.stack([xray(seed=seed) for seed in range(3)])
    tags = {"Rows": 60, "Columns": 40, "NumberOfFrames": 3}
    file = save_dicom(tmp_path / "x.dcm", frames[0], PixelData=frames.tobytes(), **tags)
    with pytest.raises(InputError, match=r"holds 3 frames; save the one .*, or say which, 0 to 2: page=0 "):
        open_image(file)
    for number, frame in enumerate(frames):
        picture, origin = open_image(file, page=number)
        assert np.array_equal(
            np.asarray(picture)[..., 0], np.round(frame / frame.max() * 255).astype(np.uint8)
        )
        assert (origin["page"], origin["pages"]) == (number, 3)
    with pytest.raises(InputError, match="there is no page=3"):
        open_image(file, page=3)
