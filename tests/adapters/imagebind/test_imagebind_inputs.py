"""From files of every kind to pages, by the adapter as it is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import m2ib
import naive_imagebind
import tiny_imagebind
from m2ib.cli import main
from m2ib.testing import check_adapter
from tiny_imagebind import TinyImageBind

RATE = 8000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Two raw inputs of each kind; all but the texts are files."""
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    found: dict[str, list[Any]] = {"text": ["a dog barks", "a motorcycle stands in front of a wooden fence"]}
    for number in (0, 1):
        pixels = random.integers(0, 255, (60, 80 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photo{number}.png")
        metres = np.linspace(1, 4 + number, 60 * 80).reshape(60, 80)
        Image.fromarray((metres * 1000).astype(np.uint16)).save(folder / f"depth{number}.png")
        Image.fromarray(pixels[..., 0]).save(folder / f"thermal{number}.png")
        seconds = np.arange((3 + number) * RATE) / RATE
        soundfile.write(
            folder / f"sound{number}.wav", 0.3 * np.sin(2 * np.pi * (400 + 300 * number) * seconds), RATE
        )
        walk = random.normal(0, 1, (1000, 6))
        walk[:, 2] += 9.81
        rows = np.column_stack([np.arange(1000) / 200, walk])
        header = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
        np.savetxt(folder / f"walk{number}.csv", rows, delimiter=",", header=header, comments="")
        with av.open(str(folder / f"film{number}.mkv"), "w") as film:
            stream = film.add_stream("ffv1", rate=8)
            stream.width, stream.height = 80, 60
            for _ in range(20 + 4 * number):
                frame = random.integers(0, 255, (60, 80, 3), dtype=np.uint8)
                film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            film.mux(stream.encode())
    kinds = {
        "image": "photo{}.png",
        "video": "film{}.mkv",
        "audio": "sound{}.wav",
        "depth": "depth{}.png",
        "thermal": "thermal{}.png",
        "imu": "walk{}.csv",
    }
    for modality, name in kinds.items():
        found[modality] = [folder / name.format(number) for number in (0, 1)]
    return found


def test_the_adapter_keeps_the_contract(small: TinyImageBind, files: dict[str, list[Any]]) -> None:
    results = check_adapter(small.model, files)
    assert {result.modality for result in results} >= set(files)


KINDS = ("image", "video", "audio", "depth", "thermal", "imu")
GRIDS = {**tiny_imagebind.GRIDS, "video": (15, 4, 4)}
AXES = {
    "image": ["row px", "column px"],
    "video": ["clip s", "row px of the crop", "column px of the crop"],
    "audio": ["clip s", "frequency Hz", "time s"],
    "depth": ["row px", "column px"],
    "thermal": ["row px", "column px"],
    "imu": ["time s"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_explained_saved_and_shown(
    kind: str, small: TinyImageBind, files: dict[str, list[Any]], tmp_path: Path
) -> None:
    explanation = m2ib.explain(
        small.model, (kind, files[kind][0]), ("text", files["text"][1]), layer=0, steps=2, samples=2
    )
    attribution = explanation[kind]
    assert attribution.grid.shape == GRIDS[kind]
    assert [f"{axis.name} {axis.unit}" for axis in attribution.axes] == AXES[kind]
    assert tuple(len(axis.spans) for axis in attribution.axes) == GRIDS[kind]
    assert attribution.scores.min() == 0
    assert attribution.scores.max() == 1
    again = m2ib.load_explanation(explanation.save(tmp_path / "saved"))
    np.testing.assert_array_equal(again[kind].grid, attribution.grid)
    assert again[kind].axes == attribution.axes
    np.testing.assert_array_equal(again[kind].scores, attribution.scores)
    pages = [each.to_html(tmp_path / f"{n}.html").read_text() for n, each in enumerate((explanation, again))]
    assert pages[0] == pages[1]
    assert ("<audio" in pages[0]) == (kind == "audio")
    explanation.figure().savefig(tmp_path / "figure.png")


@pytest.mark.parametrize(
    "pair",
    [("audio", "image"), ("depth", "text"), ("imu", "thermal"), ("video", "audio"), ("image", "image")],
)
def test_the_command_line_takes_any_pair(
    pair: tuple[str, str],
    small: TinyImageBind,
    files: dict[str, list[Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "settings.yaml"
    sizes = json.dumps(naive_imagebind.SMALL)
    config.write_text(
        f"model: imagebind\ncheckpoint: {small.path}\ndevice: cpu\noptions: {{architecture: {sizes}}}\n"
    )
    inputs = [word for n, kind in enumerate(pair) for word in (f"--{kind}", str(files[kind][n]))]
    if pair[0] == "depth":
        inputs[1] = f"{{depth: {inputs[1]}, unit: m}}"
    out = tmp_path / "out"
    options = ["options.depth.sensor=xtion", "options.video.crops=1", "steps=2", "samples=2", "layer=0"]
    code = main(["explain", "--config", str(config), *inputs, *options, "--out", str(out)])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert (out / "index.html").is_file()
    explanation = m2ib.load_explanation(out)
    assert explanation.modalities == pair
    if "depth" in pair:
        assert explanation["depth"].origin["camera"]["baseline"] == 0.095  # of all depths
        assert explanation["depth"].origin["unit"] == "m"  # of this one


def test_an_input_can_bring_its_own_options(small: TinyImageBind, files: dict[str, list[Any]]) -> None:
    items = [
        small.model.item("depth", {"depth": files["depth"][0], "baseline": baseline})
        for baseline in (0.05, 0.1)
    ]
    near, far = (item.inputs.mean() for item in items if isinstance(item.inputs, torch.Tensor))
    assert far > near


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": {"sensr": "xtion"}}, "depth: no option 'sensr'; there are "),
        ({"audio": {"clips": 0}}, "audio: clips is"),
        ({"video": 3}, 'imagebind: video is a dict of options, not int; as in video={"crops": 1}'),
        ({"imu": {"accelerometer_unit": "furlong"}}, "imu: accelerometer_unit is one of"),
        ({"thermal": {"lo": 1}}, "thermal: no option 'lo'"),
    ],
)
def test_options_of_preparations_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        m2ib.load_model("imagebind", device="meta", **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("module", "kind", "extra"),
    [("soundfile", "audio", "imagebind"), ("torchaudio", "audio", "imagebind"), ("av", "video", "video")],
)
def test_what_is_missing_is_named(
    module: str,
    kind: str,
    extra: str,
    small: TinyImageBind,
    files: dict[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(m2ib.M2IBError, match=rf"pip install 'm2ib\[{extra}\]'"):
        small.model.item(kind, files[kind][0])
