"""COCO, read back by pycocotools: boxes and masks are those of the cells above the threshold."""

from __future__ import annotations

import dataclasses
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage

import m2ib
from m2ib.contract.arrays import at_size
from m2ib.contract.layout import Axis
from m2ib.export import to_coco
from m2ib.export.regions import hot_regions
from m2ib.results.rows import RowSide
from m2ib.scenes import scene
from many_pairs import FAST, pairs, pictures, raw_pixels

# Of pycocotools' own code, which gives numpy 2 its masks as numpy 1 took them.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def sides(table: m2ib.results.ResultTable) -> dict[str, RowSide]:
    """Those with a picture, by pair."""
    rows = table.where("error is null").records()
    return {row["id"]: side for row in rows for side in table.sides(row) if side.raster}


def read(path: Path, capsys: pytest.CaptureFixture[str]) -> COCO:
    found = COCO(path)
    capsys.readouterr()  # it prints
    return found


def test_pycocotools_reads_it(
    table: m2ib.results.ResultTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = to_coco(table, tmp_path / "coco", threshold=0.3)
    assert found.path == tmp_path / "coco" / "annotations.json"
    coco = read(found.path, capsys)
    images = {Path(image["file_name"]).name: image for image in coco.loadImgs(coco.getImgIds())}
    assert all(Path(image["file_name"]).is_file() for image in images.values())
    assert (images["1.png"]["width"], images["1.png"]["height"]) == (180, 120)
    assert len(images) == 5, "three files, and two arrays written beside"
    known = sides(table)
    texts = {row["id"]: row["input_2"] for row in table}
    seen = 0
    for name, side in known.items():
        mine = [each for each in coco.loadAnns(coco.getAnnIds()) if each["pair"] == name]
        line = 0.3 * max(float(side.grid.max()), side.stored.full or 0)
        shown = at_size(side.grid, side.axes, side.raster, density=False) > line
        together = np.zeros(side.raster, bool)
        for each in mine:
            mask = coco.annToMask(each).astype(bool)
            assert ndimage.label(mask)[1] == 1
            rows, columns = np.nonzero(mask)
            assert each["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert each["area"] == mask.sum()
            assert not (together & mask).any()
            assert coco.loadCats(each["category_id"])[0]["name"] == texts[name]
            assert each["similarity"] == table.row(name)["similarity"]
            together |= mask
        np.testing.assert_array_equal(together, shown)
        share = float(side.grid[side.grid > line].sum() / side.grid.sum())
        assert sum(each["score"] for each in mine) == pytest.approx(share, abs=1e-4)
        assert [each["score"] for each in mine] == sorted((each["score"] for each in mine), reverse=True)
        seen += len(mine)
    assert found.written == {
        "images": 5,
        "annotations": seen,
        "categories": len({texts[name] for name in known}),
    }
    assert seen >= 5
    assert {
        why: n for why, n in found.left_out.items() if "picture" not in why or "without a picture" in why
    } == {
        "without a picture (audio and text)": 1,
        "with an error": 2,
    }


def test_a_percentile_in_place_of_the_threshold(
    table: m2ib.results.ResultTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = to_coco(table.where("id = 'square'"), tmp_path, percentile=90, root=table.folder.parent)
    coco = read(found.path, capsys)
    (image,) = coco.loadImgs(coco.getImgIds())
    assert image["file_name"] == "pictures/0.png"
    area = sum(each["area"] for each in coco.loadAnns(coco.getAnnIds()))
    assert area == 7 * 14 * 14, "the seven highest of 64 cells"


@st.composite
def placed_maps(draw: st.DrawFn) -> RowSide:
    """Grids over pictures of any size, the model's crop inside or around them."""
    grid = np.array(
        draw(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=5)),
        np.float32,
    )
    size = draw(st.tuples(st.integers(3, 30), st.integers(3, 30)))
    axes = []
    for name, cells, length in zip(("row", "column"), grid.shape, size, strict=True):
        start = draw(st.floats(-length / 2, length / 2))
        end = draw(st.floats(start + length / 2, 2 * length))
        edges = np.linspace(start, end, cells + 1).tolist()
        axes.append(Axis(name, "px", tuple(pairwise(edges))))
    return dataclasses.replace(BLANK, grid=grid, axes=tuple(axes), raster=size)


@given(placed_maps())
def test_masks_are_the_pixels_of_their_cells(side: RowSide) -> None:
    shown = at_size(side.grid, side.axes, side.raster, density=False) > side.grid.min() + 0.5 * np.ptp(
        side.grid
    )
    together = np.zeros(side.raster, int)
    for region in hot_regions(side, None, None):
        runs = {"size": [*side.raster], "counts": [*region.counts]}
        mask = coco_mask.decode(coco_mask.frPyObjects(runs, *side.raster))
        left, top, width, height = region.box
        assert mask[top : top + height, left : left + width].sum() == mask.sum() == region.area > 0
        together += mask
    np.testing.assert_array_equal(together, shown.astype(int))


def blank() -> RowSide:
    from m2ib.contract.layout import Layout
    from m2ib.results.reading import StoredAttribution

    about = {
        "modality": "image",
        "method": "m2ib",
        "settings": {},
        "origin": {},
        "curve": None,
        "unit": "nats",
        "view": {},
    }
    stored = StoredAttribution(
        **about, additive=True, warnings=(), full=None, layout=Layout(), renderer="image"
    )
    return RowSide(stored, False, np.zeros((1, 1), np.float32), None, None, (1, 1), (), "", None)


BLANK = blank()


def test_a_file_that_is_gone_is_left_out_and_told(tiny: m2ib.Model, tmp_path: Path) -> None:
    few = [each for each in pairs(tmp_path) if each["id"] in ("tall", "wide")]
    table = m2ib.run(tiny, few, tmp_path / "results", show_progress=False, **FAST)
    (tmp_path / "pictures" / "2.png").unlink()
    found = to_coco(table, tmp_path / "coco")
    assert found.left_out["whose file is not there"] == 1
    assert found.written["images"] == 1
    (tmp_path / "pictures" / "1.png").unlink()
    with pytest.raises(
        m2ib.InputError,
        match=r"^coco: it holds regions of pictures; there is nothing to write: 2 whose file is not there$",
    ):
        to_coco(table, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_pairs_of_two_pictures(tiny: m2ib.Model, tmp_path: Path) -> None:
    first, second = (each["image"] for each in pairs(tmp_path)[:2])
    table = m2ib.run(
        tiny, [(("image", first), ("image", second))], tmp_path / "results", show_progress=False, **FAST
    )
    content = json.loads(to_coco(table, tmp_path / "coco", percentile=50).path.read_text())
    assert [image["file_name"] for image in content["images"]] == [first, second]
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert {(each["image_id"], names[each["category_id"]]) for each in content["annotations"]} == {
        (1, Path(second).name),
        (2, Path(first).name),
    }


def categories(tiny: m2ib.Model, folder: Path, pairs: list[Any]) -> list[str]:
    table = m2ib.run(tiny, pairs, folder / "results", show_progress=False, **FAST)
    content = json.loads(to_coco(table, folder / "coco", percentile=50).path.read_text())
    return [category["name"] for category in content["categories"]]


def test_what_is_no_text_has_a_category_of_its_own(tiny: m2ib.Model, tmp_path: Path) -> None:
    square, wide, _ = pictures(tmp_path / "pictures")
    (tmp_path / "other").mkdir()
    same = shutil.copy(wide, tmp_path / "other")
    depth = scene(seed=3).depth
    given: list[Any] = [{"id": f"{n}", "image": str(square), "depth": depth + n} for n in range(2)]
    given += [(("image", str(square)), ("image", str(path))) for path in (wide, same, wide)]
    given += [(("image", raw_pixels(square)), ("image", raw_pixels(wide)))]
    assert categories(tiny, tmp_path, given) == [
        *("array (0)", "0.png", "array (1)"),
        *("1.png", str(same)),
        *("array (5, 2)", "array (5, 1)"),
    ]


def test_a_category_is_called_after_all_of_a_contrast_or_an_ensemble(
    tiny: m2ib.Model, tmp_path: Path
) -> None:
    square, wide, _ = map(str, pictures(tmp_path / "pictures"))
    mean = m2ib.ensemble("a bell", "a photo of a bell")
    texts = ["a bell", m2ib.contrast("a bell", "a frog", "a cat"), mean, m2ib.contrast(mean, "a frog")]
    given: list[Any] = [{"image": square, "text": text} for text in texts]
    given += [(("image", square), ("image", m2ib.contrast(wide, square)))]
    assert categories(tiny, tmp_path, given) == [
        "a bell",
        "a bell rather than a frog, a cat",
        "the mean of a bell, a photo of a bell",
        "the mean of a bell, a photo of a bell rather than a frog",
        "1.png rather than 0.png",
        "0.png",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 1.0}, "threshold: 1.0 is not from 0 to below 1"),
        ({"threshold": "high"}, "threshold: 'high' is not from 0 to below 1"),
        ({"percentile": -1}, "percentile: -1 is not from 0 to below 100"),
        ({"percentile": 50, "threshold": 0.5}, "threshold: give it or a percentile, not both"),
    ],
)
def test_thresholds_that_are_none(
    table: m2ib.results.ResultTable, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(m2ib.SettingError, match=f"^{said}$"):
        to_coco(table, tmp_path / "coco", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "coco").exists()


def test_what_a_sound_is_refused_by(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    with pytest.raises(
        m2ib.InputError, match=r"there is nothing to write: 1 without a picture \(audio and text\)$"
    ):
        to_coco(table.where("id = 'sound'"), tmp_path / "coco")
