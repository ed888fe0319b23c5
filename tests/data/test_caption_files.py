"""Pairs out of Conceptual Captions, ROCO, ROCOv2 and RSICD, in the forms in which they are published."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from m2ib.data import Pairs, open_pairs
from m2ib.errors import InputError, SettingError

URL = "https://example.org/photos/{}.jpg?size=large"


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    return path


def found(pairs: Pairs, folder: Path) -> list[tuple[str, str, str]]:
    """(id, the image's path in the folder, the text) of each."""
    assert pairs.modalities == ("image", "text")
    assert not pairs.located
    return [(p.id, str(p.inputs[0][1].relative_to(folder)), p.inputs[1][1]) for p in pairs]


def bad(pairs: Pairs) -> list[str]:
    return [str(row) for row in pairs.bad]


def test_conceptual_captions(tmp_path: Path, draw: Any) -> None:
    for name in ("00000000.jpg", "00000002.jpg", "extra/third.png"):
        draw(f"images/{name}")
    lines = (
        f'the "bell" beside a train\t{URL.format("a")}',
        f"a boat , by night\t{URL.format('b')}",
        "",
        f"  ein Fahrrad in Zürich \t{URL.format('c')}\r",
        f"a car\t{URL.format('d')}\textra/third.png",
    )
    captions, images = write(tmp_path, "Validation.tsv", *lines), tmp_path / "images"
    pairs = open_pairs("conceptual-captions", captions=captions, images=str(images))
    wanted = [
        ("0", "00000000.jpg", 'the "bell" beside a train'),
        ("2", "00000002.jpg", "ein Fahrrad in Zürich"),
        ("3", "extra/third.png", "a car"),
    ]
    assert pairs.name == "Conceptual Captions"
    for _ in range(2):
        assert found(pairs, images) == wanted
        assert bad(pairs) == [f"line 2: there is no image {str(images / '00000001.jpg')!r}"]
    write(tmp_path, "Validation.tsv", "caption\turl", *lines)
    assert found(open_pairs("conceptual-captions", captions=captions, images=images), images) == wanted


def test_how_downloaders_name_images(tmp_path: Path, draw: Any) -> None:
    url = URL.format("a")
    digest = hashlib.md5(url.encode()).hexdigest()
    captions = write(tmp_path, "c.tsv", f"a bell\t{url}")
    for template, name in (
        ("{shard:05d}/{row:09d}.jpg", "00000/000000000.jpg"),
        ("{md5}.png", f"{digest}.png"),
        ("{crc32}.jpg", f"{zlib.crc32(url.encode())}.jpg"),
        ("photos/{name}", "photos/a.jpg"),
    ):
        draw(f"images/{name}")
        pairs = open_pairs(
            "conceptual-captions", captions=captions, images=tmp_path / "images", filename=template
        )
        assert found(pairs, tmp_path / "images") == [("0", name, "a bell")]


def test_bad_lines_of_conceptual_captions(tmp_path: Path, draw: Any) -> None:
    draw("images/a.jpg")
    rows = (
        (f"fine\t{URL.format('a')}", None),
        ("no url", "it has 1 column instead of 2, or 3 with the name of a file"),
        ("a\tb\tc\td", "it has 4 columns instead of 2, or 3 with the name of a file"),
        (f" \t{URL.format('a')}", "its caption is empty"),
        ("a\t ", "its url is empty"),
        ("a \udcff\thttps://x/a.jpg", "it is not UTF-8 text"),
        ("a\thttps://example.org/", f"there is no image {str(tmp_path / 'images')!r}"),
        ("a\thttp://[1/a.jpg", f"there is no image {str(tmp_path / 'images')!r}"),
        ("a\tb\tgone.jpg", f"there is no image {str(tmp_path / 'images' / 'gone.jpg')!r}"),
    )
    captions = write(tmp_path, "c.tsv", *(row for row, _ in rows))
    pairs = open_pairs(
        "conceptual-captions", captions=captions, images=tmp_path / "images", filename="{name}"
    )
    assert [pair.id for pair in pairs] == ["0"]
    assert bad(pairs) == [f"line {n}: {reason}" for n, (_, reason) in enumerate(rows, 1) if reason]


def test_what_is_not_conceptual_captions(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    options = {"images": tmp_path / "images"}
    for content, reason in ((["image,text", "a,b"], "it begins with 'image,text'"), ([], "it is empty")):
        path = write(tmp_path, "c.tsv", *content)
        with pytest.raises(InputError) as caught:
            open_pairs("conceptual-captions", captions=path, **options)
        assert str(caught.value) == (
            f"data {str(path)!r} is not Conceptual Captions' TSV, with lines of caption<TAB>url: {reason}"
        )
    for template in (
        "{column}.jpg",
        "{row:x.jpg",
        "{}.jpg",
        3,
        "{row:s}",
        "{row:999999999}",
        "{row:{row}}",
        "{name:%s}",
    ):
        with pytest.raises(
            SettingError, match=r"^data: filename=.* cannot be filled in \(.*\); its fields are "
        ):
            open_pairs("conceptual-captions", captions=path, filename=template, **options)
    with pytest.raises(InputError) as caught:
        open_pairs("conceptual-captions", captions=path, images=path)
    assert str(caught.value) == f"data: images={str(path)!r} is no folder; check the path"
    with pytest.raises(InputError, match=r"gone\.tsv' cannot be read: No such file or directory"):
        open_pairs("conceptual-captions", captions=tmp_path / "gone.tsv", **options)
    with pytest.raises(SettingError, match=r"^data: captions=3 is no path$"):
        open_pairs("conceptual-captions", captions=3, **options)


def test_later_images_are_not_looked_for(tmp_path: Path, draw: Any) -> None:
    draw("images/00000000.jpg")
    draw("images/ROCO_1.jpg")
    draw("images/one.jpg")
    captions = write(tmp_path, "c.tsv", *(f"a {n}\t{URL.format(n)}" for n in range(9)))
    texts = write(tmp_path, "captions.txt", *(f"ROCO_{n}\t a {n}" for n in range(1, 9)))
    rsicd = write(tmp_path, "r.json", json.dumps({"images": [entry("one.jpg", "a"), entry("gone.jpg", "b")]}))
    images = tmp_path / "images"
    for pairs in (
        open_pairs("conceptual-captions", captions=captions, images=images),
        open_pairs("roco", captions=texts),
        open_pairs("rsicd", captions=rsicd, images=images),
    ):
        assert next(iter(pairs)).inputs[0][1].is_file()
        assert pairs.bad == []


LINK = "ROCO_{0}\twget -r ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/69/93/PMC{0}.tar.gz -P /path/to/Dir\tfig {0}.jpg"


def test_roco_as_its_script_downloads_it(tmp_path: Path, draw: Any) -> None:
    draw("radiology/images/PMC1_fig 1.jpg")
    draw("radiology/images/ROCO_2.jpg")
    draw("radiology/images/ROCO_3.png")
    folder = tmp_path / "radiology"
    captions = write(
        folder,
        "captions.txt",
        'ROCO_1\t Computed tomography, "axial"; arrow: 5 µm.',
        "ROCO_2\tX-ray",
        "",
        "ROCO_3\t\u2028MRI",
        "ROCO_4\t lost",
        "ROCO_5\t ",
        "ROCO_6",
        "ROCO_7\ta\tb",
        "\tno id",
        "ROCO_1\t again",
        "ROCO_8\t \udcff",
    )
    write(folder, "dlinks.txt", LINK.format(1), "damaged", LINK.format(2), LINK.format(4))
    pairs = open_pairs("roco", captions=captions)
    for _ in range(2):
        assert found(pairs, folder / "images") == [
            ("ROCO_1", "PMC1_fig 1.jpg", 'Computed tomography, "axial"; arrow: 5 µm.'),
            ("ROCO_2", "ROCO_2.jpg", "X-ray"),
            ("ROCO_3", "ROCO_3.png", "MRI"),
        ]
        assert bad(pairs) == [
            f"line 5: there is no image {str(folder / 'images' / 'PMC4_fig 4.jpg')!r}",
            "line 6: its caption is empty",
            "line 7: it has 1 column instead of 2",
            "line 8: it has 3 columns instead of 2",
            "line 9: its id is empty",
            "line 10: its id 'ROCO_1' is that of line 1",
            "line 11: it is not UTF-8 text",
        ]
    assert pairs.name == "ROCO"


@pytest.mark.parametrize(
    ("header", "sign"), [("ID,Caption", ","), ("\ufeffID\tcaption", "\t"), ('"id","Caption"', ",")]
)
def test_rocov2(tmp_path: Path, draw: Any, header: str, sign: str) -> None:
    draw("train/ROCOv2_2023_train_000001.jpg")
    captions = write(
        tmp_path,
        "train_captions.csv",
        header,
        f'ROCOv2_2023_train_000001{sign}"Head CT, ""left"" parotiditis."',
        f"ROCOv2_2023_train_000002{sign}lost",
        f"ROCOv2_2023_train_000003{sign}",
        "ROCOv2_2023_train_000004",
    )
    pairs = open_pairs("roco", captions=captions, images=tmp_path / "train")
    assert pairs.name == "ROCOv2"
    assert found(pairs, tmp_path / "train") == [
        ("ROCOv2_2023_train_000001", "ROCOv2_2023_train_000001.jpg", 'Head CT, "left" parotiditis.')
    ]
    assert bad(pairs) == [
        f"line 3: there is no image {str(tmp_path / 'train' / 'ROCOv2_2023_train_000002.jpg')!r}",
        "line 4: its caption is empty",
        "line 5: it has 1 column instead of 2",
    ]


def test_a_csv_of_roco_that_names_its_images(tmp_path: Path, draw: Any) -> None:
    draw("images/PMC40_a.jpg")
    captions = write(tmp_path, "radiologytraindata.csv", "id,name,caption", "ROCO_2,PMC40_a.jpg, CT ")
    assert found(open_pairs("roco", captions=captions), tmp_path / "images") == [
        ("ROCO_2", "PMC40_a.jpg", "CT")
    ]


def test_what_is_not_roco(tmp_path: Path) -> None:
    for content, reason in ((["name,text", "a,b"], "it begins with 'name,text'"), ([], "it is empty")):
        path = write(tmp_path, "captions.txt", *content)
        with pytest.raises(InputError) as caught:
            open_pairs("roco", captions=path)
        assert str(caught.value) == (
            f"data {str(path)!r} is neither ROCO's captions.txt, with lines of id<TAB>caption, nor ROCOv2's CSV, "
            f"with the columns ID and Caption: {reason}"
        )
    path = write(tmp_path, "captions.txt", "ROCO_1\ta")
    with pytest.raises(InputError) as caught:
        open_pairs("roco", captions=path)
    assert str(caught.value) == f"data: images={str(tmp_path / 'images')!r} is no folder; check the path"


def entry(name: str, *sentences: Any, split: str = "test", first: int | None = None) -> dict[str, Any]:
    said = [
        {"raw": text, "tokens": str(text).split(), "imgid": 0}
        | ({} if first is None else {"sentid": first + n})
        for n, text in enumerate(sentences)
    ]
    return {"filename": name, "imgid": 0, "sentences": said, "split": split}


@pytest.fixture
def rsicd(tmp_path: Path, draw: Any) -> dict[str, Path]:
    for name in ("airport_1.jpg", "beach_2.jpg", "park_3.jpg"):
        draw(f"images/{name}")
    entries = [
        entry("park_3.jpg", "a park", split="train", first=0),
        entry("airport_1.jpg", "planes .", "two planes", "", first=10),
        entry("beach_2.jpg", " sand ", split="val"),
        entry("gone.jpg", "nothing", first=20),
        entry("beach_2.jpg", "sea", "sand"),
        {"filename": "park_3.jpg", "sentences": [], "split": "test"},
        {"filename": "park_3.jpg", "sentences": [{"raw": "green"}]},
        "oops",
        {
            "filename": "",
            "sentences": [{"raw": "a"}, 3, {"raw": 3}, {"raw": "b", "sentid": 10}],
            "split": "test",
        },
    ]
    path = write(tmp_path, "dataset_rsicd.json", json.dumps({"images": entries, "dataset": "rsicd"}))
    return {"captions": path, "images": tmp_path / "images"}


def test_rsicd(rsicd: dict[str, Path]) -> None:
    pairs = open_pairs("rsicd", **rsicd)
    assert pairs.name == "RSICD test"
    for _ in range(2):
        assert found(pairs, rsicd["images"]) == [
            ("10", "airport_1.jpg", "planes ."),
            ("11", "airport_1.jpg", "two planes"),
            ("beach_2.jpg#0", "beach_2.jpg", "sea"),
            ("beach_2.jpg#1", "beach_2.jpg", "sand"),
        ]
        assert bad(pairs) == [
            "image 1, sentence 2: its raw is empty",
            f"image 3, sentence 0: there is no image {str(rsicd['images'] / 'gone.jpg')!r}",
            "image 5: it has no sentences",
            "image 6, sentence 0: it does not say its split",
            "image 7: it is no image with filename and sentences but 'oops'",
            "image 8, sentence 0: its filename is empty",
            "image 8, sentence 1: it is no sentence with its text as raw but 3",
            "image 8, sentence 2: its filename is empty",
            "image 8, sentence 3: its filename is empty",
        ]


def test_splits_and_sentences_of_rsicd(rsicd: dict[str, Path]) -> None:
    def ids(**options: str) -> list[str]:
        return [pair.id for pair in open_pairs("rsicd", **rsicd, **options)]

    assert ids(split="train") == ["0"]
    assert ids(split="val") == ["beach_2.jpg#0"]
    assert ids(sentences="first") == ["10", "beach_2.jpg#0"]
    assert ids(split="all", sentences="first") == ["0", "10", "beach_2.jpg#0", "park_3.jpg#0"]
    assert open_pairs("rsicd", **rsicd, split="all").name == "RSICD"
    with pytest.raises(SettingError) as caught:
        ids(split="vall")
    assert str(caught.value) == (
        f"data {str(rsicd['captions'])!r} has no split 'vall'; did you mean 'val'? It has train, test, val; "
        "'all' takes every image"
    )
    with pytest.raises(SettingError, match=r"^data: sentences='one' is unknown; it is 'all' or 'first'$"):
        ids(sentences="one")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is not JSON: Expecting value: line 2 column 1 (char 1)"),
        ("\udcff", "is not JSON: it is not UTF-8 text"),
        ("[" * 200_000, "is not JSON: maximum recursion depth exceeded"),
        ("[]", "is not RSICD's JSON: it lacks images with filename and sentences"),
        ('{"images": []}', "is not RSICD's JSON: it lacks images with filename and sentences"),
        (
            '{"images": [{"file_name": "a"}]}',
            "is not RSICD's JSON: it lacks images with filename and sentences",
        ),
    ],
)
def test_what_is_not_rsicd(tmp_path: Path, content: str, reason: str) -> None:
    path = write(tmp_path, "r.json", content)
    with pytest.raises(InputError) as caught:
        open_pairs("rsicd", captions=path, images=tmp_path)
    assert str(caught.value).startswith(f"data {str(path)!r} {reason}")


def test_a_split_of_any_name_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    row = {"filename": "a.tif", "split": "\n\r\x1b[31m", "sentences": [{"raw": "a plane"}]}
    (tmp_path / "c.json").write_text(json.dumps({"images": [row]}))
    with pytest.raises(SettingError) as caught:
        open_pairs("rsicd", captions=tmp_path / "c.json", images=tmp_path / "images", split="test")
    assert str(caught.value).isprintable()
