"""What is particular to molecules: strings, errors, drawings."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

import m2ib
from installed import Plugins
from molecules import ATOMS, CHLORIDE, install


@pytest.fixture
def model(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> m2ib.Model:
    install(plugins, monkeypatch)
    return m2ib.load_model("molecules", device="cpu", dtype="float64")


@pytest.mark.parametrize(
    ("smiles", "atoms", "bonds"),
    [
        ("ClC(Br)=O", "Cl C Br O", {(0, 1): 1, (1, 2): 1, (1, 3): 2}),
        ("C=1CC1", "C C C", {(0, 1): 1, (1, 2): 1, (0, 2): 2}),
        ("C%10CC=%10", "C C C", {(0, 1): 1, (1, 2): 1, (0, 2): 2}),
        ("c1cc[nH]c1", "c c c n c", {(0, 1): 1, (1, 2): 1, (2, 3): 1, (3, 4): 1, (0, 4): 1}),
        ("[Na+].[35Cl-]", "Na Cl", {}),
        ("C[C@@H](N)C#N", "C C N C N", {(0, 1): 1, (1, 2): 1, (1, 3): 1, (3, 4): 3}),
        ("C12CC1C2", "C C C C", {(0, 1): 1, (1, 2): 1, (2, 3): 1, (0, 2): 1, (0, 3): 1}),
    ],
)
def test_what_is_read_of_a_string(
    model: m2ib.Model, smiles: str, atoms: str, bonds: dict[tuple[int, int], int]
) -> None:
    view = model.item("smiles", smiles).view
    assert " ".join(view["atoms"]) == atoms
    assert {(first, second): order for first, second, order in view["bonds"]} == bonds
    found = model.preprocess("smiles", [smiles])["bonds"][0]  # (A, A)
    assert {(i, j): int(found[i, j]) for i, j in found.triu().nonzero().tolist()} == bonds
    assert torch.equal(found, found.T)


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CC(C", "the branch is left open that begins at character 3"),
        ("C1CC", "ring 1 is left open that begins at character 2"),
        ("C11", "ring 1 joins an atom with itself or with a neighbour at character 3"),
        ("C=1CC#1", "ring 1 closes with another bond than it begins with at character 7"),
        ("CC)", "')' closes nothing at character 3"),
        ("C()C", "')' closes nothing at character 3"),
        ("=CC", "'=' comes before any atom at character 1"),
        ("C=(C)C", "'(' follows a bond at character 3"),
        ("CC=", "an atom is missing at character 4"),
        ("C C", "' ' is not understood at character 2"),
        ("[Fe+2]", "'Fe' is not known at character 1"),
    ],
)
def test_bad_ones_are_told(model: m2ib.Model, smiles: str, reason: str) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        m2ib.explain(model, smiles=smiles, text="a chloride")
    assert (
        str(caught.value) == f"smiles {smiles!r}: {reason}; atoms are B C N O F Na P S Cl Br I b c n o p s *"
    )


def test_other_errors(model: m2ib.Model) -> None:
    for raws, reason in (
        ({"smiles": "", "text": "amine"}, "smiles: '' is no SMILES string, such as 'CCO'"),
        (
            {"smiles": torch.ones(2), "text": "amine"},
            "smiles: a molecule in tensors has atoms (A,) and bonds (A",
        ),
        (
            {"smiles": {"atoms": torch.ones(2), "bonds": torch.ones(3, 3)}, "text": "amine"},
            "smiles: atoms (2,) and bonds (3, 3) do not fit; they are (A,) and (A, A)",
        ),
        (
            {"smiles": {"atoms": torch.tensor([0, 99]), "bonds": torch.ones(2, 2)}, "text": "amine"},
            "smiles: the atoms [0, 99] are not all from 1 to ",
        ),
        ({"smiles": "CCO", "text": "a dog"}, "text: no word of 'a dog' is known; the words are chloride, "),
    ):
        with pytest.raises(m2ib.InputError, match=f"^{re.escape(reason)}"):
            m2ib.explain(model, **raws)  # type: ignore[arg-type]
    with pytest.raises(
        m2ib.CheckpointError, match=r"^molecules: its weights are its own; leave out the check"
    ):
        m2ib.load_model("molecules", checkpoint="x.pt")


def test_tensors_do_as_well(model: m2ib.Model) -> None:
    inputs = {key: value[0] for key, value in model.preprocess("smiles", [CHLORIDE]).items()}
    given = m2ib.explain(model, smiles=inputs, text="chloride")["smiles"]
    raw = m2ib.explain(model, smiles=CHLORIDE, text="chloride")["smiles"]
    np.testing.assert_array_equal(given.grid, raw.grid)
    assert given.view["bonds"] == sorted(raw.view["bonds"])


def test_places_are_those_of_the_string(model: m2ib.Model) -> None:
    smiles = "C[C@H](=O)Cl"
    (axis,) = m2ib.explain(model, smiles=smiles, text="chloride")["smiles"].axes
    assert [smiles[int(start) : int(end)] for start, end in axis.spans] == ["C", "[C@H]", "O", "Cl"]


def test_a_contrast_is_drawn_in_two_hues(model: m2ib.Model, tmp_path: Path) -> None:
    found = m2ib.explain(model, smiles=CHLORIDE, text=m2ib.contrast("chloride", "alcohol"))
    page = found.to_html(tmp_path / "contrast.html").read_text()
    hues = re.findall(r'fill="hsl\((\d+) 90% (\d+)%\)" tabindex="0"><title>(\w+): ', page)
    assert [name for _, _, name in hues] == ATOMS
    assert (hues[7][0], hues[0][0]) == ("32", "212")
    assert found.figure().axes[0].patches[0].get_height() < 0 < found.figure().axes[0].patches[7].get_height()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "smiles",
    [
        "C",
        "CC(C)(C)C",
        "FS(F)(F)(F)(F)F",
        "c1ccc2ccccc2c1",
        "C.C.C.C",
        "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
        "C1CC2CCC1CC2",
    ],
)
def test_no_atom_is_drawn_on_another(model: m2ib.Model, smiles: str) -> None:
    view = model.item("smiles", smiles).view
    places = sys.modules["m2ib_molecules.renderer"].places_of(view)
    assert places.shape == (len(view["atoms"]), 2)
    assert pdist(places).min(initial=1) > 0.8  # in bonds; a disc is 0.67 across
    assert all(np.linalg.norm(places[first] - places[second]) < 2.5 for first, second, _ in view["bonds"])
