"""``m2ib explain --image dog.jpg --text "a dog" --model clip --out report/``"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.cli.beforehand import check_files
from m2ib.cli.config import AGAINST, ALSO, READER, ExplainConfig, read_config, read_inputs
from m2ib.cli.help import KEYS, Group, add_command, add_quiet, add_row, taken_modalities
from m2ib.cli.options import as_yaml, path_of
from m2ib.cli.output import say
from m2ib.errors import PluginError, SettingError, did_you_mean
from m2ib.paths import is_text
from m2ib.progress import progress

if TYPE_CHECKING:
    from m2ib.results.comparison import Comparison
    from m2ib.results.explanation import Explanation

_EXAMPLES = """examples:

  m2ib explain --image dog.jpg --text "a dog" --model clip --out report/
  m2ib explain --image dog.jpg --text "a dog" --method m2ib,gradcam,rise \\
      settings.masks=512
  m2ib explain --image dog.jpg --text "a dog" --sweep layer=0,3,6,9 \\
      --figure pdf figure.scale=shared
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

    from m2ib.api import explain, sweep
    from m2ib.cli.comparison import check_methods, options_of, swept
    from m2ib.folders import check_folder
    from m2ib.results.storage import ARRAYS, KIND, MANIFEST

    check_title(config.title)
    pair = read_inputs(config)
    check_files(config.adapter.spec, pair)
    modalities = (pair[0][0], pair[1][0])
    calls = check_methods(config, modalities)
    figure = FigureFiles.of(config.figure)
    options = options_of(config) if config.sweep is None else swept(config, modalities)
    folder = path_of("out", config.out)
    names = ("index.html", *figure.names, MANIFEST, ARRAYS)
    check_folder(folder, KIND, force=config.force, names=names)
    if config.boxes is not None:
        _check_boxes(config.boxes, pair)  # what is wrong with them shows before the model is loaded
    model = config.load()
    methods = [each["method"] for each in calls.values()]
    if config.sweep is None:
        found = explain(model, *pair, **{**options, "method": methods})
    else:
        found = sweep(model, *pair, **{**options, "method": methods[0]})
    if config.boxes is not None:
        found = replace(found, explanations=[each.with_boxes(config.boxes) for each in found])
    with progress("write the report"):
        page = write_report(found, folder, config.title, force=config.force, figure=figure)
    say(f"{found[0].similarity_title} {found[0].similarity:.4f}")
    say(page.resolve())


def check_title(title: str | None) -> None:
    """Raises :class:`SettingError` for one that no page can hold."""
    if title is not None and not is_text(title):
        raise SettingError(f"title: {title!r:.80} holds half a character (a lone surrogate); decode it anew")


@dataclass(frozen=True)
class FigureFiles:
    """The files that a figure is written as, and how it looks; see :meth:`m2ib.Explanation.figure`."""

    formats: Sequence[str] = ("png",)
    cmap: str | None = None
    scale: Any = "own"

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> FigureFiles:
        """Of the option ``figure``. Raises :class:`SettingError`."""
        from m2ib.renderers.looks import Looks

        for name in given:
            if name not in (known := ("format", "cmap", "scale")):
                raise SettingError(
                    f"figure: {name!r} is unknown{did_you_mean(name, known)} There is {', '.join(known)}"
                )
        asked = given.get("format") or "png"
        formats = [each.strip().lower() for each in (asked.split(",") if isinstance(asked, str) else asked)]
        for each in formats:
            if each not in ("png", "pdf", "svg"):
                raise SettingError(
                    f"figure: {each!r:.60} is no format; give png, pdf or svg, or several with commas between"
                )
        made = cls(tuple(dict.fromkeys(formats)), given.get("cmap"), given.get("scale") or "own")
        Looks.of((), made.cmap, made.scale)  # what is wrong with them shows now
        return made

    @property
    def names(self) -> list[str]:
        return [f"figure.{format}" for format in self.formats]

    def write(self, found: Explanation | Comparison, folder: Path) -> None:
        """Raises :class:`PluginError` where a renderer cannot draw."""
        from m2ib.renderers.plotting import write

        figure = found.figure(cmap=self.cmap, scale=self.scale)
        for name, format in zip(self.names, self.formats, strict=True):
            write(figure, folder / name, 150, format)


def write_report(
    found: Comparison, folder: Path, title: str | None, *, force: bool, figure: FigureFiles | None = None
) -> Path:
    """Numbers, figure and page of one pair: of one explanation in the folder itself, of several in a folder for each.

    Where a renderer cannot draw them the numbers are kept. Raises :class:`PluginError` then.
    """
    from m2ib.folders import open_folder
    from m2ib.results.storage import KIND, write

    several, undrawn = len(found) > 1, None
    with open_folder(folder, KIND, force=force).replacing(all=True) as place:
        for name, explanation in zip(found.names, found, strict=True):
            inside = place
            if several:
                inside = place / re.sub(r"[^\w.+-]+", "-", name)
                inside.mkdir()
            write(explanation, inside)
        shown = found if several else found[0]
        try:
            (figure or FigureFiles()).write(shown, place)
            shown.to_html(place / "index.html", title=title)
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
