"""A folder with a model brings weights and descriptions; whatever Python lies in it is never run, and nobody is asked whether to."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import m2ib
from m2ib_adapters.openclip.adapter import load
from open_clip_models import VIT, bert_config, module_of
from sentence_models import sentence_model
from stranger import unknown, with_code
from tiny_clip import END, START, save_tiny_clip

ROOT = Path(__file__).parents[2]
IDS = torch.tensor([[START, 5, END]])
NEVER = "it can only be read by code that lies with it, and a stranger's code is never run"


@pytest.fixture(autouse=True)
def _nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever asked would be told "y"."""
    questions: list[Any] = []

    def asked(*question: Any) -> str:
        questions.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", asked)
    yield
    assert not questions


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """What the code would write. It is looked for after each test."""
    yield tmp_path / "mark"
    assert not (tmp_path / "mark").exists()


def open_clip_folder(folder: Path, text: dict[str, Any]) -> dict[str, Any]:
    """A tiny open_clip folder whose tokenizer is the one beside it; options that open it."""
    config = {**VIT, "text_cfg": {**VIT["text_cfg"], **text}}
    folder.mkdir(exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    torch.save(module_of(VIT).state_dict(), folder / "open_clip_pytorch_model.bin")
    return {"architecture": str(folder), "device": "cpu"}


@pytest.mark.parametrize("key", ["trust_remote_code", "additional_special_tokens", "auto_map", "cache_dir"])
def test_keywords_of_a_tokenizer_are_on_a_list(tmp_path: Path, mark: Path, key: str) -> None:
    unknown(tmp_path / "model", mark)
    text = {"hf_tokenizer_name": "model", "tokenizer_kwargs": {key: True, "clean": "lower"}}
    options = open_clip_folder(tmp_path / "model", text)
    with pytest.raises(m2ib.CheckpointError) as caught:
        m2ib.load_model("open-clip", **options)
    assert str(caught.value) == (
        f"open-clip: architecture {tmp_path / 'model'}: its tokenizer_kwargs hold {key!r}, and only clean, strip_sep_token, "
        "language are followed; name a tokenizer or its folder with tokenizer="
    )


def test_a_tokenizer_of_ones_own_is_the_way_out(tmp_path: Path, mark: Path) -> None:
    import open_clip

    unknown(tmp_path / "model", mark)
    text = {"hf_tokenizer_name": "model", "tokenizer_kwargs": {"trust_remote_code": True}}
    options = open_clip_folder(tmp_path / "model", text)
    own = open_clip.SimpleTokenizer(context_length=12)
    model = m2ib.load_model("open-clip", **options, tokenizer=own)
    assert model.preprocess("text", ["a dog"]).shape == (1, 4)
    bert_config(tmp_path / "words")
    load(
        **options
        | {"device": torch.device("cpu"), "dtype": torch.float32, "tokenizer": str(tmp_path / "words")}
    )


def test_a_tokenizer_that_is_code_is_missed_when_a_text_comes(tmp_path: Path, mark: Path) -> None:
    unknown(tmp_path / "model", mark)
    options = open_clip_folder(tmp_path / "model", {"hf_tokenizer_name": "model"})
    model = m2ib.load_model("open-clip", **options)
    with pytest.raises(m2ib.InputError) as caught:
        model.preprocess("text", ["a dog"])
    assert NEVER in str(caught.value)
    assert "trust_remote_code" not in str(caught.value)


def test_a_named_tokenizer_that_is_code(tmp_path: Path, mark: Path) -> None:
    name = str(unknown(tmp_path / "words", mark))
    with pytest.raises(m2ib.SettingError, match=f"tokenizer {name!r} cannot be loaded: {NEVER}"):
        m2ib.load_model("open-clip", **open_clip_folder(tmp_path / "model", {}), tokenizer=name)


def test_a_text_tower_that_is_code(tmp_path: Path, mark: Path) -> None:
    name = str(unknown(tmp_path / "tower", mark))
    config = {**VIT, "text_cfg": {"hf_model_name": name, "hf_tokenizer_name": name}}
    with pytest.raises(m2ib.SettingError) as caught:
        m2ib.load_model("open-clip", architecture=config, device="cpu")
    assert str(caught.value).endswith(f"its text tower {name!r} cannot be read: {NEVER}")


@pytest.mark.filterwarnings("ignore:open-clip. architecture:m2ib.M2IBWarning")
def test_a_text_tower_that_transformers_knows_is_read_by_it(tmp_path: Path, mark: Path) -> None:
    config = bert_config(tmp_path / "bert")
    plain = m2ib.load_model("open-clip", architecture=config, device="cpu")
    with_code(tmp_path / "bert", mark)
    model = m2ib.load_model("open-clip", architecture=config, device="cpu")
    assert type(model.module.text.transformer).__module__.startswith("transformers.")
    ids = model.preprocess("text", ["a dog"])
    assert torch.equal(model.embed("text", ids), plain.embed("text", ids))


def test_an_image_tower_from_elsewhere(tmp_path: Path) -> None:
    for name in ("hf-hub:somebody/model", f"local-dir:{tmp_path}"):
        vision = {"timm_model_name": name, "image_size": 64}
        with pytest.raises(
            m2ib.SettingError, match=f"names the image tower '{name[:20]}.*, and only timm's own are built"
        ):
            m2ib.load_model("open-clip", architecture={**VIT, "vision_cfg": vision}, device="cpu")


@pytest.mark.parametrize(
    "told",
    [
        {"architecture": "hf-hub:somebody/model"},
        {"architecture": "resnet18", "model_args": {"checkpoint_path": "/etc/passwd"}},
    ],
)
def test_a_tower_that_timm_would_read_from_elsewhere(tmp_path: Path, told: dict[str, Any]) -> None:
    config = {
        "model_type": "vision-text-dual-encoder",
        "vision_config": {"model_type": "timm_wrapper", **told},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(m2ib.CheckpointError, match="a model from elsewhere, which is not read"):
        m2ib.load_model("transformers", checkpoint=tmp_path)


def test_a_clip_with_code_is_read_by_transformers(tmp_path: Path, mark: Path) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    folder = save_tiny_clip(tmp_path / "clip")
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    bert_config(tmp_path / "words")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "words" / name, folder)
    plain = m2ib.load_model("clip", checkpoint=folder, device="cpu")
    model = m2ib.load_model("clip", checkpoint=with_code(folder, mark), device="cpu")
    assert torch.equal(model.embed("text", IDS), plain.embed("text", IDS))


def test_a_clip_of_an_unknown_kind(tmp_path: Path, mark: Path) -> None:
    """It is told by each adapter, by those that read models of transformers with the way out."""
    folder = unknown(tmp_path / "clip", mark)
    said = "is a 'stranger' model by code of its own, and a stranger's code is never run; load it with trust_remote_code=True and give "
    ways = {"clip": "it to m2ib.adapt", "transformers": "it to m2ib.adapt"}
    for name, way in {**ways, "sentence-transformers": "the SentenceTransformer in memory"}.items():
        with pytest.raises(m2ib.CheckpointError) as caught:
            m2ib.load_model(name, checkpoint=folder, device="cpu")
        assert str(caught.value) == f"{name}: checkpoint {str(folder)!r} {said}{way}"
    opening = m2ib.who_opens(folder)
    assert {name: opening.faults[name] for name in ways} == {name: said + way for name, way in ways.items()}
    with pytest.raises(
        m2ib.CheckpointError, match=r"auto: no adapter opens .* is a 'stranger' model by code"
    ):
        m2ib.load_model("auto", checkpoint=folder)


CODE = """
import torch
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedConfig, PreTrainedModel
class WordsConfig(BertConfig):
    model_type = "strangers_words"
class Words(BertModel):
    config_class = WordsConfig
class PairConfig(PreTrainedConfig):
    model_type = "strangers_pair"
class Pair(PreTrainedModel):
    config_class = PairConfig
    def __init__(self, config):
        super().__init__(config)
        self.patches, self.words = nn.Conv2d(3, 16, 8, 8), nn.Embedding(40, 16)
        self.image, self.text = (nn.ModuleList(nn.Linear(16, 16) for _ in range(3)) for _ in range(2))
        self.post_init()
    def get_image_features(self, pixel_values):
        x = self.patches(pixel_values).flatten(2).mT
        for block in self.image:
            x = x + torch.tanh(block(x))
        return x.mean(1)
    def get_text_features(self, input_ids):
        x = self.words(input_ids)
        for block in self.text:
            x = x + torch.tanh(block(x))
        return x.mean(1)
"""


def test_the_way_out_of_a_model_by_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its user runs the code and gives what that makes: a pair of towers to adapt, sentences as sentence-transformers reads them."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoConfig, AutoModel

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folders = {"pair": tmp_path / "pair", "words": sentence_model(tmp_path / "sentences")}
    folders["pair"].mkdir()
    (folders["pair"] / "config.json").write_text("{}")
    for name, folder in folders.items():
        (folder / "code.py").write_text(CODE)
        told = json.loads((folder / "config.json").read_text()) | {"model_type": f"strangers_{name}"}
        told["auto_map"] = {
            "AutoConfig": f"code.{name.title()}Config",
            "AutoModel": f"code.{name.title()}",
        }
        (folder / "config.json").write_text(json.dumps(told))
        refused = {"pair": "transformers", "words": "sentence-transformers"}[name]
        assert f"is a 'strangers_{name}' model by code" in str(m2ib.who_opens(folder).faults[refused])
    pixels, ids = torch.rand(3, 32, 48), torch.tensor([5, 17, 3])
    config = AutoConfig.from_pretrained(folders["pair"], trust_remote_code=True)
    net = AutoModel.from_config(config, trust_remote_code=True)
    encoders = {
        "image": m2ib.Encoder(embed=net.get_image_features),
        "text": m2ib.Encoder(embed=net.get_text_features),
    }
    model = m2ib.adapt(net, encoders, examples={"image": pixels, "text": ids})
    found = m2ib.explain(model, image=pixels, text=ids, steps=2, show_progress=False)
    assert [each.grid.shape for each in found] == [(4, 6), (3,)]

    words = SentenceTransformer(str(folders["words"]), trust_remote_code=True, device="cpu")
    assert type(words[0].auto_model).__module__.startswith("transformers_modules.")
    model = m2ib.load_model("auto", checkpoint=words)
    found = m2ib.explain(model, ("text", "a bird"), ("text", "two dogs sing"), steps=2, show_progress=False)
    assert found[1].grid.shape == (5,)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_attention_from_the_hub(tmp_path: Path, key: str) -> None:
    folder = save_tiny_clip(tmp_path / "clip")
    told = json.loads((folder / "config.json").read_text())
    told[key] = "somebody/attention"
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(
        m2ib.CheckpointError, match=r"code from the hub \(somebody/attention\), which is never run"
    ):
        m2ib.load_model("clip", checkpoint=folder, device="cpu")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            {"megatron_config": {"a": 1}, "megatron_core": "strangers"},
            "sets 'megatron_config', which may load more",
        ),
        ({"tokenizer_kwargs": {"trust_remote_code": True}}, "sets 'tokenizer_kwargs', which may load more"),
        (
            {"peft_type": "XLORA", "adapters": {"a": "somebody/adapter"}},
            "of PEFT's kind 'XLORA', and only LORA",
        ),
        ({"peft_type": "PROMPT_TUNING"}, "of PEFT's kind 'PROMPT_TUNING', and only LORA"),
    ],
)
def test_what_peft_is_told_is_on_a_list(tmp_path: Path, told: dict[str, Any], said: str) -> None:
    pytest.importorskip("peft")
    folder = tmp_path / "peft"
    folder.mkdir()
    base = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}
    base["base_model_name_or_path"] = str(save_tiny_clip(tmp_path / "clip"))
    (folder / "adapter_config.json").write_text(json.dumps(base | told))
    with pytest.raises(m2ib.CheckpointError, match=said):
        m2ib.load_model("clip", checkpoint=folder, device="cpu")


NEEDED = {  # what these calls have to say
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "format.read_array": ("allow_pickle", False),
    "open_clip.load_checkpoint": ("weights_only", True),
    "timm.create_model": ("pretrained", False),
}
NEVER_CALLED = {
    "from_pretrained", "from_config", "from_hub", "HFTokenizer", "HFTextEncoder", "get_tokenizer", "create_model",
    "create_model_and_transforms", "create_model_from_pretrained", "SentenceTransformer", "pipeline", "load_dataset",
    "eval", "exec", "compile", "__import__", "Unpickler", "unsafe_load", "full_load", "run_path", "run_module",
    "read_pickle", "system", "popen", "Popen", "check_output",
}  # fmt: skip
NEVER_OF = {
    "pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "runpy",
    "jit",
    "hub",
    "subprocess",
}  # whose load, loads and run are never called
KNOWN = {
    ("m2ib/contract/model.py", "torch.load"),  # of bytes that the same class has just written
    ("m2ib/corpus/processes.py", "subprocess.Popen"),  # this Python, with a module of ours
    ("m2ib/corpus/worker.py", "pickle.loads"),  # of what the process that began it has written for it
    ("m2ib/corpus/ray_data.py", "cloudpickle.loads"),  # likewise, by way of Ray
    ("adapters/m2ib_adapters/memory.py", "Embedding.from_pretrained"),  # torch's, of a tensor
    (
        "adapters/m2ib_adapters/transformers_models.py",
        "PeftModel.from_pretrained",
    ),  # behind a list of what it is told
    ("adapters/m2ib_adapters/inputs/media.py", "import_module"),  # of names in the adapters
    ("adapters/m2ib_adapters/towers/hugging_face.py", "import_module"),  # likewise
}


def ways_in(text: str) -> list[str]:
    """Calls in a module's text that can run a stranger's code, or do not say that they shall not."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        words = ast.unparse(node.func).split(".")
        name, short = words[-1], ".".join(words[-2:])
        said = {each.arg: ast.unparse(each.value) for each in node.keywords}
        if short in NEEDED:
            key, value = NEEDED[short]
            unsafe = said.get(key) != str(value)
        elif name == "import_module":
            unsafe = not isinstance(node.args[0], ast.Constant)
        elif name == "load" and words[0] == "yaml":
            unsafe = True
        elif len(words) > 1 and name == "compile":
            unsafe = False  # of a pattern
        else:
            unsafe = name in NEVER_CALLED and not (len(words) > 1 and name in ("eval", "exec"))
            unsafe |= (
                len(words) > 1 and words[-2] in NEVER_OF and name in ("load", "loads", "run", "call", "open")
            )
        if unsafe:
            found.append(short)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "AutoModel.from_pretrained(x, trust_remote_code=False)", "HFTokenizer(x)", "open_clip.get_tokenizer(x)",
        "torch.load(x)", "torch.load(x, weights_only=False)", "np.load(x, allow_pickle=True)", "pickle.loads(x)",
        "timm.create_model(x, pretrained=True)", "yaml.load(x)", "import_module(x)", "eval(x)", "torch.jit.load(x)",
        "torch.hub.load(x)", "cloudpickle.load(x)", "subprocess.run(x)",
    ],
)  # fmt: skip
def test_a_way_in_is_found(text: str) -> None:
    assert ways_in(text)


def test_there_is_one_way_into_what_reads_folders() -> None:
    """Of everything in the house: what could run code goes through ``without_code``, or says that it shall not."""
    found = set()
    for package in ("m2ib", "adapters/m2ib_adapters", "plugins"):
        for path in (ROOT / package).rglob("*.py"):
            if "tests" not in path.parts:
                name = str(path.relative_to(ROOT))
                found |= {(name, way) for way in ways_in(path.read_text(encoding="utf-8"))}
    assert found == KNOWN
