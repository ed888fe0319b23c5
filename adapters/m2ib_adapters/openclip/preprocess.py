"""open_clip's ``PreprocessCfg`` as an :class:`ImagePreparation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from m2ib.errors import SettingError
from m2ib_adapters.inputs.images import OPENAI_MEAN, OPENAI_STD, Fit, ImagePreparation
from m2ib_adapters.inputs.options import is_number

# open_clip's own, where nothing else is said
DEFAULTS: dict[str, Any] = {
    "mean": OPENAI_MEAN,
    "std": OPENAI_STD,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
_FITS: dict[str, Fit] = {"shortest": "crop", "squash": "squash", "longest": "pad"}
_INTERPOLATIONS = ("bicubic", "bilinear", "random")  # "random" is for training, and bicubic otherwise


def merge(*layers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Later ones win; what is None or no matter of preprocessing is left out, as the size: a model has its own."""
    merged = dict(DEFAULTS)
    for layer in layers:
        known = {key: value for key, value in (layer or {}).items() if key in (*DEFAULTS, "mode")}
        merged |= {key: value for key, value in known.items() if value is not None}
    return merged


def check(given: Any) -> Mapping[str, Any] | None:
    """The ``preprocess`` option. Raises :class:`SettingError`."""
    if given is None:
        return None
    unknown = sorted(set(given) - set(DEFAULTS)) if isinstance(given, Mapping) else [repr(given)]
    if unknown:
        raise SettingError(
            f"open-clip: preprocess is a dict with keys out of {', '.join(DEFAULTS)}, not {unknown[0]}"
        )
    return dict(given)


def preparation(image_size: int | tuple[int, int], config: Mapping[str, Any]) -> ImagePreparation:
    """The pixels that ``open_clip.image_transform(..., is_train=False)`` gives, for a tower of this size.

    Raises :class:`SettingError` for values that open_clip has not.
    """
    if config.get("mode", "RGB") != "RGB":
        raise SettingError(
            f"open-clip: preprocess_cfg has the mode {config['mode']!r}; open_clip has RGB alone"
        )
    rows, columns = (image_size, image_size) if isinstance(image_size, int) else image_size
    mode, interpolation = config["resize_mode"], config["interpolation"]
    if mode not in _FITS:
        raise SettingError(f"open-clip: resize_mode {mode!r} is unknown; it is one of {', '.join(_FITS)}")
    if interpolation not in _INTERPOLATIONS:
        raise SettingError(
            f"open-clip: interpolation {interpolation!r} is unknown; "
            f"it is one of {', '.join(_INTERPOLATIONS)}"
        )
    fill = config["fill_color"]
    if isinstance(fill, bool) or not isinstance(fill, int) or not 0 <= fill <= 255:
        raise SettingError(f"open-clip: fill_color is a whole number from 0 to 255, not {fill!r}")
    # For an input that is not square open_clip resizes the short side bicubically whatever is asked for.
    bilinear = interpolation == "bilinear" and not (mode == "shortest" and rows != columns)
    return ImagePreparation(
        size=(rows, columns),
        mean=_three("mean", config["mean"]),
        std=_three("std", config["std"]),
        fit=_FITS[mode],
        interpolation=Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC,
        fill=fill,
    )


def _three(name: str, value: Any) -> tuple[float, ...]:
    """By channel; one number is meant for all three. But 0, which open_clip takes for nothing said."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,) * 3 if value else ()
    if len(values) != 3 or not all(map(is_number, values)) or (name == "std" and min(values) <= 0):
        raise SettingError(
            f"open-clip: {name} is given by channel, three numbers{' above 0' if name == 'std' else ''} or one "
            f"other than 0, not {value!r}"
        )
    return tuple(map(float, values))
