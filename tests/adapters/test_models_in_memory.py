"""A model in memory is explained as it stands: on its device, in its dtype and mode, with PEFT's changes; nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import m2ib
import naive_imagebind
from m2ib.benchmark import run_scenes
from m2ib.data.pairs import Pairs
from m2ib.evaluation.run import evaluate
from m2ib.evaluation.study import Study
from m2ib.scenes import scene
from m2ib.tuning.run import tune
from m2ib.tuning.search import Search
from m2ib_adapters.openclip.transform import transformed_images
from open_clip_models import VIT, photo
from tiny_clip import END, START, save_tiny_clip
from tiny_imagebind import SHAPES
from xrays import resnet_state, save, vit_state

IDS = torch.tensor([START, 5, 60, END])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    folder = save_tiny_clip(tmp_path_factory.mktemp("clip"), blocks=3)
    CLIPImageProcessorPil(size=40, crop_size=32, image_mean=0.3).save_pretrained(folder)
    return folder


@pytest.fixture
def net(folder: Path) -> Any:
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(folder)


def fresh(net: Any) -> Any:
    """The same weights, from nowhere."""
    copy = type(net)(net.config)
    copy.load_state_dict(net.state_dict())
    copy.config._name_or_path = copy.name_or_path = ""
    return copy


def explained(model: Any) -> np.ndarray:
    return m2ib.explain(model, image=photo(), text=IDS, steps=2, samples=2)["image"].grid


def test_a_clip_is_explained_as_its_folder_is(net: Any, folder: Path) -> None:
    wanted = m2ib.load_model("clip", checkpoint=folder, device="cpu")
    net.train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    model = m2ib.load_model("clip", checkpoint=net)
    assert model.module is net
    np.testing.assert_array_equal(explained(model), explained(wanted))
    torch.testing.assert_close(model.preprocess("image", [photo()]), wanted.preprocess("image", [photo()]))
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert model.origin["checkpoint"] == f"CLIPModel in memory, from {folder}"


def test_a_model_from_nowhere_says_what_is_assumed(net: Any, folder: Path) -> None:
    from transformers import AutoImageProcessor

    with pytest.warns(
        m2ib.M2IBWarning, match="without processor=, so pixels are prepared with OpenAI's values"
    ):
        model = m2ib.load_model("clip", checkpoint=fresh(net))
    assert model.item("image", photo()).origin["mean"][0] == pytest.approx(0.48145466)
    with pytest.raises(m2ib.M2IBError, match="came without tokenizer=; give it, or token ids"):
        model.item("text", "a dog")
    given = m2ib.load_model(
        "clip", checkpoint=fresh(net), processor=AutoImageProcessor.from_pretrained(folder)
    )
    assert given.item("image", photo()).origin["mean"] == pytest.approx([0.3] * 3)
    wanted = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=photo(), return_tensors="pt")
    torch.testing.assert_close(given.preprocess("image", [photo()]), wanted["pixel_values"])


def test_half_precision_and_wrappers_stay(net: Any) -> None:
    model = m2ib.load_model("clip", checkpoint=nn.DataParallel(net.half()))
    assert model.dtype == torch.float16
    assert model.embed("text", IDS[None]).shape == (1, 16)
    with pytest.raises(
        m2ib.SettingError, match="in memory, on cpu in float16, and is left as it is; move it yourself"
    ):
        m2ib.load_model("clip", checkpoint=net, dtype="bfloat16")


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
def test_lora_that_is_not_merged(net: Any, folder: Path) -> None:
    peft = pytest.importorskip("peft")
    changed = peft.get_peft_model(net, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj", "fc1"]))
    for name, parameter in changed.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    model = m2ib.load_model("clip", checkpoint=changed)
    found = explained(model)
    merged = changed.merge_and_unload()
    np.testing.assert_allclose(
        found, explained(m2ib.load_model("clip", checkpoint=merged)), rtol=1e-3, atol=1e-4
    )
    plain = explained(m2ib.load_model("clip", checkpoint=folder, device="cpu"))
    assert np.abs(found - plain).max() > 0.01


WRONG = "give that, another adapter its own"


@pytest.mark.parametrize(
    ("name", "checkpoint", "message"),
    [
        ("clip", nn.Linear(2, 2), f"checkpoint is a torch Linear in memory, not a CLIPModel; {WRONG}"),
        (
            "clip",
            {"a": torch.ones(2)},
            "checkpoint is a dict in memory; give a hub id or a folder written by save_",
        ),
        (
            "open-clip",
            nn.Linear(2, 2),
            f"checkpoint is a torch Linear in memory, not a CLIP or CustomTextCLIP or CoCa; {WRONG}",
        ),
        (
            "imagebind",
            nn.Linear(2, 2),
            f"checkpoint is a torch Linear in memory, not an ImageBind or ImageBindModel; {WRONG}",
        ),
        (
            "imagebind-tiny",
            nn.Linear(2, 2),
            f"checkpoint is a torch Linear in memory, not an ImageBind; {WRONG}",
        ),
        ("cxr-repair", nn.Linear(2, 2), f"checkpoint is a torch Linear in memory, not a CLIP; {WRONG}"),
        ("photo", nn.Linear(2, 2), "has its own weights and takes no checkpoint, not Linear in memory"),
    ],
)
def test_another_class_is_refused_in_one_line(name: str, checkpoint: Any, message: str) -> None:
    with pytest.raises(m2ib.CheckpointError) as caught:
        m2ib.load_model(name, checkpoint=checkpoint, device="cpu")
    assert str(caught.value).startswith(f"{name}: {message}")
    assert len(str(caught.value)) < 300


def official(module: Any) -> nn.Module:
    """ImageBind's own class by its name and the names of its parts, around the parts of ours."""

    class ImageBindModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in module.named_children():
                setattr(self, name, part)

    return ImageBindModel().train()


@pytest.mark.parametrize(
    "wrap", [lambda module: module, official, lambda module: nn.DataParallel(official(module))]
)
def test_an_imagebind(tmp_path: Path, wrap: Any) -> None:
    path = tmp_path / "weights.pth"
    torch.save(naive_imagebind.random_state(naive_imagebind.SMALL, seed=0), path)
    sizes = {"architecture": naive_imagebind.SMALL}
    wanted, source = (m2ib.load_model("imagebind", checkpoint=path, device="cpu", **sizes) for _ in range(2))
    net = wrap(source.module)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    training = [each.training for each in net.modules()]
    other = {} if net is source.module else sizes
    if other:  # heads are read off the module: no shape tells them
        other = {"architecture": {**naive_imagebind.SMALL, "text_num_heads": 10}}
    model = m2ib.load_model("imagebind", checkpoint=net, **other)
    text = torch.tensor([49406, 5, 6, 49407])
    for kind in ("image", "audio"):
        raw = torch.randn(SHAPES[kind], generator=torch.Generator().manual_seed(0))
        maps = [
            m2ib.explain(each, (kind, raw), ("text", text), steps=2, samples=2) for each in (model, wanted)
        ]
        for place in (0, 1):
            np.testing.assert_array_equal(maps[0][place].grid, maps[1][place].grid)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [each.training for each in net.modules()] == training
    assert all(parameter.requires_grad for parameter in net.parameters())
    shared = {value.data_ptr() for value in net.state_dict().values()}
    assert {value.data_ptr() for value in model.module.state_dict().values()} == shared
    assert model.origin["checkpoint"] == f"{type(net).__name__} in memory"


def test_an_imagebind_of_other_sizes() -> None:
    module = m2ib.load_model("imagebind", architecture=naive_imagebind.SMALL, device="meta").module
    with pytest.raises(
        m2ib.CheckpointError, match=r"the ImageBindModel in memory is not of this architecture: .*; name"
    ):
        m2ib.load_model("imagebind", checkpoint=official(module))
    with pytest.raises(m2ib.SettingError, match="architecture is that of the model in memory; leave it out"):
        m2ib.load_model("imagebind", checkpoint=module, architecture=naive_imagebind.SMALL)
    with pytest.raises(
        m2ib.CheckpointError, match="imagebind-tiny: the ImageBind in memory has other sizes; open"
    ):
        m2ib.load_model("imagebind-tiny", checkpoint=module)


def test_an_imagebind_tiny() -> None:
    wanted = m2ib.load_model("imagebind-tiny", device="cpu")
    net = m2ib.load_model("imagebind-tiny", device="cpu").module.train()
    model = m2ib.load_model("imagebind-tiny", checkpoint=net)
    assert (model.module, net.training) == (net, True)
    assert "license" not in model.origin
    s = scene(seed=7)
    maps = [
        m2ib.explain(each, image=s.image, text="a photo of a bell", steps=2, samples=2)
        for each in (model, wanted)
    ]
    np.testing.assert_array_equal(maps[0]["image"].grid, maps[1]["image"].grid)


def test_an_imagebind_with_lora(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    net = m2ib.load_model("imagebind-tiny", device="cpu").module
    changed = peft.get_peft_model(net, peft.LoraConfig(r=2, target_modules=["fc1", "fc2"]))
    for name, parameter in changed.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)

    def mapped(checkpoint: Any) -> np.ndarray:
        model = m2ib.load_model("imagebind-tiny", checkpoint=checkpoint)
        return m2ib.explain(model, image=scene(seed=7).image, text="a bell", steps=2, samples=2)["image"].grid

    plain = mapped(m2ib.load_model("imagebind-tiny", device="cpu").module)
    found = mapped(changed)
    np.testing.assert_allclose(found, mapped(changed.merge_and_unload()), rtol=1e-3, atol=1e-4)
    assert np.abs(found - plain).max() > 0.01


@pytest.mark.parametrize("state", [vit_state, resnet_state])
def test_a_clip_for_xrays(tmp_path: Path, state: Any) -> None:
    path = save(state(), tmp_path / "cxr.pt", torch.float32)
    wanted = m2ib.load_model("cxr-repair", checkpoint=path, device="cpu", preprocess="chexpert")
    net = m2ib.load_model("cxr-repair", checkpoint=path, device="cpu").module.train()
    model = m2ib.load_model("cxr-repair", checkpoint=net, preprocess="chexpert")
    assert model.module is net
    pairs = [
        m2ib.explain(each, image=photo(), text="left opacity", steps=2, samples=2) for each in (model, wanted)
    ]
    for place in (0, 1):
        np.testing.assert_array_equal(pairs[0][place].grid, pairs[1][place].grid)
        assert pairs[0][place].settings == pairs[1][place].settings
    assert net.training
    assert model.origin["checkpoint"] == "CLIP in memory"
    with pytest.raises(m2ib.SettingError, match="cxr-repair: image_size is that of the model in memory"):
        m2ib.load_model("cxr-repair", checkpoint=net, image_size=64)


def test_a_clip_that_is_none_for_xrays(own: Any) -> None:
    with pytest.raises(
        m2ib.CheckpointError, match=r"takes images of 24x32 pixels and has 49,408 tokens, where"
    ):
        m2ib.load_model("cxr-repair", checkpoint=own)


def test_what_is_no_model_of_m2ib(net: Any, tmp_path: Path) -> None:
    pairs = Pairs("none", ("image", "text"), tuple)
    study = Study(("uniform",), ("confidence-drop",), limit=1)
    calls: dict[str, Any] = {
        "explain": lambda model: m2ib.explain(model, image=photo(), text=IDS),
        "explain_many": lambda model: m2ib.explain_many(model, []),
        "good_layers": lambda model: m2ib.good_layers(model, "text", IDS),
        "evaluate": lambda model: evaluate(model, pairs, study, tmp_path / "evaluation"),
        "tune": lambda model: tune(model, pairs, Search("image", "drop"), tmp_path / "search"),
        "benchmark": lambda model: run_scenes(model, scenes=1),
    }
    for who, call in calls.items():
        with pytest.raises(
            m2ib.InputError,
            match=rf"{who}: the model is a CLIPModel, .*load_model\('clip', checkpoint=net\)",
        ):
            call(net)
        with pytest.raises(m2ib.InputError, match=r"load it first: m2ib.load_model\('clip'\)"):
            call("clip")
    with pytest.raises(m2ib.InputError, match="benchmark: the model is a CLIPModel"):
        run_scenes(m2ib.load_model("clip", checkpoint=net), scenes=1, random_weights=net)
    assert not list(tmp_path.iterdir())


def compose(**config: Any) -> Any:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**config), is_train=False)


@pytest.fixture(scope="module")
def own() -> Any:
    import open_clip

    torch.manual_seed(0)
    return open_clip.CLIP(**VIT)


def test_an_open_clip_with_its_transform_and_tokenizer(own: Any) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    size = own.visual.image_size
    transform = compose(size=size, mean=(0.3, 0.4, 0.5), std=(0.2, 0.3, 0.4), interpolation="bilinear")
    model = m2ib.load_model("open-clip", checkpoint=own, transform=transform, tokenizer=SimpleTokenizer())
    assert model.module is own
    from PIL import Image

    torch.testing.assert_close(model.preprocess("image", [photo()])[0], transform(Image.fromarray(photo())))
    item = model.item("image", photo())
    assert item.origin["mean"] == pytest.approx([0.3, 0.4, 0.5])
    assert m2ib.explain(model, image=photo(), text="a dog", steps=1, samples=1)["text"].tokens[1:3] == (
        "a",
        "dog",
    )


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("shape", [(45, 61), (61, 45), (20, 33), (64, 48)])
def test_what_a_transform_shows_is_where_the_adapters_own_pixels_are(
    mode: str, shape: tuple[int, int]
) -> None:
    from m2ib_adapters.openclip.preprocess import merge, preparation

    config = {"resize_mode": mode, "interpolation": "bicubic"}
    given = transformed_images(compose(size=(32, 32), **config), (32, 32)).prepare(
        photo(*shape), m2ib.Layout((4, 4))
    )
    wanted = preparation(32, merge(config)).prepare(photo(*shape), m2ib.Layout((4, 4)))
    torch.testing.assert_close(given.inputs, wanted.inputs)
    assert given.view.region == pytest.approx(wanted.view.region, abs=1e-6)


def test_a_crop_that_is_smaller_than_what_it_cuts() -> None:
    from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

    steps = [Resize(40), CenterCrop(32), ToTensor(), Normalize((0.5,) * 3, (0.25,) * 3)]
    item = transformed_images(Compose(steps), (32, 32)).prepare(photo(80, 120), m2ib.Layout((4, 4)))
    assert item.view.region == (28, 8, 92, 72)


def test_a_transform_that_is_not_known(own: Any) -> None:
    from torchvision.transforms import Compose, RandomCrop, Resize, ToTensor

    for transform, message in (
        (Compose([RandomCrop(32), ToTensor()]), "has the step RandomCrop, of which it is not known"),
        (Compose([Resize((9, 9)), ToTensor()]), r"makes torch.Size\(\[3, 9, 9\]\) of an image"),
        (lambda image: image, "is a function; give the transform for validation"),
    ):
        with pytest.raises(m2ib.SettingError, match=message):
            m2ib.load_model("open-clip", checkpoint=own, transform=transform)
