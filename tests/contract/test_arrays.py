"""A map's values at the raw input's own size, and as arrays with named axes."""

from __future__ import annotations

import builtins
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import m2ib
from m2ib.contract.attribution import Attribution
from m2ib.contract.layout import Axis, Layout, Token
from m2ib.renderers import FieldRenderer, FieldView, ImageRenderer, ImageView, TextRenderer, ValuesRenderer

GRID = np.random.default_rng(0).random((3, 4)).astype(np.float32)


def of(
    view: Any, renderer: Any, layout: Layout, grid: np.ndarray = GRID, modality: str = "image"
) -> Attribution:
    return Attribution(modality, "m2ib", grid, grid, layout, None, {"layer": 9}, view, renderer)


def photo(size: tuple[int, int], region: tuple[float, float, float, float]) -> Attribution:
    """Of an image (width, height), of which the model sees a region."""
    view = ImageView.of(Image.new("RGB", size), region, (30, 40))
    return of(view, ImageRenderer(), Layout((3, 4)))


@pytest.mark.parametrize(
    ("size", "region"),
    [
        ((80, 60), (0, 0, 80, 60)),
        ((101, 47), (20.5, 3.25, 71, 44)),  # a crop
        ((50, 20), (0, -10, 50, 30)),  # padded above and below
        ((2500, 1300), (600, 0, 1900, 1300)),  # shown smaller than it is
    ],
)
def test_the_raw_image_pixel_by_pixel(
    size: tuple[int, int], region: tuple[float, float, float, float]
) -> None:
    attribution = photo(size, region)
    values, density = attribution.at_input_size(), attribution.at_input_size(density=True)
    width, height = size
    left, top, right, bottom = region
    assert values.shape == density.shape == (height, width)
    draw = np.random.default_rng(1)
    for _ in range(300):
        y, x = int(draw.integers(height)), int(draw.integers(width))
        row, column = (y + 0.5 - top) / (bottom - top) * 3, (x + 0.5 - left) / (right - left) * 4
        inside = 0 <= row < 3 and 0 <= column < 4
        assert np.isnan(values[y, x]) != inside
        if inside and max(abs(row - round(row)), abs(column - round(column))) > 1e-6:
            assert values[y, x] == GRID[int(row), int(column)]
    share = [  # of each cell inside the image
        np.clip((np.minimum(edges[1:], length) - np.maximum(edges[:-1], 0)) / np.diff(edges), 0, 1)
        for edges, length in ((np.linspace(top, bottom, 4), height), (np.linspace(left, right, 5), width))
    ]
    assert density.sum(dtype=float) == pytest.approx((GRID * np.outer(*share)).sum(), rel=1e-4)


def test_where_a_box_lies_the_density_adds_up() -> None:
    attribution = photo((80, 60), (0, 0, 80, 60))
    assert attribution.at_input_size(density=True)[20:40, 40:80].sum() == pytest.approx(
        GRID[1, 2:].sum(), rel=1e-5
    )


def test_a_field_at_its_raw_size() -> None:
    view = FieldView(
        np.ones((30, 40), np.float32), "depth", "m", "viridis", (5, 0, 35, 30), (14, 14), (0.5, 0.5)
    )
    values = of(view, FieldRenderer(), Layout((3, 4)), modality="depth").at_input_size()
    assert values.shape == (60, 80)
    assert np.isnan(values[:, :10]).all()
    assert values[0, 10] == GRID[0, 0]
    assert values[59, 69] == GRID[2, 3]


def test_the_models_own_crop(photo64: m2ib.Model, clip64: m2ib.Model) -> None:
    """CLIP sees the middle square; photo's map has no axes until its layer is known."""
    picture = np.random.default_rng(0).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    a = m2ib.explain(
        clip64, ("image", picture), ("image", picture), layer=1, steps=1, samples=1, show_progress=False
    )[0]
    values = a.at_input_size()
    assert values.shape == (48, 96)
    assert np.isnan(values[:, :24]).all()
    assert np.isfinite(values[:, 24:72]).all()
    assert values[47, 71] == a.grid[-1, -1]
    b = m2ib.explain(photo64, image=picture, text="a dog", steps=1, samples=1, show_progress=False)["image"]
    assert np.unique(b.at_input_size()).size == np.unique(b.grid).size


def text_map() -> Attribution:
    tokens = (
        Token("<s>", 0, 0, True),
        Token("ab", 0, 2),
        Token("é", 3, 4),
        Token("é", 3, 4),
        Token("", 4, 4),
    )
    values = np.array([9.0, 1, 2, 3, 4], np.float32)
    return of({"text": "ab éc"}, TextRenderer(), Layout((5,), tokens=tokens), values, "text")


def test_a_text_character_by_character() -> None:
    np.testing.assert_array_equal(text_map().at_input_size(), np.array([1, 1, np.nan, 2, 4], np.float32))
    np.testing.assert_array_equal(
        text_map().at_input_size(density=True), np.array([0.5, 0.5, 0, 5, 4], np.float32)
    )


def test_an_input_without_a_raster_is_refused() -> None:
    attribution = of(None, ValuesRenderer(), Layout((3, 4)), modality="audio")
    with pytest.raises(
        m2ib.InputError, match=r"modality 'audio' is kept without a raster .*`axes` and to_xarray\(\)"
    ):
        attribution.at_input_size()


def test_arrays_with_their_axes() -> None:
    pytest.importorskip("xarray")
    axes = (
        Axis("frequency", "Hz", ((0, 10), (10, 30), (30, 90))),
        Axis("time", "s", tuple((n, n + 2.0) for n in range(4))),
    )
    made = of(None, ValuesRenderer(), Layout((3, 4), axes=axes), modality="audio").to_xarray()
    assert (made.dims, made.name) == (("frequency", "time"), "m2ib")
    np.testing.assert_array_equal(made.values, GRID)
    assert made.attrs == {"unit": "nats", "method": "m2ib", "modality": "audio", "layer": 9}
    assert made.frequency.values.tolist() == [5, 20, 60]
    assert made.frequency.attrs == {"units": "Hz"}
    assert made.time_start.values.tolist() == [0, 1, 2, 3]
    assert made.time_end.values.tolist() == [2, 3, 4, 5]
    assert float(made.sel(time=2.9, frequency=55, method="nearest")) == GRID[2, 2]


def test_arrays_of_texts_images_and_of_what_is_unknown() -> None:
    pytest.importorskip("xarray")
    text = text_map().to_xarray()
    assert text.dims == ("token",)
    assert text.token.values.tolist() == ["<s>", "ab", "é", "é", ""]
    assert float(text.where(~text.special).sum()) == 10
    image = photo((80, 60), (0, 0, 80, 60)).to_xarray()
    assert image.dims == ("row", "column")
    assert image.column.values.tolist() == [10, 30, 50, 70]
    plain = replace(of(None, ValuesRenderer(), Layout((3, 4))), settings={}).to_xarray()
    assert plain.dims == ("axis_0", "axis_1")
    assert not plain.coords
    assert "layer" not in plain.attrs


def test_a_missing_xarray_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "xarray":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(m2ib.InputError, match="to_xarray needs the package xarray: pip install xarray"):
        text_map().to_xarray()
