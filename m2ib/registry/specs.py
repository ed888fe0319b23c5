"""What plugins register: adapters, methods and renderers. Plain data; making one imports no torch and no model library."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

from m2ib.contract.settings import TARGET, Setting
from m2ib.errors import AdapterError, M2IBError, SettingError, did_you_mean

if TYPE_CHECKING:
    from m2ib.contract.attribution import Renderer
    from m2ib.contract.model import Model
    from m2ib.methods.base import Method
    from m2ib.methods.interactions.base import PairMethod

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_MODALITY = re.compile(r"[a-z][a-z0-9_]*")
_BY_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
AUTO = "auto"
"""In place of an adapter's name: whichever opens the checkpoint."""


def are_texts(value: Any) -> TypeGuard[Sequence[str]]:
    """Whether it is a tuple or list of texts."""
    return isinstance(value, (tuple, list)) and all(isinstance(each, str) for each in value)


class Spec:
    """What all specs have in common: a name, a line about it, and what loads it."""

    noun: ClassVar[str]
    asked_by: ClassVar[str]  # begins the messages to whoever asks for one by name
    error: ClassVar[type[M2IBError]] = AdapterError
    name: str
    summary: str
    load: str | Callable[..., Any]
    extra: str

    def __post_init__(self) -> None:
        who = type(self).__name__
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise self.error(
                f"{who}: name {self.name!r} is not made of lower-case letters, digits and dashes"
            )
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if each.type == "str" and not isinstance(value, str):
                raise self.error(f"{who} {self.name!r}: {each.name} {value!r:.60} is no text")
            kind, untold = str(each.type), value is None and "None" in str(each.type)
            if kind.startswith("tuple[str") and not (untold or are_texts(value)):
                raise self.error(f"{who} {self.name!r}: {each.name} {value!r:.60} is no tuple of texts")
        self._check_lazy("load", self.load)

    def _check_lazy(self, field: str, given: Any) -> None:
        """Raises ``error`` for what is neither a function nor names one."""
        who = f"{type(self).__name__} {self.name!r}: {field} {given!r}"
        if isinstance(given, str) and not _BY_NAME.fullmatch(given):
            raise self.error(f"{who} is not 'module:attribute', as in 'my_package.adapter:{field}'")
        if not isinstance(given, str) and not callable(given):
            raise self.error(f"{who} cannot be called")

    @classmethod
    def unknown(cls, name: object, known: Sequence[str]) -> str:
        """What is said of a name that none has."""
        hint = did_you_mean(name, known)
        return f"{cls.asked_by}: {name!r} is unknown{hint} There is {', '.join(known) or 'none'}"

    @property
    def loader(self) -> Callable[..., Any]:
        """The function that ``load`` is or names; what it names is imported here."""
        return resolved(self.load)

    def loaded(self, **options: Any) -> Any:
        """What ``load`` gives. Raises ``error`` naming what to install where a package is missing."""
        with self.installed():
            return self.loader(**options)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, a package that is missing becomes an ``error`` naming what to install."""
        try:
            yield
        except ImportError as error:
            install = f"pip install '{self.extra}'" if self.extra else "install what it needs"
            raise self.error(
                f"{self.noun} {self.name!r} needs {error.name or error}, which cannot be imported: {install}"
            ) from error


def resolved(lazy: str | Callable[..., Any]) -> Callable[..., Any]:
    """A function itself, or the one that ``"module:attribute"`` names, whose module is imported here."""
    found: Callable[..., Any] = resolve_name(lazy) if isinstance(lazy, str) else lazy
    return found


@dataclass(frozen=True)
class AdapterSpec(Spec):
    """What a plugin registers for one model family. Making one must stay cheap.

    name        how users ask for it: lower-case letters, digits and dashes, e.g. ``"my-model"``
    summary     one line for listings
    modalities  the kinds of input its models take, e.g. ``("image", "text")``
    load        ``"my_package.adapter:load"``, or the function itself:
                ``load(checkpoint=None, device=torch.device, dtype=torch.dtype, **options) -> m2ib.Model``. Its module is
                the only place that imports the model library or reads weights
    models      which checkpoints it opens, for listings
    extra       what to install when the model library is missing, e.g. ``"my-package[torch]"``
    options     names of the keywords that ``load`` takes besides; () where they are not told
    attention   modalities whose encoders may show attention, so that a method which needs it can be refused before
                anything is loaded; None where it is not told
    inline      modalities whose inputs are written out where a table of pairs or the command line gives them, as texts
                are; all others are given there as the paths of files
    some        those of the modalities that not all of its models take
    in_memory   names of the classes of modules that ``load`` takes as a checkpoint, as they are in memory
    can         ``"my_package.adapter:can"``, or the function itself: ``can(checkpoint, **options)`` gives None where ``load``
                would open that, else in a few words why it would not, or raises a :class:`CheckpointError` that says it. It
                looks at descriptions and names of weights, reads none, and downloads no more than a description. None:
                it is not told, and ``"auto"`` passes the adapter over
    rank        of several that open a checkpoint ``"auto"`` takes the one of the highest rank: 0 of an adapter for one
                family, less for one that opens many, more for one that knows a checkpoint better than its family's does
    license     of the published weights that it is for, where it is known, in one line
    presets     names of the presets that its encoders bring besides :data:`m2ib.PRESETS`, so that an unknown one can be
                refused before anything is loaded; None where it is not told
    """

    noun = "adapter"
    asked_by = "load_model"

    name: str
    summary: str
    modalities: tuple[str, ...]
    load: str | Callable[..., Model]
    models: str = ""
    extra: str = ""
    options: tuple[str, ...] = ()
    attention: tuple[str, ...] | None = None
    inline: tuple[str, ...] = ("text",)
    in_memory: tuple[str, ...] = ()
    can: str | Callable[..., str | None] | None = None
    rank: int = 0
    license: str = ""
    some: tuple[str, ...] = ()
    presets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.can is not None:
            self._check_lazy("can", self.can)
        if isinstance(self.rank, bool) or not isinstance(self.rank, int):
            raise AdapterError(f"AdapterSpec {self.name!r}: rank {self.rank!r:.60} is no whole number")
        if self.name == AUTO:
            raise AdapterError(
                f"AdapterSpec {AUTO!r}: the name stands for whichever adapter fits; take another"
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

    @classmethod
    def unknown(cls, name: object, known: Sequence[str]) -> str:
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"load_model: no adapter is called {name!r}{hint}. Known: {', '.join(known) or 'none'}"


@dataclass(frozen=True)
class MethodSpec(Spec):
    """What a plugin registers for one method. Making one must stay cheap.

    name       how users ask for it: lower-case letters, digits and dashes
    summary    one line for listings, with its source
    load       ``"my_package.method:method"``, or the function itself: gives the :class:`m2ib.methods.Method`; its module
               is the only place that imports anything heavy
    settings   its settings, each a :class:`m2ib.Setting`; every method has a seed besides
    attention  whether it reads attention
    hides      whether it hides parts of an input
    control    whether it knows nothing of the model, and is there to be beaten
    extra      what to install when a package is missing
    """

    noun = asked_by = "method"
    error = SettingError

    name: str
    summary: str
    load: str | Callable[[], Method]
    settings: tuple[Setting, ...] = ()
    attention: bool = False
    hides: bool = False
    control: bool = False
    extra: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for each in self.settings:
            if not isinstance(each, Setting):
                raise SettingError(
                    f"{type(self).__name__} {self.name!r}: settings holds {each!r}, which is no m2ib.Setting"
                )

    @property
    def listed(self) -> tuple[Setting, ...]:
        """Its settings, and what its maps explain; the seed is not among them."""
        return (*self.settings, TARGET)

    @property
    def setting_names(self) -> tuple[str, ...]:
        """Of the settings that are ``listed``."""
        return tuple(each.name for each in self.listed)


@dataclass(frozen=True)
class PairMethodSpec(MethodSpec):
    """What a plugin registers, by the hook of methods, for one way to find interactions between the units of two inputs.

    load  gives the :class:`m2ib.methods.interactions.base.PairMethod`; the other fields are those of :class:`m2ib.MethodSpec`
    """

    load: str | Callable[[], PairMethod]  # type: ignore[assignment]

    @property
    def listed(self) -> tuple[Setting, ...]:
        """Its settings: there is no map that would explain a target."""
        return self.settings


@dataclass(frozen=True)
class RendererSpec(Spec):
    """What a plugin registers for one renderer, so that explanations that were saved find it again.

    name     the renderer's own name, as in the manifest of a saved explanation
    summary  one line for listings
    load     ``"my_package.looks:MyRenderer"``, or the class or function itself: gives the :class:`m2ib.renderers.Renderer`;
             its module is the only place that imports anything heavy
    extra    what to install when a package is missing
    """

    noun = asked_by = "renderer"

    name: str
    summary: str
    load: str | Callable[[], Renderer]
    extra: str = ""
