"""What a user says of raw images reaches every image adapter, for a model and for one input, in Python and in a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib
import naive_imagebind
from m2ib.cli import main
from m2ib.errors import SettingError
from open_clip_models import VIT, module_of
from tiny_clip import save_tiny_clip
from toy import save_clip_with_words
from xrays import save, vit_state


@pytest.fixture(scope="module", autouse=True)
def _alone(one_thread: None) -> None: ...


def clip(folder: Path) -> dict[str, Any]:
    return {"checkpoint": save_tiny_clip(folder / "clip")}


def open_clip(folder: Path) -> dict[str, Any]:
    torch.save(module_of(VIT).state_dict(), folder / "x.pt")
    return {"architecture": VIT, "checkpoint": folder / "x.pt"}


def cxr(folder: Path) -> dict[str, Any]:
    return {"checkpoint": save(vit_state(), folder / "y.pt")}


def imagebind(folder: Path) -> dict[str, Any]:
    torch.save(naive_imagebind.random_state(naive_imagebind.SMALL, seed=0), folder / "z.pth")
    return {"architecture": naive_imagebind.SMALL, "checkpoint": folder / "z.pth"}


ADAPTERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "photo": lambda folder: {"size": 64},
    "clip": clip,
    "open-clip": open_clip,
    "cxr-repair": cxr,
    "imagebind": imagebind,
    "imagebind-tiny": lambda folder: {},
}


@pytest.mark.parametrize(("name", "make"), ADAPTERS.items(), ids=ADAPTERS.keys())
def test_in_every_adapter(name: str, make: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (2, 70, 60)).astype(np.uint8)
    deep = [Image.fromarray(page.astype(np.uint16) * 4) for page in grey]
    deep[0].save(tmp_path / "x.tif", save_all=True, append_images=deep[1:])
    options = make(tmp_path)
    model = m2ib.load_model(name, device="cpu", **options)
    expected = model.preprocess("image", [grey[1]])
    said = {"page": 1, "maximum": 1020}
    given = model.preprocess("image", [{"image": tmp_path / "x.tif", **said}])
    loaded = m2ib.load_model(name, device="cpu", image=said, **options)
    for inputs in (given, loaded.preprocess("image", [tmp_path / "x.tif"])):
        assert torch.equal(inputs, expected)  # type: ignore[arg-type]
    item = loaded.item("image", tmp_path / "x.tif")
    assert (item.origin["page"], item.origin["pages"]) == (1, 2)
    assert item.origin["levels"] == {"black": 0.0, "white": 1020.0, "by": "given", "assumed": False}
    with pytest.raises(SettingError, match=r"^image: no option 'gain'; there are page, minimum, maximum$"):
        m2ib.load_model(name, device="cpu", image={"gain": 1}, **options)
    with pytest.raises(SettingError, match=rf"^{name}: image is a dict of options, not int; as in image="):
        m2ib.load_model(name, device="cpu", image=4095, **options)


def test_in_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_clip_with_words(tmp_path / "clip")
    deep = np.random.default_rng(0).integers(0, 4096, (40, 60)).astype(np.uint16)
    Image.fromarray(deep).save("x.png")
    command = [
        "explain",
        "--model",
        "clip",
        "--checkpoint",
        "clip",
        "--device",
        "cpu",
        "steps=1",
        "samples=1",
    ]
    for number, words in enumerate(
        (["--image", "x.png", "options.image.maximum=5000"], ["--image", "{image: x.png, maximum: 5000}"])
    ):
        assert main([*command, *words, "--text", "a dog", "--out", str(number)]) == 0
        exp = m2ib.load_explanation(tmp_path / str(number))
        assert exp["image"].origin["levels"]["white"] == 5000
        assert "warnings" not in exp["image"].origin
    assert main([*command, "--image", "x.png", "--text", "a dog", "--out", "assumed"]) == 0
    exp = m2ib.load_explanation(tmp_path / "assumed")
    assert exp["image"].origin["levels"]["assumed"] is True
    assert any("read as 12 bits" in warning for warning in exp["image"].origin["warnings"])
    assert "read as 12 bits" in (tmp_path / "assumed" / "index.html").read_text(encoding="utf-8")
