"""How raw inputs are made ready for the model, in training and after it: these numbers and no others.

Means and standard deviations, all but the image's rounded from 200 scenes: of pixels and grey levels in
[0, 1], of log energies, and of disparity / max_disparity.
"""

from __future__ import annotations

from m2ib_adapters.imagebind.preparations import Given, Preparations
from m2ib_adapters.imagebind_tiny.architecture import SIZES
from m2ib_adapters.inputs.images import ImagePreparation

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
