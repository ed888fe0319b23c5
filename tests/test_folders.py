"""Folders of results: what is not ours stays, and whoever is killed, beside whom else, leaves the old files or the new ones."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from m2ib.errors import StorageError
from m2ib.folders import MARKER, ResultFolder, check_folder, listing, open_folder, read_whole, write_whole

OLD = {"a.txt": "old", "sub/b.txt": "old", "gone.txt": "old"}
NEW = {"a.txt": "new", "sub/b.txt": "new", "more/c.txt": "new"}


def put(folder: Path, files: dict[str, str]) -> None:
    """All at once, in place of whatever was ours."""
    with open_folder(folder, "test", force=True).replacing(all=True) as place:
        for name, text in files.items():
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text)


def there(folder: Path) -> dict[str, str]:
    """What stands in a folder under its own name."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in (MARKER, f"{MARKER}.part")
        and not path.relative_to(folder).parts[0].startswith(".m2ib-")
    }


def in_child(work: Callable[[], None]) -> int:
    """The exit status of a fork that does the work: 0, or 9 as if it were killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(number: int, work: Callable[[], None]) -> int:
    """The same, gone at once when it comes to touch files for the ``number``-th time."""

    def killed() -> None:
        left = number

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(count)
        work()

    return in_child(killed)


def test_killed_at_every_touch_of_a_file(tmp_path: Path) -> None:
    seen = set()
    for number in range(1000):
        folder = tmp_path / str(number)
        put(folder, OLD)
        (folder / "mine.txt").write_text("mine")
        status = killed_at(number, lambda folder=folder: put(folder, NEW))  # type: ignore[misc]
        stands = there(folder)
        assert stands.pop("mine.txt") == "mine"
        assert stands.items() <= OLD.items() or stands.items() <= NEW.items()  # never both
        read = read_whole(folder, there)
        read.pop("mine.txt", None)
        assert read in (OLD, NEW)
        assert there(folder) == stands | {"mine.txt": "mine"}  # reading writes nothing
        seen.add("new" if read == NEW else "old")
        open_folder(folder, "test", force=True)  # whoever comes next finishes it
        assert there(folder) == read | {"mine.txt": "mine"}
        assert not list(folder.glob(".m2ib-*/*"))
        assert set(listing.read(folder).names) == set(read)
        put(folder, {"a.txt": "last"})
        assert there(folder) == {"a.txt": "last", "mine.txt": "mine"}
        assert {path.name for path in folder.iterdir()} == {"a.txt", "mine.txt", MARKER}
        if status == 0:
            break
        assert status == 9
    assert number > 20
    assert seen == {"old", "new"}


def test_killed_at_every_touch_of_a_new_folder(tmp_path: Path) -> None:
    for number in range(1000):
        folder = tmp_path / str(number)
        status = killed_at(number, lambda folder=folder: put(folder, NEW))  # type: ignore[misc]
        assert there(folder) in ({}, NEW) or there(folder).items() < NEW.items()
        open_folder(folder, "test", force=True)
        assert there(folder) in ({}, NEW)
        if not there(folder):
            check_folder(folder, "test", force=False)  # as good as empty
        if status == 0:
            break


def test_a_reader_beside_a_writer_sees_one_or_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    put(folder, OLD)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            put(folder, NEW)
            put(folder, OLD)

    def read(place: Path) -> dict[str, str]:
        return {name: (place / name).read_text() for name in {**OLD, **NEW} if (place / name).exists()}

    writer = threading.Thread(target=write)
    writer.start()
    seen, refused = [], []
    try:
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends:
            try:
                seen.append(read_whole(folder, read))
            except StorageError as error:
                refused.append(str(error))
    finally:
        stop.set()
        writer.join()
    assert {tuple(sorted(each.items())) for each in seen} <= {
        tuple(sorted(each.items())) for each in (OLD, NEW)
    }
    assert len(seen) > 3
    assert all("again and again" in each for each in refused)


def test_two_writers_at_once(tmp_path: Path) -> None:
    kinds = [{"a.txt": str(number), f"{number}.txt": str(number)} for number in range(4)]
    writers = [threading.Thread(target=put, args=(tmp_path / "out", files)) for files in kinds * 5]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert there(tmp_path / "out") in kinds
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """As far as a limit on the size of files is one."""
    put(tmp_path / "out", OLD)

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with pytest.raises(StorageError, match=f"^cannot write into '{tmp_path / 'out'}': File too large$"):
            put(tmp_path / "out", {"a.txt": "new", "b.txt": "new" * 1000})

    assert in_child(work) == 0
    assert there(tmp_path / "out") == OLD
    assert not list((tmp_path / "out").glob(".m2ib-*"))


def test_what_raises_leaves_what_was_there(tmp_path: Path) -> None:
    put(tmp_path / "out", OLD)

    def interrupted(folder: Path) -> None:
        with open_folder(folder, "test", force=True).replacing(all=True) as place:
            (place / "a.txt").write_text("new")
            raise KeyboardInterrupt

    for folder in ("out", "new"):
        with pytest.raises(KeyboardInterrupt):
            interrupted(tmp_path / folder)
    assert there(tmp_path / "out") == OLD
    assert not list((tmp_path / "out").glob(".m2ib-*"))
    assert not (tmp_path / "new").exists()


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    (tmp_path / "sub" / "holiday.jpg").write_text("mine")
    (tmp_path / "c.txt").write_text("mine")
    for name, kind in (("c.txt", "file"), ("d", "folder"), ("sub/holiday.jpg", "file")):
        if kind == "folder":
            (tmp_path / name).mkdir()
        with pytest.raises(StorageError) as caught:
            put(tmp_path, {"a.txt": "new", name: "new"})
        assert str(caught.value) == (
            f"{str(tmp_path / name)!r} is there already and was not written by m2ib; move it away, or name another folder"
        )
        with pytest.raises(StorageError, match="was not written by m2ib"):
            open_folder(tmp_path, "test", force=True).own("new.txt", name)
    assert there(tmp_path) == {**OLD, "sub/holiday.jpg": "mine", "c.txt": "mine"}
    open_folder(tmp_path, "test", force=True).discard()
    assert there(tmp_path) == {"sub/holiday.jpg": "mine", "c.txt": "mine"}
    assert (tmp_path / "d").is_dir()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    put(folder, OLD)
    (outside / "b.txt").write_text("mine")
    (folder / "sub" / "b.txt").unlink()
    (folder / "sub").rmdir()
    (folder / "sub").symlink_to(outside)
    for act in (lambda: put(folder, NEW), lambda: open_folder(folder, "test", force=True).discard()):
        with pytest.raises(StorageError, match="is reached by a link, and is left alone; move it away"):
            act()
    assert (outside / "b.txt").read_text() == "mine"
    assert (folder / "a.txt").read_text() == "old"


def test_folders_of_results_in_it_go_with_it(tmp_path: Path) -> None:
    outer = open_folder(tmp_path / "out", "outer")
    outer.own("parts/one")
    with open_folder(outer.path / "parts" / "one", "test").replacing() as place:
        (place / "a.txt").write_text("ours")
    (outer.path / "parts" / "two").mkdir()
    (outer.path / "parts" / "two" / "a.txt").write_text("mine")
    outer.discard()
    assert there(outer.path) == {"parts/two/a.txt": "mine"}
    assert not (outer.path / "parts" / "one").exists()


def test_results_of_another_kind_are_refused(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    with pytest.raises(StorageError) as caught:
        open_folder(tmp_path, "evaluation", force=True)
    assert str(caught.value) == (
        f"output folder {str(tmp_path)!r} holds results of another kind (test); name another folder"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row | {"names": ["../precious.txt"]},
        lambda row: row | {"names": ["/etc/passwd"]},
        lambda row: row | {"names": 3},
        lambda row: row | {"staging": ["sub"]},
        lambda row: row | {"commit": {"staging": "../x", "new": [], "old": [], "replaced": []}},
        lambda row: (
            row
            | {"commit": {"staging": ".m2ib-0123456789abcdef", "new": ["../a"], "old": [], "replaced": []}}
        ),
        lambda row: row | {"m2ib": "mine"},
        lambda row: row | {"more": 1},
        lambda row: row | {"kind": None},
        lambda row: [],
    ],
)
def test_a_list_that_is_none_is_refused(
    tmp_path: Path, change: Callable[[dict[str, object]], object]
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    put(tmp_path / "out", OLD)
    path = tmp_path / "out" / MARKER
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(StorageError) as caught:
        put(tmp_path / "out", NEW)
    assert str(caught.value) == (
        f"{str(path)!r} is not m2ib's list of its files, or is damaged; name another folder, or move it away"
    )
    assert read_whole(tmp_path / "out", there) == OLD  # which it says nothing of
    assert there(tmp_path / "out") == OLD
    assert (tmp_path / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["large", "pipe", "link"])
def test_what_is_to_come_and_is_none_is_not_copied(tmp_path: Path, kind: str) -> None:
    """A list of a stranger's may say that anything is to take its place."""
    put(tmp_path, OLD)
    name = ".m2ib-0123456789abcdef"
    (tmp_path / name).mkdir()
    path = tmp_path / name / "a.txt"
    if kind == "large":
        with path.open("wb") as file:
            file.truncate(1 << 40)  # of no blocks
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/etc/hostname")
    row = json.loads((tmp_path / MARKER).read_text())
    row |= {"staging": [name], "commit": {"staging": name, "new": ["a.txt"], "old": [], "replaced": []}}
    (tmp_path / MARKER).write_text(json.dumps(row))
    with pytest.raises(StorageError) as caught:
        read_whole(tmp_path, there)
    said = (
        "reached by a link, and is left alone; move it away"
        if kind == "link"
        else "no file of an explanation, or too large for one"
    )
    assert str(caught.value) == f"{str(path)!r} is {said}"


def test_a_list_of_millions_is_not_read(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    with (tmp_path / MARKER).open("r+b") as file:
        file.truncate(1 << 40)  # of no blocks
    with pytest.raises(StorageError, match="is not m2ib's list of its files"):
        ResultFolder(tmp_path, "test").own("a.txt")


def test_a_file_is_whole_wherever_its_link_leads(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("old")
    (tmp_path / "page.html").symlink_to("there.html")
    write_whole(tmp_path / "page.html", "n\udce9w")
    assert (tmp_path / "page.html").is_symlink()
    assert (tmp_path / "there.html").read_text() == "n\\udce9w"
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(StorageError, match=r"cannot write '.*nowhere.*': No such file"):
        write_whole(tmp_path / "nowhere" / "page.html", "new")


def decided(folder: Path, **commit: object) -> Path:
    """A list of a stranger's that says what is to be finished; the folder that it is to come out of."""
    put(folder, OLD)
    name = ".m2ib-0123456789abcdef"
    row = json.loads((folder / MARKER).read_text())
    row |= {"staging": [name], "commit": {"staging": name, "new": [], "old": [], "replaced": [], **commit}}
    (folder / MARKER).write_text(json.dumps(row))
    return folder / name


def test_what_a_list_says_is_decided_leads_nowhere_else(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "keys").write_text("mine")
    (decided(tmp_path / "old", old=["x/keys"]).parent / "x").symlink_to(home)
    decided(tmp_path / "new", new=["keys"]).symlink_to(home)
    staging = decided(tmp_path / "file", new=["keys"])
    staging.mkdir()
    (staging / "keys").symlink_to(home / "keys")
    for name in ("old", "new", "file"):
        for act in (put, lambda folder, files: read_whole(folder, there)):
            if name == "old" and act is not put:
                continue  # reading takes nothing away
            with pytest.raises(StorageError, match="is reached by a link, and is left alone; move it away"):
                act(tmp_path / name, NEW)
        assert (home / "keys").read_text() == "mine"
        assert not (home / "keys").is_symlink()


def test_what_somebody_put_there_since_it_was_decided_stays(tmp_path: Path) -> None:
    staging = decided(tmp_path, new=["mine.txt"])
    staging.mkdir()
    (staging / "mine.txt").write_text("ours")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(
        StorageError, match=r"mine\.txt' is there already and was not written by m2ib; move it away"
    ):
        open_folder(tmp_path, "test", force=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyError), open_folder(tmp_path / "mine", "test").replacing():
        raise KeyError
    assert (tmp_path / "mine").is_dir()
    assert not list((tmp_path / "mine").iterdir())


def test_what_is_in_the_way_is_known_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(StorageError, match=r"index\.html' is there already and was not written by m2ib"):
        check_folder(tmp_path, "test", force=True, names=("index.html",))
    put(tmp_path / "out", {"index.html": "ours"})
    check_folder(tmp_path / "out", "test", force=True, names=("index.html",))


def test_lists_of_others_around_do_not_matter_to_a_reader(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("here")
    (tmp_path / MARKER).write_text("{}")
    assert read_whole(tmp_path / "mine", there) == {"a.txt": "here"}
