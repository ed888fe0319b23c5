"""Methods of other packages: found, explained with, evaluated; one that breaks leaves the others usable."""

from __future__ import annotations

import numpy as np
import pytest

import m2ib
import m2ib.registry.discovery
from installed import Plugins
from m2ib.cli import main
from m2ib.registry.discovery import Registry
from m2ib.registry.installed import installed as installed_entry_points
from toy import EXAMPLES, toy_model

# Written from public names alone.
CENTRE = """
    import numpy as np
    import m2ib

    def load():
        from m2ib.methods import Map, Method, PreparedBatch

        def prepare(batch, settings):
            def maps(targets, advance):
                advance()
                found = []
                for grid in batch.grids(batch.encoder.default_layer):
                    values = np.zeros(grid)
                    values[tuple(length // 2 for length in grid)] = settings.height
                    found.append(Map(values))
                return found

            return PreparedBatch(batch.embed(), maps)

        return Method(prepare, unit="stones", additive=False)

    @m2ib.hookimpl
    def m2ib_register_methods(register):
        height = m2ib.Setting("height", "of the stone", 1.0, lambda value, encoder: float(value))
        register(m2ib.MethodSpec("centre", "the middle, whatever is there", load, settings=(height,)))
"""
LACKING = """
    import m2ib

    def load():
        import a_package_that_is_nowhere

    @m2ib.hookimpl
    def m2ib_register_methods(register):
        register(m2ib.MethodSpec("lacking", "needs something", load, extra="cairn[all]"))
"""
PAIRED = """
    import numpy as np
    import torch
    import m2ib
    from m2ib.methods import Method
    from m2ib.methods.interactions.base import PairMethod

    def find(first, second):
        return np.ones((first.units.number, second.units.number)), ("all alike",)

    @m2ib.hookimpl
    def m2ib_register_methods(register):
        layer = m2ib.Setting("layer", "whose cells", 0)
        register(m2ib.PairMethodSpec("alike", "the same everywhere", lambda: PairMethod(find), (layer,)))
        register(m2ib.PairMethodSpec("broken", "fails", lambda: PairMethod(lambda first, second: 1 / 0)))
        register(m2ib.PairMethodSpec("single", "makes maps", lambda: Method(find)))
        attached = torch.ones(16, 2, requires_grad=True)
        for name, given in (("bare", np.ones((16, 2))), ("attached", (attached, ())), ("nothing", None)):
            register(m2ib.PairMethodSpec(name, "gives less", lambda given=given: PairMethod(lambda first, second: given)))
"""
JUNK = """
    import m2ib

    @m2ib.hookimpl
    def m2ib_register_methods(register):
        register("centre")
"""


@pytest.fixture
def installed(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> Registry:
    plugins.add("cairn", CENTRE)
    plugins.add("half", LACKING)
    plugins.add("odd", JUNK)
    registry = Registry.discover()
    monkeypatch.setattr(m2ib.registry.discovery, "_default", registry)
    return registry


def test_a_method_of_another_package(installed: Registry) -> None:
    listed = m2ib.list_methods()
    assert listed["centre"].origin == "cairn"
    assert {"m2ib", "rise", "centre", "lacking"} <= set(listed.names)
    (failure,) = listed.failures
    assert (failure.origin, failure.reason) == (
        "odd",
        "AdapterError: register() takes a MethodSpec, not 'centre'",
    )
    inputs = {"image": EXAMPLES["image"][0], "text": EXAMPLES["text"][0]}
    exp = m2ib.explain(toy_model(), **inputs, method="centre", height=3)
    assert exp["image"].grid[2, 2] == exp["image"].grid.sum() == 3
    assert (exp["image"].method, exp["image"].unit, exp["image"].capacity) == ("centre", "stones", None)
    assert exp["text"].settings == {"height": 3.0, "seed": 0, "target": "similarity"}


def test_a_way_to_find_interactions_of_another_package(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.add("cairn", PAIRED)
    monkeypatch.setattr(m2ib.registry.discovery, "_default", Registry.discover())
    inputs = {"image": EXAMPLES["image"][0], "text": "a dog"}
    found = m2ib.explain(toy_model(), **inputs, interactions="alike").interactions
    assert found is not None
    assert (found.method, found.warnings, found.matrix.sum()) == ("alike", ("all alike",), 16 * 2)
    for options, said in (
        (
            {"interactions": "broken"},
            "method 'broken' of 'cairn' failed: ZeroDivisionError: division by zero",
        ),
        ({"interactions": "single"}, "method 'single' of 'cairn': load returned Method, not a PairMethod"),
        (
            {"interactions": "bare"},
            "method 'bare' of 'cairn': find returned ndarray, not a matrix and a tuple of warnings",
        ),
        (
            {"interactions": "attached"},
            "method 'attached' of 'cairn': find returned tuple, not a matrix and a tuple of warnings",
        ),
        (
            {"interactions": "nothing"},
            "method 'nothing' of 'cairn': find returned NoneType, not a matrix and a tuple of warnings",
        ),
        (
            {"method": "alike"},
            "method 'alike' finds interactions between two inputs, and makes no map of one; give interactions='alike'",
        ),
    ):
        with pytest.raises(m2ib.M2IBError) as caught:
            m2ib.explain(toy_model(), **inputs, **options)
        assert str(caught.value) == said


def test_a_package_that_is_missing_is_named(installed: Registry) -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        m2ib.explain(toy_model(), image=EXAMPLES["image"][0], text="a dog", method="lacking")
    assert str(caught.value) == (
        "method 'lacking' needs a_package_that_is_nowhere, which cannot be imported: pip install 'cairn[all]'"
    )


@pytest.mark.parametrize("turned", [False, True])
def test_two_packages_with_one_name(plugins: Plugins, turned: bool) -> None:
    plugins.add("cairn", CENTRE)
    plugins.add("dolmen", CENTRE)
    points = sorted(
        installed_entry_points(), key=lambda point: point.value, reverse=turned
    )  # as folders give them
    registry = Registry.discover(points)
    with pytest.raises(m2ib.SettingError) as caught:
        registry.methods.find("centre")
    assert str(caught.value) == (
        "method: the method 'centre' is registered by 'cairn' and 'dolmen': ask for 'cairn:centre' or 'dolmen:centre'"
    )
    assert registry.methods.find("dolmen:centre").origin == "dolmen"


def test_it_is_evaluated_and_listed_like_the_others(
    installed: Registry, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    assert main(["methods"]) == 0
    assert "centre" in capsys.readouterr().out
    words = ["--data", "scenes", "data.count=2", "data.modality=imu", "settings.height=2", "--seeds", "0"]
    command = [
        "evaluate",
        "--model",
        "imagebind-tiny",
        *words,
        "--methods",
        "centre",
        "--metrics",
        "pointing",
    ]
    assert main([*command, "--sides", "imu", "--out", f"{tmp_path}/out"]) == 0
    out = capsys.readouterr().out
    assert "centre (shuffled)" in out
    assert "uniform" in out


def test_methods_side_by_side_on_one_page(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    from pathlib import Path

    from PIL import Image

    from m2ib.scenes import query, scene

    folder = Path(str(tmp_path))
    drawn = scene(3)
    Image.fromarray(drawn.image).save(folder / "scene.png")
    pair = [
        "--image",
        str(folder / "scene.png"),
        "--text",
        query(drawn.kinds[0]),
        "--model",
        "imagebind-tiny",
    ]
    options = ["--method", "m2ib,rise,uniform", "steps=2", "settings.masks=8", "--out", str(folder / "out")]
    assert main(["explain", *pair, *options]) == 0
    page = (folder / "out" / "index.html").read_text(encoding="utf-8")
    assert [page.count(f"<h3>{name} ") for name in ("m2ib", "rise", "uniform")] == [2, 2, 2]
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert (folder / "out" / "figure.png").stat().st_size > 10_000
    rise = m2ib.load_explanation(folder / "out" / "rise")["image"]
    assert (rise.method, rise.unit, rise.capacity, rise.curve, rise.additive) == (
        "rise",
        "cosine",
        None,
        None,
        False,
    )
    again = m2ib.explain(
        m2ib.load_model("imagebind-tiny"),
        image=folder / "scene.png",
        text=query(drawn.kinds[0]),
        method="rise",
        masks=8,
    )
    np.testing.assert_array_equal(rise.grid, again["image"].grid)
    assert rise.settings["masks"] == 8
    assert m2ib.load_explanation(folder / "out" / "m2ib")["image"].settings["steps"] == 2
