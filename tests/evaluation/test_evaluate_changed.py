"""Pictures, captions, boxes, weights or a model's preparation that are other ones under the same names: figures are those of the new."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib
from m2ib.data import Pair, Pairs, Row
from m2ib.errors import InputError, StorageError
from m2ib.evaluation.results import Results, read_results
from m2ib.evaluation.run import evaluate
from m2ib.evaluation.store import Store
from m2ib.evaluation.study import Study
from m2ib.renderers import Box
from toy import toy_model

STUDY = Study(
    ("gradcam",),
    ("drop", "iou", "rank-correlation", "sanity"),
    seeds=(0, 1),
    batch_size=2,
    sanity_pairs=2,
    sanity_stages=2,
)


@dataclass
class World:
    """Four pairs of files and words, and a model that reads them."""

    folder: Path
    model: m2ib.Model
    brightness: float = 1.0

    def __post_init__(self) -> None:
        self.words = [f"a dog on {number} red sofas" for number in range(4)]
        self.boxes = [Box(1, 1, 3, 4) for _ in range(4)]
        self.folder.mkdir()
        for number in range(4):
            self.paint(number, number)
        image = self.model.encoder("image")

        def prepare(raw: Any, *, truncate: bool = False) -> m2ib.Item:
            try:
                with Image.open(raw) as picture:
                    array = np.asarray(picture) / 255
            except OSError as error:
                raise InputError(f"image {raw.name!r}: cannot be read") from error
            return image.prepare(array * self.brightness, truncate=truncate)

        self.model = replace(
            self.model, encoders={**self.model.encoders, "image": replace(image, prepare=prepare)}
        )

    def paint(self, number: int, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(self.folder / f"{number}.bmp")  # all of one size

    def pair(self, number: int) -> Pair:
        inputs = (("image", self.folder / f"{number}.bmp"), ("text", self.words[number]))
        return Pair(f"p{number}", inputs, (self.boxes[number],))

    def rows(self) -> Iterator[Row]:
        for number in range(4):
            yield Row(f"line {number}", lambda number=number: self.pair(number))  # type: ignore[misc]

    def evaluate(self, folder: Path) -> Results:
        pairs = Pairs("files", ("image", "text"), self.rows, located=True)
        return read_results(evaluate(self.model, pairs, STUDY, folder, show_progress=False))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data", toy_model())


def repaint(world: World) -> None:
    before = (world.folder / "3.bmp").stat()
    world.paint(3, 77)
    os.utime(world.folder / "3.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (world.folder / "3.bmp").stat().st_size == before.st_size


def reword(world: World) -> None:
    world.words[3] = "a cat"


def correct(world: World) -> None:
    world.boxes[3] = Box(4, 3, 2, 2)


def train(world: World) -> None:
    weight = world.model.module.image_head.weight
    assert isinstance(weight, torch.Tensor)
    weight.data[0] += 0.5


def darken(world: World) -> None:
    world.brightness = 0.5


PAIR = "evaluate: the pair 'p3' has changed since; what has changed is computed again"
ALL = "evaluate: the model's weights or files have changed since; everything is computed again"
WAY = (
    "evaluate: the pair 'p0' has changed since: the model makes inputs ready in another way; what has changed is "
    "computed again"
)


@pytest.mark.parametrize(
    ("change", "said", "kept"),
    [
        (repaint, PAIR, "p0 p1"),
        (reword, PAIR, "p0 p1"),
        (correct, PAIR, "p0 p1"),
        (train, ALL, ""),
        (darken, WAY, ""),
    ],
)
def test_what_has_changed_is_told_and_computed_again(
    world: World, tmp_path: Path, change: Callable[[World], None], said: str, kept: str
) -> None:
    before = world.evaluate(tmp_path / "out")
    first = took(tmp_path / "out")
    change(world)
    with pytest.warns(m2ib.M2IBWarning) as told:
        found = world.evaluate(tmp_path / "out")
    assert [str(each.message) for each in told] == [said]
    anew = world.evaluate(tmp_path / "anew")
    assert figures(found) == figures(anew)
    assert figures(found) != figures(before)
    assert found.curves == anew.curves
    then = took(tmp_path / "out")
    assert {pair for _, pair in first if all(first[key] == then[key] for key in first if key[1] == pair)} == {
        *kept.split()
    }
    assert figures(world.evaluate(tmp_path / "out")) == figures(found)  # without a word


def figures(results: Results) -> str:
    """Whole, to the last bit."""
    return repr(
        [
            (table.side, key, dict(cell.samples), cell.found)
            for table in results.tables
            for key, cell in table.cells.items()
        ]
    )


def took(folder: Path) -> dict[tuple[str, str], float]:
    """The seconds of each map of a method and pair: another number means that it was made again."""
    with Store(folder) as store:
        rows = store._read("SELECT method, pair, seconds FROM maps WHERE seconds IS NOT NULL AND side = 0")
    return {(method, pair): seconds for method, pair, seconds in rows}


def test_files_that_were_copied_are_the_same(world: World, tmp_path: Path) -> None:
    world.evaluate(tmp_path / "out")
    first = took(tmp_path / "out")
    for path in world.folder.iterdir():
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    world.evaluate(tmp_path / "out")
    assert took(tmp_path / "out") == first


def test_a_pair_that_is_gone_takes_nothing_with_it(world: World, tmp_path: Path) -> None:
    before = world.evaluate(tmp_path / "out")
    held = (world.folder / "3.bmp").read_bytes()
    (world.folder / "3.bmp").unlink()
    with pytest.raises(StorageError) as caught:
        world.evaluate(tmp_path / "out")
    assert str(caught.value) == (
        "the pair 'p3' could be used when this evaluation began, and cannot now: image '3.bmp': cannot be read; bring it "
        "back, or begin anew with --force"
    )
    (world.folder / "3.bmp").write_bytes(held)
    assert figures(world.evaluate(tmp_path / "out")) == figures(before)


def test_a_description_that_has_changed_in_its_folder(tmp_path: Path) -> None:
    """The weights are the same, and what is made of them is not."""
    from toy import save_clip_with_words

    folder = save_clip_with_words(tmp_path / "clip")
    pictures = [np.random.default_rng(number).random((64, 64, 3)) for number in range(3)]

    def rows() -> Iterator[Row]:
        for number, picture in enumerate(pictures):
            yield Row(
                f"{number}", lambda n=number, p=picture: Pair(str(n), (("image", p), ("text", "a dog")))
            )  # type: ignore[misc]

    def run(out: Path) -> Results:
        model = m2ib.load_model("clip", checkpoint=folder, device="cpu")
        study = Study(("gradcam",), ("drop",), seeds=(0,), batch_size=1, controls=False)
        return read_results(
            evaluate(model, Pairs("p", ("image", "text"), rows), study, out, show_progress=False)
        )

    before = run(tmp_path / "out")
    assert figures(run(tmp_path / "out")) == figures(before)
    config = json.loads((folder / "config.json").read_text())
    for part in ("vision_config", "text_config"):
        config[part]["hidden_act"] = "gelu" if config[part].get("hidden_act") != "gelu" else "relu"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.warns(m2ib.M2IBWarning, match="the model's weights or files have changed since"):
        found = run(tmp_path / "out")
    assert figures(found) == figures(run(tmp_path / "anew"))
    assert figures(found) != figures(before)
