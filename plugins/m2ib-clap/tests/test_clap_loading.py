"""Checkpoints that cannot be used, each with one clear line; and older ones that can."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE
from safetensors.torch import load_file, save_file

import m2ib
from clap_checkpoint import extractor, processor


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A checkpoint without fusion, to be changed."""
    return Path(shutil.copytree(folders["unfused"], tmp_path / "copy"))


def failure(checkpoint: Any) -> str:
    """What loading it says, without the checkpoint's own name."""
    with pytest.raises(m2ib.CheckpointError) as caught:
        m2ib.load_model("clap", checkpoint=checkpoint, device="cpu")
    text = str(caught.value)
    start = f"clap: checkpoint {str(checkpoint)!r} "
    assert text.startswith(start)
    assert "\n" not in text
    return text.removeprefix(start)


def test_another_kind_of_model(copy: Path) -> None:
    (copy / "config.json").write_text(json.dumps({"model_type": "clip"}))
    assert failure(copy) == "is a 'clip' model, not 'clap'; use an adapter made for it"


def test_a_folder_without_config(tmp_path: Path) -> None:
    assert (
        failure(tmp_path) == "is a folder without config.json; give a local folder written by save_pretrained"
    )


def test_missing_and_misshaped_weights(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["audio_projection.linear1.weight"]
    weights["text_model.pooler.dense.weight"] = torch.zeros(3, 3)
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert failure(copy) == (
        "lacks or misshapes 2 weights that its config.json describes, first audio_projection.linear1.weight, "
        "text_model.pooler.dense.weight; it belongs to another architecture, or is incomplete"
    )


def test_weights_of_a_model_without_fusion_for_one_with(folders: dict[str, Path], copy: Path) -> None:
    shutil.copy(folders["fused"] / "config.json", copy / "config.json")
    told = failure(copy)
    assert told.startswith("lacks or misshapes ")
    assert "audio_model.audio_encoder.patch_embed.fusion_model." in told


def test_damaged_weights(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"no weights")
    assert failure(copy).startswith("cannot be loaded: ")


def test_buffers_that_older_checkpoints_lack(copy: Path, models: dict[str, m2ib.Model]) -> None:
    weights = load_file(copy / "model.safetensors")
    ends = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")
    kept = {name: weight for name, weight in weights.items() if not name.endswith(ends)}
    assert len(kept) < len(weights) - 3
    save_file(kept, copy / "model.safetensors", {"format": "pt"})
    model, whole = m2ib.load_model("clap", checkpoint=copy, device="cpu"), models["unfused"]
    for modality, raws in (("text", ["a dog"]), ("audio", whole.encoder("audio").examples())):  # type: ignore[misc]
        assert torch.equal(
            model.embed(modality, model.preprocess(modality, raws)),
            whole.embed(modality, whole.preprocess(modality, raws)),
        )


def test_without_feature_extractor(copy: Path) -> None:
    for name in ("preprocessor_config.json", "processor_config.json"):
        (copy / name).unlink(missing_ok=True)
    assert failure(copy) == (
        "comes without a feature extractor (preprocessor_config.json); save the checkpoint's own into its folder "
        "(ClapProcessor.save_pretrained)"
    )


def test_without_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    assert failure(copy) == (
        "comes without a tokenizer (tokenizer.json); save the checkpoint's own into its folder "
        "(ClapProcessor.save_pretrained)"
    )


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"truncation": "fusion"}, "has truncation 'fusion', and the model is one for 'rand_trunc'"),
        ({"padding": "mirror"}, "has padding 'mirror'; there is 'repeatpad', 'repeat' and 'pad'"),
        ({"bands": 32}, "makes 32 mel bands, and the model takes 64"),
        ({"hop_length": 20}, "makes 401 frames, and the model takes 2 to 256"),
    ],
)
def test_an_extractor_of_another_model(copy: Path, changed: dict[str, Any], problem: str) -> None:
    extractor(False, **changed).save_pretrained(copy)
    assert failure(copy) == (
        f"does not fit together: its preprocessor_config.json {problem}; take both from one checkpoint"
    )


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"feature_extractor_type": "WhisperFeatureExtractor"},
            "is of a WhisperFeatureExtractor; a CLAP hears by a ",
        ),
        ({"hop_length": 0}, "has hop_length 0; give whole numbers above 0"),
        ({"max_length_s": 1.25}, "has max_length_s 1.25; give whole numbers above 0"),
        ({"sampling_rate": 8000.5, "hop_length": "a"}, "has sampling_rate 8000.5, hop_length 'a'; give"),
    ],
)
def test_an_extractor_with_values_that_cannot_be(copy: Path, changed: dict[str, Any], problem: str) -> None:
    file = copy / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    assert problem in failure(copy)


@pytest.mark.parametrize(
    "changed",
    [
        {"padding": "repeat"},
        {"padding": "pad", "frequency_min": 400, "frequency_max": 2000},
        {"top_db": 20, "padding_value": 3.0, "fft_window_size": 256},
    ],
)
def test_whatever_the_extractors_file_says_is_heard(copy: Path, changed: dict[str, Any]) -> None:
    from transformers import ClapFeatureExtractor

    file = copy / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    own = ClapFeatureExtractor.from_pretrained(copy)
    sound = torch.linspace(0, 400, 3000).sin().numpy() * 0.1
    wanted = own(sound, sampling_rate=own.sampling_rate, return_tensors="pt")["input_features"]
    model = m2ib.load_model("clap", checkpoint=copy, device="cpu")
    torch.testing.assert_close(
        model.preprocess("audio", [(sound, own.sampling_rate)]), wanted, rtol=0, atol=1e-5
    )


def test_the_default_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **options: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", unreachable)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **options: None)
    with pytest.raises(m2ib.CheckpointError) as caught:
        m2ib.load_model("clap", device="cpu")
    assert str(caught.value) == (
        f"clap: checkpoint 'laion/clap-htsat-unfused' is not a folder here, and the hub is out of reach ({ENDPOINT}: no network), "
        f"nor is it in the cache {HF_HUB_CACHE}, which `hf download laion/clap-htsat-unfused` fills where there is a network; give a "
        "local folder written by save_pretrained"
    )


def test_an_unknown_option(copy: Path) -> None:
    with pytest.raises(
        m2ib.SettingError, match=r"adapter 'clap' has no option 'pooling'\. It has processor, tokenizer"
    ):
        m2ib.load_model("clap", checkpoint=copy, device="cpu", pooling="mean")


def test_what_the_provenance_says(models: dict[str, m2ib.Model], folders: dict[str, Path]) -> None:
    origin = models["fused"].origin
    assert origin["checkpoint"] == str(folders["fused"])
    assert origin["architecture"] == "CLAP with fusion, HTSAT 8x(1+2+1), 64 mel bands; RoBERTa 16x3"
    assert models["unfused"].origin["architecture"].startswith("CLAP, HTSAT 8x(1+2+1)")


def test_code_in_a_folder_is_never_run(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its descriptions name; and nobody is asked, who would say "y"."""
    (copy / "code.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\nclass Config: pass\n")
    autos = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoFeatureExtractor", "AutoProcessor")
    for path in copy.glob("*config.json"):
        told = json.loads(path.read_text())
        path.write_text(json.dumps(told | {"auto_map": dict.fromkeys(autos, "code.Config")}))
    questions: list[Any] = []

    def asked(*question: Any) -> str:
        questions.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", asked)
    m2ib.load_model("clap", checkpoint=copy, device="cpu")
    assert not questions
    assert not (tmp_path / "mark").exists()


def test_an_extractor_that_would_fill_the_memory(copy: Path) -> None:
    path = copy / "preprocessor_config.json"
    told = json.loads(path.read_text())
    for changed, said in (
        (
            {"feature_size": 10**9},
            ": its feature extractor has feature_size=1000000000, more than the 4,194,304",
        ),
        (
            {"feature_size": 10**5, "fft_window_size": 2**17},
            "has fft_window_size 131072 and feature_size 100000, which is",
        ),
        (
            {"sampling_rate": 10**6, "max_length_s": 10**6},
            "has sampling_rate 1000000 and max_length_s 1000000, which is",
        ),
    ):
        path.write_text(json.dumps(told | changed))
        with pytest.raises(m2ib.CheckpointError) as caught:
            m2ib.load_model("clap", checkpoint=copy, device="cpu")
        assert said in str(caught.value)


def explained(model: m2ib.Model) -> list[Any]:
    time = np.arange(4000) / 8000
    pair = m2ib.explain(
        model, audio=(np.sin(2000 * time).astype(np.float32), 8000), text="a tone", steps=2, samples=2
    )
    return [pair["audio"].grid, pair["text"].grid]


def test_a_model_in_memory(folder: Path) -> None:
    from transformers import ClapModel

    net = ClapModel.from_pretrained(folder).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    wanted = explained(m2ib.load_model("clap", checkpoint=folder, device="cpu"))
    nearby = m2ib.load_model("clap", checkpoint=net)
    net.name_or_path = ""
    for model in (nearby, m2ib.load_model("clap", checkpoint=net, processor=processor(folder))):
        assert model.module is net
        for found, grid in zip(explained(model), wanted, strict=True):
            np.testing.assert_array_equal(found, grid)
    parts = processor(folder)
    m2ib.load_model("clap", checkpoint=net, processor=parts.feature_extractor, tokenizer=parts.tokenizer)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_model_in_memory_without_what_it_needs(folder: Path) -> None:
    from transformers import ClapModel

    net = ClapModel.from_pretrained(folder)
    net.name_or_path = ""
    with pytest.raises(m2ib.CheckpointError) as caught:
        m2ib.load_model("clap", checkpoint=net, processor=processor(folder).feature_extractor)
    assert str(caught.value) == (
        "clap: the ClapModel in memory came without processor=; give transformers' ClapProcessor"
    )
    with pytest.raises(
        m2ib.SettingError, match=r"clap: processor is a dict, tokenizer a \w+; give transformers'"
    ):
        m2ib.load_model("clap", checkpoint=net, processor={}, tokenizer=processor(folder).tokenizer)
    with pytest.raises(m2ib.CheckpointError, match="is a torch Linear in memory, not a ClapModel"):
        m2ib.load_model("clap", checkpoint=torch.nn.Linear(2, 2))


def test_which_adapter_opens_it(folder: Path) -> None:
    from transformers import ClapModel

    for checkpoint in (folder, ClapModel.from_pretrained(folder)):
        assert m2ib.who_opens(checkpoint).name == "clap"
    assert m2ib.load_model("auto", checkpoint=folder, device="cpu").origin["adapter"] == "clap"


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
def test_peft_in_memory_and_in_a_folder(folder: Path, tmp_path: Path) -> None:
    """LoRA beside the model gives what it gives merged, from its folder too."""
    from transformers import ClapModel

    peft = pytest.importorskip("peft")
    targets = ["query", "value", "fc1", "linear1"]
    net = peft.get_peft_model(ClapModel.from_pretrained(folder), peft.LoraConfig(r=2, target_modules=targets))
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    net.save_pretrained(tmp_path / "lora")
    assert m2ib.who_opens(tmp_path / "lora").name == m2ib.who_opens(net).name == "clap"
    merged = m2ib.load_model("clap", checkpoint=tmp_path / "lora", device="cpu")
    assert merged.origin["base"] == str(folder)
    found = explained(m2ib.load_model("clap", checkpoint=net, processor=processor(folder)))
    for mine, wanted in zip(found, explained(merged), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-3, atol=1e-4)
    plain = explained(m2ib.load_model("clap", checkpoint=folder, device="cpu"))
    assert np.abs(found[0] - plain[0]).max() > 0.01
