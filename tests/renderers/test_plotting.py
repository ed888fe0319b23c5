"""Pages and figures look alike whatever matplotlib's settings are, which stay the caller's."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

import m2ib

ODD: dict[str, Any] = {
    "text.usetex": True,  # and there is no TeX
    "font.family": ["cursive"],
    "font.size": 31,
    "axes.titlesize": 40,
    "axes.facecolor": "red",
    "axes.grid": True,
    "figure.facecolor": "black",
    "figure.dpi": 33,
    "figure.constrained_layout.use": False,
    "image.cmap": "jet",
    "image.origin": "lower",
    "savefig.dpi": 12,
    "savefig.transparent": True,
    "xtick.major.size": 20,
    "xtick.labelsize": 30,
}


@pytest.fixture(scope="module")
def explanation(photo64: m2ib.Model) -> m2ib.Explanation:
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    return m2ib.explain(photo64, image=picture, text="a cat", steps=2, samples=2)


def drawn(explanation: m2ib.Explanation, folder: Path) -> list[bytes]:
    """The page, and the figure as its user saves it."""
    folder.mkdir()
    explanation.to_html(folder / "page.html")
    file = io.BytesIO()
    explanation.figure().savefig(file, format="png", dpi=60, transparent=False)
    return [(folder / "page.html").read_bytes(), file.getvalue()]


def test_the_callers_settings_change_no_page_or_figure_and_are_not_changed(
    explanation: m2ib.Explanation, tmp_path: Path
) -> None:
    expected = drawn(explanation, tmp_path / "usual")
    with matplotlib.rc_context(ODD):
        before, own = dict(matplotlib.rcParams), pyplot.figure(figsize=(1, 1))
        found = drawn(explanation, tmp_path / "odd")
        assert dict(matplotlib.rcParams) == before
        assert pyplot.get_fignums() == [own.number]
        assert pyplot.gcf() is own
        pyplot.close(own)
    assert found[0] == expected[0]
    assert found[1] == expected[1]


ELSEWHERE = """
import io, os, sys
import m2ib
found = m2ib.load_explanation(sys.argv[1])
found.to_html(sys.argv[2] + ".html")
found.figure().savefig(sys.argv[2] + ".png", dpi=60, transparent=False)
print(os.environ.get("MPLBACKEND"))
"""


def test_a_backend_and_a_settings_file_that_matplotlib_cannot_use(
    explanation: m2ib.Explanation, tmp_path: Path
) -> None:
    """With such a backend matplotlib's own import fails."""
    expected = drawn(explanation, tmp_path / "here")
    explanation.save(tmp_path / "saved")
    settings = tmp_path / "matplotlibrc"
    settings.write_text(
        "text.usetex: True\nfont.family: cursive\naxes.facecolor: red\nfigure.facecolor: black\n"
    )
    call = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "saved"), str(tmp_path / "there")]
    odd = {**os.environ, "MPLBACKEND": "nope", "MATPLOTLIBRC": str(settings)}
    said = subprocess.run(call, env=odd, check=True, capture_output=True, text=True, timeout=120).stdout
    assert said.strip() == "nope"
    assert (tmp_path / "there.html").read_bytes() == expected[0]
    assert (tmp_path / "there.png").read_bytes() == expected[1]
