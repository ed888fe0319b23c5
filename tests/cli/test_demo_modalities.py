"""``m2ib demo --modalities``: one scene in six modalities, every pair on one page."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import m2ib
from m2ib.cli import main
from m2ib.cli.modalities import MODALITIES, CrossModalPair, SceneInput, pointed, scene_pairs, verdict
from m2ib.contract.attribution import Attribution
from m2ib.scenes import Scene, scene


def test_scene_pairs_are_the_21_pairs() -> None:
    for seed in range(4):
        asked = scene_pairs(seed)
        modalities = [tuple(sorted(side.modality for side in pair)) for pair in asked]
        assert sorted(modalities) == sorted(
            tuple(sorted(pair)) for pair in itertools.combinations_with_replacement(MODALITIES, 2)
        )
        for pair in asked:
            first, second = pair
            assert len(first.scene.kinds) == 2
            assert first.kind == second.kind
            assert set(first.scene.kinds) & set(second.scene.kinds) == {first.kind}
            assert len(second.scene.kinds) == (2 if first.modality == second.modality else 1)
        whole = Counter(pair.first.modality for pair in asked)
        assert min(whole[modality] for modality in MODALITIES) >= 2  # the two of one modality counted
        assert len({pair.first.kind for pair in asked}) == 2


def test_a_pair_in_words() -> None:
    whole, alone = scene(0, kinds=("bell", "car")), scene(1, kinds=("car",))
    different = CrossModalPair(SceneInput("image", whole, "car"), SceneInput("audio", alone, "car"))
    assert different.title == "image and audio: car"
    assert different.asked == (
        "The image shows a bell and a car, the audio has the sound of a car alone: where is that?"
    )
    beside = scene(2, kinds=("frog", "bell"))
    same = CrossModalPair(SceneInput("imu", whole, "bell"), SceneInput("imu", beside, "bell"))
    assert same.asked == (
        "One imu has the vibration of a bell and a car, the other has the vibration of a frog and a bell: "
        "what have they in common?"
    )


def test_a_query_says_neither_colour_nor_size() -> None:
    (side,) = (
        side
        for pair in scene_pairs(3)
        for side in pair
        if {s.modality for s in pair} == {"image", "text"} and side.modality == "text"
    )
    assert side.scene.text == f"a photo of a {side.kind}"
    (words,) = side.scene.axes["text"]
    ((start, end),) = (
        span for span, here in zip(words.spans, side.scene.masks["text"][side.kind], strict=True) if here
    )
    assert side.scene.text[int(start) : int(end)] == side.kind


def kind_at(shown: Scene, modality: str, attribution: Attribution, cell: tuple[int, ...]) -> str | None:
    """By hand: what lies at the middle of a cell. None for a cell at a border, beyond which a map stays as it is."""
    masks = shown.masks[modality]
    if modality == "text":
        token = attribution.layout.tokens[cell[0]]
        word = shown.text[token.start : token.end].strip()
        return None if token.special else word if word in masks else ""
    if modality == "image":
        if {0, 7} & set(cell):
            return None
        row, column = (7 + 14 * n - 1 for n in cell)  # the first of the four around the middle
        return next((kind for kind, mask in masks.items() if mask[row, column]), "")
    spans = attribution.axes[-1].spans
    if cell[-1] in (0, len(spans) - 1):
        return None
    times = np.array(shown.axes[modality][1].spans)
    moment = int(np.abs(times.mean(1) - np.mean(spans[cell[-1]]) + 1e-9).argmin())
    return next((kind for kind, mask in masks.items() if mask[:, moment].any()), "")


@pytest.mark.parametrize("pair", [("image", "text"), ("audio", "imu")])
def test_where_a_map_is_highest(pair: tuple[str, str]) -> None:
    """Every cell in turn, against the masks."""
    shown = scene(2, kinds=("bell", "car"))
    with pytest.warns(m2ib.M2IBWarning, match="random"):
        model = m2ib.load_model("imagebind-tiny", checkpoint="random", device="cpu")
    inputs = [(name, shown.inputs[name]) for name in pair]
    explanation = m2ib.explain(model, *inputs, steps=1, samples=1, show_progress=False)
    for place, modality in enumerate(pair):
        side, attribution = SceneInput(modality, shown, "car"), explanation[place]
        seen = set()
        for cell in np.ndindex(attribution.grid.shape):
            expected = kind_at(shown, modality, attribution, cell)
            if expected is None:
                continue
            grid = np.zeros_like(attribution.grid)
            grid[cell] = 1
            one = dataclasses.replace(attribution, grid=grid)
            first, second = (one if n == place else explanation[n] for n in (0, 1))
            changed = m2ib.Explanation((first, second), 0.0)
            assert pointed(changed, place, side) == expected, (modality, cell)
            where = f"on the {expected}" if expected else "on no object"
            assert verdict(changed, place, side) == (expected == "car", f"{modality}: highest {where}")
            seen.add(expected)
        assert seen == {"", "bell", "car"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("demo") / "out"
    options = (
        "--modalities",
        "--checkpoint",
        "random",
        "--device",
        "cpu",
        "--seed",
        "4",
        "--preset",
        "sharp",
    )
    assert main(["demo", *options, "--out", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {"index.html", "m2ib-folder.json"}
    return (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_holds_every_pair(page: str) -> None:
    assert len(page) < 6_000_000
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|url\(\s*["']?http""", page)
    titles = re.findall(r'<article id="e(\d+)">\s*<h2>([^<]*) <small>m2ib</small></h2>', page)
    assert [int(number) for number, _ in titles] == list(range(21))
    assert [title for _, title in titles] == [pair.title for pair in scene_pairs(4)]
    for pair in scene_pairs(4):
        assert pair.asked in page


def test_the_matrix_leads_to_every_pair_from_both_sides(page: str) -> None:
    cells = re.findall(r'<a href="#e(\d+)" class="crossing( several)?" title="(\w+): highest ([\w ]+)" [^>]*>'
                       r'<img src="data:image/png;base64,[^"]+" alt=""><span>(\w+) (.)</span>', page)  # fmt: skip
    assert len(cells) == 36
    asked = scene_pairs(4)
    for (row, column), (number, several, modality, where, kind, mark) in zip(
        itertools.product(MODALITIES, repeat=2), cells, strict=True
    ):
        pair = asked[int(number)]
        assert sorted((row, column)) == sorted(side.modality for side in pair)
        assert modality == row
        assert kind == pair.first.kind
        assert bool(several) == (pair.first.modality == row)
        assert (mark == "✓") == (where == f"on the {kind}")
    true = sum(mark == "✓" for _, several, *_, mark in cells if several)
    assert f"{true} of 21 do" in page


def test_the_page_shows_the_scene_and_outlines_what_is_known(page: str) -> None:
    overview = page[page.index('<section class="overview">') : page.index('<article id="e0">')]
    assert re.findall(r'<section class="view (\w+)">', overview) == list(MODALITIES)
    assert overview.count("<audio controls") == 1
    first, second = scene_pairs(4)[0].first.scene.kinds
    assert f"A made-up scene with a {first} and a {second}" in " ".join(overview.split())
    assert "region main" in overview
    assert not re.search('class="region"|class="word known"', overview)  # nothing is asked yet
    cards = page[page.index('<article id="e0">') :]
    assert cards.count("<audio controls") == 7
    for kind in (first, second):
        assert f'<g class="region" data-name="{kind}">' in cards
        assert f'<g class="region main" data-name="{kind}">' in cards


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "sharp"], "demo: --preset goes with --modalities"),
        (["--model", "clip"], "demo: --model goes with --modalities"),
        (
            ["--modalities", "--model", "photo"],
            "demo: --modalities needs image, text, audio, depth, thermal, imu; the model 'photo' takes image, text",
        ),
        (
            ["--modalities", "--checkpoint", "random", "--preset", "sharper"],
            "preset for image: 'sharper' is unknown; did you mean 'sharp'?",
        ),
        (
            ["--modalities", "--checkpoint", "random", "--seed", "-1"],
            "scenes: seed=-1 is not a whole number >= 0",
        ),
        (["--modalities", "--beta", "1"], "demo: '--beta' is not an option of this command"),
    ],
)
def test_bad_options_give_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *options, "--device", "cpu", "--out", str(tmp_path / "x")]) == 2
    out, err = capsys.readouterr()
    (line,) = (line for line in err.splitlines() if "warning" not in line)
    assert line.startswith(f"m2ib: error: {message}")
    assert out == ""
    assert not (tmp_path / "x").exists()
