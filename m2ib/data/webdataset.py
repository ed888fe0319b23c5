"""Pairs out of WebDataset's tar files, read as a stream: what follows each other under one name is a sample.

::

    000123.jpg  000123.txt  000123.json      sub/000124.png  sub/000124.txt  ...

A name ends at its first dot, and what follows says what a file is: jpg, txt, depth.png, ... Nothing is unpacked to disk,
and no more is held than the two inputs of a sample.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from m2ib.data.cells import NamedBytes
from m2ib.data.columns import InputColumn, InputColumns, chosen_columns, modalities_of
from m2ib.data.endings import check_endings, chosen_inputs, only_one, text_of, wants
from m2ib.data.files import Source, called, opened_bytes
from m2ib.data.media import check_image
from m2ib.data.pairs import Pair, Pairs, Row, refuse
from m2ib.data.remote import RemoteFile
from m2ib.data.shards import labels, shards_of
from m2ib.errors import InputError, decoding
from m2ib.paths import WHOLE, printable

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_NAME = re.compile(r"(?:\./)*((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
_LOOKED_AT = 100  # samples, for one that has two inputs
_BLOCK = 2**18  # bytes that are read at once
_LONG_NAME = 2**20  # bytes of what stands before a file's own header
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)

Content = bytes | InputError


def open_webdataset(path: Any, *, columns: Any = None) -> Pairs:
    """A tar file, compressed or not; a folder of them; or a pattern.

    columns  endings by modality, as in "image=jpg;png,text=json.caption"; None: the two kinds of the first sample with two

    Raises :class:`InputError` and :class:`SettingError`.
    """
    chosen = None if columns is None else chosen_columns(columns)
    if chosen is not None:
        check_endings(chosen)
    name, files = shards_of(path, SUFFIXES)
    first = islice(_samples(files[0], lambda ending: False), _LOOKED_AT)
    inputs = chosen_inputs((sample.endings for sample in first), chosen, called(files[0]))
    return Pairs(name, modalities_of(inputs), partial(_rows, files, inputs))


def _rows(files: Sequence[Source], inputs: InputColumns) -> Iterator[Row]:
    for path, label in zip(files, labels(files), strict=True):
        try:
            for sample in _samples(path, lambda ending: any(wants(column, ending) for column in inputs)):
                yield Row(printable(f"{label}{sample.key}"), partial(_pair, sample, inputs, path))
        except InputError as error:
            yield Row(f"{label}its end", partial(refuse, f"{error}; what follows is left out"))


@dataclass
class _Sample:
    """The files of one name.

    endings   of all of them, in order
    contents  by ending, of those that are wanted
    """

    key: str
    endings: list[str] = field(default_factory=list)
    contents: dict[str, Content] = field(default_factory=dict)

    def add(self, ending: str, content: Content | None) -> None:
        if content is not None:
            twice = ending in self.contents
            self.contents[ending] = InputError(f"it has {ending} twice") if twice else content
        self.endings.append(ending)


def _pair(sample: _Sample, inputs: InputColumns, path: Source) -> Pair:
    first, second = ((column.modality, _raw(sample, column, path)) for column in inputs)
    return Pair(sample.key, (first, second))


def _raw(sample: _Sample, column: InputColumn, path: Source) -> Any:
    ending = only_one(column, dict.fromkeys(sample.endings))
    content = sample.contents[ending]
    if isinstance(content, InputError):
        raise content
    if column.inline:
        return text_of(content, column)
    if not content:
        raise InputError(f"its {ending} is empty: the file holds 0 bytes")
    if column.modality == "image":
        check_image(content, ending)
    where = path.place if isinstance(path, RemoteFile) else path
    return NamedBytes(content, f"{where}/{sample.key}.{ending}")


def _samples(path: Source, wanted: Callable[[str], bool]) -> Iterator[_Sample]:
    """Those of one tar. Raises :class:`InputError` where it is damaged or cut off, after what came before."""
    sample = None
    fault = None
    try:
        for archive, member in _members(path):
            name = _NAME.fullmatch(member.name)
            if name is None or member.isdir():
                continue
            key, ending = name[1], name[2].lower()
            content = _content(archive, member, ending, path) if wanted(ending) else None
            if sample is None or sample.key != key:
                if sample is not None:
                    yield sample
                sample = _Sample(key)
            sample.add(ending, content)
    except InputError as error:
        fault = error
    if sample is not None:
        yield sample
    if fault is not None:
        raise fault


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str, path: Source) -> Content:
    if member.issym() or member.islnk():
        return InputError(f"its {ending} is a link to {member.linkname!r:.200}, which a stream cannot follow")
    if member.size > WHOLE:
        return InputError(
            f"its {ending} has {member.size:,} bytes, more than the {WHOLE:,} that are held at once"
        )
    file = archive.extractfile(member)
    if file is None:
        return InputError(f"its {ending} is no file")
    with decoding(called(path), f"is damaged or cut off: {member.name!r:.200}"):
        return file.read()


class _Header(tarfile.TarInfo):
    """Remembers in its archive what ended it, for tarfile takes the middle of a file for its end."""

    @classmethod
    def fromtarfile(cls, tarfile_: Any) -> Any:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            tarfile_.ended_by = error
            raise

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _HEADERS and found.size > _LONG_NAME:
            raise tarfile.ReadError(f"a name of {found.size:,} bytes")
        return found


class _Archive(tarfile.TarFile):
    tarinfo = _Header
    ended_by: Exception | None = None


def _members(path: Source) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    who = called(path)
    with opened_bytes(path) as file:
        with decoding(who, "is no tar that can be read"):
            archive = _Archive.open(fileobj=file, mode="r|*", bufsize=_BLOCK)
        with archive:
            while True:
                with decoding(who, "is damaged or cut off"):
                    member = archive.next()
                if member is None:
                    break
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                yield archive, member
            if not isinstance(archive.ended_by, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise InputError(f"{who} is damaged or cut off: {archive.ended_by or 'it has no end'}")
