"""A ``~`` wherever a path is taken; URLs, to which nothing is sent and from which nothing is fetched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib
from m2ib.cli import main
from m2ib.data import open_pairs
from m2ib.paths import is_url, local_path
from tiny_clip import END, START

IDS = torch.tensor([START, 5, END])
FEW: Any = {"steps": 1, "samples": 1}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, which is not where one works."""
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "home" / "a.png")
    return tmp_path / "home"


def test_what_is_a_url(tmp_path: Path) -> None:
    for url in ("http://x", "S3://b/k", "file:///x", "file:/x", "data:image/png;base64,AA", "hf://o/m"):
        assert is_url(url), url
    for path in ("C:/x.png", "c:\\x.png", "a/b.png", "owner/name", "hf-hub:owner/name", "x:y", "~/a", ""):
        assert not is_url(path), path
    assert local_path("a/~/b") == Path("a/~/b")


def test_a_home_directory_wherever_a_path_is_taken(home: Path, clip_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(clip_folder, home / "clip")
    model = m2ib.load_model("clip", checkpoint="~/clip", device="cpu")
    assert model.origin["checkpoint"] == str(home / "clip")
    assert m2ib.load_model("clip", checkpoint=Path("~/clip"), device="cpu").origin == model.origin
    exp = m2ib.explain(model, image="~/a.png", text=IDS, **FEW)
    assert exp["image"].origin["source"] == str(home / "a.png")
    assert exp.save("~/kept") == home / "kept"
    assert m2ib.load_explanation("~/kept").similarity == exp.similarity
    assert exp.to_html("~/pages/a.html") == home / "pages" / "a.html"
    (home / "boxes.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png"}],
                "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}],
            }
        )
    )
    assert m2ib.read_boxes("~/boxes.json") == exp.with_boxes("~/boxes.json")["image"].view.boxes
    (home / "pairs.csv").write_text("image,text\n~/a.png,a dog\n")
    (pair,) = open_pairs("~/pairs.csv")
    assert pair.inputs[0] == ("image", home / "a.png")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_home_directory_on_the_command_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "settings.yaml").write_text("steps: 1\nsamples: 1\nforce: true\n")
    words = ["explain", "--image=~/a.png", "--text=a dog", "--out=~/report", "--config=~/settings.yaml"]
    assert main([*words, "--device=cpu", "options.size=64"]) == 0
    assert (home / "report" / "index.html").is_file()
    assert not list((tmp_path / "elsewhere").iterdir())
    capsys.readouterr()


def test_urls_as_checkpoints_and_folders(home: Path, clip64: m2ib.Model) -> None:
    for adapter in ("clip", "open-clip", "cxr-repair", "imagebind", "imagebind-tiny"):
        with pytest.raises(m2ib.CheckpointError) as caught:
            m2ib.load_model(adapter, checkpoint="https://x.org/model.pt", device="cpu")
        assert str(caught.value) == (
            f"{adapter}: checkpoint 'https://x.org/model.pt' is a URL, and nothing is fetched; download it and give "
            "the path, or a hub id where one is taken"
        )
    exp = m2ib.explain(clip64, image=home / "a.png", text=IDS, **FEW)
    with pytest.raises(
        m2ib.StorageError, match=r"^output folder 's3:/b/x' is a URL, and nothing is sent; name a folder"
    ):
        exp.save("s3://b/x")
    with pytest.raises(
        m2ib.StorageError, match=r"'s3:/b/x.html': it is a URL, and nothing is sent; name a file here$"
    ):
        exp.to_html("s3://b/x.html")
    assert not list(Path.cwd().iterdir())
