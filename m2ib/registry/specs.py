"""What plugins register: adapters, methods and renderers. Plain data; making one imports no torch and no model library."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m2ib.errors import AdapterError, M2IBError, SettingError

if TYPE_CHECKING:
    from m2ib.contract.attribution import Renderer
    from m2ib.contract.model import Model
    from m2ib.methods.base import Method

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
    attention   modalities whose encoders may show attention, so that a method which needs it can be refused before
                anything is loaded; None where it is not told
    inline      modalities whose inputs are written out where a table of pairs gives them, as texts are; a table
                gives all others as the paths of files
    """

    name: str
    summary: str
    modalities: tuple[str, ...]
    load: Callable[..., Model]
    models: str = ""
    extra: str = ""
    options: tuple[str, ...] = ()
    attention: tuple[str, ...] | None = None
    inline: tuple[str, ...] = ("text",)

    def __post_init__(self) -> None:
        _check_name(self, AdapterError)
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
        _check_load(self, AdapterError)


@dataclass(frozen=True)
class MethodSpec:
    """What a plugin registers for one method. Making one must stay cheap.

    name       how users ask for it: lower-case letters, digits and dashes
    summary    one line for listings, with its source
    load       gives the :class:`m2ib.methods.Method`; the only place that imports anything heavy
    settings   names of its settings, for listings and for giving each method of a run its own
    attention  whether it reads attention
    hides      whether it hides parts of an input
    control    whether it knows nothing of the model, and is there to be beaten
    extra      what to install when a package is missing
    """

    name: str
    summary: str
    load: Callable[[], Method]
    settings: tuple[str, ...] = ()
    attention: bool = False
    hides: bool = False
    control: bool = False
    extra: str = ""

    def __post_init__(self) -> None:
        _check_name(self, SettingError)
        _check_load(self, SettingError)


@dataclass(frozen=True)
class RendererSpec:
    """What a plugin registers for one renderer, so that explanations that were saved find it again.

    name     the renderer's own name, as in the manifest of a saved explanation
    summary  one line for listings
    load     gives the :class:`m2ib.renderers.Renderer`; the only place that imports anything heavy
    extra    what to install when a package is missing
    """

    name: str
    summary: str
    load: Callable[[], Renderer]
    extra: str = ""

    def __post_init__(self) -> None:
        _check_name(self, AdapterError)
        _check_load(self, AdapterError)


Spec = AdapterSpec | MethodSpec | RendererSpec


def _check_name(spec: Spec, error: type[M2IBError]) -> None:
    if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
        raise error(
            f"{type(spec).__name__}: name {spec.name!r} is not made of lower-case letters, digits and dashes"
        )


def _check_load(spec: Spec, error: type[M2IBError]) -> None:
    if not callable(spec.load):
        raise error(f"{type(spec).__name__} {spec.name!r}: load {spec.load!r} cannot be called")
