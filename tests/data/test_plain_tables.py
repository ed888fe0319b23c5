"""Pairs out of CSV and JSON lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2ib import Box
from m2ib.data import BadRow, Pair, Pairs, open_pairs
from m2ib.data.boxes import read_boxes
from m2ib.errors import InputError, SettingError


def write(folder: Path, text: str | bytes, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def texts(pairs: Pairs) -> list[tuple[str, ...]]:
    return [(pair.id, *(str(raw) for _, raw in pair.inputs)) for pair in pairs]


def bad(pairs: Pairs) -> list[str]:
    return [str(row) for row in pairs.bad]


def test_a_csv_file(tmp_path: Path, draw: Any) -> None:
    first, second = draw("photos/a.jpg"), draw("elsewhere/b.png")
    path = write(
        tmp_path,
        '\ufeffid,image,source,text,boxes\r\na,photos/a.jpg,web,"a bell, beside ""it""\n and more",\r\n'
        f'b,{second},web,Zürich 東京,"[[1, 2, 3.5, 4], [5, 6, 7, 8, ""bell""]]"\r\n',
    )
    pairs = open_pairs(path)
    assert (pairs.name, pairs.modalities, pairs.located, pairs.bad) == ("pairs", ("image", "text"), True, [])
    one, two = pairs
    assert (one.id, one.boxes, one.regions) == ("a", (), {})
    assert one.inputs == (("image", first), ("text", 'a bell, beside "it"\n and more'))
    assert (two.id, two.boxes) == ("b", (Box(1, 2, 3.5, 4), Box(5, 6, 7, 8, "bell")))
    assert two.inputs == (("image", second), ("text", "Zürich 東京"))
    assert pairs.bad == []


def test_the_same_as_json_lines(tmp_path: Path, draw: Any) -> None:
    first, second = draw("photos/a.jpg"), draw("elsewhere/b.png")
    rows = (
        {"id": "a", "image": "photos/a.jpg", "text": 'a "bell"\n and more', "source": None},
        {"text": "Zürich\u2028東京", "boxes": [[1, 2, 3.5, 4, "bell"]], "id": 7, "image": str(second)},
    )
    path = write(
        tmp_path, "\ufeff" + "\r\n\n".join(json.dumps(r, ensure_ascii=False) for r in rows), "p.jsonl"
    )
    pairs = open_pairs("jsonl", path=path)
    assert (pairs.name, pairs.modalities, pairs.located) == ("p", ("image", "text"), True)
    one, two = pairs
    assert (one.id, one.boxes, one.inputs) == (
        "a",
        (),
        (("image", first), ("text", 'a "bell"\n and more')),
    )
    assert (two.id, two.boxes) == ("7", (Box(1, 2, 3.5, 4, "bell"),))
    assert two.inputs == (("image", second), ("text", "Zürich\u2028東京"))


@pytest.mark.parametrize(
    ("header", "modalities"),
    [
        ("text,image", ("text", "image")),
        ("image,split,text", ("image", "text")),
        ("text_1,text_2", ("text", "text")),
        ("text_2,note,text_1", ("text", "text")),
        ("audio_1,thermal,audio_3, imu ", ("thermal", "imu")),
        ("image_1,image_2,text", None),
        ("image_1,text", None),
    ],
)
def test_which_columns_are_the_inputs(
    tmp_path: Path, header: str, modalities: tuple[str, str] | None
) -> None:
    path = write(tmp_path, f"{header}\n")
    lines = write(tmp_path, json.dumps(dict.fromkeys(map(str.strip, header.split(",")))), "pairs.jsonl")
    for each in (path, lines):
        if modalities is None:
            with pytest.raises(InputError, match="needs two columns that are named by a modality"):
                open_pairs(each)
        else:
            assert open_pairs(each).modalities == modalities


def test_two_texts_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "text_2,text_1\nsecond,first\n")
    assert texts(open_pairs(path)) == [("0", "first", "second")]
    path = write(tmp_path, '{"text_2": "second", "text_1": "first"}\n', "p.jsonl")
    assert texts(open_pairs(path)) == [("0", "first", "second")]


def test_columns_are_chosen(tmp_path: Path, draw: Any) -> None:
    image = draw("a.png")
    path = write(tmp_path, "caption\tfilepath\ttext\nhello\ta.png\tno\n", "pairs.tsv")
    for columns in (
        {"image": "filepath", "text": "caption"},
        "image=filepath,text=caption",
        " image = filepath, text = caption",
    ):
        pairs = open_pairs(path, columns=columns)
        assert pairs.modalities == ("image", "text")
        assert texts(pairs) == [("0", str(image), "hello")]
    pairs = open_pairs(path, columns={"text_2": "text", "text_1": "caption"})
    assert (pairs.modalities, texts(pairs)) == (("text", "text"), [("0", "hello", "no")])
    assert open_pairs(path, columns="smell=filepath,text=caption").modalities == ("smell", "text")
    lines = write(tmp_path, '\n{"caption": "hello", "filepath": "a.png"}', "p.ndjson")
    assert texts(open_pairs(lines, columns="text=caption,image=filepath")) == [("0", "hello", str(image))]


BAD_CSV = (
    ("x,a.png,one,1,[]", None),
    ("x,a.png,two,,", "its id 'x' is that of line 2"),
    (",a.png,three,,", "its id is empty"),
    ("d,gone.png,four,,", "there is no image '{folder}/gone.png'"),
    ("e,,five,,", "its image is empty"),
    ("f,a.png, ,,", "its text is empty"),
    ("g,a.png,seven", "it has 3 columns instead of 5"),
    ("h,a.png,eight,,,", "it has 6 columns instead of 5"),
    ("i", "it has 1 column instead of 5"),
    (
        "j,a.png,ten,,oops",
        "its boxes are no JSON list of [x, y, w, h] or [x, y, w, h, label] but 'oops'",
    ),
    ("k,a.png,eleven,,7", "its boxes are no JSON list of [x, y, w, h] or [x, y, w, h, label] but '7'"),
    ('l,a.png,twelve,,"[1, 2, 3, 4]"', "box 0 is (x, y, width, height[, label]), not 1"),
    (
        'm,a.png,thirteen,,"[[1, 2, 3, 4], [1, 2, 0, 4]]"',
        "box 1: box '': x, y, width, height are (1.0, 2.0, 0.0, 4.0); "
        "give finite numbers, width and height above 0",
    ),
    (
        'n,a.png,fourteen,,"[[1, 2, 3, ""a""]]"',
        "box 0: x, y, width, height are four numbers, not (1, 2, 3, 'a')",
    ),
    (f'o,a.png,fifteen,,"[[1{"0" * 400}, 2, 3, 4]]"', "its boxes hold numbers that are too large: [[1000"),
    ("p,a.png,\udcff,,", "it is not UTF-8 text"),
    ("q,\udcff.png,seventeen,,", "it is not UTF-8 text"),
    ('r,a.png,"eighteen"x,,', "it is not CSV: ',' expected after '\"'"),
    ("s,.,nineteen,,", "there is no image '{folder}'"),
    ("t,a\0.png,twenty,,", "there is no image '{folder}/a\\x00.png'"),
    ("u,a.png,twenty-one,,null", None),
)


def test_bad_rows_of_a_csv_file(tmp_path: Path, draw: Any) -> None:
    draw("a.png")
    rows = [row for row, _ in BAD_CSV]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["id,image,text,,boxes", *rows]), encoding="utf-8", errors="surrogateescape")
    pairs = open_pairs(path)
    assert pairs.bad == []
    assert [pair.id for pair in pairs] == ["x", "u"]
    wanted = [
        (f"line {number}", reason.replace("{folder}", str(tmp_path)))
        for number, (_, reason) in enumerate(BAD_CSV, 2)
        if reason
    ]
    assert [row.place for row in pairs.bad] == [place for place, _ in wanted]
    for row, (_, reason) in zip(pairs.bad, wanted, strict=True):
        assert row.reason == reason or (reason.endswith("1000") and row.reason.startswith(reason))
    before = list(pairs.bad)
    assert [pair.id for pair in pairs] == ["x", "u"]
    assert pairs.bad == before


BAD_JSON = (
    ('{"id": "x", "text_1": "a", "text_2": "b"}', None),
    ('{"id": "x", "text_1": "a", "text_2": "b"}', "its id 'x' is that of line 1"),
    ('{"text_1": "a"}', "it lacks 'text_2'"),
    ('{"text_1": "a", "text_2": ""}', "its text_2 is empty"),
    ('{"text_1": "a", "text_2": null}', "its text_2 is empty"),
    ('{"text_1": ["a"], "text_2": "b"}', "its text_1 is no text but ['a']"),
    ('{"text_1": "a", "text_2": "b"', "it is not JSON: Expecting ',' delimiter at character 30"),
    ('["a", "b"]', """it is no JSON object but '["a", "b"]'"""),
    ('{"id": true, "text_1": "a", "text_2": "b"}', "its id is no text but True"),
    ('{"id": 1.5, "text_1": "a", "text_2": "b"}', "its id is no text but 1.5"),
    ('{"id": null, "text_1": "a", "text_2": "b"}', "its id is empty"),
    ('{"text_1": "a", "text_2": "\udcff"}', "it is not UTF-8 text"),
    ('{"text_1": "a", "text_2": "\\ud800"}', "it is not UTF-8 text"),
    ('{"text_1": "last", "text_2": "b"}', None),
)


def test_bad_rows_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(row for row, _ in BAD_JSON), encoding="utf-8", errors="surrogateescape")
    pairs = open_pairs(path)
    assert not pairs.located
    assert [pair.id for pair in pairs] == ["x", "13"]
    assert pairs.bad == [BadRow(f"line {n}", reason) for n, (_, reason) in enumerate(BAD_JSON, 1) if reason]


def test_json_that_is_too_deep_or_too_long(tmp_path: Path) -> None:
    deep, long = "[" * 200_000, "1" * 5000
    path = write(tmp_path, f'{{"text_1": "a", "text_2": "b"}}\n{deep}\n{{"id": {long}}}\n', "p.jsonl")
    pairs = open_pairs(path)
    assert len(list(pairs)) == 1
    assert [row.place for row in pairs.bad] == ["line 2", "line 3"]
    assert all(row.reason.startswith("it is not JSON: ") for row in pairs.bad)


def test_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    path = write(tmp_path, 'text_1,text_2\na,b\n\nc,"d\ne,f\n')
    pairs = open_pairs(path)
    assert texts(pairs) == [("0", "a", "b")]
    assert bad(pairs) == [
        "line 4: it is not CSV: a quote that opens here is never closed, and takes the rest of the file"
    ]


def test_a_row_is_named_by_its_first_line(tmp_path: Path) -> None:
    path = write(tmp_path, 'text_1,text_2\n"a\nb",c\n\n\n"d\n\ne",\nf,\n')
    pairs = open_pairs(path)
    assert texts(pairs) == [("0", "a\nb", "c")]
    assert bad(pairs) == ["line 6: its text_2 is empty", "line 9: its text_2 is empty"]


def test_a_huge_field(tmp_path: Path) -> None:
    text = "word " * 100_000
    path = write(tmp_path, f"text_1,text_2\na,{text}\n")
    assert texts(open_pairs(path)) == [("0", "a", text)]


def test_nothing_is_looked_at_before_its_turn(tmp_path: Path, draw: Any) -> None:
    draw("a.png")
    path = write(tmp_path, "image,text\n" + "a.png,one\n" + "gone.png,two\n" * 3)
    lines = write(
        tmp_path, '{"image": "a.png", "text": "one"}\n{"image": "gone.png", "text": "two"}\n', "p.jsonl"
    )
    for pairs, left in ((open_pairs(path), 3), (open_pairs(lines), 1)):
        assert next(iter(pairs)).inputs[1] == ("text", "one")
        assert pairs.bad == []
        assert len(list(pairs)) == 1
        assert len(pairs.bad) == left


def test_two_iterations_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "text_1,text_2\na,b\nc,\nd,e\n,f\n")
    pairs = open_pairs(path)
    both = list(zip(pairs, pairs, strict=True))
    assert [one.id for one, _ in both] == [other.id for _, other in both] == ["0", "2"]
    assert bad(pairs) == ["line 3: its text_2 is empty", "line 5: its text_1 is empty"]


def test_a_table_of_no_rows(tmp_path: Path) -> None:
    pairs = open_pairs(write(tmp_path, "image,text\n"))
    assert (list(pairs), pairs.bad) == ([], [])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("p.csv", "", "is empty; a CSV file begins with the names of its columns"),
        (
            "p.csv",
            "a,b\nc,d",
            "needs two columns that are named by a modality, as in image and text, or text_1 and text_2, and has "
            "none; choose two of 'a', 'b', as in columns='image=a,text=b' (data.columns=image=a,text=b)",
        ),
        ("p.csv", "image,text,audio\n", "and has 3 ('image', 'text', 'audio'); choose two of"),
        (
            "p.csv",
            "image\n",
            "and has 1 ('image'); choose two of 'image', as in columns='image=image,text=caption'",
        ),
        (
            "p.csv",
            "id,title,text\n",
            "and has 1 ('text'); choose two of 'id', 'title', 'text', as in columns='text=text,image=title' "
            "(data.columns=text=text,image=title)",
        ),
        ("p.csv", "text,text\n", "has the column 'text' twice; two inputs of one modality are 'text_1' and"),
        ("p.csv", b"\xff\xfei\0m\0", "is not CSV: it is not UTF-8 text"),
        ("p.csv", b'"image,text', "is not CSV: a quote that opens here is never closed"),
        ("p.csv", "text_1,text_2,boxes\n", ": boxes are drawn on the one image of a pair; its pairs of text"),
        ("p.csv", "image_1,image_2,boxes\n", "its pairs of image and image have 2"),
        ("p.jsonl", "", "is empty; it needs a JSON object on each line"),
        ("p.jsonl", "a,b\n", "is not JSON lines: line 1: it is not JSON: Expecting value at character 1"),
        ("p.jsonl", '[1]\n{"a": "b"}', "needs two columns that are named by a modality"),
        ("p.jsonl", '{"text_1": "a", "text_2": "b", "boxes": []}', ": boxes are drawn on the one image"),
    ],
)
def test_files_of_another_format(tmp_path: Path, name: str, content: str | bytes, reason: str) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(InputError) as caught:
        open_pairs(path)
    assert str(caught.value).startswith(f"data {str(path)!r}")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gone.csv", "gone.tsv", "gone.jsonl"])
def test_files_that_are_not_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(InputError) as caught:
        open_pairs(path)
    assert str(caught.value) == f"data {str(path)!r} cannot be read: No such file or directory"
    path.mkdir()
    with pytest.raises(InputError, match="is a folder; name a file"):
        open_pairs(path)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, "file,text\n")
    with pytest.raises(InputError) as caught:
        open_pairs(path, columns={"image": "fil", "text": "caption"})
    assert (
        str(caught.value) == f"data {str(path)!r} lacks the columns 'fil', 'caption'; it has 'file', 'text'"
    )
    path = write(tmp_path, '{"file": "a", "text": "b"}\n', "p.jsonl")
    with pytest.raises(InputError) as caught:
        open_pairs(path, columns="image=fil,text=text")
    assert str(caught.value) == f"data {str(path)!r} lacks 'fil'; its first object has 'file', 'text'"
    for columns in ("image", "image=a", {"image": "a", "text": ""}, "image=a,text=b,audio=c", 3, ""):
        with pytest.raises(
            SettingError, match=r"^data: columns=.* are no two columns by modality; give them"
        ):
            open_pairs(path, columns=columns)


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
SOON = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SOON
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=5))
def test_texts_come_back_from_csv(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    for name, dialect in (("t.csv", "excel"), ("t.tsv", "excel-tab")):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, dialect).writerows([("text_1", "text_2"), *rows])
        pairs = open_pairs(tmp_path / name)
        assert texts(pairs) == [(str(n), *row) for n, row in enumerate(rows)]
        assert pairs.bad == []


@SOON
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=5), st.booleans())
def test_texts_come_back_from_json_lines(tmp_path: Path, rows: list[tuple[str, str]], ascii: bool) -> None:
    path = tmp_path / "t.jsonl"
    lines = [json.dumps({"text_1": a, "text_2": b}, ensure_ascii=ascii) for a, b in rows]
    path.write_bytes("\n".join(lines).encode())
    pairs = open_pairs(path)
    assert texts(pairs) == [(str(n), *row) for n, row in enumerate(rows)]
    assert (pairs.bad, pairs.located) == ([], False)


def test_pairs_are_what_explain_takes(tmp_path: Path, draw: Any) -> None:
    draw("a.png")
    (pair,) = open_pairs(write(tmp_path, "image,text\na.png,one\n"))
    assert isinstance(pair, Pair)
    (first, image), (second, text) = pair.inputs
    assert (first, second) == ("image", "text")
    assert isinstance(image, Path)
    assert isinstance(text, str)


def test_a_file_without_line_ends(tmp_path: Path) -> None:
    """It is not read whole, for it would fill the memory."""
    for name in ("x.csv", "x.jsonl"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**26 + 9)
        with pytest.raises(
            InputError,
            match=r"has a line of more than 67,108,864 characters; it is no text with a row a line$",
        ):
            list(open_pairs(tmp_path / name))


def test_boxes_that_are_too_much(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(
        InputError,
        match=r"has 1,073,741,825 bytes, more than the 1,073,741,824 that are read at once; split it$",
    ):
        read_boxes(path)
    path.with_suffix(".csv").write_text('"x\n\ny",w\n1,2\n')
    with pytest.raises(InputError, match=r"lacks the columns x, y, h, dicom_id or path; it has x y, w$"):
        read_boxes(path.with_suffix(".csv"))
    image, each = '{"id": 1, "file_name": "a"}', '{"image_id": 1, "bbox": [1, 2, 3, %s]}'
    for content, said in (
        ("[" * 10**5, "is not JSON: "),
        (each % ("9" * 5000), "is not JSON: "),
        (each % ("9" * 400), "holds numbers that are too large"),
    ):
        path.write_text(f'{{"images": [{image}], "annotations": [{content}]}}')
        with pytest.raises(InputError, match=f"^boxes {str(path)!r} {said}"):
            read_boxes(path)
