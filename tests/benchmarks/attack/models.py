"""Folders of models: configurations, weights and what else lies in them; code of theirs is never run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file

import m2ib
from attack.mutations import TEXTS, damaged, other_kind, tree
from attack.sandbox import Finding
from open_clip_models import VIT
from tiny_clip import save_tiny_clip

_PAYLOAD = "import pathlib\npathlib.Path({path!r}).touch()\n"
_CODE = (
    {"auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config", "AutoTokenizer": ["evil.Tokenizer", None]}},
    {"trust_remote_code": True, "auto_map": {"AutoConfig": "evil.Config", "AutoTokenizer": ["evil.T", "evil.T"]}},
    {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}},
    {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}},
    {"image_processor_type": "Evil", "auto_map": {"AutoImageProcessor": "evil.Evil"}},
    {"_attn_implementation": "kernels-community/evil"}, {"num_hidden_layers": 100_000}, {"hidden_size": 10**7}, {"vocab_size": 10**9},
    {"quantization_config": {"quant_method": "bitsandbytes"}}, {"torch_dtype": "evil"}, {"architectures": ["../evil"]}, {"transformers_weights": "../../x"},
)  # fmt: skip


class Target:
    """Loads what was changed, and makes an embedding with what loads."""

    def __init__(self, home: Path) -> None:
        self.clip = save_tiny_clip(home / "clip")
        self.open = home / "open"
        self.open.mkdir()
        torch.manual_seed(0)
        module = open_clip.CLIP(**json.loads(json.dumps(VIT)))
        small = {key: value.contiguous() for key, value in module.state_dict().items()}
        save_file(small, self.open / "open_clip_model.safetensors")
        described = {"model_cfg": VIT, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
        (self.open / "open_clip_config.json").write_text(json.dumps(described))
        _use("clip", self.clip)
        _use("open-clip", self.open)

    def attack(self, rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
        adapter, origin = rng.choice((("clip", self.clip), ("open-clip", self.open)))
        here, marker = folder / "model", folder / "executed"
        shutil.copytree(origin, here)
        for name in ("evil.py", "__init__.py", "configuration_evil.py"):
            (here / name).write_text(_PAYLOAD.format(path=str(marker)))
        config = next(path for path in sorted(here.glob("*config.json")))
        weights = next(path for path in sorted(here.glob("*.safetensors")))
        how = rng.choice(
            ("tree",) * 5
            + ("code",) * 3
            + ("tokenizer", "weights", "weights", "header", "pickle", "bytes", "kind")
        )
        content = json.loads(config.read_text())
        if how == "tree":
            done, text = tree(rng, content, rng.choice((1, 1, 3)))
            config.write_bytes(text.encode("utf-8", "surrogatepass"))
        elif how == "code":
            more = rng.choice(_CODE)
            done = f"{config.name}: {more}"
            where = rng.choice([content, *(each for each in content.values() if isinstance(each, dict))])
            where.update(more)
            config.write_text(json.dumps(content))
        elif how == "tokenizer":
            cfg = content.get("model_cfg", content).setdefault(
                "text_cfg" if adapter == "open-clip" else "text_config", {}
            )
            more = {
                "hf_tokenizer_name": rng.choice((str(here), "nobody/nothing", *TEXTS)),
                "tokenizer_kwargs": {"trust_remote_code": True},
            }
            more |= rng.choice(
                (
                    {},
                    {"hf_model_name": str(here)},
                    {"hf_model_name": str(here), "hf_model_config": {"trust_remote_code": True}},
                )
            )
            cfg.update(more)
            config.write_text(json.dumps(content))
            fitting = {
                "model_type": "evil",
                "auto_map": {
                    "AutoTokenizer": ["evil.Evil", "evil.Evil"],
                    "AutoConfig": "evil.Evil",
                    "AutoModel": "evil.Evil",
                },
            }
            (here / "config.json").write_text(json.dumps(fitting))
            (here / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Evil", **fitting}))
            done = f"tokenizer {more}"
        elif how == "header":
            raw = weights.read_bytes()
            length = int.from_bytes(raw[:8], "little")
            done, text = tree(rng, json.loads(raw[8 : 8 + length]))
            head = text.encode("utf-8", "surrogatepass")
            weights.write_bytes(len(head).to_bytes(8, "little") + head + raw[8 + length :])
        elif how == "pickle":
            weights.unlink()
            name = "pytorch_model.bin" if adapter == "clip" else "open_clip_pytorch_model.bin"
            (here / name).write_bytes(
                f"cpathlib\nPath\n(S{str(marker)!r}\ntR(lcbuiltins\nexec\n(S'open({str(marker)!r}, \"w\")'\ntR.".encode()
            )
            done = f"a pickle as {name}"
        else:
            path = config if how == "bytes" else weights
            if how == "kind":
                done = other_kind(rng, rng.choice((config, weights)))
            else:
                done, raw_ = damaged(rng, path.read_bytes())
                path.write_bytes(raw_)
            done = f"{path.name}: {done}"

        def run() -> None:
            try:
                _use(adapter, here)
            finally:
                if marker.exists():
                    raise Finding("code of the folder was run")

        return f"{adapter}: {done}", run


def _use(adapter: str, folder: Path) -> None:
    given = {"checkpoint": folder} if adapter == "clip" else {"architecture": str(folder)}
    model = m2ib.load_model(adapter, device="cpu", **given)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    inputs = model.preprocess("image", [pixels])
    vectors = model.embed("image", inputs)
    if vectors.shape[0] != 1:
        raise Finding(f"an embedding of the shape {tuple(vectors.shape)}")
