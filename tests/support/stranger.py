"""Folders whose own Python leaves a mark when it is run."""

from __future__ import annotations

import json
from pathlib import Path

_CODE = """
from pathlib import Path
Path({mark!r}).write_text("run")
from transformers import BertConfig, BertModel, BertTokenizer
class {name}({base}):
    model_type = "stranger"
"""
_PARTS = {"Config": "BertConfig", "Model": "BertModel", "Tokenizer": "BertTokenizer"}
AUTO_MAP = {
    "AutoConfig": "code_config.StrangersConfig",
    "AutoModel": "code_model.StrangersModel",
    "AutoTokenizer": ["code_tokenizer.StrangersTokenizer", None],
    "AutoImageProcessor": "code_config.StrangersConfig",
    "AutoFeatureExtractor": "code_config.StrangersConfig",
    "AutoProcessor": "code_config.StrangersConfig",
}


def with_code(folder: Path, mark: Path) -> Path:
    """Code beside what is there, and every JSON that transformers reads naming it."""
    folder.mkdir(exist_ok=True)
    for part, base in _PARTS.items():
        text = _CODE.format(mark=str(mark), name=f"Strangers{part}", base=base)
        (folder / f"code_{part.lower()}.py").write_text(text)
    for path in folder.glob("*config.json"):
        if path.name != "open_clip_config.json":
            told = json.loads(path.read_text())
            path.write_text(json.dumps(told | {"auto_map": AUTO_MAP}))
    return folder


def unknown(folder: Path, mark: Path) -> Path:
    """A tokenizer and a model of a kind that nobody but their own code knows."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "stranger"}))
    told = {"tokenizer_class": "StrangersTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\ndog")
    return with_code(folder, mark)
