"""Segments as the units of a map: what is summed, what is hidden, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import binary_dilation

import m2ib
from m2ib.methods.base import Batch
from m2ib.methods.hiding import Hidden
from m2ib.page.explanation import render_page
from m2ib.pipeline import prepare
from m2ib.registry.plan import plan_of
from m2ib.renderers import SoundView
from m2ib.scenes import scene
from m2ib.units.rules import onset_times
from toy import BOS, EOS, PAD, toy_model

PIXELS = torch.randn(3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
IDS = torch.tensor([BOS, 5, 9, 33, 17, EOS])
LABELS = np.zeros((8, 8), np.int64)  # crosses the 2 x 2 pixels of cells
LABELS[:3, :5], LABELS[3:, :5], LABELS[5:, 5:] = 1, 2, 3
WHOLE = np.where(LABELS == 0, 3, LABELS)


@pytest.fixture(scope="module")
def toy64() -> m2ib.Model:
    model = toy_model()
    return m2ib.Model(model.module.double(), model.encoders, model.device, torch.float64, model.origin)


@pytest.fixture(scope="module")
def tiny() -> m2ib.Model:
    return m2ib.load_model("imagebind-tiny")


def cosine(model: m2ib.Model, image: torch.Tensor, ids: torch.Tensor) -> float:
    a, b = model.module.embed_image(image[None])[0], model.module.embed_text(ids[None])[0]
    return float(a @ b / a.norm() / b.norm())


def enumerated(players: int, v: Callable[[frozenset[int]], float]) -> list[float]:
    """Shapley values as their definition has them, by all coalitions."""
    found = []
    for player in range(players):
        others = [other for other in range(players) if other != player]
        total = 0.0
        for size in range(players):
            weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            for some in itertools.combinations(others, size):
                total += weight * (v(frozenset([*some, player])) - v(frozenset(some)))
        found.append(total)
    return found


def shown(labels: np.ndarray) -> Callable[[Sequence[int]], torch.Tensor]:
    """The picture where all segments but these, counted from 0, are hidden."""
    return lambda kept: PIXELS * torch.from_numpy(np.isin(labels, [0, *(each + 1 for each in kept)]))


# Hidden as one


def test_kernel_shap_over_three_segments_is_the_sum_over_all_coalitions(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(toy64, image=PIXELS, text=IDS, method="kernelshap", units={"image": WHOLE})
    hide = shown(WHOLE)
    naive = enumerated(3, lambda kept: cosine(toy64, hide([*kept]), IDS))
    assert [name for name, _ in exp["image"].units] == ["1", "2", "3"]
    np.testing.assert_allclose([value for _, value in exp["image"].units], naive, atol=1e-6)
    assert sum(naive) == pytest.approx(exp.similarity - cosine(toy64, hide([]), IDS), abs=1e-6)
    # a cell has the mean of its pixels' segments
    each = np.array(naive)[WHOLE - 1].reshape(4, 2, 4, 2).mean((1, 3))
    np.testing.assert_allclose(exp["image"].grid, each, atol=1e-6)
    assert not exp["image"].additive


def test_what_is_in_no_segment_is_one_more(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(toy64, image=PIXELS, text=IDS, method="kernelshap", units={"image": LABELS})
    four = np.where(LABELS == 0, 4, LABELS)
    hide = shown(four)
    naive = enumerated(4, lambda kept: cosine(toy64, hide([*kept]), IDS))
    assert [name for name, _ in exp["image"].units] == ["1", "2", "3", "rest"]
    np.testing.assert_allclose([value for _, value in exp["image"].units], naive, atol=1e-6)


def test_rise_over_few_segments_is_the_expectation_itself(toy64: m2ib.Model) -> None:
    units = {"image": WHOLE}
    exp = m2ib.explain(toy64, image=PIXELS, text=IDS, method="rise", masks=64, keep=0.3, units=units)
    hide = shown(WHOLE)
    for player, (_, value) in enumerate(exp["image"].units):
        top = below = 0.0
        for kept in itertools.product([0, 1], repeat=3):
            weight = math.prod(0.3 if there else 0.7 for there in kept)
            if kept[player]:
                top += weight * cosine(toy64, hide(np.flatnonzero(kept).tolist()), IDS)
                below += weight
        assert value == pytest.approx(top / below, abs=1e-6)


def test_rise_draws_masks_of_segments_where_there_are_many(toy64: m2ib.Model) -> None:
    exact, drawn = (
        dict(
            m2ib.explain(toy64, image=PIXELS, text=IDS, method="rise", masks=masks, units={"image": WHOLE})[
                "image"
            ].units
        )
        for masks in (8, 7)
    )
    assert exact.keys() == drawn.keys()
    assert exact != drawn  # seven masks are not all eight
    labels = np.arange(64).reshape(8, 8) + 1
    many = m2ib.explain(toy64, image=PIXELS, text=IDS, method="rise", masks=300, units={"image": labels})
    assert len(many["image"].units) == 64


def test_words_are_hidden_as_phrases(toy64: m2ib.Model) -> None:
    text = "two cats asleep on a sofa"
    ids = toy64.item("text", text).inputs
    phrases = ["two cats", "a sofa"]
    exp = m2ib.explain(toy64, image=PIXELS, text=text, method="kernelshap", units={"text": phrases})
    of = np.array([1, 1, 3, 3, 2, 2])  # of each word; the others are the rest

    def v(kept: frozenset[int]) -> float:
        hidden = ids.clone()
        hidden[1:-1][torch.from_numpy(~np.isin(of - 1, [*kept]))] = PAD
        return cosine(toy64, PIXELS, hidden)

    assert [name for name, _ in exp["text"].units] == [*phrases, "rest"]
    np.testing.assert_allclose([value for _, value in exp["text"].units], enumerated(3, v), atol=1e-6)
    assert dict(exp["text"].words)["cats"] == pytest.approx(exp["text"].units[0][1])


def test_the_mean_over_seeds_is_that_of_units_too(toy64: m2ib.Model) -> None:
    labels = np.arange(64).reshape(8, 8) + 1  # too many for all coalitions
    options: dict[str, Any] = {"method": "kernelshap", "masks": 30, "units": {"image": labels}}
    both = m2ib.explain(toy64, image=PIXELS, text=IDS, seeds=2, **options)["image"].units
    each = [m2ib.explain(toy64, image=PIXELS, text=IDS, seed=n, **options)["image"].units for n in (0, 1)]
    assert [value for _, value in both] == pytest.approx(
        [(one + other) / 2 for (_, one), (_, other) in zip(*each, strict=True)]
    )


def hidden_of(model: m2ib.Model, modality: str, raw: Any, other: tuple[str, Any], units: Any) -> Hidden:
    plan = plan_of("kernelshap", {}, units={modality: units})
    item = prepare(model, [(modality, raw), other], plan)[0].item
    (found,) = Hidden.each(Batch(model, modality, [item], model.collate(modality, [item])), 0)
    return found


def test_hiding_a_segment_hides_its_pixels_as_the_model_sees_them(tiny: m2ib.Model) -> None:
    """A photo of another shape than the model's input: resized and cropped, and so is the mask, pixel for pixel."""
    mask = np.zeros((96, 160), bool)
    mask[30:70, 50:100] = True
    photo = np.random.default_rng(0).integers(60, 200, (96, 160, 3), np.uint8)
    marked = photo.copy()
    marked[mask] = 255 - marked[mask]  # changes there alone
    text = ("text", "a photo of a frog")
    one = hidden_of(tiny, "image", photo, text, {"thing": mask})
    keep = one.by_player(np.array([[False, True]])).cpu()[0]  # the thing is hidden, the rest is left
    first, second = (tiny.item("image", raw).inputs for raw in (photo, marked))
    differs = (first - second).abs().amax(0).numpy() > 0
    hidden = keep.numpy() == 0
    assert 0 < hidden.mean() < 0.5
    assert (hidden <= differs).all()  # what is hidden is the thing's
    edge = differs & ~hidden  # resizing smears its border over a pixel or two, and no more
    assert (edge <= binary_dilation(hidden, iterations=3)).all()


def test_a_segment_of_a_sound_is_hidden_in_its_seconds(tiny: m2ib.Model) -> None:
    s = scene(seed=13)
    axes = (m2ib.Axis("time", "s", ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0))),)
    middle = m2ib.Region("middle", np.array([False, True, False]), axes)
    one = hidden_of(tiny, "audio", s.audio, ("text", "a photo of a frog"), [middle])
    keep = one.by_player(np.array([[False, True]])).cpu()[0]  # (clips, bands, frames)
    view = tiny.item("audio", s.audio).view
    for clip, (start, _) in enumerate(view.clips):
        frames = np.flatnonzero((keep[clip] == 0).all(0).numpy())
        assert frames.size
        seconds = start + frames * view.step
        assert seconds[0] == pytest.approx(0.5, abs=0.02)
        assert seconds[-1] == pytest.approx(1.0, abs=0.025)
        assert (keep[clip][:, frames] == 0).all()


# Summed


def test_sums_over_a_label_mask_are_those_of_every_pixel(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(toy64, image=PIXELS, text=IDS, units={"image": LABELS})
    image = exp["image"]
    spread = np.kron(image.grid / 4, np.ones((2, 2)))  # a cell is 2 x 2 pixels
    for name, value in image.units:
        there = (0 if name == "rest" else int(name)) == LABELS
        assert value == pytest.approx(spread[there].sum(), rel=1e-6), name
        assert value == pytest.approx(image.at_input_size(density=True)[there].sum(), rel=1e-6)
    assert sum(value for _, value in image.units) == pytest.approx(image.grid.sum(), rel=1e-6)


def test_values_that_do_not_add_up_are_a_mean_over_pixels(toy64: m2ib.Model) -> None:
    plan = {"method": "uniform", "units": {"image": LABELS}}
    assert [value for _, value in m2ib.explain(toy64, image=PIXELS, text=IDS, **plan)["image"].units] == [
        1.0
    ] * 4
    exp = m2ib.explain(toy64, image=PIXELS, text=IDS, method="random", units={"image": LABELS})
    at_pixels = np.kron(exp["image"].grid, np.ones((2, 2)))
    assert exp["image"].units[0][1] == pytest.approx(at_pixels[LABELS == 1].mean())


def test_phrases_have_the_sums_of_their_words(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(
        toy64, image=PIXELS, text="two cats asleep on a sofa", units={"text": ["two cats", (19, 25)]}
    )
    words = dict(exp["text"].words)
    assert dict(exp["text"].units) == pytest.approx(
        {
            "two cats": words["two"] + words["cats"],
            "a sofa": words["a"] + words["sofa"],
            "rest": words["asleep"] + words["on"],
        }
    )
    every = m2ib.explain(toy64, image=PIXELS, text="two cats asleep", units={"text": m2ib.words()})["text"]
    assert [name for name, _ in every.units] == ["two", "cats", "asleep"]
    assert [value for _, value in every.units] == pytest.approx([value for _, value in every.words])


def test_a_crop_leaves_out_what_the_model_does_not_see() -> None:
    """CLIP's crop of the middle: a mask at the left border is not seen, one across the edge counts with its part inside."""
    model = m2ib.load_model("imagebind-tiny")
    photo = np.random.default_rng(0).integers(0, 255, (64, 256, 3), np.uint8)
    left, across = np.zeros((64, 256), bool), np.zeros((64, 256), bool)
    left[:, :20], across[:, 60:130] = True, True
    with pytest.warns(m2ib.M2IBWarning, match="units of image: the model sees nothing of 'left'; left out"):
        exp = m2ib.explain(
            model, image=photo, text="a photo of a frog", units={"image": {"left": left, "across": across}}
        )
    image = exp["image"]
    assert [name for name, _ in image.units] == ["across", "rest"]
    assert any("'left'" in said for said in image.warnings)
    density = image.at_input_size(density=True)
    assert density[left].sum() == 0
    assert image.units[0][1] == pytest.approx(density[across].sum(), rel=1e-5)
    assert image.origin["units"] == {"from": "masks", "segments": 2}


def test_seconds_between_onsets_share_out_what_lies_in_the_sound(tiny: m2ib.Model) -> None:
    s = scene(seed=13)
    audio = m2ib.explain(tiny, audio=s.audio, text="a photo of a frog", units={"audio": "onsets"})["audio"]
    clips, _, times = audio.axes
    borders = [float(part) for part in audio.units[1][0].removesuffix(" s").split("–")]
    total = 0.0
    for clip, (start, _) in enumerate(clips.spans):
        for cell, (low, high) in enumerate(times.spans):
            there = max(0.0, min(start + high, borders[1]) - max(start + low, borders[0]))
            total += float(audio.grid[clip, :, cell].sum()) * there / (high - low)
    assert audio.units[1][1] == pytest.approx(total, rel=0.05)  # names are rounded to hundredths of a second
    assert sum(value for _, value in audio.units) <= audio.grid.sum() * (1 + 1e-6)


# Rules


def test_onsets_are_where_clicks_are() -> None:
    rate, clicks = 16000, (0.5, 0.9, 1.4)
    wave = 1e-3 * np.random.default_rng(0).standard_normal(2 * rate)
    for moment in clicks:
        wave[int(moment * rate) :][:800] += 0.8 * np.sin(np.arange(800) * 0.5) * np.exp(-np.arange(800) / 200)
    view = m2ib.load_model("imagebind-tiny").item("audio", (wave.astype(np.float32), rate)).view
    assert isinstance(view, SoundView)
    assert onset_times(view) == pytest.approx(clicks, abs=0.03)


def test_superpixels_follow_what_is_in_the_picture(tiny: m2ib.Model) -> None:
    picture = np.full((64, 64, 3), 40, np.uint8)
    picture[:, 32:] = 220
    exp = m2ib.explain(tiny, image=picture, text="a photo of a frog", units={"image": m2ib.superpixels(4)})
    labels = exp["image"].segments.labels
    assert 2 <= len(exp["image"].units) <= 6
    assert not set(np.unique(labels[:, :31])) & set(np.unique(labels[:, 33:]))
    named = m2ib.explain(tiny, image=picture, text="a photo of a frog", units={"image": "slic:4"})
    assert named["image"].units == exp["image"].units


# Files


def test_masks_come_from_files(toy64: m2ib.Model, tmp_path: Path) -> None:
    def units(path: str, **arrays: Any) -> list[str]:
        exp = m2ib.explain(toy64, image=PIXELS, text=IDS, units={"image": tmp_path / path})
        assert exp["image"].origin["units"]["from"] == path
        return [name for name, _ in exp["image"].units]

    Image.fromarray(LABELS.astype(np.uint8) * 40).save(tmp_path / "labels.png")
    assert units("labels.png") == ["40", "80", "120", "rest"]
    Image.fromarray(LABELS.astype(np.uint16) * 400).save(tmp_path / "deep.png")
    assert units("deep.png") == ["400", "800", "1200", "rest"]
    np.save(tmp_path / "labels.npy", WHOLE)
    assert units("labels.npy") == ["1", "2", "3"]
    np.savez(tmp_path / "masks.npz", cat=LABELS == 1, dog=LABELS == 2)
    assert units("masks.npz") == ["cat", "dog", "rest"]


def test_cocos_objects_are_units(tiny: m2ib.Model, tmp_path: Path) -> None:
    Image.fromarray(scene(seed=13).image).save(tmp_path / "a.png")
    square = [[4, 4, 24, 4, 24, 24, 4, 24]]
    each = [
        {"id": 1, "image_id": 7, "category_id": 1, "segmentation": square, "bbox": [4, 4, 20, 20]},
        {
            "id": 2,
            "image_id": 7,
            "category_id": 2,
            "segmentation": [[30, 30, 50, 30, 50, 50]],
            "bbox": [30, 30, 20, 20],
        },
        {
            "id": 3,
            "image_id": 7,
            "category_id": 2,
            "segmentation": [[4, 40, 14, 40, 14, 60]],
            "bbox": [4, 40, 10, 20],
        },
    ]
    said = {
        "images": [{"id": 7, "file_name": "a.png", "width": 112, "height": 112}],
        "annotations": each,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cup"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(said), encoding="utf-8")
    units = {"image": str(tmp_path / "instances.json")}
    exp = m2ib.explain(tiny, image=tmp_path / "a.png", text="a photo of a frog", units=units)
    assert [name for name, _ in exp["image"].units] == ["cat", "cup 1", "cup 2", "rest"]
    there = np.zeros((112, 112), bool)
    there[4:24, 4:24] = True
    assert exp["image"].units[0][1] == pytest.approx(
        exp["image"].at_input_size(density=True)[there].sum(), rel=1e-5
    )


# Refused


@pytest.mark.parametrize(
    ("units", "said"),
    [
        (
            {"image": np.ones((4, 8), int)},
            r"units of image: the labels have the shape \(4, 8\), and the input \(8, 8\) \(rows, columns\), upright; give them at its own size",
        ),
        (
            {"image": {"cat": np.ones((8, 4), bool)}},
            r"units of image: the mask 'cat' has the shape \(8, 4\), and the input \(8, 8\)",
        ),
        (
            {"image": {"cat": np.ones((8, 8))}},
            "the mask 'cat' holds float64; give booleans, as in mask > 0.5",
        ),
        ({"image": np.ones((8, 8))}, "labels are whole numbers from 0 on, 0 for none, not float64"),
        ({"image": -np.ones((8, 8), int)}, "labels are whole numbers from 0 on"),
        ({"image": np.zeros((8, 8), int)}, "all of the labels are 0, which stands for none"),
        ({"image": {"cat": np.zeros((8, 8), bool)}}, "there is nothing in the masks"),
        ({"image": 7}, "units of image: give a rule, labels, masks by name or a file of either, not 7"),
        ({"image": "nowhere.png"}, "units 'nowhere.png' cannot be read: No such file or directory"),
        ({"image": "onsets"}, "units of image: onsets are those of sounds, and this is none"),
        (
            {"image": "slic:many"},
            "units of image: 'slic:many' is no rule; there are slic:50, onsets and words",
        ),
        ({"text": ["a horse"]}, "units of text: 'a horse' is not in the text: 'a dog'"),
        ({"text": ["dog", "dog"]}, "'dog' is not in the text once more"),
        ({"text": ["a dog", "dog"]}, "'dog' shares characters with another phrase"),
        ({"text": [(3, 99)]}, r"\(3, 99\) is no part of a text of 5 characters"),
        ({"text": m2ib.superpixels(3)}, "units of text: superpixels are made of pictures, and this is none"),
        ({"imgae": "slic"}, "units: 'imgae' is none of the pair's kinds; did you mean 'image'"),
        ("slic:50", "units: give them by modality, as in"),
    ],
)
def test_what_is_no_unit_is_refused_in_a_line(toy64: m2ib.Model, units: Any, said: str) -> None:
    with pytest.raises(m2ib.InputError, match=said) as caught:
        m2ib.explain(toy64, image=PIXELS, text="a dog", units=units)
    assert "\n" not in str(caught.value)


def test_files_of_another_kind_are_refused(toy64: m2ib.Model, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "colour.png")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY nonsense")
    for name, said in (
        ("colour.png", "is RGB; labels are an image of one channel"),
        ("broken.npy", "is damaged"),
    ):
        with pytest.raises(m2ib.InputError, match=said):
            m2ib.explain(toy64, image=PIXELS, text="a dog", units={"image": tmp_path / name})


def test_an_embedding_has_no_parts(toy64: m2ib.Model) -> None:
    with pytest.raises(m2ib.InputError, match="units of text: an embedding stands there, which has no parts"):
        m2ib.explain(toy64, image=PIXELS, text=m2ib.embedding(np.ones(6)), units={"text": "words"})


def test_overlapping_masks_say_whose_it_is(toy64: m2ib.Model) -> None:
    masks = {"under": np.ones((8, 8), bool), "over": LABELS == 1}
    with pytest.warns(
        m2ib.M2IBWarning, match="15 places are in several masks; they count for the one given last"
    ):
        exp = m2ib.explain(toy64, image=PIXELS, text=IDS, units={"image": masks})
    assert (exp["image"].segments.labels == 2).sum() == 15


def test_a_run_of_many_says_that_it_keeps_none(toy64: m2ib.Model, tmp_path: Path) -> None:
    with pytest.raises(m2ib.SettingError, match="run: units are not kept in tables of many pairs"):
        m2ib.run(toy64, [{"image": PIXELS, "text": "a dog"}], tmp_path / "out", units={"text": "words"})


# Kept and shown


def test_units_are_saved_and_loaded(tiny: m2ib.Model, tmp_path: Path) -> None:
    s = scene(seed=13)
    units = {"audio": m2ib.onsets(), "image": s.masks["image"]}
    exp = m2ib.explain(tiny, audio=s.audio, image=s.image, units=units)
    back = m2ib.load_explanation(exp.save(tmp_path / "kept"))
    for before, after in zip(exp, back, strict=True):
        assert after.units == before.units
        assert np.array_equal(after.segments.labels, before.segments.labels)
        assert after.segments.axes == before.segments.axes
        assert after.origin["units"] == before.origin["units"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": ["one"]}, "segments: labels is"),
        ({"names": ["one", "two", "three"]}, "segments: values has the shape"),
        ({"axes": [{"name": "row", "unit": "px", "spans": [[0, 1]]}]}, "segments: labels has the shape"),
    ],
)
def test_segments_that_do_not_belong_together_are_damage(
    toy64: m2ib.Model, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    exp = m2ib.explain(toy64, image=PIXELS, text="two cats", units={"text": m2ib.words()})
    manifest = exp.save(tmp_path / "kept") / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["attributions"][1]["units"].update(change)
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(m2ib.StorageError, match=f"is damaged: .*{said}"):
        m2ib.load_explanation(tmp_path / "kept")


def test_the_page_and_the_figure_have_outlines_and_numbers(tiny: m2ib.Model) -> None:
    s = scene(seed=13)
    units = {"image": s.masks["image"], "text": ["a photo", "frog"]}
    exp = m2ib.explain(tiny, image=s.image, text="a photo of a frog", units=units)
    page = render_page([exp])
    assert page.count('class="region unit"') == len(s.masks["image"]) + 1
    assert page.count('class="tag unit"') >= 2
    for name, value in exp["text"].units[:2]:
        assert f"<b>{float(f'{value:.2g}'):.3g}</b></span>" in page, name
    assert "4 units (masks), each the sum, in nats" in page
    assert "3 units (phrases), each the sum, in nats" in page
    written = {text.get_text() for axes in exp.figure().axes for text in axes.texts}
    name, value = exp["image"].units[0]
    assert f"{name} {float(f'{value:.2g}'):.3g}" in written
    labels = [label.get_text() for axes in exp.figure().axes for label in axes.get_yticklabels()]
    assert {"a photo", "frog", "rest"} <= {*labels}


def test_both_inputs_of_one_kind_have_units_by_position(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(toy64, ("text", "a dog"), ("text", "two cats"), units=[None, ["cats"]])
    assert exp[0].units == []
    assert [name for name, _ in exp[1].units] == ["cats", "rest"]


def test_many_pairs_have_the_units_of_each(toy64: m2ib.Model) -> None:
    pairs = [{"image": PIXELS, "text": text} for text in ("a dog", "two cats asleep")]
    found = list(m2ib.explain_many(toy64, pairs, units={"text": "words"}))
    assert [[name for name, _ in exp["text"].units] for exp in found] == [
        ["a", "dog"],
        ["two", "cats", "asleep"],
    ]
