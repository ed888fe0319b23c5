"""Models of transformers in folders and on the hub: as it writes them, as training code does, and PEFT's beside a base."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from m2ib.errors import CheckpointError
from m2ib.notices import warn
from m2ib_adapters.checkpoints import from_folder_or_hub, loading
from m2ib_adapters.state_dicts import can_be_mapped, found_in, read_state

_PEFT = "adapter_config.json"
_HERE = {"local_files_only": True, "trust_remote_code": False}
_TOLD = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # told here, all of them
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def from_transformers(
    adapter: str,
    source: str,
    kinds: Mapping[str, Any],
    *,
    computed: tuple[str, ...] = ("position_ids",),
    check: Callable[[Any], None] = lambda config: None,
    **options: Any,
) -> tuple[Any, dict[str, Any]]:
    """transformers' model in a folder or hub id, with all of its weights; and options for what comes with it.

    kinds     the class by ``model_type``
    computed  ends of the names of buffers that transformers makes itself
    check     raises for a configuration that will not do
    options   for ``from_pretrained`` of the model alone

    ``source`` may be PEFT's folder, whose changes are merged into its base model; names of weights may have what
    training code puts before them. Raises :class:`CheckpointError`.
    """
    if (base := base_of(source)) != source:
        module, _ = from_transformers(adapter, base, kinds, computed=computed, check=check, **options)
        return _merged(adapter, source, module), dict(_HERE)

    who = f"{adapter}: checkpoint {source!r}"
    with loading(adapter, source):
        config, place = _described(adapter, source, kinds, check)
        module, report = kinds[config.model_type].from_pretrained(source, **_TOLD, **options, **place)
    wrong = _named(report, computed, "missing_keys", "mismatched_keys")
    found = ""
    file = next((Path(source) / name for name in _WEIGHTS if (Path(source) / name).is_file()), None)
    if wrong and file is not None:  # by names that training code has changed
        module, report, found = _from_file(adapter, file, kinds, config, options)
        wrong = _named(report, computed, "missing_keys", "mismatched_keys")
    if wrong:
        raise CheckpointError(f"{who} {_lacks(wrong, 'its config.json')}{found}")
    return module, place


def from_weights(
    adapter: str,
    file: Path,
    source: str,
    kinds: Mapping[str, Any],
    *,
    computed: tuple[str, ...] = ("position_ids",),
    check: Callable[[Any], None] = lambda config: None,
    **options: Any,
) -> tuple[Any, dict[str, Any]]:
    """:func:`from_transformers` of a file that holds weights alone.

    source  the folder or hub id whose config.json describes the model; its own weights are not read
    """
    with loading(adapter, source):
        config, place = _described(adapter, source, kinds, check)
    module, report, found = _from_file(adapter, file, kinds, config, options)
    who, described = f"{adapter}: checkpoint {str(file)!r}", f"the config.json of {source!r}"
    if wrong := _named(report, computed, "missing_keys", "mismatched_keys"):
        raise CheckpointError(f"{who} {_lacks(wrong, described)}{found}")
    left = _named(report, computed, "unexpected_keys")
    parts = {name for name, _ in module.named_children()}
    if more := [name for name in left if name.partition(".")[0] in parts]:
        raise CheckpointError(
            f"{who} holds {len(more)} weights that {described} does not describe, first {', '.join(more[:3])}; give "
            "the config of the model that it was saved from"
        )
    if left:
        warn(
            f"{who} holds weights beside the model's, which are left out: {', '.join(left[:3])}", stacklevel=5
        )
    return module, place


def _described(
    adapter: str, source: str, kinds: Mapping[str, Any], check: Callable[[Any], None]
) -> tuple[Any, dict[str, Any]]:
    """The configuration in a folder or hub id, which will do; and options for what comes with it."""
    from transformers import AutoConfig

    place = from_folder_or_hub(adapter, source)
    config = AutoConfig.from_pretrained(source, **place)
    if config.model_type not in kinds:
        raise CheckpointError(
            f"{adapter}: checkpoint {source!r} is a {config.model_type!r} model, not "
            f"{' or '.join(map(repr, kinds))}; use an adapter made for it"
        )
    check(config)
    return config, place


def _from_file(
    adapter: str, file: Path, kinds: Mapping[str, Any], config: Any, options: Mapping[str, Any]
) -> tuple[Any, Mapping[str, Any], str]:
    """The model with a file's weights, transformers' report, and what is in the file where no name fits."""
    state = read_state(file, adapter, mapped=can_be_mapped(file))
    with loading(adapter, str(file)):
        kind = kinds[config.model_type]
        module, report = kind.from_pretrained(None, config=config, state_dict=state, **_TOLD, **options)
    return module, report, "" if state.keys() & module.state_dict().keys() else f"; {found_in(state)}"


def base_of(source: str) -> str:
    """The base model that PEFT's folder is for; ``source`` itself where it is none.

    Raises :class:`CheckpointError` for one that names none.
    """
    folder = Path(source)
    if not (folder / _PEFT).is_file() or (folder / "config.json").is_file():
        return source
    try:
        base = json.loads((folder / _PEFT).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not base or not isinstance(base, str) or base == source:
        raise CheckpointError(
            f"checkpoint {source!r} is PEFT's folder, whose {_PEFT} names no base model; write it there as "
            "base_model_name_or_path, or load both with PEFT and give the model in memory"
        )
    beside = folder / base
    return str(beside) if beside.is_dir() else base


def _merged(adapter: str, folder: str, module: Any) -> Any:
    """The base model with PEFT's changes in its weights."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise CheckpointError(
            f"{adapter}: checkpoint {folder!r} is PEFT's folder; install peft to open it (pip install peft)"
        ) from error
    with loading(adapter, folder):
        return PeftModel.from_pretrained(module, folder, local_files_only=True).merge_and_unload()


def _named(report: Mapping[str, Any], computed: tuple[str, ...], *lists: str) -> list[str]:
    """Names of weights in these lists of transformers' report: missing, of another shape (with both), unexpected."""
    names = {key if isinstance(key, str) else key[0] for name in lists for key in report[name]}
    return [name for name in sorted(names) if not name.endswith(computed)]


def _lacks(wrong: list[str], described: str) -> str:
    return (
        f"lacks or misshapes {len(wrong)} weights that {described} describes, first {', '.join(wrong[:3])}; it belongs "
        "to another architecture, or is incomplete"
    )
