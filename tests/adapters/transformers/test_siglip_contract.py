"""The three kinds of checkpoint keep the contract, and embed as transformers does with its own processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import m2ib
from m2ib.testing import check_adapter

KINDS = ("first", "ragged", "second", "naflex")
TEXTS = ["a dog", "Two cats sleep on a red sofa, don't they?"]


def load(folder: Any, **options: Any) -> Any:
    return m2ib.load_model("siglip", checkpoint=folder, device="cpu", **options)


def photos() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 90), (75, 60), (64, 64))]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def test_it_keeps_the_contract(folder: Path) -> None:
    results = check_adapter("siglip", {"image": photos(), "text": TEXTS}, checkpoint=folder)
    checked = {(result.modality, result.check) for result in results}
    assert {("image", "attention"), ("text", "attention"), ("image", "degradation")} <= checked


def test_transformers_opens_them_as_well(folder: Path) -> None:
    model, same = load(folder), m2ib.load_model("transformers", checkpoint=folder, device="cpu")
    for modality, raws in (("image", photos()), ("text", TEXTS)):
        found, wanted = (each.embed(modality, each.preprocess(modality, raws)) for each in (same, model))
        assert torch.equal(found, wanted)


def test_blocks_that_attend_step_by_step_are_watched_as_well(folder: Path) -> None:
    model = load(folder, attention="eager")
    assert model.module.vision_model.encoder.config._attn_implementation == "eager"
    check_adapter(model, {"image": photos(), "text": TEXTS})
    assert model.module.vision_model.encoder.config._attn_implementation == "eager"


def features(folder: Path, texts: list[str], images: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """What transformers gives, each step as its documentation says."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    module = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    backend = {} if module.config.model_type == "siglip2" else {"backend": "pil"}
    processor = AutoImageProcessor.from_pretrained(folder, **backend)
    coded = tokenizer(texts, padding="max_length", truncation=True, max_length=40, return_tensors="pt")
    assert set(coded) == {"input_ids"}
    with torch.no_grad():
        text = module.get_text_features(**coded).pooler_output
        image = module.get_image_features(**processor(images=images, return_tensors="pt")).pooler_output
    return normalize(image, dim=-1), normalize(text, dim=-1)


def test_embeddings_are_those_of_transformers(folder: Path) -> None:
    model = load(folder)
    image, text = features(folder, [line.lower() for line in TEXTS], photos())
    torch.testing.assert_close(model.embed("image", model.preprocess("image", photos())), image)
    torch.testing.assert_close(model.embed("text", model.preprocess("text", TEXTS)), text)


def test_similarity_is_the_cosine(folder: Path) -> None:
    model = load(folder)
    image, text = features(folder, ["a dog"], photos()[:1])
    explanation = m2ib.explain(model, image=photos()[0], text="a dog", steps=1, samples=1)
    assert explanation.similarity == pytest.approx(float(image @ text.T), abs=1e-5)


def test_explanations_in_a_batch_are_those_of_one_by_one(folder: Path) -> None:
    model = load(folder, dtype="float64")
    pairs: list[dict[str, Any]] = [
        {"image": photo, "text": text} for photo, text in zip(photos(), [*TEXTS, "a bus"], strict=True)
    ]
    many = list(m2ib.explain_many(model, pairs, batch_size=3, steps=3, samples=2))
    for pair, together in zip(pairs, many, strict=True):
        alone = m2ib.explain(model, **pair, steps=3, samples=2)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one.grid, other.grid, rtol=1e-6, atol=1e-8)
