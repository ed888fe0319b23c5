"""The formats that pairs are read from, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from types import MappingProxyType
from typing import Any

from m2ib.data.coco import open_coco
from m2ib.data.columns import choosing
from m2ib.data.conceptual_captions import open_conceptual_captions
from m2ib.data.folder import open_folder
from m2ib.data.huggingface import from_datasets, open_huggingface
from m2ib.data.made_up import open_scenes
from m2ib.data.ms_cxr import open_ms_cxr
from m2ib.data.pairs import Pairs
from m2ib.data.parquet import SUFFIXES as PARQUET
from m2ib.data.parquet import open_parquet
from m2ib.data.plain import open_csv, open_jsonl
from m2ib.data.remote import RemoteFile, is_remote
from m2ib.data.roco import open_roco
from m2ib.data.rsicd import open_rsicd
from m2ib.data.webdataset import SUFFIXES as TARS
from m2ib.data.webdataset import open_webdataset
from m2ib.errors import InputError, M2IBError, SettingError, did_you_mean
from m2ib.registry.discovery import default_registry

__all__ = ["FORMATS", "Format", "from_datasets", "open_pairs"]


@dataclass(frozen=True)
class Format:
    """One format.

    summary  one line
    options  by name, one line each
    open     takes the options by name; gives the pairs
    needs    the options that cannot be left out
    """

    summary: str
    options: Mapping[str, str]
    open: Callable[..., Pairs]
    needs: tuple[str, ...] = ()


_COLUMNS = "which column holds which modality, as in {'image': 'file', 'text': 'caption'} or 'image=file,text=caption'"
_ENDINGS = "which endings are which modality, as in 'image=jpg;png,text=txt' or 'image=jpg,text=json.caption'"

_FORMATS = {
    "csv": Format(
        "paths and texts in a CSV file with columns named by modality, and perhaps id and boxes",
        {"path": "the .csv or .tsv file; paths in it begin in its folder", "columns": _COLUMNS},
        open_csv,
        ("path",),
    ),
    "jsonl": Format(
        "the same as one JSON object a line",
        {"path": "the .jsonl file; paths in it begin in its folder", "columns": _COLUMNS},
        open_jsonl,
        ("path",),
    ),
    "parquet": Format(
        "the same as Parquet, where media may stand in the cells as bytes",
        {
            "path": "a .parquet file, a folder of them, or a pattern; paths in one begin in its folder",
            "columns": _COLUMNS,
        },
        open_parquet,
        ("path",),
    ),
    "webdataset": Format(
        "WebDataset's tar files, read as a stream",
        {
            "path": "a tar, compressed or not, a folder of them, or a pattern as shards/{00000..00009}.tar",
            "columns": _ENDINGS,
        },
        open_webdataset,
        ("path",),
    ),
    "folder": Format(
        "a folder of files: those of one name, as a.jpg and a.txt, or every image with given texts",
        {
            "path": "the folder; those in it are gone through",
            "columns": _ENDINGS,
            "text": "one for all images",
            "texts": "a file with one on each line, each for all images",
            "modality": "of the files that texts are given for; image if left out",
        },
        open_folder,
        ("path",),
    ),
    "coco": Format(
        "COCO's instances, with masks of what is where, or captions",
        {
            "annotations": "the JSON of instances; or of captions, for pairs without regions",
            "images": "the folder of the images",
            "captions": "the JSON of captions, for pairs of them with the regions of the instances",
            "template": "of a phrase, with {category}; 'a {category}' if left out, with an where that is right",
            "categories": "those that are asked for, with commas between; all if left out",
            "least": "the share of the image, from 0 to 1, that a category must cover to be asked for; 0 if left out",
        },
        open_coco,
        ("annotations", "images"),
    ),
    "conceptual-captions": Format(
        "Conceptual Captions' TSV of captions and urls, with the downloaded images",
        {
            "captions": "the TSV: caption, url, and perhaps the name of the image's file",
            "images": "the folder of the images",
            "filename": "of a line's image, with {row}, {shard}, {md5}, {crc32}, {name}; {row:08d}.jpg if left out",
        },
        open_conceptual_captions,
        ("captions", "images"),
    ),
    "ms-cxr": Format(
        "MS-CXR's phrases and boxes over the chest X-rays of MIMIC-CXR-JPG",
        {
            "boxes": "MS-CXR's CSV or COCO JSON",
            "images": "the root of MIMIC-CXR-JPG, which holds files/p10/...",
        },
        open_ms_cxr,
        ("boxes", "images"),
    ),
    "roco": Format(
        "ROCO's and ROCOv2's radiology figures with captions",
        {
            "captions": "ROCO's captions.txt, or ROCOv2's CSV of captions",
            "images": "the folder of the images; images/ beside the captions if left out",
        },
        open_roco,
        ("captions",),
    ),
    "rsicd": Format(
        "RSICD's images from the air with sentences",
        {
            "captions": "dataset_rsicd.json",
            "images": "the folder of the images",
            "split": "train, val, test or all; test if left out",
            "sentences": "all or first: a pair for each sentence, or one for each image; all if left out",
        },
        open_rsicd,
        ("captions", "images"),
    ),
    "huggingface": Format(
        "a folder that datasets' save_to_disk wrote",
        {
            "path": "the folder",
            "columns": _COLUMNS,
            "split": "of a folder that holds several",
            "id_column": "the number of the row if left out",
            "boxes_column": "lists of [x, y, w, h] in pixels of the raw image",
        },
        open_huggingface,
        ("path", "columns"),
    ),
    "scenes": Format(
        "m2ib's made-up scenes, and texts that name one of their objects, whose region is known",
        {
            "modality": "image, text, audio, depth, thermal or imu; image if left out",
            "count": "how many scenes; 100 if left out",
            "seed": "the benchmark's; 0 if left out",
            "split": "test, or tune for what settings are chosen on; test if left out",
        },
        open_scenes,
    ),
}
FORMATS: Mapping[str, Format] = MappingProxyType(_FORMATS)

_SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys(PARQUET, "parquet"),
    **dict.fromkeys(TARS, "webdataset"),
}


def open_pairs(format_or_path: str | PathLike[str], **options: Any) -> Pairs:
    """Pairs of a format, or those of a .csv, .tsv, .jsonl, .parquet or .tar file, or of what one of these is at a URL.

    options  those of the format, see :data:`FORMATS`; None is the same as left out

    >>> open_pairs("pairs.csv")
    >>> open_pairs("s3://bucket/shards/{00000..00009}.tar")
    >>> open_pairs("ms-cxr", boxes="MS_CXR.csv", images="mimic-cxr-jpg/")

    Raises :class:`SettingError` for what is no format, an option that it does not have, and one that is missing;
    :class:`InputError` for a file that is not there, or not of the format.
    """
    name, given = str(format_or_path), {key: value for key, value in options.items() if value is not None}
    if name not in FORMATS:
        file = RemoteFile(name).name if is_remote(name) else name
        suffix = next((each for each in _SUFFIXES if file.lower().endswith(each)), None)
        if suffix is None:
            raise SettingError(
                f"data: {name!r} is neither a format nor a file with the suffix {', '.join(_SUFFIXES)}"
                f"{did_you_mean(name, FORMATS)} The formats are {', '.join(FORMATS)}"
            )
        if "path" in given:
            raise SettingError(
                f"data: {name!r} is a path, and path={str(given['path'])!r} is another; give one"
            )
        given["path"] = format_or_path
        name = _SUFFIXES[suffix]
    known = FORMATS[name]
    for option in given:
        if option not in known.options:
            hint = did_you_mean(option, known.options)
            if "columns" in known.options and option in default_registry().modalities():
                hint = f"; columns are chosen together, as in {choosing(str(given[option]), first=option)}."
            raise SettingError(
                f"data format {name!r} has no option {option!r}{hint} It has {', '.join(known.options)}"
            )
    for option, value in given.items():
        if option != "columns" and (isinstance(value, Iterable) and not isinstance(value, (str, PathLike))):
            raise SettingError(f"data format {name!r}: {option} is one value, not {value!r:.60}")
    for option in known.needs:
        if option not in given:
            raise SettingError(f"data format {name!r} needs {option}: {known.options[option]}")
    try:
        return known.open(**given)
    except M2IBError:
        raise
    except OSError as error:  # of a place that cannot even be asked for, as a name that is too long
        raise InputError(f"data {name!r}: {error.filename!r:.80}: {error.strerror}") from error
