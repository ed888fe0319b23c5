"""Scenes of two or three objects, each with one of them to be asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2ib.scenes import KINDS, Scene, scenes
from m2ib.scenes.splits import LOCALISE, SINGLE, scene_seeds

_PURPOSE = 101  # of the random numbers drawn from a scene's seed here


@dataclass(frozen=True)
class Question:
    """A scene, the kind that is asked for, and one that is not there."""

    scene: Scene
    kind: str
    absent: str


def questions(split: str, seed: int, count: int) -> list[Question]:
    """``count`` of them; each is a function of its scene's seed alone. Raises :class:`SettingError`."""
    seeds = scene_seeds(split, seed, count, LOCALISE)
    drawn = {number: np.random.default_rng((number, _PURPOSE)).random(3) for number in seeds}
    many = {number: 2 + int(drawn[number][0] < 0.5) for number in seeds}
    made: dict[int, Scene] = {}
    for objects in (2, 3):
        chosen = [number for number in seeds if many[number] == objects]
        made |= {scene.seed: scene for scene in scenes(chosen, count=objects)}
    found = []
    for number in seeds:
        scene = made[number]
        others = [kind for kind in KINDS if kind not in scene.kinds]
        _, which, absent = drawn[number]
        found.append(
            Question(scene, scene.kinds[int(which * len(scene.kinds))], others[int(absent * len(others))])
        )
    return found


def single_scenes(split: str, seed: int, kinds: list[str]) -> list[Scene]:
    """A fresh scene with exactly one object for each of ``kinds``."""
    seeds = scene_seeds(split, seed, max(len(kinds), 2), SINGLE)[: len(kinds)]
    made: dict[int, Scene] = {}
    for kind in dict.fromkeys(kinds):
        chosen = [number for number, wanted in zip(seeds, kinds, strict=True) if wanted == kind]
        made |= {scene.seed: scene for scene in scenes(chosen, kinds=(kind,))}
    return [made[number] for number in seeds]
