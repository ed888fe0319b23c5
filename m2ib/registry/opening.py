"""Which adapter opens a checkpoint: each is asked, and says why it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from m2ib.errors import AdapterError, CheckpointError, M2IBError, SettingError, one_line, shortened
from m2ib.paths import at_home, url_fault
from m2ib.registry.discovery import Registered, Registry, default_registry
from m2ib.registry.licences import weights_facts
from m2ib.registry.specs import AUTO, AdapterSpec, resolved

_LONGEST = 160  # characters of a reason


@dataclass(frozen=True)
class Opening:
    """What the adapters say of a checkpoint.

    checkpoint  how it is called
    faults      by adapter, as it is asked for, why it does not open it; None of one that does
    adapters    by the same names, what is registered
    facts       licence, base model, data sets and languages, as far as the checkpoint or its adapter tells them
    """

    checkpoint: str
    faults: Mapping[str, str | None]
    adapters: Mapping[str, Registered[AdapterSpec]]
    facts: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters that open it and have the highest rank of those that do; one, as a rule."""
        fit = [name for name, fault in self.faults.items() if fault is None]
        most = max((self.adapters[name].spec.rank for name in fit), default=0)
        return tuple(name for name in fit if self.adapters[name].spec.rank == most)

    @property
    def name(self) -> str:
        """The one that ``"auto"`` stands for.

        Raises :class:`CheckpointError` with every adapter's reason where none opens it, and :class:`AdapterError` naming those
        of one rank where there are several.
        """
        if not self.names:
            reasons = "; ".join(f"{name}: {fault}" for name, fault in self.faults.items())
            raise CheckpointError(f"{AUTO}: no adapter opens {self.checkpoint}: {reasons or 'there is none'}")
        if len(self.names) > 1:
            raise AdapterError(
                f"{AUTO}: {self.checkpoint} opens with {' and '.join(map(repr, self.names))} alike; name one of them, as in "
                f"load_model({self.names[0]!r}, ...) or --model {self.names[0]}"
            )
        return self.names[0]

    def __str__(self) -> str:
        return "\n".join(f"{name}: {self.answer(name)}" for name in self.faults)

    def answer(self, name: str) -> str:
        """One adapter's, in words."""
        fault = self.faults[name]
        return fault or (
            "opens it" if name in self.names else f"opens it too, after {' and '.join(self.names)}"
        )


def who_opens(checkpoint: Any, *, registry: Registry | None = None, **options: Any) -> Opening:
    """Which adapter opens a checkpoint, and why the others do not. No weights are read, and no more than descriptions downloaded.

    checkpoint  a hub id, a folder, a file, a module in memory
    options     of the adapter: one that does not have them all is none

    Raises :class:`CheckpointError` for a URL, and :class:`SettingError` for None.
    """
    if checkpoint is None:
        raise SettingError(
            f"{AUTO}: the adapter is found by its checkpoint, and none is given; give checkpoint=, or the adapter's name"
        )
    named = isinstance(checkpoint, (str, PathLike))
    if named and (fault := url_fault(checkpoint)):
        raise CheckpointError(f"{AUTO}: checkpoint {str(checkpoint)!r:.200} {fault}, or a hub id")
    given, options = at_home(checkpoint), {key: at_home(value) for key, value in options.items()}
    found = (registry or default_registry()).adapters
    adapters = {found.called(row): row for row in found}
    faults = {name: _fault(row, given, options) for name, row in adapters.items()}
    said = f"checkpoint {str(given)!r:.200}" if named else f"the {type(given).__name__} in memory"
    opening = Opening(said, faults, adapters, {})
    known = adapters[opening.names[0]].spec.license if opening.names else ""
    return Opening(said, faults, adapters, weights_facts({"checkpoint": given}, known))


def adapter_for(
    name: str, checkpoint: Any, options: Mapping[str, Any], registry: Registry | None = None
) -> Registered[AdapterSpec]:
    """The adapter called ``name``, or for ``"auto"`` the one that opens the checkpoint.

    Raises :class:`AdapterError` for an unknown or ambiguous name, and what :func:`who_opens` and :attr:`Opening.name` raise.
    """
    if name != AUTO:
        return (registry or default_registry()).adapters.find(name)
    opening = who_opens(checkpoint, registry=registry, **options)
    return opening.adapters[opening.name]


def _fault(row: Registered[AdapterSpec], checkpoint: Any, options: Mapping[str, Any]) -> str | None:
    """Why an adapter does not open it, in a short line; None where it does."""
    spec = row.spec
    if spec.can is None:
        return "it does not tell (AdapterSpec.can)"
    if more := [name for name in options if spec.options and name not in spec.options]:
        return f"has no option {more[0]!r:.40}"
    try:
        with row.its_code(), spec.installed():
            found = resolved(spec.can)(checkpoint, **options)
    except Warning:
        raise
    except Exception as error:
        said = one_line(error, kind=not isinstance(error, M2IBError))
        for known in (f"{spec.name}: ", f"checkpoint {str(checkpoint)!r} "):
            said = said.removeprefix(known)
        return shortened(said.partition("; ")[0], _LONGEST)
    if found is None or isinstance(found, str):
        return found and shortened(found, _LONGEST)
    return f"its can gives {type(found).__name__}, no text"
