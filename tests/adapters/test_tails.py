"""A tail by blocks' parts gives what the encoder gives with its blocks as they are, and the same gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import timm.models.eva
import timm.models.vision_transformer
import torch
import transformers
from torch import Tensor, nn

from m2ib.activations.capture import Tail, record
from m2ib.contract.encoder import Attention, Encoder
from m2ib_adapters.towers import hugging_face, tails, timm_blocks
from m2ib_adapters.towers.attention import first_position
from m2ib_adapters.towers.layers import block_layers
from tests.support.open_clip_models import shake

COPIES, PAD = 2, 1
SMALL: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
SMALL |= {"num_attention_heads": 2, "vocab_size": 30, "max_position_embeddings": 12, "pad_token_id": PAD}
IDS = torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 2, PAD, PAD, PAD], [0, 4, 11, 3, 2, PAD]])
DISTIL = {"dim": 16, "hidden_dim": 24, "n_layers": 3, "n_heads": 2, "vocab_size": 30, "pad_token_id": PAD}
PICTURES: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
PICTURES |= {"num_attention_heads": 2, "image_size": 16, "patch_size": 8}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which ways blocks took."""
    seen: list[str] = []

    def watch(name: str) -> None:
        own = getattr(tails, name)
        monkeypatch.setattr(tails, name, lambda *args: (seen.append(name), own(*args))[1])

    watch("run_whole")
    watch("run_one")
    return seen


def compare(encoder: Encoder, inputs: Tensor, ran: list[str]) -> None:
    """From every layer, at activations of its own in each of two runs; all blocks after the layer go by their parts."""
    assert encoder.tail is not None
    blocks, pooled = len(encoder.blocks), encoder.attention is not None
    for layer in range(-1, blocks):
        recording = record(encoder, inputs, layer)
        shape = (COPIES * len(inputs), *recording.activation.shape[1:])
        found: dict[bool, list[Tensor]] = {}
        for fast in (True, False):
            ran.clear()
            generator = torch.Generator().manual_seed(layer + 2)
            with Tail(recording, COPIES, fast=fast) as tail:
                for _ in range(2):
                    z = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
                    out = tail(z)
                    back = torch.randn(out.shape, generator=generator, dtype=torch.float64)
                    found.setdefault(fast, []).extend([out.detach(), *torch.autograd.grad(out, z, back)])
            after = blocks - 1 - layer
            ways = ["run_whole"] * (after - pooled) + ["run_one"] * pooled if after else []
            assert ran == (ways * 2 if fast else [])
        for ours, general in zip(found[True], found[False], strict=True):
            torch.testing.assert_close(ours, general, rtol=1e-10, atol=1e-10)


def encoder_of(
    embed: Callable[[Any], Tensor], blocks: Any, parts_of: Any, pooled: Any = None, pooler: Any = None
) -> Encoder:
    layers = block_layers(blocks, "blocks")
    tail = tails.tail_of(embed, layers, parts_of, pooled, pooler)
    return Encoder(
        embed=embed, layers=layers, tail=tail, attention=None if pooled is None else Attention(pooled)
    )


def double(module: nn.Module) -> Any:
    return shake(module.double()).requires_grad_(False)


def text_model(name: str, **options: Any) -> Any:
    """A tiny one of transformers, by the name of its configuration."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(DISTIL if name == "DistilBert" else SMALL), **options)
    model = getattr(transformers, f"{name}Model")
    return double(model._from_config(config) if options else model(config))


def mean(module: Any, ids: Tensor) -> Tensor:
    read = (ids != PAD).double()
    states = module(input_ids=ids, attention_mask=read.long()).last_hidden_state
    return (states * read[..., None]).sum(1) / read.sum(1, keepdim=True)


def at_start(module: Any, ids: Tensor) -> Tensor:
    return module(input_ids=ids, attention_mask=(ids != PAD).long()).last_hidden_state[:, 0].tanh()


@pytest.mark.parametrize("pooled", [None, first_position], ids=["mean", "first"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Bert", {}),
        ("Bert", {"attn_implementation": "eager"}),
        ("Roberta", {"hidden_act": "quick_gelu"}),
        ("XLMRoberta", {}),
        ("Electra", {}),
        ("MPNet", {}),
        ("DistilBert", {}),
        ("ChineseCLIPText", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "".join(map(str, value.values())),
)
def test_texts_with_padding(name: str, options: dict[str, Any], pooled: Any, ran: list[str]) -> None:
    module = text_model(name, **options)
    blocks = module.transformer.layer if name == "DistilBert" else module.encoder.layer
    read = mean if pooled is None else at_start
    compare(encoder_of(partial(read, module), blocks, hugging_face.parts_of, pooled), IDS, ran)
    compare(encoder_of(partial(read, module), blocks, hugging_face.parts_of, pooled), IDS[:1], ran)


@pytest.mark.parametrize("name", ["SiglipText", "MetaClip2Text", "CLIPText"])
def test_texts_of_pairs(name: str, ran: list[str]) -> None:
    """Causal ones too, which are told so in another way where nothing is padded."""
    options = {"eos_token_id": 2, "bos_token_id": 0, "projection_size": 16}
    module = double(
        getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**SMALL, **options))
    )
    last = lambda ids: torch.full((len(ids),), ids.shape[1] - 1)  # noqa: E731
    blocks = getattr(module, "text_model", module).encoder.layers

    def embed(ids: Tensor) -> Tensor:
        states: Tensor = module(input_ids=ids).last_hidden_state
        return states[:, -1].tanh()

    compare(encoder_of(embed, blocks, hugging_face.parts_of, last), IDS[:, :5], ran)


@pytest.mark.parametrize("name", ["SiglipVision", "ChineseCLIPVision", "MetaClip2Vision"])
def test_pictures_of_pairs(name: str, ran: list[str]) -> None:
    """SigLIP's pools all patches by an attention of its own."""
    module = double(getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**PICTURES)))
    blocks = getattr(module, "vision_model", module).encoder.layers
    pooled = None if name == "SiglipVision" else first_position
    encoder = encoder_of(
        lambda x: module(pixel_values=x).pooler_output, blocks, hugging_face.parts_of, pooled
    )
    compare(encoder, pictures(), ran)


def pictures() -> Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


VIT = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 5}
ROTATED = {**VIT, "use_rot_pos_emb": True, "ref_feat_shape": (2, 2)}
EVA02 = {**ROTATED, "swiglu_mlp": True, "scale_mlp": True, "init_values": 0.3}
VITS: dict[str, tuple[str, dict[str, Any]]] = {
    "class token": ("vit", {"reg_tokens": 2, "init_values": 0.3}),
    "mean": ("vit", {"global_pool": "avg", "qk_norm": True}),
    "mean of all": ("vit", {"global_pool": "avg", "pool_include_prefix": True, "scale_mlp_norm": True}),
    "attention": ("vit", {"global_pool": "map", "class_token": False, "scale_attn_norm": True}),
    "EVA02, class token": ("eva", {**EVA02, "qkv_fused": False}),
    "EVA02, mean": ("eva", {**EVA02, "global_pool": "avg", "scale_attn_inner": True}),
    "PE, attention": ("eva", {**ROTATED, "attn_type": "rope", "global_pool": "map", "qk_norm": True}),
    "DINOv3, class token": (
        "eva",
        {**ROTATED, "attn_type": "rope", "rope_rotate_half": True, "num_reg_tokens": 1},
    ),
    "rotated by head": ("eva", {**ROTATED, "rope_type": "mixed"}),
    "packed gate": ("eva", {**VIT, "swiglu_mlp": True, "global_pool": "token"}),
}


@pytest.mark.parametrize("name", VITS)
def test_timm(name: str, ran: list[str]) -> None:
    kind, options = VITS[name]
    make: Any = timm.models.eva.Eva if kind == "eva" else timm.models.vision_transformer.VisionTransformer
    if kind == "eva":
        options = {"global_pool": "token", **options}
    module = double(make(**{**VIT, **options}))
    pooled = first_position if module.global_pool == "token" else None
    pooler = timm_blocks.pooler_of(module.attn_pool)
    assert (pooler is not None) == (module.attn_pool is not None)
    compare(encoder_of(module, module.blocks, timm_blocks.parts_of, pooled, pooler), pictures(), ran)


@pytest.mark.parametrize("name", ["EVA02, class token", "PE, attention", "text with padding"])
def test_halves(name: str) -> None:
    """Near what the general tail gives in float64: masks, places and patterns keep to what a half can hold."""
    found = {}
    for dtype in (torch.float64, torch.bfloat16):
        if name == "text with padding":
            module, pooled, inputs = text_model("Bert"), None, IDS
            embed: Any = partial(mean, module)
            blocks, parts_of, pooler = module.encoder.layer, hugging_face.parts_of, None
        else:
            torch.manual_seed(0)
            module = double(timm.models.eva.Eva(**{"global_pool": "token", **VITS[name][1]}))
            embed, blocks, parts_of = module, module.blocks, timm_blocks.parts_of
            pooler = timm_blocks.pooler_of(module.attn_pool)
            pooled = first_position if pooler is None else None
            inputs = pictures().to(dtype)
        module.to(dtype)
        encoder = encoder_of(embed, blocks, parts_of, pooled, pooler)
        recording = record(encoder, inputs, 0)
        z = torch.randn(recording.activation.shape, generator=torch.Generator().manual_seed(1))
        z = z.to(dtype).requires_grad_()
        with Tail(recording, 1, fast=dtype is torch.bfloat16) as tail:
            out = tail(z)
            found[dtype] = out.detach(), *torch.autograd.grad(out.sum(), z)
    for exact, half in zip(*found.values(), strict=True):
        assert half.isfinite().all()
        assert (half.double() - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_block_of_another_kind_has_no_parts() -> None:
    """Not known: another order of norms, fewer keys than queries, other code, a part in place of torch's own."""
    eva = partial(timm.models.eva.Eva, **VIT, global_pool="token")
    assert timm_blocks.parts_of(eva(use_post_norm=True).blocks[0]) is None
    shared = eva(attn_type="rope", qkv_fused=False, num_kv_heads=1)
    assert timm_blocks.parts_of(shared.blocks[0]) is None
    prenorm = transformers.RobertaPreLayerNormModel(transformers.RobertaPreLayerNormConfig(**SMALL))
    assert hugging_face.parts_of(prenorm.encoder.layer[0]) is None
    assert hugging_face.parts_of(text_model("Bert", is_decoder=True).encoder.layer[0]) is None
    bert = text_model("Bert")
    blocks, parts_of = bert.encoder.layer, hugging_face.parts_of
    assert all(parts_of(block) for block in blocks)

    class Own(type(blocks[0].output)):  # type: ignore[misc]
        def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
            return self.LayerNorm(self.dense(hidden_states))

    blocks[0].output.__class__ = Own
    blocks[1].intermediate.dense = nn.Sequential(blocks[1].intermediate.dense)
    assert parts_of(blocks[0]) is parts_of(blocks[1]) is None
    assert tails.tail_of(bert, block_layers(blocks, "layer"), parts_of) is None


def test_a_watched_block_runs_itself(ran: list[str]) -> None:
    module = text_model("Bert")
    encoder = encoder_of(partial(mean, module), module.encoder.layer, hugging_face.parts_of)
    recording = record(encoder, IDS, 0)
    seen = []
    hook = module.encoder.layer[1].attention.register_forward_hook(lambda *args: seen.append(args[2][0]))
    with Tail(recording, COPIES) as tail:
        found = tail(recording.activation.repeat_interleave(COPIES, 0))
    hook.remove()
    assert [states.shape[0] for states in seen] == [COPIES * len(IDS)]
    assert ran == ["run_whole"]
    torch.testing.assert_close(found[::COPIES], recording.embedding, rtol=1e-10, atol=1e-10)


def test_a_block_that_is_called_with_more_runs_itself(ran: list[str]) -> None:
    """It is given what its parts do not know: here the states of another encoder, which a plain layer leaves alone."""
    module = text_model("Bert")

    def embed(ids: Tensor) -> Tensor:
        states = module.embeddings(ids)
        for block in module.encoder.layer:
            states = block(states, None, states)
        return states[:, 0]

    encoder = encoder_of(embed, module.encoder.layer, hugging_face.parts_of)
    recording = record(encoder, IDS, 0)
    with Tail(recording, 1) as tail:
        assert torch.equal(tail(recording.activation), recording.embedding)
    assert ran == []
