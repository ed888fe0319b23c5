"""Adapters, methods and renderers found through the entry-point group ``m2ib``, each plugin on its own.

A plugin that fails is left out, recorded and reported once; everyone else keeps working.
``M2IB_STRICT_PLUGINS=1`` raises instead. Nothing here imports a model library or torch.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

import pluggy

from m2ib.errors import AdapterError, M2IBError, SettingError, did_you_mean
from m2ib.registry import hookspecs
from m2ib.registry.specs import AdapterSpec, MethodSpec, RendererSpec

if TYPE_CHECKING:
    from m2ib.contract.attribution import Renderer
    from m2ib.methods.base import Method

log = logging.getLogger("m2ib")

HOOKS = ("m2ib_register_adapters", "m2ib_register_methods", "m2ib_register_renderers")


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
class MethodInfo:
    """One row of :func:`m2ib.list_methods`: a usable method and the distribution it comes from."""

    name: str
    summary: str
    origin: str
    spec: MethodSpec

    @property
    def qualified_name(self) -> str:
        """``dist:name``, the form that stays unambiguous when two plugins share a name."""
        return f"{self.origin}:{self.name}"

    def load(self) -> Method:
        """The method itself. Raises :class:`SettingError` naming what to install where a package is missing."""
        try:
            return self.spec.load()
        except ImportError as error:
            install = f"pip install '{self.spec.extra}'" if self.spec.extra else "install what it needs"
            raise SettingError(
                f"method {self.name!r} needs {error.name or error}, which cannot be imported: {install}"
            ) from error


@dataclass(frozen=True)
class RendererInfo:
    """One row of :func:`m2ib.list_renderers`: a usable renderer and the distribution it comes from."""

    name: str
    summary: str
    origin: str
    spec: RendererSpec

    @property
    def qualified_name(self) -> str:
        """``dist:name``."""
        return f"{self.origin}:{self.name}"

    def load(self) -> Renderer:
        """The renderer itself. Raises :class:`AdapterError` naming what to install where a package is missing."""
        try:
            return self.spec.load()
        except ImportError as error:
            install = f"pip install '{self.spec.extra}'" if self.spec.extra else "install what it needs"
            raise AdapterError(
                f"renderer {self.name!r} needs {error.name or error}, which cannot be imported: {install}"
            ) from error


@dataclass(frozen=True)
class PluginFailure:
    """A plugin that was left out: who (distribution), which entry point, and why."""

    origin: str
    entry_point: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.entry_point!r} of {self.origin!r} was left out: {self.reason}"


class _Row(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def qualified_name(self) -> str: ...


Info = TypeVar("Info", bound=_Row)


class Listing(Sequence[Info], Generic[Info]):
    """What is usable, in order of registration; ``failures`` and ``conflicts`` tell the rest."""

    def __init__(
        self, rows: Iterable[Info], failures: Iterable[PluginFailure], conflicts: Iterable[str]
    ) -> None:
        self._rows = tuple(rows)
        self.failures = tuple(failures)
        self.conflicts = tuple(conflicts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names to ask for; a name that two plugins share appears as ``dist:name``."""
        every = [info.name for info in self._rows]
        return tuple(info.name if every.count(info.name) == 1 else info.qualified_name for info in self._rows)

    @overload
    def __getitem__(self, key: int | str) -> Info: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Info]: ...
    def __getitem__(self, key: int | str | slice) -> Info | Sequence[Info]:
        if isinstance(key, str):
            found = _called(key, self._rows)
            if len(found) != 1:
                raise KeyError(key)
            return found[0]
        return self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows or bool(_called(key, self._rows))

    def __iter__(self) -> Iterator[Info]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return "\n".join([*map(_line, self._rows), *map(str, self.failures), *self.conflicts])


def _line(info: _Row) -> str:
    modalities = f" ({', '.join(info.modalities)})" if isinstance(info, AdapterInfo) else ""
    return f"{info.qualified_name}{modalities}: {info.summary}"


def _called(name: object, rows: Sequence[Info]) -> list[Info]:
    return [info for info in rows if name in (info.name, info.qualified_name)]


AdapterList = Listing[AdapterInfo]
MethodList = Listing[MethodInfo]
RendererList = Listing[RendererInfo]


class Registry:
    """Holds what plugins registered. Tests make their own; ``default_registry()`` serves everyone else."""

    def __init__(self) -> None:
        self._adapters: list[AdapterInfo] = []
        self._methods: list[MethodInfo] = []
        self._renderers: list[RendererInfo] = []
        self._failures: list[PluginFailure] = []

    @classmethod
    def discover(cls, points: Iterable[EntryPoint] | None = None, *, strict: bool | None = None) -> Registry:
        """Load every entry point of the group ``m2ib`` (or the given ones), each on its own.

        strict  raise :class:`AdapterError` at the first failing plugin; None: the environment variable
                ``M2IB_STRICT_PLUGINS`` decides
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
        """Check a plugin's hooks and take its adapters, methods and renderers, all or none of them."""
        manager = pluggy.PluginManager(hookspecs.GROUP)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin, name=entry_point or origin)
        manager.check_pending()  # a misspelt hook
        if not any(getattr(manager.hook, hook).get_hookimpls() for hook in HOOKS):
            raise AdapterError(
                f"{entry_point or origin!r} has no function {HOOKS[0]} decorated with m2ib.hookimpl, nor "
                + " or ".join(HOOKS[1:])
            )
        adapters: list[AdapterSpec] = []
        methods: list[MethodSpec] = []
        renderers: list[RendererSpec] = []
        manager.hook.m2ib_register_adapters(register=adapters.append)
        manager.hook.m2ib_register_methods(register=methods.append)
        manager.hook.m2ib_register_renderers(register=renderers.append)
        _check("adapter", AdapterSpec, adapters, origin, self._adapters)
        _check("method", MethodSpec, methods, origin, self._methods)
        _check("renderer", RendererSpec, renderers, origin, self._renderers)
        self._adapters += [
            AdapterInfo(s.name, s.summary, s.models, tuple(s.modalities), origin, s) for s in adapters
        ]
        self._methods += [MethodInfo(s.name, s.summary, origin, s) for s in methods]
        self._renderers += [RendererInfo(s.name, s.summary, origin, s) for s in renderers]

    def conflicts(self) -> list[str]:
        """A line for each name that two distributions share."""
        kinds: dict[str, Sequence[_Row]] = {
            "adapter": self._adapters,
            "method": self._methods,
            "renderer": self._renderers,
        }
        return [line for kind, rows in kinds.items() for line in _conflicts(kind, rows)]

    def list(self) -> AdapterList:
        """All adapters that were found, failures included."""
        return Listing(self._adapters, self._failures, _conflicts("adapter", self._adapters))

    def list_methods(self) -> MethodList:
        """All methods that were found, failures included."""
        return Listing(self._methods, self._failures, _conflicts("method", self._methods))

    def list_renderers(self) -> RendererList:
        """All renderers that were found, failures included."""
        return Listing(self._renderers, self._failures, _conflicts("renderer", self._renderers))

    def modalities(self) -> dict[str, bool]:
        """Every kind of input that an adapter takes, and whether one says that it is written out (``inline``)."""
        known: dict[str, bool] = {}
        for info in self._adapters:
            for modality in info.modalities:
                known[modality] = known.get(modality, False) or modality in info.spec.inline
        return known

    def called(self, method: MethodInfo) -> str:
        """How to ask for a method: its name, or ``dist:name`` where another one has it too."""
        rivals = _called(method.name, self._methods)
        return method.name if len(rivals) < 2 else method.qualified_name

    def find(self, name: str) -> AdapterInfo:
        """The adapter called ``name`` or ``dist:name``.

        Raises :class:`AdapterError` naming the known ones (and broken plugins) if there is none, and
        both distributions if there are two.
        """
        adapters = self.list()
        found = _one("load_model", "adapter", name, adapters, AdapterError)
        if found is not None:
            return found
        close = difflib.get_close_matches(str(name), adapters.names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise AdapterError(
            f"load_model: no adapter is called {name!r}{hint}. Known: {', '.join(adapters.names) or 'none'}"
            + _broken(adapters)
        )

    def find_method(self, name: str) -> MethodInfo:
        """The method called ``name`` or ``dist:name``. Raises :class:`SettingError`, as :meth:`find` does."""
        methods = self.list_methods()
        found = _one("method", "method", name, methods, SettingError)
        if found is not None:
            return found
        hint = did_you_mean(name, methods.names)
        raise SettingError(
            f"method: {name!r} is unknown{hint} There is {', '.join(methods.names) or 'none'}{_broken(methods)}"
        )


def _check(kind: str, wanted: type, specs: Sequence[Any], origin: str, registered: Sequence[_Row]) -> None:
    """Raises :class:`AdapterError` for what is no spec, and for a name that a distribution gives twice."""
    for spec in specs:
        if not isinstance(spec, wanted):
            article = "an" if wanted.__name__[0] in "AEIOU" else "a"
            raise AdapterError(f"register() takes {article} {wanted.__name__}, not {spec!r}")
    taken = [info.name for info in registered if info.origin == origin] + [spec.name for spec in specs]
    for spec in specs:
        if taken.count(spec.name) > 1:
            raise AdapterError(f"{origin!r} registers the {kind} {spec.name!r} more than once")


def _conflicts(kind: str, rows: Sequence[_Row]) -> list[str]:
    lines = []
    for name in dict.fromkeys(info.name for info in rows):
        rivals = [info for info in rows if info.name == name]
        if len(rivals) > 1:
            origins = " and ".join(repr(info.origin) for info in rivals)
            forms = " or ".join(repr(info.qualified_name) for info in rivals)
            lines.append(f"the {kind} {name!r} is registered by {origins}: ask for {forms}")
    return lines


def _one(who: str, kind: str, name: str, rows: Listing[Info], error: type[M2IBError]) -> Info | None:
    """The row of this name, None for none. Raises ``error`` for a name that two distributions share."""
    found = _called(name, rows)
    if len(found) > 1:
        conflict = next(line for line in rows.conflicts if f"{kind} {name!r} is" in line)
        raise error(f"{who}: {conflict}")
    return found[0] if found else None


def _broken(rows: Listing[Info]) -> str:
    return "".join(f"; {failure}" for failure in rows.failures)


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


def list_methods() -> MethodList:
    """The installed methods: names, summaries, origin; ``.failures`` names plugins left out."""
    return default_registry().list_methods()


def list_renderers() -> RendererList:
    """The installed renderers: names, summaries, origin; ``.failures`` names plugins left out."""
    return default_registry().list_renderers()
