"""The settings of the paper's runs are complete: on small data and models they run as they stand, but for sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from m2ib.cli import main
from toy import save_clip_with_words

EXAMPLES = Path(__file__).parents[2] / "examples"
CAPTIONS = ("a photo of the red cup", "the dog", "a cat, a dog", "the red cat", "a photo of a cup", "red dog")


@pytest.fixture(scope="module")
def conceptual_captions(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The overrides for six rows of a TSV, their images and a tiny CLIP."""
    folder = tmp_path_factory.mktemp("cc")
    (folder / "images").mkdir()
    rows = []
    for number, caption in enumerate(CAPTIONS):
        rows.append(f"{caption}\thttp://example.org/{number}.jpg")
        noise = np.random.default_rng(number).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{number:08d}.jpg")
    (folder / "captions.tsv").write_text("\n".join(rows), encoding="utf-8")
    clip = save_clip_with_words(folder / "clip")
    return [
        f"checkpoint={clip}",
        f"data.captions={folder / 'captions.tsv'}",
        f"data.images={folder / 'images'}",
        "device=cpu",
    ]


def test_table_1(conceptual_captions: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "settings.m2ib.layer=1",
        "settings.rise.masks=8",
        "settings.kernelshap.masks=8",
        "settings.m2ib.steps=2",
        "seeds=[0,1]",
        "roar.epochs=1",
        "roar.pairs=6",
    ]
    command = [
        "evaluate",
        "--config",
        str(EXAMPLES / "reproduce_table1.yaml"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*command, *conceptual_captions, *small]) == 0
    markdown = (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    row = next(line for line in markdown.splitlines() if line.startswith("| **m2ib**"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert [cell.split("[")[1] for cell in cells[1:4]] == ["1.11]", "41.55]", "10.59]"]
    assert all("±" in cell for cell in cells[1:4])
    assert "6 pairs, 2 seeds" in markdown
    assert str(tmp_path) in capsys.readouterr().out


def test_table_2(conceptual_captions: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "grid={layer: [0, 1], beta: [0.1], variance: [1.0]}",
        "settings.steps=2",
        "seeds=[0]",
        "pairs=3",
        "held_out=3",
        "metric=drop",  # ROAR+ wants four pairs, and has its own tests
        "side=image",
    ]
    command = ["tune", "--config", str(EXAMPLES / "reproduce_table2.yaml"), "--out", str(tmp_path / "out")]
    assert main([*command, *conceptual_captions, *small]) == 0
    found = yaml.safe_load((tmp_path / "out" / "settings.yaml").read_text(encoding="utf-8"))
    assert found["layer"]["image"] in (0, 1, 2)  # the default is tried as well
    assert "held out" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["reproduce_table1", "reproduce_table1_ms_cxr", "reproduce_table2"])
def test_missing_data_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = "tune" if name == "reproduce_table2" else "evaluate"
    config = str(EXAMPLES / f"{name}.yaml")
    assert main([command, "--config", config, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("m2ib: error: ")
    assert not (tmp_path / "out").exists()
