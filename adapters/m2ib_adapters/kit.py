"""What the first-party adapters are made of, for other packages' adapters as well.

Each name says what it is, and its page in the reference puts them in order. It is part of the public interface: names here are
kept.
"""

from __future__ import annotations

from m2ib.errors import decoding
from m2ib_adapters.bounds import check_described
from m2ib_adapters.checkpoints import from_folder_or_hub, has_any, image_processor_config, loading
from m2ib_adapters.huggingface.texts import texts as transformers_texts
from m2ib_adapters.inputs.images import (
    OPENAI_MEAN,
    OPENAI_STD,
    ImageOptions,
    ImagePreparation,
    open_image,
    placed,
)
from m2ib_adapters.inputs.media import InputFile, called, existing_file, input_file, optional
from m2ib_adapters.inputs.processors import image_processor, processed_images, scale_of
from m2ib_adapters.inputs.resampling import resample, resampled_length, source_range
from m2ib_adapters.inputs.sound_files import open_sound, sound_at
from m2ib_adapters.inputs.sounds import Sound
from m2ib_adapters.inputs.tensors import array_of, tensor_of
from m2ib_adapters.inputs.texts import (
    aligned,
    check_ids,
    check_text,
    tokens_of_ids,
    tokens_of_text,
    too_long,
    warn_unknown,
)
from m2ib_adapters.inputs.tokens import Coded, Coder, IdCoder, TokenizerCoder
from m2ib_adapters.looking import described_by, model_type_of, transformers_fault
from m2ib_adapters.memory import described, parts_nearby, parts_of, place_of, resized, unwrapped
from m2ib_adapters.towers.attention import by_sdpa_of, first_position
from m2ib_adapters.towers.images import image_encoder
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.patches import Patches
from m2ib_adapters.towers.text import TextTower, text_encoder, without_padding
from m2ib_adapters.transformers_models import base_of, from_transformers
from m2ib_adapters.without_code import without_code

__all__ = [
    "OPENAI_MEAN", "OPENAI_STD", "Coded", "Coder", "IdCoder", "ImageOptions", "ImagePreparation", "InputFile",
    "Patches", "Sound", "TextTower", "TokenizerCoder", "aligned", "array_of", "base_of", "block_layers", "by_sdpa_of", "called",
    "check_described", "check_ids", "check_text", "decoding", "described", "described_by", "existing_file", "first_position", "from_folder_or_hub",
    "from_transformers", "has_any", "image_encoder", "image_processor", "image_processor_config", "input_file",
    "loading", "model_type_of", "open_image", "open_sound", "optional", "parts_nearby", "parts_of", "place_of", "placed",
    "processed_images", "resample", "resampled_length", "resized", "scale_of", "sound_at", "source_range", "tensor_of",
    "text_encoder", "tokens_of_ids", "tokens_of_text", "too_long", "transformers_fault", "transformers_texts", "unwrapped", "warn_unknown", "without_code",
    "without_padding",
]  # fmt: skip
