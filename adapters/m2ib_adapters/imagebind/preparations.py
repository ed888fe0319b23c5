"""How ImageBind's raw inputs are prepared: the official loaders' values, and what the user says instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from m2ib.contract import Item
from m2ib.errors import InputError, SettingError
from m2ib_adapters.imagebind.architecture import IMU_SAMPLES, IMU_WINDOW, PIXELS, Architecture
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.images import OPENAI_MEAN, OPENAI_STD, ImagePreparation
from m2ib_adapters.inputs.imu import ImuPreparation
from m2ib_adapters.inputs.thermal import ThermalPreparation
from m2ib_adapters.inputs.video import VideoPreparation
from m2ib_adapters.towers.patches import Patches


@dataclass(frozen=True)
class ImagePatches:
    """Images of one size, cut into square patches; tensors of any size that the patch divides."""

    pixels: ImagePreparation
    patches: Patches

    def prepare(self, raw: Any) -> Item:
        """A path, PIL image or array; see :class:`ImagePreparation`."""
        return self._placed(self.pixels.prepare(raw, self.patches.layout(self.pixels.size)), self.pixels.size)

    def describe(self, inputs: Tensor) -> Item:
        """A preprocessed tensor (3, H, W) of any size; what is less than a patch at its end is not seen."""
        side = self.patches.kernel[0]
        rows, columns = inputs.shape[-2:] if inputs.ndim == 3 else (0, 0)
        if rows < side or columns < side:
            raise InputError(
                f"image: a preprocessed tensor has the shape (3, H, W) with at least {side} rows and columns, "
                f"not {tuple(inputs.shape)}"
            )
        pixels = replace(self.pixels, size=(rows, columns))
        return self._placed(pixels.describe(inputs, self.patches.layout((rows, columns))), (rows, columns))

    def _placed(self, item: Item, size: tuple[int, int]) -> Item:
        return replace(item, layout=self.patches.placed(item.layout, size))


@dataclass(frozen=True)
class Preparations:
    """One for each kind of raw input but text."""

    image: ImagePatches
    video: VideoPreparation
    audio: AudioPreparation
    depth: DepthPreparation
    thermal: ThermalPreparation
    imu: ImuPreparation

    @classmethod
    def of(
        cls, sizes: Architecture, side: int, given: Mapping[str, Mapping[str, Any] | None]
    ) -> Preparations:
        """For a model of these sizes and images of ``side`` pixels, with the user's options by modality.

        Raises :class:`SettingError`.
        """
        for modality, options in given.items():
            if options is not None and not isinstance(options, Mapping):
                raise SettingError(
                    f"imagebind: {modality} is a dict of options, not {type(options).__name__}; "
                    f"as in {modality}={_EXAMPLES[modality]}"
                )
        options = {modality: options or {} for modality, options in given.items()}
        square = (PIXELS, PIXELS)
        patch = sizes.kernel_size[1:]
        pixels = ImagePreparation((side, side), OPENAI_MEAN, OPENAI_STD)
        return cls(
            image=ImagePatches(pixels, Patches(patch, patch)),
            video=VideoPreparation.of(options["video"], patches=Patches(patch, patch)),
            audio=AudioPreparation.of(
                options["audio"],
                bins=sizes.audio_num_mel_bins,
                frames=sizes.audio_target_len,
                patches=Patches((sizes.audio_kernel_size,) * 2, (sizes.audio_stride,) * 2),
            ),
            depth=DepthPreparation.of(
                options["depth"], size=square, patches=_square_patches(sizes.depth_kernel_size)
            ),
            thermal=ThermalPreparation.of(
                options["thermal"], size=square, patches=_square_patches(sizes.thermal_kernel_size)
            ),
            imu=ImuPreparation.of(options["imu"], samples=IMU_SAMPLES, window=IMU_WINDOW),
        )


_EXAMPLES = {
    "audio": '{"clips": 5}',
    "video": '{"crops": 1}',
    "depth": '{"sensor": "kinect-v2"}',
    "thermal": '{"low": 20, "high": 40}',
    "imu": '{"rate": 200}',
}


def _square_patches(side: int) -> Patches:
    return Patches((side, side), (side, side))
