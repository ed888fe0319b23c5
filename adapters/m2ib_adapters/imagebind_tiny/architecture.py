"""The sizes of the model, by the names of :class:`m2ib_adapters.imagebind.architecture.Architecture`, and how raw inputs are
made ready for it, in training and after it: these numbers and no others.

Means and standard deviations, all but the image's rounded from 200 scenes: of pixels and grey levels in
[0, 1], of log energies, and of disparity / max_disparity.
"""

from __future__ import annotations

from typing import Any

from m2ib.scenes import WORDS
from m2ib_adapters.imagebind.architecture import Architecture
from m2ib_adapters.imagebind.preparations import Given, Preparations
from m2ib_adapters.inputs.images import ImagePreparation
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

SECONDS = 2.0  # of a sound, in one clip, and of motion
IMAGE_MEAN, IMAGE_STD = (0.43, 0.43, 0.43), (0.15, 0.15, 0.15)
_OWN = {
    "audio": {"mean": -4.4, "std": 3.3, "clips": 1, "seconds": SECONDS},
    "depth": {"mean": 0.122, "std": 0.026},
    "thermal": {"mean": 0.21, "std": 0.16},
    "imu": {"seconds": SECONDS},
}


def preparations(given: Given | None = None) -> Preparations:
    """One for each modality but text.

    given  what a user says of raw images, audio, depth, thermal and imu, by modality

    Raises :class:`SettingError`.
    """
    pixels = ImagePreparation((SIZES.pixels, SIZES.pixels), IMAGE_MEAN, IMAGE_STD)
    return Preparations.of(SIZES, pixels, dict.fromkeys(_OWN) | dict(given or {}), "imagebind-tiny", _OWN)
