"""``m2ib explain --image dog.jpg --text "a dog" --model clip --out report/``"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_EXAMPLES = """inputs are given by modality: --image FILE --text WORDS (what the model takes: `m2ib adapters`).
--against VALUE after an input asks why this one rather than that one.
every option may also stand in a YAML file (--config) or be written as key=value:

  m2ib explain --image dog.jpg --text "a dog" --model clip --out report/
  m2ib explain --image pets.jpg --text "a cat" --against "a dog" beta=0.05 layer.image=7
"""


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    from m2ib.cli.config import add_options

    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help="explain one pair",
        description=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Explain the pair; write page, figure and numbers into a folder; print the page's path."""
    from m2ib.cli.config import FIT_OPTIONS, print_config, read_config, read_inputs

    config = read_config(parsed, rest)
    if parsed.print_config:
        sys.stdout.write(print_config(config))
        return

    from m2ib.api import explain
    from m2ib.model import load_model
    from m2ib.storage import check_folder

    pair = read_inputs(config)
    folder = Path(config.out)
    check_folder(folder, force=config.force)
    if config.boxes is not None:
        _check_boxes(config.boxes, pair)  # what is wrong with them shows before the model is loaded
    model = load_model(
        config.model,
        checkpoint=config.checkpoint,
        device=config.device,
        dtype=config.dtype,
        **config.options,
    )
    explanation = explain(model, *pair, **{name: getattr(config, name) for name in FIT_OPTIONS})
    if config.boxes is not None:
        explanation = explanation.with_boxes(config.boxes)
    explanation.save(folder, force=True)  # refused above already
    write_figure(explanation, folder / "figure.png")
    page = explanation.to_html(folder / "index.html", title=config.title)
    print(f"cosine similarity {explanation.similarity:.4f}")
    print(page.resolve())


def _check_boxes(boxes: Any, pair: Sequence[tuple[str, Any]]) -> None:
    """Raises :class:`SettingError` without exactly one image, and :class:`InputError` for the boxes themselves."""
    from m2ib.boxes import boxes_of
    from m2ib.errors import SettingError
    from m2ib.pipeline import Contrast

    images = [value for modality, value in pair if modality == "image"]
    if len(images) != 1:
        raise SettingError(f"boxes: they are drawn on the one image of a pair; this one has {len(images)}")
    boxes_of(boxes, images[0].this if isinstance(images[0], Contrast) else images[0])


def write_figure(explanation: Any, path: Path) -> None:
    """The figure as a picture. Raises :class:`StorageError`."""
    from m2ib.errors import StorageError

    try:
        explanation.figure().savefig(path, dpi=150)
    except OSError as error:
        raise StorageError(f"cannot write the figure {str(path)!r}: {error.strerror or error}") from error
