"""The sizes of the model, by the names of :class:`m2ib_adapters.imagebind.architecture.Architecture`.

Nothing else holds these numbers: the preparations, the training and the adapter read them here.
"""

from __future__ import annotations

from typing import Any

from m2ib.scenes import WORDS
from m2ib_adapters.imagebind.architecture import Architecture
from m2ib_adapters.inputs.words import WordCoder

CODER = WordCoder(WORDS)
START, END = CODER.start, CODER.end  # the end is the largest id: a text is read there

# fmt: off
ARCHITECTURE: dict[str, Any] = {
    "pixels": 112, "kernel_size": (2, 14, 14), "out_embed_dim": 128,
    "vision_embed_dim": 128, "vision_num_blocks": 4, "vision_num_heads": 4,
    "text_embed_dim": 96, "text_num_blocks": 3, "text_num_heads": 4,
    "context_length": 24, "vocabulary_size": END + 1,
    "audio_embed_dim": 96, "audio_num_blocks": 3, "audio_num_heads": 4,
    "audio_num_mel_bins": 64, "audio_target_len": 200, "audio_kernel_size": (16, 10), "audio_stride": (16, 10),
    "depth_embed_dim": 96, "depth_num_blocks": 4, "depth_num_heads": 4, "depth_kernel_size": 14,
    "thermal_embed_dim": 96, "thermal_num_blocks": 4, "thermal_num_heads": 4, "thermal_kernel_size": 14,
    "imu_embed_dim": 96, "imu_num_blocks": 3, "imu_num_heads": 4, "imu_samples": 200, "imu_window": 5,
}
# fmt: on
SIZES = Architecture.of(ARCHITECTURE)
