"""Adapters, methods and renderers found through the entry-point group ``m2ib``, each plugin on its own.

A plugin that fails is left out, recorded and reported once; everyone else keeps working.
``M2IB_STRICT_PLUGINS=1`` raises instead. Nothing here imports a model library or torch.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar, overload

import pluggy

from m2ib.contract.settings import Setting
from m2ib.errors import AdapterError, InputError, M2IBError, PluginError, one_line
from m2ib.registry import hookspecs
from m2ib.registry.foreign import (
    guard,
    guarded_fields,
    guarded_method,
    guarded_pair_method,
    plugin_code,
    warnings_are_no_errors,
)
from m2ib.registry.installed import OWN, OWN_POINTS, installed, is_our_name, origin_of
from m2ib.registry.specs import AdapterSpec, MethodSpec, PairMethodSpec, RendererSpec, Spec

log = logging.getLogger("m2ib")

HOOKS = {
    "m2ib_register_adapters": AdapterSpec,
    "m2ib_register_methods": MethodSpec,
    "m2ib_register_renderers": RendererSpec,
}
"""What each hook's ``register`` takes."""

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Registered(Generic[S]):
    """A usable spec, and the distribution that it comes from. What the spec says can be read here too."""

    spec: S
    origin: str

    @property
    def qualified_name(self) -> str:
        """``dist:name``, the form that stays unambiguous when two plugins share a name."""
        return f"{self.origin}:{self.spec.name}"

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def summary(self) -> str:
        return self.spec.summary

    @property
    def who(self) -> str:
        """How its failures begin."""
        return f"{self.spec.noun} {self.name!r} of {self.origin!r}"

    def load(self, **options: Any) -> Any:
        """The model, method or renderer itself.

        Raises the spec's error naming what to install where a package is missing, and :class:`PluginError` for whatever
        else the code of another distribution raises, now or when the method is used.
        """
        with self.its_code():
            found = self.spec.loaded(**options)
        if self.origin == OWN or not isinstance(self.spec, MethodSpec):
            return found
        guarded = guarded_pair_method if isinstance(self.spec, PairMethodSpec) else guarded_method
        return guarded(found, self.who)

    @contextmanager
    def its_code(self) -> Iterator[None]:
        """Around a call of what it names; what another distribution's raises is a :class:`PluginError`."""
        if self.origin == OWN:
            yield
            return
        with plugin_code(self.who), warnings_are_no_errors():
            yield

    def declared(self) -> tuple[Setting, ...]:
        """A method's settings."""
        settings: tuple[Setting, ...] = self.spec.settings  # type: ignore[attr-defined]
        if self.origin == OWN:
            return settings
        return tuple(guarded_fields(each, guard(self.who)) for each in settings)

    def __getattr__(self, name: str) -> Any:  # modalities, models, ...
        if name == "spec":  # of one that is being made or copied
            raise AttributeError(name)
        return getattr(self.spec, name)

    def __str__(self) -> str:
        takes = f" ({', '.join(self.spec.modalities)})" if isinstance(self.spec, AdapterSpec) else ""
        return f"{self.qualified_name}{takes}: {self.summary}"


@dataclass(frozen=True)
class PluginFailure:
    """A plugin that was left out: who (distribution), which entry point, and why."""

    origin: str
    entry_point: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.entry_point!r} of {self.origin!r} was left out: {self.reason}"


class Listing(Sequence[Registered[S]]):
    """What is usable of one kind, in order of registration; ``failures`` and ``conflicts`` tell the rest.

    kind  of the specs
    """

    def __init__(
        self, kind: type[S], rows: Iterable[Registered[S]] = (), failures: Iterable[PluginFailure] = ()
    ) -> None:
        self._kind = kind
        self._rows = tuple(rows)
        self.failures = tuple(failures)

    @property
    def names(self) -> tuple[str, ...]:
        """The names to ask for; a name that two plugins share appears as ``dist:name``."""
        return tuple(map(self.called, self._rows))

    @property
    def conflicts(self) -> tuple[str, ...]:
        """A line for each name that two distributions share."""
        names = dict.fromkeys(row.name for row in self._rows)
        return tuple(self._conflict(name) for name in names if len(self._named(name)) > 1)

    def called(self, row: Registered[S]) -> str:
        """How to ask for it: its name, or ``dist:name`` where another one has that too."""
        return row.name if len(self._named(row.name)) < 2 else row.qualified_name

    def find(self, name: str) -> Registered[S]:
        """The one called ``name`` or ``dist:name``.

        Raises the kind's error naming the known ones (and broken plugins) if there is none, and both distributions
        if there are two.
        """
        found = self._named(name)
        if len(found) == 1:
            return found[0]
        if found:
            raise self._kind.error(f"{self._kind.asked_by}: {self._conflict(name)}")
        broken = "".join(f"; {failure}" for failure in self.failures)
        raise self._kind.error(self._kind.unknown(name, self.names) + broken)

    def own(self, name: str) -> str:
        """How to ask for what comes with m2ib: by its name, or in full where another distribution took that too."""
        return self.called(self.find(f"{OWN}:{name}"))

    def _named(self, name: object) -> list[Registered[S]]:
        return [row for row in self._rows if name in (row.name, row.qualified_name)]

    def _conflict(self, name: str) -> str:
        rivals = self._named(name)
        origins = " and ".join(repr(row.origin) for row in rivals)
        forms = " or ".join(repr(row.qualified_name) for row in rivals)
        return f"the {self._kind.noun} {name!r} is registered by {origins}: ask for {forms}"

    @overload
    def __getitem__(self, key: int | str) -> Registered[S]: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Registered[S]]: ...
    def __getitem__(self, key: int | str | slice) -> Registered[S] | Sequence[Registered[S]]:
        if isinstance(key, str):
            found = self._named(key)
            if len(found) != 1:
                raise KeyError(key)
            return found[0]
        return self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows or bool(self._named(key))

    def __iter__(self) -> Iterator[Registered[S]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return "\n".join(map(str, (*self._rows, *self.failures, *self.conflicts)))


class Registry:
    """Holds what plugins registered. Tests make their own; ``default_registry()`` serves everyone else."""

    def __init__(self) -> None:
        self._rows: list[Registered[Any]] = []
        self._failures: list[PluginFailure] = []

    @classmethod
    def discover(cls, points: Iterable[EntryPoint] | None = None, *, strict: bool | None = None) -> Registry:
        """Load what comes with m2ib, and every entry point of the group ``m2ib`` (or the given ones), each on its own.

        strict  raise :class:`AdapterError` at the first failing plugin; None: the environment variable
                ``M2IB_STRICT_PLUGINS`` decides
        """
        if strict is None:
            strict = os.environ.get("M2IB_STRICT_PLUGINS", "0") not in ("", "0")
        registry = cls()
        found = installed() if points is None else points
        own = [EntryPoint(OWN, value, hookspecs.GROUP) for value in OWN_POINTS]
        others = sorted(  # folders give them in any order
            (point for point in found if point.value not in OWN_POINTS),
            key=lambda point: (origin_of(point), point.name),
        )
        for point in (*own, *others):
            origin = OWN if point in own else origin_of(point)
            try:
                with plugin_code("import"), warnings_are_no_errors():
                    if point in others and is_our_name(origin):
                        raise AdapterError(f"its distribution is called {origin!r}, as m2ib's own is")
                    registry.add_plugin(point.load(), origin=origin, entry_point=point.name)
            except M2IBError as error:  # whatever a stranger's module does must not stop us
                cause = error.__cause__ if isinstance(error, PluginError) else None
                failure = PluginFailure(origin, point.name, one_line(cause or error, kind=True))
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
            first, *others = HOOKS
            raise AdapterError(
                f"{entry_point or origin!r} has no function {first} decorated with m2ib.hookimpl, nor "
                + " or ".join(others)
            )
        added: list[Registered[Any]] = []
        for hook, kind in HOOKS.items():
            specs: list[Any] = []
            getattr(manager.hook, hook)(register=specs.append)
            for spec in specs:
                if not isinstance(spec, kind):
                    article = "an" if kind.__name__[0] in "AEIOU" else "a"
                    raise AdapterError(f"register() takes {article} {kind.__name__}, not {spec!r}")
            added += [Registered(spec, origin) for spec in specs]
        rows = [*self._rows, *added]
        times = Counter((row.origin, row.spec.noun, row.name) for row in rows)
        for row in added:
            if times[origin, row.spec.noun, row.name] > 1:
                raise AdapterError(f"{origin!r} registers the {row.spec.noun} {row.name!r} more than once")
        self._rows = rows

    def conflicts(self) -> list[str]:
        """A line for each name that two distributions share."""
        return [*self.adapters.conflicts, *self.methods.conflicts, *self.renderers.conflicts]

    @property
    def adapters(self) -> Listing[AdapterSpec]:
        """All adapters that were found, failures included."""
        return self._listing(AdapterSpec)

    @property
    def methods(self) -> Listing[MethodSpec]:
        """All methods that were found, failures included."""
        return self._listing(MethodSpec)

    @property
    def renderers(self) -> Listing[RendererSpec]:
        """All renderers that were found, failures included."""
        return self._listing(RendererSpec)

    def _listing(self, kind: type[S]) -> Listing[S]:
        return Listing(kind, (row for row in self._rows if isinstance(row.spec, kind)), self._failures)

    def modalities(self) -> dict[str, bool]:
        """Every kind of input that an adapter takes, and whether one says that it is written out (``inline``)."""
        known: dict[str, bool] = {}
        for row in self.adapters:
            for modality in row.spec.modalities:
                known[modality] = known.get(modality, False) or modality in row.spec.inline
        return known


_default: Registry | None = None


def default_registry() -> Registry:
    """The registry of installed plugins, discovered at first use."""
    global _default
    if _default is None:
        _default = Registry.discover()
    return _default


def check_model(model: Any, who: str) -> None:
    """Raises :class:`InputError`, in the name of ``who``, for what is no :class:`m2ib.Model` with weights, with the way to one."""
    from m2ib.contract.model import Model  # not at import: listing adapters needs no torch
    from m2ib.contract.similarity import Similarity

    if isinstance(model, Model):
        if model.device.type == "meta":
            raise InputError(
                f"{who}: the model is on the device 'meta' and has no weights; load it on a real one"
            )
        if not isinstance(model.similarity, Similarity):
            raise InputError(
                f"{who}: the model's similarity is a {type(model.similarity).__name__}; give "
                "m2ib.Similarity(name, of), of two batches of embeddings"
            )
        return
    classes = {each.__name__ for each in type(model).__mro__}
    ways = [
        f"m2ib.load_model({info.name!r}, checkpoint=net)"
        for info in list_adapters()
        if classes & set(info.spec.in_memory)
    ]
    if isinstance(model, str):
        way = f"load it first: m2ib.load_model({model!r})"
    elif "Module" in classes:
        way = f"wrap it: {' or '.join([*ways, 'm2ib.adapt(net, encoders={...})'])}"
    else:
        way = "give what m2ib.load_model(name, checkpoint=...) returns"
    raise InputError(f"{who}: the model is a {type(model).__name__}, not an m2ib.Model; {way}")


def list_adapters() -> Listing[AdapterSpec]:
    """The installed adapters: names, models, modalities, origin; ``.failures`` names plugins left out."""
    return default_registry().adapters


def list_methods() -> Listing[MethodSpec]:
    """The installed methods: names, summaries, origin; ``.failures`` names plugins left out."""
    return default_registry().methods


def list_renderers() -> Listing[RendererSpec]:
    """The installed renderers: names, summaries, origin; ``.failures`` names plugins left out."""
    return default_registry().renderers
