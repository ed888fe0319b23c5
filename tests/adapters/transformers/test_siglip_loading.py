"""What can be loaded, and what is refused in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import m2ib

Edit = Callable[..., Path]


def load(folder: Any, **options: Any) -> Any:
    return m2ib.load_model("siglip", checkpoint=folder, device="cpu", **options)


def refused(folder: Any, **options: Any) -> str:
    with pytest.raises(m2ib.CheckpointError) as caught:
        load(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_listed_without_loading_anything() -> None:
    code = (
        "import sys, m2ib\n"
        "assert 'siglip' in m2ib.list_adapters().names\n"
        "assert not {'torch', 'transformers', 'm2ib_adapters.huggingface.adapter'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("kind", "name", "class_name"),
    [
        ("first", "Siglip ViT 32x3, patch 8, 32 px; text 32x3", "SiglipModel"),
        ("naflex", "Siglip2 ViT 32x3, patch 8, 16 positions; text 32x3", "Siglip2Model"),
    ],
)
def test_the_class_is_that_of_the_configuration(
    request: pytest.FixtureRequest, kind: str, name: str, class_name: str
) -> None:
    folder = request.getfixturevalue(kind)
    model = load(folder)
    assert type(model.module).__name__ == class_name
    assert not model.module.training
    assert model.origin["architecture"] == name
    assert model.origin["checkpoint"] == str(folder)


def test_dtypes(naflex: Path) -> None:
    model = load(naflex, dtype="bfloat16")
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.bfloat16}
    item = model.item("image", torch.zeros(30, 40, 3).byte().numpy())
    assert bool(torch.isfinite(model.embed("image", model.collate("image", [item]))).all())


@pytest.mark.parametrize("kind", ["first", "naflex"])
def test_another_kind_of_model(request: pytest.FixtureRequest, edited: Edit, kind: str) -> None:
    folder = edited(request.getfixturevalue(kind), "config.json", model_type="clip")
    assert refused(folder) == (
        f"siglip: checkpoint {str(folder)!r} is a 'clip' model, not 'siglip' or 'siglip2'; use an adapter made for it"
    )


@pytest.mark.parametrize("kind", ["first", "naflex"])
def test_a_model_without_its_pooling_head(request: pytest.FixtureRequest, edited: Edit, kind: str) -> None:
    folder = edited(request.getfixturevalue(kind), "config.json", vision_config__vision_use_head=False)
    assert refused(folder) == (
        f"siglip: checkpoint {str(folder)!r} has no pooling head (vision_use_head is false in its config.json), so it "
        "makes no embedding of an image; use a checkpoint with both towers whole"
    )


@pytest.mark.parametrize("kind", ["first", "naflex"])
def test_missing_weights(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "less"
    shutil.copytree(request.getfixturevalue(kind), folder)
    weights = load_file(folder / "model.safetensors")
    del weights["vision_model.head.probe"], weights["text_model.head.bias"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert refused(folder) == (
        f"siglip: checkpoint {str(folder)!r} lacks or misshapes 2 weights that its config.json describes, first "
        "text_model.head.bias, vision_model.head.probe; it belongs to another architecture, or is incomplete"
    )


def test_misshapen_weights(first: Path, edited: Edit) -> None:
    folder = edited(first, "config.json", vision_config__image_size=64)
    assert (
        "lacks or misshapes 1 weights that its config.json describes, first vision_model.embeddings.position"
        in refused(folder)
    )


def test_damaged_weights(first: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(first, folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    assert refused(folder).startswith(f"siglip: checkpoint {str(folder)!r} cannot be loaded: ")


def test_places_that_hold_no_checkpoint(tmp_path: Path) -> None:
    assert refused(tmp_path).endswith(
        "is a folder without config.json; give a local folder written by save_pretrained"
    )
    assert "does not exist" in refused(tmp_path / "none")


@pytest.mark.parametrize("most", [0, -3, 2.5, True, "many", 5000])
def test_max_patches_out_of_range(naflex: Path, most: object) -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        load(naflex, max_patches=most)
    assert str(caught.value) == f"siglip: max_patches is {most!r}; give a whole number from 1 to 4096"


def test_max_patches_of_a_fixed_resolution(first: Path) -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        load(first, max_patches=64)
    assert str(caught.value) == (
        "siglip: max_patches is 64, and this checkpoint takes images of 32x32 pixels alone; leave it out, or load a "
        "NaFlex checkpoint"
    )


def test_options_are_named(first: Path) -> None:
    with pytest.raises(m2ib.SettingError, match=r"did you mean 'max_patches'. It has max_patches, attention"):
        load(first, max_patchs=64)


def test_a_naflex_checkpoint_needs_its_image_processor(naflex: Path, tmp_path: Path) -> None:
    folder = tmp_path / "none"
    shutil.copytree(naflex, folder)
    (folder / "preprocessor_config.json").unlink()
    assert refused(folder).startswith(f"siglip: checkpoint {str(folder)!r} cannot be loaded: ")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"patch_size": 16}, "Siglip2ImageProcessor with patch_size 16 and do_resize True"),
        ({"do_resize": False}, "Siglip2ImageProcessor with patch_size 8 and do_resize False"),
        (
            {"image_processor_type": "SiglipImageProcessor"},
            "SiglipImageProcessor with patch_size 8 and do_resize True",
        ),
    ],
)
def test_a_naflex_checkpoint_with_another_image_processor(
    naflex: Path, edited: Edit, change: dict[str, object], what: str
) -> None:
    folder = edited(naflex, "preprocessor_config.json", **change)
    assert refused(folder) == (
        f"siglip: checkpoint {str(folder)!r} has the image processor {what}; its model needs a Siglip2ImageProcessor "
        "with patch_size 8 that resizes"
    )


def test_a_fixed_checkpoint_without_an_image_processor_has_siglips_values(
    first: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "none"
    shutil.copytree(first, folder)
    (folder / "preprocessor_config.json").unlink()
    photo = torch.arange(40 * 50 * 3).remainder(251).byte().reshape(40, 50, 3).numpy()
    pixels = [load(each).preprocess("image", [photo]) for each in (first, folder)]
    assert torch.equal(*pixels)


@pytest.mark.parametrize("change", [{"image_std": [0.5, 0.0, 0.5]}, {"image_mean": [0.5]}])
def test_a_fixed_checkpoint_with_an_impossible_image_processor(
    first: Path, edited: Edit, change: dict[str, list[float]]
) -> None:
    folder = edited(first, "preprocessor_config.json", **change)
    assert "cannot be loaded: its image processor has the image_mean [" in refused(folder)


def test_a_damaged_image_processor(first: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(first, folder)
    (folder / "preprocessor_config.json").write_text("{")
    assert refused(folder).startswith(f"siglip: checkpoint {str(folder)!r} cannot be loaded: ")


@pytest.mark.parametrize("kind", ["first", "naflex"])
def test_a_folder_that_a_processor_was_saved_into(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """transformers 5 writes the image processor into processor_config.json."""
    from transformers import AutoImageProcessor, AutoTokenizer, Siglip2Processor, SiglipProcessor

    source = request.getfixturevalue(kind)
    kinds = {"first": SiglipProcessor, "naflex": Siglip2Processor}
    folder = tmp_path / "saved"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(source / name, folder / name)
    parts = AutoImageProcessor.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    kinds[kind](*parts).save_pretrained(folder)
    assert (folder / "processor_config.json").is_file()
    assert not (folder / "preprocessor_config.json").exists()
    photo = torch.arange(40 * 50 * 3).remainder(251).byte().reshape(40, 50, 3).numpy()
    for modality, raw in (("image", photo), ("text", "a dog")):
        ours = [
            model.embed(modality, model.preprocess(modality, [raw])) for model in (load(source), load(folder))
        ]
        assert torch.equal(*ours)


@pytest.mark.parametrize("kind", ["first", "naflex"])
def test_a_model_in_memory(request: pytest.FixtureRequest, kind: str) -> None:
    from transformers import AutoModel, AutoProcessor

    folder = request.getfixturevalue(kind)
    net = AutoModel.from_pretrained(folder)
    net.train()
    photo = torch.arange(40 * 50 * 3).remainder(251).byte().reshape(40, 50, 3).numpy()
    net.name_or_path = ""
    given = m2ib.load_model("siglip", checkpoint=net, processor=AutoProcessor.from_pretrained(folder))
    for modality, raw in (("image", photo), ("text", "a dog")):
        ours = [model.embed(modality, model.preprocess(modality, [raw])) for model in (load(folder), given)]
        assert torch.equal(*ours)
    assert net.training
    assert given.module is net


@pytest.mark.parametrize("kind", ["first", "naflex"])
def test_which_adapter_opens_it(request: pytest.FixtureRequest, kind: str) -> None:
    from transformers import AutoModel

    folder = request.getfixturevalue(kind)
    for checkpoint in (folder, AutoModel.from_pretrained(folder)):
        assert m2ib.who_opens(checkpoint).name == "siglip"
    assert m2ib.load_model("auto", checkpoint=folder, device="cpu").origin["adapter"] == "siglip"


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
@pytest.mark.parametrize("kind", ["first", "naflex"])
def test_peft_in_memory_and_in_a_folder(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """LoRA beside the model gives what it gives merged, from its folder too."""
    from transformers import AutoModel, AutoProcessor

    peft = pytest.importorskip("peft")
    folder = request.getfixturevalue(kind)
    net = peft.get_peft_model(
        AutoModel.from_pretrained(folder), peft.LoraConfig(r=2, target_modules=["q_proj", "fc1"])
    )
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    net.save_pretrained(tmp_path / "lora")
    assert m2ib.who_opens(tmp_path / "lora").name == m2ib.who_opens(net).name == "siglip"
    beside = m2ib.load_model("siglip", checkpoint=net, processor=AutoProcessor.from_pretrained(folder))
    merged = load(tmp_path / "lora")
    assert merged.origin["base"] == str(folder)
    photo = torch.arange(40 * 50 * 3).remainder(251).byte().reshape(40, 50, 3).numpy()
    for modality, raw in (("image", photo), ("text", "a dog")):
        found, wanted, plain = (
            model.embed(modality, model.preprocess(modality, [raw]))
            for model in (beside, merged, load(folder))
        )
        torch.testing.assert_close(found, wanted)
        assert (found - plain).abs().max() > 0.01
    maps = [
        m2ib.explain(each, image=photo, text="a dog", steps=2, samples=2)["image"]
        for each in (beside, merged)
    ]
    np.testing.assert_allclose(maps[0].grid, maps[1].grid, rtol=1e-3, atol=1e-4)


def test_another_class_in_memory() -> None:
    with pytest.raises(
        m2ib.CheckpointError, match="is a torch Linear in memory, not a SiglipModel or Siglip2Model"
    ):
        m2ib.load_model("siglip", checkpoint=torch.nn.Linear(2, 2))


def test_a_model_from_nowhere_says_what_is_assumed(first: Path) -> None:
    from transformers import SiglipModel

    net = SiglipModel.from_pretrained(first)
    net.name_or_path = ""
    with pytest.warns(
        m2ib.M2IBWarning,
        match="without processor=, so pixels are prepared with SiglipImageProcessor's values",
    ):
        m2ib.load_model("siglip", checkpoint=net)


def test_positions_are_interpolated_to_another_size(first: Path) -> None:
    """As transformers' own forward pass does it when it is asked to."""
    model, plain = load(first, image_size=48), load(first)
    side = plain.module.config.vision_config.image_size
    assert side == 32
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = plain.module.get_image_features(
            pixel_values=pixels, interpolate_pos_encoding=True
        ).pooler_output
    found = model.embed("image", pixels)
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=-1), rtol=1e-4, atol=1e-5)
    assert model.origin["image_size"] == 48
    assert model.origin["positions"] == "interpolated"
    item = model.item("image", np.zeros((60, 50, 3), np.uint8))
    assert item.inputs.shape == (3, 48, 48)
    assert item.layout.grid == (48 // plain.module.config.vision_config.patch_size,) * 2


def test_sizes_that_cannot_be(first: Path, naflex: Path) -> None:
    for folder, size, said in (
        (naflex, 48, "image_size is for models of a fixed size"),
        (first, 3, "image_size is 3, less than a patch"),
        (first, "large", "image_size is a whole number > 0, not 'large'"),
    ):
        with pytest.raises(m2ib.SettingError, match=f"^siglip: {said}"):
            load(folder, image_size=size)


@pytest.mark.parametrize("kind", ["first", "naflex"])
def test_code_in_a_folder_is_never_run(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whatever its descriptions name; and nobody is asked, who would say "y"."""
    folder = Path(shutil.copytree(request.getfixturevalue(kind), tmp_path / "copy"))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\nclass Config: pass\n")
    autos = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor", "AutoProcessor")
    for path in folder.glob("*config.json"):
        told = json.loads(path.read_text())
        path.write_text(json.dumps(told | {"auto_map": dict.fromkeys(autos, "code.Config")}))
    questions: list[Any] = []

    def asked(*question: Any) -> str:
        questions.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", asked)
    load(folder)
    assert not questions
    assert not (tmp_path / "mark").exists()


def test_a_description_larger_than_its_weights(first: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(first, tmp_path / "copy"))
    told = json.loads((folder / "config.json").read_text())
    for changed, said in (
        (
            {"num_hidden_layers": 100_000},
            "has num_hidden_layers=100000, more than the 1,024 that are safe to open",
        ),
        ({"hidden_size": 10**9}, "has hidden_size=1000000000, more than the 4,194,304"),
        ({"image_size": 10**5}, "has image_size=100000, more than the 8,192"),
        (
            {"hidden_size": 2**19, "intermediate_size": 2**19},
            "weights, more than the 8,589,934,592 that are safe to open",
        ),
        ({"hidden_size": 2**13, "intermediate_size": 2**13}, "weights, and the file of its weights has"),
    ):
        text = json.dumps(told | {"vision_config": told["vision_config"] | changed})
        (folder / "config.json").write_text(text)
        assert said in refused(folder)
