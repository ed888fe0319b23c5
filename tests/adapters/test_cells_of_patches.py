"""A cell lies where the convolution's window lies: in raw pixels, in the scores, on the page, under boxes, for metrics.

Patches that do not divide an image leave a border to the right and below that no cell has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
from m2ib.contract.attribution import Attribution
from m2ib.contract.regions import Box
from m2ib.data.pairs import Pair
from m2ib.evaluation.truth import truth_of
from m2ib.methods.base import degradation_of
from m2ib.renderers import renderer_for
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.images import ImagePreparation
from m2ib_adapters.inputs.video import VideoPreparation
from m2ib_adapters.openclip.image_towers import image_encoder
from m2ib_adapters.towers.patches import Patches
from tiny_clip import save_tiny_clip

SIDE, PATCH = 38, 10  # three cells, and 8 pixels that nothing reads
SMALL = {"width": 32, "layers": 2, "head_width": 16, "patch_size": PATCH}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def clip(tmp_path: Path) -> Any:
    folder = save_tiny_clip(tmp_path, blocks=2, image_size=SIDE, patch_size=PATCH)
    return m2ib.load_model("clip", checkpoint=folder, device="cpu", dtype="float64")


def open_clip(tmp_path: Path) -> Any:
    config = {"embed_dim": 16, "vision_cfg": {"image_size": SIDE, **SMALL}, "text_cfg": TEXT}
    with pytest.warns(m2ib.M2IBWarning, match="weights are random"):
        return m2ib.load_model("open-clip", architecture=config, device="cpu", dtype="float64")


@pytest.fixture(scope="module", params=[clip, open_clip])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return request.param(tmp_path_factory.mktemp("model"))


def photo(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def peak(item: m2ib.Item, cell: tuple[int, int]) -> Attribution:
    grid = np.zeros((3, 3))
    grid[cell] = 1
    return Attribution(
        "image", "m2ib", grid, None, item.layout, None, {}, item.view, renderer_for(item.view, item.layout)
    )


def windows(model: Any) -> np.ndarray:
    """(3, 3, SIDE, SIDE) bool: the pixels of the input that move a cell's embedding, found by trying each."""
    stem = model.encoder("image").layer(-1)
    seen: list[torch.Tensor] = []
    inputs = model.preprocess("image", [photo(SIDE, SIDE)]).double().requires_grad_()
    block = stem.module
    handle = block.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        model.encoder("image").embed(inputs)
    finally:
        handle.remove()
    found = np.zeros((3, 3, SIDE, SIDE), bool)
    layout = model.item("image", photo(SIDE, SIDE)).layout
    for number, position in enumerate(layout.cells(tuple(seen[0].shape[1:2])).tolist()):
        # squared, for a normalised position's sum does not depend on its input
        (gradient,) = torch.autograd.grad(
            (seen[0][0, position] ** 2 * torch.arange(seen[0].shape[2])).sum(), inputs, retain_graph=True
        )
        found[number // 3, number % 3] = (gradient[0].abs().sum(0) > 0).numpy()
    return found


@pytest.mark.parametrize("cell", [(0, 0), (1, 2), (2, 2)])
def test_spans_and_scores_agree_with_the_convolution(model: Any, cell: tuple[int, int]) -> None:
    item = model.item("image", photo(2 * SIDE, 2 * SIDE))  # two raw pixels for one of the input
    rows, columns = np.nonzero(windows(model)[cell])
    low, high = np.array([rows.min(), columns.min()]), np.array([rows.max(), columns.max()]) + 1
    spans = [axis.spans[at] for axis, at in zip(item.layout.axes, cell, strict=True)]
    np.testing.assert_allclose(spans, 2 * np.stack([low, high], 1))

    scores = peak(item, cell).scores
    assert scores.shape == (SIDE, SIDE)
    centre = np.floor((low + high - 1) / 2).astype(int)
    assert scores[tuple(centre)] == pytest.approx(scores.max(), abs=0.11)
    y, x = np.nonzero(scores > 0.95 * scores.max())
    assert (low[0] <= y).all()
    assert (y < high[0]).all()
    assert (low[1] <= x).all()
    assert (x < high[1]).all()
    assert (scores[3 * PATCH :] == 0).all()
    assert (scores[:, 3 * PATCH :] == 0).all()


def test_the_page_and_the_figure_draw_cells_where_they_are(model: Any) -> None:
    from matplotlib.figure import Figure

    item = model.item("image", photo(2 * SIDE, 2 * SIDE))
    attribution = peak(item, (2, 1))
    (panel,) = attribution.renderer.panels(attribution, "a")
    (part,) = panel.parts
    assert part.region == pytest.approx((0, 0, 60, 60))
    np.testing.assert_allclose([part.y, part.x], [[10, 30, 50]] * 2)
    axes = Figure().subplots()
    attribution.renderer.draw(attribution, axes)
    heat = axes.get_images()[-1]
    bare = np.ma.getmaskarray(heat.get_array())  # beyond the last whole cell
    assert not bare[:60, :60].any()
    assert bare[60:].all()
    assert bare[:, 60:].all()
    hottest = np.unravel_index(np.argmax(np.asarray(heat.get_array())), bare.shape)
    assert 40 <= hottest[0] < 60
    assert 20 <= hottest[1] < 40


def test_boxes_lie_over_the_cells_that_they_cover(model: Any) -> None:
    item = model.item("image", photo(2 * SIDE, 2 * SIDE))
    box = Box(20, 40, 20, 20)  # of the cell in row 2, column 1
    truth = truth_of(Pair("a", (("image", None), ("text", "")), (box,)), 0, item)
    assert truth is not None
    wanted = np.zeros((3, 3))
    wanted[2, 1] = 1
    np.testing.assert_allclose(truth.cells((3, 3)), wanted)
    placed = truth.place(wanted)
    assert truth.mask[np.unravel_index(np.argmax(placed), placed.shape)]


def test_hiding_a_cell_hides_its_window_and_the_border_stays(model: Any) -> None:
    encoder = model.encoder("image")
    inputs = model.preprocess("image", [photo(SIDE, SIDE)])
    degradation = degradation_of(encoder)
    assert degradation.positions(inputs, (3, 3)) == (30, 30)
    keep = torch.ones(1, 30, 30, dtype=torch.float64)
    keep[0, 10:20, 20:30] = 0
    hidden = degradation.apply(inputs, keep, model.item("image", photo(SIDE, SIDE)).layout)
    changed = (hidden != inputs).any(1)[0]  # (SIDE, SIDE)
    np.testing.assert_array_equal(changed.numpy(), windows(model)[1, 2])
    shortened = keep[:, :30, :30]
    assert (
        degradation.apply(inputs, shortened * 0, model.item("image", photo(SIDE, SIDE)).layout) == 0
    ).sum() == 3 * 900


def test_saliency_of_a_cell_is_of_its_window(model: Any) -> None:
    pixels = model.preprocess("image", [photo(SIDE, SIDE)])
    target = model.embed("image", model.preprocess("image", [photo(SIDE, SIDE)[::-1].copy()]))
    x = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        torch.cosine_similarity(model.encoder("image").embed(x), target).sum(), x
    )
    largest = gradient[0].abs().amax(0).numpy()
    wanted = [[largest[window].mean() for window in row] for row in windows(model)]
    other = photo(SIDE, SIDE)[::-1].copy()
    found = m2ib.explain(model, ("image", photo(SIDE, SIDE)), ("image", other), method="saliency")[0]
    np.testing.assert_allclose(found.grid, wanted, rtol=1e-4)


def test_a_timm_tower() -> None:
    from open_clip.timm_model import TimmModel

    tower = TimmModel("vit_tiny_patch16_224", 16, pool="token", proj="linear").eval()
    tower.set_input_size(SIDE)
    encoder = image_encoder(tower, ImagePreparation((SIDE, SIDE), (0.5,) * 3, (0.5,) * 3))
    assert encoder.prepare is not None
    item = encoder.prepare(photo(2 * SIDE, SIDE))
    assert [axis.spans for axis in item.layout.axes] == [((19, 35), (35, 51)), ((0, 16), (16, 32))]
    assert encoder.stride == (16, 16)
    assert degradation_of(encoder).positions(item.inputs[None], (2, 2)) == (32, 32)


def test_a_film_and_a_field() -> None:
    patches = Patches((PATCH, PATCH), (PATCH, PATCH))
    frames = np.stack([photo(SIDE, SIDE), 255 - photo(SIDE, SIDE)] * 4)
    film = VideoPreparation(size=SIDE, patches=patches, clips=1, seconds=1).prepare((frames, 8))
    grid = np.zeros((1, 3, 3))
    grid[0, 2, 1] = 1
    renderer = renderer_for(film.view, film.layout)
    attribution = Attribution("video", "m2ib", grid, None, film.layout, None, {}, film.view, renderer)
    assert film.layout.axes[1].spans[2] == (20, 30)
    rows, columns = np.nonzero(attribution.scores[0] > 0.95)
    assert rows.min() >= 20
    assert rows.max() < 30
    assert (columns.min() + columns.max()) / 2 == pytest.approx(14.5, abs=0.6)
    assert attribution.scores[0, 30:].max() == 0
    assert [region for _, region in film.view.parts][1] == (0, 0, 30, 30)

    depth = DepthPreparation(size=(SIDE, SIDE), patches=patches)
    item = depth.describe(torch.rand(1, 30, 30))
    assert item.layout.axes[0].spans[-1] == (20, 30)
