"""``m2ib demo``: photographs and captions explained with the embedded model, on one page.

``m2ib demo --modalities`` is in ``modalities.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from m2ib.cli.options import add_command, path_of, refuse_more
from m2ib.cli.output import say

KIND = "demo"


@dataclass(frozen=True)
class PhotoCaption:
    """A photograph of ``skimage.data`` and a caption; ``against`` makes it a contrast."""

    photo: str
    caption: str
    note: str
    against: str | None = None


PAIRS = (
    PhotoCaption("cat", "a tabby cat looking at the camera", "A cat"),
    PhotoCaption("coffee", "a cup of espresso on a wooden table", "A cup of espresso"),
    PhotoCaption("rocket", "a rocket standing on the launch pad at night", "A rocket"),
    PhotoCaption("camera", "a man filming with a camera on a tripod", "A man with a camera"),
    PhotoCaption("astronaut", "a space shuttle ready for launch", "One photograph, first caption"),
    PhotoCaption("astronaut", "a woman in an orange space suit", "The same photograph, second caption"),
    PhotoCaption(
        "coffee",
        "my grandmother told me that espresso tastes better on sunday mornings",
        "A caption with distractor words",
    ),
    PhotoCaption(
        "astronaut", "a crash helmet", "Why this caption rather than that one", against="a space shuttle"
    ),
)


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "explain photo-caption pairs, or a scene in six modalities, with the embedded models",
        "Explains photo-caption pairs on scikit-image's photographs; with --modalities every pair of the "
        "six modalities of a made-up scene. Needs no download.",
    )
    parser.add_argument("--out", default="m2ib-demo", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="write into a folder that exists")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0, help="of the noise, and of the scene")
    scene = parser.add_argument_group("with --modalities")
    scene.add_argument("--modalities", action="store_true", help="a scene in six modalities, every pair")
    scene.add_argument("--model", metavar="NAME", help="a model that takes the six; default: imagebind-tiny")
    scene.add_argument("--checkpoint", metavar="FILE", help="its weights, in place of its own; or random")
    scene.add_argument("--preset", metavar="NAME", help="settings of the method, e.g. sharp")


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Explain :data:`PAIRS`, a folder for each and one page for all; or a scene. Print the page's path."""
    from m2ib.errors import SettingError

    refuse_more(rest, "demo")
    if parsed.modalities:
        from m2ib.cli import modalities

        modalities.run(parsed)
        return
    for name in ("model", "checkpoint", "preset"):
        if getattr(parsed, name) is not None:
            raise SettingError(f"demo: --{name} goes with --modalities")
    _photos(parsed)


def _photos(parsed: argparse.Namespace) -> None:
    from m2ib.api import contrast
    from m2ib.corpus.explain import explain_many
    from m2ib.errors import AdapterError
    from m2ib.folders import check_folder, open_folder
    from m2ib.loading import load_model
    from m2ib.page.explanation import write_page
    from m2ib.renderers.plotting import write as write_picture
    from m2ib.results.explanation import Explanation
    from m2ib.results.storage import write

    folder = path_of("out", parsed.out)
    check_folder(folder, KIND, force=parsed.force, names=("index.html",))
    try:
        import skimage.data
    except ImportError as error:
        raise AdapterError(
            "demo: needs scikit-image for its photographs: pip install 'm2ib[photo]'"
        ) from error
    model = load_model("m2ib:photo", device=parsed.device)
    texts = [contrast(pair.caption, pair.against) if pair.against else pair.caption for pair in PAIRS]
    photos = [getattr(skimage.data, pair.photo)() for pair in PAIRS]
    inputs = [{"image": photo, "text": text} for photo, text in zip(photos, texts, strict=True)]
    explanations: list[Explanation] = []
    with open_folder(folder, KIND, force=parsed.force).replacing(all=True) as place:
        for number, explanation in enumerate(explain_many(model, inputs, batch_size=4, seed=parsed.seed)):
            inside = place / f"{number + 1:02d}-{PAIRS[number].photo}"
            inside.mkdir()
            write(explanation, inside)
            write_picture(explanation.figure(), inside / "figure.png", 150)
            explanations.append(explanation)
        notes = [pair.note for pair in PAIRS]
        write_page(explanations, place / "index.html", title="What m2ib sees", notes=notes)
    say((folder / "index.html").resolve())
