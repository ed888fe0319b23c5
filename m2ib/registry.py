"""Adapters found through the entry-point group ``m2ib``, each plugin on its own.

A plugin that fails is left out, recorded and reported once; everyone else keeps working.
``M2IB_STRICT_PLUGINS=1`` raises instead. Nothing here imports a model library or torch.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, overload

import pluggy

from m2ib import hookspecs
from m2ib.errors import AdapterError

if TYPE_CHECKING:
    from m2ib.model import Model

log = logging.getLogger("m2ib")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_MODALITY = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class AdapterSpec:
    """What a plugin registers for one model family. Making one must stay cheap.

    name        how users ask for it: lower-case letters, digits and dashes, e.g. ``"my-model"``
    summary     one line for listings
    modalities  the kinds of input its models take, e.g. ``("image", "text")``
    load        ``load(checkpoint=None, device=torch.device, dtype=torch.dtype, **options) -> m2ib.Model``;
                the only place that imports the model library or reads weights
    models      which checkpoints it opens, for listings
    extra       what to install when the model library is missing, e.g. ``"my-package[torch]"``
    options     names of the keywords that ``load`` takes besides; () where they are not told
    """

    name: str
    summary: str
    modalities: tuple[str, ...]
    load: Callable[..., Model]
    models: str = ""
    extra: str = ""
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise AdapterError(
                f"AdapterSpec: name {self.name!r} is not made of lower-case letters, digits and dashes"
            )
        if isinstance(self.modalities, str) or not self.modalities:
            raise AdapterError(
                f"AdapterSpec {self.name!r}: modalities must be a non-empty tuple of names, "
                f"not {self.modalities!r}"
            )
        for modality in self.modalities:
            if not isinstance(modality, str) or not _MODALITY.fullmatch(modality):
                raise AdapterError(
                    f"AdapterSpec {self.name!r}: modality {modality!r} is not a lower-case name"
                )
        if not callable(self.load):
            raise AdapterError(f"AdapterSpec {self.name!r}: load {self.load!r} cannot be called")


@dataclass(frozen=True)
class AdapterInfo:
    """One row of :func:`m2ib.list_adapters`: a usable adapter and the distribution it comes from."""

    name: str
    summary: str
    models: str
    modalities: tuple[str, ...]
    origin: str
    spec: AdapterSpec

    @property
    def qualified_name(self) -> str:
        """``dist:name``, the form that stays unambiguous when two plugins share a name."""
        return f"{self.origin}:{self.name}"


@dataclass(frozen=True)
class PluginFailure:
    """A plugin that was left out: who (distribution), which entry point, and why."""

    origin: str
    entry_point: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.entry_point!r} of {self.origin!r} was left out: {self.reason}"


class AdapterList(Sequence[AdapterInfo]):
    """The usable adapters in order of registration; ``failures`` and ``conflicts`` tell the rest."""

    def __init__(
        self, adapters: Iterable[AdapterInfo], failures: Iterable[PluginFailure], conflicts: Iterable[str]
    ) -> None:
        self._adapters = tuple(adapters)
        self.failures = tuple(failures)
        self.conflicts = tuple(conflicts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names to pass to ``load_model``; a name that two plugins share appears as ``dist:name``."""
        counts = [info.name for info in self._adapters]
        return tuple(
            info.name if counts.count(info.name) == 1 else info.qualified_name for info in self._adapters
        )

    @overload
    def __getitem__(self, key: int | str) -> AdapterInfo: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[AdapterInfo]: ...
    def __getitem__(self, key: int | str | slice) -> AdapterInfo | Sequence[AdapterInfo]:
        if isinstance(key, str):
            found = [info for info in self._adapters if key in (info.name, info.qualified_name)]
            if len(found) != 1:
                raise KeyError(key)
            return found[0]
        return self._adapters[key]

    def __contains__(self, key: object) -> bool:
        return key in self._adapters or any(key in (i.name, i.qualified_name) for i in self._adapters)

    def __iter__(self) -> Iterator[AdapterInfo]:
        return iter(self._adapters)

    def __len__(self) -> int:
        return len(self._adapters)

    def __repr__(self) -> str:
        rows = [f"{i.qualified_name} ({', '.join(i.modalities)}): {i.summary}" for i in self._adapters]
        return "\n".join([*rows, *map(str, self.failures), *self.conflicts])


class Registry:
    """Holds what plugins registered. Tests make their own; ``default_registry()`` serves everyone else."""

    def __init__(self) -> None:
        self._adapters: list[AdapterInfo] = []
        self._failures: list[PluginFailure] = []

    @classmethod
    def discover(cls, points: Iterable[EntryPoint] | None = None, *, strict: bool | None = None) -> Registry:
        """Load every entry point of the group ``m2ib`` (or the given ones), each on its own.

        strict: raise :class:`AdapterError` at the first failing plugin; by default the environment
        variable ``M2IB_STRICT_PLUGINS`` decides.
        """
        if strict is None:
            strict = os.environ.get("M2IB_STRICT_PLUGINS", "0") not in ("", "0")
        registry = cls()
        for point in entry_points(group=hookspecs.GROUP) if points is None else points:
            origin = point.dist.name if point.dist is not None else point.value
            try:
                registry.add_plugin(point.load(), origin=origin, entry_point=point.name)
            except (Exception, SystemExit) as error:  # whatever a stranger's module does must not stop us
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                failure = PluginFailure(origin, point.name, reason)
                if strict:
                    raise AdapterError(str(failure)) from error
                registry._failures.append(failure)
                log.warning("%s", failure)
        for conflict in registry.conflicts():
            if strict:
                raise AdapterError(conflict)
            log.warning("%s", conflict)
        return registry

    def add_plugin(self, plugin: Any, *, origin: str, entry_point: str = "") -> None:
        """Check a plugin's hooks and take its adapters, all or none of them."""
        manager = pluggy.PluginManager(hookspecs.GROUP)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin, name=entry_point or origin)
        manager.check_pending()  # a misspelt hook
        if not manager.hook.m2ib_register_adapters.get_hookimpls():
            raise AdapterError(
                f"{entry_point or origin!r} has no function m2ib_register_adapters decorated with m2ib.hookimpl"
            )
        specs: list[AdapterSpec] = []
        manager.hook.m2ib_register_adapters(register=specs.append)
        for spec in specs:
            if not isinstance(spec, AdapterSpec):
                raise AdapterError(f"register() takes an AdapterSpec, not {spec!r}")
        taken = [info.name for info in self._adapters if info.origin == origin] + [s.name for s in specs]
        for spec in specs:
            if taken.count(spec.name) > 1:
                raise AdapterError(f"{origin!r} registers the adapter {spec.name!r} more than once")
        self._adapters += [
            AdapterInfo(s.name, s.summary, s.models, tuple(s.modalities), origin, s) for s in specs
        ]

    def conflicts(self) -> list[str]:
        """A line for each name that two distributions share."""
        lines = []
        for name in dict.fromkeys(info.name for info in self._adapters):
            rivals = [info for info in self._adapters if info.name == name]
            if len(rivals) > 1:
                origins = " and ".join(repr(info.origin) for info in rivals)
                forms = " or ".join(repr(info.qualified_name) for info in rivals)
                lines.append(f"the adapter {name!r} is registered by {origins}: ask for {forms}")
        return lines

    def list(self) -> AdapterList:
        """All that was found, failures included."""
        return AdapterList(self._adapters, self._failures, self.conflicts())

    def find(self, name: str) -> AdapterInfo:
        """The adapter called ``name`` or ``dist:name``.

        Raises :class:`AdapterError` naming the known ones (and broken plugins) if there is none, and
        both distributions if there are two.
        """
        found = [info for info in self._adapters if name in (info.name, info.qualified_name)]
        if len(found) == 1:
            return found[0]
        if found:
            conflict = next(line for line in self.conflicts() if f"adapter {name!r} is" in line)
            raise AdapterError(f"load_model: {conflict}")
        known = self.list().names
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        broken = "".join(f"; {failure}" for failure in self._failures)
        raise AdapterError(
            f"load_model: no adapter is called {name!r}{hint}. Known: {', '.join(known) or 'none'}{broken}"
        )


_default: Registry | None = None


def default_registry() -> Registry:
    """The registry of installed plugins, discovered at first use."""
    global _default
    if _default is None:
        _default = Registry.discover()
    return _default


def list_adapters() -> AdapterList:
    """The installed adapters: names, models, modalities, origin; ``.failures`` names plugins left out."""
    return default_registry().list()
