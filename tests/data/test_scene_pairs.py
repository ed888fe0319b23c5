"""Pairs out of the made-up scenes."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest

import m2ib.data.made_up as made_up
from m2ib.data import open_pairs, take
from m2ib.errors import SettingError
from m2ib.scenes import query
from m2ib.scenes.questions import questions


@pytest.mark.parametrize("modality", ["image", "text", "audio", "depth", "thermal", "imu"])
def test_they_are_the_benchmarks(modality: str) -> None:
    pairs = open_pairs("scenes", modality=modality, count=5, seed=3)
    assert (pairs.name, pairs.modalities, pairs.located) == (f"scenes: {modality}", (modality, "text"), True)
    asked = questions("test", 3, 5)
    for pair, question in zip(pairs, asked, strict=True):
        scene, kind = question.scene, question.kind
        assert pair.id == str(scene.seed)
        (name, raw), (other, text) = pair.inputs
        assert (name, other, text) == (modality, "text", query(kind))
        wanted = scene.inputs[modality]
        assert raw == wanted if modality == "text" else np.array_equal(raw[0], wanted[0])
        (region,) = pair.regions.values()
        assert list(pair.regions) == [0]
        assert (region.name, region.axes) == (kind, scene.axes[modality])
        assert np.array_equal(region.mask, scene.masks[modality][kind])
        assert pair.boxes == ()
    assert pairs.bad == []


def test_they_are_made_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(split: str, seed: int, count: int) -> Any:
        made.append(count)
        return questions(split, seed, count)

    monkeypatch.setattr("m2ib.scenes.questions.questions", counted)
    monkeypatch.setattr(made_up, "_AT_FIRST", 4)
    pairs = open_pairs("scenes", count=11, split="tune")
    assert made == []
    assert len(list(islice(pairs, 3))) == 3
    assert made == [4]
    ids = [pair.id for pair in pairs]
    assert ids == [str(question.scene.seed) for question in questions("tune", 0, 11)]
    assert made == [4, 4, 8, 11]
    assert [pair.id for pair in take(pairs, 2, skip=3)] == ids[3:5]
    assert [pair.id for pair in open_pairs("scenes", count=1, split="tune")] == ids[:1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"modality": "images"},
            "data format 'scenes': modality='images' is none of theirs; did you mean 'image'? They have image, text, "
            "audio, depth, thermal, imu; open them once for each of several",
        ),
        (
            {"modality": ["image", "audio"]},
            "data format 'scenes': modality is one value, not ['image', 'audio']",
        ),
        ({"count": 0}, "data format 'scenes': count=0 is no whole number from 1"),
        ({"count": "7"}, "data format 'scenes': count='7' is no whole number from 1"),
        ({"count": 1_000_000}, "benchmark: scenes=1000000 is out of range; give 2 to 250,000"),
        ({"split": "train"}, "benchmark: split 'train' is unknown; it is 'test' or 'tune'"),
        ({"seed": -1}, "benchmark: seed -1 is out of range; the split 'test' has the seeds 0 to 399"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingError) as caught:
        open_pairs("scenes", **options)
    assert str(caught.value).startswith(reason)
