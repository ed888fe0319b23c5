"""All three hooks: an adapter, a renderer, a method. Imports nothing heavy."""

from collections.abc import Callable
from typing import Any

import m2ib


def _model(**options: Any) -> m2ib.Model:
    from m2ib_molecules.model import load

    return load(**options)


def _renderer() -> Any:
    from m2ib_molecules.renderer import MoleculeRenderer

    return MoleculeRenderer()


def _heavy() -> Any:
    from m2ib_molecules.method import heavy

    return heavy()


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    register(
        m2ib.AdapterSpec(
            "molecules",
            "molecules and their names",
            ("smiles", "text"),
            _model,
            inline=("smiles", "text"),
            attention=(),
        )
    )


@m2ib.hookimpl
def m2ib_register_renderers(register: Callable[[m2ib.RendererSpec], None]) -> None:
    register(m2ib.RendererSpec("molecule", "atoms and bonds, shaded", _renderer))


@m2ib.hookimpl
def m2ib_register_methods(register: Callable[[m2ib.MethodSpec], None]) -> None:
    register(m2ib.MethodSpec("heavy", "control: the heavier the atom, the higher", _heavy, control=True))
