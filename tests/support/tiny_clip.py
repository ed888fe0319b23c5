"""A tiny CLIP folder in transformers' own format, seeded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

VOCABULARY = 100
START, END = 98, 99


def save_tiny_clip(folder: Path, *, blocks: int = 4, legacy_end: bool = False, **vision: Any) -> Path:
    """A CLIPModel of ``blocks`` blocks, width 32, 32 px images in patches of 8, 20 positions of text, no tokenizer.

    legacy_end  the wrong end id of OpenAI's public configurations: the largest id is pooled
    """
    from transformers import CLIPConfig, CLIPModel

    common = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": blocks,
        "num_attention_heads": 4,
    }
    text = {
        **common,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 20,
        "bos_token_id": START,
        "eos_token_id": 2 if legacy_end else END,
        "pad_token_id": END,
    }
    image = {**common, "image_size": 32, "patch_size": 8, **vision}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=image, projection_dim=16))
    for parameter in model.parameters():  # away from the near-zero of a fresh initialisation
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.25)
    model.save_pretrained(folder)
    return folder
