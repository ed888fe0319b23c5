"""Chefer, LeGrad and Grad-ECLIP against what their papers say, written out in `naive_attention.py`, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import attending
import m2ib
import naive_attention as naive
from attending import Case
from m2ib.methods import Map
from m2ib.pipeline import explain_side
from m2ib.registry.plan import plan_of
from open_clip_models import COCA, SCALED, VIT, Loaded, photo, save_and_load, siglip_config
from scene_model import example, save_scene_model
from tiny_clip import END, START, save_tiny_clip
from tiny_imagebind import SHAPES, TinyImageBind, save_tiny_imagebind
from xrays import resnet_state, save, vit_state, xray

METHODS = ("chefer", "legrad", "grad-eclip")
IDS = [torch.tensor([START, 5, 60, 7, END]), torch.tensor([START, 8, 41, 3, 22, 17, END])]
TEXTS = ["a dog", "two cats asleep on a red sofa"]
CASES = (
    "clip image",
    "clip text",
    "open-clip image",
    "open-clip text",
    "siglip image",
    "imagebind image",
    "imagebind audio",
    "imagebind depth",
    "imagebind text",
    "photo text",
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attention")


@pytest.fixture(scope="module")
def vit(home: Path) -> Loaded:
    return save_and_load(VIT, home / "vit.pt")


@pytest.fixture(scope="module")
def siglip(home: Path) -> Loaded:
    return save_and_load(siglip_config(home / "words"), home / "siglip.pt")


@pytest.fixture(scope="module")
def bind(home: Path) -> TinyImageBind:
    return save_tiny_imagebind(home / "bind.pth")


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    name = request.param
    family, modality = name.split()
    if family == "clip":
        raws = IDS if modality == "text" else [noise(3, 32, 32, seed=n) for n in (1, 2)]
        return attending.clip(request.getfixturevalue("clip64"), modality, raws)
    if family == "open-clip":
        raws = TEXTS if modality == "text" else [photo(seed=n) for n in (1, 2)]
        return attending.open_clip(request.getfixturevalue("vit").model, modality, raws)
    if family == "siglip":
        return attending.siglip(request.getfixturevalue("siglip").model, [photo(seed=1)])
    if family == "photo":
        return attending.photo_text(request.getfixturevalue("photo64"), TEXTS)
    shapes = {"image": (3, 224, 224), "audio": (3, 1, 36, 56), "depth": (1, 224, 224)}
    raws = TEXTS if modality == "text" else [noise(*shapes[modality], seed=n) for n in (1, 2)]
    return attending.imagebind(request.getfixturevalue("bind").model, modality, raws)


def ours(
    model: m2ib.Model, modality: str, raws: Sequence[Any], method: str, **settings: Any
) -> tuple[list[m2ib.Item], Tensor, list[Map]]:
    """Maps of all inputs in one batch, towards directions that have nothing to do with them."""
    items = [model.item(modality, raw) for raw in raws]
    inputs = model.collate(modality, items)
    width = model.encoder(modality).embed(inputs).shape[1]
    targets = noise(len(raws), width, seed=7)
    return items, targets, explain_side(model, modality, items, inputs, targets, plan_of(method, settings))


def cells_of(item: m2ib.Item, clips: int, length: int) -> list[list[int]]:
    """For each clip, the positions of its cells."""
    places = [int(place) for place in item.layout.cells((clips * length,))]
    return [[p - c * length for p in places if p // length == c] for c in range(clips)]


def chosen(values: Sequence[Tensor], cells: Sequence[Sequence[int]]) -> np.ndarray:
    return torch.cat([row[list(places)] for row, places in zip(values, cells, strict=True)]).detach().numpy()


def expected(case: Case, item: m2ib.Item, target: Tensor, method: str, number: int) -> np.ndarray:
    """``number``: the method's setting."""
    clips = [naive.run(case.blocks, start, case.causal) for start in case.starts(item)]
    cells = cells_of(item, len(clips), len(clips[0][0].query))
    if case.pooling is not None:
        return pooled_expected(case, clips[0], cells[0], target, method, number)
    s = naive.cosine(case.embed([seen[-1].output for seen in clips]), target)
    if method == "chefer":
        return chosen(naive.chefer(clips, s, case.at(item), number), cells)
    if method == "legrad":

        def score(means: list[Tensor]) -> Tensor:
            """The mean stands at every position, wherever the embedding is read."""
            count = max(case.at(item)) + 1
            return naive.cosine(case.embed([mean.expand(count, -1) for mean in means]), target)

        return chosen(naive.legrad(clips, score, number), cells)
    parts = [
        naive.grad_eclip(seen, s, case.at(item), places, number)
        for seen, places in zip(clips, cells, strict=True)
    ]
    return np.maximum(torch.cat(parts).numpy(), 0)


def pooled_expected(
    case: Case, seen: list[naive.Seen], cells: list[int], target: Tensor, method: str, number: int
) -> np.ndarray:
    """For one clip, whose positions an attention pools."""
    assert case.pooling is not None
    ask, follow = case.pooling

    def pool(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        heads, q, k, v = ask(x)
        pattern, delta, mixed = naive.attend(q, k, v, heads, causal=False)
        return q, k, v, mixed, delta, pattern

    if method == "legrad":
        total = torch.zeros(len(seen[0].query), dtype=torch.float64)
        for each in seen[number:]:
            *_, mixed, delta, pattern = pool(each.output.detach())
            s = naive.cosine(follow(mixed), target)
            (gradient,) = torch.autograd.grad(s, delta)  # (heads, 1, T)
            total += torch.relu(gradient[:, 0]).mean(0)
        return (total / len(seen[number:]))[cells].numpy()
    q, k, v, mixed, delta, pattern = pool(seen[-1].output)
    s = naive.cosine(follow(mixed), target)
    if method == "chefer":
        length = len(seen[0].query)
        relevance = torch.eye(length, dtype=s.dtype)
        for each in seen[number:]:
            relevance = relevance + naive.kept(each.pattern, each.delta, s) @ relevance
        return (naive.kept(pattern, delta, s)[0] @ relevance)[cells].detach().numpy()
    total = naive.eclip_part(s, mixed, q, k, v, [0], cells)
    if number > 1:
        total = total + naive.grad_eclip(seen, s, cells, cells, number - 1)
    return np.maximum(total.numpy(), 0)


@pytest.mark.parametrize("case", CASES, indirect=True)
@pytest.mark.parametrize(
    ("method", "number"),
    [("chefer", 0), ("chefer", 1), ("legrad", 0), ("legrad", 1), ("grad-eclip", 1), ("grad-eclip", 2)],
)
def test_maps_are_those_of_the_papers(case: Case, method: str, number: int) -> None:
    name = "blocks" if method == "grad-eclip" else "first"
    items, targets, maps = ours(case.model, case.modality, case.raws, method, **{name: number})
    module = case.model.module
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    for item, target, found in zip(items, targets, maps, strict=True):
        reference = expected(case, item, target, method, number)
        assert found.grid.shape == item.layout.grid
        assert np.abs(reference).max() > 0
        np.testing.assert_allclose(
            found.grid.reshape(-1), reference, rtol=1e-7, atol=1e-9 * np.abs(reference).max()
        )
    for parameter in learning:
        parameter.requires_grad_(True)


@pytest.mark.parametrize("case", CASES, indirect=True)
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_one_by_one(case: Case, method: str) -> None:
    items, targets, together = ours(case.model, case.modality, case.raws, method)
    for item, target, found in zip(items, targets, together, strict=True):
        inputs = case.model.collate(case.modality, [item])
        (alone,) = explain_side(
            case.model, case.modality, [item], inputs, target[None], plan_of(method, {}, fast=False)
        )
        np.testing.assert_allclose(found.grid, alone.grid, rtol=1e-9, atol=1e-10 * np.abs(alone.grid).max())


@pytest.mark.parametrize("method", METHODS)
def test_eager_attention_gives_what_fused_gives(clip_folder: Path, clip64: m2ib.Model, method: str) -> None:
    eager: Any = m2ib.load_model(
        "clip", checkpoint=clip_folder, device="cpu", dtype="float64", attention="eager"
    )
    pair = {"image": noise(3, 32, 32), "text": IDS[0]}
    here = m2ib.explain(eager, method=method, show_progress=False, **pair)
    there = m2ib.explain(clip64, method=method, show_progress=False, **pair)
    for modality in pair:
        # transformers' own softmax is in float32 when it embeds the other side
        np.testing.assert_allclose(here[modality].grid, there[modality].grid, rtol=1e-6, atol=1e-8)
    for part in (eager.module.config.vision_config, eager.module.config.text_config):
        assert part._attn_implementation == "eager"


@pytest.mark.parametrize("method", METHODS)
def test_a_convolutional_encoder_is_refused(photo64: m2ib.Model, method: str) -> None:
    with pytest.raises(
        m2ib.SettingError,
        match=f"method '{method}' is not defined for image of the model 'photo': it reads attention, and this "
        "encoder shows none",
    ):
        m2ib.explain(photo64, image=photo(), text="a dog", method=method)


@pytest.mark.parametrize(
    ("method", "setting", "message"),
    [
        ("chefer", {"first": 4}, "first for image: 4 is out of range; it must be <= 3"),
        ("legrad", {"first": -1}, "first for image: -1 is out of range; it must be >= 0"),
        ("grad-eclip", {"blocks": 5}, "blocks for image: 5 is out of range; it must be <= 4"),
        ("grad-eclip", {"blocks": 0}, "blocks for image: 0 is out of range; it must be >= 1"),
    ],
)
def test_settings_out_of_range(
    clip64: m2ib.Model, method: str, setting: dict[str, int], message: str
) -> None:
    with pytest.raises(m2ib.SettingError, match=message):
        m2ib.explain(clip64, image=noise(3, 32, 32), text=IDS[0], method=method, settings=setting)


def test_the_usual_number_of_blocks(tmp_path: Path) -> None:
    model = m2ib.load_model("clip", checkpoint=save_tiny_clip(tmp_path, blocks=12), device="cpu")
    exp = m2ib.explain(model, image=noise(3, 32, 32), text=IDS[0], method="grad-eclip", show_progress=False)
    assert exp["image"].settings["blocks"] == 1
    assert exp["text"].settings["blocks"] == 8


def test_other_ways_of_pooling(home: Path, siglip: Loaded) -> None:
    """CoCa's two sides, LayerScale, and SigLIP's texts that read their padding: finite maps of the grid's shape."""
    models = {
        "coca": save_and_load(COCA, home / "coca.pt").model,
        "scaled": save_and_load(SCALED, home / "scaled.pt").model,
        "siglip": siglip.model,
    }
    for model in models.values():
        for method in METHODS:
            check_both_sides(model, photo(), "a dog", method)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("method", METHODS)
def test_lower_precision_stays_close(clip_folder: Path, clip64: m2ib.Model, method: str, dtype: str) -> None:
    model = m2ib.load_model("clip", checkpoint=clip_folder, device="cpu", dtype=dtype)
    pair = {"image": noise(3, 32, 32), "text": IDS[1]}
    rough = m2ib.explain(model, method=method, show_progress=False, **pair)
    exact = m2ib.explain(clip64, method=method, show_progress=False, **pair)
    for modality in pair:
        a, b = rough[modality].grid, exact[modality].grid
        assert np.isfinite(a).all()
        tolerance = {"float32": 1e-4, "float16": 0.05, "bfloat16": 0.3}[dtype]
        assert np.abs(a - b).max() < tolerance * np.abs(b).max()


def check_both_sides(model: m2ib.Model, image: Any, text: Any, method: str) -> None:
    exp = m2ib.explain(model, image=image, text=text, method=method, show_progress=False)
    for attribution in exp:
        assert attribution.grid.shape == attribution.layout.grid
        assert np.isfinite(attribution.grid).all()
        assert attribution.grid.min() >= 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("modality", ["image", "video", "text", "audio", "depth", "thermal", "imu"])
def test_every_branch_of_imagebind(bind: TinyImageBind, modality: str, method: str) -> None:
    raw = "a dog" if modality == "text" else noise(*SHAPES[modality])
    items, _, (found,) = ours(bind.model, modality, [raw], method)
    assert found.grid.shape == items[0].layout.grid
    assert np.isfinite(found.grid).all()


@pytest.mark.parametrize("method", METHODS)
def test_every_branch_of_the_tiny_imagebind(method: str, home: Path) -> None:
    model = save_scene_model(home / "scenes.safetensors").model
    for modality in model.modalities:
        items, _, (found,) = ours(model, modality, [example(modality, 1)], method)
        assert found.grid.shape == items[0].layout.grid
        assert np.isfinite(found.grid).all()


@pytest.mark.parametrize("method", METHODS)
def test_xray_models(method: str, tmp_path: Path) -> None:
    model = m2ib.load_model(
        "cxr-repair", checkpoint=save(vit_state(), tmp_path / "vit.pt"), device="cpu", dtype="float64"
    )
    check_both_sides(model, {"image": xray(), "maximum": 4095}, "no effusion", method)
    convolutional = m2ib.load_model(
        "cxr-repair", checkpoint=save(resnet_state(), tmp_path / "resnet.pt"), device="cpu", dtype="float64"
    )
    assert convolutional.encoder("image").attention is None
    assert convolutional.encoder("text").attention is not None
