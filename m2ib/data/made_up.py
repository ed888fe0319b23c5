"""The made-up scenes of ``m2ib.scenes``, as the benchmark asks for them: something with two or three objects, and a
text that names one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from m2ib.data.pairs import Pair, Pairs, Row
from m2ib.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from m2ib.scenes.questions import Question

TEXT = "text"
_MODALITIES = ("image", "text", "audio", "depth", "thermal", "imu")
_AT_FIRST = 32  # scenes are made in stages, each twice as many as the one before


def open_scenes(*, modality: str = "image", count: int = 100, seed: int = 0, split: str = "test") -> Pairs:
    """Pairs of a scene's input and a text that names one of its kinds, with the region of that kind in the input.

    modality  of the scene's input; open them once for each of several
    count     how many scenes, which are the first ones of the benchmark's with the same split and seed
    split     "test", or "tune" for what settings are chosen on

    A pair's id is its scene's seed. Raises :class:`SettingError`.
    """
    if modality not in _MODALITIES:
        raise SettingError(
            f"data format 'scenes': modality={modality!r} is none of theirs{did_you_mean(modality, _MODALITIES)} "
            f"They have {', '.join(_MODALITIES)}; open them once for each of several"
        )
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise SettingError(f"data format 'scenes': count={count!r} is no whole number from 1")
    from m2ib.scenes.splits import LOCALISE, scene_seeds

    scene_seeds(split, seed, max(count, 2), LOCALISE)
    rows = partial(_rows, modality, count, seed, split)
    return Pairs(
        f"scenes: {modality}",
        (modality, "text"),
        rows,
        located=True,
        numbered=True,
        total=partial(int, count),
    )


def _rows(modality: str, count: int, seed: int, split: str) -> Iterator[Row]:
    for number, question in enumerate(_questions(count, seed, split)):
        yield Row(f"scene {number}", partial(pair_of, question, modality))


def _questions(count: int, seed: int, split: str) -> Iterator[Question]:
    """Each is a function of its scene's seed alone: more of them begin with the same ones."""
    from m2ib.scenes.questions import questions

    done, many = 0, _AT_FIRST
    while done < count:
        many = min(many, count)
        yield from questions(split, seed, max(many, 2))[done:many]
        done, many = many, 2 * many


def pair_of(
    question: Question,
    modality: str,
    *,
    absent: bool = False,
    against: tuple[str, Any] | None = None,
    along: str = "",
) -> Pair:
    """A scene's input in a modality, and a text that names the kind asked for; with the masks of all objects.

    absent   the text names the kind that is not there: every mask is of something else
    against  (modality, raw input) in place of the text
    along    see :class:`Pair`
    """
    from m2ib.contract.regions import Region, regions_of
    from m2ib.scenes import query

    scene, kind = question.scene, question.absent if absent else question.kind
    axes = scene.axes[modality]
    known = {region.name: region for region in regions_of(scene.masks[modality], axes)}
    asked = {0: known.pop(kind)} if kind in known else {}
    return Pair(
        str(scene.seed),
        ((modality, scene.inputs[modality]), against or (TEXT, query(kind))),
        regions=asked,
        others={0: tuple(known.values())},
        filler={0: Region("filler", scene.filler, axes)} if modality == TEXT else {},
        along=along,
    )
