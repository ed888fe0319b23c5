"""CLIP through transformers: ``CLIPModel`` from a hub id or a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from m2ib.contract.degradation import Replacing
from m2ib.contract.encoder import Attention, Encoder, Layer
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib.contract.model import Model
from m2ib.errors import CheckpointError, InputError
from m2ib_adapters.checkpoints import from_folder_or_hub, loading
from m2ib_adapters.inputs.images import OPENAI_MEAN, OPENAI_STD, ImagePreparation
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.inputs.texts import check_ids, check_text, tokens_of_ids, tokens_of_text, too_long
from m2ib_adapters.towers.attention import by_sdpa_of, first_position
from m2ib_adapters.towers.pooled import PooledBlock, has_hooks, run_pooled

DEFAULT_CHECKPOINT = "openai/clip-vit-base-patch32"
_OPENAI = (("mean", OPENAI_MEAN), ("std", OPENAI_STD))


def load(
    *, checkpoint: Any = None, device: torch.device, dtype: torch.dtype, attention: str | None = None
) -> Model:
    """A CLIP of any size with a ViT.

    checkpoint  a hub id or a folder written by ``save_pretrained``
    attention   transformers' ``attn_implementation`` ("sdpa", "eager"); None: its default
    """
    from transformers import AutoConfig, CLIPModel

    source = DEFAULT_CHECKPOINT if checkpoint is None else str(checkpoint)
    with loading("clip", source):
        options = from_folder_or_hub("clip", source)
        config = AutoConfig.from_pretrained(source, **options)
        if config.model_type != "clip":
            raise CheckpointError(
                f"clip: checkpoint {source!r} is a {config.model_type!r} model, not 'clip'; use an adapter made for it"
            )
        module, report = CLIPModel.from_pretrained(
            source,
            dtype=dtype,
            attn_implementation=attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, all of them
            **options,
        )
    wrong = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    wrong = [key for key in wrong if not key.endswith("position_ids")]
    if wrong:
        raise CheckpointError(
            f"clip: checkpoint {source!r} lacks or misshapes {len(wrong)} weights that its config.json describes, "
            f"first {', '.join(wrong[:3])}; it belongs to another architecture, or is incomplete"
        )
    module = module.to(device).eval()
    return build(module, source, _tokenizer(source, options), _preparation(source, options, module))


def build(module: Any, source: str, tokenizer: Any, preparation: ImagePreparation) -> Model:
    """The model behind the adapter, from its parts."""
    return Model(
        module,
        {"image": _image_encoder(module, preparation), "text": _text_encoder(module, tokenizer)},
        module.device,
        module.dtype,
        {"checkpoint": source, "architecture": _describe(module.config)},
    )


def _describe(config: Any) -> str:
    vision, text = config.vision_config, config.text_config
    return (
        f"CLIP ViT {vision.hidden_size}x{vision.num_hidden_layers}, patch {vision.patch_size}, "
        f"{vision.image_size} px; text {text.hidden_size}x{text.num_hidden_layers}"
    )


def _tokenizer(source: str, options: dict[str, Any]) -> Any:
    """The checkpoint's tokenizer; None when it comes without one (ids can still be explained)."""
    from transformers import AutoTokenizer

    folder = Path(source)
    if folder.is_dir() and not any((folder / name).exists() for name in ("tokenizer.json", "vocab.json")):
        return None
    with loading("clip", source):
        return AutoTokenizer.from_pretrained(source, **options)


def _preparation(source: str, options: dict[str, Any], module: Any) -> ImagePreparation:
    """From preprocessor_config.json; OpenAI's values where the checkpoint comes without one."""
    from transformers.image_processing_base import ImageProcessingMixin

    size = (module.config.vision_config.image_size,) * 2
    with loading("clip", source):
        try:
            given, _ = ImageProcessingMixin.get_image_processor_dict(source, **options)
            given = given.get("image_processor", given)
        except OSError:
            if (Path(source) / "preprocessor_config.json").exists():  # there, but damaged
                raise
            given = {}
        resize = given.get("size", {"shortest_edge": size[0]})
        squash = isinstance(resize, dict) and "height" in resize
        mean, std = ([float(value) for value in given.get(f"image_{name}", usual)] for name, usual in _OPENAI)
        if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
            raise ValueError(f"preprocessor_config.json has the image_mean {mean} and the image_std {std}")
        return ImagePreparation(
            size=size,
            mean=tuple(mean),
            std=tuple(std),
            fit="squash" if squash else "crop",
            interpolation=Image.Resampling(given.get("resample", Image.Resampling.BICUBIC)),
        )


def _is_plain(block: Any) -> bool:
    """Whether :func:`_pooled_block` knows every part of this block as it is now."""
    from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

    if type(block) is not CLIPEncoderLayer or type(block.self_attn) is not CLIPAttention:
        return False
    attention = block.self_attn
    linear = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    return all(type(part) is nn.Linear for part in linear) and not has_hooks(block)


def _pooled_block(block: Any) -> PooledBlock:
    """Made anew at each use: it always holds the module's present weights."""
    attention = block.self_attn

    def weights(linear: Any) -> tuple[Tensor, Tensor | None]:
        return linear.weight, linear.bias

    return PooledBlock(
        heads=attention.num_heads,
        norm1=block.layer_norm1,
        query=weights(attention.q_proj),
        key=weights(attention.k_proj),
        value=weights(attention.v_proj),
        out=weights(attention.out_proj),
        norm2=block.layer_norm2,
        mlp=block.mlp,
    )


def _run_pooled(blocks: Sequence[nn.Module], z: Tensor, mask: Tensor | None, index: Tensor) -> Tensor:
    """The blocks that are left, the last one for the pooled position alone: (M, T, C), (M,) -> (M, C).

    mask  additive, for a causal encoder; None where every position sees all
    """
    shortcut = _pooled_block(blocks[-1]) if blocks and _is_plain(blocks[-1]) else None
    return run_pooled(blocks, lambda block, x: block(x, mask), z, index, shortcut, causal=mask is not None)


def _layers(blocks: Sequence[nn.Module], prefix: str) -> tuple[Layer, ...]:
    return tuple(Layer(block, f"{prefix}.{number}") for number, block in enumerate(blocks))


def _image_encoder(module: Any, preparation: ImagePreparation) -> Encoder:
    vision = module.vision_model
    blocks = vision.encoder.layers
    patch = module.config.vision_config.patch_size
    side = module.config.vision_config.image_size // patch
    layout = Layout(grid=(side, side), index=tuple(range(1, side * side + 1)))  # the class token comes first
    layers = _layers(blocks, "vision_model.encoder.layers")

    def embed(pixels: Inputs) -> Tensor:
        return _features(module.get_image_features(pixel_values=pixels))  # (N, D)

    def tail(z: Tensor, layer: int, pixels: Inputs) -> Tensor:
        first = torch.zeros(z.shape[0], dtype=torch.long, device=z.device)  # (M,) the class token
        pooled = _run_pooled(blocks[layer + 1 :], z, None, first)  # (M, C)
        return module.visual_projection(vision.post_layernorm(pooled))  # (M, D)

    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        return preparation.prepare(raw, layout)

    def describe(pixels: Inputs) -> Item:
        return preparation.describe(tensor_of(pixels, "clip"), layout)

    return Encoder(
        modality="image",
        prepare=prepare,
        describe=describe,
        embed=embed,
        layers=layers,
        tail=tail,
        stride=(patch, patch),
        attention=Attention(first_position, by_sdpa_of(vision.config)),
    )


def _text_encoder(module: Any, tokenizer: Any) -> Encoder:
    text = module.text_model
    config = module.config.text_config
    blocks = text.encoder.layers
    layers = _layers(blocks, "text_model.encoder.layers")
    limit = config.max_position_embeddings

    def pooled_at(ids: Tensor) -> Tensor:
        """(N, T) ids -> (N,) the position that is read, by transformers' own two rules."""
        if text.eos_token_id == 2:  # the legacy rule: OpenAI's configurations name the wrong id
            return ids.int().argmax(-1)
        return (ids == text.eos_token_id).int().argmax(-1)

    def embed(ids: Inputs) -> Tensor:
        return _features(module.get_text_features(input_ids=ids))  # (N, D)

    def tail(z: Tensor, layer: int, ids: Inputs) -> Tensor:
        index = pooled_at(tensor_of(ids, "clip"))  # (M,)
        length = z.shape[1]
        mask = torch.full((length, length), torch.finfo(z.dtype).min, dtype=z.dtype, device=z.device)
        mask = mask.triu(1)[None, None]  # (1, 1, T, T) causal
        pooled = _run_pooled(blocks[layer + 1 :], z, mask, index)  # (M, C)
        return module.text_projection(text.final_layer_norm(pooled))  # (M, D)

    def names(ids: list[int]) -> list[str]:
        return tokenizer.convert_ids_to_tokens(ids) if tokenizer else [f"id{value}" for value in ids]

    def up_to_pooled(ids: Tensor) -> Tensor:
        """What comes after the pooled token of a causal encoder is never read."""
        return ids[: int(pooled_at(ids[None])) + 1]

    def prepare(raw: Any, *, truncate: bool = False) -> Item:
        string = check_text(raw)
        if tokenizer is None:
            raise InputError(
                "text: this checkpoint comes without a tokenizer; save one into its folder "
                "(CLIPTokenizer.save_pretrained), or give a tensor of token ids"
            )
        coded = tokenizer(string, return_offsets_mapping=True, return_special_tokens_mask=True)
        count = len(coded["input_ids"])
        if count > limit:
            if not truncate:
                raise too_long(string, count, limit)
            coded = tokenizer(
                string,
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
                truncation=True,
                max_length=limit,
            )
        ids = up_to_pooled(torch.tensor(coded["input_ids"]))
        kept = len(ids)
        if kept < min(count, limit):
            raise InputError(
                f"text {string[:40]!r} holds the model's own end token after {kept - 2} others, and the model reads "
                "no further; take it out of the text"
            )
        special = [bool(flag) for flag in coded["special_tokens_mask"][:kept]]
        if all(special):
            raise InputError(f"text {string!r} is empty once tokenized; give at least one word")
        tokens = tokens_of_text(string, names(ids.tolist()), coded["offset_mapping"][:kept], special)
        origin = {"source": "text", "truncated": count > limit}
        return Item(ids, Layout((kept,), read=kept, tokens=tokens), {"text": string}, origin)

    def describe(given: Inputs) -> Item:
        whole = check_ids(tensor_of(given, "clip"), limit, config.vocab_size)
        if text.eos_token_id != 2 and text.eos_token_id not in whole:
            raise InputError(
                f"text: the token ids hold no end token ({text.eos_token_id}), where the model reads a text"
            )
        ids = up_to_pooled(tensor_of(given, "clip")).long()
        values = ids.tolist()
        ends = {0, len(values) - 1} if tokenizer is None else None
        special = [
            n in ends if ends is not None else value in tokenizer.all_special_ids
            for n, value in enumerate(values)
        ]
        if all(special):
            raise InputError("text: the token ids hold special tokens only")
        decode = tokenizer.decode if tokenizer else lambda part: " ".join(names(part))
        string, tokens = tokens_of_ids(values, special, names(values), decode)
        return Item(
            ids, Layout((len(values),), read=len(values), tokens=tokens), {"text": string}, {"source": "ids"}
        )

    def collate(items: Sequence[Inputs]) -> Inputs:
        """Pad with what ends each text: by either rule the first one is pooled."""
        rows = [tensor_of(item, "clip") for item in items]
        longest = max(len(row) for row in rows)
        return torch.stack([torch.cat([row, row[-1:].expand(longest - len(row))]) for row in rows])  # (N, T)

    return Encoder(
        modality="text",
        prepare=prepare,
        describe=describe,
        embed=embed,
        layers=layers,
        collate=collate,
        tail=tail,
        attention=Attention(lambda ids: pooled_at(tensor_of(ids, "clip")), by_sdpa_of(text.config)),
        degradation=Replacing(_padding(tokenizer, text.eos_token_id)),
    )


def _padding(tokenizer: Any, end: int) -> int:
    """What a token is replaced by: 0, as OpenAI padded, where the tokenizer pads with the end token itself.

    An end token in the middle would be where the text is read, and hide all that follows it.
    """
    pad = None if tokenizer is None else tokenizer.pad_token_id
    ends = {end, None if tokenizer is None else tokenizer.eos_token_id}
    return 0 if pad is None or pad in ends else int(pad)


def _features(output: Any) -> Tensor:
    """transformers 5 gives an object that holds the projected feature."""
    features: Tensor = output.pooler_output
    return features
