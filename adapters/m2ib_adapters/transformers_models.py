"""Models of transformers in folders and on the hub: as it writes them, as training code does, and PEFT's beside a base."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from m2ib.errors import CheckpointError
from m2ib.notices import warn
from m2ib_adapters.bounds import check_described, check_weights
from m2ib_adapters.checkpoints import HERE, from_folder_or_hub, loading
from m2ib_adapters.state_dicts import check_stored, found_in, read_state
from m2ib_adapters.without_code import code_fault, without_code

PEFT = "adapter_config.json"
_MERGED = ("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT", "HRA", "VERA", "FOURIERFT")
_PEFT_KEYS = {  # that say what to change and how; others may name libraries, tokenizers and further folders
    "peft_type", "task_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping",
    "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias", "use_rslora",
    "modules_to_save", "init_lora_weights", "init_weights", "layers_to_transform", "layers_pattern", "rank_pattern",
    "alpha_pattern", "megatron_core", "use_dora", "lora_bias", "target_parameters", "qalora_group_size",
    "alpha", "rank_dropout", "module_dropout", "use_effective_conv2d", "decompose_both", "decompose_factor",
    "rank_dropout_scale", "feedforward_modules", "init_ia3_weights", "oft_block_size", "block_share", "coft", "eps",
    "use_cayley_neumann", "num_cayley_neumann_terms", "boft_block_size", "boft_block_num", "boft_n_butterfly_factor",
    "boft_dropout", "apply_GS", "projection_prng_key", "save_projection", "vera_dropout", "d_initial", "n_frequency",
    "scaling", "random_loc_seed", "target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight",
    "total_step",
}  # fmt: skip
_TOLD = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # told here, all of them
_OTHERS = {"clap": ": 'clap', of the package m2ib-clap"}
_WRONG = ("missing_keys", "mismatched_keys")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def from_transformers(
    adapter: str,
    source: str,
    kinds: Mapping[str, Any],
    *,
    file: Path | None = None,
    computed: tuple[str, ...] = ("position_ids",),
    check: Callable[[Any], None] = lambda config: None,
    **options: Any,
) -> tuple[Any, dict[str, Any]]:
    """transformers' model in a folder or hub id, with all of its weights; and options for what comes with it.

    kinds     the class, or its name in transformers, by ``model_type``
    file      that holds weights alone: then those of ``source``, whose config.json describes the model, are not read
    computed  ends of the names of buffers that transformers makes itself
    check     raises for a configuration that will not do
    options   for ``from_pretrained`` of the model alone

    ``source`` may be PEFT's folder, whose changes are merged into its base model; names of weights may have what
    training code puts before them. Raises :class:`CheckpointError`.
    """
    alone = file is not None
    if not alone and (base := base_of(source)) != source:
        module, _ = from_transformers(adapter, base, kinds, computed=computed, check=check, **options)
        return _merged(adapter, source, module), dict(HERE)

    who = f"{adapter}: checkpoint {str(file) if alone else source!r}"
    described = f"the config.json of {source!r}" if alone else "its config.json"
    with loading(adapter, source):
        place = from_folder_or_hub(adapter, source)  # before what takes long to import
    import transformers  # before, to read quietly

    with loading(adapter, source):
        config = _described(adapter, source, place, kinds, check)
        kind = kinds[config.model_type]
        kind = getattr(transformers, kind) if isinstance(kind, str) else kind
        if not alone:
            files = _weights_in(Path(source))
            for each in files:
                check_stored(each, who)
            check_weights(lambda: kind(config), who, sum(each.stat().st_size for each in files) or None)
            module, report = without_code(kind.from_pretrained, source, **_TOLD, **options, **place)
    found = ""
    if not alone and _named(report, computed, *_WRONG):  # by names that training code has changed
        file = next((Path(source) / name for name in _WEIGHTS if os.path.isfile(Path(source) / name)), None)
    if file is not None:
        module, report, found = _from_file(adapter, file, kind, config, options)
    if wrong := _named(report, computed, *_WRONG):
        raise CheckpointError(
            f"{who} lacks or misshapes {len(wrong)} weights that {described} describes, first {', '.join(wrong[:3])}; it "
            f"belongs to another architecture, or is incomplete{found}"
        )
    left = _named(report, computed, "unexpected_keys")
    parts = {name for name, _ in module.named_children()}  # in one of which weights of the model would lie
    if more := [name for name in left if name.partition(".")[0] in parts]:
        fault = f"{who} holds {len(more)} weights that {described} does not describe"
        first = f"first {', '.join(more[:3])}"
        if alone:
            raise CheckpointError(f"{fault}, {first}; give the config of the model that it was saved from")
        warn(f"{fault}, and that are left out, {first}; this may not be the model that was saved")
    elif left and alone:
        warn(f"{who} holds weights beside the model's, which are left out: {', '.join(left[:3])}")
    return module, place


def _weights_in(folder: Path) -> list[Path]:
    """Files of weights in a folder; none in a hub id."""
    return [
        each for each in folder.glob("*") if each.suffix in (".safetensors", ".bin") and os.path.isfile(each)
    ]


def _described(
    adapter: str,
    source: str,
    place: Mapping[str, Any],
    kinds: Mapping[str, Any],
    check: Callable[[Any], None],
) -> Any:
    """The configuration in a folder or hub id, which will do.

    place  options to read it
    """
    from transformers import AutoConfig, PreTrainedConfig

    who = f"{adapter}: checkpoint {source!r}"
    told = PreTrainedConfig.get_config_dict(source, **place)[0]
    check_described(told, who)
    if fault := code_fault(told):
        raise CheckpointError(f"{who} {fault}")
    config = without_code(AutoConfig.from_pretrained, source, **place)
    if config.model_type not in kinds:
        raise CheckpointError(
            f"{who} is a {config.model_type!r} model, not {' or '.join(map(repr, kinds))}; use an adapter made for it"
            f"{_OTHERS.get(config.model_type, '')}"
        )
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        attention = getattr(part, "_attn_implementation", None)
        if "/" in str(attention):
            raise CheckpointError(
                f"{who} wants its attention computed by code from the hub ({attention:.40}), which is never run; take "
                "attn_implementation out of its config.json"
            )
    check(config)
    return config


def _from_file(
    adapter: str, file: Path, kind: Any, config: Any, options: Mapping[str, Any]
) -> tuple[Any, Mapping[str, Any], str]:
    """The model with a file's weights, transformers' report, and what is in the file where no name fits."""
    state = read_state(file, adapter, mapped=True)
    with loading(adapter, str(file)):
        check_weights(lambda: kind(config), f"{adapter}: checkpoint {str(file)!r}", file.stat().st_size)
        module, report = without_code(
            kind.from_pretrained, None, config=config, state_dict=state, **_TOLD, **options
        )
    return module, report, "" if state.keys() & module.state_dict().keys() else f"; {found_in(state)}"


def base_of(source: str) -> str:
    """The base model that PEFT's folder is for; ``source`` itself where it is none.

    Raises :class:`CheckpointError` for one that names none.
    """
    folder = Path(source)
    if not os.path.isfile(folder / PEFT) or os.path.isfile(folder / "config.json"):
        return source
    try:
        base = json.loads((folder / PEFT).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not base or not isinstance(base, str) or base == source:
        raise CheckpointError(
            f"checkpoint {source!r} is PEFT's folder, whose {PEFT} names no base model; write it there as "
            "base_model_name_or_path, or load both with PEFT and give the model in memory"
        )
    beside = folder / base
    return str(beside) if os.path.isdir(beside) else base


def _merged(adapter: str, folder: str, module: Any) -> Any:
    """The base model with PEFT's changes in its weights, told of a known kind, with nothing that imports or loads more.

    Raises :class:`CheckpointError`.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise CheckpointError(
            f"{adapter}: checkpoint {folder!r} is PEFT's folder; install peft to open it (pip install peft)"
        ) from error
    with loading(adapter, folder):
        check_peft(f"{adapter}: checkpoint {folder!r}", Path(folder))
        return PeftModel.from_pretrained(module, folder, local_files_only=True).merge_and_unload()


def check_peft(who: str, folder: Path) -> None:
    """What PEFT is told is of a known kind, and is nothing that imports or loads more. Raises :class:`CheckpointError`."""
    told = json.loads((folder / PEFT).read_text(encoding="utf-8"))
    check_described(told, who)
    if told.get("peft_type") not in _MERGED:
        raise CheckpointError(
            f"{who} is of PEFT's kind {told.get('peft_type')!r:.40}, and only {', '.join(_MERGED)} are merged here; load it "
            "with PEFT and give the model in memory"
        )
    for key, value in told.items():
        if value and key not in _PEFT_KEYS:
            raise CheckpointError(
                f"{who}: its {PEFT} sets {key!r:.40}, which may load more than weights and is not followed; load it with PEFT "
                "and give the model in memory"
            )
    for each in _weights_in(folder):
        check_stored(each, who)


def _named(report: Mapping[str, Any], computed: tuple[str, ...], *lists: str) -> list[str]:
    """Names of weights in these lists of transformers' report: missing, of another shape (with both), unexpected."""
    names = {key if isinstance(key, str) else key[0] for name in lists for key in report[name]}
    return [name for name in sorted(names) if not name.endswith(computed)]
