"""A molecule as a drawing: atoms as discs shaded by their value, bonds as lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

import m2ib
from m2ib.renderers import scale

_SCRIPT = """
document.querySelectorAll("figure.molecule circle").forEach(atom => {
  atom.addEventListener("click", () => atom.classList.toggle("picked"));
});
"""


class MoleculeRenderer:
    """A grid (atoms,); the view is ``{"smiles", "atoms": [symbol], "bonds": [[first, second, order]]}``."""

    name = "molecule"
    script = _SCRIPT

    def scores(self, grid: np.ndarray, attribution: m2ib.Attribution) -> np.ndarray:
        """(atoms,)"""
        return scale(grid)

    def fragment(self, attribution: m2ib.Attribution, ident: str) -> str:
        view, places = attribution.view, places_of(attribution.view)
        size = 60 * (places.max(0) - places.min(0)) + 80
        at = 60 * (places - places.min(0)) + 40  # (atoms, 2)
        lines = Markup("").join(
            Markup(
                '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="currentColor" stroke-width="{}"/>'
            ).format(*at[first], *at[second], 2 * order)
            for first, second, order in view["bonds"]
        )
        atoms = Markup("").join(
            Markup(
                '<g><circle cx="{x:.1f}" cy="{y:.1f}" r="20" stroke="currentColor" fill="hsl(32 90% {light:.0f}%)" tabindex="0">'
                '<title>{name}: {value:.4g} {unit}</title></circle><text x="{x:.1f}" y="{low:.1f}" text-anchor="middle">{name}</text></g>'
            ).format(
                x=x, y=y, low=y + 5, light=96 - 46 * score, name=name, value=value, unit=attribution.unit
            )
            for (x, y), name, score, value in zip(
                at, view["atoms"], attribution.scores, attribution.grid, strict=True
            )
        )
        return Markup(
            '<figure class="molecule" id="{}"><svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}{}</svg>'
            "<figcaption>{}</figcaption></figure>"
        ).format(ident, *size, view["smiles"], lines, atoms, view["smiles"])

    def draw(self, attribution: m2ib.Attribution, axes: Any) -> None:
        names = [f"{name}{number}" for number, name in enumerate(attribution.view["atoms"], 1)]
        axes.bar(names, attribution.grid)
        axes.set_ylabel(attribution.unit or attribution.method)

    def store(self, view: Any, folder: Path, stem: str) -> Mapping[str, Any]:
        return dict(view)

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Any:
        return dict(stored)


def places_of(view: Mapping[str, Any]) -> np.ndarray:
    """(atoms, 2) where atoms that are few bonds apart are close: classical scaling of the bonds between them."""
    count = len(view["atoms"])
    apart = np.where(np.eye(count, dtype=bool), 0.0, np.inf)
    for first, second, _ in view["bonds"]:
        apart[first, second] = apart[second, first] = 1
    for middle in range(count):
        apart = np.minimum(apart, apart[:, middle, None] + apart[None, middle])
    centred = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-0.5 * centred @ apart**2 @ centred)
    places = np.zeros((count, 2))
    best = np.argsort(values)[::-1][:2]
    places[:, : len(best)] = vectors[:, best] * np.sqrt(np.maximum(values[best], 0))
    return places
