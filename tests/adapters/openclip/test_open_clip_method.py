"""Explanations of open_clip models against the naive method, transformers' CLIP and each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor

import m2ib
from m2ib.contract.inputs import stack
from m2ib.execution.context import evaluating
from naive import capacity
from open_clip_models import (
    CPU,
    QUIET,
    TEXTS,
    TOWERS,
    VIT,
    Loaded,
    difference,
    encode_text,
    features,
    fixed_length,
    photo,
    save_and_load,
)

GRID = ((-1, 0.1, 1.0), (0, 0.01, 0.1), (1, 1.0, 1.0), (1, 0.1, 0.1))


@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize(("layer", "beta", "variance"), GRID)
def test_both_sides_equal_the_naive_method(
    loaded: Callable[[str], Loaded], name: str, layer: int, beta: float, variance: float
) -> None:
    case = loaded(name)
    model, module = case.model, case.model.module
    slow = name == "siglip"
    options = {
        "beta": beta,
        "variance": variance,
        "steps": 3 if slow else 5,
        "samples": 2 if slow else 3,
        "seed": 7,
    }
    text = "a photo of two dogs"
    explanation = m2ib.explain(model, image=photo(), text=text, layer=layer, **options, **QUIET)
    pixels, ids = model.preprocess("image", [photo()]), fixed_length(case, text)

    def embed_image() -> Tensor:
        return features(module.visual(pixels))

    def embed_text() -> Tensor:
        return encode_text(module, ids)

    with evaluating(module):
        targets = {"image": embed_text().detach(), "text": embed_image().detach()}
        for modality, embed in (("image", embed_image), ("text", embed_text)):
            place = model.encoder(modality).layer(layer)
            attribution = explanation[modality]
            if name == "coca" and modality == "text":
                continue  # its class token stands after the padding: see the test of CoCa
            reference = capacity(
                embed,
                place.module,
                targets[modality],
                at=place.at,
                sequence_first=name == "sequence-first",
                channel_axis=place.channel_axis,
                read=attribution.layout.read,
                **options,
            )
            assert difference(attribution.capacity, reference.numpy()) < 1e-11


def test_full_length_fit_equals_the_naive_method(loaded: Callable[[str], Loaded]) -> None:
    case = loaded("vit")
    module = case.model.module
    explanation = m2ib.explain(case.model, image=photo(), text="a dog on grass", **QUIET)
    assert explanation["text"].settings["layer"] == explanation["image"].settings["layer"] == 1
    pixels, ids = case.model.preprocess("image", [photo()]), fixed_length(case, "a dog on grass")
    with evaluating(module):
        reference = capacity(
            lambda: module.encode_text(ids),
            module.transformer.resblocks[1],
            module.encode_image(pixels).detach(),
            beta=0.1,
            variance=1.0,
            read=6,
        )
    assert explanation["text"].tokens == ("<start_of_text>", "a", "dog", "on", "grass", "<end_of_text>")
    assert difference(explanation["text"].grid, reference.numpy()) < 1e-11
    assert explanation["image"].grid.shape == (4, 3)
    assert explanation["image"].capacity.shape == (13,)


@pytest.mark.parametrize("name", TOWERS)
def test_many_equal_one_by_one_and_fast_equals_general(loaded: Callable[[str], Loaded], name: str) -> None:
    model = loaded(name).model
    options = {"steps": 3, "samples": 2, "layer": 0, **QUIET}
    pairs = [{"image": photo(40 + n, 61, n), "text": text} for n, text in enumerate(TEXTS)]
    together = list(m2ib.explain_many(model, pairs, batch_size=3, **options))
    general = list(m2ib.explain_many(model, pairs, batch_size=3, fast=False, **options))
    for pair, many, slow in zip(pairs, together, general, strict=True):
        alone = m2ib.explain(model, **pair, **options)
        for modality in ("image", "text"):
            assert (
                difference(many[modality].capacity[: alone[modality].capacity.size], alone[modality].capacity)
                < 1e-11
            )
            assert difference(many[modality].grid, alone[modality].grid) < 1e-11
            assert difference(slow[modality].grid, many[modality].grid) < 1e-11
        assert many.similarity == pytest.approx(alone.similarity, abs=1e-12)


@pytest.mark.parametrize("name", TOWERS)
def test_tails_equal_the_model(loaded: Callable[[str], Loaded], name: str) -> None:
    """Also the last block's, and with padding in the batch."""
    model = loaded(name).model
    inputs = {"image": [photo(seed=n) for n in range(3)], "text": list(TEXTS)}
    for modality, raws in inputs.items():
        encoder = model.encoder(modality)
        assert encoder.tail is not None
        if encoder.collate is stack and modality == "text":
            raws = raws[:1]  # those of one length alone share a batch
        batch = model.preprocess(modality, raws)
        for layer in range(-1, len(encoder.layers)):
            place, seen = encoder.layer(layer), []
            with evaluating(model.module), torch.no_grad():
                if place.at == "output":
                    handle = place.module.register_forward_hook(lambda m, args, out: seen.append(out))  # noqa: B023
                else:
                    handle = place.module.register_forward_pre_hook(lambda m, args: seen.append(args[0]))  # noqa: B023
                expected = encoder.embed(batch)
                handle.remove()
                got = encoder.tail(place.read(seen[0]), layer, batch)
            assert difference(got.numpy(), expected.numpy()) < 1e-12


def test_equals_transformers_clip_with_the_same_weights(
    loaded: Callable[[str], Loaded], tmp_path: Path
) -> None:
    from transformers import CLIPConfig, CLIPModel

    config = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": 32}}
    ours = save_and_load(config, tmp_path / "square.pt").model
    shared = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2}
    shared |= {"hidden_act": "gelu", "projection_dim": 16}
    text = {**shared, "max_position_embeddings": 12, "vocab_size": 49408}
    text |= {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 0}
    vision = {**shared, "image_size": 32, "patch_size": 8}
    theirs = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).double()
    theirs.load_state_dict(to_transformers(ours.module.state_dict()), strict=False)
    theirs.save_pretrained(tmp_path / "clip")
    other = m2ib.load_model("clip", checkpoint=tmp_path / "clip", **CPU)
    pixels = ours.preprocess("image", [photo()])[0]
    for words in TEXTS:
        padded = open_clip.SimpleTokenizer(context_length=12)([words])[0]
        for layer in (-1, 0, 1):
            settings = {"layer": layer, "steps": 5, "samples": 3, **QUIET}
            here = m2ib.explain(ours, image=pixels, text=words, **settings)
            there = m2ib.explain(other, image=pixels, text=padded, **settings)
            assert here.similarity == pytest.approx(there.similarity, abs=1e-12)
            for modality in ("image", "text"):
                assert here[modality].grid.shape == there[modality].grid.shape
                assert difference(here[modality].grid, there[modality].grid) < 1e-10


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A plain open_clip ViT's weights under transformers' names."""
    found = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T,
        "text_projection.weight": state["text_projection"].T,
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
    }
    norms = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm"}
    norms["ln_final"] = "text_model.final_layer_norm"
    for old, new in norms.items():
        found |= {f"{new}.{kind}": state[f"{old}.{kind}"] for kind in ("weight", "bias")}
    parts = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    parts["attn.out_proj"] = "self_attn.out_proj"
    for old, new in (("visual.transformer", "vision_model"), ("transformer", "text_model")):
        for number in range(3):
            block, layer = f"{old}.resblocks.{number}", f"{new}.encoder.layers.{number}"
            for kind in ("weight", "bias"):
                found |= {f"{layer}.{b}.{kind}": state[f"{block}.{a}.{kind}"] for a, b in parts.items()}
                three = state[f"{block}.attn.in_proj_{kind}"].chunk(3)
                found |= {f"{layer}.self_attn.{n}_proj.{kind}": w for n, w in zip("qkv", three, strict=True)}
    return {key: value.contiguous() for key, value in found.items()}


@pytest.mark.parametrize("name", ["vit", "sequence-first", "scaled"])
@pytest.mark.parametrize("fast", [True, False])
def test_the_last_block_of_a_pooled_token_is_warned_of(
    loaded: Callable[[str], Loaded], name: str, fast: bool
) -> None:
    model = loaded(name).model
    with pytest.warns(m2ib.M2IBWarning) as record:
        m2ib.explain(model, image=photo(), text="a dog", layer=2, steps=2, samples=2, fast=fast, **QUIET)
    messages = [str(warning.message) for warning in record]
    assert any(
        "image: no position at layer 2 (visual.transformer.resblocks.2) reaches" in m for m in messages
    )
    assert any("text: no position at layer 2" in m for m in messages)


def test_the_last_map_is_not_warned_of(loaded: Callable[[str], Loaded]) -> None:
    """Attention pooling, mean pooling and convolutions read all positions; warnings are errors here."""
    for name, layer in (
        ("siglip", {"image": 8, "text": 1}),
        ("bert", {"image": 1, "text": 2}),
        ("resnet", {"image": 4}),
    ):
        m2ib.explain(
            loaded(name).model, image=photo(), text="a dog", layer=layer, steps=1, samples=1, **QUIET
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["vit", "resnet", "bert", "siglip"])
def test_lower_precision_runs_and_stays_close(loaded: Callable[[str], Loaded], name: str, dtype: str) -> None:
    case = loaded(name)
    model = m2ib.load_model(
        "open-clip", architecture=case.config, checkpoint=case.file, device="cpu", dtype=dtype
    )
    assert {parameter.dtype for parameter in model.module.parameters()} == {getattr(torch, dtype)}
    settings = {"layer": 0, "steps": 2, "samples": 2, **QUIET}
    explanation = m2ib.explain(model, image=photo(), text="a dog", **settings)
    exact = m2ib.explain(case.model, image=photo(), text="a dog", **settings)
    tolerance = {"float32": 1e-6, "float16": 1e-2, "bfloat16": 5e-2}[dtype]
    for modality, raw in (("image", photo()), ("text", "a dog")):
        assert np.isfinite(explanation[modality].grid).all()
        # Adam's first steps are sign-like: single positions may hang on rounding, most may not
        gap = np.abs(explanation[modality].grid / exact[modality].grid - 1)
        assert np.median(gap) < 10 * tolerance
        here, there = (m.embed(modality, m.preprocess(modality, [raw])) for m in (model, case.model))
        assert torch.allclose(here, there, atol=tolerance)


def test_the_model_is_left_as_it_was_found(loaded: Callable[[str], Loaded]) -> None:
    for name in ("vit", "bert", "siglip"):
        module = loaded(name).model.module
        before = {key: value.clone() for key, value in module.state_dict().items()}
        m2ib.explain(
            loaded(name).model, image=photo(), text="a dog", layer=0, steps=1, samples=1, fast=False, **QUIET
        )
        after = module.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert all(parameter.requires_grad for parameter in module.parameters())
        assert not any("forward" in part.__dict__ for part in module.modules())
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
