"""Tiny CLIPs in OpenAI's format, the same once more in plain functions, and DICOM files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, layer_norm, linear

VOCABULARY = 49408
CONTEXT = 16
State = dict[str, Any]


def random(*shape: int, generator: torch.Generator, scale: float = 0.2) -> Tensor:
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def _norm(state: State, name: str, width: int, g: torch.Generator) -> None:
    state[f"{name}.weight"] = 1 + random(width, generator=g)
    state[f"{name}.bias"] = random(width, generator=g)


def _blocks(state: State, prefix: str, width: int, layers: int, g: torch.Generator) -> None:
    shapes = {"attn.in_proj": (3 * width, width), "attn.out_proj": (width, width)}
    shapes |= {"mlp.c_fc": (4 * width, width), "mlp.c_proj": (width, 4 * width)}
    for number in range(layers):
        block = f"{prefix}.resblocks.{number}"
        for name, (rows, columns) in shapes.items():
            dot = "_" if name == "attn.in_proj" else "."
            state[f"{block}.{name}{dot}weight"] = random(rows, columns, generator=g, scale=columns**-0.5)
            state[f"{block}.{name}{dot}bias"] = random(rows, generator=g)
        _norm(state, f"{block}.ln_1", width, g)
        _norm(state, f"{block}.ln_2", width, g)


def _text(state: State, width: int, layers: int, embed: int, context: int, g: torch.Generator) -> None:
    state["positional_embedding"] = random(context, width, generator=g)
    state["token_embedding.weight"] = random(VOCABULARY, width, generator=g)
    _blocks(state, "transformer", width, layers, g)
    _norm(state, "ln_final", width, g)
    state["text_projection"] = random(width, embed, generator=g)
    state["logit_scale"] = torch.tensor(2.66, dtype=torch.float64)


def vit_state(
    *,
    width: int = 128,
    layers: int = 3,
    patch: int = 8,
    side: int = 32,
    text_width: int = 64,
    text_layers: int = 3,
    embed: int = 24,
    context: int = CONTEXT,
) -> State:
    """Keys and shapes of OpenAI's ViTs, in float64."""
    g = torch.Generator().manual_seed(3)
    state: State = {
        "visual.class_embedding": random(width, generator=g),
        "visual.positional_embedding": random((side // patch) ** 2 + 1, width, generator=g),
        "visual.proj": random(width, embed, generator=g),
        "visual.conv1.weight": random(width, 3, patch, patch, generator=g),
    }
    _norm(state, "visual.ln_pre", width, g)
    _blocks(state, "visual.transformer", width, layers, g)
    _norm(state, "visual.ln_post", width, g)
    _text(state, text_width, text_layers, embed, context, g)
    return state


def resnet_state(
    *, width: int = 8, layers: tuple[int, ...] = (1, 2, 1, 1), side: int = 64, embed: int = 24
) -> State:
    """Keys and shapes of OpenAI's ResNets, in float64."""
    g = torch.Generator().manual_seed(4)
    state: State = {}

    def conv(name: str, out: int, into: int, size: int) -> None:
        state[f"{name}.weight"] = random(out, into, size, size, generator=g, scale=(into * size**2) ** -0.5)

    def norm(name: str, out: int) -> None:
        _norm(state, name, out, g)
        state[f"{name}.running_mean"] = random(out, generator=g)
        state[f"{name}.running_var"] = 1 + random(out, generator=g).abs()
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    for number, (out, into) in enumerate(((width // 2, 3), (width // 2, width // 2), (width, width // 2)), 1):
        conv(f"visual.conv{number}", out, into, 3)
        norm(f"visual.bn{number}", out)
    into = width
    for stage, count in enumerate(layers, 1):
        planes = width * 2 ** (stage - 1)
        for place in range(count):
            block = f"visual.layer{stage}.{place}"
            for number, (a, b, size) in enumerate(
                ((planes, into, 1), (planes, planes, 3), (4 * planes, planes, 1)), 1
            ):
                conv(f"{block}.conv{number}", a, b, size)
                norm(f"{block}.bn{number}", a)
            if place == 0:
                conv(f"{block}.downsample.0", 4 * planes, into, 1)
                norm(f"{block}.downsample.1", 4 * planes)
            into = 4 * planes
    state["visual.attnpool.positional_embedding"] = random((side // 32) ** 2 + 1, into, generator=g)
    for name, out in (("k", into), ("q", into), ("v", into), ("c", embed)):
        state[f"visual.attnpool.{name}_proj.weight"] = random(out, into, generator=g, scale=into**-0.5)
        state[f"visual.attnpool.{name}_proj.bias"] = random(out, generator=g)
    _text(state, 64, 3, embed, CONTEXT, g)
    return state


def save(state: State, path: Path, dtype: torch.dtype = torch.float64) -> Path:
    """As ``torch.save(model.state_dict())`` leaves it, with the numbers that OpenAI's files hold beside it."""
    beside = {
        "input_resolution": torch.tensor(32),
        "context_length": torch.tensor(CONTEXT),
        "vocab_size": 49408,
    }
    floating = {key for key, value in state.items() if torch.is_tensor(value) and value.is_floating_point()}
    cast = {key: value.to(dtype) if key in floating else value for key, value in state.items()}
    torch.save({**cast, **beside}, path)
    return path


# OpenAI's CLIP in plain functions.


def attention(state: State, name: str, x: Tensor, causal: bool) -> Tensor:
    count, length, width = x.shape
    heads = width // 64
    qkv = x @ state[f"{name}.in_proj_weight"].T + state[f"{name}.in_proj_bias"]
    q, k, v = (part.view(count, length, heads, -1).transpose(1, 2) for part in qkv.chunk(3, -1))
    scores = q @ k.transpose(-1, -2) / (width // heads) ** 0.5  # (N, H, T, T)
    if causal:
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(count, length, width)
    return mixed @ state[f"{name}.out_proj.weight"].T + state[f"{name}.out_proj.bias"]


def norm(state: State, name: str, x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def run(state: State, prefix: str, x: Tensor, causal: bool) -> Tensor:
    number = 0
    while f"{prefix}.resblocks.{number}.ln_1.weight" in state:
        block = f"{prefix}.resblocks.{number}"
        x = x + attention(state, f"{block}.attn", norm(state, f"{block}.ln_1", x), causal)
        hidden = norm(state, f"{block}.ln_2", x) @ state[f"{block}.mlp.c_fc.weight"].T
        hidden = hidden + state[f"{block}.mlp.c_fc.bias"]
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        x = x + hidden @ state[f"{block}.mlp.c_proj.weight"].T + state[f"{block}.mlp.c_proj.bias"]
        number += 1
    return x


def encode_vit(state: State, pixels: Tensor) -> Tensor:
    kernel = state["visual.conv1.weight"]
    patches = conv2d(pixels, kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)  # (N, G * G, C)
    first = state["visual.class_embedding"].expand(len(pixels), 1, -1)
    x = torch.cat([first, patches], 1) + state["visual.positional_embedding"]
    x = run(state, "visual.transformer", norm(state, "visual.ln_pre", x), causal=False)
    return norm(state, "visual.ln_post", x[:, 0]) @ state["visual.proj"]


def encode_text(state: State, ids: Tensor) -> Tensor:
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][: ids.shape[1]]
    x = norm(state, "ln_final", run(state, "transformer", x, causal=True))
    return x[torch.arange(len(x)), ids.argmax(1)] @ state["text_projection"]


def encode_resnet(state: State, pixels: Tensor) -> Tensor:
    def bn(name: str, x: Tensor) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return batch_norm(x, *(state[f"{name}.{key}"] for key in keys))

    def conv(name: str, x: Tensor, **ways: int) -> Tensor:
        return conv2d(x, state[f"{name}.weight"], **ways)

    x = pixels
    for number in (1, 2, 3):
        x = bn(
            f"visual.bn{number}", conv(f"visual.conv{number}", x, stride=1 + (number == 1), padding=1)
        ).relu()
    x = avg_pool2d(x, 2)
    for stage in (1, 2, 3, 4):
        place = 0
        while f"visual.layer{stage}.{place}.conv1.weight" in state:
            block = f"visual.layer{stage}.{place}"
            strided = stage > 1 and place == 0
            y = bn(f"{block}.bn1", conv(f"{block}.conv1", x)).relu()
            y = bn(f"{block}.bn2", conv(f"{block}.conv2", y, padding=1)).relu()
            y = avg_pool2d(y, 2) if strided else y
            y = bn(f"{block}.bn3", conv(f"{block}.conv3", y))
            if place == 0:
                x = avg_pool2d(x, 2) if strided else x
                x = bn(f"{block}.downsample.1", conv(f"{block}.downsample.0", x))
            x = (x + y).relu()
            place += 1
    name = "visual.attnpool"
    tokens = x.flatten(2).transpose(1, 2)  # (N, G * G, C)
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + state[f"{name}.positional_embedding"]
    count, length, width = tokens.shape
    q, k, v = (
        linear(tokens, state[f"{name}.{each}_proj.weight"], state[f"{name}.{each}_proj.bias"])
        .view(count, length, -1, 64)
        .transpose(1, 2)
        for each in "qkv"
    )
    pattern = (q[:, :, :1] @ k.transpose(-1, -2) / 8).softmax(-1)  # (N, H, 1, T)
    mixed = (pattern @ v).transpose(1, 2).reshape(count, width)
    return linear(mixed, state[f"{name}.c_proj.weight"], state[f"{name}.c_proj.bias"])


# DICOM.


def xray(rows: int = 60, columns: int = 40, top: int = 4095, seed: int = 0) -> np.ndarray:
    """Smooth grey levels from 0 to ``top``."""
    generator = np.random.default_rng(seed)
    down, across = np.mgrid[0:rows, 0:columns] / max(rows, columns)
    waves = sum(np.sin(generator.uniform(2, 9) * down + generator.uniform(2, 9) * across) for _ in range(4))
    return np.round((waves - waves.min()) / (waves.max() - waves.min()) * top).astype(np.uint16)


def save_dicom(path: Path, pixels: np.ndarray | None, **tags: Any) -> Path:
    """An explicit little-endian DICOM with somebody's name in it; ``tags`` add to it, or replace."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = tags.pop("TransferSyntaxUID", pydicom.uid.ExplicitVRLittleEndian)
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.PatientName, dataset.PatientID, dataset.Modality = "DOE^JANE", "MRN-0815", "DX"
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3.4"
    if pixels is not None:
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
        if pixels.ndim == 3:
            dataset.PlanarConfiguration = 0
        dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
        dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
        dataset.PixelData = tags.pop("PixelData", pixels.tobytes())
    for name, value in tags.items():
        setattr(dataset, name, value)
    if pixels is not None:
        dataset.HighBit = dataset.BitsStored - 1
    dataset.save_as(path, enforce_file_format=True)
    return path
