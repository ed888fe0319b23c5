"""``m2ib explain --image dog.jpg --text "a dog" --model clip --out report/``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.cli.beforehand import check_files
from m2ib.cli.config import AGAINST, ALSO, READER, ExplainConfig, read_config, read_inputs
from m2ib.cli.help import KEYS, Group, add_command, add_quiet, add_row, taken_modalities
from m2ib.cli.options import as_yaml, path_of
from m2ib.cli.output import say
from m2ib.errors import PluginError, SettingError
from m2ib.paths import is_text
from m2ib.progress import progress

if TYPE_CHECKING:
    from m2ib.results.explanation import Explanation

_EXAMPLES = """examples:

  m2ib explain --image dog.jpg --text "a dog" --model clip --out report/
  m2ib explain --image dog.jpg --text "a dog" --method m2ib,gradcam,rise \\
      settings.masks=512
  m2ib explain --image pets.jpg --text "a cat" --against "a dog" \\
      beta=0.05 layer.image=7
"""


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "explain one pair",
        "--image FILE --text WORDS [options] [key=value ...]",
        "Shows which parts of two inputs carry what a model needs to put them close together, or apart. Writes a page "
        f"(index.html), a figure and the numbers; prints the similarity and the path of the page. {KEYS}",
        _EXAMPLES,
    )
    kind = ExplainConfig.__dataclass_fields__["inputs"].metadata["help"]
    add_row(parser, Group.INPUTS, "--MODALITY VALUE", lambda: f"{kind} {taken_modalities()}")
    also = "another input that belongs to the one before it: the two are one target, the mean of their embeddings"
    add_row(parser, Group.INPUTS, f"--{ALSO} VALUE", also)
    against = "after an input: why that one rather than this one? What speaks for each is shown"
    add_row(parser, Group.INPUTS, f"--{AGAINST} VALUE", against)
    READER.add_options(parser)
    add_quiet(parser)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Explain the pair; write page, figure and numbers into a folder; print the page's path."""
    config = read_config(parsed, rest)
    if parsed.print_config:
        say(as_yaml(config), end="")
        return

    from m2ib.api import explain
    from m2ib.cli.comparison import check_methods
    from m2ib.folders import check_folder
    from m2ib.results.storage import ARRAYS, KIND, MANIFEST

    check_title(config.title)
    pair = read_inputs(config)
    check_files(config.adapter.spec, pair)
    calls = check_methods(config, (pair[0][0], pair[1][0]))
    folder = path_of("out", config.out)
    names = ("index.html", "figure.png", MANIFEST, ARRAYS)
    check_folder(folder, KIND, force=config.force, names=names)
    if config.boxes is not None:
        _check_boxes(config.boxes, pair)  # what is wrong with them shows before the model is loaded
    model = config.load()
    explanations = [explain(model, *pair, **options) for options in calls.values()]
    if config.boxes is not None:
        explanations = [explanation.with_boxes(config.boxes) for explanation in explanations]
    with progress("write the report"):
        page = write_report(explanations, folder, config.title, force=config.force)
    say(f"{explanations[0].similarity_title} {explanations[0].similarity:.4f}")
    say(page.resolve())


def check_title(title: str | None) -> None:
    """Raises :class:`SettingError` for one that no page can hold."""
    if title is not None and not is_text(title):
        raise SettingError(f"title: {title!r:.80} holds half a character (a lone surrogate); decode it anew")


def write_report(
    explanations: Sequence[Explanation], folder: Path, title: str | None, *, force: bool
) -> Path:
    """Numbers, figure and page of one pair by one method, or by several: a folder of numbers for each, one page.

    Where a renderer cannot draw them the numbers are kept. Raises :class:`PluginError` then.
    """
    from m2ib.folders import open_folder
    from m2ib.page.explanation import write_comparison
    from m2ib.page.figure import draw_methods
    from m2ib.renderers.plotting import write as write_picture
    from m2ib.results.storage import KIND, write

    several, undrawn = len(explanations) > 1, None
    with open_folder(folder, KIND, force=force).replacing(all=True) as place:
        for explanation in explanations:
            inside = place
            if several:
                inside = place / explanation[0].method.replace(":", "-")
                inside.mkdir()
            write(explanation, inside)
        try:
            figure = draw_methods(explanations) if several else explanations[0].figure()
            write_picture(figure, place / "figure.png", 150)
            if several:
                write_comparison(explanations, place / "index.html", title=title)
            else:
                explanations[0].to_html(place / "index.html", title=title)
        except PluginError as error:
            undrawn = error
    if undrawn is not None:
        raise PluginError(f"{undrawn}; the numbers are kept in {str(folder)!r}") from undrawn
    return folder / "index.html"


def _check_boxes(boxes: Any, pair: Sequence[tuple[str, Any]]) -> None:
    """Raises :class:`SettingError` without exactly one image, and :class:`InputError` for the boxes themselves."""
    from m2ib.contract.targets import shown_of
    from m2ib.data.boxes import boxes_of

    images = [value for modality, value in pair if modality == "image"]
    if len(images) != 1:
        raise SettingError(f"boxes: they are drawn on the one image of a pair; this one has {len(images)}")
    boxes_of(boxes, shown_of(images[0]))
