"""How raw inputs are made ready for the model, in training and after it: these numbers and no others.

Means and standard deviations, all but the image's rounded from 200 scenes: of pixels and grey levels in
[0, 1], of log energies, and of disparity / max_disparity.
"""

from __future__ import annotations

from m2ib_adapters.imagebind.architecture import Architecture
from m2ib_adapters.imagebind.preparations import Given, ImagePatches, Preparations, checked_options
from m2ib_adapters.imagebind_tiny.architecture import ARCHITECTURE
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.images import ImagePreparation
from m2ib_adapters.inputs.imu import ImuPreparation
from m2ib_adapters.inputs.thermal import ThermalPreparation

SECONDS = 2.0  # of a sound, in one clip, and of motion
IMAGE_MEAN, IMAGE_STD = (0.43, 0.43, 0.43), (0.15, 0.15, 0.15)
AUDIO_MEAN, AUDIO_STD = -4.4, 3.3
DEPTH_MEAN, DEPTH_STD = 0.122, 0.026
THERMAL_MEAN, THERMAL_STD = 0.21, 0.16

_NAMES = ("audio", "depth", "thermal", "imu")


def preparations(given: Given | None = None) -> Preparations:
    """One for each modality but text.

    given  what a user says of raw audio, depth, thermal and imu, by modality

    Raises :class:`SettingError`.
    """
    options = checked_options(dict.fromkeys(_NAMES) | dict(given or {}), "imagebind-tiny")
    sizes = Architecture.of(ARCHITECTURE)
    pixels = ImagePreparation(sizes.picture_size, IMAGE_MEAN, IMAGE_STD)
    return Preparations(
        image=ImagePatches(pixels, sizes.patches("vision")),
        audio=AudioPreparation.of(
            options["audio"],
            bins=sizes.audio_num_mel_bins,
            frames=sizes.audio_target_len,
            mean=AUDIO_MEAN,
            std=AUDIO_STD,
            clips=1,
            seconds=SECONDS,
            patches=sizes.patches("audio"),
        ),
        depth=DepthPreparation.of(
            options["depth"],
            size=sizes.picture_size,
            patches=sizes.patches("depth"),
            mean=DEPTH_MEAN,
            std=DEPTH_STD,
        ),
        thermal=ThermalPreparation.of(
            options["thermal"],
            size=sizes.picture_size,
            patches=sizes.patches("thermal"),
            mean=THERMAL_MEAN,
            std=THERMAL_STD,
        ),
        imu=ImuPreparation.of(
            options["imu"], samples=sizes.imu_samples, seconds=SECONDS, window=sizes.imu_window
        ),
    )
