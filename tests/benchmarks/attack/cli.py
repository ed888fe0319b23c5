"""Commands: 0, or 2 with one line of error, whatever the words are."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from attack.mutations import NUMBERS, TEXTS, other_kind
from attack.sandbox import LONGEST, Finding
from m2ib.cli import main
from m2ib.errors import InputError
from tiny_clip import save_tiny_clip

_FLAGS = (
    "--image", "--text", "--audio", "--model", "--checkpoint", "--device", "--dtype", "--method", "--layer", "--beta", "--steps", "--samples", "--lr",
    "--variance", "--seed", "--also", "--against", "--boxes", "--title", "--reference", "--out", "--config", "--shifts", "--smooth", "--x", "-h", "--force",
    "--truncate", "--print-config", "--",
)  # fmt: skip
_SETTINGS = (
    "beta",
    "steps",
    "lr",
    "variance",
    "samples",
    "layer",
    "layer.image",
    "shifts",
    "smooth",
    "standardize",
    "settings.masks",
    "options.image",
    "seed",
    "method",
)
_OTHERS = (
    ["adapters"], ["methods"], ["check", "nope"], ["check", "photo", "--json", "/nope/x"], ["new-plugin", "../x"], ["new-plugin", "a b"], ["new-plugin", "\0"],
    ["new-plugin"], ["demo", "--out", "/dev/null/x"], ["--version"], [], ["-h"], ["tune", "--data", "nope.csv"], ["benchmark", "--only", "nope"],
    ["evaluate", "--data", "nope.csv"], ["evaluate", "--data", "scenes", "data.count=-1"], ["evaluate", "metrics=[[drop]]", "--data", "scenes"],
)  # fmt: skip


def command(words: Sequence[str], *, secret: str = "") -> None:
    """Runs it here. Raises :class:`InputError` where it ends with 2 and one line, and :class:`Finding` for another end."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        code = main(list(words))
    except SystemExit as end:
        code = 0 if end.code in (0, None) else end.code
    finally:
        sys.stdout, sys.stderr = before
    errors = [line for line in err.getvalue().splitlines() if line.startswith("m2ib: error")]
    others = [line for line in err.getvalue().splitlines() if not line.startswith("m2ib: ")]
    if code not in (0, 2) or len(errors) != (code == 2):
        raise Finding(f"exit {code} with {len(errors)} lines of error: {err.getvalue()!r:.200}")
    if any("Traceback" in line for line in others):
        raise Finding(f"a traceback: {others[-1]!r:.200}")
    if max(map(len, errors), default=0) > LONGEST:
        raise Finding(f"an error of {len(errors[0])} characters: {errors[0]!r:.200}")
    if secret and secret in out.getvalue() + err.getvalue():
        raise Finding("the environment is in what is printed")
    if errors:
        raise InputError(errors[0])


class Target:
    """Words of ``m2ib explain`` with a tiny CLIP and two pictures, some of them hostile; and other commands."""

    def __init__(self, home: Path) -> None:
        self.folder = save_tiny_clip(home / "clip")
        self.picture = home / "a.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)).save(
            self.picture
        )
        command([*self._usual(), "--out", str(home / "out")])

    def _usual(self) -> list[str]:
        picture = str(self.picture)
        return [
            "explain",
            "--model",
            "clip",
            "--checkpoint",
            str(self.folder),
            "--image",
            picture,
            "--image",
            picture,
            "steps=1",
            "samples=1",
        ]

    def attack(self, rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
        words = [*self._usual(), "--out", str(folder / "out")]
        values = (
            *TEXTS,
            *map(str, NUMBERS),
            "null",
            "true",
            "[]",
            "{}",
            "[1, 2]",
            "{image: 1}",
            "all",
            "m2ib,rise",
            "gradcam",
            str(folder),
        )
        for _ in range(rng.choice((1, 1, 2, 3))):
            how = rng.choice(
                ("setting", "setting", "setting", "flag", "replace", "drop", "insert", "others", "kind")
            )
            value = str(rng.choice(values))
            if how == "setting":
                words.append(f"{rng.choice(_SETTINGS)}={value}")
            elif how == "flag":
                words += [rng.choice(_FLAGS), value][: rng.choice((1, 2, 2))]
            elif not words:
                words.append(value)
            elif how == "replace":
                words[rng.randrange(len(words))] = value
            elif how == "drop":
                del words[rng.randrange(len(words))]
            elif how == "insert":
                words.insert(rng.randrange(len(words)), value)
            elif how == "kind":
                path = folder / f"{len(words)}.png"
                path.write_bytes(self.picture.read_bytes())
                words += ["--image", str(path), other_kind(rng, path)][: rng.choice((2, 3))]
            elif rng.random() < 0.3:
                words = list(rng.choice(_OTHERS))

        def run() -> None:
            with chdir(folder):
                command(words)

        return " ".join(map(repr, words)).replace(str(self.folder), "CLIP"), run
