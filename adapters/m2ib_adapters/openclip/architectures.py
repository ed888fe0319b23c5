"""What a user calls an architecture -> open_clip's configuration of it."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from m2ib.errors import CheckpointError, SettingError, decoding
from m2ib_adapters.bounds import TEXT, check_described
from m2ib_adapters.checkpoints import cached_file, hub_has, loading, path_of

HUB = "hf-hub:"
_FOLDER = "local-dir:"
CONFIG_FILE = "open_clip_config.json"
_REQUIRED = ("embed_dim", "vision_cfg", "text_cfg")
_OTHERS = {  # what else open_clip builds, by what its configuration has
    "audio_cfg": "compares sounds with texts (CLAP), and this adapter opens encoders of images; the plugin m2ib-clap opens "
    "LAION's CLAP",
    "genlip_cfg": "writes texts about images (GenLIP) and has no encoder of texts to compare with",
    "genlap_cfg": "writes texts about sounds (GenLAP) and has no encoder of texts to compare with",
}
# Names of weights in a folder or hub repository, the safe format first; as open_clip writes them.
WEIGHT_FILES = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors",
    "open_clip_pytorch_model.bin", "pytorch_model.bin",
)  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """One open_clip model, without weights.

    label       how to name it in messages and in the provenance
    config      what open_clip's constructors take: embed_dim, vision_cfg, text_cfg, ...
    preprocess  how pixels are prepared, as far as the source says
    tags        pretrained weights known to open_clip, by tag; only of a registered name
    weights     a file of weights that comes with the source
    folder      where a tokenizer may lie beside the configuration
    """

    label: str
    config: dict[str, Any]
    preprocess: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: Path | None = None
    folder: Path | None = None

    def place(self, chosen: ChosenArchitecture) -> str | None:
        """The folder, the hub's repository or the URL that its weights come from, where they do not stand alone."""
        if chosen.tag is not None:
            return chosen.tag.get("hf_hub", "").rpartition("/")[0] or chosen.tag.get("url")
        if chosen.path is None or chosen.path != self.weights:
            return None
        return self.label.removeprefix(HUB) if self.folder is None else str(self.folder)


def resolve(architecture: Any) -> Architecture:
    """A registered name, ``hf-hub:owner/name``, a folder, a JSON file or the configuration itself.

    Raises :class:`SettingError` for what is none of them, with the registered names that come close.
    """
    import open_clip

    if architecture is None:
        raise SettingError(
            "open-clip: architecture is missing; give a name as in architecture='ViT-B-32' "
            "(open_clip.list_models() has them all), a model-config JSON file, or its content as a dict"
        )
    if isinstance(architecture, Mapping):
        return _from_config(dict(architecture), "given as a dict")
    if not isinstance(architecture, (str, PathLike)):
        raise SettingError(
            f"open-clip: architecture is a name, a file or a dict, not {type(architecture).__name__}"
        )
    name = str(architecture)
    if name.startswith(HUB):
        return _from_hub(name)
    registered = open_clip.get_model_config(name.replace("/", "-")) if not name.startswith(_FOLDER) else None
    if registered is not None:
        name = name.replace("/", "-")
        _check(registered, name)
        known = open_clip.list_pretrained_tags_by_model(name)
        tags = {tag: open_clip.get_pretrained_cfg(name, tag) for tag in known}
        return Architecture(name, deepcopy(registered), _agreed(tags), tags)
    path = Path(name.removeprefix(_FOLDER))
    if os.path.isdir(path):
        if not os.path.isfile(path / CONFIG_FILE):
            raise SettingError(f"open-clip: architecture {str(path)!r} is a folder without {CONFIG_FILE}")
        weights = next((path / name for name in WEIGHT_FILES if os.path.isfile(path / name)), None)
        return _from_config(_read_json(path / CONFIG_FILE), str(path), weights=weights, folder=path)
    if os.path.isfile(path):
        return _from_config(_read_json(path), str(path), folder=path.parent)
    by_lower = {other.lower(): other for other in open_clip.list_models()}
    close = [by_lower[other] for other in difflib.get_close_matches(name.lower(), by_lower, n=5, cutoff=0.5)]
    meant = f" (did you mean {', '.join(close)}?)" if close else ""
    raise SettingError(
        f"open-clip: architecture {name!r} is unknown{meant}; give a name out of "
        "open_clip.list_models(), a model-config JSON file, a folder, 'hf-hub:owner/name', or a dict"
    )


def _agreed(tags: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How pixels are prepared if all published weights of a name agree on it.

    Then a local file of that architecture is prepared so as well: SigLIP's own mean and squashing are
    not open_clip's general default.
    """
    keys = ("mean", "std", "interpolation", "resize_mode")
    ways = [{key: tag[key] for key in keys if key in tag} for tag in tags.values()]
    return ways[0] if ways and all(way == ways[0] for way in ways) else {}


def _from_config(
    given: dict[str, Any], label: str, *, weights: Path | None = None, folder: Path | None = None
) -> Architecture:
    """A model config, bare or as ``open_clip_config.json`` holds it beside the preprocessing."""
    config = given.get("model_cfg", given)
    _check(config, label)
    check_described(given, f"open-clip: architecture {label}", SettingError)
    preprocess = given.get("preprocess_cfg") or {}
    parts = {"vision_cfg": config["vision_cfg"], "text_cfg": config["text_cfg"], "preprocess_cfg": preprocess}
    for key, part in parts.items():
        if not isinstance(part, Mapping):
            raise SettingError(
                f"open-clip: architecture {label} is not an open_clip model config: its {key} is {part!r:.60}, no mapping"
            )
    return Architecture(label, deepcopy(dict(config)), dict(preprocess), weights=weights, folder=folder)


def _check(config: Any, label: str) -> None:
    """Raises :class:`SettingError` for what is no configuration, or of a model without encoders of images and of texts."""
    keys = tuple(config) if isinstance(config, Mapping) else ()
    if other := next((_OTHERS[key] for key in keys if key in _OTHERS), None):
        raise SettingError(f"open-clip: architecture {label} {other}")
    if lacking := [key for key in _REQUIRED if key not in keys]:
        fault = f"is not an open_clip model config: it lacks {', '.join(lacking)}"
        if lacking == ["text_cfg"] and "multimodal_cfg" in keys:
            fault = (
                "reads texts with the decoder that writes them (MaMMUT), which is not known to this adapter"
            )
        raise SettingError(f"open-clip: architecture {label} {fault}")


def _from_hub(name: str) -> Architecture:
    from huggingface_hub import hf_hub_download
    from open_clip.pretrained import download_pretrained_from_hf

    repository = name.removeprefix(HUB)
    with loading("open-clip", name):
        who, way_out = f"open-clip: architecture {name!r}", "give a folder or a file"
        online = hub_has(who, repository, CONFIG_FILE, way_out)
        given = _read_json(Path(hf_hub_download(repository, CONFIG_FILE, local_files_only=not online)))
        weights = None if online else cached_file(repository, *WEIGHT_FILES)
        if weights is None and not online:
            raise CheckpointError(
                f"{who}: its weights are not cached, and the hub is out of reach; {way_out}"
            )
        weights = weights or Path(download_pretrained_from_hf(repository))
    return _from_config(given, name, weights=weights)


def _read_json(path: Path) -> dict[str, Any]:
    who = f"open-clip: architecture {str(path)!r}"
    TEXT.check(who, path.stat().st_size, error=SettingError)
    with decoding(who, "cannot be read as JSON", error=SettingError):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise SettingError(f"{who} does not hold a JSON object")
    return content


@dataclass(frozen=True)
class ChosenArchitecture:
    """Which weights were asked for.

    name  as the user gave it; None: none were given, and a bare configuration needs none
    path  a file that is there; None for a tag that has yet to be downloaded
    tag   open_clip's entry for a pretrained tag
    """

    name: str | None = None
    path: Path | None = None
    tag: dict[str, Any] | None = None


def choose(architecture: Architecture, checkpoint: Any) -> ChosenArchitecture:
    """The weights that ``checkpoint`` names. Raises :class:`CheckpointError` naming the tags there are."""
    label = architecture.label
    there_are = f"the tags of {label} are {', '.join(architecture.tags)}" if architecture.tags else ""
    if checkpoint is None:
        if architecture.weights is not None:
            return ChosenArchitecture(str(architecture.weights), architecture.weights)
        if there_are:
            raise CheckpointError(
                f"open-clip: checkpoint is missing; give a local file or a pretrained tag: {there_are}"
            )
        return ChosenArchitecture()
    name = path_of("open-clip", checkpoint, "give a file, a pretrained tag, or open_clip's model itself")
    normal = name.lower().replace("-", "_")  # as open_clip compares them
    for tag, entry in architecture.tags.items():
        if tag == normal:
            return ChosenArchitecture(tag, tag=entry)
    path = Path(name)
    if os.path.isfile(path):
        return ChosenArchitecture(name, path)
    what = (
        "is a folder; name a file in it" if os.path.isdir(path) else "is neither a file nor a pretrained tag"
    )
    ways = there_are or f"{label} has no pretrained tags, give a local file"
    raise CheckpointError(f"open-clip: checkpoint {name!r} {what}; {ways}")
