"""Scenes: the same for the same seed, and their masks where the evidence is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ib.errors import InputError, SettingError
from m2ib.scenes import KINDS, WORDS, query, scene, scenes
from m2ib.scenes.motion import VIBRATIONS
from m2ib.scenes.sounds import RATE, SIGNATURES

MODALITIES = ("image", "text", "audio", "depth", "thermal", "imu")


def arrays(made):
    return [made.image, made.audio[0], made.depth, made.thermal, made.imu[0]]


@settings(max_examples=8)
@given(seed=st.integers(0, 2**48), others=st.lists(st.integers(0, 2**48), max_size=3))
def test_a_scene_depends_on_its_seed_alone(seed, others):
    alone, among = scene(seed), scenes([*others, seed])[-1]
    assert alone.text == among.text
    for one, other in zip(arrays(alone), arrays(among), strict=True):
        np.testing.assert_array_equal(one, other)
    for modality in MODALITIES:
        for kind in alone.kinds:
            np.testing.assert_array_equal(alone.masks[modality][kind], among.masks[modality][kind])


def test_two_seeds_give_two_scenes():
    one, other = scenes([1, 2])
    assert all((a != b).any() for a, b in zip(arrays(one), arrays(other), strict=True))


def test_what_a_scene_holds():
    made = scene(7)
    assert made.image.shape == (112, 112, 3)
    assert made.image.dtype == np.uint8
    assert made.audio[0].shape == (32_000,)
    assert made.audio[1] == 16_000
    assert abs(made.audio[0]).max() <= 1
    assert made.depth.shape == made.thermal.shape == (112, 112)
    assert made.thermal.min() >= 0
    assert made.thermal.max() <= 1
    assert made.depth.min() >= 0.5
    assert made.imu[0].shape == (6, 200)
    assert made.imu[1] == 100
    assert tuple(made.inputs) == MODALITIES
    for modality in MODALITIES:
        axes = made.axes[modality]
        for mask in made.masks[modality].values():
            assert mask.dtype == bool
            assert mask.any()
            assert mask.shape == tuple(len(axis.spans) for axis in axes)


def test_kinds_and_count_can_be_fixed():
    assert scene(3, kinds=("bell", "car")).kinds == ("bell", "car")
    assert {len(made.kinds) for made in scenes(range(40), count=2)} == {2}
    assert {len(made.kinds) for made in scenes(range(40))} == {1, 2, 3}
    seen = {kind for made in scenes(range(60)) for kind in made.kinds}
    assert seen == set(KINDS)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"count": 4}, SettingError, "count=4 is out of range; a scene holds 1, 2 or 3"),
        ({"kinds": ("bell", "bell")}, InputError, "not one to three different ones"),
        ({"kinds": ("bel",)}, InputError, "there is no 'bel'.*bell.*The kinds are car, bell"),
        ({"kinds": ("bell",), "count": 2}, SettingError, "count=2 does not go with 1 kinds"),
        ({"seed": -1}, SettingError, "seed=-1 is not a whole number >= 0"),
    ],
)
def test_what_cannot_be_a_scene(options, error, message):
    with pytest.raises(error, match=message):
        scene(**{"seed": 0, **options})


def test_pictures_masks_hold_the_objects():
    for made in scenes(range(100, 130), count=3):
        masks = [made.masks["image"][kind] for kind in made.kinds]
        assert all(150 < mask.sum() < 2000 for mask in masks)
        everything = np.logical_or.reduce(masks)
        assert sum(mask.sum() for mask in masks) == everything.sum()
        around = np.median(made.depth[~everything])
        for mask in masks:
            assert np.median(made.depth[mask]) < around - 0.7  # nearer than what is behind


def test_a_masks_pixels_are_those_that_the_object_changes():
    """The same background with another object on it differs where one of the two objects is, and nowhere else."""
    for seed in range(5):
        one, other = scene(seed, kinds=("kettle",)), scene(seed, kinds=("frog",))
        for a, b in (
            (one.thermal, other.thermal),
            (one.image / 255, other.image / 255),
            (one.depth, other.depth),
        ):
            changed = abs(a - b).reshape(112, 112, -1).max(-1) > 0.05
            known = one.masks["image"]["kettle"] | other.masks["image"]["frog"]
            rim = known.copy()
            for step in itertools.product((-2, -1, 0, 1, 2), repeat=2):
                rim |= np.roll(known, step, (0, 1))
            assert not (changed & ~rim).any()
            assert (changed & known).sum() > 0.6 * known.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_lies_in_its_time_and_band(kind):
    low, high = SIGNATURES[kind].band
    for made in scenes(range(200, 206), kinds=(kind,)):
        wave = made.audio[0].astype(float)
        window = np.hanning(1024)
        frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::160] * window  # (frames, 1024)
        power = abs(np.fft.rfft(frames)) ** 2  # (frames, bins)
        hertz = np.fft.rfftfreq(1024, 1 / RATE)
        centre = (np.arange(len(frames)) * 160 + 512) / RATE
        time = np.array(made.axes["audio"][1].spans)[made.masks["audio"][kind].any(0)]
        sounding = (centre > time.min() - 0.03) & (centre < time.max() + 0.03)
        quiet = (centre < time.min() - 0.07) | (centre > time.max() + 0.07)
        floor = power[quiet].mean(0)
        own = (power[sounding] - floor).clip(0)
        inside = (hertz >= low * 0.97) & (hertz <= high * 1.03)
        assert own[:, inside].sum() > 0.93 * own.sum()
        assert power[sounding].mean() > 10 * power[quiet].mean()


@pytest.mark.parametrize("kind", KINDS)
def test_a_vibration_lies_in_its_time_and_traces(kind):
    for made in scenes(range(300, 306), kinds=(kind,)):
        traces, mask = made.imu[0].astype(float), made.masks["imu"][kind]
        assert tuple(np.flatnonzero(mask.any(1))) == tuple(sorted(VIBRATIONS[kind].traces))
        moved = traces - np.median(traces, 1, keepdims=True)
        scale = np.repeat((0.12, 0.05), 3)[:, None] * 2  # of the noise and the sway
        loud = (moved / scale) ** 2
        assert loud[mask].mean() > 8 * loud[~mask].mean()


def test_events_do_not_overlap():
    for made in scenes(range(400, 440), count=3):
        for modality in ("audio", "imu"):
            over_time = [made.masks[modality][kind].any(0).astype(int) for kind in made.kinds]
            assert np.sum(over_time, 0).max() == 1
            assert all(0.3 < each.mean() * 2 < 0.65 for each in over_time)


def test_captions_name_what_is_there():
    for made in scenes(range(500, 560)):
        words = made.text.split()
        assert len(words) <= 22
        assert set(words) <= set(WORDS)
        assert tuple(word for word in words if word in KINDS) == made.kinds
        for kind, colour, size in zip(made.kinds, made.colours, made.sizes, strict=True):
            assert f"{size} {colour} {kind}" in made.text
            (place,) = np.flatnonzero(made.masks["text"][kind])
            start, end = made.axes["text"][0].spans[place]
            assert made.text[int(start) : int(end)] == kind
        telling = {*made.kinds, *made.colours, *made.sizes}
        assert [word in telling for word in words] == (~made.filler).tolist()


def test_a_query_names_one_kind():
    assert query("bell") == "a photo of a bell"
    for seed in range(1, 20):
        assert [word for word in query("frog", seed).split() if word in KINDS] == ["frog"]
    with pytest.raises(InputError, match="there is no 'bells'"):
        query("bells")
