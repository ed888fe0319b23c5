"""What cannot be used is refused with one clear line; what looks odd but is fine is explained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import m2ib
from tiny_clip import END, START
from toy import png, save_clip_with_words, toy_model

FAST: dict[str, Any] = {"steps": 1, "samples": 1, "show_progress": False}
IMAGE = np.random.default_rng(0).random((40, 50, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip_with_words(tmp_path_factory.mktemp("words") / "clip")


@pytest.fixture(scope="module")
def clip(folder: Path) -> m2ib.Model:
    return m2ib.load_model("clip", checkpoint=folder, device="cpu")


def refused(kind: type[m2ib.M2IBError], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return str(caught.value)


# Images that cannot be used.


def jpeg(folder: Path) -> bytes:
    Image.fromarray((IMAGE * 255).astype(np.uint8)).save(folder / "whole.jpg")
    return (folder / "whole.jpg").read_bytes()


FILES: dict[str, tuple[Callable[[Path], bytes | None], str]] = {
    "missing": (lambda folder: None, "image '{}' does not exist; check the path"),
    "empty": (lambda folder: b"", "image '{}' is empty: the file holds 0 bytes"),
    "text": (lambda folder: b"a photo of a dog", "image '{}' is not in an image format that can be read"),
    "truncated": (lambda folder: jpeg(folder)[:900], "image '{}' is damaged and cannot be decoded: "),
    "header only": (lambda folder: png(8, 8), "image '{}' is damaged and cannot be decoded: "),
    "bomb": (
        lambda folder: png(60_000, 60_000),
        "image '{}' has 3,600,000,000 pixels, more than the 178,956,970 that are safe to open; make it smaller",
    ),
    "small bomb": (
        lambda folder: png(14_000, 14_000),
        "image '{}' has 196,000,000 pixels, more than the 178,956,970 that are safe to open; make it smaller",
    ),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES.keys())
def test_a_file_that_is_no_image(
    clip: m2ib.Model, tmp_path: Path, content: Callable[[Path], bytes | None], message: str
) -> None:
    path = tmp_path / "picture.png"
    if (data := content(tmp_path)) is not None:
        path.write_bytes(data)
    said = refused(m2ib.InputError, lambda: m2ib.explain(clip, image=str(path), text="a cat", **FAST))
    assert said.startswith(message.format(path))


def test_a_folder_is_no_image(clip: m2ib.Model, tmp_path: Path) -> None:
    said = refused(m2ib.InputError, lambda: clip.item("image", tmp_path))
    assert said == f"image {str(tmp_path)!r} is a folder; name a file"


ARRAYS: dict[str, tuple[Any, str]] = {
    "4-D": (
        np.zeros((2, 8, 8, 3)),
        "not (2, 8, 8, 3); of several pages, say which: page=0 (options.image.page=0); if this is a batch of 2, ",
    ),
    "1-D": (np.zeros(8), "not (8,)"),
    "five channels": (np.zeros((8, 8, 5)), "not (8, 8, 5)"),
    "channels first": (np.zeros((3, 8, 8)), "not (3, 8, 8)"),
    "empty": (np.zeros((0, 8, 3)), "not (0, 8, 3)"),
    "above one": (
        np.full((8, 8, 3), 2.5),
        "floating-point pixels lie in [0, 1], not in [2.5, 2.5]; scale them",
    ),
    "negative": (np.full((8, 8, 3), -1.0), "floating-point pixels lie in [0, 1], not in [-1, -1]"),
    "NaN": (np.full((8, 8, 3), np.nan), "the array holds NaN or infinite values"),
    "int64": (np.zeros((8, 8, 3), np.int64), "pixels are uint8, uint16, bool or floating point, not int64"),
    "complex": (
        np.zeros((8, 8), complex),
        "pixels are uint8, uint16, bool or floating point, not complex128",
    ),
    "objects": (np.array([["a"]], object), "pixels are uint8, uint16, bool or floating point, not object"),
    "a list": (
        [[0, 1]],
        "cannot use a list; give a path, bytes, a PIL image, an array (H, W, 3) or a tensor",
    ),
    "None": (None, "cannot use a NoneType"),
}


@pytest.mark.parametrize(("raw", "message"), ARRAYS.values(), ids=ARRAYS.keys())
def test_an_array_that_is_no_image(clip: m2ib.Model, raw: Any, message: str) -> None:
    said = refused(m2ib.InputError, lambda: m2ib.explain(clip, image=raw, text="a cat", **FAST))
    assert said.startswith("image: ")
    assert message in said


# Images that are fine.


def palette(transparent: bool) -> Image.Image:
    image = Image.fromarray((IMAGE * 255).astype(np.uint8)).quantize(16)
    if transparent:
        image.info["transparency"] = 0
    return image


ODD: dict[str, Callable[[], Image.Image | np.ndarray]] = {
    "one pixel": lambda: Image.new("RGB", (1, 1), (200, 30, 30)),
    "grey": lambda: Image.new("L", (40, 30), 100),
    "grey and alpha": lambda: Image.new("LA", (40, 30), (100, 128)),
    "one bit": lambda: Image.new("1", (40, 30), 1),
    "palette": lambda: palette(False),
    "palette with transparency": lambda: palette(True),
    "RGBA": lambda: Image.new("RGBA", (40, 30), (10, 20, 30, 0)),
    "CMYK": lambda: Image.new("CMYK", (40, 30), (10, 20, 30, 40)),
    "YCbCr": lambda: Image.new("YCbCr", (40, 30), (10, 20, 30)),
    "16 bits": lambda: Image.fromarray(np.full((30, 40), 40_000, np.uint16)),
    "floating point": lambda: Image.fromarray(np.full((30, 40), 0.25, np.float32)),
    "grey array": lambda: np.full((30, 40), 7, np.uint8),
    "one channel": lambda: np.full((30, 40, 1), 7, np.uint8),
    "uint16 array": lambda: np.full((30, 40, 3), 40_000, np.uint16),
    "bool array": lambda: np.ones((30, 40), bool),
    "strided array": lambda: (IMAGE * 255).astype(np.uint8)[::-2, ::3],
    "read-only array": lambda: np.broadcast_to(np.uint8(9), (30, 40, 3)),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
def test_an_odd_image_is_explained(clip: m2ib.Model, make: Callable[[], Any]) -> None:
    explanation = m2ib.explain(clip, image=make(), text="a cat", **FAST)
    assert explanation["image"].grid.shape == (4, 4)
    assert np.isfinite(explanation["image"].grid).all()


def test_transparency_is_laid_on_white(clip: m2ib.Model) -> None:
    clear, white = Image.new("RGBA", (40, 30), (10, 20, 30, 0)), Image.new("RGB", (40, 30), (255, 255, 255))
    assert torch.equal(clip.preprocess("image", [clear]), clip.preprocess("image", [white]))


def test_sixteen_bits_keep_their_level(clip: m2ib.Model) -> None:
    deep, flat = np.full((30, 40), 40_092, np.uint16), np.full((30, 40), 156, np.uint8)
    for raw in (deep, Image.fromarray(deep)):
        assert torch.equal(clip.preprocess("image", [raw]), clip.preprocess("image", [flat]))


def test_a_strip_is_explained_with_a_warning(clip: m2ib.Model) -> None:
    strip = Image.fromarray((np.random.default_rng(1).random((50, 10_000, 3)) * 255).astype(np.uint8))
    with pytest.warns(
        m2ib.M2IBWarning, match=r"image of 10000x50 pixels: the model's centre crop sees 0\.5% of it"
    ):
        explanation = m2ib.explain(clip, image=strip, text="a cat", **FAST)
    assert explanation["image"].grid.shape == (4, 4)


def test_a_turned_photo_is_explained_upright(clip: m2ib.Model, tmp_path: Path) -> None:
    upright = Image.fromarray((IMAGE * 255).astype(np.uint8)[:40, :40])
    turns = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180, 2: Image.Transpose.FLIP_LEFT_RIGHT}
    expected = m2ib.explain(clip, image=upright, text="a cat", **FAST)["image"]
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.png"
        upright.transpose(turn).save(path, exif=exif)
        turned = m2ib.explain(clip, image=path, text="a cat", **FAST)["image"]
        np.testing.assert_array_equal(turned.grid, expected.grid)
        np.testing.assert_array_equal(turned.view.pixels, expected.view.pixels)


# Texts.

TEXTS: dict[str, tuple[Any, str]] = {
    "empty": ("", "text '' is empty; give at least one word"),
    "blank": (" \n\t", r"text ' \n\t' is empty; give at least one word"),
    "bytes": (b"a cat", "text: a bytes is no text; decode it, as in raw.decode(), and give the string"),
    "number": (5, "text: cannot use 5 of type int; give a string or a tensor of token ids"),
    "list": (
        ["a cat", "a dog"],
        "text: this is a batch of 2, give one of them, or each in a pair of its own to m2ib.explain_many, ",
    ),
    "list of numbers": ([3, 4], "text: cannot use [3, 4] of type list"),
    "long": (
        "a " * 30,
        "text 'a a a a a a a a a a a a a a a a a a a a '... has 32 tokens, 12 more than the model's 20; "
        "shorten it, or pass truncate=True (--truncate)",
    ),
    "end token": (
        "a cat<|endoftext|> and a dog",
        "text 'a cat<|endoftext|> and a dog' holds the model's own end token after 2 others, and the model reads no "
        "further; take it out of the text",
    ),
    "only an end token": (
        "<|endoftext|>",
        "text '<|endoftext|>' holds the model's own end token after 0 others",
    ),
}


@pytest.mark.parametrize(("raw", "message"), TEXTS.values(), ids=TEXTS.keys())
def test_a_text_that_cannot_be_used(clip: m2ib.Model, raw: Any, message: str) -> None:
    said = refused(m2ib.InputError, lambda: m2ib.explain(clip, image=IMAGE, text=raw, **FAST))
    assert said.startswith(message)


def test_a_long_text_can_be_cut(clip: m2ib.Model) -> None:
    explanation = m2ib.explain(clip, image=IMAGE, text="a cat " * 30, truncate=True, **FAST)
    text = explanation["text"]
    assert text.tokens[0] == "<|startoftext|>"
    assert text.tokens[-1] == "<|endoftext|>"
    assert text.grid.shape == (20,)
    assert text.origin["truncated"] is True
    assert len(text.words) == 18


def test_a_text_of_just_the_right_length(clip: m2ib.Model) -> None:
    assert m2ib.explain(clip, image=IMAGE, text="a " * 18, **FAST)["text"].grid.shape == (20,)
    assert "1 more than the model's 20" in refused(m2ib.InputError, lambda: clip.item("text", "a " * 19))


@settings(max_examples=60)
@given(text=st.text(max_size=60))
def test_any_text_is_used_or_refused(clip: m2ib.Model, text: str) -> None:
    with contextlib.suppress(m2ib.InputError):
        item = clip.item("text", text, truncate=True)
        assert item.layout.read == len(item.layout.tokens) == len(item.inputs) <= 20
        assert all(0 <= token.start <= token.end <= len(text) for token in item.layout.tokens)


# Tensors.

IDS = torch.tensor([START, 3, 4, END])
PIXELS = torch.zeros(3, 32, 32)
TENSORS: dict[str, tuple[str, torch.Tensor, str]] = {
    "NaN": ("image", PIXELS + float("nan"), "image: the tensor holds NaN or infinite values"),
    "infinite": ("image", PIXELS + float("inf"), "image: the tensor holds NaN or infinite values"),
    "size": (
        "image",
        torch.zeros(3, 32, 40),
        "(3, 32, 32) and a floating-point type, not (3, 32, 40) torch.float32",
    ),
    "batch axis": (
        "image",
        torch.stack([PIXELS] * 2),
        "image: this is a batch of 2, give one of them, or each in a ",
    ),
    "odd batch axis": (
        "image",
        PIXELS[None, :, 1:],
        "image: a preprocessed tensor has the shape (3, 32, 32)",
    ),
    "bytes": ("image", PIXELS.byte(), "not (3, 32, 32) torch.uint8"),
    "too large an id": (
        "text",
        torch.tensor([START, 100, END]),
        "text: the token id 100 is outside the model's vocabulary of 100",
    ),
    "negative id": ("text", torch.tensor([START, -1, END]), "text: the token id -1 is outside"),
    "real ids": (
        "text",
        IDS.float(),
        "text: token ids are a 1-D integer tensor, special tokens included, not (4,) torch.float32",
    ),
    "ids with batch axis": ("text", torch.stack([IDS] * 3), "text: this is a batch of 3, "),
    "no ids": ("text", IDS[:0], "text: token ids are a 1-D integer tensor"),
    "truth": (
        "text",
        IDS > 5,
        "text: token ids are a 1-D integer tensor, special tokens included, not (4,) torch.bool",
    ),
    "complex": ("text", IDS.to(torch.complex64), "text: token ids are a 1-D integer tensor"),
    "special only": ("text", torch.tensor([START, END]), "text: the token ids hold special tokens only"),
    "no end": ("text", IDS[:-1], "text: the token ids hold no end token"),
    "too many ids": ("text", IDS.repeat(6), "text: 24 token ids are 4 more than the model's 20"),
}


@pytest.mark.parametrize(("modality", "tensor", "message"), TENSORS.values(), ids=TENSORS.keys())
def test_a_tensor_that_cannot_be_used(
    clip: m2ib.Model, modality: str, tensor: torch.Tensor, message: str
) -> None:
    pair = {"image": PIXELS, "text": IDS} | {modality: tensor}
    assert message in refused(m2ib.InputError, lambda: m2ib.explain(clip, **pair, **FAST))


# The call.

SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "layer beyond": (
        {"layer": 4},
        "layer for image: 4 is out of range; this encoder has the blocks 0 to 3, and -1 for its embedding output "
        "(default 2)",
    ),
    "layer below": ({"layer": -2}, "layer for image: -2 is out of range"),
    "layer of one": (
        {"layer": {"text": 9}},
        "layer for text: 9 is out of range; this encoder has the blocks 0 to 3",
    ),
    "layer name": (
        {"layer": "last"},
        "layer for image: 'last' is not a whole number; give one, or a dict by modality",
    ),
    "layer half": ({"layer": 1.5}, "layer for image: 1.5 is not a whole number"),
    "layer truth": ({"layer": True}, "layer for image: True is not a whole number"),
    "beta negative": ({"beta": -0.1}, "beta for image: -0.1 is out of range; it must be >= 0"),
    "beta text": (
        {"beta": "0.1"},
        "beta for image: '0.1' is not a finite number; give one >= 0, or a dict by modality",
    ),
    "beta NaN": ({"beta": float("nan")}, "beta for image: nan is not a finite number"),
    "variance zero": ({"variance": 0}, "variance for image: 0 is out of range; it must be > 0"),
    "variance infinite": ({"variance": float("inf")}, "variance for image: inf is not a finite number"),
    "lr zero": ({"lr": 0.0}, "lr for image: 0.0 is out of range; it must be > 0"),
    "lr list": ({"lr": [1]}, "lr for image: [1] is not a finite number"),
    "steps zero": ({"steps": 0}, "steps for image: 0 is out of range; it must be >= 1"),
    "steps real": ({"steps": 2.0}, "steps for image: 2.0 is not a whole number"),
    "samples negative": ({"samples": -3}, "samples for image: -3 is out of range; it must be >= 1"),
    "samples tensor": ({"samples": torch.tensor(3)}, "samples for image: tensor(3) is not a whole number"),
    "seed negative": ({"seed": -1}, "seed for image: -1 is out of range; it must be >= 0"),
    "seed large": (
        {"seed": 2**63},
        "seed for image: 9223372036854775808 is out of range; it must be < 2**63",
    ),
    "seed text": ({"seed": "x"}, "seed for image: 'x' is not a whole number"),
    "readout": ({"readout": "best"}, "readout for image: 'best' is unknown; it is 'last' or 'final'"),
    "method": (
        {"method": "m2bi"},
        "method: 'm2bi' is unknown; did you mean 'm2ib'? There is m2ib, gradcam, ",
    ),
    "foreign modality": (
        {"beta": {"audio": 0.1}},
        "beta: 'audio' is not a modality of this explanation (image, text)",
    ),
    "mixed keys": ({"beta": {"audio": 0.1, 3: 1}}, "is not a modality of this explanation (image, text)"),
}


@pytest.mark.parametrize(("given_settings", "message"), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_setting_that_cannot_be_used(
    clip: m2ib.Model, given_settings: dict[str, Any], message: str
) -> None:
    """Told before any input is read."""
    options = {**FAST, **given_settings}
    said = refused(
        m2ib.SettingError, lambda: m2ib.explain(clip, image="nowhere.jpg", text="a cat", **options)
    )
    assert message in said
    assert message in refused(
        m2ib.SettingError,
        lambda: list(m2ib.explain_many(clip, [{"image": IMAGE, "text": "a cat"}], **options)),
    ).removeprefix("pair 0: ")


def test_what_is_not_a_pair(clip: m2ib.Model) -> None:
    def said(*pair: Any, **inputs: Any) -> str:
        return refused(m2ib.InputError, lambda: m2ib.explain(clip, *pair, **FAST, **inputs))

    assert said() == (
        "explain: takes two inputs, got 0 (none); as in explain(model, ('image', x), ('text', y)) or "
        "explain(model, image=x, text=y)"
    )
    assert "takes two inputs, got 1 (image)" in said(image=IMAGE)
    assert "takes two inputs, got 3 (text, text, image)" in said(("text", "a"), ("text", "b"), image=IMAGE)
    assert said(("image", IMAGE), "a cat") == "explain: an input is a tuple (modality, raw), not 'a cat'"
    assert said(image=IMAGE, audio="x.wav") == "model 'clip' takes no 'audio'; it takes image, text"
    assert "takes no 'layr'; it takes image, text" in said(image=IMAGE, layr=3)
    two = m2ib.contrast("a cat", "a dog")
    assert "one side of a pair can be a contrast, not both" in said(("text", two), ("text", two))
    assert "there is nothing to tell apart" in said(image=IMAGE, text=m2ib.contrast("a cat", "a cat"))
    assert "give at least one other input" in refused(m2ib.InputError, lambda: m2ib.contrast("a cat"))


def test_a_misspelt_setting_beside_two_inputs(clip: m2ib.Model) -> None:
    said = refused(
        m2ib.SettingError, lambda: m2ib.explain(clip, image=IMAGE, text="a cat", betta=0.1, **FAST)
    )
    assert "'betta' is unknown; did you mean 'beta'?" in said


def test_a_misspelt_setting_of_many(clip: m2ib.Model) -> None:
    pairs = [{"image": IMAGE, "text": "a cat"}]
    said = refused(m2ib.SettingError, lambda: list(m2ib.explain_many(clip, pairs, betta=0.1)))  # type: ignore[call-arg]
    assert "settings: 'betta' is unknown; did you mean 'beta'? There are layer, beta, variance" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device: 'gpu' is unknown; use 'auto', 'cpu', 'cuda' or 'cuda:1'"),
        ({"device": "xla"}, "device: 'xla' was asked for, but torch cannot use it here; use 'auto' or 'cpu'"),
        ({"dtype": "float8"}, "dtype: 'float8' is unknown; use one of float32, bfloat16, float16, float64"),
        ({"dtype": torch.int64}, "dtype: torch.int64 is unknown"),
        ({"size": 3}, "adapter 'clip' has no option 'size'. It has attention"),
    ],
)
def test_a_model_cannot_be_loaded_so(folder: Path, options: dict[str, Any], message: str) -> None:
    call = {"checkpoint": folder, "device": "cpu", **options}
    assert message in refused(m2ib.SettingError, lambda: m2ib.load_model("clip", **call))


def test_preprocess_takes_a_list(clip: m2ib.Model) -> None:
    assert "give a list of text inputs, not str" in refused(
        m2ib.InputError, lambda: clip.preprocess("text", "a cat")
    )
    assert "the list of image inputs is empty" in refused(
        m2ib.InputError, lambda: clip.preprocess("image", [])
    )


# Many pairs.


@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            {"image": "nowhere.jpg", "text": "a cat"},
            "pair 3: image 'nowhere.jpg' does not exist; check the path",
        ),
        ({"image": IMAGE, "text": ""}, "pair 3: text '' is empty; give at least one word"),
        ({"image": IMAGE}, "pair 3: explain: takes two inputs, got 1 (image)"),
        (7, "pair 3: explain: a pair is"),
        pytest.param(
            {"image": IMAGE, "text": m2ib.contrast("a cat", "a cat")},
            "pair 3: contrast: the text inputs have the same",
        ),
    ],
)
def test_the_pairs_before_a_bad_one_are_given_out(
    clip: m2ib.Model, batch_size: int, bad: Any, message: str
) -> None:
    good = [{"image": IMAGE, "text": text} for text in ("a cat", "a red cup", "the photo")]
    received: list[m2ib.Explanation] = []

    def receive() -> None:
        for explanation in m2ib.explain_many(clip, [*good, bad, good[0]], batch_size=batch_size, **FAST):
            received.append(explanation)

    said = refused(m2ib.InputError, receive)
    assert said.startswith(message)
    assert [exp["text"].view["text"] for exp in received] == ["a cat", "a red cup", "the photo"]


def test_nan_weights_are_told(clip: m2ib.Model) -> None:
    model = toy_model()
    with torch.no_grad():
        next(iter(model.module.parameters())).fill_(float("nan"))
    pair = {"image": IMAGE[:8, :8], "text": "a dog"}
    said = refused(m2ib.InputError, lambda: m2ib.explain(model, **pair, **FAST))
    assert "the embedding holds NaN or infinite values; so do 1 of the model's weights, first" in said
