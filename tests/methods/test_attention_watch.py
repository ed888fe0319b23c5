"""Seeing what blocks attend to, and leaving everything as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

import m2ib
from m2ib.activations.attention import attend, watch
from m2ib.contract.encoder import Attention, Defaults, Encoder, Layer
from m2ib.contract.inputs import Item
from m2ib.contract.layout import Layout
from m2ib.execution.context import evaluating
from m2ib.renderers import ValuesRenderer
from open_clip_models import CPU, VIT, bert_config, hugging_face, photo, save_and_load, siglip_config
from tiny_clip import END, START

WIDTH, HEADS = 8, 2


class Plain(nn.Module):
    """A block as one might write it; ``calls`` of attention."""

    def __init__(self, calls: int = 1) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.calls = calls

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.calls):
            q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)  # (N, heads, T, d)
            x = x + scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x


class Torch(nn.Module):
    """A block out of torch's own parts."""

    def __init__(self, weights: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, x, x, need_weights=self.weights)[0]


class Pool(nn.Module):
    """One query over all positions, ``calls`` times."""

    def __init__(self, calls: int = 1, keep: int = 6) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, HEADS, 1, WIDTH // HEADS))
        self.calls, self.keep = calls, keep

    def forward(self, x: Tensor) -> Tensor:
        k = x[:, : self.keep].unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (N, heads, T, d)
        q = self.query.expand(len(x), -1, -1, -1)
        return sum(scaled_dot_product_attention(q, k, k).flatten(1) for _ in range(self.calls))  # type: ignore[return-value]


def model_of(*blocks: nn.Module, pool: nn.Module | None = None, **attention: Any) -> m2ib.Model:
    """x (N, 6, C) -> its first position after the blocks, or what ``pool`` makes of all."""
    torch.manual_seed(0)
    module = nn.Sequential(*blocks, *([pool] if pool is not None else [])).double().eval()

    def describe(x: Any) -> Item:
        return Item(x, Layout((6,)), None)

    def embed(x: Any) -> Tensor:
        out = module(x)
        return out if pool is not None else out[:, 0]

    pooled = None if pool is not None else lambda x: torch.zeros(len(x), dtype=torch.long)
    encoder = Encoder(
        modality="waves",
        prepare=lambda raw, truncate=False: describe(torch.as_tensor(raw)),
        describe=describe,
        embed=embed,
        layers=tuple(Layer(block, f"blocks.{n}") for n, block in enumerate(blocks)),
        stem=Layer(blocks[0], "blocks.0 (input)", at="input"),
        defaults=Defaults(0),
        renderer=ValuesRenderer(),
        attention=Attention(pooled, **attention),
    )
    return m2ib.Model(module, {"waves": encoder}, torch.device("cpu"), torch.float64, {"adapter": "plain"})


def waves(*seeds: int) -> Tensor:
    return torch.stack(
        [
            torch.randn(6, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
            for n in seeds
        ]
    )


def untouched(module: nn.Module) -> bool:
    return not any(
        part._forward_hooks or part._forward_pre_hooks or "forward" in part.__dict__
        for part in module.modules()
    )


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "additive", "blind"])
def test_attention_step_by_step_is_torchs(mask: str) -> None:
    q, k, v = (torch.randn(2, 3, n, 4, dtype=torch.float64) for n in (5, 5, 5))
    options: dict[str, Any] = {}
    if mask == "causal":
        options["is_causal"] = True
    if mask == "bool":
        options["attn_mask"] = torch.rand(2, 1, 5, 5) > 0.3
    if mask == "additive":
        options |= {"attn_mask": torch.randn(5, 5, dtype=torch.float64), "scale": 0.7}
    if mask == "blind":
        options["attn_mask"] = torch.ones(5, 5, dtype=torch.bool).tril(-1)  # the first query sees nothing
    ours = attend(q, k, v, **options)
    torch.testing.assert_close(ours.mixed, scaled_dot_product_attention(q, k, v, **options))
    sums = ours.pattern.sum(-1)
    torch.testing.assert_close(sums, torch.where(sums == 0, 0.0, torch.ones_like(sums)))


def test_heads_that_share_keys() -> None:
    q, k, v = (torch.randn(2, n, 5, 4, dtype=torch.float64) for n in (6, 2, 2))
    ours = attend(q, k, v, enable_gqa=True)
    torch.testing.assert_close(ours.mixed, scaled_dot_product_attention(q, k, v, enable_gqa=True))


def test_halves_are_computed_in_float32() -> None:
    q, k, v = (torch.randn(1, 2, 5, 4, dtype=torch.bfloat16) for _ in range(3))
    ours = attend(q, k, v)
    assert ours.pattern.dtype == torch.float32
    assert ours.mixed.dtype == torch.bfloat16


@pytest.mark.parametrize("block", [Plain, Torch])
def test_blocks_of_any_make_are_seen(block: type[nn.Module]) -> None:
    model = model_of(block(), block(), block())
    encoder, x = model.encoder("waves"), waves(1, 2)
    with torch.no_grad(), evaluating(model.module):
        plain = encoder.embed(x)
        seen = watch(encoder, x)
    torch.testing.assert_close(seen.embedding, plain, rtol=0, atol=1e-12)
    assert len(seen.blocks) == 3
    assert seen.pooling is None
    assert seen.blocks[0].pattern.shape == (2, HEADS, 6, 6)
    torch.testing.assert_close(seen.outputs[0], model.module[0](x))  # type: ignore[index]
    assert not seen.blocks[0].pattern.requires_grad
    assert not seen.embedding.requires_grad


def test_the_graph_begins_at_the_first_watched_block() -> None:
    model = model_of(Plain(), Torch(), Plain())
    encoder, x = model.encoder("waves"), waves(1)
    with evaluating(model.module), torch.enable_grad():
        seen = watch(encoder, x, 1)
    assert len(seen.blocks) == 2
    before = model.module[0].qkv.weight
    assert torch.autograd.grad(seen.embedding.sum(), before, retain_graph=True, allow_unused=True) == (None,)
    found = torch.autograd.grad(seen.embedding.sum(), [call.pattern for call in seen.blocks])
    assert all(gradient.abs().sum() > 0 for gradient in found)


def test_nothing_is_watched_afterwards() -> None:
    """Hooks and mode are gone."""
    model = model_of(Plain(), Plain())
    watch(model.encoder("waves"), waves(1))
    assert untouched(model.module)
    assert torch.overrides._get_current_function_mode() is None


def test_a_pooling_attention_is_kept_apart() -> None:
    model = model_of(Plain(), Torch(), pool=Pool())
    seen = watch(model.encoder("waves"), waves(1))
    assert seen.pooling is not None
    assert seen.pooling.pattern.shape == (1, HEADS, 1, 6)
    assert len(seen.calls) == 3


ERRORS = [
    ((Plain(), Plain(0)), {}, r"waves: layer 1 \(blocks.1\) called .*scaled_dot_product_attention 0 times"),
    ((Plain(), Plain(2)), {}, r"waves: layer 1 \(blocks.1\) called .* 2 times, not once.*Attention.by_sdpa"),
    ((Plain(), Torch(weights=True)), {}, r"waves: layer 1 \(blocks.1\) called .* 0 times"),
    ((Plain(),), {"pool": Pool(2)}, r"waves: the pooling after the last block called .* 2 times"),
    (
        (Plain(),),
        {"pool": Pool(keep=5)},
        "waves: the pooling after the last block attends to 5 positions, and the blocks have 6",
    ),
]


@pytest.mark.parametrize("method", ["chefer", "legrad", "grad-eclip"])
@pytest.mark.parametrize(("blocks", "how", "message"), ERRORS)
def test_what_cannot_be_seen_is_one_clear_error(
    blocks: tuple[nn.Module, ...], how: dict[str, Any], message: str, method: str
) -> None:
    model = model_of(*blocks, **how)
    with pytest.raises(m2ib.AdapterError, match=message):
        m2ib.explain(
            model, ("waves", waves(1)[0]), ("waves", waves(2)[0]), method=method, show_progress=False
        )
    assert untouched(model.module)
    assert torch.overrides._get_current_function_mode() is None


class Folded(Plain):
    """Heads folded into the batch."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).flatten(1, 2)
        mixed = scaled_dot_product_attention(q, k, v).unflatten(0, (-1, HEADS))
        return x + mixed.transpose(1, 2).flatten(2)


def test_heads_in_the_batch_are_refused() -> None:
    model = model_of(Folded())
    with pytest.raises(
        m2ib.AdapterError, match=r"layer 0 \(blocks.0\) attends with a pattern of shape \(2, 6, 6\)"
    ):
        watch(model.encoder("waves"), waves(1))


def test_an_encoder_without_attention_cannot_be_watched() -> None:
    model = model_of(Plain())
    encoder = replace(model.encoder("waves"), attention=None)
    with pytest.raises(m2ib.AdapterError, match="waves: the encoder has no `attention` to watch"):
        watch(encoder, waves(1))


def test_the_way_of_attending_is_put_back_when_something_raises() -> None:
    steps = []

    @contextmanager
    def by_sdpa() -> Iterator[None]:
        steps.append("in")
        try:
            yield
        finally:
            steps.append("out")

    class Broken(Plain):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("out of order")

    model = model_of(Plain(), Broken(), by_sdpa=by_sdpa)
    with pytest.raises(RuntimeError, match="out of order"):
        watch(model.encoder("waves"), waves(1))
    assert steps == ["in", "out"]
    assert untouched(model.module)
    assert torch.overrides._get_current_function_mode() is None


def test_a_function_mode_of_the_callers_stays(clip64: m2ib.Model) -> None:
    class Counting(TorchFunctionMode):
        count = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            Counting.count += 1
            return func(*args, **(kwargs or {}))

    with Counting() as mode:
        watch(clip64.encoder("image"), torch.randn(1, 3, 32, 32, dtype=torch.float64))
        assert torch.overrides._get_current_function_mode() is mode
    assert Counting.count > 0


def check_embeddings(model: m2ib.Model, modality: str, raws: list[Any]) -> None:
    encoder, inputs = model.encoder(modality), model.preprocess(modality, raws)
    assert encoder.attention is not None
    with evaluating(model.module), torch.no_grad():
        plain = encoder.embed(inputs)
        seen = watch(encoder, inputs)
    assert len(seen.blocks) == len(encoder.layers)
    assert (seen.embedding - plain).abs().max() <= 1e-10 * plain.abs().max()
    assert untouched(model.module)


def test_embeddings_stay_the_same(clip64: m2ib.Model, photo64: m2ib.Model, tmp_path: Path) -> None:
    ids = [torch.tensor([START, 5, 6, END]), torch.tensor([START, 5, 6, 7, 8, END])]
    check_embeddings(clip64, "text", ids)
    check_embeddings(clip64, "image", [torch.randn(3, 32, 32, dtype=torch.float64)])
    check_embeddings(photo64, "text", ["a dog", "two cats asleep on a sofa"])
    for name, config in {
        "vit": VIT,
        "bert": bert_config(tmp_path / "bert"),
        "siglip": siglip_config(tmp_path / "words"),
    }.items():
        model = save_and_load(config, tmp_path / f"{name}.pt").model
        check_embeddings(model, "image", [photo(), photo(seed=1)])
        check_embeddings(model, "text", ["a dog", "a photo of two cats on grass"])


@pytest.mark.parametrize("kind", ["bert", "roberta", "m2m_100", "mt5"])
def test_text_towers_of_hugging_face(kind: str, tmp_path: Path) -> None:
    model = save_and_load(hugging_face(kind, tmp_path / kind), tmp_path / "model.pt").model
    check_embeddings(model, "text", ["a dog", "a photo of two cats on grass"])
    for method in ("chefer", "legrad", "grad-eclip"):
        exp = m2ib.explain(model, image=photo(), text="two cats on grass", method=method, show_progress=False)
        assert exp["text"].grid.max() > 0


def test_a_timm_block_that_is_not_fused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = siglip_config(tmp_path / "words")
    model = save_and_load(config, tmp_path / "siglip.pt").model
    trunk: Any = model.module.visual.trunk  # type: ignore[union-attr]
    monkeypatch.setattr(trunk.blocks[3].attn, "fused_attn", False)
    monkeypatch.setattr(trunk.attn_pool, "fused_attn", False)
    check_embeddings(model, "image", [photo()])
    assert not trunk.blocks[3].attn.fused_attn
    assert not trunk.attn_pool.fused_attn
    assert trunk.blocks[2].attn.fused_attn


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"}, True),
        ({"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear"}, True),
        ({"timm_model_name": "test_vit", "timm_pool": "max", "timm_proj": "linear"}, False),
        ({"timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear"}, False),
    ],
)
def test_timm_towers(change: dict[str, str], shown: bool, tmp_path: Path) -> None:
    config = {**VIT, "vision_cfg": {**change, "image_size": 160}}
    model = save_and_load(config, tmp_path / "model.pt").model
    assert (model.encoder("image").attention is not None) == shown
    if shown:
        check_embeddings(model, "image", [photo()])
        for method in ("chefer", "legrad", "grad-eclip"):
            exp = m2ib.explain(model, image=photo(), text="a dog", method=method, show_progress=False)
            assert exp["image"].grid.max() > 0


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"block_type": "custom", "qk_norm": True}, True),
        ({"block_type": "custom", "scaled_cosine_attn": True}, False),
    ],
)
def test_open_clips_custom_blocks(change: dict[str, Any], shown: bool, tmp_path: Path) -> None:
    from open_clip.transformer import Transformer

    from m2ib_adapters.openclip.blocks import attends_by_sdpa

    assert attends_by_sdpa(Transformer(16, 2, 2, **change)) == shown


def test_eager_attention_is_put_back(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = m2ib.load_model("clip", checkpoint=clip_folder, attention="eager", **CPU)
    encoder, pixels = model.encoder("image"), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    assert len(watch(encoder, pixels).blocks) == 4
    config = model.module.config.vision_config
    assert config._attn_implementation == "eager"

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.module.vision_model.encoder.layers[2].mlp, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        watch(encoder, pixels)
    assert config._attn_implementation == "eager"
    assert not model.module.vision_model.encoder.layers[2]._forward_hooks
