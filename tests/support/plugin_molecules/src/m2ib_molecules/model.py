"""A model whose answers are known: every element has a direction of its own, and words point along them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import m2ib
from m2ib_molecules.degradation import Dummies
from m2ib_molecules.renderer import MoleculeRenderer
from m2ib_molecules.smiles import AROMATIC, DUMMY, ELEMENTS, read_smiles

SYMBOLS = ["", DUMMY, *ELEMENTS, *AROMATIC]  # an id for each; the first is padding
WORDS = {
    "chloride": "Cl",
    "bromide": "Br",
    "alcohol": "O",
    "amine": "N",
    "fluoride": "F",
    "thiol": "S",
    "sodium": "Na",
    "carbon": "C",
}
WIDTH = len(ELEMENTS)
LENGTH = 4.0  # of an element's direction, so that it stands out of noise of variance 1


class Passing(nn.Module):
    """One round of messages: x + a little of what the neighbours are."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, bonds: Tensor) -> Tensor:
        return x + 0.1 * torch.tanh(self.mix(bonds @ x))  # (N, A, C)


class Molecules(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        kinds = [symbol.capitalize() for symbol in SYMBOLS]
        table = torch.stack([torch.tensor([float(kind == each) for each in ELEMENTS]) for kind in kinds])
        self.atoms = nn.Embedding.from_pretrained(LENGTH * table)
        self.passing = nn.ModuleList(Passing() for _ in range(3))
        named = LENGTH * torch.eye(WIDTH)[[ELEMENTS.index(kind) for kind in WORDS.values()]]
        self.words = nn.Embedding.from_pretrained(
            torch.cat([torch.zeros(1, WIDTH), named])
        )  # other words say nothing
        self.reading = nn.ModuleList([nn.Identity(), nn.Identity()])

    def embed_smiles(self, inputs: Any) -> Tensor:
        atoms, bonds = inputs["atoms"], inputs["bonds"]  # (N, A), (N, A, A)
        x = self.atoms(atoms)  # (N, A, C)
        for block in self.passing:
            x = block(x, bonds)
        real = (atoms > 0).to(x)[..., None]  # (N, A, 1)
        out: Tensor = (x * real).sum(1) / real.sum(1)
        return out  # (N, C)

    def embed_text(self, ids: Any) -> Tensor:
        x = self.words(ids)  # (N, T, C)
        for block in self.reading:
            x = block(x)
        out: Tensor = x.sum(1)
        return out  # (N, C)


def prepare_smiles(raw: Any, *, truncate: bool = False) -> m2ib.Item:
    if isinstance(raw, Mapping):  # tensors by name, which no one else brings to describe_smiles
        return describe_smiles(dict(raw))
    molecule = read_smiles(raw)
    count = len(molecule.symbols)
    bonds = torch.zeros(count, count)
    for first, second, order in molecule.bonds:
        bonds[first, second] = bonds[second, first] = order
    inputs = {"atoms": torch.tensor([SYMBOLS.index(symbol) for symbol in molecule.symbols]), "bonds": bonds}
    spans = tuple((float(start), float(end)) for start, end in molecule.spans)
    layout = m2ib.Layout((count,), read=count, axes=(m2ib.Axis("atom", "characters", spans),))
    view = {
        "smiles": molecule.smiles,
        "atoms": list(molecule.symbols),
        "bonds": [list(bond) for bond in molecule.bonds],
    }
    return m2ib.Item(inputs, layout, view, {"source": molecule.smiles})


def describe_smiles(inputs: Any) -> m2ib.Item:
    if not isinstance(inputs, dict) or {"atoms", "bonds"} != set(inputs):
        raise m2ib.InputError(
            "smiles: a molecule in tensors has atoms (A,) and bonds (A, A), in a dict by these names"
        )
    atoms, bonded = inputs["atoms"], inputs["bonds"]
    if atoms.ndim != 1 or not len(atoms) or bonded.shape != (len(atoms),) * 2:
        raise m2ib.InputError(
            f"smiles: atoms {tuple(atoms.shape)} and bonds {tuple(bonded.shape)} do not fit; they are (A,) and (A, A)"
        )
    if not 0 < int(atoms.min()) <= int(atoms.max()) < len(SYMBOLS):
        raise m2ib.InputError(f"smiles: the atoms {atoms.tolist()} are not all from 1 to {len(SYMBOLS) - 1}")
    names = [SYMBOLS[value] for value in inputs["atoms"].tolist()]
    bonds = [
        [int(i), int(j), int(inputs["bonds"][i, j])] for i, j in inputs["bonds"].triu().nonzero().tolist()
    ]
    layout = m2ib.Layout((len(names),), read=len(names))
    return m2ib.Item(inputs, layout, {"smiles": "", "atoms": names, "bonds": bonds}, {"source": "tensors"})


def pad_smiles(items: Sequence[Any]) -> m2ib.Inputs:
    longest = max(len(item["atoms"]) for item in items)
    atoms = torch.zeros(len(items), longest, dtype=torch.long)
    bonds = torch.zeros(len(items), longest, longest)
    for row, item in enumerate(items):
        count = len(item["atoms"])
        atoms[row, :count], bonds[row, :count, :count] = item["atoms"], item["bonds"]
    return {"atoms": atoms, "bonds": bonds}


def prepare_text(raw: Any, *, truncate: bool = False) -> m2ib.Item:
    if not isinstance(raw, str) or not raw.split():
        raise m2ib.InputError(f"text: {raw!r:.40} says nothing; give a few words, such as 'a chloride'")
    if not WORDS.keys() & set(raw.lower().split()):
        raise m2ib.InputError(f"text: no word of {raw!r:.40} is known; the words are {', '.join(WORDS)}")
    tokens, end = [], 0
    for word in raw.split():
        start = raw.index(word, end)
        end = start + len(word)
        tokens.append(m2ib.Token(word, start, end))
    known = ["", *WORDS]
    ids = torch.tensor([known.index(t.text.lower()) if t.text.lower() in WORDS else 0 for t in tokens])
    return m2ib.Item(ids, m2ib.Layout((len(ids),), tokens=tuple(tokens)), {"text": raw}, {"source": "text"})


def describe_text(ids: Any) -> m2ib.Item:
    words = [["-", *WORDS][value] for value in ids.tolist()]
    starts = [sum(len(word) + 1 for word in words[:n]) for n in range(len(words))]
    tokens = tuple(
        m2ib.Token(word, start, start + len(word)) for word, start in zip(words, starts, strict=True)
    )
    layout = m2ib.Layout((len(words),), tokens=tokens)
    return m2ib.Item(ids, layout, {"text": " ".join(words)}, {"source": "ids"})


def load(*, checkpoint: Any = None, device: torch.device, dtype: torch.dtype) -> m2ib.Model:
    """The weights stand above, those of the messages are drawn from a seed."""
    if checkpoint is not None:
        raise m2ib.CheckpointError(
            f"molecules: its weights are its own; leave out the checkpoint {str(checkpoint)!r}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Molecules().to(device, dtype).eval()
    smiles = m2ib.Encoder(
        modality="smiles",
        prepare=prepare_smiles,
        describe=describe_smiles,
        embed=module.embed_smiles,
        layers=tuple(m2ib.Layer(block, f"passing.{n}") for n, block in enumerate(module.passing)),
        defaults=m2ib.Defaults(layer=1),
        renderer=MoleculeRenderer(),
        collate=pad_smiles,
        degradation=Dummies(SYMBOLS.index(DUMMY)),
        examples=lambda: ["CCCl", "c1ccccc1O"],
    )
    text = m2ib.Encoder(
        modality="text",
        prepare=prepare_text,
        describe=describe_text,
        embed=module.embed_text,
        layers=tuple(m2ib.Layer(block, f"reading.{n}") for n, block in enumerate(module.reading)),
        degradation=m2ib.Replacing(0),
        examples=lambda: ["a chloride", "some simple alcohol"],
    )
    return m2ib.Model(module, {"smiles": smiles, "text": text}, device, dtype, {"checkpoint": "built in"})
