"""Loading weights: what every adapter of a hub or a file does alike."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from logging import ERROR
from os import PathLike
from pathlib import Path
from typing import Any

from m2ib.errors import CheckpointError, decoding
from m2ib.promises import kept_promises, promise
from m2ib_adapters.bounds import TEXT

HERE: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
HUB_PATIENCE = 5.0  # seconds until the hub counts as out of reach
_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")  # nobody's hub id ends so


@contextmanager
def loading(adapter: str, source: str) -> Iterator[None]:
    """Whatever a library raises while it reads weights becomes one :class:`CheckpointError`; it reads quietly."""
    who = f"{adapter}: checkpoint {source!r}"
    with decoding(who, "cannot be loaded", error=CheckpointError):
        try:
            with quiet():
                yield
        except ImportError as error:  # of a package that is missing
            missing = error
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"{who} cannot be loaded: it is damaged, or holds more than plain tensors, "
                "which may run code and is not opened; save the weights as safetensors"
            ) from error
        else:
            return
    raise missing


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and log lines of transformers and the hub (but its download bar); after it, all as before."""
    if "transformers" not in sys.modules:
        yield
        return
    from huggingface_hub.utils import logging as hub
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    downloads = not are_progress_bars_disabled()
    with kept_promises():
        for each in (logging, hub):
            promise(partial(each.set_verbosity, each.get_verbosity()))
            each.set_verbosity(ERROR)
        if logging.is_progress_bar_enabled():
            promise(logging.enable_progress_bar)
        logging.disable_progress_bar()
        if downloads:
            enable_progress_bars()
        yield


def from_folder_or_hub(adapter: str, source: str) -> dict[str, Any]:
    """Options for ``from_pretrained(source, ...)``: what is at hand is not looked up on the hub.

    Raises :class:`CheckpointError` for a path that is no folder, and for a hub id that is neither cached
    nor within reach.
    """
    from huggingface_hub.errors import HFValidationError

    folder, who = Path(source), f"{adapter}: checkpoint {source!r}"
    way_out = "give a local folder written by save_pretrained"
    if os.path.isdir(folder):
        if not os.path.isfile(folder / "config.json"):
            raise CheckpointError(f"{who} is a folder without config.json; {way_out}")
        for each in folder.glob("*.json"):
            TEXT.check(f"{who}: its {each.name}", each.stat().st_size, error=CheckpointError)
        return dict(HERE)
    if os.path.exists(folder):
        raise CheckpointError(f"{who} is a file; {way_out}")
    if not may_be_hub_id(source):
        raise CheckpointError(f"{who} does not exist; {way_out}, or a hub id such as 'name/model'")
    try:
        offline = not hub_has(who, source, "config.json", way_out)
    except HFValidationError as error:
        raise CheckpointError(
            f"{who} is neither a folder nor a hub id such as 'name/model'; {way_out}"
        ) from error
    return {"local_files_only": offline, "trust_remote_code": False}


def may_be_hub_id(source: str) -> bool:
    """Whether what is no file and no folder here may be on the hub; no path is, nor what is called as files of weights are."""
    path = Path(source)
    return not (
        path.is_absolute()
        or source.count("/") > 1
        or source.startswith((".", "~"))
        or path.suffix in _SUFFIXES
    )


def path_of(adapter: str, checkpoint: Any, ways: str) -> str:
    """A path or a name as text. Raises :class:`CheckpointError` for anything else, whose content is not printed.

    ways  what to give
    """
    if isinstance(checkpoint, (str, PathLike)):
        return str(checkpoint)
    raise CheckpointError(f"{adapter}: checkpoint is a {type(checkpoint).__name__} in memory; {ways}")


def has_any(source: str, *names: str) -> bool:
    """Whether a folder holds one of these files; True of a hub id, which is asked when they are read."""
    folder = Path(source)
    return not os.path.isdir(folder) or any(os.path.isfile(folder / name) for name in names)


def image_processor_config(source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What preprocessor_config.json says of the pixels; {} where a checkpoint comes without one."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        given, _ = ImageProcessingMixin.get_image_processor_dict(source, **options)
    except OSError:
        if os.path.exists(Path(source) / "preprocessor_config.json"):  # there, but damaged
            raise
        return {}
    return given.get("image_processor", given)


def hub_has(who: str, repository: str, file: str, way_out: str) -> bool:
    """Whether the hub answers with this file; False where only the cache has it.

    It is asked once, without retries: a library on its own waits half a minute for a network that is not
    there. Raises :class:`CheckpointError` where neither has the file.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    cached = isinstance(try_to_load_from_cache(repository, file), str)
    url = hf_hub_url(repository, file)
    try:
        get_hf_file_metadata(url, timeout=HUB_PATIENCE)
    except Exception as error:  # the hub's own, or that of requests, httpx or httpx2, by its version
        if cached:
            return False
        lines = str(error).strip().splitlines() or [type(error).__name__]
        fault = f"is not a folder here, and the hub is out of reach ({lines[0]:.100})"
        if isinstance(error, HfHubHTTPError):
            fault = f"is not to be had from the hub: {lines[-1]:.150}"
        raise CheckpointError(f"{who} {fault}; {way_out}") from error
    return True
