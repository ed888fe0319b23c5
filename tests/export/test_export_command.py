"""``m2ib export``: rows are chosen as ``m2ib results`` does, what is left out is said, and nothing of the user's is written over."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

import m2ib
from m2ib.cli import main
from many_pairs import FAST, pairs


class Export:
    """``m2ib export``: what was printed, or the one line of a refusal."""

    def __init__(self, table: m2ib.results.ResultTable, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = table.folder, capsys

    def __call__(self, to: str, *words: object) -> list[str]:
        code, out, err = self._run(to, *words)
        assert (code, err) == (0, "")
        return out.splitlines()

    def refused(self, to: str, *words: object) -> str:
        code, out, err = self._run(to, *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err.removeprefix("m2ib: error: ").strip()

    def _run(self, to: str, *words: object) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = main(["export", str(self.folder), "--to", to, *map(str, words)])
        return code, *self._capsys.readouterr()


@pytest.fixture
def export(
    table: m2ib.results.ResultTable,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Export:
    monkeypatch.chdir(tmp_path)
    return Export(table, capsys)


def test_what_was_written_and_what_was_not(export: Export, tmp_path: Path) -> None:
    lines = export("coco", "--out", "out", "--percentile", 80, "--where", "id <> 'depth'", "--sort", "id")
    assert lines[0].startswith("images: 4, annotations: ")
    assert lines[1:-1] == ["left out: 2 with an error", "left out: 1 without a picture (audio and text)"]
    assert lines[-1] == str(tmp_path / "out" / "annotations.json")
    content = json.loads(Path(lines[-1]).read_text())
    assert [Path(image["file_name"]).name for image in content["images"]][1:] == ["0.png", "2.png", "1.png"]


@pytest.mark.parametrize("to", ["coco", "fiftyone", "huggingface", "label-studio", "png"])
def test_every_format(export: Export, to: str, tmp_path: Path) -> None:
    lines = export(to, "--out", "out", "--device", "cpu", "--where", "modality_1 = 'image'")
    assert "left out: 2 with an error" in lines
    assert Path(lines[-1]).is_relative_to(tmp_path / "out")
    if to == "png":
        assert np.asarray(Image.open(tmp_path / "out" / "wide" / "image.png")).shape == (120, 180, 3)
    if to == "huggingface":
        assert len(datasets.load_from_disk(lines[-1])) == 4


def test_nothing_of_the_users_is_written_over(export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "annotations.json").write_text("mine")
    said = export.refused("coco", "--out", "out", "--force")
    assert "is there already and was not written by m2ib" in said
    assert (tmp_path / "out" / "annotations.json").read_text() == "mine"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["annotations.json"]

    export("coco", "--out", "other")
    assert "exists and is not empty; use --force" in export.refused("coco", "--out", "other")
    export("label-studio", "--out", "other", "--force", "--where", "id = 'array'")
    names = {path.name for path in (tmp_path / "other").iterdir()}
    assert names == {"tasks.json", "config.xml", "images", "m2ib-folder.json"}, "all that was ours goes"
    assert "holds results of another kind (run)" in export.refused("coco", "--out", export.folder, "--force")


def test_what_cannot_be_held_leaves_nothing(export: Export, tmp_path: Path) -> None:
    for to in ("coco", "fiftyone"):
        assert "there is nothing to write: 1 without a picture" in export.refused(
            to, "--out", "out", "--where", "id = 'sound'"
        )
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("coco", "--out", "out", "--embed-files"),
            "export: --embed-files is an option of huggingface, not of coco",
        ),
        (
            ("png", "--out", "out", "--threshold", "1"),
            "export: --threshold is an option of coco and label-studio, not of png",
        ),
        (("coco", "--out", "out", "--threshold", "1"), "threshold: 1.0 is not from 0 to below 1"),
        (("coco", "--out", "out", "--where", "nothing > 1"), "results: 'nothing > 1' cannot be asked"),
        (("coco", "--out", ""), "out: '' names no place"),
        (("yolo", "--out", "out"), "argument --to: invalid choice: 'yolo'"),
    ],
)
def test_refusals(export: Export, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in export.refused(*words)
    assert [*tmp_path.iterdir()] == []


def test_pictures_need_the_model_only_where_they_were_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = m2ib.load_model("imagebind-tiny", device="cpu")
    model = m2ib.Model(loaded.module, loaded.encoders, loaded.device, loaded.dtype, loaded.origin)
    table = m2ib.run(model, pairs(tmp_path), tmp_path / "mine", show_progress=False, limit=5, **FAST)
    export = Export(table, capsys)
    assert "was not loaded by name; run with --keep-inputs" in export.refused(
        "png", "--out", tmp_path / "out"
    )
    assert export("png", "--out", tmp_path / "out", "--where", "id = 'array'")[0] == "pairs: 1"
