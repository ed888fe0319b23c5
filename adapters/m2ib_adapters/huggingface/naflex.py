"""Images of SigLIP 2 NaFlex: resized to as many patches as they may have, at their own aspect ratio, and padded.

transformers' own image processor makes an image ready, and what it gives is what the encoder takes, by name. Of one
image, without the batch axis:

``pixel_values``          (P, patch * patch * 3) patches in reading order, pixel by pixel, after mean and std; then zeros
``pixel_attention_mask``  (P,) 1 for a patch of the image, 0 for padding, which nothing attends to
``spatial_shapes``        (2,) rows and columns of the image's patches
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad, unfold

from m2ib.contract.degradation import Degradation
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib.errors import CheckpointError, InputError
from m2ib.renderers import ImageView
from m2ib_adapters.checkpoints import loading
from m2ib_adapters.inputs.images import ImageOptions, placed
from m2ib_adapters.inputs.processors import scale_of

NAMES = ("pixel_values", "pixel_attention_mask", "spatial_shapes")


@dataclass(frozen=True)
class Patching(ImageOptions, Degradation):
    """How an image becomes patches, and how parts of one that is ready are taken out.

    processor    transformers' own
    patch        pixels along a patch's side
    max_patches  an image has at most so many, and is padded to them
    mean, std    by channel, of pixels in [0, 1], that its rescaling and normalising come to
    """

    processor: Any
    patch: int
    max_patches: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gradual: bool = True

    def prepare(self, raw: Any, *, truncate: bool = False) -> Item:
        """A path, PIL image or array, with options or without; or one that is ready, by name.

        Raises :class:`InputError`.
        """
        if isinstance(raw, Mapping) and self.MODALITY not in raw:
            return self.describe(dict(raw))
        image, origin = self.opened(raw)
        made = self.processor(images=image, max_num_patches=self.max_patches, return_tensors="pt")
        inputs = {name: made[name][0] for name in NAMES}
        made_by = {
            "max_patches": self.max_patches,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": Image.Resampling(int(self.processor.resample)).name.lower(),
            "processor": type(self.processor).__name__,  # there are two, whose pixels differ by rounding
        }
        return self._item(inputs, image, origin, **made_by)

    def describe(self, given: Inputs) -> Item:
        """One that is ready, by name, as an :class:`Item`; shown with mean and std undone."""
        inputs = self._checked(given)
        rows, columns = inputs["spatial_shapes"].tolist()
        patches = inputs["pixel_values"][: rows * columns].float()  # (rows * columns, patch * patch * 3)
        cut = patches.reshape(rows, columns, self.patch, self.patch, 3).transpose(1, 2)
        image = cut.reshape(rows * self.patch, columns * self.patch, 3)  # of (rows, patch, columns, patch, 3)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)  # (3,)
        shown = ((image * std + mean).clamp(0, 1) * 255).round().byte().numpy()
        return self._item(inputs, Image.fromarray(shown), {"source": "tensors"})

    def _item(
        self, inputs: dict[str, Tensor], image: Image.Image, origin: dict[str, Any], **made_by: Any
    ) -> Item:
        rows, columns = inputs["spatial_shapes"].tolist()
        region, size = (0, 0, image.width, image.height), (rows * self.patch, columns * self.patch)
        layout = placed(Layout(grid=(rows, columns), read=rows * columns), region)
        origin |= {"input_size": list(size), "patches": [rows, columns], **made_by}
        return Item(inputs, layout, ImageView.of(image, region, size), origin)

    def _checked(self, given: Inputs) -> dict[str, Tensor]:
        """Raises :class:`InputError` for anything that the processor would not have made."""
        if not isinstance(given, dict):
            found = f"one tensor of shape {tuple(given.shape)}"
            raise _refused(f"a NaFlex model takes {', '.join(NAMES)}, not {found}")
        if set(given) != set(NAMES) or not all(isinstance(given[name], Tensor) for name in NAMES):
            found = ", ".join(map(str, given)) or "nothing"
            raise _refused(f"a preprocessed image holds tensors named {', '.join(NAMES)}, not {found}")
        pixels, mask, shape = (given[name].detach().cpu() for name in NAMES)
        width = 3 * self.patch**2
        if pixels.ndim != 2 or pixels.shape[1] != width or not pixels.is_floating_point():
            found = f"{tuple(pixels.shape)} {pixels.dtype}"
            raise _refused(f"pixel_values are (patches, {width}) of a floating-point type, not {found}")
        if not torch.isfinite(pixels).all():
            raise InputError("image: pixel_values hold NaN or infinite values")
        most = len(pixels)
        rows, columns = shape.tolist() if shape.shape == (2,) and not shape.is_floating_point() else (0, 0)
        if not (rows >= 1 and columns >= 1 and rows * columns <= most):
            raise _refused(
                f"spatial_shapes are the rows and columns of at most {most} patches, not {shape.tolist()}"
            )
        if mask.shape != (most,) or not torch.equal(mask.bool(), torch.arange(most) < rows * columns):
            raise _refused(
                f"pixel_attention_mask is 1 for the first {rows} x {columns} of {most} patches and 0 after them"
            )
        return {"pixel_values": pixels, "pixel_attention_mask": mask, "spatial_shapes": shape}

    def positions(self, inputs: Inputs, grid: tuple[int, ...]) -> tuple[int, ...]:
        """(rows, columns) in pixels of the resized image."""
        if not isinstance(inputs, dict):
            raise InputError(
                f"degradation: an image in patches is a dict of tensors, not a {type(inputs).__name__}"
            )
        rows, columns = inputs["spatial_shapes"][0].tolist()
        if grid != (rows, columns):
            raise InputError(
                f"degradation: an image of {rows} x {columns} patches, and a map of {grid} cells"
            )
        return (rows * self.patch, columns * self.patch)

    def apply(self, inputs: Inputs, keep: Tensor, layout: Layout) -> Inputs:
        """Of one image, ``keep`` (K, rows * patch, columns * patch) -> K images, (K, ...) by name.

        Pixels fade to 0 of the normalised image, as :class:`Fading` does it before an image is cut.
        """
        parts = by_name(inputs)
        pixels = parts["pixel_values"]  # (1, P, patch * patch * 3)
        cut = unfold(
            keep[:, None].to(pixels), self.patch, stride=self.patch
        )  # (K, patch * patch, rows * columns)
        weights = cut.mT.repeat_interleave(3, 2)  # (K, rows * columns, patch * patch * 3): channels are last
        weights = pad(weights, (0, 0, 0, pixels.shape[1] - weights.shape[1]), value=1)  # (K, P, ...)
        others = {name: part.expand(len(keep), *part.shape[1:]) for name, part in parts.items()}
        return {**others, "pixel_values": pixels * weights}


def _refused(fault: str) -> InputError:
    return InputError(
        f"image: {fault}; give the image itself (a path, a PIL image or an array), or a dict of what the model's image "
        "processor makes of it, without the batch axis"
    )


def patching(who: str, source: str, processor: Any, config: Any, max_patches: int | None) -> Patching:
    """With the image processor that comes with the checkpoint.

    Raises :class:`CheckpointError` where it is missing, or another model's.
    """
    patch = config.vision_config.patch_size
    if processor is None:
        raise CheckpointError(
            f"{who}: checkpoint {source!r} cannot be loaded: it comes without its Siglip2ImageProcessor; give processor="
        )
    name = type(processor).__name__.removesuffix("Pil")  # of the two that make the same
    cut, resizes = (getattr(processor, attribute, None) for attribute in ("patch_size", "do_resize"))
    if name != "Siglip2ImageProcessor" or cut != patch or not resizes:
        raise CheckpointError(
            f"{who}: checkpoint {source!r} has the image processor {name} with patch_size {cut} and do_resize "
            f"{resizes}; its model needs a Siglip2ImageProcessor with patch_size {patch} that resizes"
        )
    with loading(who, source):
        mean, std = scale_of(processor, config.vision_config.num_channels)
        try:
            processor(images=Image.new("RGB", (3 * patch, 2 * patch)), return_tensors="pt")
        except Exception as error:  # its own checks raise what they like
            raise ValueError(f"its image processor cannot work: {error}") from error
    return Patching(processor, patch, max_patches or processor.max_num_patches, mean, std)


def by_name(inputs: Inputs) -> dict[str, Tensor]:
    """Inputs as the model takes them. Raises :class:`InputError` for one tensor."""
    if not isinstance(inputs, dict):
        raise _refused(f"a NaFlex model takes {', '.join(NAMES)}")
    return inputs
