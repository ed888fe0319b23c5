"""Options of a command: from a YAML file, from flags and as ``key=value``, later ones over earlier ones."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from m2ib.cli.help import Group, add_row, group_of, option
from m2ib.cli.output import console, say
from m2ib.cli.values import escaped, list_or_text, parsed_value, parsed_word, parsed_words, read_file
from m2ib.errors import SettingError, did_you_mean, one_line, shortened
from m2ib.paths import is_name, local_path
from m2ib.progress import progress
from m2ib.registry.specs import AUTO

if TYPE_CHECKING:
    from m2ib.contract.model import Model
    from m2ib.registry.discovery import Listing, Registered
    from m2ib.registry.specs import AdapterSpec

RESERVED = ("name", "checkpoint", "device", "dtype", "registry")  # of load_model, so none of an adapter's own
CHECKPOINT = "its weights, as the adapter takes them: a hub id, a folder or a file; left out: the adapter's own default"
DEVICE = "where it runs: cpu, cuda, cuda:1, mps; auto: a GPU where there is one"
DTYPE = "the precision it runs in: float32, bfloat16, float16 or float64"
OPTIONS = "an option of the adapter's own, as in options.size=160; its page in the documentation lists them"
_KEY_VALUE = re.compile(r"[a-z_]+(\.[\w-]+)*=")


def refuse_more(rest: Sequence[str], command: str) -> None:
    """Raises :class:`SettingError` for words that a command has no use for."""
    if rest:
        raise SettingError(f"{command}: {rest[0]!r} is not an option of this command")


def path_of(option: str, given: str) -> Path:
    """A place as it is given to an option. Raises :class:`SettingError` for what names none, as an unset variable does."""
    if not is_name(given):
        raise SettingError(f"{option}: {given!r:.80} names no place; give a path, or leave the option out")
    return local_path(given)


def print_listing(found: Listing[Any], heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of what is installed, a row for each with its name and origin, and a line for each plugin left out."""
    from rich.table import Table

    out = console()
    table = Table("name", *heads, "from", box=None, pad_edge=False)
    for name, row, cells in zip(found.names, found, rows, strict=True):
        table.add_row(name, *cells, row.origin)
    out.print(table, markup=False)
    for line in (*found.failures, *found.conflicts):
        out.print(str(line), markup=False)


@dataclass
class ModelConfig:
    """Which model; ``options`` are the adapter's own."""

    model: str = option(
        "m2ib:photo",
        Group.MODEL,
        "NAME",
        "the adapter that opens it (`m2ib adapters` lists them), or auto for the one that opens the checkpoint",
    )
    checkpoint: str | None = option(None, Group.MODEL, "PATH", CHECKPOINT)
    device: str = option("auto", Group.MODEL, "NAME", DEVICE)
    dtype: str = option("float32", Group.MODEL, "NAME", DTYPE)
    options: dict[str, Any] = option({}, Group.MODEL, "options.NAME=VALUE", OPTIONS)

    @cached_property
    def adapter(self) -> Registered[AdapterSpec]:
        """The one that is named, or for ``auto`` the one that opens the checkpoint. Raises what :func:`m2ib.load_model` raises."""
        from m2ib.registry.opening import adapter_for

        return adapter_for(self.model, self.checkpoint, self.options)

    @property
    def name(self) -> str:
        """The model as it was asked for; of ``auto`` the name of its adapter."""
        return self.adapter.qualified_name if self.model == AUTO else self.model

    def load(self) -> Model:
        """Raises what :func:`m2ib.load_model` raises."""
        with progress(f"load the model {self.model!r}"):
            from m2ib.loading import load_model

            return load_model(
                self.name, checkpoint=self.checkpoint, device=self.device, dtype=self.dtype, **self.options
            )


def adapter_options(rest: Sequence[str], command: str) -> dict[str, Any]:
    """``options.NAME=VALUE``, values as in YAML. Raises :class:`SettingError` for anything else."""
    for word in rest:
        if not word.startswith("options.") or "=" not in word:
            raise SettingError(
                f"{command}: {word!r:.200} is not an option of this command; one of the adapter's is options.NAME=VALUE"
            )
    given: dict[str, Any] = parsed_words(rest, command).get("options", {})
    for name in RESERVED:
        if name in given:
            raise SettingError(f"{command}: {name!r} is not one of an adapter's own options; see --help")
    return given


def elsewhere(key: str) -> str:
    """For :attr:`Reader.hint`: that a name is one of an adapter's or of a method's own."""
    from m2ib.registry.discovery import default_registry

    if any(key in info.spec.options for info in default_registry().adapters):
        return f"; did you mean 'options.{key}', an option of the adapter?"
    if any(key in info.spec.setting_names for info in default_registry().methods):
        return f"; did you mean 'settings.{key}', a setting of a method?"
    return ""


@dataclass(frozen=True)
class Reader:
    """How a command's options are read.

    config    a dataclass with all options and their defaults
    free      those of free type: their flags hold YAML
    words     those whose flags take one or several words
    lists     those whose flags hold a path, or a list as in YAML
    switches  those whose flags take no value
    hidden    those without a flag
    named     those that are a mapping, of which a word alone is the ``format``
    hint      what to say of an unknown name, in place of the closest one; "" for nothing
    """

    config: type
    free: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    hint: Callable[[str], str] = elsewhere

    @property
    def known(self) -> tuple[str, ...]:
        """All names."""
        return tuple(f.name for f in dataclasses.fields(self.config))

    @property
    def flags(self) -> tuple[str, ...]:
        """Those with a flag that takes a value."""
        return tuple(name for name in self.known if name not in (*self.hidden, *self.switches))

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """The flags, ``--config`` and ``--print-config``, and what is said of each option."""
        parser.add_argument("--config", metavar="FILE", help="a YAML file with any of these options")
        parser.add_argument(
            "--print-config",
            action="store_true",
            help="show the options as they would be taken, as YAML, and stop",
        )
        for each in sorted(
            dataclasses.fields(self.config), key=lambda each: [*Group].index(each.metadata["group"])
        ):
            self._add(parser, each)

    def _add(self, parser: argparse.ArgumentParser, each: dataclasses.Field[Any]) -> None:
        told = each.metadata
        flag, form, default = f"--{each.name.replace('_', '-')}", told["form"], _default(each)
        help = (told["help"] + (f"; default: {default}" if default else "")).replace("%", "%%")
        if each.name in self.switches:
            group_of(parser, told["group"]).add_argument(
                flag, dest=each.name, action="store_true", default=None, help=help
            )
        elif each.name not in self.hidden:
            nargs = "+" if each.name in self.words else None
            group_of(parser, told["group"]).add_argument(
                flag, dest=each.name, metavar=form, nargs=nargs, help=help
            )
        elif form:
            add_row(parser, told["group"], form, told["help"])

    def config_of(self, parsed: argparse.Namespace, overrides: Sequence[str]) -> Any:
        """What :meth:`read` gives, as a configuration; None where it was only to be shown, and was."""
        config = self.config(**self.read(parsed, overrides))
        if parsed.print_config:
            say(as_yaml(config), end="")
            return None
        return config

    def read(self, parsed: argparse.Namespace, overrides: Sequence[str]) -> dict[str, Any]:
        """File, then flags, then ``key=value`` words, over the defaults. Raises :class:`SettingError`."""
        config = OmegaConf.structured(self.config)
        if parsed.config is not None:
            config = self._merge(
                config, read_file(path_of("config", parsed.config)), f"config {parsed.config!r}"
            )
        late: list[str] = []
        for name in (*self.flags, *self.switches):
            if (value := getattr(parsed, name)) is not None:
                if name in self.words:  # argparse takes what follows them for theirs
                    late += [word for word in value if _KEY_VALUE.match(word)]
                    value = [word for word in value if not _KEY_VALUE.match(word)]
                config = self._merge(config, self._flag(name, value), "options")
        for word in (*late, *overrides):
            config = self._merge(config, parsed_word(word), "options")
        try:
            plain = OmegaConf.to_container(config, resolve=True)  # nothing is to resolve but escaped signs
        except OmegaConfBaseException as error:
            raise SettingError(f"options: {_reason(error)}") from error
        assert isinstance(plain, dict)
        for name in RESERVED:
            if name in plain.get("options", {}):
                raise SettingError(
                    f"options: {name!r} is not one of an adapter's own options; see m2ib explain --help"
                )
        return {str(name): value for name, value in plain.items()}

    def _flag(self, name: str, value: Any) -> Any:
        """A flag's value: as in YAML where it is of free type, else what it is, literally."""
        if name in self.words:
            free = name in self.free
            return {
                name: [escaped(parsed_value(word, f"options: {name}") if free else word) for word in value]
            }
        if name in self.free:
            return parsed_word(f"{name}={value}")
        return {name: escaped(list_or_text(value) if name in self.lists else value)}

    def _merge(self, config: Any, new: Any, where: str) -> Any:
        for key in new:
            if key not in self.known:
                hint = self.hint(str(key)) or did_you_mean(key, self.known)
                raise SettingError(f"{where}: {str(key)!r} is unknown{hint} Known: {', '.join(self.known)}")
            if key in self.named and isinstance(new[key], str):
                new = {**new, key: {"format": new[key]}}
        try:
            return OmegaConf.merge(config, new)
        except OmegaConfBaseException as error:
            raise SettingError(f"{where}: {_reason(error)}") from error
        except TypeError as error:
            raise SettingError(
                f"{where}: a list and a mapping cannot be merged; write {' and '.join(map(repr, new))} as a whole"
            ) from error
        except Exception as error:  # whatever else it makes of what was given
            raise SettingError(
                f"{where}: {', '.join(map(repr, new)):.80} cannot be used: {one_line(error)}"
            ) from error


def _default(each: dataclasses.Field[Any]) -> str:
    """The default of an option in words; "" where nothing is one."""
    value = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
    value = value.get("format") if isinstance(value, dict) else value
    words = value if isinstance(value, list) else [value]
    return (
        ""
        if value is None or value is False
        else " ".join(str(word).lower() if word is True else str(word) for word in words)
    )


def as_yaml(config: Any) -> str:
    """YAML that :meth:`Reader.read` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(escaped(dataclasses.asdict(config))))


def flag_of(word: str, rest: Iterator[str]) -> tuple[str, str]:
    """Name and value of ``--name=value``, or of ``--name`` and the word that follows. Raises :class:`SettingError`."""
    name, equals, value = word[2:].partition("=")
    following = value if equals else next(rest, "--")
    if not equals and following.startswith("--"):
        raise SettingError(
            f"options: --{name} needs a value; one that begins with -- is written --{name}=VALUE"
        )
    return name, following


def key_values(rest: Sequence[str], command: str) -> list[str]:
    """What argparse did not know, where it can be ``key=value`` alone. Raises :class:`SettingError`."""
    for word in rest:
        if word.startswith("-") or "=" not in word:
            raise SettingError(
                f"{command}: {word!r} is neither an option nor key=value; see m2ib {command} --help"
            )
    return list(rest)


def _reason(error: OmegaConfBaseException) -> str:
    key = f"{error.full_key}: " if error.full_key else ""
    return shortened(f"{key}{(str(error).splitlines() or ['cannot be used'])[0]}")
