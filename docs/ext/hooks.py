"""MkDocs' hooks: pages get what they take from the code, and a notebook is a page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

from from_code import filled
from notebook import as_markdown


class Notebook(File):
    """A notebook as a page, as it is stored: nothing is run."""

    def is_documentation_page(self) -> bool:
        return True


def on_files(files: Files, config: Any) -> Files:
    """Called by MkDocs with all that is in ``docs/``."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
        files.append(Notebook(file.src_uri, config.docs_dir, config.site_dir, config.use_directory_urls))
    return files


def on_page_read_source(page: Any, **_: Any) -> str | None:
    """Called by MkDocs for every page."""
    return as_markdown(Path(page.file.abs_src_path)) if isinstance(page.file, Notebook) else None


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for every page."""
    return filled(markdown)
