"""What stands at a path and is no file: nothing waits for it, and nothing reads it without end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import m2ib
from m2ib.cli import main
from m2ib.data import open_pairs
from m2ib.data.boxes import read_boxes
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.films import open_film
from m2ib_adapters.inputs.images import open_image
from m2ib_adapters.inputs.imu import ImuPreparation
from m2ib_adapters.inputs.thermal import ThermalPreparation

SAID = {
    "pipe": "is a pipe, which may never end; give a file, or what it holds as bytes",
    "socket": "is a socket, which may never end; give a file",
    "device": "is a device, which may never end; give a file",
    "folder": "is a folder; name a file",
    "link": "is a pipe, which may never end; give a file, or what it holds as bytes",
}
READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "png": ("image", open_image),
    "dcm": ("image", open_image),
    "tif": ("thermal", ThermalPreparation().prepare),
    "npy": ("depth", DepthPreparation().prepare),
    "exr": ("depth", DepthPreparation().prepare),
    "wav": ("audio", AudioPreparation().prepare),
    "mp3": ("audio", AudioPreparation().prepare),
    "mp4": ("video", open_film),
    "txt": ("imu", ImuPreparation().prepare),
    "npz": ("imu", ImuPreparation().prepare),
    "json": ("boxes", read_boxes),
    "boxes.csv": ("boxes", read_boxes),
    "csv": ("data", open_pairs),
    "jsonl": ("data", open_pairs),
}


@pytest.fixture(params=SAID)
def strange(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Callable[[str], Path], str]]:
    """Puts one of them under a name that ends so, and what is said of it."""
    kind: str = request.param
    opened = socket.socket(socket.AF_UNIX)

    def put(suffix: str) -> Path:
        path = tmp_path / f"x.{suffix}"
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            opened.bind(str(path))
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            os.mkfifo(tmp_path / "there")
            path.symlink_to(tmp_path / "there")
        return path

    yield put, SAID[kind]
    opened.close()


@pytest.mark.parametrize("suffix", READERS)
def test_no_reader_waits(strange: tuple[Callable[[str], Path], str], suffix: str) -> None:
    put, said = strange
    kind, read = READERS[suffix]
    path = put(suffix)
    with pytest.raises(m2ib.InputError) as caught:
        read(path)
    assert str(caught.value) == f"{kind} {str(path)!r} {said}"


def test_no_configuration_is_waited_for(
    strange: tuple[Callable[[str], Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    put, said = strange
    path = put("yaml")
    assert main(["explain", "--config", str(path)]) == 2
    assert capsys.readouterr().err.strip().endswith(f"config {str(path)!r} {said}")


def test_a_file_behind_a_number(tmp_path: Path) -> None:
    """As of /dev/stdin, where it is a file."""
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "x.png")
    with (tmp_path / "x.png").open("rb") as file:
        assert open_image(f"/dev/fd/{file.fileno()}")[0].size == (8, 8)
