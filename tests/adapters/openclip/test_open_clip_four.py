"""The main branch of open_clip, by what it changed: tiny models against their own forward and the naive method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

import m2ib
import open_clip_four as four
import open_clip_models as models
from m2ib.execution.context import evaluating
from m2ib.testing import check_adapter
from naive import capacity
from open_clip_models import COCA, CPU, QUIET, SCALED, TEXTS, VIT

BIDIRECTIONAL = {"attention_mode": "bidirectional", "pool_type": "mean"}
CUSTOM_BLOCKS = {"qk_norm": True, "scale_heads": True, "scale_attn_inner": True, "scale_fc": True}
CONFIGS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "vit": lambda _: VIT,
    "scaled": lambda _: SCALED,
    "custom blocks": lambda _: {**VIT, "vision_cfg": {**VIT["vision_cfg"], **CUSTOM_BLOCKS}},
    "coca": lambda _: COCA,
    "siglip": models.siglip_config,
    "max": lambda home: {
        **VIT,
        "text_cfg": {**models.hugging_face("bert", home)["text_cfg"], "hf_pooler_type": "max_pooler"},
    },
    "modern": lambda _: {**VIT, "text_cfg": four.MODERN},
    "modern, read whole": lambda _: {**VIT, "text_cfg": {**four.MODERN, **BIDIRECTIONAL}},
}


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> None:
    four.put_on(monkeypatch)


@pytest.mark.usefixtures("main")
@pytest.mark.parametrize("name", CONFIGS)
def test_models_of_the_main_branch_are_explained(name: str, tmp_path: Path) -> None:
    """Embeddings are the module's own at full length, maps the naive method's, fast tails the general one's."""
    home = tmp_path / "tokenizer"
    home.mkdir()
    case = models.save_and_load(CONFIGS[name](home), tmp_path / "weights.pt")
    model, module = case.model, case.model.module
    assert not hasattr(module.visual, "transformer") or not hasattr(module.visual.transformer, "batch_first")
    pixels = model.preprocess("image", [models.photo()])
    full = models.fixed_length(case, TEXTS[1])
    settings = {"layer": 1, "steps": 2, "samples": 2, **QUIET}
    explanation = m2ib.explain(model, image=models.photo(), text=TEXTS[1], **settings)
    general = m2ib.explain(model, image=models.photo(), text=TEXTS[1], fast=False, **settings)
    with evaluating(module):
        runs = {
            "image": lambda: models.features(module.visual(pixels)),
            "text": lambda: models.encode_text(module, full),
        }
        embedded = {modality: run().detach() for modality, run in runs.items()}
        for modality, other in (("image", "text"), ("text", "image")):
            encoder = model.encoder(modality)
            with torch.no_grad():
                got = encoder.embed(
                    model.preprocess(modality, [models.photo() if modality == "image" else TEXTS[1]])
                )
            assert models.difference(got.numpy(), embedded[modality].numpy()) < 1e-12
            found = explanation[modality]
            assert models.difference(general[modality].grid, found.grid) < 1e-11
            if name == "coca" and modality == "text":
                continue  # its class token stands after the padding
            naive = capacity(
                runs[modality],
                encoder.layer(1).module,
                embedded[other],
                beta=0.1,
                variance=1.0,
                steps=2,
                samples=2,
                read=found.layout.read,
            )
            assert models.difference(found.capacity, naive.numpy()) < 1e-11
    fast = {modality: encoder.tail is not None for modality, encoder in model.encoders.items()}
    if name in ("vit", "scaled"):
        assert fast == {"image": True, "text": True}
        assert all(encoder.attention is not None for encoder in model.encoders.values())
        assert not isinstance(module.visual.transformer.resblocks[0].attn, torch.nn.MultiheadAttention)
    pairs = [{"image": models.photo(seed=n), "text": text} for n, text in enumerate(TEXTS)]
    for pair, many in zip(pairs, m2ib.explain_many(model, pairs, **settings), strict=True):
        alone = m2ib.explain(model, **pair, **settings)
        assert models.difference(many["text"].grid, alone["text"].grid) < 1e-11
    check_adapter(model, {"image": [models.photo(seed=1), models.photo(seed=2)], "text": list(TEXTS[:2])})


@pytest.mark.usefixtures("main")
def test_the_last_block_has_its_fast_way_there_too() -> None:
    """By the parts of open_clip's own attention, which are not torch's."""
    from m2ib_adapters.openclip.blocks import parts_of

    module = models.module_of(VIT)
    assert all(parts_of(block) is not None for block in module.visual.transformer.resblocks)
    block = models.module_of({**VIT, "vision_cfg": {**VIT["vision_cfg"], "qk_norm": True}})
    assert parts_of(block.visual.transformer.resblocks[0]) is None
    normed = module.visual.transformer.resblocks[0]
    normed.attn.ln_q = torch.nn.LayerNorm(16)
    assert parts_of(normed) is None


@pytest.mark.usefixtures("main")
@pytest.mark.parametrize("name", ["vit", "scaled", "coca", "modern"])
def test_models_of_the_main_branch_in_memory(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name](tmp_path)
    case = models.save_and_load(config, tmp_path / "weights.pt")
    net = models.module_of(config).double().train()
    tokenizer = models.simple_tokenizer(config["text_cfg"]["context_length"])
    with pytest.warns(m2ib.M2IBWarning, match="OpenAI's values"):
        model = m2ib.load_model("open-clip", checkpoint=net, tokenizer=tokenizer)
    assert model.module is net
    assert net.training
    settings = {"steps": 1, "samples": 2, **QUIET}
    got, wanted = (
        m2ib.explain(each, image=models.photo(), text=TEXTS[0], **settings) for each in (model, case.model)
    )
    for modality in ("image", "text"):
        assert models.difference(got[modality].grid, wanted[modality].grid) < 1e-12


def refused(config: Any, match: str) -> None:
    with pytest.raises((m2ib.CheckpointError, m2ib.SettingError), match=match) as caught:
        m2ib.load_model("open-clip", architecture=config, **CPU)
    assert "\n" not in str(caught.value)


TEXTS_REFUSED = {
    "register tokens": ({"reg_tokens": 2}, r"ModernTextTransformer, runs 5 positions for 3 tokens"),
    "values handed on": ({"value_residual": True}, r"hands on what it made of the text beside its blocks'"),
    "no padding id": ({"pad_id": None}, r"of type ModernTextTransformer is not known"),
    "no end id": ({"eos_id": None, "text_arch": "clip"}, r"does not say which that is; add eos_id"),
}


@pytest.mark.usefixtures("main")
@pytest.mark.filterwarnings("ignore:open-clip. architecture given as a dict was loaded without a checkpoint")
@pytest.mark.parametrize("name", TEXTS_REFUSED)
def test_text_towers_that_are_not_understood_are_refused(name: str) -> None:
    changes, match = TEXTS_REFUSED[name]
    refused({**VIT, "text_cfg": {**four.MODERN, **changes}}, match)


@pytest.mark.usefixtures("main")
@pytest.mark.filterwarnings("ignore:open-clip. architecture given as a dict was loaded without a checkpoint")
def test_a_text_tower_that_reads_its_padding_after_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = four.ModernTextBlock.forward

    def unmasked(self: Any, x: Any, rope_embed: Any, key_bias: Any = None, **others: Any) -> Any:
        return forward(self, x, rope_embed, **others)

    monkeypatch.setattr(four.ModernTextBlock, "forward", unmasked)
    refused(
        {**VIT, "text_cfg": {**four.MODERN, **BIDIRECTIONAL}}, "reads its padding, which it says is masked"
    )


@pytest.mark.filterwarnings("ignore:open-clip. architecture given as a dict was loaded without a checkpoint")
def test_what_the_installed_version_cannot_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And opens where it is mended: it is tried, whatever the version."""
    largest = CONFIGS["max"](tmp_path)
    both = {
        "vision_cfg": {
            **VIT["vision_cfg"],
            "attentional_pool": "parallel",
            "width": 16,
            "attn_pooler_heads": 2,
        }
    }
    refused(largest, "HFTextEncoder pooled by MaxPooler, cannot run: .*mask")
    refused({**VIT, **both}, r"does not pool its positions into one embedding \(pool_type 'none'\)")
    four.put_on(monkeypatch)
    for config in (largest, {**VIT, **both}):
        model = m2ib.load_model("open-clip", architecture=config, **CPU)
        assert m2ib.explain(model, image=models.photo(), text="a dog", steps=1, **QUIET)[
            "image"
        ].grid.shape == (4, 3)


def test_what_is_laid_out_in_another_way_is_refused_in_one_line() -> None:
    net = models.module_of(VIT)
    del net.text_pool_type
    said = "a CLIP as the installed open_clip builds it is not laid out as this adapter reads one: AttributeError: .*text_pool_type"
    with pytest.warns(m2ib.M2IBWarning), pytest.raises(m2ib.CheckpointError, match=said):
        m2ib.load_model("open-clip", checkpoint=net)


@pytest.mark.usefixtures("main")
def test_kinds_without_two_encoders_are_refused_by_name(tmp_path: Path) -> None:
    refused("CLAP-HTSAT-tiny", r"CLAP-HTSAT-tiny compares sounds with texts \(CLAP\), .* plugin m2ib-clap")
    refused("naflexgenlip", r"naflexgenlip writes texts about images \(GenLIP\)")
    refused("mammut_ViT-B-32", r"mammut_ViT-B-32 reads texts with the decoder that writes them \(MaMMUT\)")
    with pytest.raises(m2ib.CheckpointError, match="a open_clip_four CLAP in memory, not a CLIP or"):
        m2ib.load_model("open-clip", checkpoint=open_clip.CLAP())


@pytest.mark.filterwarnings("ignore:open-clip. architecture given as a dict was loaded without a checkpoint")
def test_images_in_their_own_size_are_refused_by_name() -> None:
    """timm's own NaFlexVit, which the installed version builds."""
    refused(
        four.LISTED["ViT-B-16-SigLIP2-naflex"],
        r"the image tower, a NaFlexVit, takes .*; the adapter siglip",
    )


@pytest.mark.usefixtures("main")
@pytest.mark.filterwarnings("ignore:open-clip. architecture given as a dict was loaded without a checkpoint")
def test_a_tokenizer_of_another_type_is_not_taken_for_clips() -> None:
    model = m2ib.load_model(
        "open-clip", architecture={**VIT, "text_cfg": {**four.MODERN, "tokenizer_type": "tiktoken"}}, **CPU
    )
    with pytest.raises(m2ib.M2IBError, match="tokenizer is of the type 'tiktoken', which is not known"):
        model.item("text", "a dog")
    assert model.item("text", torch.tensor([3, 4, 49407])).layout.grid == (3,)
