"""Options out of YAML files and words: they are shown, and what they name is looked up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from attack.cli import command
from attack.mutations import NUMBERS, TEXTS, damaged, other_kind, tree

SECRET = "not-for-a-page"
_CONFIG = {
    "model": "photo",
    "inputs": {"image": "dog.jpg", "text": "a dog"},
    "method": "m2ib",
    "beta": 0.1,
    "layer": {"image": 3, "text": 2},
    "settings": {"masks": 12},
    "options": {"size": 64},
    "boxes": [[1, 2, 3, 4, "dog"]],
    "seed": 1,
    "title": "a page",
}
_YAML = (
    "a: &a [x, *a]", "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c]\ntitle: *d",
    "title: !!python/object/apply:os.system ['touch executed']", "title: !!python/name:os.system", "<<: {model: clip}", "? [a, b]\n: c",
    "title: ${oc.env:M2IB_SECRET}", "title: ${oc.decode:'[1]'}", "title: ${title}", "seed: ${layer.image}", "title: " + "${" * 300, "title: ${oc.create:{a: 1}}",
    "title: ${oc.deprecated:seed}", "title: '${${${x}}}'", "seed: 1_000", "seed: 0o17", "beta: .nan", "beta: .inf", "title: " + "[" * 3000, "title: " + "{a: " * 300,
    "- a", "x", "", "---\n---\n", "\ttitle: x", "model: ???", "title: |\n  a\n  b", "seed: 1:30", "title: 2001-01-01", "title: !!binary aGVsbG8=", "1: 2", "null: 3",
)  # fmt: skip
_WORDS = (
    "beta",
    "layer.image",
    "settings.masks",
    "settings",
    "inputs.image",
    "inputs",
    "options.size",
    "boxes",
    "seed",
    "title",
    "method",
    "out",
    "a.b.c",
    "inputs[0].image",
    "",
    "model",
    "x" * 5000,
)


class Target:
    """``m2ib explain --config FILE key=value --print-config``, and other commands likewise."""

    def __init__(self, home: Path) -> None:
        os.environ["M2IB_SECRET"] = SECRET
        command(["explain", "--print-config", "seed=2"])

    def attack(self, rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
        words, done = [rng.choice(("explain", "explain", "explain", "evaluate", "tune", "benchmark"))], []
        if rng.random() < 0.7:
            path = folder / "config.yaml"
            how = rng.choice(("tree", "tree", "lines", "bytes", "kind"))
            if how == "tree":
                said, text = tree(rng, _CONFIG, rng.choice((1, 2)))
            else:
                said, text = rng.choice(_YAML), ""
                text = said + ("\n" + json.dumps(_CONFIG)[1:-1] if rng.random() < 0.1 else "")
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            if how == "bytes":
                said, content = damaged(rng, json.dumps(_CONFIG).encode())
                path.write_bytes(content)
            if how == "kind":
                said = other_kind(rng, path)
            words += ["--config", str(path)]
            done.append(said[:100])
        for _ in range(rng.choice((0, 1, 1, 2))):
            value = rng.choice((*TEXTS, *map(str, NUMBERS), *(line.partition(": ")[2] for line in _YAML)))
            words.append(f"{rng.choice(_WORDS)}={value}")
            done.append(words[-1][:60])
        words.append("--print-config")
        return f"{words[0]}: {done}", lambda: command(words, secret=SECRET)
