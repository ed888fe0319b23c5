"""Folders of results: what is written into one is listed there, and nothing else in it is ever replaced or removed.

The list is ``m2ib-folder.json``. Files that belong together are written into a folder of their own beside the older ones
and take their place at once: as soon as the list says so it is decided, and whoever writes next finishes it. Old and new
files never stand side by side, since the old ones go before the first new one comes. A process that is killed leaves the
old ones or the new ones.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TypeVar

from m2ib.errors import StorageError
from m2ib.folders import listing
from m2ib.folders.files import check_links, files_in, lock, reason, sound, sync, write_whole
from m2ib.folders.listing import MARKER, PART, STAGING, Commit, Listed
from m2ib.paths import is_url

__all__ = ["MARKER", "ResultFolder", "check_folder", "open_folder", "read_whole", "sound", "write_whole"]

_TRIES = 20
_MOST = 1 << 30  # bytes of an explanation

T = TypeVar("T")


def check_folder(
    folder: Path, kind: str, *, force: bool, resume: bool = False, names: Sequence[str] = ()
) -> None:
    """Refuse a folder that holds something already, or cannot be written; make nothing.

    kind    of the results to come: "explanation", "evaluation", ...
    force   write beside what is there, over what is ours
    resume  results of this kind may be there
    names   files that are going to be written

    Raises :class:`StorageError` with the way out.
    """
    name = f"output folder {str(folder)!r}"
    if is_url(folder):
        raise StorageError(f"{name} is a URL, and nothing is sent; name a folder here")
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not nearest.is_dir():
            where = "it" if nearest == folder else repr(nearest.name)
            raise StorageError(f"{name} cannot be made: {where} is a file; name a folder")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise StorageError(f"{name} cannot be written: permission denied; choose another one")
        if not folder.is_dir():
            return
        listed = listing.read(folder)
        if listed is not None and listed.kind != kind:
            raise StorageError(f"{name} holds results of another kind ({listed.kind}); name another folder")
        holds = any(
            path.name not in (MARKER, PART) and not STAGING.fullmatch(path.name) for path in folder.iterdir()
        )
        if holds and not force and not (resume and listed is not None):
            raise StorageError(f"{name} exists and is not empty; use --force (force=True) to write into it")
        for each in names:
            if os.path.lexists(folder / each) and (listed is None or each not in listed.names):
                raise StorageError(_not_ours(folder / each))
    except StorageError:
        raise
    except (OSError, ValueError) as error:
        raise StorageError(f"{name} cannot be used: {reason(error)}") from error


def _not_ours(path: Path) -> str:
    return f"{str(path)!r} is there already and was not written by m2ib; move it away, or name another folder"


class ResultFolder:
    """A folder that results of one kind are written into. Made by :func:`open_folder`."""

    def __init__(self, path: Path, kind: str, *, made: bool = False) -> None:
        self.path = path
        self.kind = kind
        self._made = made  # the folder itself

    def own(self, *names: str) -> None:
        """List files, or folders of results, that are going to be written here.

        Raises :class:`StorageError` for one that is there and is not ours.
        """
        with self._locked():
            listed = self._listed()
            self._check(names, listed)
            if not {*names} <= {*listed.names}:
                self._write(replace(listed, names=tuple(dict.fromkeys((*listed.names, *names)))))

    @contextmanager
    def replacing(self, *, all: bool = False) -> Iterator[Path]:
        """A folder to write files into; at the end they take the place of the older ones at once, or nothing changes.

        all  what else is ours goes then

        Raises :class:`StorageError` for a file that is there and is not ours, and where writing fails.
        """
        staging = f".m2ib-{secrets.token_hex(8)}"
        place = self.path / staging
        try:
            with ExitStack() as held:
                with self._locked():
                    listed = self._listed()
                    self._write(replace(listed, staging=(*listed.staging, staging)))
                    place.mkdir()
                    held.enter_context(lock(place))  # as long as somebody is at it
                yield place
                new = files_in(place)
                for name in new:
                    sync(place / name)
                self._commit(staging, new, all)
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(f"cannot write into {str(self.path)!r}: {reason(error)}") from error
        finally:
            with self._locked(), suppress(StorageError):
                self._sweep()
                self._leave_nothing()

    def discard(self, beginning: str = "") -> None:
        """Remove what is ours, files and folders of results, and nothing else. Raises :class:`StorageError`.

        beginning  of the names of what goes
        """
        with self._locked():
            listed = self._listed()
            going = [name for name in listed.names if name.startswith(beginning)]
            self._check(going, listed)
            for name in reversed(going):
                path = self.path / name
                if path.is_dir():
                    inside = listing.read(path)
                    if inside is None:
                        continue
                    ResultFolder(path, inside.kind).discard()
                    with self._told():
                        (path / MARKER).unlink()
                else:
                    with self._told():
                        path.unlink(missing_ok=True)
                self._prune(name)
            self._write(replace(listed, names=tuple(name for name in listed.names if name not in going)))

    def _commit(self, staging: str, new: Sequence[str], all: bool) -> None:
        with self._locked():
            listed = self._listed()
            self._check(new, listed)
            for name in new:
                if (self.path / name).is_dir():
                    raise StorageError(
                        f"{str(self.path / name)!r} is a folder, and a file of this name is to be written; move it away"
                    )
            old = tuple(name for name in listed.names if name not in new) if all else ()
            replaced = tuple(name for name in new if os.path.lexists(self.path / name))
            self._write(replace(listed, commit=Commit(staging, tuple(new), old, replaced)))
            self._finish()

    def _finish(self) -> None:
        """Do what is decided, from wherever it was cut off."""
        listed = self._listed()
        if (commit := listed.commit) is None:
            return
        place = self.path / commit.staging
        inside = [f"{commit.staging}/{name}" for name in commit.new]
        check_links(self.path, [commit.staging, *commit.old, *commit.new, *inside])
        waiting = [name for name in commit.new if (place / name).is_file()]
        for name in waiting:
            if name not in commit.replaced and os.path.lexists(self.path / name):  # since it was decided
                raise StorageError(_not_ours(self.path / name))
        with self._told():
            for name in (*commit.old, *waiting):
                (self.path / name).unlink(missing_ok=True)
            for name in waiting:
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(place / name, self.path / name)
        for name in commit.old:
            self._prune(name)
        names = (*(name for name in listed.names if name not in commit.old), *commit.new)
        self._write(replace(listed, names=tuple(dict.fromkeys(names)), commit=None))

    def _sweep(self) -> None:
        """Finish what is decided, and remove what a writer that is gone had begun."""
        self._finish()
        listed = self._listed()
        left = []
        for staging in listed.staging:
            place = self.path / staging
            if place.is_dir() and not place.is_symlink():
                with suppress(BlockingIOError), lock(place, wait=False):
                    shutil.rmtree(place, ignore_errors=True)
                if place.exists():
                    left.append(staging)
        if len(left) < len(listed.staging):
            self._write(replace(listed, staging=tuple(left)))

    def _leave_nothing(self) -> None:
        """Without anything of ours it is no folder of ours."""
        listed = self._listed()
        if not listed.names and not listed.staging:
            (self.path / MARKER).unlink()
            if self._made:
                with suppress(OSError):
                    self.path.rmdir()

    def _check(self, names: Sequence[str], listed: Listed) -> None:
        """Raises :class:`StorageError` for what is there and is not ours, and for what a link would lead elsewhere."""
        check_links(self.path, names)
        for name in names:
            if name not in listed.names and os.path.lexists(self.path / name):
                raise StorageError(_not_ours(self.path / name))

    def _prune(self, name: str) -> None:
        """Remove folders that are empty now."""
        for part in (PurePosixPath(name), *PurePosixPath(name).parents):
            if str(part) != "." and (self.path / part).is_dir():
                with suppress(OSError):
                    (self.path / part).rmdir()

    def _listed(self) -> Listed:
        listed = listing.read(self.path)
        if listed is None:
            raise StorageError(f"{str(self.path / MARKER)!r} is gone; begin anew in another folder")
        return listed

    def _write(self, listed: Listed) -> None:
        listing.write(self.path, listed)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with lock(self.path):
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"cannot write into {str(self.path)!r}: {reason(error)}") from error


def open_folder(folder: Path, kind: str, *, force: bool = False, resume: bool = False) -> ResultFolder:
    """:func:`check_folder`, then make it, and finish what was cut off there. Raises :class:`StorageError`."""
    check_folder(folder, kind, force=force, resume=resume)
    opened = ResultFolder(folder, kind, made=not folder.exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"output folder {str(folder)!r} cannot be made: {reason(error)}") from error
    with opened._locked():
        if listing.read(folder) is None:
            opened._write(Listed(kind))
        else:
            opened._sweep()
    return opened


def read_whole(folder: Path, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of a folder, all of it of one moment, while others may be writing there. Writes nothing.

    Raises what ``read`` raises, and :class:`StorageError` where others do not come to an end.
    """
    for _ in range(_TRIES):
        before = _home(folder)
        try:
            with ExitStack() as stack:
                place = folder
                if before is not None and before[1].commit is not None:
                    place = Path(stack.enter_context(TemporaryDirectory()))
                    try:
                        _copy(before[0], before[1].commit, folder, place)
                    except StorageError:
                        raise
                    except OSError:  # not cut off: somebody is at it
                        time.sleep(0.01)
                        continue
                found = read(place)
        except OSError:
            if _home(folder) == before:
                raise
        else:
            if _home(folder) == before:
                return found
    raise StorageError(f"{str(folder)!r} is being written again and again; read it later")


def _home(folder: Path) -> tuple[Path, Listed] | None:
    """The folder of results that this one is, or lies in, and its list."""
    for path in (folder.absolute(), *folder.absolute().parents[:2]):
        with suppress(StorageError):  # of somebody else's; what is read has digests of its own
            listed = listing.read(path)
            beginning = (
                "" if path == folder.absolute() else f"{folder.absolute().relative_to(path).as_posix()}/"
            )
            known = () if listed is None else (*listed.names, *(listed.commit.new if listed.commit else ()))
            if listed is not None and (not beginning or any(name.startswith(beginning) for name in known)):
                return path, listed
    return None


def _copy(home: Path, commit: Commit, folder: Path, place: Path) -> None:
    """What will be in ``folder`` when all that is decided in ``home`` is done.

    Raises :class:`StorageError` where that is more than results have, or no files.
    """
    left = _MOST
    check_links(home, [commit.staging, *(f"{commit.staging}/{name}" for name in commit.new), *commit.new])
    for name in commit.new:
        path, waiting = home / name, home / commit.staging / name
        if folder.absolute() in path.absolute().parents:
            source = waiting if waiting.exists() else path
            found = source.lstat()
            left -= found.st_size
            if not stat.S_ISREG(found.st_mode) or left < 0:
                raise StorageError(f"{str(source)!r} is no file of an explanation, or too large for one")
            target = place / path.absolute().relative_to(folder.absolute())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
