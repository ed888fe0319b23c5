"""What raw depth is counted in: units, the scales of the usual data sets, and numbers that look like another one's."""

from __future__ import annotations

import numpy as np

from m2ib.errors import InputError
from m2ib.notices import warn
from m2ib_adapters.inputs.options import saying

DATASETS: dict[str, float] = {
    "tum": 5000.0,  # TUM RGB-D, and all that follow its format: ICL-NUIM, ETH3D's SLAM benchmark, Bonn
    "kitti": 256.0,  # KITTI's depth prediction and completion
    "void": 256.0,
    "matterport": 4000.0,  # Matterport3D, .25 mm
    "vkitti": 100.0,  # Virtual KITTI, cm
    "scannet": 1000.0,
}
"""By data set: what its files of whole numbers hold for one metre."""

UNITS = ("m", "mm", "sun-rgbd", "disparity", *DATASETS)
PER_METRE = {"m": 1.0, "mm": 1000.0, "sun-rgbd": 1000.0, **DATASETS}
_ENOUGH = 16  # different values, of which a common divisor says something
_STEPS = {5: "tum", 4: "matterport"}  # all values are multiples of: of a camera's millimetres in these files
# Metres: of those that store mm, the nearest they see, have in view, and the farthest.
_CAMERAS = (0.35, 2.5, 10.0)
_MANY_HOLES = 0.5
_FAR = 100.0  # metres; a median beyond it is probably in millimetres
_NEAR = 0.02  # metres; a median below it is probably in metres, read as millimetres


def assumed_unit(stored: np.ndarray, name: str) -> str:
    """Where nobody says it. Raises :class:`InputError` for values that are a picture."""
    if stored.ndim == 2 and stored.dtype.itemsize == 1:
        raise InputError(
            f"{name}: values of 8 bits are a picture of depth, not distances; give the file that the camera or the "
            f"depth estimator wrote, or say their unit, e.g. {saying('depth', 'unit', 'm')}"
        )
    return "m" if np.issubdtype(stored.dtype, np.floating) else "mm"


def measured(stored: np.ndarray, unit: str, per_metre: float | None, name: str) -> tuple[np.ndarray, float]:
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
    if per_metre is not None:
        values = values / per_metre
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


def warn_if_implausible(metres: np.ndarray, unit: str, name: str) -> bool:
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


def warn_if_stepped(stored: np.ndarray, name: str) -> bool:
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
