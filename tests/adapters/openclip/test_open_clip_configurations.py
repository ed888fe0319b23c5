"""Every configuration that open_clip lists: it opens, or is refused with the reason, as the page says."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import open_clip
import pytest
import timm

import open_clip_four as four

SCRIPT = Path(__file__).parents[3] / "docs" / "open_clip_table.py"
SOME = ("RN50", "ViT-B-32", "convnext_tiny", "ViTamin-XL-384")
REFUSED = {"ViTamin-XL-384": "built for 384x384 pixels, but the configuration says image_size 256x256"}
REFUSED_ON_MAIN = {
    "CLAP-HTSAT-tiny": "compares sounds with texts",
    "mammut_ViT-B-32": "reads texts with the decoder that writes them",
    "naflexgenlip": "writes texts about images",
    "ViT-B-16-SigLIP2-naflex": "takes images in their own size and shape",
}


@pytest.fixture(scope="module")
def listing() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("open_clip_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("open_clip_table", None)


def page(listing: ModuleType) -> str:
    (made,) = listing.PLACE.findall(listing.PAGE.read_text(encoding="utf-8"))
    if f"open_clip {open_clip.__version__} with timm {timm.__version__}" not in made:
        pytest.skip("the page is about other versions than the installed ones")
    return made


def test_the_page_has_every_configuration_once(listing: ModuleType) -> None:
    made = page(listing)
    rows = re.findall(r"^(?:\| (`.*?`) \||Refused: (`.*?`)\. )", made, re.MULTILINE)
    named = [name for row in rows for name in re.findall("`(.*?)`", "".join(row))]
    assert sorted(named) == sorted(open_clip.list_models())


def test_some_rows_are_what_the_command_gives(listing: ModuleType) -> None:
    for name in SOME:
        found = listing.facts(name)
        (row,) = re.findall(rf"^(?:\| |Refused: ).*`{name}`.*$", page(listing), re.MULTILINE)
        wanted = f" | {' | '.join(found)} |" if len(found) > 1 else f". {found[0]}."
        assert row.endswith(wanted), "run python docs/open_clip_table.py"


def test_the_main_branch_gives_the_same_for_some(
    listing: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: listing.facts(name) for name in SOME}
    four.put_on(monkeypatch)
    assert {name: listing.facts(name) for name in SOME} == before


@pytest.mark.slow
def test_the_whole_page_is_what_the_command_gives(listing: ModuleType) -> None:
    assert listing.table(open_clip.list_models()) == page(listing), "run python docs/open_clip_table.py"


@pytest.mark.slow
def test_every_configuration_opens_or_is_refused_by_name(
    listing: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the installed version and in the main branch, in which the same is found of each."""
    installed = {name: listing.facts(name) for name in open_clip.list_models()}
    assert {name for name, found in installed.items() if len(found) == 1} == set(REFUSED)
    four.put_on(monkeypatch)
    main = {name: listing.facts(name) for name in open_clip.list_models()}
    assert {name: main[name] for name in installed} == installed
    assert set(main) - set(installed) == set(four.LISTED)
    assert main["moderntext-ViT-B-32-256"] == (
        "VisionTransformer",
        "12",
        "8×8",
        "yes",
        "ModernTextTransformer",
        "12",
        "no",
    )
    refused = {name: found[0] for name, found in main.items() if len(found) == 1}
    assert set(refused) == {*REFUSED, *REFUSED_ON_MAIN}
    for name, reason in (REFUSED | REFUSED_ON_MAIN).items():
        assert reason in refused[name]
        assert "\n" not in refused[name]
