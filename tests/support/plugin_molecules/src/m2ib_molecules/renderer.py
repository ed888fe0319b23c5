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
_BOND, _DISC = 60, 20  # the length of a bond and the radius of an atom, in a drawing's own units


class MoleculeRenderer:
    """A grid (atoms,); the view is ``{"smiles", "atoms": [symbol], "bonds": [[first, second, order]]}``."""

    name = "molecule"
    script = _SCRIPT

    def scores(self, grid: np.ndarray, attribution: m2ib.Attribution) -> np.ndarray:
        """(atoms,)"""
        return scale(grid)

    def fragment(self, attribution: m2ib.Attribution, ident: str) -> str:
        view, places = attribution.view, places_of(attribution.view)
        size = _BOND * (places.max(0) - places.min(0)) + 4 * _DISC
        at = _BOND * (places - places.min(0)) + 2 * _DISC  # (atoms, 2)
        lines = Markup("").join(
            Markup(
                '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="currentColor" stroke-width="{}"/>'
            ).format(*at[first], *at[second], 3 * order - 1)
            for first, second, order in view["bonds"]
        )
        values = _shown(attribution)
        atoms = Markup("").join(
            Markup(
                '<g><circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" stroke="currentColor" fill="{fill}" tabindex="0">'
                '<title>{name}: {value:.4g}{unit}</title></circle><text x="{x:.1f}" y="{low:.1f}" text-anchor="middle">{name}</text></g>'
            ).format(x=x, y=y, r=_DISC, low=y + 5, fill=fill, name=name, value=value, unit=_unit(attribution))
            for (x, y), name, fill, value in zip(at, view["atoms"], _fills(attribution), values, strict=True)
        )
        return Markup(
            '<figure class="molecule" id="{}"><svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}" '
            'style="max-width: {:.0f}px">{}{}</svg><figcaption>{}, {:.4g} to {:.4g}{}</figcaption></figure>'
        ).format(
            ident,
            *size,
            view["smiles"],
            1.5 * size[0],
            lines,
            atoms,
            view["smiles"],
            values.min(),
            values.max(),
            _unit(attribution),
        )

    def draw(self, attribution: m2ib.Attribution, axes: Any) -> None:
        names = [f"{name}{number}" for number, name in enumerate(attribution.view["atoms"], 1)]
        axes.bar(names, _shown(attribution))
        axes.set_ylabel(attribution.unit or attribution.method)

    def store(self, view: Any, folder: Path, stem: str) -> Mapping[str, Any]:
        return dict(view)

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Any:
        return dict(stored)


def _unit(attribution: m2ib.Attribution) -> str:
    return f" {attribution.unit}" if attribution.unit else ""


def _shown(attribution: m2ib.Attribution) -> np.ndarray:
    """(atoms,) the map; of a contrast, what speaks for this less what speaks for the other."""
    if attribution.against is None:
        return attribution.grid
    return np.asarray(attribution.grid - attribution.against)


def _fills(attribution: m2ib.Attribution) -> list[str]:
    """Orange, the more of it the higher; of a contrast, blue for what speaks for the other."""
    if attribution.against is None:
        return [f"hsl(32 90% {96 - 46 * score:.0f}%)" for score in attribution.scores]
    values = _shown(attribution)
    most = float(np.abs(values).max()) or 1.0
    return [
        f"hsl({32 if value > 0 else 212} 90% {96 - 46 * abs(value) / most:.0f}%)" for value in values.tolist()
    ]


def places_of(view: Mapping[str, Any]) -> np.ndarray:
    """(atoms, 2) in bonds, where atoms that are few bonds apart are close, and none on another.

    Classical scaling of the number of bonds between each two, then those that are too close are pushed apart.
    """
    count = len(view["atoms"])
    apart = np.where(np.eye(count, dtype=bool), 0.0, np.inf)
    for first, second, _ in view["bonds"]:
        apart[first, second] = apart[second, first] = 1
    for middle in range(count):
        apart = np.minimum(apart, apart[:, middle, None] + apart[None, middle])
    reached = np.isfinite(apart)
    apart = np.where(reached, apart, apart[reached].max() + 2)  # several molecules in one string
    centred = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-0.5 * centred @ apart**2 @ centred)
    places = 0.01 * np.stack([np.cos(np.arange(count)), np.sin(np.arange(count))], 1)  # none quite on another
    best = np.argsort(values)[::-1][:2]
    places[:, : len(best)] += vectors[:, best] * np.sqrt(np.maximum(values[best], 0))
    for _ in range(300):
        gaps = places[:, None] - places[None]  # (atoms, atoms, 2)
        lengths = np.linalg.norm(gaps, axis=-1) + np.eye(count)
        lacking = np.maximum(0.9 - lengths, 0)
        places += 0.5 * (gaps * (lacking / lengths)[..., None]).sum(1)
    return places
