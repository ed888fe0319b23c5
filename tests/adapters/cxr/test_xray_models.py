"""State dicts in OpenAI's format: architecture, embeddings and maps against plain functions; refusals."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor

import m2ib
from m2ib.execution.context import evaluating
from m2ib.testing import check_adapter
from m2ib_adapters.cxr.openai_format import model_config
from naive import capacity
from xrays import (
    CONTEXT,
    encode_resnet,
    encode_text,
    encode_vit,
    resnet_state,
    save,
    save_dicom,
    vit_state,
    xray,
)

TEXTS = ("pneumothorax", "a small left pleural effusion", "no acute process")
CPU = {"device": "cpu", "dtype": "float64"}
QUIET = {"show_progress": False}


def rounded(state: dict[str, Any]) -> dict[str, Any]:
    """The float64 weights as they are after float32, which every checkpoint goes through."""
    return {key: v.float().double() if v.is_floating_point() else v for key, v in state.items()}


VIT, RESNET = rounded(vit_state()), rounded(resnet_state())


def picture(seed: int = 0) -> np.ndarray:
    return (xray(50, 70, 255, seed)).astype(np.uint8)


def ids(text: str) -> Tensor:
    return open_clip.SimpleTokenizer(context_length=CONTEXT)([text])


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_embeddings_are_those_of_plain_functions(kind: str, vit: m2ib.Model, resnet: m2ib.Model) -> None:
    model, state, encode = {"vit": (vit, VIT, encode_vit), "resnet": (resnet, RESNET, encode_resnet)}[kind]
    with evaluating(model.module), torch.no_grad():
        pixels = model.preprocess("image", [picture(0), picture(1)])
        got = model.encoder("image").embed(pixels)
        assert torch.allclose(got, encode(state, pixels), rtol=1e-10, atol=1e-10)
        got = model.encoder("text").embed(model.preprocess("text", TEXTS))
        expected = torch.cat([encode_text(state, ids(text)) for text in TEXTS])
        assert torch.allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
def test_half_precision_files_are_widened(tmp_path: Path, stored: torch.dtype) -> None:
    state = {key: value.to(stored).double() for key, value in vit_state().items()}
    model = m2ib.load_model(
        "cxr-repair", checkpoint=save(vit_state(), tmp_path / "x.pt", stored), device="cpu"
    )
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}
    pixels = model.preprocess("image", [picture()])
    with torch.no_grad():
        got = model.encoder("image").embed(pixels).double()
        assert (got - encode_vit(state, pixels.double())).abs().max() < 1e-5
        got = model.encoder("text").embed(model.preprocess("text", [TEXTS[1]])).double()
        assert (got - encode_text(state, ids(TEXTS[1]))).abs().max() < 1e-5


def test_the_architecture_is_read_off_the_shapes() -> None:
    assert model_config(vit_state(width=192, layers=2, patch=16, side=96, text_layers=4), "x") == {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 96, "layers": 2, "width": 192, "head_width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 4},
    }
    assert model_config(resnet_state(side=96), "x")["vision_cfg"] == {
        "image_size": 96,
        "layers": [1, 2, 1, 1],
        "width": 8,
        "head_width": 64,
    }


@pytest.mark.parametrize(
    ("blocks", "image", "text"), [((3, 3), 1, 1), ((12, 12), 9, 7), ((2, 1), 0, -1), ((10, 24), 8, 7)]
)
def test_defaults_are_the_papers(tmp_path: Path, blocks: tuple[int, int], image: int, text: int) -> None:
    state = vit_state(width=64, layers=blocks[0], text_layers=blocks[1])
    model = m2ib.load_model("cxr-repair", checkpoint=save(state, tmp_path / "x.pt"), device="cpu")
    assert model.encoder("image").defaults == m2ib.Defaults(layer=image, beta=0.1, variance=1.0)
    assert model.encoder("text").defaults == m2ib.Defaults(layer=text, beta=1.0, variance=1.0)


def test_a_resnet_keeps_its_own_layer(resnet: m2ib.Model) -> None:
    assert resnet.encoder("image").defaults == m2ib.Defaults(layer=3, beta=0.1, variance=1.0)
    explanation = m2ib.explain(resnet, image=picture(), text=TEXTS[1], steps=1, samples=1, **QUIET)
    assert explanation["image"].grid.shape == (4, 4)


@pytest.mark.parametrize(("kind", "layer"), [("vit", -1), ("vit", 0), ("vit", 1), ("resnet", 2)])
def test_maps_equal_the_naive_method(kind: str, layer: int, vit: m2ib.Model, resnet: m2ib.Model) -> None:
    model, state, encode = {"vit": (vit, VIT, encode_vit), "resnet": (resnet, RESNET, encode_resnet)}[kind]
    options = {"beta": 0.1, "variance": 0.5, "steps": 4, "samples": 3, "seed": 5}
    layers = {"image": layer, "text": min(layer, 1)}
    explanation = m2ib.explain(model, image=picture(), text=TEXTS[1], layer=layers, **options, **QUIET)
    pixels, tokens = model.preprocess("image", [picture()]), ids(TEXTS[1])
    with evaluating(model.module):
        for modality, embed, target in (
            ("image", lambda: model.module.visual(pixels), encode_text(state, tokens)),
            ("text", lambda: model.module.encode_text(tokens), encode(state, pixels)),
        ):
            place, found = model.encoder(modality).layer(layers[modality]), explanation[modality]
            reference = capacity(
                embed,
                place.module,
                target,
                at=place.at,
                channel_axis=place.channel_axis,
                read=found.layout.read,
                **options,
            ).numpy()
            assert np.abs(found.capacity - reference).max() < 1e-8 * np.abs(reference).max()


def test_causal_mask_end_of_text_and_one_projection(vit: m2ib.Model) -> None:
    """What the public demo of the paper gets wrong: nothing after the end of text is read, nothing before it left out."""
    explanation = m2ib.explain(vit, image=picture(), text=TEXTS[1], steps=2, samples=2, **QUIET)
    assert explanation["text"].tokens[0] == "<start_of_text>"
    assert explanation["text"].tokens[-1] == "<end_of_text>"
    short, padded = vit.preprocess("text", [TEXTS[0]]), ids(TEXTS[0])
    assert short.shape[1] < padded.shape[1] == CONTEXT
    assert torch.equal(vit.embed("text", short), vit.embed("text", padded))


def test_the_adapter_keeps_the_contract(vit_file: Path, tmp_path: Path) -> None:
    examples = [save_dicom(tmp_path / "a.dcm", xray(), WindowCenter=2000, WindowWidth=3000), picture(1)]
    check_adapter("cxr-repair", {"image": examples, "text": list(TEXTS)}, checkpoint=vit_file, equalize=True)


def test_the_provenance_names_file_and_architecture(vit: m2ib.Model, vit_file: Path) -> None:
    assert vit.origin["adapter"] == "cxr-repair"
    assert vit.origin["checkpoint"] == str(vit_file)
    assert vit.origin["quick_gelu"] is True
    assert vit.origin["model_config"]["vision_cfg"]["patch_size"] == 8
    assert len(vit.origin["sha256"]) == 64


def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {key: value for key, value in state.items() if key not in names}


def hugging_face(state: dict[str, Any]) -> dict[str, Any]:
    return {f"vision_model.{key}": value for key, value in state.items()} | {
        "logit_scale": state["logit_scale"]
    }


WRONG = {
    "transformers": (
        hugging_face,
        r"7 keys differ, first visual\.conv1\.weight \(missing\), visual\.positional_embedding \(missing\), "
        r"visual\.proj \(missing\), positional_embedding \(missing\), token_embedding\.weight \(missing\); "
        r"open a transformers checkpoint with the adapter 'clip'",
    ),
    "key missing": (
        without("visual.ln_pre.bias", "ln_final.bias"),
        r"2 keys differ, first visual\.ln_pre\.bias \(missing\), ln_final\.bias \(missing\)$",
    ),
    "keys missing that say the shape": (
        without("text_projection"),
        r"1 key differs: text_projection \(missing\); give the state dict of a CLIP as OpenAI's code names",
    ),
    "mis-shaped": (
        lambda s: s | {"visual.proj": s["visual.proj"][:, :5], "visual.ln_post.bias": torch.zeros(3)},
        r"2 keys differ, first visual\.proj \(\(128, 5\) instead of \(128, 24\)\), "
        r"visual\.ln_post\.bias \(\(3,\) instead of \(128,\)\)$",
    ),
    "wrong number of axes": (
        lambda s: s | {"visual.conv1.weight": torch.zeros(128, 192)},
        r"visual\.conv1\.weight \(\(128, 192\), not 4 axes\)",
    ),
    "no tensor": (lambda s: s | {"logit_scale": 2.6}, r"logit_scale \(a float, not a tensor\)"),
    "extra": (
        lambda s: s | {"visual.extra": torch.zeros(1)},
        r"1 key differs: visual\.extra \(extra\)$",
    ),
    "gap in the blocks": (
        lambda s: {k.replace("resblocks.1.", "resblocks.7."): v for k, v in s.items()},
        r"48 keys differ, first visual\.transformer\.resblocks\.1\.ln_1\.weight \(missing\)",
    ),
    "no square grid": (
        lambda s: s | {"visual.positional_embedding": torch.zeros(13, 128)},
        r"visual\.positional_embedding has 13 rows, which is not a square grid and one more",
    ),
    "narrow": (
        lambda s: vit_state(width=32),
        r"its image encoder is 32 wide, which width // 64 = 0 heads cannot share",
    ),
    "no blocks": (
        lambda s: {k: v for k, v in s.items() if not k.startswith("transformer.")},
        r"holds no transformer blocks \(transformer\.resblocks\.0\. \.\.\.\)",
    ),
}


@pytest.mark.parametrize(("change", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, change: Any, reason: str) -> None:
    file = save(change(vit_state()), tmp_path / "wrong.pt")
    with pytest.raises(m2ib.CheckpointError) as caught:
        m2ib.load_model("cxr-repair", checkpoint=file, **CPU)
    message = str(caught.value)
    assert message.startswith(f"cxr-repair: checkpoint {str(file)!r} ")
    assert re.search(reason, message), message
    assert "\n" not in message


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("not weights")
    (tmp_path / "names.pt").write_bytes(b"")
    torch.save({"a": "b"}, tmp_path / "strings.pt")
    for checkpoint, reason in (
        (
            None,
            r"cxr-repair: checkpoint is missing; give the file of an OpenAI-format CLIP state dict, as in",
        ),
        (3, r"cxr-repair: checkpoint is a file, not int"),
        (tmp_path / "gone.pt", r"cxr-repair: checkpoint '.*gone\.pt' does not exist; check the path"),
        (tmp_path, r"cxr-repair: checkpoint '.*' is a folder; name a file in it"),
        (tmp_path / "text.pt", r"cxr-repair: checkpoint '.*text\.pt' is damaged, or holds more than tensors"),
        (tmp_path / "names.pt", r"cxr-repair: checkpoint '.*names\.pt' is empty"),
        (tmp_path / "strings.pt", r"cxr-repair: checkpoint '.*strings\.pt' holds no state dict"),
    ):
        with pytest.raises(m2ib.CheckpointError, match=reason):
            m2ib.load_model("cxr-repair", checkpoint=checkpoint, **CPU)


@pytest.mark.parametrize("stored", [torch.float64, torch.float16])
def test_positions_are_interpolated_to_another_size(tmp_path: Path, stored: torch.dtype) -> None:
    """A grid of 4 x 4 to 7 x 7 and a rest of 4 pixels, against plain functions."""
    file = save(vit_state(), tmp_path / "vit.pt", stored)
    model = m2ib.load_model("cxr-repair", checkpoint=file, image_size=60, **CPU)
    state = rounded({key: value.to(stored) for key, value in vit_state().items()})
    first, grid = state["visual.positional_embedding"].float().split([1, 16])
    square = grid.T.reshape(1, -1, 4, 4)
    larger = torch.nn.functional.interpolate(
        square, (7, 7), mode="bicubic", align_corners=False, antialias=True
    )
    state["visual.positional_embedding"] = torch.cat([first, larger[0].flatten(1).T]).double()
    pixels = model.preprocess("image", [picture()])
    assert pixels.shape == (1, 3, 60, 60)
    assert model.item("image", picture()).layout.grid == (7, 7)
    with evaluating(model.module), torch.no_grad():
        got = model.encoder("image").embed(pixels)
    assert torch.allclose(got, encode_vit(state, pixels), rtol=1e-5, atol=1e-5)
    assert (model.origin["image_size"], model.origin["positions"]) == (60, "interpolated")


def test_sizes_that_cannot_be(vit_file: Path, tmp_path: Path) -> None:
    resnet = save(resnet_state(), tmp_path / "resnet.pt")
    for file, size, reason in (
        (vit_file, 7, "image_size is 7, less than a patch of 8 pixels"),
        (vit_file, "big", "image_size is a whole number > 0, not 'big'"),
        (resnet, 96, "image_size is 96, and this file is a ResNet's, whose positions are not interpolated"),
    ):
        with pytest.raises(m2ib.SettingError, match=f"cxr-repair: {reason}"):
            m2ib.load_model("cxr-repair", checkpoint=file, image_size=size, **CPU)


def test_options_that_are_none(vit_file: Path) -> None:
    for options, reason in (
        (
            {"preprocess": "padchest"},
            r"cxr-repair: preprocess 'padchest' is unknown; it is one of mimic, chexpert",
        ),
        ({"preprocess": None}, r"cxr-repair: preprocess None is unknown"),
        ({"equalize": "yes"}, r"cxr-repair: equalize is True or False, not 'yes'"),
        (
            {"size": 3},
            r"adapter 'cxr-repair' has no option 'size'. It has preprocess, equalize, image_size, image",
        ),
    ):
        with pytest.raises(m2ib.SettingError, match=reason):
            m2ib.load_model("cxr-repair", checkpoint=vit_file, device="cpu", **options)
