"""Pairs out of data sets of the library ``datasets``, at hand and on disk."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
from PIL import Image

from m2ib import Box
from m2ib.data import Pairs, from_datasets, open_pairs
from m2ib.errors import InputError, SettingError

IMAGE_AND_TEXT = {"image": "picture", "text": "caption"}


def content(colour: str, size: tuple[int, int] = (8, 6)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def media(*values: Any) -> Any:
    """A column of images, as bytes or paths, that nobody has decoded."""
    cells = [
        {"bytes": v if isinstance(v, bytes) else None, "path": v if isinstance(v, str) else None}
        for v in values
    ]
    return datasets.Dataset.from_dict(
        {"picture": cells}, features=datasets.Features({"picture": datasets.Image(decode=False)})
    ).cast_column("picture", datasets.Image())


def bad(pairs: Pairs) -> list[str]:
    return [str(row) for row in pairs.bad]


def test_images_inside_and_outside(tmp_path: Path, draw: Any) -> None:
    path, gone = draw("a.png"), tmp_path / "gone.png"
    data = media(content("red"), str(path), str(gone), b"<html>", b"", content("blue", (5, 4)))
    data = data.add_column("caption", ["one", "two", "three", "four", "five", "six"])
    pairs = from_datasets(data, IMAGE_AND_TEXT)
    assert (pairs.modalities, pairs.located) == (("image", "text"), False)
    for _ in range(2):
        first, second, last = pairs
        assert [pair.id for pair in (first, second, last)] == ["0", "1", "5"]
        assert first.inputs[0][1].size == (8, 6)
        assert np.asarray(first.inputs[0][1])[0, 0].tolist() == [255, 0, 0]
        assert second.inputs == (("image", path), ("text", "two"))
        assert last.inputs[0][1].size == (5, 4)
        assert bad(pairs) == [
            f"row 2: there is no image {str(gone)!r}",
            "row 3: its picture is no image that can be read",
            "row 4: its picture holds neither bytes nor a path",
        ]


def test_no_image_is_decoded_and_no_other_column_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = media(content("red"), content("blue"))
    data = data.add_column("caption", ["one", "two"]).add_column("other", ["a", "b"])

    def decode(*given: Any, **more: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(datasets.Image, "decode_example", decode)
    monkeypatch.setattr(Image.Image, "load", decode)
    assert [pair.inputs[1][1] for pair in from_datasets(data, IMAGE_AND_TEXT)] == ["one", "two"]


def test_paths_ids_and_boxes(draw: Any) -> None:
    path = str(draw("a.png"))
    data = datasets.Dataset.from_dict(
        {
            "picture": [path, path, path, path, "", None],
            "caption": ["one", "", None, "four", "five", "six"],
            "key": [5, 6, 7, 5, 8, 9],
            "places": [[[1, 2, 3, 4], [5, 6, 7, 8]], [], None, [[1, 2, 3, 0]], [], []],
        }
    )
    pairs = from_datasets(data, IMAGE_AND_TEXT, name="mine", id_column="key", boxes_column="places")
    assert (pairs.name, pairs.located) == ("mine", True)
    (pair,) = pairs
    assert (pair.id, pair.boxes) == ("5", (Box(1, 2, 3, 4), Box(5, 6, 7, 8)))
    assert pair.inputs[0][1] == Path(path)
    assert bad(pairs) == [
        "row 1: its caption is empty",
        "row 2: its caption is empty",
        "row 3: box 0: box '': x, y, width, height are (1.0, 2.0, 3.0, 0.0); give finite numbers, width and "
        "height above 0",
        "row 4: its picture is empty",
        "row 5: its picture is empty",
    ]
    data = datasets.Dataset.from_dict(
        {
            "picture": [path] * 2,
            "caption": ["a", "b"],
            "key": ["k", "k"],
            "places": ['[[1, 2, 3, 4, "bell"]]', ""],
        }
    )
    pairs = from_datasets(data, IMAGE_AND_TEXT, id_column="key", boxes_column="places")
    assert [pair.boxes for pair in pairs] == [(Box(1, 2, 3, 4, "bell"),)]
    assert bad(pairs) == ["row 1: its id 'k' is that of row 0"]


def test_arrays_and_sounds() -> None:
    file = io.BytesIO()
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(file, np.zeros((100, 2), np.float32), 8000, format="WAV")
    sounds = [{"bytes": file.getvalue(), "path": "a.wav"}, {"bytes": b"oops", "path": None}]
    data = datasets.Dataset.from_dict(
        {
            "depth": np.ones((2, 3, 4), np.float32).tolist(),
            "pixels": np.full((2, 3, 4, 3), 7).tolist(),
            "sound": sounds,
            "plain": [{"array": [0.0, 0.5], "sampling_rate": 16000}] * 2,
            "words": [["a"], ["b"]],
            "ragged": [[[1], [1, 2]], [[3], []]],
        },
        features=datasets.Features(
            {
                "depth": datasets.Array2D((3, 4), "float32"),
                "pixels": datasets.Array3D((3, 4, 3), "uint8"),
                "sound": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
                "plain": {
                    "array": datasets.List(datasets.Value("float64")),
                    "sampling_rate": datasets.Value("int64"),
                },
                "words": datasets.List(datasets.Value("string")),
                "ragged": datasets.List(datasets.List(datasets.Value("int64"))),
            }
        ),
    )
    data = data.cast_column("sound", datasets.Audio())  # which torchcodec would decode
    pairs = from_datasets(data, {"depth": "depth", "image": "pixels"})
    (_, depth), (_, image) = next(iter(pairs)).inputs
    assert (depth.dtype, depth.shape, image.dtype, image.shape) == (np.float32, (3, 4), np.uint8, (3, 4, 3))
    pairs = from_datasets(data.with_format("numpy"), {"audio_1": "sound", "audio_2": "plain"})
    assert pairs.modalities == ("audio", "audio")
    ((_, (stereo, rate)), (_, (mono, other))) = next(iter(pairs)).inputs
    assert (stereo.shape, rate, mono.tolist(), mono.dtype, other) == (
        (2, 100),
        8000,
        [0, 0.5],
        np.float32,
        16000,
    )
    assert len(list(pairs)) == 1
    assert bad(pairs)[0].startswith("row 1: its sound cannot be read: ")
    pairs = from_datasets(data, {"imu": "words", "depth": "ragged"})
    assert list(pairs) == []
    assert bad(pairs)[0] == "row 0: its words is no array of numbers: it holds <U1"
    pairs = from_datasets(data, {"depth": "depth", "imu": "ragged"})
    assert list(pairs) == []
    assert bad(pairs)[0].startswith("row 0: its ragged is no array: ")


def test_other_media_are_files() -> None:
    """Each reader of its kind gets what its file would be; Pillow would not know them."""
    film, scan = b"\x1aE\xdf\xa3 film", bytes(128) + b"DICM scan"
    cells = [{"bytes": film, "path": "in/a.mkv"}, {"bytes": b"", "path": None}]
    data = datasets.Dataset.from_dict({"film": cells, "scan": [scan, scan]})
    pairs = from_datasets(data, {"video": "film", "image": "scan"})
    (pair,) = pairs
    (_, video), (_, image) = pair.inputs
    assert (video.getvalue(), video.name, image.getvalue()) == (film, "in/a.mkv", scan)
    assert bad(pairs) == ["row 1: its film holds neither bytes nor a path"]


def test_a_data_set_that_is_streamed() -> None:
    def rows() -> Any:
        yield {"a": "one", "b": "two"}
        yield {"a": "three", "b": None}

    pairs = from_datasets(datasets.IterableDataset.from_generator(rows), {"text_1": "a", "text_2": "b"})
    for _ in range(2):
        assert [[raw for _, raw in pair.inputs] for pair in pairs] == [["one", "two"]]
        assert bad(pairs) == ["row 1: its b is empty"]


def test_what_is_no_data_set() -> None:
    data = datasets.Dataset.from_dict({"picture": ["a"], "caption": ["b"], "title": ["c"]})
    for given, columns, reason in (
        ([{"picture": "a"}], IMAGE_AND_TEXT, "data: it is a list; give a datasets.Dataset"),
        (
            datasets.DatasetDict({"train": data, "test": data}),
            IMAGE_AND_TEXT,
            "data: it has the splits 'train', 'test'; give one of them",
        ),
        (
            data,
            {"image": "picture", "text": "capton"},
            "data lacks the column 'capton'; did you mean 'caption'? It has 'picture', 'caption', 'title'",
        ),
    ):
        with pytest.raises(InputError) as caught:
            from_datasets(given, columns)
        assert str(caught.value) == reason
    with pytest.raises(InputError) as caught:
        from_datasets(data, IMAGE_AND_TEXT, name="mine", id_column="key")
    assert str(caught.value).startswith("data 'mine' lacks the column 'key'. It has 'picture'")
    with pytest.raises(InputError) as caught:
        from_datasets(data, {"text_1": "title", "text_2": "caption"}, boxes_column="picture")
    assert str(caught.value) == (
        "data: boxes are drawn on the one image of a pair; its pairs of text and text have none"
    )
    with pytest.raises(
        SettingError, match=r"^data: columns=\{'image': 'picture'\} are no two columns by modality"
    ):
        from_datasets(data, {"image": "picture"})


def test_on_disk(tmp_path: Path, draw: Any) -> None:
    path = str(draw("a.png"))
    data = datasets.Dataset.from_dict({"picture": [path, path], "caption": ["one", "two"]})
    data.save_to_disk(str(tmp_path / "flat"))
    pairs = open_pairs("huggingface", path=tmp_path / "flat", columns="image=picture,text=caption")
    assert (pairs.name, [pair.inputs[1][1] for pair in pairs]) == ("flat", ["one", "two"])
    datasets.DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(str(tmp_path / "split"))
    pairs = open_pairs("huggingface", path=tmp_path / "split", columns=IMAGE_AND_TEXT, split="test")
    assert (pairs.name, [pair.inputs[1][1] for pair in pairs]) == ("split test", ["two"])
    for folder, split, reason in (
        (
            "split",
            None,
            "has the splits 'train', 'test'; give one of them, as in split='train' (data.split=train)",
        ),
        (
            "split",
            "val",
            "has the splits 'train', 'test', not 'val'; give one of them, as in split='train' (data.split=train)",
        ),
        ("flat", "val", "has no splits; leave split out, which is 'val'"),
    ):
        with pytest.raises(InputError) as caught:
            open_pairs("huggingface", path=tmp_path / folder, columns=IMAGE_AND_TEXT, split=split)
        assert str(caught.value) == f"data {str(tmp_path / folder)!r} {reason}"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"^data '.*empty' is no data set that save_to_disk wrote: "):
        open_pairs("huggingface", path=tmp_path / "empty", columns=IMAGE_AND_TEXT)
    with pytest.raises(InputError, match=r"^data: path='.*gone' is no folder; check the path$"):
        open_pairs("huggingface", path=tmp_path / "gone", columns=IMAGE_AND_TEXT)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SettingError) as caught:
        open_pairs("huggingface", path=tmp_path, columns=IMAGE_AND_TEXT)
    assert str(caught.value) == "data format 'huggingface' needs the package datasets: pip install datasets"


def test_silence_without_end() -> None:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 1, format="FLAC", subtype="PCM_16") as sound:
        for _ in range(2**6 + 1):
            sound.write(np.zeros(2**22, np.int16))
    cells = [{"bytes": file.getvalue(), "path": None}]
    dataset = datasets.Dataset.from_dict({"sound": cells, "caption": ["nothing"]})
    pairs = from_datasets(dataset, {"audio": "sound", "text": "caption"})
    assert list(pairs) == []
    assert bad(pairs) == [
        "row 0: its sound has 272,629,760 samples, more than the 268,435,456 that are held at once; cut it"
    ]


def avif() -> bytes:
    """Without the box that says which picture it is."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "AVIF")
    return file.getvalue().replace(b"pitm", b"none")


@pytest.mark.parametrize("content", [avif(), b"DDS " + bytes(200)], ids=["avif", "dds"])
def test_a_picture_over_which_pillow_raises_what_it_likes(content: bytes) -> None:
    """It costs its pair alone."""
    with pytest.raises((RuntimeError, OSError)):
        Image.open(io.BytesIO(content))
    pairs = from_datasets(media(content).add_column("caption", ["a dog"]), IMAGE_AND_TEXT)
    assert list(pairs) == []
    assert bad(pairs)[0].startswith("row 0: its picture cannot be read: ")
