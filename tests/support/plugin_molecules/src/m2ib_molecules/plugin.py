"""All three hooks: an adapter, a renderer, a method. Imports nothing heavy."""

from collections.abc import Callable

import m2ib


@m2ib.hookimpl
def m2ib_register_adapters(register: Callable[[m2ib.AdapterSpec], None]) -> None:
    register(
        m2ib.AdapterSpec(
            "molecules",
            "molecules and their names",
            ("smiles", "text"),
            "m2ib_molecules.model:load",
            inline=("smiles", "text"),
            attention=(),
        )
    )


@m2ib.hookimpl
def m2ib_register_renderers(register: Callable[[m2ib.RendererSpec], None]) -> None:
    register(
        m2ib.RendererSpec("molecule", "atoms and bonds, shaded", "m2ib_molecules.renderer:MoleculeRenderer")
    )


@m2ib.hookimpl
def m2ib_register_methods(register: Callable[[m2ib.MethodSpec], None]) -> None:
    register(
        m2ib.MethodSpec(
            "heavy", "control: the heavier the atom, the higher", "m2ib_molecules.method:heavy", control=True
        )
    )
