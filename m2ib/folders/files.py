"""Files that are always whole, and who is at a folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath

from m2ib.errors import M2IBError, StorageError

try:
    import fcntl
except ImportError:  # of Unix alone; elsewhere two writers at once are not told from one
    fcntl = None  # type: ignore[assignment]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is always whole: beside it first, then in its place. Texts as UTF-8.

    Raises :class:`StorageError`.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    try:
        target = Path(os.path.realpath(path))  # a link stays one
        if target.exists() and not target.is_file():  # a terminal, a pipe; of a folder the error is told
            target.write_bytes(data)
            return
        if target.is_file() and not os.access(target.parent, os.W_OK):  # nothing can be made beside it
            target.write_bytes(data)
            return
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot write {str(path)!r}: {reason(error)}") from error
    replace_file(target, target.with_name(f".m2ib-{secrets.token_hex(8)}.part"), data, sync=True)


def replace_file(path: Path, beside: Path, data: bytes, sync: bool) -> None:
    try:
        beside.unlink(missing_ok=True)  # whose writer was killed, or a link
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot write {str(path)!r}: {reason(error)}") from error


def check_links(folder: Path, names: Iterable[str]) -> None:
    """Raises :class:`StorageError` where a name would lead elsewhere by a link."""
    for name in names:
        for part in (PurePosixPath(name), *PurePosixPath(name).parents):
            if str(part) != "." and (folder / part).is_symlink():
                raise StorageError(
                    f"{str(folder / name)!r} is reached by a link, and is left alone; move it away"
                )


def files_in(folder: Path) -> list[str]:
    """Everything in it, as POSIX paths."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def regular(folder: Path, pattern: str) -> list[Path]:
    """Files of ours in a folder, in order. Raises :class:`StorageError` for what is reached by a link or is no regular file."""
    found = sorted(folder.glob(pattern))
    check_links(folder, [path.relative_to(folder).as_posix() for path in found])
    for path in found:
        if not path.is_file():  # a pipe without a writer would be waited for
            raise StorageError(f"{str(path)!r} is no regular file; move it away")
    return found


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


@contextmanager
def lock(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """A folder for one process and thread; freed when either ends. Raises BlockingIOError without ``wait``."""
    with ExitStack() as stack:
        if fcntl is not None:
            with suppress(FileNotFoundError):
                number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, number)
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                    stack.callback(fcntl.flock, number, fcntl.LOCK_UN)  # a fork keeps the number open
                except BlockingIOError:
                    raise
                except OSError:  # a file system without locks
                    pass
        yield


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """What is read from a file of ours is taken as it should be; where it is not, it is told as damage.

    Raises :class:`StorageError`.
    """
    try:
        yield
    except M2IBError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise StorageError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {error!s:.120}); use another folder, or begin anew with --force"
        ) from error
