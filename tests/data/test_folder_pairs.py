"""Pairs out of folders of files, as people have them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from m2ib.data import Pairs, open_pairs
from m2ib.errors import InputError, SettingError


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def said(pairs: Pairs, folder: Path) -> list[tuple[str, str, str]]:
    return [
        (pair.id, *(str(raw.relative_to(folder)) if isinstance(raw, Path) else raw for _, raw in pair.inputs))
        for pair in pairs
    ]


def bad(pairs: Pairs) -> list[str]:
    return [str(row) for row in pairs.bad]


def test_files_of_one_name(tmp_path: Path) -> None:
    folder = tmp_path / "v1.0 photos"
    write(
        folder,
        {
            "b.JPG": "x", "b.txt": "\ufeffzwölf\r\n",
            "a b.png": "x", "a b.TXT": "two",
            "Zürich.2020.webp": "x", "Zürich.2020.txt": "three",
            "c.jpg": "x", "c.jpg.txt": "a text about a file may have its whole name",
            "00000/000000001.jpg": "x", "00000/000000001.txt": "img2dataset", "00000/000000001.json": "{}",
            "00000_stats.json": "{}", "README.md": "x", ".DS_Store": "x", "._b.jpg": "x", ".git/d.jpg": "x",
            "alone.jpg": "x", "nothing.txt": "x",
            "twice.jpg": "x", "twice.png": "x", "twice.txt": "x",
            "case.jpg": "x", "case.JPG": "x", "case.txt": "x",
            "empty.jpg": "x", "empty.txt": " \n",
            "latin.jpg": "x", "latin.txt": b"\xe4",
        },
    )  # fmt: skip
    os.symlink("gone.jpg", folder / "link.jpg")
    write(folder, {"link.txt": "x"})
    pairs = open_pairs("folder", path=folder)
    assert (pairs.name, pairs.modalities, pairs.located) == ("v1.0 photos", ("image", "text"), False)
    wanted = [
        ("Zürich.2020", "Zürich.2020.webp", "three"),
        ("a b", "a b.png", "two"),
        ("b", "b.JPG", "zwölf"),
        ("c", "c.jpg", "a text about a file may have its whole name"),
        ("00000/000000001", "00000/000000001.jpg", "img2dataset"),
    ]
    assert said(pairs, folder) == said(pairs, folder) == wanted
    assert bad(pairs) == [
        "alone: it has no text: there is 'jpg'",
        "case: it has image more than once: 'case.JPG', 'case.jpg'",
        "empty: its text is empty",
        "latin: its text is not UTF-8 text",
        f"link: there is no image {str(folder / 'link.jpg')!r}",
        "nothing: it has no image: there is 'txt'",
        "twice: it has image more than once: 'jpg', 'png'",
    ]
    assert pairs.total() == 12


def test_links_to_folders(tmp_path: Path) -> None:
    """They are followed, and not round in a circle, nor out of the folder into what it lies in."""
    write(
        tmp_path,
        {"data/in/a.jpg": "x", "data/in/a.txt": "a", "other/b.jpg": "x", "other/b.txt": "b", "c.jpg": "x"},
    )
    for name, target in (("other", tmp_path / "other"), ("loop", tmp_path / "data" / "in"), ("up", tmp_path)):
        os.symlink(target, tmp_path / "data" / "in" / name)
    pairs = open_pairs("folder", path=tmp_path / "data")
    assert [pair.id for pair in pairs] == ["in/a", "in/other/b"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff")
    try:
        write(tmp_path, {f"{name}.jpg": "x", f"{name}.txt": "a", f"{name}2.jpg": "x"})
    except OSError:
        pytest.skip("this file system has no such names")
    pairs = open_pairs("folder", path=tmp_path)
    assert [(pair.id, os.path.exists(pair.inputs[0][1])) for pair in pairs] == [("\\udcff", True)]
    assert bad(pairs) == ["\\udcff2: it has no text: there is 'jpg'"]


def test_endings_are_chosen(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.jpg": "x",
            "a.depth.png": "x",
            "a.wav": "x",
            "a.json": '{"caption": "one"}',
            "a.mask.png": "x",
            "b.jpg": "x",
        },
    )
    with pytest.raises(
        InputError, match=r"has 'depth', 'image', 'audio' beside each other; choose two by their endings"
    ):
        open_pairs("folder", path=tmp_path)
    for columns, second in (
        ("image=jpg,depth=depth.png", "a.depth.png"),
        ("image=jpeg; jpg,text=json.caption", "one"),
        ({"image": "jpg", "audio": "wav"}, "a.wav"),
        ("image_1=jpg,image_2=mask.png", "a.mask.png"),
    ):
        pairs = open_pairs("folder", path=tmp_path, columns=columns)
        assert said(pairs, tmp_path) == [("a", "a.jpg", second)]
        assert [row.place for row in pairs.bad] == ["b"]


def test_given_texts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "d/b.jpg": "x",
            "d/a.PNG": "x",
            "d/more/c.jpg": "x",
            "d/c.txt": "x",
            "d/s.wav": "x",
            "t.txt": "\ufeffone\n\n two \n",
        },
    )
    folder = tmp_path / "d"
    pairs = open_pairs("folder", path=folder, texts=tmp_path / "t.txt")
    assert (pairs.modalities, pairs.total()) == (("image", "text"), 6)
    assert said(pairs, folder) == [
        (f"{name}/{number}", name, text)
        for name in ("a.PNG", "b.jpg", "more/c.jpg")
        for number, text in enumerate(("one", "two"))
    ]
    pairs = open_pairs("folder", path=folder, text=" a dog ")
    assert said(pairs, folder) == [(name, name, "a dog") for name in ("a.PNG", "b.jpg", "more/c.jpg")]
    pairs = open_pairs("folder", path=folder, text="a bark", modality="audio")
    assert (pairs.modalities, said(pairs, folder)) == (("audio", "text"), [("s.wav", "s.wav", "a bark")])


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"text": "a", "texts": "t.txt"}, SettingError, "text and texts both say what is paired with images; give one"),
        ({"text": "a", "columns": "image=jpg,text=txt"}, SettingError, "columns are for files of one name, not for text or texts"),
        ({"modality": "audio"}, SettingError, "modality is for files that text or texts are given for"),
        ({"text": " "}, SettingError, "text='' is empty"),
        ({"text": "a", "modality": "audio"}, InputError, "holds no files of modality 'audio'"),
        ({"texts": "empty.txt"}, InputError, "is empty; it needs a text on each line"),
        ({}, InputError, "holds no two files of one name that end so; names end in 'jpg'. Choose two by their endings"),
        ({"columns": "image=jpg,text=md"}, InputError, "holds no two files of one name that end in 'jpg', 'md'; names end in"),
    ],
)  # fmt: skip
def test_what_is_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], reason: str
) -> None:
    write(tmp_path, {"d/a.jpg": "x", "t.txt": "a", "empty.txt": "\n"})
    if "texts" in options:
        options = options | {"texts": tmp_path / options["texts"]}
    with pytest.raises(error) as caught:
        open_pairs("folder", path=tmp_path / "d", **options)
    assert reason in str(caught.value)
