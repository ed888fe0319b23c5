"""The naive ImageBind is checked too: against torch's own layers, recorded numbers, and on what must not matter."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import naive_imagebind as naive
from naive_imagebind import HUGE, MODALITIES, SMALL, State, activation, embed, replaced
from tiny_imagebind import released_shapes

EOS = 49407
HEADS = {modality: SMALL[f"{modality}_num_heads"] for modality in MODALITIES}
# What the authors' public code gives for random_state(SMALL, 0) and example(modality, 1): the first three numbers.
OFFICIAL = {
    "vision": [0.010208771, -0.30933834, 0.223325277],
    "text": [-3.934504832, -0.783319217, -1.209472627],
    "audio": [1.257885283, -1.212370427, -2.501239443],
    "depth": [0.407725684, -0.291467683, 1.866514087],
    "thermal": [-0.982658233, 1.290226002, -1.329068037],
    "imu": [-1.294841207, 0.349181675, -0.867102044],
}


def example(modality: str, count: int) -> Tensor:
    """Seeded inputs without clips; the texts end at positions 4, 7, 10, ..."""
    generator = torch.Generator().manual_seed(7)
    if modality == "text":
        ids = torch.zeros(count, 77, dtype=torch.long)
        for row, end in enumerate(range(4, 4 + 3 * count, 3)):
            ids[row, 0], ids[row, end] = 49406, 49407
            ids[row, 1:end] = torch.randint(1, 49000, (end - 1,), generator=generator)
        return ids
    pictures = {"vision": (3, 224, 224), "depth": (1, 224, 224), "thermal": (1, 224, 224)}
    size = {**pictures, "audio": (1, 36, 56), "imu": (6, 2000)}[modality]
    return torch.randn(count, *size, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def released() -> dict[str, tuple[int, ...]]:
    return released_shapes()


@pytest.fixture(scope="module")
def state() -> State:
    return naive.random_state(SMALL, 0)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


# The state dict


def test_the_list_of_keys_has_the_released_totals(released: dict[str, tuple[int, ...]]) -> None:
    assert len(released) == 1311
    assert sum(map(math.prod, released.values())) == 1_200_786_990


def test_the_rules_for_shapes_give_the_released_list(released: dict[str, tuple[int, ...]]) -> None:
    assert naive.shapes(HUGE) == released


def test_a_small_architecture_has_the_keys_that_its_depths_say() -> None:
    shapes = naive.shapes(SMALL)
    assert Counter(key.split(".")[0] for key in shapes) == {
        "modality_preprocessors": 26,
        "modality_trunks": 2 + 12 * (3 + 3) + 14 * (3 + 2 + 2 + 2),
        "modality_heads": 18,
        "modality_postprocessors": 5,
    }
    imu = {key: shape for key, shape in shapes.items() if ".imu." in key}
    block = (
        (3 + 1 + 4 + 4) * 16**2 + (3 + 1 + 4 + 1) * 16 + 2 * 16 + 4 * 16
    )  # maps, biases, key and value, norms
    assert sum(map(math.prod, imu.values())) == 252 * 16 + 48 * 16 + 2 * 16 + 2 * block + 2 * 16 + 20 * 16 + 1
    assert shapes["modality_preprocessors.audio.pos_embedding_helper.pos_embed"] == (1, 1 + 3 * 5, 36)
    assert shapes["modality_preprocessors.vision.rgbt_stem.proj.1.weight"] == (48, 3, 2, 56, 56)


@pytest.mark.parametrize(
    ("name", "value", "changed"),
    [
        ("video_frames", 4, {"vision"}),
        ("audio_stride", 4, {"audio"}),
        ("audio_num_mel_bins", 128, {"audio"}),
        ("audio_target_len", 204, {"audio"}),
        ("imu_kernel_size", 4, set()),
        ("vision_num_heads", 2, set()),
        ("audio_drop_path", 0.5, set()),
        ("out_embed_dim", 8, set(MODALITIES)),
    ],
)
def test_what_each_name_of_the_constructor_changes(name: str, value: int, changed: set[str]) -> None:
    old, new = naive.shapes(SMALL), naive.shapes({**SMALL, name: value})
    assert {key.split(".")[1] for key in new if new[key] != old.get(key)} == changed


def test_random_weights_are_seeded_and_the_buffers_are_the_official_ones(state: State) -> None:
    again, other = naive.random_state(SMALL, 0), naive.random_state(SMALL, 1)
    assert all(
        torch.equal(again[key], value) and value.dtype == torch.float64 for key, value in state.items()
    )
    fixed = {key for key in state if torch.equal(other[key], state[key])}
    scales = {f"modality_postprocessors.{m}.1.log_logit_scale" for m in MODALITIES if m != "vision"}
    assert fixed == {"modality_preprocessors.text.mask", *scales}
    mask = state["modality_preprocessors.text.mask"]
    assert mask[3, 3] == mask[3, 2] == 0
    assert mask[3, 4] == -math.inf


# The parts, against torch's own


@pytest.mark.parametrize("modality", ["vision", "text", "audio", "imu"])
def test_a_block_is_torchs_attention_norm_and_gelu(state: State, modality: str) -> None:
    width, heads, at = (
        SMALL[f"{modality}_embed_dim"],
        HEADS[modality],
        f"modality_trunks.{modality}.blocks.1.",
    )
    own = {key.removeprefix(at): value for key, value in state.items() if key.startswith(at)}
    attention = nn.MultiheadAttention(
        width, heads, add_bias_kv="attn.bias_k" in own, batch_first=True
    ).double()
    attention.load_state_dict({k.removeprefix("attn."): v for k, v in own.items() if k.startswith("attn.")})
    x = torch.randn(2, 77, width, dtype=torch.float64)
    mask = state.get(f"modality_preprocessors.{modality}.mask")

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), own[f"{name}.weight"], own[f"{name}.bias"], 1e-6)

    y = norm(x, "norm_1")
    expected = x + attention(y, y, y, attn_mask=mask, need_weights=False)[0]
    hidden = F.linear(norm(expected, "norm_2"), own["mlp.fc1.weight"], own["mlp.fc1.bias"])
    expected = expected + F.linear(F.gelu(hidden), own["mlp.fc2.weight"], own["mlp.fc2.bias"])
    close(naive.block(state, at, x, heads, mask), expected)


def test_patches_are_torchs_convolutions() -> None:
    x, weight = torch.randn(2, 3, 4, 13, 17).double(), torch.randn(5, 3, 2, 4, 3).double()
    expected = F.conv3d(x, weight, stride=(2, 3, 4)).flatten(2).transpose(1, 2)
    close(naive.patches(x, weight, (2, 3, 4)), expected)
    close(
        naive.patches(x[:, :, 0], weight[:, :, 0], (2, 1)),
        F.conv2d(x[:, :, 0], weight[:, :, 0], stride=(2, 1)).flatten(2).transpose(1, 2),
    )


@pytest.mark.parametrize("cells", [2, 7, 15, 16, 23, 37])
def test_positions_are_resized_as_torch_does_by_a_scale(cells: int) -> None:
    positions = torch.randn(1, 1 + 16 * 16, 6, dtype=torch.float64)
    grid = positions[:, 1:].unflatten(1, (16, 16)).movedim(-1, 1)
    grid = F.interpolate(grid, scale_factor=cells / 16, mode="bicubic")
    expected = torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], 1)
    close(naive.resized(positions, 1 + cells**2, 256), expected)


def test_an_imu_token_is_channel_after_channel_of_eight_samples(state: State) -> None:
    x, pre = example("imu", 1), "modality_preprocessors.imu."
    raw = torch.stack([torch.cat([x[0, c, 8 * w : 8 * w + 8] for c in range(6)]) for w in range(250)])
    expected = F.layer_norm(
        raw @ state[pre + "imu_stem.proj.weight"].T,
        (16,),
        state[pre + "imu_stem.norm_layer.weight"],
        state[pre + "imu_stem.norm_layer.bias"],
        1e-5,
    )
    close(naive.tokens(state, "imu", x)[0, 1:], expected + state[pre + "pos_embed"][0, 1:])


# The whole


@pytest.mark.parametrize("modality", MODALITIES)
def test_it_gives_the_numbers_of_the_authors_code(state: State, modality: str) -> None:
    found = embed(state, modality, example(modality, 1), heads=HEADS[modality])[0, :3]
    close(found, torch.tensor(OFFICIAL[modality], dtype=torch.float64), 1e-7)


@pytest.mark.parametrize("modality", MODALITIES)
def test_random_weights_tell_inputs_apart(state: State, modality: str) -> None:
    e = embed(state, modality, example(modality, 4), heads=HEADS[modality], scaled=False)
    assert (e @ e.T).fill_diagonal_(0).max() < 0.95


@pytest.mark.parametrize("modality", MODALITIES)
def test_lengths_are_the_scales_and_at_most_a_hundred(state: State, modality: str) -> None:
    x, heads = example(modality, 2), HEADS[modality]
    scale = {"vision": 1, "text": 1 / 0.07, "audio": 20, "depth": 5, "thermal": 10, "imu": 5}[modality]
    raised = {key: value + 4 if "log_logit_scale" in key else value for key, value in state.items()}
    unit = embed(state, modality, x, heads=heads, scaled=False)
    close(unit.norm(dim=-1), torch.ones(2).double())
    close(embed(state, modality, x, heads=heads), scale * unit)
    close(embed(raised, modality, x, heads=heads), unit * (1 if modality == "vision" else 100))


@pytest.mark.parametrize("modality", ["vision", "audio", "depth", "thermal"])
def test_clips_are_averaged_last(state: State, modality: str) -> None:
    clips, heads = example(modality, 3), HEADS[modality]
    single = embed(state, modality, clips, heads=heads)
    mean = single.mean(0, keepdim=True)
    close(embed(state, modality, clips[None], heads=heads), mean)
    assert mean.norm() < 0.99 * single[0].norm()
    close(embed(state, modality, clips[None], heads=heads, scaled=False), mean / mean.norm())


def test_a_still_image_is_two_equal_frames(state: State) -> None:
    still = example("vision", 2)
    video = torch.stack([still, still], 2)[:, None]  # (2, 1, 3, 2, 224, 224)
    expected = embed(state, "vision", still, heads=4)
    close(embed(state, "vision", video, heads=4), expected)
    video[:, :, :, 1] += 1
    assert (embed(state, "vision", video, heads=4) - expected).abs().max() > 1e-3


def test_a_larger_image_takes_resized_positions(state: State) -> None:
    image = example("vision", 1)
    larger = F.pad(image, (0, 56, 0, 56))
    assert activation(state, "vision", larger, -1, heads=4).shape == (1, 26, 48)
    wide = F.pad(image, (0, 55, 0, 55))  # one pixel short of a fifth patch: nothing changes
    close(embed(state, "vision", wide, heads=4), embed(state, "vision", image, heads=4))


def test_positions_after_the_end_of_a_text_do_not_matter(state: State) -> None:
    ids = example("text", 2)  # ends at 4 and 7
    old = embed(state, "text", ids, heads=5)
    ids[0, 5:], ids[1, 8:] = 1234, 4321
    close(embed(state, "text", ids, heads=5), old)
    ids[0, 3] += 1
    new = embed(state, "text", ids, heads=5)
    assert (new[0] - old[0]).abs().max() > 1e-3
    close(new[1], old[1])


@pytest.mark.parametrize("modality", ["text", "audio"])
def test_a_recorded_layer_put_back_changes_nothing_and_another_does(state: State, modality: str) -> None:
    heads = HEADS[modality]
    x = example(modality, 6)
    x = x if modality == "text" else x.unflatten(0, (2, 3))  # (2, 3 clips, 1, 36, 56)
    old = embed(state, modality, x, heads=heads)
    for layer in range(-1, 3):
        a = activation(state, modality, x, layer, heads=heads)
        assert a.shape == ((6, 77, 40) if modality == "text" else (2, 3 * 16, 36))
        close(replaced(state, modality, x, layer, a, heads=heads), old)
        swapped = replaced(state, modality, x, layer, a.flip(0), heads=heads)
        assert (swapped - old).abs().max() > 1e-3
    if modality == "audio":  # all that is read has changed places
        close(swapped, old.flip(0))


def test_at_the_last_block_only_the_class_token_of_each_clip_is_read(state: State) -> None:
    x = example("audio", 2)[None]
    a = activation(state, "audio", x, 2, heads=3)
    new = torch.randn_like(a)
    new[:, [0, 16]] = a[:, [0, 16]]
    close(replaced(state, "audio", x, 2, new, heads=3), embed(state, "audio", x, heads=3))
    new[:, 16, 0] += 1
    assert (
        replaced(state, "audio", x, 2, new, heads=3) - embed(state, "audio", x, heads=3)
    ).abs().max() > 1e-3


# The bottleneck


def test_the_bottleneck_of_a_text_takes_the_positions_that_are_read(state: State) -> None:
    ids = example("text", 1)
    target = embed(state, "vision", example("vision", 1), heads=4)
    fit = {"heads": 5, "beta": 0.1, "variance": 1.0, "steps": 3, "samples": 2, "read": 5}
    nats = naive.capacity(state, "text", ids, 1, target, **fit)
    assert nats.shape == (5,)
    assert (nats > 0).all()
    ids[0, 5:] = 99
    close(naive.capacity(state, "text", ids, 1, target, **fit), nats)
    assert (naive.capacity(state, "text", ids, 1, -target, **fit) - nats).abs().max() > 1e-3


def test_the_bottleneck_of_clips_is_one_map_clip_after_clip(state: State) -> None:
    clips = example("audio", 2)[None]
    target = embed(state, "text", example("text", 1), heads=5)
    fit = {"heads": 3, "beta": 0.01, "variance": 1.0, "steps": 3, "samples": 2}
    assert naive.capacity(state, "audio", clips, -1, target, **fit).shape == (2 * 16,)
    nats = naive.capacity(state, "audio", clips, 2, target, **fit)
    other = naive.capacity(state, "audio", clips, 2, -target, **fit)
    read = torch.zeros(32, dtype=torch.bool)
    read[[0, 16]] = True  # after the last block: the class token of each clip
    close(nats[~read], other[~read])  # the rest feels the compression alone, whatever the target
    assert (nats[read] - other[read]).abs().min() > 1e-3
