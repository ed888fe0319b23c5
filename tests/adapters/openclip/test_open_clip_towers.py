"""Each kind of tower against open_clip: embeddings, layers, maps and pooling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

import m2ib
import open_clip_models as models
from m2ib.execution.context import evaluating
from m2ib.testing import check_adapter
from m2ib_adapters.inputs.tokens import SimpleCoder
from m2ib_adapters.openclip.image_towers import first_query
from m2ib_adapters.openclip.text_towers import text_tower
from m2ib_adapters.towers.text import text_encoder
from naive import capacity
from open_clip_models import CPU, QUIET, TEXTS, TOWERS, VIT, Loaded


@pytest.mark.parametrize("name", TOWERS)
def test_embeddings_are_open_clips_own(loaded: Callable[[str], Loaded], name: str) -> None:
    """Cut and padded only to the longest of the batch, texts embed as with open_clip's fixed length."""
    case = loaded(name)
    module = case.model.module
    with evaluating(module), torch.no_grad():
        for texts in ([TEXTS[1]], [TEXTS[0], TEXTS[2]]):
            expected = torch.cat(
                [models.encode_text(module, models.fixed_length(case, text)) for text in texts]
            )
            if name != "coca":  # only texts of one length share its batch
                got = case.model.encoder("text").embed(case.model.preprocess("text", texts))
            else:
                got = torch.cat(
                    [case.model.encoder("text").embed(case.model.preprocess("text", [t])) for t in texts]
                )
            assert models.difference(got.numpy(), expected.numpy()) < 1e-12
        pixels = case.model.preprocess("image", [models.photo()])
        expected = models.features(module.visual(pixels))
        assert models.difference(case.model.encoder("image").embed(pixels).numpy(), expected.numpy()) == 0


@pytest.mark.parametrize("width", [16, 32])
def test_the_first_query_finds_the_same_alone(width: int) -> None:
    """Keys and values of the queries' own width (32) are packed with them, and of another are not."""
    visual = models.module_of({**models.COCA, "embed_dim": width}).visual
    found = first_query(visual)
    assert found is not None
    x = torch.randn(3, 13, 32)
    torch.testing.assert_close(found[1](x)[:, 0], visual.attn_pool(x)[:, 0])


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("text", [*TEXTS, "a " * 20])
def test_coca_reads_what_its_class_token_reads(
    loaded: Callable[[str], Loaded], text: str, correct: bool
) -> None:
    """Cut to the tokens that the class token sees, CoCa's text tower gives what it gives in full."""
    case = loaded("coca")
    tower = case.model.module.text
    before = tower.correct_cls_mask
    tower.correct_cls_mask = correct
    try:
        item = build_text(case).prepare(text, truncate=True)
        full = models.fixed_length(case, text)
        with evaluating(case.model.module), torch.no_grad():
            got = build_text(case).embed(item.inputs[None])
            expected = models.features(tower(full))
        assert models.difference(got.numpy(), expected.numpy()) < 1e-12
        names = [token.text for token in item.layout.tokens]
        assert names[-1] == "<class>"
        assert ("<pad>" in names) == (not correct and text != "a " * 20)
    finally:
        tower.correct_cls_mask = before


def build_text(case: Loaded) -> m2ib.Encoder:

    coder = SimpleCoder(open_clip.SimpleTokenizer(context_length=11))
    return text_encoder(text_tower(case.model.module, 11), coder)


def test_siglip_reads_its_padding_and_has_no_class_token(loaded: Callable[[str], Loaded]) -> None:
    explanation = m2ib.explain(
        loaded("siglip").model, image=models.photo(), text="A photo, of DOGS!", steps=1, **QUIET
    )
    image, text = explanation["image"], explanation["text"]
    assert image.grid.shape == (10, 10)
    assert image.layout.index == tuple(range(1, 101))  # one register token
    assert image.settings["layer"] == 7
    assert text.tokens == ("[CLS]", "A", "photo", "of", "DOG", "S", "[SEP]", *("[PAD]",) * 4)
    assert text.view["text"] == "A photo, of DOGS!"  # the signs have no tokens
    assert "given" not in text.origin
    assert text.layout.read is None
    assert (text.grid > 0).all()
    assert [word for word, _ in text.words] == ["A", "photo", "of", "DOGS"]


def test_resnet_maps_are_the_layers_own(loaded: Callable[[str], Loaded]) -> None:
    model = loaded("resnet").model
    assert [layer.name for layer in model.encoder("image").layers] == [
        "visual.layer1.0",
        "visual.layer2.0",
        "visual.layer2.1",
        "visual.layer3.0",
        "visual.layer4.0",
    ]
    assert model.encoder("image").default_layer == 3  # the end of layer3
    for layer, grid in ((-1, (16, 16)), (0, (16, 16)), (2, (8, 8)), (3, (4, 4)), (4, (2, 2))):
        settings = {"image": layer, "text": 0}
        explanation = m2ib.explain(
            model, image=models.photo(), text="a dog", layer=settings, steps=1, samples=1, **QUIET
        )
        assert explanation["image"].grid.shape == grid


TIMM = (  # name, size, pooling, default grid
    ("test_vit", 160, "token", (10, 10)),
    ("test_vit2", 160, "avg", (10, 10)),
    ("test_vit_relpos", 160, "avg", (10, 10)),
    ("test_convnext", 160, "avg", (10, 10)),
    ("test_resnet", 160, "avg", (10, 10)),
    ("test_efficientnet", 160, "avg", (10, 10)),
    ("test_byobnet", 160, "avg", (10, 10)),
)


@pytest.mark.parametrize(("name", "size", "pool", "grid"), TIMM)
def test_timm_towers(tmp_path: Path, name: str, size: int, pool: str, grid: tuple[int, int]) -> None:
    vision = {"timm_model_name": name, "timm_pool": pool, "timm_proj": "linear", "image_size": size}
    case = models.save_and_load({**VIT, "vision_cfg": vision}, tmp_path / "timm.pt")
    explanation = m2ib.explain(case.model, image=models.photo(), text="a dog", steps=2, samples=2, **QUIET)
    assert explanation["image"].grid.shape == grid
    assert models.difference(explanation["image"].capacity, naive_image(case.model, explanation, 2)) < 1e-11


def naive_image(model: m2ib.Model, explanation: m2ib.Explanation, samples: int) -> np.ndarray:
    place = model.encoder("image").layer(explanation["image"].settings["layer"])
    pixels, ids = model.preprocess("image", [models.photo()]), model.preprocess("text", ["a dog"])
    with evaluating(model.module):
        found = capacity(
            lambda: model.module.encode_image(pixels),
            place.module,
            model.encoder("text").embed(ids).detach(),
            beta=0.1,
            variance=1.0,
            steps=2,
            samples=samples,
            channel_axis=place.channel_axis,
        )
    return found.numpy()


def test_swin_maps_have_their_channels_last() -> None:
    """A real configuration's tower, small enough for two steps."""
    vision = {"timm_model_name": "swin_tiny_patch4_window7_224", "timm_pool": "avg", "timm_proj": "linear"}
    with pytest.warns(m2ib.M2IBWarning, match=r"weights are random"):
        model = m2ib.load_model(
            "open-clip", architecture={**VIT, "vision_cfg": vision | {"image_size": 224}}, **CPU
        )
    assert model.encoder("image").default_layer == 9  # 2 + 2 + 6 blocks, the last two left out
    explanation = m2ib.explain(model, image=models.photo(), text="a dog", steps=2, samples=1, **QUIET)
    assert explanation["image"].grid.shape == (14, 14)
    assert models.difference(explanation["image"].capacity, naive_image(model, explanation, 1)) < 1e-11


@pytest.mark.parametrize("kind", ["bert", "roberta", "mt5", "m2m_100"])
def test_hugging_face_towers(tmp_path: Path, kind: str) -> None:
    """Without its padding, alone and in a batch, a text gives what it gives at full length."""
    case = models.save_and_load(models.hugging_face(kind, tmp_path), tmp_path / "weights.pt")
    model = case.model
    limit = {"bert": 16, "roberta": 14, "mt5": 77, "m2m_100": 77}[kind]
    with pytest.raises(m2ib.InputError, match=f"more than the model's {limit};"):
        model.preprocess("text", ["the dog " * 40])
    texts = [TEXTS[1], "the dog", "a red cat"]
    from open_clip.tokenizer import HFTokenizer

    with evaluating(model.module), torch.no_grad():
        full = HFTokenizer(str(tmp_path), context_length=limit)(texts)
        expected = model.module.text(full)
        got = model.encoder("text").embed(model.preprocess("text", texts))
    assert models.difference(got.numpy(), expected.numpy()) < 1e-12
    pairs = [{"image": models.photo(seed=n), "text": text} for n, text in enumerate(texts)]
    for layer in (-1, 0, 1):
        settings = {"layer": {"text": layer, "image": 0}, "steps": 3, "samples": 2, **QUIET}
        for pair, many in zip(pairs, m2ib.explain_many(model, pairs, **settings), strict=True):
            assert (
                models.difference(many["text"].grid, m2ib.explain(model, **pair, **settings)["text"].grid)
                < 1e-11
            )
    place = model.encoder("text").layer(1)
    pixels = model.preprocess("image", [models.photo()])
    with evaluating(model.module):
        found = capacity(
            lambda: model.module.text(full[:1]),
            place.module,
            model.module.visual(pixels).detach(),
            beta=0.1,
            variance=1.0,
            steps=3,
            samples=2,
            read=10,
        )
    assert (
        models.difference(next(iter(m2ib.explain_many(model, pairs, **settings)))["text"].grid, found.numpy())
        < 1e-11
    )


@pytest.mark.parametrize("rule", ["argmax", "eos", "first", "last"])
@pytest.mark.parametrize("causal", [True, False])
def test_text_pooling_rules(tmp_path: Path, rule: str, causal: bool) -> None:
    """Only a causal tower that pools the end of the text leaves its padding out."""
    text = {**VIT["text_cfg"], "pool_type": rule, "eos_id": 49407, "no_causal_mask": not causal}
    case = models.save_and_load({**VIT, "text_cfg": text}, tmp_path / "rule.pt")
    inputs = case.model.preprocess("text", ["a dog"])
    cut = causal and rule in ("argmax", "eos")
    assert inputs.shape == (1, 4 if cut else 12)
    item = case.model.item("text", "a dog")
    assert item.layout.read == (4 if cut else None)
    assert [token.text for token in item.layout.tokens[4:]] == [] if cut else ["<pad>"] * 8
    with evaluating(case.model.module), torch.no_grad():
        expected = case.model.module.encode_text(models.fixed_length(case, "a dog"))
        assert models.difference(case.model.encoder("text").embed(inputs).numpy(), expected.numpy()) < 1e-12


@pytest.mark.parametrize("name", TOWERS)
def test_every_kind_keeps_the_contract(loaded: Callable[[str], Loaded], name: str) -> None:
    images = [models.photo(seed=1), models.photo(seed=2)]
    results = check_adapter(
        loaded(name).model, {"image": images, "text": ["a dog", "a photo of two red cats"]}
    )
    assert {result.modality for result in results} == {"model", "image", "text"}
