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
from threading import Thread
from typing import Any

from m2ib.errors import CheckpointError, decoding
from m2ib.promises import kept_promises, promise
from m2ib_adapters.bounds import TEXT

HERE: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_PATIENCE = 2  # seconds that the hub has to answer where its cache has the file
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


def from_folder_or_hub(adapter: str, source: str, what: str = "checkpoint") -> dict[str, Any]:
    """Options for ``from_pretrained(source, ...)``: what is at hand is not looked up on the hub.

    what  errors call it so

    Raises :class:`CheckpointError` for a path that is no folder, and for a hub id that is neither cached
    nor within reach.
    """
    from huggingface_hub.errors import HFValidationError

    folder, who = Path(source), f"{adapter}: {what} {source!r}"
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

    Raises :class:`CheckpointError` where neither has the file.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    cached = cached_file(repository, file) is not None
    if (error := _refusal(repository, file, cached)) is None:
        return True
    if cached:
        return False
    lines = str(error).strip().splitlines() or [type(error).__name__]
    fault = (
        f"is not a folder here, and the hub is out of reach ({_reason(error, lines[0])}), nor is it in the cache "
        f"{constants.HF_HUB_CACHE}, which `hf download {repository}` fills where there is a network"
    )
    if isinstance(error, HfHubHTTPError):
        fault = f"is not to be had from the hub: {lines[-1]:.150}"
    raise CheckpointError(f"{who} {fault}; {way_out}") from error


def hub_is_out_of_reach(repository: str, file: str) -> bool:
    """Whether the hub says nothing of this file, be it there or not; then the cache is all there is."""
    from huggingface_hub.errors import HfHubHTTPError

    error = _refusal(repository, file, cached_file(repository, file) is not None)
    return error is not None and not isinstance(error, HfHubHTTPError)


def cached_file(repository: str, *files: str) -> Path | None:
    """The first of these files that the hub's cache has."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in files)
    return next((Path(each) for each in found if isinstance(each, str)), None)


def _refusal(repository: str, file: str, cached: bool) -> Exception | None:
    """Why this file is not to be had from the hub, which is asked once; None where it is.

    The library on its own asks again for half a minute when nobody is there, and takes its time for each of the hub's addresses.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    url, patience = hf_hub_url(repository, file), _PATIENCE if cached else constants.HF_HUB_ETAG_TIMEOUT
    silence = TimeoutError(f"no answer in {patience} s; HF_HUB_ETAG_TIMEOUT={3 * patience} waits longer")
    answers: list[Exception | None] = [silence]

    def ask() -> None:
        try:
            get_hf_file_metadata(url, timeout=patience)
            answers.append(None)
        except Exception as error:  # the hub's own, or that of requests, httpx or httpx2, by its version
            answers.append(error)

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return answers[-1]


def _reason(error: Exception, line: str) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    return f"{constants.ENDPOINT}: {line:.100}"
