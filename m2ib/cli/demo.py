"""``m2ib demo``: photographs and captions explained with the embedded model, on one page.

``m2ib demo --modalities`` is in ``modalities.py``.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.cli.help import FORCE, OUT, Group, add_command, add_quiet, group_of
from m2ib.cli.options import DEVICE, ModelConfig, path_of, refuse_more
from m2ib.cli.output import say
from m2ib.errors import AdapterError
from m2ib.progress import progress

if TYPE_CHECKING:
    from m2ib.page.explanation import Remark
    from m2ib.results.explanation import Explanation

KIND = "demo"


PHOTOGRAPHS = ("cat", "coffee", "rocket", "camera", "astronaut")
"""Of ``skimage.data``, all CC0 or in the public domain."""


@dataclass(frozen=True)
class PhotoCaption:
    """One of :data:`PHOTOGRAPHS` and a caption; ``against`` makes it a contrast.

    named  where in the photograph the thing lies that the caption names, and what it is: (x, y, width, height, name)
    """

    photo: str
    caption: str
    note: str
    against: str | None = None
    named: tuple[int, int, int, int, str] | None = None


PAIRS = (
    PhotoCaption("cat", "a tabby cat looking at the camera", "A cat"),
    PhotoCaption("coffee", "a cup of espresso on a wooden table", "A cup of espresso"),
    PhotoCaption("rocket", "a rocket standing on the launch pad at night", "A rocket"),
    PhotoCaption("camera", "a man filming with a camera on a tripod", "A man with a camera"),
    PhotoCaption(
        "astronaut",
        "a space shuttle ready for launch",
        "One photograph, first caption",
        named=(362, 0, 100, 280, "shuttle"),
    ),
    PhotoCaption(
        "astronaut",
        "a woman in an orange space suit",
        "The same photograph, second caption",
        named=(25, 230, 340, 282, "suit"),
    ),
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
        "[options]",
        "Explains photo-caption pairs on scikit-image's photographs; with --modalities every pair of the six kinds of input of a "
        "made-up scene. Writes a page (index.html), and of photographs the numbers, the figures, the files and their captions (pairs.csv); prints the path of the page. Needs no "
        "download. Takes minutes.",
        """examples:

  m2ib demo --out m2ib-demo
  m2ib demo --modalities --preset sharp --out scene
""",
    )
    add_quiet(parser)
    group_of(parser, Group.MODEL).add_argument(
        "--device", default="auto", metavar="NAME", help=f"{DEVICE}; default: %(default)s"
    )
    group_of(parser, Group.METHOD).add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the noise, and of the scene; default: %(default)s",
    )
    output = group_of(parser, Group.OUTPUT)
    output.add_argument(
        "--out", default="m2ib-demo", metavar="FOLDER", help=f"where to: {OUT}; default: %(default)s"
    )
    output.add_argument("--force", action="store_true", help=FORCE)
    scene = parser.add_argument_group("a made-up scene")
    scene.add_argument(
        "--modalities",
        action="store_true",
        help="explain one scene in six kinds of input, every pair of them",
    )
    scene.add_argument(
        "--model",
        metavar="NAME",
        help="with --modalities: the adapter of a model that takes the six; default: imagebind-tiny",
    )
    scene.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="with --modalities: its weights, in place of its own; random: without its training",
    )
    scene.add_argument(
        "--preset",
        metavar="NAME",
        help="with --modalities: settings of the method that go together, e.g. sharp; left out: the adapter's own",
    )


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


def remark(pair: PhotoCaption, explanation: Explanation) -> Remark:
    """Whether the map is where the thing is that the caption names; where the model hardly connects the two, or fails, how one sees it."""
    said, verdicts, right = "", [], True
    if pair.named is not None:
        x, y, width, height, name = pair.named
        there = explanation["image"].at_input_size(density=True)
        inside = there[y : y + height, x : x + width]
        right = bool(inside.max() == there.max())
        shares = f"{inside.sum() / there.sum():.0%} of the map, {inside.size / there.size:.0%} of the picture"
        verdicts = [(right, f"highest {'on' if right else 'not on'} the {name}, which has {shares}")]
    if closer := _closer(explanation):
        said = f"The similarity is low: in its place {closer} are closer to the other side. "
        said += "The model hardly connects the two." if right else _FAILS
    return said, verdicts


_FAILS = "The model fails here, and the map shows it: heat lies where the two could be brought together, and not on what the caption names."


def _closer(explanation: Explanation) -> str:
    """How many reference inputs of each kind are closer to the other side than this pair is, in words; "" where of one kind none is."""
    places = explanation.provenance.get("usual", {})
    if not places or any(explanation.similarity >= place["greatest"] for place in places.values()):
        return ""
    counted = {modality: round((1 - place["below"]) * place["inputs"]) for modality, place in places.items()}
    return " and ".join(
        f"{count} of {places[kind]['inputs']} usual {kind}s" for kind, count in counted.items()
    )


def photographs() -> dict[str, bytes]:
    """The contents of JPEG files by :data:`PHOTOGRAPHS`. Raises :class:`AdapterError` without scikit-image."""
    from PIL import Image

    try:
        import skimage.data
    except ImportError as error:
        raise AdapterError(
            "demo: needs scikit-image for its photographs: pip install 'm2ib[photo]'"
        ) from error
    files = {}
    for name in PHOTOGRAPHS:
        file = io.BytesIO()
        Image.fromarray(getattr(skimage.data, name)()).save(file, "JPEG", quality=92)
        files[name] = file.getvalue()
    return files


def write_pairs(folder: Path, files: Mapping[str, bytes]) -> None:
    """The photographs, and ``pairs.csv`` with their captions, for the reader's own trials."""
    for name, content in files.items():
        (folder / f"{name}.jpg").write_bytes(content)
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(("image", "text"))
        rows.writerows((f"{pair.photo}.jpg", pair.caption) for pair in PAIRS if pair.against is None)


def _photos(parsed: argparse.Namespace) -> None:
    from m2ib.api import contrast, plan_for
    from m2ib.corpus.explain import explain_many
    from m2ib.folders import check_folder, open_folder
    from m2ib.page.explanation import write_page
    from m2ib.renderers.plotting import write as write_picture
    from m2ib.results.storage import write

    folder = path_of("out", parsed.out)
    check_folder(
        folder,
        KIND,
        force=parsed.force,
        names=("index.html", "pairs.csv", *(f"{name}.jpg" for name in PHOTOGRAPHS)),
    )
    plan_for(seed=parsed.seed).check_unloaded(("image", "text"), ())
    files = photographs()
    model = ModelConfig(device=parsed.device).load()
    texts = [contrast(pair.caption, pair.against) if pair.against else pair.caption for pair in PAIRS]
    photos = {name: _named(f"{name}.jpg", content) for name, content in files.items()}
    inputs = [{"image": photos[pair.photo], "text": text} for pair, text in zip(PAIRS, texts, strict=True)]
    explanations: list[Explanation] = []
    with open_folder(folder, KIND, force=parsed.force).replacing(all=True) as place:
        found = explain_many(model, inputs, batch_size=4, seed=parsed.seed)
        for number, (pair, explanation) in enumerate(zip(PAIRS, found, strict=True)):
            if pair.named is not None:
                explanation = explanation.with_boxes([pair.named])
            inside = place / f"{number + 1:02d}-{pair.photo}"
            inside.mkdir()
            write(explanation, inside)
            write_picture(explanation.figure(), inside / "figure.png", 150)
            explanations.append(explanation)
        write_pairs(place, files)
        notes = [pair.note for pair in PAIRS]
        remarks = [remark(*each) for each in zip(PAIRS, explanations, strict=True)]
        with progress("write the page"):
            write_page(
                explanations, place / "index.html", title="What m2ib sees", notes=notes, remarks=remarks
            )
    say((folder / "index.html").resolve())


def _named(name: str, content: bytes) -> io.BytesIO:
    """As an open file, so that the page says the name."""
    file = io.BytesIO(content)
    file.name = name
    return file
