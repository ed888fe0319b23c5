"""Tiny seeded SigLIPs in the format of the published checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

LINES = [
    "a photo of a dog",
    "a small brown dog on the grass",
    "two cats sleep on a red sofa",
    "a yellow bus in the street",
    "the man rides a bicycle",
    "don't stop here",
    "café au lait",
    "a cat and a dog play in the garden near the house",
    "a square box",
] * 20
LENGTH = 40  # positions of text
COMMON = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


def siglip_tokenizer(folder: Path) -> Any:
    """SigLIP's own, over some 50 pieces that are trained in ``folder``; ids as in the published one: 1 ends and pads."""
    import sentencepiece
    from transformers import SiglipTokenizer

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_prefix=str(folder / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return SiglipTokenizer(
        str(folder / "spiece.model"), model_max_length=LENGTH, model_input_names=["input_ids"]
    )


def gemma_tokenizer() -> Any:
    """Gemma's kind, with the words that SigLIP 2's checkpoints have in their tokenizer_config.json."""
    from tokenizers import Tokenizer, models, normalizers, trainers
    from transformers import GemmaTokenizer

    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.normalizer = normalizers.Replace(" ", "\u2581")
    parts = [
        part for line in LINES for part in line.replace(" ", "\n ").split("\n")
    ]  # no token crosses a space
    trained.train_from_iterator(
        parts, trainers.BpeTrainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    vocabulary = dict(model["vocab"])
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    return GemmaTokenizer(
        vocab=vocabulary,
        merges=[tuple(merge) for merge in model["merges"]],
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
        do_lower_case=True,
        model_input_names=["input_ids"],
    )


def save_fixed(folder: Path, tokenizer: Any, resample: int, *, image_size: int = 32) -> Path:
    """A ``SiglipModel`` of 3 blocks, width 32, images in patches of 8 pixels.

    resample  Pillow's number: 2 bilinear, 3 bicubic
    """
    from transformers import SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    vision = {**COMMON, "image_size": image_size, "patch_size": 8}
    model = SiglipModel(SiglipConfig(text_config=_text(tokenizer), vision_config=vision))
    half = [0.5, 0.5, 0.5]
    processor = SiglipImageProcessorPil(
        size={"height": image_size, "width": image_size}, resample=resample, image_mean=half, image_std=half
    )
    return save_seeded(model, folder, processor, tokenizer)


def save_naflex(folder: Path, tokenizer: Any) -> Path:
    """A ``Siglip2Model`` of 3 blocks, width 32, at most 20 patches of 8 pixels."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    vision = {**COMMON, "num_patches": 16, "patch_size": 8}
    model = Siglip2Model(Siglip2Config(text_config=_text(tokenizer), vision_config=vision))
    return save_seeded(model, folder, Siglip2ImageProcessor(patch_size=8, max_num_patches=20), tokenizer)


def _text(tokenizer: Any) -> dict[str, Any]:
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    return {**COMMON, "vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, **ids}


def save_seeded(model: Any, folder: Path, *parts: Any) -> Path:
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():  # away from the near-zero of a fresh initialisation
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.25)
        else:
            scale = any(part in name.lower() for part in ("norm", "_bn.", "_ln.")) and name.endswith("weight")
            torch.nn.init.normal_(parameter, mean=1.0 if scale else 0.0, std=0.1)
    model.save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)
    return folder
