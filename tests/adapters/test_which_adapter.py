"""Of small checkpoints in their real formats: which adapter opens each, that it does, and that nothing else is asked of the hub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import m2ib
import naive_imagebind
from hub import NOBODY, hub_of, run
from m2ib.cli import main
from open_clip_models import VIT, module_of, photo
from scene_model import SIZES
from tiny_clip import END, START, save_tiny_clip
from xrays import save, vit_state

FIRST = ("photo", "clip", "open-clip", "cxr-repair", "imagebind", "imagebind-tiny")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each kind, by what it is called below."""
    from safetensors.torch import save_file

    home = tmp_path_factory.mktemp("checkpoints")
    kinds = ("clip", "open", "both", "bert", "peft", "empty", "imagebind", "lists")
    found = {kind: home / kind for kind in kinds}
    for kind in ("open", "bert", "peft", "empty", "imagebind", "lists"):
        found[kind].mkdir()
    save_tiny_clip(found["clip"], blocks=2)
    save_tiny_clip(found["both"], blocks=2)
    (found["bert"] / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (found["lists"] / "config.json").write_text("[[1]]")
    (found["peft"] / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(found["clip"])})
    )
    weights = module_of(VIT).state_dict()
    for kind in ("open", "both"):
        (found[kind] / "open_clip_config.json").write_text(json.dumps({"model_cfg": VIT}))
        save_file(
            {key: value.contiguous() for key, value in weights.items()},
            found[kind] / "open_clip_model.safetensors",
        )
    torch.save(weights, home / "open.pt")
    save(vit_state(), home / "cxr.pt", torch.float32)
    small = naive_imagebind.random_state(naive_imagebind.SMALL, seed=0)
    torch.save(small, home / "imagebind.pth")
    torch.save(small, found["imagebind"] / "imagebind_huge.pth")
    (found["imagebind"] / "config.json").write_text(json.dumps(naive_imagebind.SMALL))
    save_file(naive_imagebind.random_state(SIZES, seed=0), home / "tiny.safetensors")
    (home / "notes.pt").write_text("nothing")
    torch.save({"w": torch.ones(2)}, home / "other.pt")
    names = ("open.pt", "cxr.pt", "imagebind.pth", "tiny.safetensors", "notes.pt", "other.pt")
    return found | {name: home / name for name in names}


OPENS: dict[str, tuple[str, dict[str, Any], str]] = {
    "clip": ("clip", {}, "clip"),
    "peft": ("peft", {}, "clip"),
    "both of them": ("both", {}, "clip"),
    "open_clip's folder": ("open", {}, "open-clip"),
    "a file of an architecture": ("open.pt", {"architecture": VIT}, "open-clip"),
    "a file with the config of a clip": ("open.pt", {"config": "clip"}, "clip"),
    "OpenAI's format": ("cxr.pt", {}, "cxr-repair"),
    "OpenAI's format for open_clip": ("cxr.pt", {"architecture": VIT}, "open-clip"),
    "imagebind's folder": ("imagebind", {}, "imagebind"),
    "imagebind's sizes": ("imagebind.pth", {"architecture": naive_imagebind.SMALL}, "imagebind"),
    "imagebind-tiny": ("tiny.safetensors", {}, "imagebind-tiny"),
}


@pytest.mark.filterwarnings("ignore:cxr-repair:m2ib.M2IBWarning")
@pytest.mark.parametrize(("place", "options", "name"), OPENS.values(), ids=OPENS.keys())
def test_the_adapter_that_opens_it(
    places: dict[str, Path], place: str, options: dict[str, Any], name: str
) -> None:
    if "config" in options:
        options = {"config": str(places[options["config"]])}
    opening = m2ib.who_opens(places[place], **options)
    assert opening.name == name
    assert [each for each in FIRST if opening.faults[each] is None] in ([name], ["clip", "open-clip"])


REASONS = {
    "bert": {
        "clip": "is a 'bert' model of transformers, not 'clip'",
        "open-clip": "has no open_clip_config.json",
        "cxr-repair": "is a transformers folder",
        "imagebind": "is a folder without model.safetensors or imagebind_huge.pth",
        "imagebind-tiny": "is not a file",
    },
    "empty": {"clip": "has no config.json with a model_type", "open-clip": "has no open_clip_config.json"},
    "lists": {"clip": "has no config.json with a model_type"},
    "imagebind.pth": {
        "clip": "is a file, which does not say what model it is of",
        "open-clip": "is a file of weights, which goes with architecture=",
        "imagebind": "holds an ImageBind of other sizes, which are named by architecture=",
        "imagebind-tiny": "holds an ImageBind of other sizes",
    },
    "other.pt": {"imagebind": "holds no weights of ImageBind"},
    "notes.pt": {
        "imagebind": "is damaged, or holds more than tensors, which may run code and is not opened",
        "open-clip": "is a file of weights, which goes with architecture=",
    },
}


@pytest.mark.parametrize("place", REASONS)
def test_why_none_opens_it(places: dict[str, Path], place: str) -> None:
    opening = m2ib.who_opens(places[place])
    assert opening.names == ()
    assert opening.faults["photo"] == "has its own weights and takes no checkpoint"
    for name, reason in REASONS[place].items():
        assert opening.faults[name] == reason
    with pytest.raises(m2ib.CheckpointError) as caught:
        m2ib.load_model("auto", checkpoint=places[place])
    assert "\n" not in str(caught.value)
    assert all(f"{name}: " in str(caught.value) for name in FIRST)


def test_options_that_do_not_fit(places: dict[str, Path]) -> None:
    faults = m2ib.who_opens(places["open.pt"], architecture="ViT-B-33").faults
    assert faults["open-clip"] is None  # the file is one; that the name is none is told when it is loaded
    assert faults["imagebind"] == "architecture is a dict of sizes, not str"
    assert faults["clip"] == "has no option 'architecture'"
    faults = m2ib.who_opens(places["imagebind.pth"], architecture=VIT).faults
    assert faults["open-clip"] == "has no weights named visual...."
    assert "architecture has no size 'embed_dim'" in str(faults["imagebind"])
    assert m2ib.who_opens("laion2b_s34b_b79k", architecture="ViT-B-32").name == "open-clip"
    faults = m2ib.who_opens("nobodys", architecture="ViT-B-32").faults
    assert "is neither a file nor a pretrained tag" in str(faults["open-clip"])


def test_a_model_is_loaded_by_the_same_answer(places: dict[str, Path]) -> None:
    ids = torch.tensor([START, 5, 60, END])
    model = m2ib.load_model("auto", checkpoint=places["clip"], device="cpu", image_size=40)
    assert (model.origin["adapter"], model.recipe and model.recipe["name"]) == ("clip", "m2ib:clip")
    assert model.preprocess("image", [photo()]).shape == (1, 3, 40, 40)  # type: ignore[union-attr]
    exp = m2ib.explain(model, image=photo(), text=ids, steps=1, samples=1)
    assert exp.provenance["adapter"] == "clip"


def test_a_folder_of_open_clip_is_a_checkpoint(places: dict[str, Path]) -> None:
    model = m2ib.load_model("auto", checkpoint=str(places["open"]), device="cpu")
    wanted = m2ib.load_model(
        "open-clip", architecture=VIT, checkpoint=places["open.pt"], device="cpu"
    ).module.state_dict()
    assert model.origin["adapter"] == "open-clip"
    assert all(torch.equal(value, wanted[key]) for key, value in model.module.state_dict().items())
    assert model.origin["from"] == str(places["open"])


def test_openais_format_is_taken_for_xrays_not_in_silence(places: dict[str, Path]) -> None:
    with pytest.warns(
        m2ib.M2IBWarning, match=r"which does not say what of; its images are taken for chest X-"
    ):
        assert m2ib.load_model("auto", checkpoint=places["cxr.pt"]).origin["adapter"] == "cxr-repair"


def test_models_in_memory() -> None:
    import open_clip
    from transformers import CLIPConfig, CLIPModel

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    clip = CLIPModel(CLIPConfig(text_config=sizes, vision_config=sizes))
    own = open_clip.CLIP(**VIT)
    for net, name in ((clip, "clip"), (nn.DataParallel(clip), "clip"), (own, "open-clip")):
        assert m2ib.who_opens(net).name == name
    assert m2ib.who_opens(own).faults["cxr-repair"] is None
    assert m2ib.who_opens(own).faults["clip"] == "checkpoint is a open_clip CLIP in memory, not a CLIPModel"
    assert m2ib.who_opens(m2ib.load_model("imagebind-tiny", device="meta").module).name == "imagebind-tiny"
    small = m2ib.load_model("imagebind", architecture=naive_imagebind.SMALL, device="meta").module
    assert m2ib.who_opens(small).name == "imagebind"
    assert "the ImageBind in memory has other sizes" in str(m2ib.who_opens(small).faults["imagebind-tiny"])
    assert m2ib.who_opens({"w": torch.ones(1)}).faults["clip"] == "takes no dict in memory"

    class CLIPModel:  # type: ignore[no-redef]  # somebody's own of that name
        pass

    assert "takes no CLIPModel in memory" in str(m2ib.who_opens(CLIPModel()).faults["clip"])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
def test_prompts_that_are_learned() -> None:
    peft = pytest.importorskip("peft")
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    net = BertForSequenceClassification(BertConfig(vocab_size=9, **sizes))
    prompted = peft.get_peft_model(net, peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2))
    assert "learns prompts, which are no part of its model" in str(m2ib.who_opens(prompted).faults["clip"])


def test_a_pair_on_the_command_line(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.png")
    words = [
        "explain",
        "--model",
        "auto",
        "--checkpoint",
        str(places["open"]),
        "--image",
        str(tmp_path / "a.png"),
    ]
    assert main([*words, "--text", "a dog", "steps=1", "samples=1", "--out", str(tmp_path / "out")]) == 0
    assert m2ib.load_explanation(tmp_path / "out").provenance["adapter"] == "open-clip"
    assert main([*words, "--sound", "a.wav", "--out", str(tmp_path / "more")]) == 2
    assert "The model 'auto' takes --image, --text" in capsys.readouterr().err


def test_asking_loads_no_model_library(places: dict[str, Path]) -> None:
    code = f"""
import sys, m2ib
assert m2ib.who_opens({str(places["clip"])!r}).name == "clip"
print(*({{"transformers", "open_clip", "timm", "peft"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.fixture
def hub() -> Iterator[Any]:
    files = {
        "/one/clip/resolve/main/config.json": b'{"model_type": "clip"}',
        "/one/open/resolve/main/open_clip_config.json": b'{"model_cfg": {}}',
    }
    with hub_of(files) as server:
        yield server


def test_of_a_hub_id_descriptions_alone_are_asked_for(hub: Any, tmp_path: Path) -> None:
    def ask(*repositories: str, port: int = hub.server_port) -> list[tuple[list[str], dict[str, Any]]]:
        """What each is opened by and why not, and what was asked of the hub since."""
        code = f"""
import json, m2ib
found = [m2ib.who_opens(each) for each in {repositories!r}]
print(json.dumps([[each.names, dict(each.faults)] for each in found]))
"""
        told = json.loads(run(code, tmp_path, port))
        return [(names, faults) for names, faults in told]

    def asked() -> set[str]:
        paths = {path for path in hub.asked if path.startswith("/one/")}
        hub.asked.clear()
        return paths

    assert [names for names, _ in ask("one/clip", "one/open")] == [["clip"], ["open-clip"]]
    assert {path.rpartition("/")[2] for path in asked()} == {
        "config.json",
        "open_clip_config.json",
        "modules.json",
        "config_sentence_transformers.json",
    }
    (_, clip), (_, none) = ask("one/clip", "one/none")
    assert clip["open-clip"] == "has no open_clip_config.json"
    assert none["clip"] == "has no config.json with a model_type"
    assert "/one/clip/resolve/main/config.json" not in asked()  # it is cached
    ((names, dead),) = ask("one/clip", port=NOBODY)
    assert names == ["clip"]
    assert str(dead["open-clip"]).startswith("is not a folder here, and the hub is out of reach (")
