"""What the pages' blocks of code find in their folder: small real files under the names that stand in the pages."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "ext"))  # the modules that the site is built with


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them."""
    folder = tmp_path_factory.mktemp("files")
    for make in (pictures, recordings, xrays_with_weights, clip, families, open_clip, imagebind):
        make(folder)
    return folder


@pytest.fixture(scope="session")
def working_folder(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a page's own folder; the files in it are the page's to write over."""

    def make(name: str) -> Path:
        return shutil.copytree(files, tmp_path_factory.mktemp(name) / "here")

    return make


def pictures(folder: Path) -> None:
    """Those of the demo, as it leaves them, and some that no reader has."""
    from m2ib.cli.demo import photographs, write_pairs
    from m2ib.scenes import scene

    write_pairs(folder, photographs())
    shutil.copy(folder / "astronaut.jpg", folder / "dog.jpg")
    drawn = scene(seed=13)
    Image.fromarray(drawn.image).save(folder / "scene.png")
    pages = [Image.fromarray(np.asarray(drawn.image).mean(-1).astype(np.uint16) * 16) for _ in range(3)]
    pages[0].save(folder / "scan.tif", save_all=True, append_images=pages[1:])
    Image.fromarray((drawn.depth * 1000).astype(np.uint16)).save(folder / "room.png")  # millimetres


def recordings(folder: Path) -> None:
    import soundfile

    time = np.arange(3 * 16000) / 16000
    bark = np.sin(2 * np.pi * 300 * time) * (np.sin(2 * np.pi * 2 * time) > 0.3) * np.exp(-(time % 0.5) * 6)
    soundfile.write(folder / "bark.wav", 0.5 * bark, 16000)


def xrays_with_weights(folder: Path) -> None:
    from xrays import save, save_dicom, vit_state, xray

    save_dicom(folder / "x.dcm", xray())
    save(vit_state(), folder / "y.pt", torch.float32)
    boxes = {
        "images": [{"id": 1, "file_name": "x.dcm", "width": 40, "height": 60}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [5, 30, 12, 20]}],
        "categories": [{"id": 1, "name": "opacity"}],
    }
    (folder / "ms_cxr.json").write_text(json.dumps(boxes))


def clip(folder: Path) -> None:
    """As ``save_pretrained`` writes it, with a tokenizer of letters."""
    from transformers import CLIPTokenizer

    from tiny_clip import END, START, save_tiny_clip

    place = save_tiny_clip(folder / "my-clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = {letter: number for number, letter in enumerate([*letters, *(f"{a}</w>" for a in letters)])}
    vocabulary |= {"<|startoftext|>": START, "<|endoftext|>": END}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(place)


def families(folder: Path) -> None:
    from tiny_families import save_family

    for name, place in (("chinese_clip", "my-chinese-clip"), ("siglip", "my-siglip")):
        save_family(name, folder / place)


def open_clip(folder: Path) -> None:
    """Weights for the configuration that stands in the page."""
    from open_clip_models import module_of

    blocks = {"width": 32, "layers": 4}
    config = {
        "embed_dim": 16,
        "vision_cfg": {**blocks, "image_size": 64, "head_width": 16, "patch_size": 8},
        "text_cfg": {**blocks, "context_length": 77, "vocab_size": 49408, "heads": 2},
    }
    torch.save(module_of(config).state_dict(), folder / "my-open-clip.pt")


def imagebind(folder: Path) -> None:
    """A small one under the published file's name, with its sizes beside it."""
    import naive_imagebind

    torch.save(naive_imagebind.random_state(naive_imagebind.SMALL, seed=0), folder / "imagebind_huge.pth")
    (folder / "config.json").write_text(json.dumps(naive_imagebind.SMALL))
