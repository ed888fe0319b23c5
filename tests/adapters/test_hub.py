"""A hub out of reach is told at once, whoever reads from it; what its cache has is read; a hub that answers is used."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from hub import NOBODY, cache, hub_of, repository, run
from open_clip_models import VIT, module_of
from sentence_models import sentence_model
from tiny_clip import save_tiny_clip

LOAD = """
import json, sys, time, warnings
slept = []
time.sleep = slept.append  # between one try and the next
import m2ib
warnings.simplefilter("ignore")
for name, options in json.loads({cases!r}):
    try:
        model = m2ib.load_model(name, device="cpu", **options)
        said = ["loaded", *model.encoders]
        if name == "open-clip":
            model.item("text", "a cat")
    except m2ib.M2IBError as error:
        said = str(error)
    print(json.dumps([said, slept]))
"""


def outcomes(cases: list[tuple[str, dict[str, Any]]], home: Path, port: int) -> list[Any]:
    """What each leads to: the modalities that were loaded or the error. Nothing is tried twice."""
    lines = run(LOAD.format(cases=json.dumps(cases)), home, port).splitlines()
    found = [json.loads(line) for line in lines]
    assert [slept for _, slept in found] == [[]] * len(cases)
    return [said for said, _ in found]


TOWER = {**VIT, "text_cfg": {"hf_model_name": "nobody/tower", "hf_tokenizer_name": "nobody/tower"}}
UNTOLD = {  # adapter, options, what the error calls it, the way out
    "clip": ({"checkpoint": "nobody/none"}, "checkpoint 'nobody/none'", "give a local folder written by"),
    "sentence-transformers": (
        {"checkpoint": "nobody/none"},
        "checkpoint 'nobody/none'",
        "give a local folder",
    ),
    "imagebind": ({"checkpoint": "nobody/none"}, "checkpoint 'nobody/none'", "give a local file"),
    "open-clip tag": (
        {"architecture": "ViT-B-32", "checkpoint": "openai"},
        "checkpoint 'openai'",
        "download the file elsewhere",
    ),
    "open-clip": ({"checkpoint": "nobody/none"}, "architecture 'hf-hub:nobody/none'", "give a folder or"),
    "open-clip tower": ({"architecture": TOWER}, "its text tower 'nobody/tower'", "give a local folder"),
}


@pytest.mark.usefixtures("one_thread")
def test_out_of_reach(tmp_path: Path) -> None:
    words = {**VIT, "text_cfg": {**VIT["text_cfg"], "hf_tokenizer_name": "nobody/words"}}
    save_tiny_clip(tmp_path / "clip")
    cache(tmp_path, "one/clip", tmp_path / "clip")
    (tmp_path / "open").mkdir()
    torch.save(module_of(VIT).state_dict(), tmp_path / "open" / "open_clip_pytorch_model.bin")
    (tmp_path / "open" / "open_clip_config.json").write_text(json.dumps({"model_cfg": words}))
    cache(tmp_path, "one/open", tmp_path / "open")
    cache(tmp_path, "one/sentences", sentence_model(tmp_path / "sentences"))
    (tmp_path / "described").mkdir()
    (tmp_path / "described" / "open_clip_config.json").write_text(json.dumps({"model_cfg": VIT}))
    cache(tmp_path, "one/described", tmp_path / "described")

    untold = [(name.partition(" ")[0], options) for name, (options, *_) in UNTOLD.items()]
    cached = [
        ("clip", {"checkpoint": "one/clip"}),
        ("sentence-transformers", {"checkpoint": "one/sentences"}),
        ("open-clip", {"checkpoint": "one/open"}),
        ("open-clip", {"checkpoint": "one/described"}),
    ]
    found = outcomes([*untold, *cached], tmp_path, NOBODY)
    for said, (_, label, way_out) in zip(found, UNTOLD.values(), strict=False):
        assert f"{label} is not a folder here, and the hub is out of reach (http://127.0.0.1:9: " in said
        assert f"nor is it in the cache {tmp_path / 'hub'}, which `hf download " in said
        assert f"; {way_out}" in said
    clip, sentences, no_words, no_weights = found[-4:]
    assert clip == ["loaded", "image", "text"]
    assert sentences == ["loaded", "text"]
    assert no_words.startswith("text: this model's tokenizer cannot be loaded (nobody/words: ")
    assert no_weights == (
        "open-clip: architecture 'hf-hub:one/described': its weights are not cached, and the hub is out of reach; give a folder or "
        "a file"
    )


def test_a_hub_that_answers_is_used(tmp_path: Path) -> None:
    folder = save_tiny_clip(tmp_path / "clip")
    with hub_of(repository("one/clip", folder)) as server:
        assert outcomes([("clip", {"checkpoint": "one/clip"})], tmp_path, server.server_port) == [
            ["loaded", "image", "text"]
        ]
        assert "/one/clip/resolve/main/model.safetensors" in server.asked


ASK = """
import time
from m2ib.errors import CheckpointError
from m2ib_adapters.checkpoints import hub_has
for name in ("one/clip", "nobody/none"):
    started = time.monotonic()
    try:
        print(hub_has("it", name, "config.json", "wait"), time.monotonic() - started)
    except CheckpointError as error:
        print(error, time.monotonic() - started)
"""


def test_a_hub_that_says_nothing_is_waited_for(tmp_path: Path) -> None:
    """Not for long where the cache has what is asked for, else for as long as the user says."""
    cache(tmp_path, "one/clip", save_tiny_clip(tmp_path / "clip", blocks=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and never answers
        port = silent.getsockname()[1]
        cached, other = run(ASK, tmp_path, port, HF_HUB_ETAG_TIMEOUT="3").splitlines()
    found, waited = cached.split()
    assert (found, float(waited) < 3) == ("False", True)
    said, _, waited = other.rpartition(" ")
    assert float(waited) >= 3
    assert "no answer in 3 s; HF_HUB_ETAG_TIMEOUT=9 waits longer" in said
    offline = run(ASK, tmp_path, NOBODY, HF_HUB_OFFLINE="1").splitlines()
    assert offline[0].startswith("False")
    assert "the hub is out of reach (HF_HUB_OFFLINE is set)" in offline[1]
