"""Batches: one of a single input is that input, several are refused by name, a DataLoader's are taken apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import BatchEncoding, BatchFeature

import m2ib
import scene_model
from tiny_clip import END, START

FEW: Any = {"steps": 1, "samples": 1}
IDS = torch.tensor([START, 5, 9, END])
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
SEVERAL = (
    r"^{}: this is a batch of 2, give one of them, or each in a pair of its own to m2ib.explain_many, or all as one "
    r"target, m2ib.ensemble\(\*batch\)$"
)


def pixels(seed: int = 1) -> torch.Tensor:
    return torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(seed))


def same(model: m2ib.Model, modality: str, raw: Any, expected: Any) -> m2ib.Item:
    item, other = model.item(modality, raw), model.item(modality, expected)
    assert torch.equal(item.inputs, other.inputs)  # type: ignore[arg-type]
    assert item.layout == other.layout
    assert {**item.origin, "batch_of": 1} == {**other.origin, "batch_of": 1}
    return item


def test_a_batch_of_one_is_the_one(clip64: m2ib.Model, tmp_path: Path) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    same(clip64, "image", pixels()[None], pixels())
    same(clip64, "image", clip64.preprocess("image", [PHOTO]), clip64.preprocess("image", [PHOTO])[0])
    same(clip64, "image", PHOTO[None], PHOTO)
    same(clip64, "image", PHOTO[None, :, :, 0], PHOTO[:, :, 0])
    same(clip64, "image", [Image.fromarray(PHOTO)], Image.fromarray(PHOTO))
    same(clip64, "image", [str(tmp_path / "a.png")], tmp_path / "a.png")
    same(clip64, "image", {"image": [PHOTO]}, PHOTO)
    same(clip64, "text", IDS[None], IDS)
    assert same(clip64, "text", [IDS], IDS).origin["batch_of"] == 1
    assert "batch_of" not in clip64.item("text", IDS).origin
    alone = m2ib.explain(clip64, image=pixels(), text=IDS, **FEW)
    batch = m2ib.explain(clip64, image=pixels()[None], text=[IDS], **FEW)
    assert np.array_equal(alone["image"].grid, batch["image"].grid)
    with pytest.raises(m2ib.InputError, match=r"^image '/none.png' does not exist"):
        clip64.item("image", ["/none.png"])


@pytest.mark.parametrize("modality", scene_model.MODALITIES)
def test_of_every_modality(modality: str, scene: scene_model.SceneModel) -> None:
    one, two = scene_model.example(modality, 0), scene_model.example(modality, 0) * 1
    same(scene.model, modality, one[None], one)
    with pytest.raises(m2ib.InputError, match=SEVERAL.format(modality)):
        scene.model.item(modality, torch.stack([one, two]))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> scene_model.SceneModel:
    return scene_model.save_scene_model(tmp_path_factory.mktemp("scene") / "weights.safetensors")


def test_several_are_refused(clip64: m2ib.Model) -> None:
    for modality, raw in (
        ("image", torch.stack([pixels(), pixels(2)])),
        ("image", [Image.fromarray(PHOTO)] * 2),
        ("text", torch.stack([IDS, IDS])),
        ("text", BatchEncoding({"input_ids": torch.stack([IDS, IDS])})),
    ):
        with pytest.raises(m2ib.InputError, match=SEVERAL.format(modality)):
            clip64.item(modality, raw)
    with pytest.raises(m2ib.InputError, match=r"^image: a preprocessed tensor has the shape \(3, 32, 32\)"):
        clip64.item("image", pixels()[None, :, 1:])


def test_what_tokenizers_and_processors_give(clip64: m2ib.Model) -> None:
    padded = torch.tensor([*IDS.tolist(), END, END])
    mask = torch.tensor([1, 1, 1, 1, 0, 0])
    for encoded in (
        {"input_ids": padded, "attention_mask": mask},
        {"input_ids": padded[None], "attention_mask": mask[None]},
        {"input_ids": padded.flip(0).flip(0).tolist(), "attention_mask": mask.tolist()},
        {"input_ids": [padded.tolist()], "attention_mask": [mask.tolist()]},
        {"input_ids": padded[None].numpy()},
        {"input_ids": torch.cat([torch.tensor([0, 0]), IDS]), "attention_mask": mask.flip(0)},
    ):
        same(clip64, "text", BatchEncoding(encoded), IDS)
    same(clip64, "image", BatchFeature({"pixel_values": pixels()[None]}), pixels())
    both = BatchEncoding({"input_ids": IDS[None], "pixel_values": pixels()[None]})
    same(clip64, "image", both, pixels())
    same(clip64, "text", both, IDS)
    for wrong, said in (
        ({"attention_mask": mask}, "text: a mapping needs the key 'input_ids'; it has 'attention_mask'"),
        (
            {"input_ids": padded, "attention_mask": mask[1:]},
            "text: attention_mask (5,) is not of the shape of",
        ),
        ({"input_ids": "a cat"}, "text: input_ids and attention_mask are whole numbers of one length"),
        ({"input_ids": padded, "attention_mask": mask * 0}, "text: token ids are a 1-D integer tensor"),
    ):
        with pytest.raises(m2ib.InputError) as caught:
            clip64.item("text", wrong)
        assert str(caught.value).startswith(said)


class Items(Dataset[Any]):
    """Five of what ``make`` gives for a number."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make

    def __len__(self) -> int:
        return 5

    def __getitem__(self, number: int) -> Any:
        return self._make(number)


def ids(number: int) -> torch.Tensor:
    return torch.tensor([START, 5 + number, 9, END])


def _pictures(rows: list[Any]) -> dict[str, Any]:
    """As a user's own collate_fn makes them: sizes differ."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def picture(number: int) -> Image.Image:
    return Image.fromarray(PHOTO[number:, 2 * number :])


DEFAULT: dict[str, Callable[[int], Any]] = {
    "dicts": lambda n: {"image": pixels(n), "text": ids(n)},
    "pairs": lambda n: (("image", pixels(n)), ("text", ids(n))),
    "encodings": lambda n: {
        "image": pixels(n),
        "text": {"input_ids": ids(n), "attention_mask": torch.ones(4, dtype=torch.long)},
    },
}


@pytest.mark.parametrize("how", DEFAULT)
@pytest.mark.parametrize("size", [2, 5, None])
def test_a_loader_is_its_items(clip64: m2ib.Model, how: str, size: int | None) -> None:
    items = Items(DEFAULT[how])
    found = list(m2ib.explain_many(clip64, DataLoader(items, batch_size=size), batch_size=3, **FEW))
    expected = list(m2ib.explain_many(clip64, [items[n] for n in range(5)], batch_size=3, **FEW))
    assert len(found) == 5
    for one, other in zip(found, expected, strict=True):
        assert one.similarity == other.similarity
        assert np.array_equal(one["image"].grid, other["image"].grid)
        assert np.array_equal(one["text"].grid, other["text"].grid)


@pytest.mark.parametrize("collate", [_pictures, list], ids=["dict of lists", "list of dicts"])
def test_a_loader_with_a_collate_of_its_own(clip64: m2ib.Model, collate: Any) -> None:
    items = Items(lambda n: {"image": picture(n), "text": ids(n)})
    loader = DataLoader(items, batch_size=2, collate_fn=collate)
    for n, exp in enumerate(m2ib.explain_many(clip64, loader, **FEW)):
        alone = m2ib.explain(clip64, image=picture(n), text=ids(n), **FEW)
        assert exp.similarity == pytest.approx(alone.similarity, abs=1e-12)
    assert n == 4


def test_strings_and_rates_of_a_loader(scene: scene_model.SceneModel) -> None:
    rng = np.random.default_rng(0)
    waves = rng.uniform(-0.5, 0.5, (5, 16000)).astype(np.float32)
    items = Items(lambda n: {"audio": (waves[n], 16000), "text": f"a photo of a {('cat', 'dog')[n % 2]}"})
    from m2ib.data.loader import loaded_pairs

    for n, pair in enumerate(loaded_pairs(DataLoader(items, batch_size=2))):
        pair = dict(pair)
        wave, rate = pair["audio"]
        assert pair["text"] == items[n]["text"]
        assert rate == 16000
        assert np.array_equal(wave.numpy(), waves[n])
        same(scene.model, "audio", pair["audio"], items[n]["audio"])
    assert n == 4


def test_a_batch_of_one_of_a_loader_is_a_pair(clip64: m2ib.Model) -> None:
    batch = next(iter(DataLoader(Items(DEFAULT["dicts"]), batch_size=1)))
    exp = m2ib.explain(clip64, **batch, **FEW)
    assert exp.similarity == m2ib.explain(clip64, image=pixels(0), text=ids(0), **FEW).similarity


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda n: (pixels(n), ids(n)),
            "explain_many: the DataLoader's batches do not name modalities; let its items be",
        ),
        (
            lambda n: pixels(n),
            "explain_many: the DataLoader's batches do not name modalities; let its items be",
        ),
        (
            lambda n: {"image": pixels(n), "text": ids(n), "label": n},
            "pair 0: explain: takes two inputs, got 3 (image, text, label)",
        ),
        (lambda n: {"image": pixels(n), "caption": ids(n)}, "pair 0: model 'clip' takes no 'caption'"),
    ],
)
def test_other_loaders_are_refused(clip64: m2ib.Model, make: Callable[[int], Any], said: str) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        list(m2ib.explain_many(clip64, DataLoader(Items(make), batch_size=2), **FEW))
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_one_dict_is_not_pairs(clip64: m2ib.Model) -> None:
    batch = next(iter(DataLoader(Items(DEFAULT["dicts"]), batch_size=2)))
    with pytest.raises(
        m2ib.InputError, match=r"^explain_many: pairs are an iterable of pairs, not a dict; give a list"
    ):
        m2ib.explain_many(clip64, batch)
