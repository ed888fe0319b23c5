"""The matrix of a pair: looked at by units, and refused where it does not belong."""

from __future__ import annotations

import numpy as np
import pytest

from m2ib.contract.interactions import Interactions, Units
from m2ib.contract.null import Null
from m2ib.errors import AdapterError, InputError

WORDS = ("a", "dog", "a", "cat")
MATRIX = np.arange(24, dtype=float).reshape(6, 4) - 20


def made() -> Interactions:
    return Interactions(MATRIX, (Units("image", (2, 3)), Units("text", (4,), WORDS)), "by-word", "cosine")


def test_a_unit_is_found_by_its_name_number_and_place() -> None:
    found = made()
    for unit in ("dog", 1, (1,)):
        assert found.of(unit).tolist() == MATRIX[:, 1].reshape(2, 3).tolist()
    for unit in (4, (1, 1)):
        assert found.of(unit, at="image").tolist() == found.of(unit, at=0).tolist() == MATRIX[4].tolist()
    assert found.marginal("image").tolist() == MATRIX.sum(1).reshape(2, 3).tolist()
    assert found.marginal(1).tolist() == MATRIX.sum(0).tolist()


def test_the_strongest_links_whatever_their_sign() -> None:
    first, second = made().links(2)
    assert first == (0, 0, -20.0)
    assert second == (0, 1, -19.0)
    assert len(made().links(100)) == 24
    assert made().units[1].name(1) == "dog"
    assert made().units[0].name(4) == "1, 1"


@pytest.mark.parametrize(
    ("unit", "at", "said"),
    [
        ("a", None, "the unit 'a' of text is there 2 times; give its number"),
        ("dgo", None, "the unit 'dgo' of text is none of them; did you mean 'dog'"),
        (6, "image", r"6 is no unit of image, which has \(2, 3\); give a number below 6"),
        ((1, 3), 0, r"\(1, 3\) is no unit of image"),
        ((1,), 0, r"\(1,\) is no unit of image"),
        (-1, "image", "-1 is no unit of image"),
        (0, "sound", "at='sound' is not one of 'image', 'text', 0 or 1"),
        (0, True, "at=True is not one of"),
    ],
)
def test_a_unit_that_is_not_there(unit: object, at: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        made().of(unit, at=at)  # type: ignore[arg-type]


def test_two_inputs_without_names_have_to_be_told_apart() -> None:
    found = Interactions(np.zeros((2, 2)), (Units("image", (2,)), Units("image", (2,))), "x", "cosine")
    with pytest.raises(InputError, match=r"say which input the unit is of, as in of\(3, at=0\)"):
        found.of(0)
    with pytest.raises(InputError, match="at='image' is not one of 'image', 0 or 1"):
        found.of(0, at="image")


def test_a_matrix_that_does_not_fit_its_units() -> None:
    with pytest.raises(AdapterError, match=r"matrix has the shape \(6, 4\); it must have \(5, 4\)"):
        Interactions(MATRIX, (Units("image", (5,)), Units("text", (4,), WORDS)), "x", "cosine")
    with pytest.raises(AdapterError, match="the units of text: names is 4; it must be none, or 3"):
        Units("text", (3,), WORDS)
    with pytest.raises(AdapterError, match="matrix holds nan"):
        Interactions(MATRIX * np.nan, made().units, "x", "cosine")


def test_how_far_a_pair_stands_above_others() -> None:
    maps = np.array([[0.0, 1.0, 2.0], [0.0, 3.0, 2.0]])
    null = Null.of(maps, (0.1, 0.3), 0.6)
    assert null.score == pytest.approx(0.4 / np.std([0.1, 0.3], ddof=1))
    scores = null.scores(np.array([5.0, 4.0, 7.0]))
    assert scores.tolist() == [0, pytest.approx(2 / np.sqrt(2)), 0]  # the others agree on two of them
    assert null.specific(maps.mean(0)) == 0
    assert null.specific(np.array([4.0, 0.0, 0.0])) == 1
    alike = float(np.nextafter(np.float32(0.2), np.float32(1)))  # up to the last digit of a float32
    assert Null.of(maps, (0.2, alike), 0.6).score == 0
    assert Null.of(np.stack([maps[0], maps[0] + 1e-7]), (0.1, 0.3), 0.6).scores(maps[0]).tolist() == [0, 0, 0]
    with pytest.raises(AdapterError, match="null: its inputs is 1; it must be 2 or more"):
        Null.of(maps[:1].repeat(2, 0), (0.1,), 0.6)
