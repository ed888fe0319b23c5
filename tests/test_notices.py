"""What an input was warned of stands beside its result."""

from __future__ import annotations

import threading
import warnings
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch

import m2ib
from m2ib.notices import collected_warnings
from tiny_clip import END, START

WIDE = np.zeros((8, 200, 3), np.uint8)
IDS = torch.tensor([START, 5, 9, END])


def test_a_warning_becomes_part_of_origin_page_and_manifest(clip64: m2ib.Model, tmp_path: Path) -> None:
    with pytest.warns(m2ib.M2IBWarning, match="centre crop sees 4.0% of it") as caught:
        explanation = m2ib.explain(clip64, image=WIDE, text=IDS, layer=0, steps=1, samples=1)
    message = str(caught[0].message)
    assert explanation["image"].origin["warnings"] == [message]
    assert "warnings" not in explanation["text"].origin
    again = m2ib.load_explanation(explanation.save(tmp_path / "saved"))
    assert again["image"].origin["warnings"] == [message]
    page = explanation.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert message in unescape(page)


def test_a_warning_turned_into_an_error_is_raised(clip64: m2ib.Model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(m2ib.M2IBWarning, match="centre crop"):
            clip64.item("image", WIDE)


def test_threads_do_not_hear_each_other() -> None:
    with collected_warnings() as mine, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread = threading.Thread(target=m2ib.warn, args=("theirs",))
        thread.start()
        thread.join()
        m2ib.warn("mine")
    assert mine == ["mine"]


def test_it_points_at_the_caller() -> None:
    with pytest.warns(m2ib.M2IBWarning, match="here") as caught:
        m2ib.warn("here")
    assert caught[0].filename == __file__
