"""Images are prepared as by open_clip, with the settings that the weights came with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib
from m2ib_adapters.openclip.preprocess import DEFAULTS, merge, preparation
from open_clip_models import CPU, VIT, Loaded, photo


@pytest.mark.parametrize("size", [32, 33, (32, 24), (24, 33)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_pixels_are_exactly_open_clips(size: int | tuple[int, int], interpolation: str, mode: str) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    own = {
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.25, 0.3),
        "interpolation": interpolation,
        "resize_mode": mode,
    }
    transform = image_transform_v2(PreprocessCfg(size=size, fill_color=7, **own), is_train=False)
    ours = preparation(size, merge(own, {"fill_color": 7}))
    generator = np.random.default_rng(3)
    for rows, columns in [
        (1, 1),
        (32, 32),
        (33, 32),
        (75, 50),
        *generator.integers(17, 97, (40, 2)).tolist(),
    ]:
        image = Image.fromarray(generator.integers(0, 256, (rows, columns, 3), dtype=np.uint8))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", m2ib.M2IBWarning)  # little is seen of a long strip
            got = ours.prepare(image, m2ib.Layout()).inputs
        assert torch.equal(got, transform(image)), (rows, columns)


def test_preprocessing_comes_from_the_weights(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    """The configuration's own, an option before it; registered names take what their weights agree on."""
    from m2ib_adapters.openclip.architectures import resolve

    siglip = resolve("ViT-B-16-SigLIP")
    assert merge(siglip.preprocess)["mean"] == (0.5, 0.5, 0.5)
    assert merge(siglip.preprocess)["resize_mode"] == "squash"
    assert merge(resolve("ViT-B-32").preprocess) == DEFAULTS
    vit = loaded("vit")
    whole = {"model_cfg": VIT, "preprocess_cfg": {"mean": [0.5] * 3, "resize_mode": "squash", "size": 9}}
    model = m2ib.load_model("open-clip", architecture=whole, checkpoint=vit.file, **CPU)
    origin = model.item("image", photo()).origin
    assert origin["mean"] == [0.5] * 3
    assert origin["fit"] == "squash"
    assert origin["input_size"] == [32, 24]
    options = {"preprocess": {"mean": [0.1] * 3}}
    model = m2ib.load_model("open-clip", architecture=whole, checkpoint=vit.file, **options, **CPU)
    assert model.item("image", photo()).origin["mean"] == [0.1] * 3
    with pytest.raises(m2ib.SettingError, match=r"keys out of mean, std, .*, not size"):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=vit.file, preprocess={"size": 8}, **CPU)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": [0.5]}, r"mean is given by channel, three numbers or one other than 0, not \[0.5\]"),
        ({"mean": 0}, "mean is given by channel, three numbers or one other than 0, not 0"),
        ({"std": "grey"}, "std is given by channel, three numbers above 0 or one other than 0, not 'grey'"),
        ({"std": [0.5, 0.5, 0]}, "std is given by channel, three numbers above 0"),
        ({"fill_color": "white"}, "fill_color is a whole number from 0 to 255, not 'white'"),
        ({"mode": "L"}, "preprocess_cfg has the mode 'L'; open_clip has RGB alone"),
    ],
)
def test_what_open_clip_cannot_do_is_refused(given: dict[str, object], message: str) -> None:
    """open_clip takes a mean of 0 for none, and falls back on OpenAI's."""
    with pytest.raises(m2ib.SettingError, match=message):
        preparation(32, merge(given))


def test_one_number_is_for_all_channels() -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform = image_transform_v2(PreprocessCfg(size=32, mean=0.3, std=0.2), is_train=False)
    item = preparation(32, merge({"mean": 0.3, "std": 0.2})).prepare(photo(), m2ib.Layout())
    assert torch.equal(item.inputs, transform(Image.fromarray(photo())))
