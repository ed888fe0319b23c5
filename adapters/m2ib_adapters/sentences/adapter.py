"""``load_model("sentence-transformers", ...)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from m2ib.adapting.layers import find_layers, looked_at, run_order
from m2ib.contract.encoder import Encoder, Layer
from m2ib.contract.model import Model
from m2ib.contract.similarity import COSINE
from m2ib.errors import AdapterError, CheckpointError, SettingError
from m2ib_adapters.checkpoints import path_of
from m2ib_adapters.huggingface.adapter import load as load_dual
from m2ib_adapters.inputs.options import check_attention, check_count
from m2ib_adapters.looking import described_by
from m2ib_adapters.memory import described, unwrapped
from m2ib_adapters.sentences.pictures import picture_encoder
from m2ib_adapters.sentences.pipeline import Pipeline, check_modules, has_routes, is_multi, similarity_of
from m2ib_adapters.sentences.reading import KINDS, MODULES, SETTINGS, WAYS, WHO, fault_of, is_late, read
from m2ib_adapters.sentences.texts import embedding_of, sentence_encoder

_CLASSES = tuple(f"sentence_transformers.{name}" for name in KINDS)
PACKAGED = "all-MiniLM-L6-v2"
EXAMPLES = ("A bird sits on a branch.", "Two dogs play in the snow near the house.")


def load(
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    attention: str | None = None,
    prompts: Mapping[str, str] | None = None,
    truncate_dim: int | None = None,
    image: Mapping[str, Any] | None = None,
) -> Model:
    """Any model of sentence-transformers that begins with a transformer.

    checkpoint    a hub id or a folder as it saves them, or its model in memory, which is taken and left as it is; None:
                  all-MiniLM-L6-v2, whose weights come as a package
    attention     transformers' ``attn_implementation`` ("sdpa", "eager"); None: its default
    prompts       what stands before texts, by modality ("text", "query", "document"), in place of the model's own
    truncate_dim  so many numbers of an embedding are kept (Matryoshka). None: as the model says, all
    image         how raw images are read: page, minimum, maximum

    Modalities: "text" as its ``encode`` reads it; "query" and "document", as ``encode_query`` and ``encode_document`` do,
    where the model has prompts or routes (a Router) for them, or sets of vectors. Models of late interaction are compared by MaxSim.

    Raises :class:`CheckpointError` and :class:`SettingError`.
    """
    check_attention(attention, WHO)
    if device.type == "meta":
        raise SettingError(f"{WHO}: device is 'meta', where no text runs to find the blocks; give 'cpu'")
    if isinstance(checkpoint, nn.Module):
        if attention is not None:
            raise SettingError(
                "sentence-transformers: attention is that of the model in memory; leave it out"
            )
        net, source = unwrapped(WHO, checkpoint, _CLASSES), described(checkpoint)
    else:
        place = _package() if checkpoint is None else path_of(WHO, checkpoint, WAYS)
        net = read(place, device, dtype, attention)
        source = PACKAGED if checkpoint is None else place
    who = f"{WHO}: checkpoint {source!r}"
    check_modules(net, who)
    if net[0].modality_config.get("text", {}).get("method") == "get_text_features":
        return _dual(net, who, source, prompts, truncate_dim, image)
    size = _size(net, truncate_dim, who)
    said = _prompts(net, prompts)
    weight = next(net.parameters())
    ways = {"text": None, "query": "query", "document": "document"}
    asks = is_multi(net) or said["query"] or said["document"] or has_routes(net)
    images = net[0].transformer_task == "retrieval"  # are its documents
    pipelines = {
        name: Pipeline(net, who, task, said[name], size)
        for name, task in ways.items()
        if name == "text" or (asks and not (name == "document" and images))
    }
    pipelines = {name: each for name, each in pipelines.items() if each.leads_on()} or pipelines
    usual, *_ = pipelines.values()
    bare = Model(net, {}, weight.device, weight.dtype, similarity=similarity_of(net))
    layers = _layers(bare, usual, who)
    encoders = {
        name: sentence_encoder(pipeline, layers, name, EXAMPLES) for name, pipeline in pipelines.items()
    }
    pictures = picture_encoder(pipelines.get("document", usual), layers, image)
    if pictures is not None:
        encoders["image"] = pictures
    elif image is not None:
        raise SettingError(f"{who} takes no images; leave image out")
    origin: dict[str, Any] = {"checkpoint": source, "architecture": _describe(net)}
    if size is not None:
        origin["truncate_dim"] = size
    if any(said.values()):
        origin["prompts"] = {name: prompt for name, prompt in said.items() if prompt and name in encoders}
    return replace(bare, encoders=encoders, origin=origin)


def _dual(net: Any, who: str, source: str, prompts: Any, truncate_dim: Any, image: Any) -> Model:
    """CLIP and its kin: the encoders of transformers' model, since what follows it changes no direction."""
    more = [type(module).__name__ for module in list(net)[1:] if type(module).__name__ != "Normalize"]
    if more:
        raise CheckpointError(
            f"{who} has {', '.join(more)} after a model of two encoders, which is not known here; give the model itself to the "
            "adapter 'transformers'"
        )
    if similarity_of(net) != COSINE:
        raise CheckpointError(
            f"{who} is a model of two encoders that compares by {net.similarity_fn_name}, and only cosines are known here; set its "
            "similarity_fn_name to 'cosine'"
        )
    if prompts is not None or truncate_dim is not None:
        raise SettingError(
            f"{who} is a model of two encoders, and takes no prompts and no truncate_dim; leave them out"
        )
    inner, weight = net[0].auto_model, next(net.parameters())
    found = load_dual(
        checkpoint=inner, device=weight.device, dtype=weight.dtype, processor=net[0].processor, image=image
    )
    return replace(found, module=net, origin={"checkpoint": source, "architecture": _describe(net)})


def can(checkpoint: Any, **options: Any) -> str | None:
    """For :class:`AdapterSpec`."""
    if isinstance(checkpoint, nn.Module):
        unwrapped(WHO, checkpoint, _CLASSES)
        return None
    told = partial(described_by, checkpoint)
    modules, settings = told(MODULES), told(SETTINGS)
    if not isinstance(modules, list) and not is_late(settings, told("config.json")):
        return f"has no {MODULES}, and is of no late interaction"
    return fault_of(modules or (), settings, told)


def _package() -> str:
    from m2ib_adapters.photo.networks import TEXT_FILE, TEXT_SHA256, checked, package_file

    return str(checked(package_file(*TEXT_FILE), TEXT_SHA256).parent)


def _size(net: Any, given: Any, who: str) -> int | None:
    """Numbers of an embedding that are kept. Raises :class:`SettingError`."""
    found: int | None = getattr(net, "truncate_dim", None) if given is None else given
    if found is not None:
        check_count(found, "truncate_dim", who)
    if given is not None and (is_multi(net) or given > (net.get_embedding_dimension() or given)):
        raise SettingError(
            f"{WHO}: truncate_dim={given} of embeddings of "
            f"{'sets of vectors' if is_multi(net) else net.get_embedding_dimension()}; leave it out"
        )
    return found


def _prompts(net: Any, given: Any) -> dict[str, str | None]:
    """What stands before texts, by modality. Raises :class:`SettingError`."""
    usual = net.prompts.get(net.default_prompt_name) if net.default_prompt_name else None
    said = {"text": usual, **{task: net.prompts.get(task, usual) for task in ("query", "document")}}
    if given is not None and not isinstance(given, Mapping):
        raise SettingError(f"{WHO}: prompts is a dict by modality, not {given!r:.60}")
    for name, prompt in (given or {}).items():
        if name not in said or not isinstance(prompt, str):
            raise SettingError(
                f"{WHO}: prompts has {name!r:.40}: {prompt!r:.60}; it is a text for each of {', '.join(said)}; on the command line "
                "'options.prompts.query=\"query: \"'"
            )
        said[name] = prompt
    return said


def _layers(model: Model, pipeline: Pipeline, who: str) -> tuple[Layer, ...]:
    """The blocks that run when a text is embedded, their axes looked at. Raises :class:`CheckpointError`."""
    embed: Any = embedding_of(pipeline)
    batch = pipeline.features(EXAMPLES[0])["input_ids"].to(model.device)  # (1, T)
    try:
        with model.running():
            ran = run_order(model, embed, batch, who)
            # ALBERT runs one block for all of its layers: the one place that is passed once is before them.
            entry = tuple(name for name in ran if name.endswith(".embedding_hidden_mapping_in"))
            layers = find_layers(model.module, entry, ran, who)
            encoder = Encoder(modality="text", embed=embed, layers=layers)
            _, *found = looked_at(model, encoder, batch, [True] * (len(layers) + 1), who)
    except AdapterError as error:
        raise CheckpointError(f"{error}; this model cannot be explained") from error
    return tuple(found)


def _describe(net: Any) -> str:
    names = ", ".join(type(module).__name__ for module in net)
    return f"{type(net[0].auto_model).__name__} in {type(net).__name__} ({names})"
