"""Raw depth -> disparity -> the tensor a model takes.

    disparity (px) = baseline (m) x focal length (px) / depth (m)

what a stereo camera would measure. Disparity is what Omnivore and ImageBind were trained on; its statistics
.0418 and .0295 are those of disparity clamped to 75 px and divided by it, so that is done here too.
Their authors' own files were SUN RGB-D's, whose bits are rotated, read as plain millimetres: eight times too
deep. The statistics fit that reading; users report the published accuracy with true metres, the default
here. ``unit="mm"`` for such files, or ``baseline=.075 / 8`` for all others, gives the authors' reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from torch import Tensor

from m2ib.contract.inputs import Item
from m2ib.errors import InputError, SettingError
from m2ib.notices import warn
from m2ib_adapters.inputs.fields import FieldPreparation, fill_nearest, fit, is_flat, open_field, seen_part
from m2ib_adapters.inputs.media import called, rounded
from m2ib_adapters.inputs.options import check_positive, saying

SENSORS: dict[str, tuple[float, float]] = {
    "kinect-v1": (0.075, 518.857901),  # NYUv2, 640x480 or cropped
    "kinect-v2": (0.075, 529.5),  # as SUN RGB-D stores it, 730x530; the sensor's own 512x424 has 365.5
    "realsense": (0.095, 691.584229),  # SUN RGB-D, 681x531
    "xtion": (0.095, 570.342205),  # SUN RGB-D, 640x480 or cropped
}
"""By sensor: the baseline in metres that Omnivore's authors use, and the focal length in pixels."""

_ASSUMED_SENSOR = "kinect-v1"
DATASETS: dict[str, float] = {
    "tum": 5000.0,  # TUM RGB-D, and all that follow its format: ICL-NUIM, ETH3D's SLAM benchmark, Bonn
    "kitti": 256.0,  # KITTI's depth prediction and completion
    "void": 256.0,
    "matterport": 4000.0,  # Matterport3D, .25 mm
    "vkitti": 100.0,  # Virtual KITTI, cm
    "scannet": 1000.0,
}
"""By data set: what its files of whole numbers hold for one metre."""

_PER_METRE = {"m": 1.0, "mm": 1000.0, "sun-rgbd": 1000.0, "disparity": None, **DATASETS}
_ENOUGH = 16  # different values, of which a common divisor says something
_STEPS = {5: "tum", 4: "matterport"}  # all values are multiples of: of a camera's millimetres in these files
# Metres: of those that store mm, the nearest they see, have in view, and the farthest.
_CAMERAS = (0.35, 2.5, 10.0)
_MANY_HOLES = _MANY_CLIPPED = 0.5
_FAR = 100.0  # metres; a median beyond it is probably in millimetres
_NEAR = 0.02  # metres; a median below it is probably in metres, read as millimetres


@dataclass(frozen=True)
class DepthPreparation(FieldPreparation):
    """How a model wants depth, and how a raw input has it.

    mean, std         of disparity / max_disparity
    unit              of raw values: "m", "mm", "sun-rgbd" (16 bits, rotated by 3, millimetres), a data set's name
                      (``DATASETS``) or "disparity" (pixels, used as it is); None: "m" for floating point, "mm" for
                      whole numbers
    scale             of raw values for one metre, in place of a unit: 5000 for TUM's files, 256 for KITTI's
    sensor            kinect-v1, kinect-v2, realsense or xtion, for the camera's two numbers; None: kinect-v1
    focal_length      of the camera in pixels of the raw input; wins over the sensor's
    baseline          in metres; wins over the sensor's
    nearest, farthest metres, what is nearer or farther is taken as this near or far
    max_disparity     pixels: clamped to it, then divided by it; None: neither
    page              of a raw input of several, counted from 0; None: the first, with a warning
    """

    mean: float = 0.0418
    std: float = 0.0295
    unit: str | None = None
    scale: float | None = None
    sensor: str | None = None
    focal_length: float | None = None
    baseline: float | None = None
    nearest: float = 0.01
    farthest: float = 8.0
    max_disparity: float | None = 75.0

    MODALITY: ClassVar[str] = "depth"
    IN_INPUT: ClassVar[tuple[str, ...]] = ("unit", "scale", "sensor", "focal_length", "baseline", "page")
    OPTIONS: ClassVar[tuple[str, ...]] = (*IN_INPUT, "nearest", "farthest", "max_disparity", "mean", "std")

    def __post_init__(self) -> None:
        if self.unit is not None and self.unit not in list(_PER_METRE):
            raise SettingError(f"depth: unit is one of {', '.join(_PER_METRE)}, not {self.unit!r}")
        optional = ("scale", "focal_length", "baseline", "max_disparity")
        for name in (*optional, "nearest", "farthest"):
            check_positive(getattr(self, name), name, "depth", optional=name in optional)
        if self.unit is not None and self.scale is not None:
            raise SettingError(
                f"depth: unit={self.unit!r} and scale={self.scale:g} both say what raw values are; give one of them"
            )
        if self.sensor is not None and self.sensor not in list(SENSORS):
            raise SettingError(
                f"depth: sensor {self.sensor!r} is not known; give one of {', '.join(SENSORS)}, or "
                "focal_length in pixels and baseline in metres"
            )
        super().__post_init__()
        if self.nearest >= self.farthest:
            raise SettingError(
                f"depth: nearest={self.nearest:g} m is not before farthest={self.farthest:g} m"
            )

    @property
    def camera(self) -> tuple[float, float]:
        """(baseline in metres, focal length in pixels)."""
        baseline, focal_length = SENSORS[self.sensor or _ASSUMED_SENSOR]
        return self.baseline or baseline, self.focal_length or focal_length

    @property
    def knows_camera(self) -> bool:
        """Whether the focal length was said, or is assumed."""
        return self.sensor is not None or self.focal_length is not None

    def prepare(self, raw: Any) -> Item:
        """Depth as an :class:`Item` with (1, rows, columns) float32 numbers.

        A path, PIL image or array (H, W), or a mapping with the key "depth" for one of these and any of
        unit, scale, sensor, focal_length, baseline and page for this input. Zeros, NaN and infinities are holes: left
        out when the input is resized, filled from the nearest pixel of the result where nothing else is there.
        Warns where most of what is measured lies beyond the limits, and where the input is the same everywhere.
        Bilinear, with antialiasing: nearest drops what lies between, bicubic overshoots at depth's edges.

        Raises :class:`InputError`.
        """
        mine, value = self.with_input(raw)
        name = called(value, "depth")
        stored, origin = open_field(value, "depth", mine.page)
        assumed = mine.unit is None and mine.scale is None
        unit = mine.unit or ("scale" if mine.scale else _assumed_unit(stored, name))
        per_metre = mine.scale or _PER_METRE.get(unit)
        values, holes = _measured(stored, unit, per_metre, name)
        doubtful = assumed and (
            (unit == "mm" and _warn_if_stepped(stored, name)) or _warn_if_implausible(values, unit, name)
        )
        product = float(np.prod(mine.camera))  # of disparity and depth
        disparity = values if unit == "disparity" else product / values.clip(self.nearest, self.farthest)
        if self.max_disparity is not None:
            disparity = disparity.clip(None, self.max_disparity)
        fitted, region = fit(disparity, self.size, Image.Resampling.BILINEAR, name)
        if np.isnan(fitted).all():
            raise InputError(
                f"{name}: all pixels in the model's centre crop are holes; crop the input to what was measured"
            )
        inputs = self.normalised(fill_nearest(fitted) / (self.max_disparity or 1.0))  # (1, rows, columns)
        if not doubtful:
            mine._warn_of_limits(seen_part(values, region), is_flat(inputs), unit, name)
        origin |= {
            "unit": unit,
            "unit_assumed": assumed,
            "per_metre": per_metre,
            "measured": [rounded(part) for part in np.nanpercentile(values, (0, 50, 100))],
            "holes": rounded(holes),
            **mine._steps(unit),
        }
        seen = seen_part(disparity, region)
        least, most = float(np.nanmin(seen)), float(np.nanmax(seen))
        if unit == "disparity" and not mine.knows_camera:
            return self.item(inputs, values, "disparity", "px", "viridis_r", region, origin, (least, most))
        metres = product / values if unit == "disparity" else values
        limits = product / most, product / least
        return self.item(inputs, metres, "depth", "m", "viridis_r", region, origin, limits)

    def describe(self, inputs: Tensor) -> Item:
        """One preprocessed tensor (1, H, W) as an :class:`Item`; shown in metres, by the camera's numbers."""
        disparity = self.denormalised(inputs) * (self.max_disparity or 1.0)
        metres = np.where(disparity > 0, np.prod(self.camera) / np.where(disparity > 0, disparity, 1), np.nan)
        return self.item(inputs, metres, "depth", "m", "viridis_r")

    def _warn_of_limits(self, seen: np.ndarray, flat: bool, unit: str, name: str) -> None:
        """Where ``seen``, in metres or pixels of disparity, lies beyond the limits, or is ``flat`` to the model."""
        measured = seen[~np.isnan(seen)]
        for beyond, what, way in self._limits(measured, unit) if measured.size else ():
            share = float(beyond.mean())
            if share > _MANY_CLIPPED or (flat and share):
                warn(
                    f"{name}: {share:.0%} of the pixels that the model sees are {what}, and taken as just there, so "
                    f"the map says little about depth; {way}"
                )
                return
        if flat:
            warn(f"{name}: the model's input is the same everywhere, so the map shows nothing about depth")

    def _limits(self, measured: np.ndarray, unit: str) -> list[tuple[np.ndarray, str, str]]:
        """Which values lie beyond a limit, what that is, and the option that helps."""
        most = self.max_disparity or np.inf
        raising = "raise max_disparity (options.depth.max_disparity)"
        if unit == "disparity":
            what = f"above max_disparity={most:g} px"
            return [(measured > most, what, f"check the unit (options.depth.unit), or {raising}")]
        closest = float(np.prod(self.camera) / most)  # metres
        if closest > self.nearest:
            what, way = f"nearer than {closest:.3g} m, where max_disparity={most:g} px ends", raising
        else:
            closest = self.nearest
            what, way = f"nearer than nearest={closest:g} m", "lower nearest (options.depth.nearest)"
        way = f"check unit and sensor (options.depth.unit, options.depth.sensor), or {way}"
        farther = f"if the unit is right (options.depth.unit), say {saying('depth', 'farthest', ceil(measured.max()))}"
        return [
            (measured > self.farthest, f"farther than farthest={self.farthest:g} m", farther),
            (measured < closest, what, way),
        ]

    def _steps(self, unit: str) -> dict[str, Any]:
        """What was done, for the provenance."""
        steps: dict[str, Any] = {"interpolation": "bilinear", "max_disparity": self.max_disparity}
        if unit != "disparity" or self.knows_camera:
            baseline, focal_length = self.camera
            steps["camera"] = {
                "sensor": self.sensor or (None if self.knows_camera else _ASSUMED_SENSOR),
                "baseline": baseline,
                "focal_length": focal_length,
                "assumed": not self.knows_camera,
            }
        if unit != "disparity":
            steps["clipped_to"] = [self.nearest, self.farthest]
        return steps


def _assumed_unit(stored: np.ndarray, name: str) -> str:
    """Where nobody says it. Raises :class:`InputError` for values that are a picture."""
    if stored.ndim == 2 and stored.dtype.itemsize == 1:
        raise InputError(
            f"{name}: values of 8 bits are a picture of depth, not distances; give the file that the camera or the "
            f"depth estimator wrote, or say their unit, e.g. {saying('depth', 'unit', 'm')}"
        )
    return "m" if np.issubdtype(stored.dtype, np.floating) else "mm"


def _measured(stored: np.ndarray, unit: str, per_metre: float | None, name: str) -> tuple[np.ndarray, float]:
    """Metres, or pixels of disparity: float64 (H, W), NaN where nothing was measured, and the share of NaN."""
    if stored.ndim == 3:
        raise InputError(
            f"{name}: a picture with {stored.shape[2]} channels is not depth; give one value a pixel, as the "
            "camera or the depth estimator wrote it"
        )
    whole = not np.issubdtype(stored.dtype, np.floating)
    if unit == "sun-rgbd":
        if not whole or stored.min() < 0 or stored.max() > 65535:
            raise InputError(
                f"{name}: unit={unit!r} is for whole numbers of 16 bits, not {stored.dtype} from "
                f"{stored.min():g} to {stored.max():g}"
            )
        rotated = stored.astype(np.uint16)
        stored = (rotated >> 3) | (rotated << 13)
    values = stored.astype(np.float64)
    negative = values[values < 0]
    if negative.size:
        raise InputError(
            f"{name}: {negative.size} of {values.size} values are negative, down to {negative.min():g}; distances "
            "are positive: turn the sign, mark holes by 0 or NaN"
        )
    values = values / (per_metre or 1.0)
    holes = ~np.isfinite(values) | (values == 0)
    share = float(holes.mean())
    if share == 1:
        raise InputError(f"{name}: all values are 0, NaN or infinite: nothing was measured")
    if share > _MANY_HOLES:
        warn(
            f"{name}: {share:.0%} of the pixels are holes (0, NaN or infinite); they are filled from their "
            "neighbours, so the map says little there"
        )
    return np.where(holes, np.nan, values), share


def _warn_if_implausible(metres: np.ndarray, unit: str, name: str) -> bool:
    """Whether the unit, which nobody said, is probably another one by the range of the values; warns then."""
    lowest, near, middle, far, highest = np.nanpercentile(metres, (0, 1, 50, 99, 100))
    runs = f"{name}: read with unit={unit!r}, values run from {lowest:.3g} to {highest:.3g} m"
    if not _NEAR <= middle <= _FAR:
        probably = "mm" if middle > _FAR else "m"
        warn(
            f"{runs} with the median at {middle:.3g} m; if that is wrong, say {saying('depth', 'unit', probably)}"
        )
        return True
    nearest, in_view, farthest = _CAMERAS
    if unit == "m" or (nearest <= near <= in_view and far <= farthest):
        return False
    warn(
        f"{runs}, which is unlikely of a depth camera; whole numbers are taken for millimetres where nobody says what "
        f"they are: say {saying('depth', 'unit', 'mm')} if they are, a data set ({', '.join(DATASETS)}), or how many "
        f"are a metre (options.depth.scale)"
    )
    return True


def _warn_if_stepped(stored: np.ndarray, name: str) -> bool:
    """Whether whole numbers taken for millimetres are probably a data set's; warns then.

    SUN RGB-D's files hold millimetres rotated by three bits: below 8.192 m, multiples of 8.

    Other data sets multiply a camera's millimetres, TUM by 5 and Matterport3D by 4.
    """
    values = stored[stored > 0]
    if stored.dtype.itemsize == 1 or values.size < 2 or np.ptp(values) == 0:
        return False
    step = int(np.gcd.reduce(values))
    if step in _STEPS and len(np.unique(values)) >= _ENOUGH:
        unit = _STEPS[step]
        like = f"multiples of {step}, as millimetres are in files of {DATASETS[unit]:g} a metre"
    elif step % 8 == 0 and stored.dtype == np.uint16:
        unit, like = "sun-rgbd", "multiples of 8, as in SUN RGB-D's files with their rotated bits"
    else:
        return False
    warn(
        f"{name}: all values are {like}; if it is one, say {saying('depth', 'unit', unit)}, else "
        f"{saying('depth', 'unit', 'mm')}"
    )
    return True
