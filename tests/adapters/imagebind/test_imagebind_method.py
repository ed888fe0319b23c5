"""Embeddings and maps of every kind of input against the naive model, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
import naive_imagebind as naive_model
from tiny_imagebind import GRIDS, SHAPES, TinyImageBind

BRANCH = {"image": "vision", "video": "vision"}
IDS = torch.tensor([49406, 320, 1929, 269, 1060, 49407])


def example(modality: str, seed: int) -> Tensor:
    """One preprocessed input without a batch axis."""
    if modality == "text":
        return torch.cat([IDS[:1], IDS[1:-1].roll(seed), IDS[-1:]])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPES[modality], generator=generator, dtype=torch.float64)


def naive_input(modality: str, x: Tensor) -> Tensor:
    """With a batch axis; texts padded to 77 with zeros, as the official tokenizer pads them."""
    if modality == "text":
        x = torch.cat([x, torch.zeros(77 - len(x), dtype=torch.long)])
    return x[None]


def heads(modality: str) -> int:
    return int(naive_model.SMALL[f"{BRANCH.get(modality, modality)}_num_heads"])


def naive_embedding(small: TinyImageBind, modality: str, x: Tensor, **how: Any) -> Tensor:
    branch = BRANCH.get(modality, modality)
    return naive_model.embed(small.state, branch, naive_input(modality, x), heads=heads(modality), **how)


@pytest.mark.parametrize("modality", [*GRIDS, "text"])
def test_embeddings_are_those_of_the_naive_model(small: TinyImageBind, modality: str) -> None:
    raws = [example(modality, seed) for seed in (1, 2)]
    inputs = small.model.preprocess(modality, raws)
    official = small.model.encoder(modality).embed(inputs)  # scaled, clips averaged
    unit = small.model.embed(modality, inputs)
    for row, ours, raw in zip(official, unit, raws, strict=True):
        torch.testing.assert_close(row, naive_embedding(small, modality, raw)[0], rtol=1e-10, atol=1e-10)
        expected = naive_embedding(small, modality, raw, scaled=False)[0].float()
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
        assert ours.norm().item() == pytest.approx(1, abs=1e-6)


def test_the_module_takes_official_names_and_shapes(small: TinyImageBind) -> None:
    module: Any = small.model.module
    x = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    clips = torch.randn(2, 4, 1, 36, 56, dtype=torch.float64)
    with torch.no_grad():
        out = module({"vision": x, "audio": clips})
    for name, value in (("vision", x), ("audio", clips)):
        expected = naive_model.embed(
            small.state, name, value, heads=int(naive_model.SMALL[f"{name}_num_heads"])
        )
        torch.testing.assert_close(out[name], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("side", [112, 336, 448])
def test_positions_are_interpolated_for_other_image_sizes(small: TinyImageBind, side: int) -> None:
    x = torch.randn(3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    inputs = small.model.preprocess("image", [x])
    ours = small.model.encoder("image").embed(inputs)
    torch.testing.assert_close(ours, naive_embedding(small, "image", x), rtol=1e-9, atol=1e-9)
    assert small.model.item("image", x).layout.grid == (side // 56, side // 56)


def test_images_that_are_not_square_have_a_grid_of_their_own_shape(small: TinyImageBind) -> None:
    item = small.model.item("image", torch.randn(3, 112, 280, dtype=torch.float64))
    assert item.layout.grid == (2, 5)
    assert torch.isfinite(small.model.embed("image", item.inputs[None])).all()


def test_a_video_without_clips_is_one_clip(small: TinyImageBind) -> None:
    x = example("video", 1)[0]  # (3, 2, H, W)
    torch.testing.assert_close(small.model.embed("video", x[None]), small.model.embed("video", x[None, None]))
    assert small.model.item("video", x).layout.grid == (4, 4)
    still = x[:, :1].expand(-1, 2, -1, -1)
    image = small.model.embed("image", x[None, :, 0])
    torch.testing.assert_close(small.model.embed("video", still[None]), image)


def test_clips_are_averaged_after_normalising(small: TinyImageBind) -> None:
    x = example("audio", 1)
    each = [small.model.embed("audio", clip[None]) for clip in x[:, None]]
    mean = torch.nn.functional.normalize(torch.cat(each).mean(0), dim=-1)
    torch.testing.assert_close(small.model.embed("audio", x[None])[0], mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "pair",
    [
        ("audio", "image"),
        ("text", "depth"),
        ("imu", "text"),
        ("thermal", "image"),
        ("image", "image"),
        ("video", "audio"),
    ],
    ids="-".join,
)
@pytest.mark.parametrize("fast", [True, False], ids=["own tail", "general tail"])
def test_maps_are_those_of_the_full_forward_loop(
    small: TinyImageBind, pair: tuple[str, str], fast: bool
) -> None:
    settings: dict[str, Any] = {"beta": 0.1, "variance": 0.5, "seed": 3, "steps": 3, "samples": 3}
    raws = [example(modality, seed) for seed, modality in enumerate(pair, 1)]
    explanation = m2ib.explain(small.model, *zip(pair, raws, strict=True), layer=0, fast=fast, **settings)
    for place, (modality, raw) in enumerate(zip(pair, raws, strict=True)):
        target = naive_embedding(small, pair[1 - place], raws[1 - place])
        expected = naive_model.capacity(
            small.state,
            BRANCH.get(modality, modality),
            naive_input(modality, raw),
            0,
            target,
            heads=heads(modality),
            read=len(raw) if modality == "text" else None,
            **settings,
        )
        attribution = explanation[place]
        np.testing.assert_allclose(attribution.capacity, expected.numpy(), rtol=1e-8, atol=1e-8)
        assert attribution.grid.shape == GRIDS.get(modality, (6,))
    cosine = torch.cosine_similarity(*(naive_embedding(small, m, r) for m, r in zip(pair, raws, strict=True)))
    assert explanation.similarity == pytest.approx(cosine.item(), abs=1e-9)


@pytest.mark.parametrize(
    ("modality", "layer"), [("audio", -1), ("audio", 1), ("image", 1), ("imu", -1), ("depth", 0)]
)
def test_maps_at_other_layers(small: TinyImageBind, modality: str, layer: int) -> None:
    x, target = example(modality, 1), example("text", 1)
    settings: dict[str, Any] = {"beta": 0.05, "variance": 1.0, "seed": 1, "steps": 2, "samples": 2}
    explanation = m2ib.explain(
        small.model, (modality, x), ("text", target), layer={modality: layer, "text": 1}, **settings
    )
    expected = naive_model.capacity(
        small.state,
        BRANCH.get(modality, modality),
        naive_input(modality, x),
        layer,
        naive_embedding(small, "text", target),
        heads=heads(modality),
        **settings,
    )
    np.testing.assert_allclose(explanation[modality].capacity, expected.numpy(), rtol=1e-8, atol=1e-8)


def test_a_grid_leaves_out_the_class_token_of_every_clip(small: TinyImageBind) -> None:
    explanation = m2ib.explain(
        small.model, ("audio", example("audio", 1)), ("text", IDS), layer=0, steps=1, samples=1
    )
    capacity = explanation["audio"].capacity.reshape(3, 16)  # clips x (class token, 3 x 5 cells)
    np.testing.assert_array_equal(explanation["audio"].grid, capacity[:, 1:].reshape(3, 3, 5))


def test_many_at_once_are_as_one_by_one(small: TinyImageBind) -> None:
    pairs = [(("audio", example("audio", seed)), ("image", example("image", seed + 10))) for seed in range(3)]
    settings: dict[str, Any] = {"layer": 0, "steps": 2, "samples": 2}
    together = list(m2ib.explain_many(small.model, pairs, batch_size=3, **settings))
    for pair, batched in zip(pairs, together, strict=True):
        alone = m2ib.explain(small.model, *pair, **settings)
        for one, other in zip(alone, batched, strict=True):
            np.testing.assert_allclose(one.capacity, other.capacity, rtol=1e-9, atol=1e-9)


def test_a_text_gives_the_same_map_padded_or_not(small: TinyImageBind) -> None:
    padded = torch.cat([IDS, torch.zeros(71, dtype=torch.long)])
    image = example("image", 1)
    maps = [
        m2ib.explain(small.model, text=ids, image=image, layer=0, steps=2, samples=2)["text"].grid
        for ids in (IDS, padded)
    ]
    np.testing.assert_array_equal(*maps)
