"""Griffe's extension: docstrings as Markdown, for the API reference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))

from house_docstrings import to_markdown
from public_names import identifier


class HouseDocstrings(griffe.Extension):
    """Every docstring is turned into Markdown once its object is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value, identifier)
