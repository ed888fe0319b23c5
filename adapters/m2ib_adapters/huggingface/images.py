"""The image side: pixels as the checkpoint's processor makes them, and where each position of the tower lies in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from m2ib.adapting import adapt
from m2ib.contract.encoder import Attention, Encoder
from m2ib.contract.inputs import Inputs
from m2ib.contract.layout import Layout
from m2ib.notices import warn
from m2ib_adapters.checkpoints import loading
from m2ib_adapters.huggingface.families import IMAGES, family_of
from m2ib_adapters.huggingface.naflex import by_name, patching
from m2ib_adapters.inputs.images import OPENAI_MEAN, ImagePreparation
from m2ib_adapters.inputs.processors import processed_images
from m2ib_adapters.towers.attention import by_sdpa_of, first_position
from m2ib_adapters.towers.hugging_face import parts_of
from m2ib_adapters.towers.images import image_encoder
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.patches import Patches
from m2ib_adapters.towers.pooled import headed_tail
from m2ib_adapters.towers.tails import tail_of


def attending(blocks: Any) -> Any:
    """``by_sdpa`` of :class:`m2ib.Attention`, for blocks that hold their configuration."""
    return by_sdpa_of(next(part.config for part in blocks.modules() if hasattr(part, "config")))


def features(module: Any, modality: str, **inputs: Any) -> Tensor:
    """(N, D) as the model's own ``get_..._features`` gives them; of those that give all tokens, the first."""
    family = family_of(module)
    if family.heads is not None:
        tower, head = (
            (family.text, family.heads[1]) if modality == "text" else (family.image, family.heads[0])
        )
        out = module.get_submodule(tower)(**inputs)
        read: Tensor = out.pooler_output if modality in ("audio", "video") else out.last_hidden_state[:, 0]
        return module.get_submodule(head)(read)
    made: Tensor = getattr(module, f"get_{modality}_features")(**inputs).pooler_output
    return made if made.ndim == 2 else made[:, 0]


@dataclass(frozen=True)
class Opened:
    """A model of transformers and what came with it.

    who        the adapter, in messages
    source     where it is from
    processor  its image processor, or feature extractor; None: it came without
    """

    who: str
    source: str
    module: Any
    processor: Any
    in_memory: bool


def images(opened: Opened, options: Mapping[str, Any] | None, max_patches: int | None) -> Encoder:
    """The encoder of images, with what is said of raw ones. Raises :class:`CheckpointError`."""
    module = opened.module
    path = family_of(module).image
    if module.config.model_type == "siglip2":
        return _naflex(opened, path, options, max_patches)
    preparation = preparation_of(opened, path).given(options, opened.who)
    tower, size = module.get_submodule(path), preparation.size

    def embed(pixels: Inputs) -> Tensor:
        return features(module, "image", pixel_values=pixels)

    facts = IMAGES.get(tower.config.model_type)
    if facts is None:
        return _proven(module, embed, preparation)
    name = f"{path}.{facts.blocks}"
    blocks = module.get_submodule(name)
    if facts.prefix is None:
        maps = block_layers(blocks, name, channel_axis=1)
        return image_encoder(embed, preparation, Layout(), maps)
    patch = tower.config.patch_size
    patches = Patches((patch, patch), (patch, patch))
    first = facts.prefix + getattr(tower.config, "num_register_tokens", 0)
    grid = patches.grid(size)
    read = first_position if facts.reads == "first" else None
    tail, of_clip = None, hasattr(module, "visual_projection") and hasattr(tower, "post_layernorm")
    if read is not None and of_clip:
        tail = headed_tail(
            blocks, parts_of, lambda pooled: module.visual_projection(tower.post_layernorm(pooled))
        )
    return image_encoder(
        embed,
        preparation,
        Layout(grid, tuple(range(first, first + prod(grid)))),
        block_layers(blocks, name),
        patches=patches,
        size=size,
        attention=None if facts.reads is None else Attention(read, attending(blocks)),
        parts_of=parts_of if tail is None else None,
        tail=tail,
    )


def rotary(module: Any) -> dict[str, Any]:
    """Layers, tail and attention of a :class:`Encoder`, of one of PE's models: its class token comes first, and is read."""
    family = family_of(module)
    assert family.heads is not None
    tower, head = module.get_submodule(family.image), module.get_submodule(family.heads[0])

    def tail(z: Tensor, layer: int, inputs: Inputs) -> Tensor:
        places = tower.rotary_emb(z, torch.arange(z.shape[1], device=z.device)[None])
        for block in tower.layers[layer + 1 :]:
            z = block(z, position_embeddings=places)
        return head(tower.output(tower.norm(z[:, 0])))

    layers = block_layers(tower.layers, f"{family.image}.layers")
    return {"layers": layers, "tail": tail, "attention": Attention(first_position, attending(tower.layers))}


def _proven(module: Any, embed: Any, preparation: ImagePreparation) -> Encoder:
    """Of a tower that is not known: blocks found, and the layout proven, once for all images."""
    blank = torch.zeros(len(preparation.mean), *preparation.size, device=module.device, dtype=module.dtype)
    found = adapt(
        module, {"image": Encoder(embed=embed)}, examples={"image": blank}, name="transformers"
    ).encoders["image"]
    assert found.describe is not None
    layout, step = found.describe(blank).layout, found.stride
    patches = Patches(step, step) if isinstance(step, tuple) else None
    bare = Layout(layout.grid, layout.index)
    return image_encoder(
        embed, preparation, bare, found.blocks, patches=patches, size=preparation.size, defaults=found.defaults,
        parts_of=parts_of,
    )  # fmt: skip


def preparation_of(opened: Opened, path: str) -> ImagePreparation:
    """By the checkpoint's image processor; by what transformers has for its family where it comes without one."""
    tower = opened.module.get_submodule(path)
    vision = tower.config
    with loading(opened.who, opened.source):
        side = getattr(vision, "image_size", None) or tower.timm_model.patch_embed.img_size[0]
        processor = opened.processor or _usual_processor(opened, side)
        # of images of any size
        maps = vision.model_type in IMAGES and IMAGES[vision.model_type].prefix is None
        return processed_images(processor, None if maps else side, getattr(vision, "num_channels", 3))


def _usual_processor(opened: Opened, side: int) -> Any:
    """Warns of values that are assumed, but of those which a family's checkpoints have all of them."""
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    config = opened.module.config
    if type(config) not in IMAGE_PROCESSOR_MAPPING:
        kind = "a video" if config.model_type == "pe_video" else "an image"
        raise ValueError(f"it comes without {kind} processor; give processor=")
    kinds = IMAGE_PROCESSOR_MAPPING[type(config)]
    kind = kinds.get("pil") or kinds["torchvision"]
    names = ["shortest_edge"] if "shortest_edge" in kind.size else ["height", "width"]
    processor = kind(size=dict.fromkeys(names, side), crop_size={"height": side, "width": side})
    if opened.in_memory or config.model_type not in ("clip", "siglip"):
        usual = tuple(processor.image_mean or ()) == OPENAI_MEAN
        values = "OpenAI" if usual else kind.__name__.removesuffix("Pil")
        came = "the model in memory came" if opened.in_memory else f"checkpoint {opened.source!r} comes"
        warn(
            f"{opened.who}: {came} without processor=, so pixels are prepared with {values}'s values; give it if the model "
            "was trained with others"
        )
    return processor


def _naflex(opened: Opened, path: str, options: Mapping[str, Any] | None, max_patches: int | None) -> Encoder:
    """The images of a SigLIP 2 that keeps their shape: read by a learned query, which sees no padding."""
    module = opened.module
    made = patching(opened.who, opened.source, opened.processor, module.config, max_patches)
    made = made.given(options, opened.who)
    name = f"{path}.encoder.layers"
    blocks = module.get_submodule(name)
    layers = block_layers(blocks, name)

    def embed(inputs: Inputs) -> Tensor:
        return features(module, "image", **by_name(inputs))

    return Encoder(
        modality="image",
        prepare=made.prepare,
        describe=made.describe,
        embed=embed,
        layers=layers,
        tail=tail_of(embed, layers, parts_of),
        attention=Attention(None, attending(blocks)),
        degradation=made,
    )
