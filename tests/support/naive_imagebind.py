"""ImageBind's forward pass once more, slower and simpler: functions over a state dict, nothing of m2ib.

Written from what is publicly known of the model: names and shapes of its weights, the order of its steps, its
constants. Only matrix products and elementwise arithmetic, so float64 in gives float64 out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import naive

State = Mapping[str, Tensor]
Architecture = Mapping[str, Any]

MODALITIES = ("vision", "text", "audio", "depth", "thermal", "imu")
IMU_CHANNELS = 6
SCALES = {
    "text": 1 / 0.07,
    "audio": 20.0,
    "depth": 5.0,
    "thermal": 10.0,
    "imu": 5.0,
}  # at the start of training

# fmt: off
# The official constructor's names and defaults. The drop paths matter to training alone; imu_kernel_size is ignored.
DEFAULTS: Architecture = {
    "video_frames": 2, "kernel_size": (2, 14, 14), "out_embed_dim": 768,
    "vision_embed_dim": 1024, "vision_num_blocks": 24, "vision_num_heads": 16,
    "audio_embed_dim": 768, "audio_num_blocks": 12, "audio_num_heads": 12, "audio_drop_path": 0.1,
    "audio_kernel_size": 16, "audio_stride": 10, "audio_num_mel_bins": 128, "audio_target_len": 204,
    "text_embed_dim": 768, "text_num_blocks": 12, "text_num_heads": 12,
    "depth_embed_dim": 384, "depth_num_blocks": 12, "depth_num_heads": 8, "depth_drop_path": 0.0,
    "depth_kernel_size": 16,
    "thermal_embed_dim": 768, "thermal_num_blocks": 12, "thermal_num_heads": 12, "thermal_drop_path": 0.0,
    "thermal_kernel_size": 16,
    "imu_embed_dim": 512, "imu_num_blocks": 6, "imu_num_heads": 8, "imu_drop_path": 0.7, "imu_kernel_size": 8,
}
# What the official constructor fixes; `pixels` is the side for which positions are learned: images, depth, thermal.
FIXED: Architecture = {
    "pixels": 224, "vocabulary_size": 49408, "context_length": 77, "imu_samples": 2000, "imu_window": 8,
}
HUGE: Architecture = {
    **DEFAULTS, "out_embed_dim": 1024,
    "vision_embed_dim": 1280, "vision_num_blocks": 32,
    "text_embed_dim": 1024, "text_num_blocks": 24, "text_num_heads": 16,
}
# For tests: no two widths alike, a grid of 4 x 4 for pictures and of 3 x 5 for sound.
SMALL: Architecture = {
    **DEFAULTS, "kernel_size": (2, 56, 56), "out_embed_dim": 20,
    "vision_embed_dim": 48, "vision_num_blocks": 3, "vision_num_heads": 4,
    "text_embed_dim": 40, "text_num_blocks": 3, "text_num_heads": 5,
    "audio_embed_dim": 36, "audio_num_blocks": 3, "audio_num_heads": 3,
    "audio_num_mel_bins": 36, "audio_target_len": 56,
    "depth_embed_dim": 32, "depth_num_blocks": 2, "depth_num_heads": 2, "depth_kernel_size": 56,
    "thermal_embed_dim": 24, "thermal_num_blocks": 2, "thermal_num_heads": 6, "thermal_kernel_size": 56,
    "imu_embed_dim": 16, "imu_num_blocks": 2, "imu_num_heads": 4,
}
# fmt: on


def embed(
    state: State,
    modality: str,
    x: Tensor,
    *,
    heads: int,
    scaled: bool = True,
    audio_stride: int | tuple[int, int] = 10,
    window: int = FIXED["imu_window"],
    pixels: int = FIXED["pixels"],
    through: tuple[int, Callable[[Tensor], Tensor]] | None = None,
) -> Tensor:
    """Embeddings (N, D) of ``x``; five or more dimensions are (N, clips, ...).

    ``scaled``: as the official model returns them, clips averaged last; otherwise unit vectors are averaged
    and made unit vectors again. ``through`` is (layer, function): what leaves block ``layer`` (-1: what enters block 0)
    passes through the function as (N, clips * positions, width), clip after clip.
    """
    inputs = len(x)
    clips = x.shape[1] if x.ndim >= 5 else 1
    x = x.flatten(0, 1) if x.ndim >= 5 else x
    positions = x.argmax(-1) if modality == "text" else torch.zeros(len(x), dtype=torch.long)
    x = tokens(
        state, modality, x, audio_stride=audio_stride, window=window, pixels=pixels
    )  # (N * clips, T, C)
    trunk = f"modality_trunks.{modality}."
    if modality == "vision":
        x = layer_norm(x, state, trunk + "pre_transformer_layer.0.", 1e-6)
    mask = state.get(f"modality_preprocessors.{modality}.mask")
    for index in range(-1, depth(state, modality)):
        if index >= 0:
            x = block(state, f"{trunk}blocks.{index}.", x, heads, mask)
        if through is not None and through[0] == index:
            folded = x.reshape(inputs, clips * x.shape[1], x.shape[2])
            x = through[1](folded).reshape(x.shape)
    head = f"modality_heads.{modality}." + ("proj." if modality == "text" else "")
    picked = layer_norm(x[torch.arange(len(x)), positions], state, head + "0.", 1e-6)  # (N * clips, C)
    projection = {"text": "1", "imu": "3"}.get(modality, "2")
    out = unit(picked @ state[f"{head}{projection}.weight"].T)
    scale = state.get(f"modality_postprocessors.{modality}.1.log_logit_scale")
    if scaled and scale is not None:
        out = out * scale.exp().clamp(max=100)
    out = out.reshape(inputs, clips, -1).mean(1)
    return out if scaled else unit(out)


def activation(state: State, modality: str, x: Tensor, layer: int, **how: Any) -> Tensor:
    """What leaves block ``layer`` (-1: what enters block 0), (N, clips * positions, width); ``how`` as in `embed`."""
    seen: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        seen.append(value)
        return value

    embed(state, modality, x, through=(layer, keep), **how)
    return seen[0]


def replaced(state: State, modality: str, x: Tensor, layer: int, value: Tensor, **how: Any) -> Tensor:
    """The embedding when ``value`` (N, clips * positions, width) leaves block ``layer``; ``how`` as in `embed`."""
    return embed(state, modality, x, through=(layer, lambda _: value), **how)


def capacity(
    state: State, modality: str, x: Tensor, layer: int, target: Tensor, *, heads: int, **fit: Any
) -> Tensor:
    """The textbook bottleneck (`naive.capacity`, whose keywords ``fit`` takes) on one input: nats per position."""
    probe = nn.Identity()
    return naive.capacity(
        lambda: embed(state, modality, x, heads=heads, through=(layer, probe)), probe, target, **fit
    )


def tokens(
    state: State,
    modality: str,
    x: Tensor,
    *,
    audio_stride: int | tuple[int, int] = 10,
    window: int = FIXED["imu_window"],
    pixels: int = FIXED["pixels"],
) -> Tensor:
    """What a stem makes of inputs without clips: (N, positions, width), class token first, positions added."""
    pre = f"modality_preprocessors.{modality}."
    if modality == "text":
        return state[pre + "token_embedding.weight"][x] + state[pre + "pos_embed"]
    stem = pre + {"depth": "depth_stem.", "imu": "imu_stem."}.get(modality, "rgbt_stem.")
    weight = state[stem + ("proj.1.weight" if modality == "vision" else "proj.weight")]
    if modality == "imu":
        weight = weight.unflatten(1, (-1, window))  # (C, channels, samples)
    if modality == "vision" and x.ndim == 4:
        x = x.unsqueeze(2)  # (N, 3, 1, H, W)
    if modality == "vision" and x.shape[2] == 1:
        x = torch.cat([x, x], 2)
    stride = pair(audio_stride) if modality == "audio" else weight.shape[2:]
    x = patches(x, weight, stride)
    if modality != "vision":
        x = layer_norm(x, state, stem + "norm_layer.", 1e-5)
    x = torch.cat([state[pre + "cls_token"].expand(len(x), 1, -1), x], 1)
    positions = state[pre + ("pos_embed" if modality == "imu" else "pos_embedding_helper.pos_embed")]
    if modality == "vision":
        positions = resized(positions, x.shape[1], frame=(pixels // weight.shape[-1]) ** 2)
    return x + positions


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """(bands, frames)."""
    return (size, size) if isinstance(size, int) else size


def patches(x: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """A convolution without bias as one product: (N, channels, *size), (C, channels, *kernel) -> (N, cells, C)."""
    axes = len(stride)
    for axis in range(axes):
        x = x.unfold(2 + axis, weight.shape[2 + axis], stride[axis])
    x = x.movedim(1, 1 + axes)  # (N, *grid, channels, *kernel)
    return x.flatten(1, axes).flatten(2) @ weight.flatten(1).T


def resized(positions: Tensor, count: int, frame: int) -> Tensor:
    """Positions (1, 1 + T * frame, C) for ``count`` tokens: as they are if the number fits, else the first frame's, bicubic."""
    if positions.shape[1] == count:
        return positions
    first, grid = positions[:, :1], positions[0, 1 : 1 + frame]
    if frame != count - 1:
        scale = math.sqrt((count - 1) / frame)
        weights = bicubic(math.isqrt(frame), scale).to(grid)  # (new, old)
        grid = grid.unflatten(0, (math.isqrt(frame), -1))
        grid = torch.einsum("ai,bj,ijc->abc", weights, weights, grid).flatten(0, 1)
    return torch.cat([first, grid[None]], 1)


def bicubic(old: int, scale: float) -> Tensor:
    """Keys' cubic convolution (a = -0.75), half-pixel centres, edges repeated: (floor(old * scale), old) in float64."""
    new = math.floor(old * scale)
    weights = torch.zeros(new, old, dtype=torch.float64)
    for row in range(new):
        centre = (row + 0.5) / scale - 0.5
        for near in range(math.floor(centre) - 1, math.floor(centre) + 3):
            d = abs(centre - near)
            inner = 1.25 * d**3 - 2.25 * d**2 + 1
            outer = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[row, min(max(near, 0), old - 1)] += inner if d <= 1 else outer
    return weights


def depth(state: State, modality: str) -> int:
    """How many blocks."""
    start = f"modality_trunks.{modality}.blocks."
    return 1 + max(int(key.removeprefix(start).split(".")[0]) for key in state if key.startswith(start))


def block(state: State, at: str, x: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """One pre-norm block on (N, T, C)."""
    x = x + attention(state, at + "attn.", layer_norm(x, state, at + "norm_1.", 1e-6), heads, mask)
    hidden = affine(layer_norm(x, state, at + "norm_2.", 1e-6), state, at + "mlp.fc1.")
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    return x + affine(hidden, state, at + "mlp.fc2.")


def attention(state: State, at: str, x: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """softmax(q k' / sqrt(d) + mask) v, head by head, over the positions and, where it is learned, one key more."""
    q, k, v = (x @ state[at + "in_proj_weight"].T + state[at + "in_proj_bias"]).chunk(3, -1)
    if at + "bias_k" in state:
        k = torch.cat([k, state[at + "bias_k"].expand(len(x), 1, -1)], 1)
        v = torch.cat([v, state[at + "bias_v"].expand(len(x), 1, -1)], 1)
    size = x.shape[-1] // heads
    out = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size)  # (N, T, T or T + 1)
        if mask is not None:
            scores = scores + mask
        weights = torch.exp(scores - scores.amax(-1, keepdim=True))
        out.append(weights / weights.sum(-1, keepdim=True) @ v[..., part])
    return affine(torch.cat(out, -1), state, at + "out_proj.")


def affine(x: Tensor, state: State, at: str) -> Tensor:
    """x W' + b."""
    return x @ state[at + "weight"].T + state[at + "bias"]


def layer_norm(x: Tensor, state: State, at: str, eps: float) -> Tensor:
    """Zero mean and unit variance over channels, then scale and shift."""
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred**2).mean(-1, keepdim=True)
    return centred / torch.sqrt(spread + eps) * state[at + "weight"] + state[at + "bias"]


def unit(x: Tensor) -> Tensor:
    """Length one along the last axis."""
    return x / (x**2).sum(-1, keepdim=True).sqrt()


def shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Every key of the official state dict and its shape, for an architecture in the constructor's names."""
    a = {**FIXED, **architecture}
    out: dict[str, tuple[int, ...]] = {}
    frames, *sides = a["kernel_size"]
    context, window = a["context_length"], a["imu_window"]
    audio = [
        (length - kernel) // stride + 1
        for length, kernel, stride in zip(
            (a["audio_num_mel_bins"], a["audio_target_len"]),
            pair(a["audio_kernel_size"]),
            pair(a["audio_stride"]),
            strict=True,
        )
    ]
    cells = {
        "vision": a["video_frames"] // frames * math.prod(a["pixels"] // side for side in sides),
        "audio": math.prod(audio),
        "depth": (a["pixels"] // a["depth_kernel_size"]) ** 2,
        "thermal": (a["pixels"] // a["thermal_kernel_size"]) ** 2,
        "imu": a["imu_samples"] // window,
    }
    for modality in MODALITIES:
        width, final = a[f"{modality}_embed_dim"], a["out_embed_dim"]
        pre, trunk, head = (f"modality_{part}.{modality}." for part in ("preprocessors", "trunks", "heads"))

        def norm(at: str, width: int = width) -> None:
            out[at + ".weight"] = out[at + ".bias"] = (width,)

        def linear(at: str, rows: int, columns: int) -> None:
            out[at + ".weight"], out[at + ".bias"] = (rows, columns), (rows,)

        if modality == "text":
            out[pre + "token_embedding.weight"] = (a["vocabulary_size"], width)
            out[pre + "pos_embed"] = (1, context, width)
            out[pre + "mask"] = (context, context)
        else:
            stem = pre + {"depth": "depth_stem", "imu": "imu_stem"}.get(modality, "rgbt_stem")
            out[pre + "cls_token"] = (1, 1, width)
            where = "pos_embed" if modality == "imu" else "pos_embedding_helper.pos_embed"
            out[pre + where] = (1, 1 + cells[modality], width)
            if modality == "vision":
                out[stem + ".proj.1.weight"] = (width, 3, *a["kernel_size"])
                norm(trunk + "pre_transformer_layer.0")
            elif modality == "imu":
                out[stem + ".proj.weight"] = (width, IMU_CHANNELS * window)
            else:
                out[stem + ".proj.weight"] = (width, 1, *pair(a[f"{modality}_kernel_size"]))
            if modality != "vision":
                norm(stem + ".norm_layer")
        for index in range(a[f"{modality}_num_blocks"]):
            at = f"{trunk}blocks.{index}."
            out[at + "attn.in_proj_weight"], out[at + "attn.in_proj_bias"] = (3 * width, width), (3 * width,)
            if modality not in ("vision", "text"):
                out[at + "attn.bias_k"] = out[at + "attn.bias_v"] = (1, 1, width)
            linear(at + "attn.out_proj", width, width)
            linear(at + "mlp.fc1", 4 * width, width)
            linear(at + "mlp.fc2", width, 4 * width)
            norm(at + "norm_1")
            norm(at + "norm_2")
        norm(head + ("proj.0" if modality == "text" else "0"))
        out[head + {"text": "proj.1", "imu": "3"}.get(modality, "2") + ".weight"] = (final, width)
        if modality in SCALES:
            out[f"modality_postprocessors.{modality}.1.log_logit_scale"] = ()
    return out


def random_state(architecture: Architecture, seed: int) -> dict[str, Tensor]:
    """A float64 state dict whose activations differ from input to input; the buffers as the official model has them."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for key, shape in shapes(architecture).items():
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        if key.endswith("text.mask"):
            state[key] = torch.full(shape, -math.inf, dtype=torch.float64).triu(1)
        elif key.endswith("log_logit_scale"):
            state[key] = torch.tensor(SCALES[key.split(".")[1]], dtype=torch.float64).log()
        elif "norm" in key or key.endswith((".0.weight", ".0.bias")):
            state[key] = 0.2 * noise + (1 if key.endswith("weight") else 0)
        elif key.endswith("bias"):
            state[key] = 0.2 * noise
        elif key.endswith("weight") and "token_embedding" not in key:
            state[key] = noise * 2 / math.sqrt(math.prod(shape[1:]))  # outputs about twice as large as inputs
        else:
            state[key] = noise * 0.7  # tokens, positions, learned keys and values
    return state
