"""Which of open_clip's configurations open, and how: the table of ``docs/adapters/open-clip.md``.

    python docs/open_clip_table.py

It writes the table into that page. It takes a minute, and no download: models are built without memory. Of text towers that
transformers describes, whose descriptions would be downloaded, it knows the depth.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch

from m2ib.errors import M2IBError
from m2ib_adapters.inputs.tokens import IdCoder
from m2ib_adapters.openclip.adapter import build
from m2ib_adapters.openclip.architectures import resolve
from m2ib_adapters.openclip.preprocess import merge, preparation
from m2ib_adapters.openclip.weights import construct

PAGE = Path(__file__).with_name("adapters") / "open-clip.md"
PLACE = re.compile(r"(?<=<!-- python docs/open_clip_table.py -->\n).*?(?=<!-- so far -->)", re.DOTALL)
HEAD = (
    "configurations", "image tower", "layers", "grid", "fast tail", "text tower", "layers", "fast tail"
)  # fmt: skip
PUBLISHED = {
    "roberta-base": {"model_type": "roberta", "num_hidden_layers": 12},
    "xlm-roberta-base": {"model_type": "xlm-roberta", "num_hidden_layers": 12},
    "xlm-roberta-large": {"model_type": "xlm-roberta", "num_hidden_layers": 24},
    "google/mt5-base": {"model_type": "mt5", "num_layers": 12},
    "google/mt5-xl": {"model_type": "mt5", "num_layers": 24},
    "facebook/nllb-200-distilled-600M": {"model_type": "m2m_100", "encoder_layers": 12},
    "facebook/nllb-200-distilled-1.3B": {"model_type": "m2m_100", "encoder_layers": 24},
}


def facts(name: str) -> tuple[str, ...]:
    """Of one configuration, all columns but the first; or why it is refused."""
    try:
        with torch.device("meta"), tempfile.TemporaryDirectory() as folder:
            return _facts(name, Path(folder))
    except M2IBError as error:
        return (str(error),)


def _facts(name: str, folder: Path) -> tuple[str, ...]:
    source = replace(resolve(name), folder=folder)
    tower = str(source.config["text_cfg"].get("hf_model_name"))
    if tower in PUBLISHED:
        (folder / tower).mkdir(parents=True)
        (folder / tower / "config.json").write_text(json.dumps(PUBLISHED[tower]), encoding="utf-8")
    module: Any = construct(source, quick_gelu=False).eval()
    ready = preparation(module.visual.image_size, merge(source.preprocess))
    model = build(module, ready, IdCoder("a table needs none"), 77, {})
    image, text = model.encoders["image"], model.encoders["text"]
    assert image.describe is not None
    layer = image.default_layer
    with torch.device("cpu"):
        grid = image.describe(torch.zeros(3, *ready.size)).layout.grid
    if grid is None and callable(image.stride) and (step := image.stride(layer)):
        grid = tuple(pixels // each for pixels, each in zip(ready.size, step, strict=True))
    seen = type(getattr(module.visual, "trunk", module.visual)).__name__
    read = getattr(module, "text", None)
    if isinstance(read, open_clip.hf_model.HFTextEncoder):
        read = read.transformer
    return (
        f"timm: {seen}" if hasattr(module.visual, "trunk") else seen,
        str(len(image.layers)),
        "×".join(map(str, grid or ("?",))),
        "no" if image.tail is None else "yes",
        "TextTransformer" if read is None else type(read).__name__,  # CLIP holds its parts itself
        str(len(text.layers)),
        "no" if text.tail is None else "yes",
    )


def table(names: Iterable[str]) -> str:
    """Configurations of which the same is to be said stand in one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        rows.setdefault(facts(name), []).append(f"`{name}`")
    open_, refused = ([row for row in rows if (len(row) > 1) is opens] for opens in (True, False))
    count = sum(len(rows[row]) for row in open_)
    return "\n".join(
        [
            '<details markdown="1">',
            f"<summary>Of the {sum(map(len, rows.values()))} configurations of open_clip {open_clip.__version__} with timm "
            f"{timm.__version__}, {count} open</summary>\n",
            "The grid is that of the default layer.\n",
            *(f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD))),
            *(f"| {' | '.join([', '.join(rows[row]), *row])} |" for row in open_),
            "",
            *(f"Refused: {', '.join(rows[row])}. {row[0]}.\n" for row in refused),
            "</details>",
            "",
        ]
    )


if __name__ == "__main__":
    made = table(open_clip.list_models())
    PAGE.write_text(PLACE.sub(lambda _: made, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE)
