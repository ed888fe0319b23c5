"""A model of sentence-transformers out of a folder or the hub, with all of its weights and nothing of a stranger's code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from m2ib.errors import CheckpointError
from m2ib.notices import warn
from m2ib_adapters.bounds import TEXT, check_described
from m2ib_adapters.checkpoints import from_folder_or_hub, loading
from m2ib_adapters.state_dicts import check_stored
from m2ib_adapters.transformers_models import PEFT, check_peft
from m2ib_adapters.without_code import code_fault, without_code

WAYS = "give a hub id, a folder written by sentence-transformers, or its model in memory"
WHO = "sentence-transformers"
KINDS = ("SentenceTransformer", "MultiVectorEncoder")
MODULES, SETTINGS = "modules.json", "config_sentence_transformers.json"
_KNOWN = ("sentence_transformers.", "pylate.")  # whose modules are read; the second one's by the first
_READERS = ("Transformer", "CLIPModel")  # modules that may come first
_DESCRIBED = ("Pooling", "Dense")  # how modules are called that are not made without their config.json
_COLBERT = ("HF_ColBERT",)
_UNUSED = ("pooler.", "position_ids")  # of weights that may be missing, since no embedding is made of them


def read(source: str, device: torch.device, dtype: torch.dtype, attention: str | None) -> Any:
    """The model. Raises :class:`CheckpointError`."""
    who, folder = f"{WHO}: checkpoint {source!r}", os.path.isdir(source)
    here = folder or from_folder_or_hub(WHO, source)["local_files_only"]
    from huggingface_hub import snapshot_download
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer  # before, to read quietly

    with loading(WHO, source):
        # where its files lie: with a hub id, the library asks the hub for PEFT's changes whatever it is told
        place = snapshot_download(source, local_files_only=True) if here and not folder else source
        if folder:
            _check_folder(Path(place), who)
        modules, settings = (_told(place, name, here) for name in (MODULES, SETTINGS))
        if fault := fault_of(modules or (), settings, partial(_told, place, here=here)):
            raise CheckpointError(f"{who} {fault}")
        multi = is_late(settings, _told(place, "config.json", here))
        options = {"dtype": dtype, **({"attn_implementation": attention} if attention else {})}
        kind = MultiVectorEncoder if multi else SentenceTransformer
        net = without_code(kind, place, device=str(device), local_files_only=here, model_kwargs=options)
        _check_weights(net, place, modules, here, who)
        known = getattr(net[0], "tokenizer", None)
        if known is not None and len(known.get_vocab()) <= len(known.all_special_tokens) + 1:  # T5 has "▁"
            raise CheckpointError(
                f"{who} has no tokenizer.json that knows a word; save its tokenizer beside the weights"
            )
    if not multi and not modules:
        warn(
            f"{who} comes without {MODULES}, so the vectors of its tokens are averaged, as sentence-transformers does; give "
            "a folder that it has saved if the model was trained otherwise"
        )
    return net.to(dtype).eval()


def is_late(settings: Any, config: Any) -> bool:
    """Whether a checkpoint is of late interaction, sets of vectors that are compared by MaxSim, by what its two descriptions say."""
    settings, config = ({} if told is None else told for told in (settings, config))
    if "model_type" in settings:
        return bool(settings["model_type"] == "MultiVectorEncoder")
    late = any(
        each.endswith("ForRetrieval") or each in _COLBERT for each in config.get("architectures") or ()
    )
    return late or "query_prefix" in settings  # as PyLate saves it


def _told(source: str, name: str, here: bool) -> Any:
    """A JSON of the checkpoint; None where it has none."""
    from transformers.utils import cached_file

    path = cached_file(
        source,
        name,
        local_files_only=here,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if path is None else json.loads(Path(path).read_text(encoding="utf-8"))


def _check_folder(folder: Path, who: str) -> None:
    """What lies there is of sizes that can be, and weights alone are in its files of weights."""
    for each in sorted(folder.rglob("*")):
        if each.suffix == ".json" and each.is_file():
            TEXT.check(f"{who}: its {each.name}", each.stat().st_size, error=CheckpointError)
            if each.name == "config.json":
                check_described(json.loads(each.read_text(encoding="utf-8")), who)
            if each.name == PEFT:
                check_peft(who, each.parent)
        if each.suffix in (".bin", ".safetensors") and each.is_file():
            check_stored(each, who)


def fault_of(modules: Sequence[Any], settings: Any, told: Callable[[str], Any]) -> str | None:
    """What is wrong with what a checkpoint's descriptions name: another kind of model, a module of a stranger's, or its backbone.

    told  what a JSON of the checkpoint says, by its path in it
    """
    if not isinstance(settings, Mapping | None):
        return f"has a {SETTINGS} of another form than sentence-transformers writes"
    kind = (settings or {}).get("model_type", KINDS[0])
    if kind not in KINDS:
        return f"is a {kind!r:.40}, which has no embeddings that are compared here; a {' or '.join(KINDS)} is taken"
    for module in modules:
        kind = module.get("type") if isinstance(module, Mapping) else module
        if not str(kind).startswith(_KNOWN):
            give = "it to m2ib.adapt" if module is modules[0] else "the model in memory"
            return (
                f"has a module of the class {kind!r:.80}, which is not of sentence-transformers, and a stranger's code is never "
                f"run; load it and give {give}"
            )
    kinds = [str(each["type"]).rpartition(".")[2] for each in modules] or [_READERS[0]]
    files = [os.path.join(str(each.get("path", "")), "config.json") for each in modules] or ["config.json"]
    if kinds[0] not in _READERS:
        return no_blocks(kinds[0])
    for kind, file in zip(kinds, files, strict=True):
        if kind.endswith(_DESCRIBED) and told(file) is None:
            return f"lacks {file!r:.60}, which describes its {kind}; give the whole folder, as it was saved"
    return code_fault(told(files[0]), "the SentenceTransformer in memory")


def no_blocks(first: str) -> str:
    """What is wrong with a model whose first module is of this class."""
    return f"begins with a {first}, which has no blocks of a transformer to explain; models that begin with the library's own Transformer are taken"


def _check_weights(net: Any, source: str, modules: Any, here: bool, who: str) -> None:
    """Whether all that its transformer is made of was there: transformers draws what is missing. Raises :class:`CheckpointError`."""
    inner = getattr(net[0], "auto_model", None)
    if inner is None or hasattr(inner, "peft_config"):
        return
    place = modules[0].get("path", "") if modules else ""
    _, report = without_code(
        type(inner).from_pretrained,
        source,
        config=inner.config,
        subfolder=place,
        local_files_only=here,
        device_map="meta",
        output_loading_info=True,
    )
    missing = sorted(
        name for name in report["missing_keys"] if not name.startswith(_UNUSED) and not name.endswith(_UNUSED)
    )
    if missing:
        raise CheckpointError(
            f"{who} lacks {len(missing)} weights that its config.json describes, first {', '.join(missing[:3])}; it belongs "
            "to another architecture, or is incomplete"
        )
