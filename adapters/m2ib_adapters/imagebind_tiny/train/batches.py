"""Training scenes as the encoders take them, many at once.

Pixels and samples go the same way as through the model's preparations; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from m2ib.scenes import KINDS, motion, pictures, sounds
from m2ib.scenes.captions import Named, objects_of, sentence
from m2ib.scenes.plan import ScenePlan, plan
from m2ib_adapters.imagebind_tiny.architecture import CODER, SIZES, preparations
from m2ib_adapters.imagebind_tiny.train.recipe import Stage

_FIRST_SEED = 2**40  # scenes of training begin here, far from everybody else's
_RUN = 2**32  # scenes that a run's seed keeps for itself
_AT_ONCE = 128

Texts = list[tuple[Tensor, Tensor]]
"""Of everything, and of a part: token ids (N, T), and of which scenes each text is true (N, N)."""
Batch = tuple[Tensor, Texts, Tensor, Tensor]
"""Inputs, texts, shares of cells, kinds."""


def inputs(modality: str, scenes: ScenePlan) -> Tensor:
    """What the encoder of a modality takes for the scenes: (N, ...) float32."""
    ready = preparations()
    if modality == "image":
        images = torch.from_numpy(pictures.images(scenes)).permute(0, 3, 1, 2).float() / 255  # (N, 3, H, W)
        pixels = ready.image.pixels
        mean, std = (torch.tensor(values)[:, None, None] for values in (pixels.mean, pixels.std))
        return (images - mean) / std
    if modality == "depth":
        depth, most = ready.depth, ready.depth.max_disparity or 1.0
        baseline, focal_length = depth.camera
        metres = torch.from_numpy(pictures.depths(scenes)).clamp(depth.nearest, depth.farthest)  # (N, H, W)
        disparity = (baseline * focal_length / metres).clamp(max=most) / most
        return ((disparity - depth.mean) / depth.std)[:, None]
    if modality == "thermal":
        levels = torch.from_numpy(pictures.thermals(scenes))  # (N, H, W)
        return ((levels - ready.thermal.mean) / ready.thermal.std)[:, None]
    if modality == "audio":
        return _spectrograms(torch.from_numpy(sounds.waveforms(scenes)))
    return torch.from_numpy(motion.traces(scenes))


def _spectrograms(waves: Tensor) -> Tensor:
    """(N, samples) -> (N, 1, bands, frames): all in one call, cut apart where the frames of each end."""
    audio = preparations().audio
    step, window = int(audio.rate * 0.01), int(audio.rate * 0.025)
    count, samples = waves.shape
    frames = 1 + (samples - window) // step
    joined = (waves - waves.mean(1, keepdim=True)).reshape(1, -1)  # samples is a multiple of the step
    energies = audio.log_mel(pad(joined, (0, window)))  # (frames of all, bands)
    apart = energies[: count * (samples // step)].unflatten(0, (count, -1))[:, : min(frames, audio.frames)]
    padded = pad(apart, (0, 0, 0, audio.frames - apart.shape[1]))  # (N, frames, bands)
    return ((padded - audio.mean) / audio.std).transpose(1, 2)[:, None]  # (N, 1, bands, frames)


def shares(modality: str, scenes: ScenePlan, grid: tuple[int, ...]) -> Tensor:
    """(N, kinds, cells): how much of each cell of the encoder's grid an object of each kind takes."""
    maker = {"audio": sounds.masks, "imu": motion.masks}.get(modality, pictures.masks)
    masks: np.ndarray = maker(scenes)  # (N, 3, rows, columns)
    if modality == "imu":
        masks = np.asarray(masks.any(2, keepdims=True))  # (N, 3, 1, samples)
        grid = (1, *grid)
    masks = masks.astype(np.float32)
    rows, columns = masks.shape[2] // grid[0], masks.shape[3] // grid[1]
    cells = masks.reshape(*masks.shape[:2], grid[0], rows, grid[1], columns).mean((3, 5))  # (N, 3, *grid)
    return torch.from_numpy(by_kind(scenes, cells.reshape(*cells.shape[:2], -1)))


def kinds_of(scenes: ScenePlan) -> Tensor:
    """(N, kinds) 1 where a scene holds the kind."""
    return torch.from_numpy(by_kind(scenes, scenes.present.astype(np.float32)))


def by_kind(scenes: ScenePlan, values: np.ndarray, none: float = 0) -> np.ndarray:
    """(N, slots, ...) of the objects -> (N, kinds, ...), ``none`` where a scene holds no such kind."""
    found = np.full((len(values), len(KINDS), *values.shape[2:]), none, values.dtype)
    scene, slot = np.nonzero(scenes.present)
    found[scene, scenes.kind[scene, slot]] = values[scene, slot]
    return found


def token_ids(texts: Sequence[str]) -> Tensor:
    """(N, T) of captions, words of the vocabulary all of them; padded to the longest."""
    coded = (CODER.code(text, SIZES.context_length, truncate=False, padded=False) for text in texts)
    rows = [torch.tensor(each.ids) for each in coded]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=CODER.pad)


def said(
    scenes: ScenePlan, random: np.random.Generator, *, part: bool, bare: float = 0.0
) -> tuple[list[str], list[list[Named]]]:
    """A caption for each scene, and what it says.

    part   names some of the objects, each with or without its colour and size; else all of them with both
    bare   share of the captions that name nothing but kinds
    """
    texts, meanings = [], []
    for scene in range(len(scenes.seeds)):
        objects = objects_of(scenes, scene)
        if part:
            some = random.permutation(len(objects))[: 1 + random.integers(len(objects))]
            objects = [objects[place] for place in some]
        plain = random.random() < bare
        if plain or part:
            objects = [
                Named(
                    each.kind,
                    each.colour if not plain and random.random() < 0.5 else -1,
                    each.size if not plain and random.random() < 0.5 else -1,
                )
                for each in objects
            ]
        texts.append(sentence(objects, random))
        meanings.append(objects)
    return texts, meanings


def truths(meanings: Sequence[Sequence[Named]], scenes: ScenePlan) -> Tensor:
    """(captions, scenes) bool: whether all that a caption says is true of a scene."""
    colour, size = (by_kind(scenes, each, -1) for each in (scenes.colour, scenes.size))
    true = np.ones((len(meanings), len(scenes.seeds)), bool)
    for row, objects in zip(true, meanings, strict=True):
        for named in objects:
            for held, wanted in ((colour, named.colour), (size, named.size)):
                of_kind = held[:, named.kind]  # (scenes,) -1 where there is none of this kind
                row &= of_kind == wanted if wanted >= 0 else of_kind >= 0
    return torch.from_numpy(true)


def pool_seeds(seed: int, size: int) -> np.ndarray:
    """The scenes (size,) that a run's second stage draws from; its first stage sees none of them."""
    return np.arange(size) + _FIRST_SEED + seed * _RUN + _RUN // 2


def together(seed: int, stage: Stage, grid: tuple[int, ...]) -> Iterator[Batch]:
    """Step by step, fresh scenes."""
    for step in range(stage.steps):
        first = _FIRST_SEED + seed * _RUN + step * stage.batch
        scenes, random = plan(range(first, first + stage.batch)), np.random.default_rng((seed, step, 1))
        yield _batch("image", scenes, grid, random, bare=(0.0, 0.5))


def bound(
    seed: int, stage: Stage, modality: str, grid: tuple[int, ...], pool: np.ndarray
) -> Iterator[tuple[Tensor, Batch]]:
    """Step by step, scenes of the pool in a random order, and their places in it."""
    draw = np.random.default_rng((seed, 2))
    rounds = -(-stage.steps * stage.batch // len(pool))
    order = np.concatenate([draw.permutation(len(pool)) for _ in range(rounds)])
    for step in range(stage.steps):
        which = order[step * stage.batch : (step + 1) * stage.batch]
        scenes, random = plan(pool[which].tolist()), np.random.default_rng((seed, step, 3))
        yield torch.from_numpy(which), _batch(modality, scenes, grid, random, bare=(0.5, 1.0))


def images(seeds: np.ndarray) -> Iterator[Tensor]:
    """The images of given scenes, so many at once."""
    for part in np.array_split(seeds, -(-len(seeds) // _AT_ONCE)):
        yield inputs("image", plan(part.tolist()))


def _batch(
    modality: str,
    scenes: ScenePlan,
    grid: tuple[int, ...],
    random: np.random.Generator,
    *,
    bare: tuple[float, float],
) -> Batch:
    """bare: share of captions that name nothing but kinds, among those of everything and those of a part."""
    texts = []
    for part, share in zip((False, True), bare, strict=True):
        captions, meanings = said(scenes, random, part=part, bare=share)
        texts.append((token_ids(captions), truths(meanings, scenes)))
    return inputs(modality, scenes), texts, shares(modality, scenes, grid), kinds_of(scenes)
