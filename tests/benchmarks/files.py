"""The pictures and sounds that installed packages bring, through each preparation of their kind: what came of them, by format.

    python tests/benchmarks/files.py          # counts by format
    python tests/benchmarks/files.py --each   # and a line for each file

pydicom's test data, scikit-image's images, scipy's test sounds, and pygame's where it is installed; nothing is fetched.
A traceback ends the run with 1.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom.data
import skimage
from PIL import Image

from m2ib.contract.layout import Layout
from m2ib.errors import M2IBError
from m2ib_adapters.cxr.preprocess import XrayPreparation
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.images import ImagePreparation
from m2ib_adapters.inputs.thermal import ThermalPreparation

_SOUNDS = {"scipy": "io/tests/data", "pygame": "examples/data"}
_IMAGE = ImagePreparation((224, 224), (0.5,) * 3, (0.5,) * 3)
_PICTURES: dict[str, Callable[[str], Any]] = {
    "image": lambda path: _IMAGE.prepare(path, Layout()),
    "x-ray": lambda path: XrayPreparation("mimic", 224).prepare(path, Layout()),
    "depth": lambda path: DepthPreparation().prepare(path),
    "thermal": lambda path: ThermalPreparation().prepare(path),
}
_HEARD: dict[str, Callable[[str], Any]] = {"audio": lambda path: AudioPreparation().prepare(path)}


def files() -> Iterator[tuple[Path, dict[str, Callable[[str], Any]]]]:
    """Those that are no code, with the ways that they go."""
    pictures = {Path(name) for name in pydicom.data.get_testdata_files()}
    pictures |= set((Path(skimage.__file__).parent / "data").iterdir())
    for path in sorted(path for path in pictures if path.is_file() and path.suffix not in (".py", ".pyi")):
        yield path, _PICTURES
    for package, folder in _SOUNDS.items():
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            for path in sorted(Path(place, folder).glob("*")):
                if path.suffix in (".wav", ".mp3", ".ogg"):
                    yield path, _HEARD


def format_of(path: Path) -> str:
    """DICOM by its transfer syntax, others by what Pillow calls them, else by the suffix."""
    if path.suffix in (".wav", ".mp3", ".ogg"):
        return path.suffix
    try:
        with Image.open(path) as image:
            return str(image.format)
    except OSError:
        pass
    try:
        syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.get("TransferSyntaxUID")
        return f"DICOM, {syntax.name if syntax else 'no transfer syntax'}"
    except Exception:  # no DICOM, or a damaged one
        return path.suffix or "no suffix"


def outcome(make: Callable[[str], Any], path: Path) -> tuple[str, str]:
    """In a word, and what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            make(str(path))
        except M2IBError as error:
            return "refused", str(error)
        except Exception as error:  # what this script looks for
            return "TRACEBACK", repr(error)
    said = "; ".join(str(each.message) for each in caught)
    return ("warned" if said else "read"), said


def main() -> None:
    warnings.simplefilter("ignore")  # what libraries say while formats are told
    counts: Counter[tuple[str, str, str]] = Counter()
    for path, ways in files():
        for way, make in ways.items():
            word, said = outcome(make, path)
            counts[format_of(path), way, word] += 1
            if "--each" in sys.argv:
                print(f"{path.name}\t{way}\t{word}\t{said.replace(str(path), path.name)}")
    for kind in sorted({kind for kind, _, _ in counts}):
        print(kind)
        for way in (*_PICTURES, *_HEARD):
            found = ", ".join(
                f"{word} {counts[kind, way, word]}"
                for word in ("read", "warned", "refused", "TRACEBACK")
                if counts[kind, way, word]
            )
            if found:
                print(f"    {way:8} {found}")
    sys.exit(any(word == "TRACEBACK" for _, _, word in counts))


if __name__ == "__main__":
    main()
