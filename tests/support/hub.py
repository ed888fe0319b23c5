"""A hub of a few files on this machine, its cache, and what a fresh interpreter makes of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0" * 40
NOBODY = 9  # a port at which nobody answers


class Handler(BaseHTTPRequestHandler):
    """Answers with the server's ``files`` and keeps what it was ``asked`` for."""

    server: Any

    def do_HEAD(self) -> None:
        self.answer(self.server.files.get(self.path))

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)
        self.answer(content)
        self.wfile.write(content or b"")

    def answer(self, content: bytes | None) -> None:
        self.server.asked.append(self.path)
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", '"1"' if content is None else f'"{abs(hash(content)):x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def hub_of(files: Mapping[str, bytes]) -> Iterator[Any]:
    """files  by their path: "/one/clip/resolve/main/config.json" """
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked = files, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def repository(name: str, folder: Path) -> dict[str, bytes]:
    """The files of a folder as those of a repository of this name."""
    return {f"/{name}/resolve/main/{each.name}": each.read_bytes() for each in folder.iterdir()}


def cache(home: Path, name: str, folder: Path) -> None:
    """As it lies in the hub's cache once it was downloaded."""
    place = home / "hub" / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, place / "snapshots" / COMMIT)


def run(code: str, home: Path, port: int, **environment: str) -> str:
    """What a fresh interpreter prints for which the hub is at this port of this machine, and its cache in ``home``."""
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(home), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
