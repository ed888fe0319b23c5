"""`explain` against the textbook loop of `naive.py`: clip and photo, both sides, several settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
from naive import capacity
from tiny_clip import END, START, save_tiny_clip

pytestmark = pytest.mark.filterwarnings("ignore::m2ib.M2IBWarning")  # last blocks are asked for on purpose

IDS = torch.tensor([START, 5, 60, 7, 8, 41, END])
SETTINGS = [(0.1, 1.0), (0.01, 0.1), (1.0, 1.0), (0.1, 0.25)]  # beta, variance


def pixels(size: int, seed: int = 1) -> Tensor:
    return torch.randn(3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def relative_error(grid: np.ndarray, reference: Tensor) -> float:
    expected = reference.numpy().reshape(grid.shape)
    return float(np.abs(grid - expected).max() / np.abs(expected).max())


class Clip:
    """The full model's own calls, for the naive loop."""

    def __init__(self, model: m2ib.Model, image: Tensor, ids: Tensor) -> None:
        self.module: Any = model.module
        self.image, self.ids = image[None], ids[None]

    def embed_image(self) -> Tensor:
        return self.module.get_image_features(pixel_values=self.image).pooler_output

    def embed_text(self) -> Tensor:
        return self.module.get_text_features(input_ids=self.ids).pooler_output

    def naive(self, side: str, layer: int, **settings: Any) -> Tensor:
        tower = self.module.vision_model if side == "image" else self.module.text_model
        embed, other = self.embed_image, self.embed_text
        if side == "text":
            embed, other = other, embed
        with torch.no_grad():
            target = other()
        block = tower.encoder.layers[max(layer, 0)]
        return capacity(embed, block, target, at="input" if layer == -1 else "output", **settings)


@pytest.mark.parametrize("layer", [-1, 0, 2, 3])
@pytest.mark.parametrize(("beta", "variance"), SETTINGS)
def test_clip_equals_the_textbook_loop(clip64: m2ib.Model, layer: int, beta: float, variance: float) -> None:
    image = pixels(32)
    full = Clip(clip64, image, IDS)
    sides = ("image", "text")
    expected = {side: full.naive(side, layer, beta=beta, variance=variance, seed=3) for side in sides}
    cosine = torch.nn.functional.cosine_similarity(full.embed_image(), full.embed_text()).item()
    for fast in (True, False):
        exp = m2ib.explain(
            clip64, image=image, text=IDS, layer=layer, beta=beta, variance=variance, seed=3, fast=fast
        )
        for side in sides:
            assert relative_error(exp[side].capacity, expected[side]) <= 1e-9, fast
        # the class token stays out of the map
        assert np.array_equal(exp["image"].grid.reshape(-1), exp["image"].capacity[1:])
        assert np.array_equal(exp["text"].grid, exp["text"].capacity)
        assert exp.similarity == pytest.approx(cosine, abs=1e-12)


def test_clip_with_the_legacy_end_token(tmp_path: Path) -> None:
    folder = save_tiny_clip(tmp_path, legacy_end=True)
    model = m2ib.load_model("clip", checkpoint=folder, device="cpu", dtype="float64")
    image = pixels(32)
    exp = m2ib.explain(model, image=image, text=IDS, layer=1)
    expected = Clip(model, image, IDS).naive("text", 1, beta=0.1, variance=1.0)
    assert relative_error(exp["text"].grid, expected) <= 1e-9


def test_clip_in_float32_equals_the_textbook_loop(clip_folder: Path) -> None:
    model = m2ib.load_model("clip", checkpoint=clip_folder, device="cpu")
    image = pixels(32).float()
    exp = m2ib.explain(model, image=image, text=IDS, layer=2)
    full = Clip(model, image, IDS)
    for side in ("image", "text"):
        expected = full.naive(side, 2, beta=0.1, variance=1.0)
        assert relative_error(exp[side].capacity, expected) <= 1e-4


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("readout", ["last", "final"])
def test_steps_samples_rate_and_readout(clip64: m2ib.Model, steps: int, readout: Any) -> None:
    image = pixels(32)
    settings = {"steps": steps, "samples": 3, "lr": 0.3, "readout": readout}
    exp = m2ib.explain(clip64, image=image, text=IDS, layer=1, **settings)
    expected = Clip(clip64, image, IDS).naive("text", 1, beta=0.1, variance=1.0, **settings)
    assert relative_error(exp["text"].grid, expected) <= 1e-9


def test_a_text_gives_the_same_padded_batched_or_alone(clip64: m2ib.Model) -> None:
    texts = [IDS, torch.tensor([START, 9, END]), torch.tensor([START, 3, 4, 5, 6, 7, 8, 9, 10, END])]
    alone = [m2ib.explain(clip64, image=pixels(32, n), text=text) for n, text in enumerate(texts)]
    padded = [
        m2ib.explain(clip64, image=pixels(32, n), text=torch.cat([text, text[-1:].expand(20 - len(text))]))
        for n, text in enumerate(texts)
    ]
    pairs = [{"image": pixels(32, n), "text": text} for n, text in enumerate(texts)]
    batched = list(m2ib.explain_many(clip64, pairs, batch_size=3))
    for one, other, many in zip(alone, padded, batched, strict=True):
        assert one["text"].grid.shape == other["text"].grid.shape == many["text"].grid.shape
        np.testing.assert_array_equal(one["text"].grid, other["text"].grid)
        for side in ("image", "text"):
            np.testing.assert_allclose(many[side].grid, one[side].grid, rtol=1e-9)
            np.testing.assert_allclose(many[side].capacity, one[side].capacity, rtol=1e-9)
            np.testing.assert_allclose(many[side].curve.loss, one[side].curve.loss, rtol=1e-9)
        assert many.similarity == pytest.approx(one.similarity, abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_explain_many_is_lazy_ordered_and_takes_any_iterable(clip64: m2ib.Model, batch_size: int) -> None:
    taken: list[int] = []

    def pairs() -> Iterator[Any]:
        for number in range(5):
            taken.append(number)
            yield ("image", pixels(32, number)), ("text", IDS)

    made = m2ib.explain_many(clip64, pairs(), batch_size=batch_size, steps=2)
    first = next(made)
    assert len(taken) == batch_size
    rest = [first, *made]
    for number, explanation in enumerate(rest):
        one = m2ib.explain(clip64, image=pixels(32, number), text=IDS, steps=2)
        np.testing.assert_allclose(explanation["image"].grid, one["image"].grid, rtol=1e-9)


def test_a_setting_by_modality(clip64: m2ib.Model) -> None:
    image = pixels(32)
    exp = m2ib.explain(clip64, image=image, text=IDS, layer={"image": 0, "text": 2}, beta={"text": 0.5})
    assert exp["image"].settings["layer"] == 0
    assert exp["text"].settings["layer"] == 2
    assert exp["image"].settings["beta"] == 0.1
    full = Clip(clip64, image, IDS)
    assert relative_error(exp["image"].capacity, full.naive("image", 0, beta=0.1, variance=1.0)) <= 1e-9
    assert relative_error(exp["text"].capacity, full.naive("text", 2, beta=0.5, variance=1.0)) <= 1e-9


def test_two_inputs_of_one_modality(clip64: m2ib.Model) -> None:
    first, second = pixels(32, 1), pixels(32, 2)
    exp = m2ib.explain(clip64, ("image", first), ("image", second), layer=1)
    full = Clip(clip64, first, IDS)
    with torch.no_grad():
        target = clip64.module.get_image_features(pixel_values=second[None]).pooler_output
    expected = capacity(
        full.embed_image, full.module.vision_model.encoder.layers[1], target, beta=0.1, variance=1.0
    )
    assert relative_error(exp[0].capacity, expected) <= 1e-9
    with pytest.raises(m2ib.InputError, match="both inputs are of modality 'image'; index by position"):
        exp["image"]


def test_a_contrast_is_a_difference_of_unit_embeddings(clip64: m2ib.Model) -> None:
    image, other = pixels(32), torch.tensor([START, 60, 12, END])
    exp = m2ib.explain(clip64, image=image, text=m2ib.contrast(IDS, other), layer=1)
    full = Clip(clip64, image, IDS)
    with torch.no_grad():
        this = torch.nn.functional.normalize(full.embed_text(), dim=-1)
        that = torch.nn.functional.normalize(Clip(clip64, image, other).embed_text(), dim=-1)
    block = full.module.vision_model.encoder.layers[1]
    for grid, target in ((exp["image"].grid, this - that), (exp["image"].against, that - this)):
        assert grid is not None
        expected = capacity(full.embed_image, block, target, beta=0.1, variance=1.0)
        assert relative_error(grid, expected[1:]) <= 1e-9
    cosine = torch.nn.functional.cosine_similarity(full.embed_image(), this - that).item()
    assert exp.similarity == pytest.approx(cosine, abs=1e-12)
    assert exp["text"].against is None
    assert relative_error(exp["text"].grid, full.naive("text", 1, beta=0.1, variance=1.0)) <= 1e-9


def test_a_contrast_with_itself_is_refused(clip64: m2ib.Model) -> None:
    with pytest.raises(m2ib.InputError, match="same embedding"):
        m2ib.explain(clip64, image=pixels(32), text=m2ib.contrast(IDS, IDS))


def test_the_seed_alone_decides(clip64: m2ib.Model) -> None:
    image = pixels(32)
    torch.manual_seed(11)
    first = m2ib.explain(clip64, image=image, text=IDS, seed=4, steps=3)
    state = torch.random.get_rng_state()
    torch.manual_seed(12)
    second = m2ib.explain(clip64, image=image, text=IDS, seed=4, steps=3)
    third = m2ib.explain(clip64, image=image, text=IDS, seed=5, steps=3)
    np.testing.assert_array_equal(first["image"].grid, second["image"].grid)
    assert not np.array_equal(first["image"].grid, third["image"].grid)
    torch.manual_seed(11)
    assert torch.equal(torch.random.get_rng_state(), state)  # the global generator is not touched


def test_bfloat16_gives_nearly_the_same_map(clip_folder: Path) -> None:
    image = pixels(32).float()
    maps = [
        m2ib.explain(
            m2ib.load_model("clip", checkpoint=clip_folder, device="cpu", dtype=dtype),
            image=image,
            text=IDS,
            layer=2,
        )["image"].grid.reshape(-1)
        for dtype in ("float32", "bfloat16", "float16")
    ]
    for other in maps[1:]:
        assert np.corrcoef(maps[0], other)[0, 1] > 0.97


@pytest.mark.parametrize("layer", [-1, 3, 14, 20])
@pytest.mark.parametrize(("beta", "variance"), [(0.1, 1.0), (1.0, 0.25)])
def test_photo_image_equals_the_textbook_loop(
    photo64: m2ib.Model, layer: int, beta: float, variance: float
) -> None:
    module: Any = photo64.module
    image, text = pixels(64), "a cup of espresso"
    settings = {"beta": beta, "variance": variance, "steps": 4, "samples": 3}
    exp = m2ib.explain(photo64, image=image, text=text, layer={"image": layer}, smooth=0, **settings)
    blocks = [block for stage in module.image.blocks for block in stage]

    def embed() -> Tensor:
        network = module.image
        return network.forward_features(image[None]).mean((2, 3))

    with torch.no_grad():
        ids = photo64.preprocess("text", [text])
        target = text_embedding(module, ids)
    expected = capacity(
        embed,
        blocks[max(layer, 0)],
        target,
        at="input" if layer == -1 else "output",
        channel_axis=1,
        **settings,
    )
    assert exp["image"].grid.shape == tuple(expected.shape)
    assert relative_error(exp["image"].grid, expected) <= 1e-9


def text_embedding(module: Any, ids: Tensor) -> Tensor:
    states = module.text(input_ids=ids).last_hidden_state  # one text, no padding
    sentence = torch.nn.functional.normalize(states.mean(1), dim=-1)
    query = torch.nn.functional.normalize(sentence @ module.text_map.weight.T + module.text_map.bias, dim=-1)
    classes = module.image.classifier.weight  # (1000, 1280)
    rows = torch.nn.functional.normalize(classes - classes.mean(0), dim=-1)
    near = (20 * query @ rows.T).exp()  # (1, 1000)
    return (near / near.sum()) @ rows


@pytest.mark.parametrize("layer", [-1, 0, 3, 5])
@pytest.mark.parametrize(("beta", "variance"), [(0.1, 1.0), (1.0, 0.25)])
def test_photo_text_equals_the_textbook_loop(
    photo64: m2ib.Model, layer: int, beta: float, variance: float
) -> None:
    text = "my grandmother likes espresso"
    module: Any = photo64.module
    settings = {"beta": beta, "variance": variance, "steps": 4, "samples": 3}
    image = pixels(64)
    exp = m2ib.explain(photo64, image=image, text=text, layer={"text": layer}, **settings)
    ids = photo64.preprocess("text", [text])
    with torch.no_grad():
        target = module.image.forward_features(image[None]).mean((2, 3))
    expected = capacity(
        lambda: text_embedding(module, ids),
        module.text.encoder.layer[max(layer, 0)],
        target,
        at="input" if layer == -1 else "output",
        **settings,
    )
    assert relative_error(exp["text"].grid, expected) <= 1e-9


def test_photo_batches_give_what_pairs_give_alone(photo64: m2ib.Model) -> None:
    texts = ["a cat", "a woman in an orange space suit", "espresso"]
    pairs = [(("image", pixels(64, n)), ("text", text)) for n, text in enumerate(texts)]
    settings: Any = {"steps": 3, "samples": 3}
    for pair, many in zip(pairs, m2ib.explain_many(photo64, pairs, **settings), strict=True):
        one = m2ib.explain(photo64, *pair, **settings)
        for a, b in zip(one, many, strict=True):
            np.testing.assert_allclose(b.grid, a.grid, rtol=1e-8)


def test_settings_may_be_numpy_scalars(clip64: m2ib.Model) -> None:
    image = pixels(32)
    plain = m2ib.explain(clip64, image=image, text=IDS, layer=1, beta=0.5, seed=3, steps=2)
    numpy = m2ib.explain(
        clip64,
        image=image,
        text=IDS,
        layer=np.int64(1),
        beta=np.float32(0.5),
        seed=np.uint8(3),
        steps=np.int32(2),
    )
    np.testing.assert_array_equal(numpy[np.int64(0)].grid, plain[0].grid)
    assert dict(numpy[0].settings) == dict(plain[0].settings)
    assert type(numpy[0].settings["layer"]) is int
