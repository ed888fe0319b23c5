"""What a user says of raw inputs: options that are checked, replaced for one input, and named in messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

from m2ib.errors import InputError, SettingError
from m2ib_adapters.inputs.media import called


@dataclass(frozen=True)
class WithOptions:
    """A preparation of raw inputs, some of whose fields a user may give.

    MODALITY  of the inputs, in which errors speak
    OPTIONS   the fields
    IN_INPUT  those that a raw input may bring itself, as in {"depth": array, "unit": "mm"}
    """

    MODALITY: ClassVar[str]
    OPTIONS: ClassVar[tuple[str, ...]]
    IN_INPUT: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any], **fixed: Any) -> Self:
        """With a user's options, those named in ``OPTIONS``. Raises :class:`SettingError`."""
        return cls(**fixed)._with(options, cls.OPTIONS)

    def with_input(self, raw: Any) -> tuple[Self, Any]:
        """Of a raw input ``{MODALITY: value, option: ...}``, the preparation with these options, and the value.

        Raises :class:`InputError`.
        """
        if not isinstance(raw, Mapping):
            return self, raw
        who = self.MODALITY
        if who not in raw:
            raise InputError(
                f"{who}: a mapping needs the key {who!r}; it has {', '.join(map(repr, raw)) or 'none'}"
            )
        options = {key: value for key, value in raw.items() if key != who}
        try:
            return self._with(options, self.IN_INPUT), raw[who]
        except SettingError as error:
            raise InputError(called(raw[who], who) + str(error).removeprefix(who)) from None

    def _with(self, given: Mapping[str, Any], known: Sequence[str]) -> Self:
        unknown = [repr(key) for key in given if key not in known]
        if unknown:
            raise SettingError(
                f"{self.MODALITY}: no option {', '.join(unknown)}; there are {', '.join(known)}"
            )
        return replace(self, **given)


_EXAMPLES = {
    "image": '{"maximum": 4095}',
    "audio": '{"clips": 5}',
    "video": '{"crops": 1}',
    "depth": '{"sensor": "kinect-v2"}',
    "thermal": '{"low": 20, "high": 40}',
    "imu": '{"rate": 200}',
}


def options_of(given: Any, modality: str, who: str) -> Mapping[str, Any]:
    """What an adapter was given for one kind of input, {} for None. Raises :class:`SettingError` in the name of ``who``."""
    if given is not None and not isinstance(given, Mapping):
        raise SettingError(
            f"{who}: {modality} is a dict of options, not {type(given).__name__}; as in {modality}={_EXAMPLES[modality]}"
        )
    return given or {}


def saying(who: str, name: str, value: Any) -> str:
    """How to give an option: in Python, and (in brackets) in a command or a settings file."""
    return f"{name}={value!r} (options.{who}.{name}={value})"


def check_positive(value: Any, name: str, who: str, *, optional: bool = False) -> None:
    """Raises :class:`SettingError` for what is no finite number > 0; None passes where it is ``optional``."""
    if not (optional and value is None) and not (is_number(value) and value > 0):
        raise SettingError(f"{who}: {name} is a number > 0, not {value!r}")


def check_number(value: Any, name: str, who: str) -> None:
    """Raises :class:`SettingError` for what is no finite number."""
    if not is_number(value):
        raise SettingError(f"{who}: {name} is a number, not {value!r}")


def check_count(value: Any, name: str, who: str) -> None:
    """Raises :class:`SettingError` for what is no whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise SettingError(f"{who}: {name} is a whole number > 0, not {value!r}")


def check_attention(value: Any, who: str) -> None:
    """Raises :class:`SettingError` for what is no name of transformers' attention; None passes."""
    if value is not None and not (isinstance(value, str) and value):
        raise SettingError(f"{who}: attention is a name as 'sdpa' or 'eager', not {value!r:.40}")


def check_page(page: int, pages: int, name: str, kind: str) -> None:
    """Raises :class:`InputError`, in the name of ``name``, for a page that is not there."""
    if page >= pages:
        there = f"0 to {pages - 1}" if pages > 1 else "0 alone"
        raise InputError(
            f"{name}: there is no page={page} (options.{kind}.page), counted from 0; there is {there}"
        )


def check_page_option(value: Any, who: str) -> None:
    """Raises :class:`SettingError` for what is no whole number from 0 on; None passes."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < 0):
        raise SettingError(f"{who}: page is a whole number from 0 on, not {value!r}")


def positive_number(value: Any, name: str) -> float:
    """``value`` where it is a finite number above zero. Raises :class:`InputError`, in the name of ``name``."""
    if not is_number(value) or value <= 0:
        raise InputError(f"{name} is a positive number, not {value!r:.40}")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
