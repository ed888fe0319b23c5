"""One pair in several ways: by several methods, and by the values of a setting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import m2ib
from m2ib.contract.inputs import Item
from toy import EXAMPLES, toy_model

PAIR = {"image": EXAMPLES["image"][0], "text": EXAMPLES["text"][1]}
FEW: dict[str, Any] = {"steps": 2, "samples": 2, "show_progress": False}


@pytest.fixture(scope="module")
def model() -> m2ib.Model:
    return toy_model()


def counted(model: m2ib.Model, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of the inputs that are made ready from now on."""
    made: list[str] = []
    item = m2ib.Model.item

    def counting(self: m2ib.Model, modality: str, raw: Any, **how: Any) -> Item:
        made.append(modality)
        return item(self, modality, raw, **how)

    monkeypatch.setattr(m2ib.Model, "item", counting)
    return made


def test_several_methods_give_what_each_gives_alone(
    model: m2ib.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = counted(model, monkeypatch)
    found = m2ib.explain(model, **PAIR, method=["m2ib", "gradcam", "rise"], masks=16, layer=0, **FEW)
    assert sorted(made) == ["image", "text"]
    assert isinstance(found, m2ib.Comparison)
    assert [*found.names] == ["m2ib", "gradcam", "rise"]
    alone = {
        "m2ib": m2ib.explain(model, **PAIR, layer=0, **FEW),
        "gradcam": m2ib.explain(model, **PAIR, method="gradcam", layer=0, show_progress=False),
        "rise": m2ib.explain(model, **PAIR, method="rise", masks=16, layer=0, show_progress=False),
    }
    for name, each in alone.items():
        for one, other in zip(found[name], each, strict=True):
            np.testing.assert_array_equal(one.grid, other.grid)
            assert one.settings == other.settings
    assert found[1] is found["gradcam"] is list(found)[1]
    assert found[1:].names == ("gradcam", "rise")
    assert found[1:]["rise"] is found[-1]
    assert repr(found).startswith("Comparison(image and text, similarity=")
    assert repr(found).endswith("3 ways: m2ib, gradcam, rise)")
    one = m2ib.explain(model, **PAIR, method=["gradcam"], show_progress=False)
    assert (len(one), one.names) == (1, ("gradcam",))


@pytest.mark.parametrize(
    ("given", "values", "names"),
    [
        ({"layer": [0, 1]}, [{"layer": 0}, {"layer": 1}], ["layer 0", "layer 1"]),
        ({"beta": [0.01, 1]}, [{"beta": 0.01}, {"beta": 1}], ["beta 0.01", "beta 1"]),
        ({"seed": [3, 4]}, [{"seed": 3}, {"seed": 4}], ["seed 3", "seed 4"]),
        (
            {"layer": {"image": [0, 1], "text": [1, -1]}},
            [{"layer": {"image": 0, "text": 1}}, {"layer": {"image": 1, "text": -1}}],
            ["layer image 0, text 1", "layer image 1, text -1"],
        ),
        (
            {"layer": {"image": [0, 1], "text": 0}},
            [{"layer": {"image": 0, "text": 0}}, {"layer": {"image": 1, "text": 0}}],
            ["layer image 0, text 0", "layer image 1, text 0"],
        ),
        ({"settings": {"readout": ["last", "final"]}}, [{"readout": "last"}, {"readout": "final"}], ["readout last", "readout final"]),
    ],
)  # fmt: skip
def test_a_sweep_gives_what_each_value_gives_alone(
    model: m2ib.Model, given: dict[str, Any], values: list[dict[str, Any]], names: list[str]
) -> None:
    found = m2ib.sweep(model, **PAIR, **FEW, **given)
    assert [*found.names] == names
    assert found.swept == next(iter(values[0]))
    for each, value in zip(found, values, strict=True):
        alone = m2ib.explain(model, **PAIR, **FEW, **value)
        for one, other in zip(each, alone, strict=True):
            np.testing.assert_array_equal(one.grid, other.grid)
            assert one.settings == other.settings


def test_without_a_list_good_layers_are_swept_and_inputs_made_ready_once(
    model: m2ib.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {name: m2ib.good_layers(model, name, raw) for name, raw in PAIR.items()}
    assert good == {"image": (-1, 0, 1), "text": (-1, 0, 1, 2)}  # the image is read at its class token
    made = counted(model, monkeypatch)
    found = m2ib.sweep(model, **PAIR, **FEW)
    assert sorted(made) == ["image", "text"]
    assert [[side.settings["layer"] for side in each] for each in found] == [[-1, -1], [0, 1], [1, 2]]
    assert repr(found).endswith(
        "3 layers: layer image -1, text -1, layer image 0, text 1, layer image 1, text 2)"
    )
    alike = m2ib.sweep(model, ("text", "a dog"), ("text", "a cat"), **FEW)
    assert [each[0].settings["layer"] for each in alike] == [-1, 0, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m2ib.explain(m, **PAIR, method=["m2ib", "gradcam"], masks=8),
         "explain: 'masks' is unknown. The model takes image, text"),
        (lambda m: m2ib.explain(m, **PAIR, method=[]), "method: none is given; as in --method m2ib or --method m2ib,gradcam"),
        (lambda m: m2ib.explain_many(m, [PAIR], method=["m2ib", "gradcam"]),
         "explain_many: takes one method, not ['m2ib', 'gradcam']; m2ib.run takes several, and m2ib.explain of one pair"),
        (lambda m: m2ib.sweep(m, **PAIR, method=["m2ib", "gradcam"]),
         "sweep: takes one method, not ['m2ib', 'gradcam']; give its name, and sweep once for each of them"),
        (lambda m: m2ib.sweep(m, **PAIR, layer=[0, 1], shifts=[2, 2]),
         "sweep: 'layer' and 'shifts' are both lists; one setting is swept at a time, and a value that is itself a list is written as "
         "a tuple, as in shifts=(2, 2)"),
        (lambda m: m2ib.sweep(m, **PAIR, layer={"image": [0, 1], "text": [0, 1, 2]}),
         "sweep: layer has 2 for image and 3 for text; give as many values for each"),
        (lambda m: m2ib.sweep(m, **PAIR, layer=[]), "sweep: layer has no values; give some, as in layer=[...]"),
        (lambda m: m2ib.sweep(m, **PAIR, beta=[0.1, 0.2, 0.1]), "sweep: beta 0.1 is there twice; leave one out"),
        (lambda m: m2ib.sweep(m, **PAIR, method="saliency", layer=3),
         "sweep: no setting is a list; give one of layer, target, seed several values, as in layer=[...]"),
        (lambda m: m2ib.sweep(m, **PAIR, layers=[0, 1]),
         "sweep: 'layers' is unknown; did you mean 'layer'? The model takes image, text"),
        (lambda m: m2ib.sweep(m, layer=[0, 1], image=PAIR["image"]),
         "sweep: takes two inputs, got 1 (image); as in sweep(model, ('image', x), ('text', y)) or sweep(model, image=x, text=y)"),
    ],
)  # fmt: skip
def test_what_is_refused(model: m2ib.Model, call: Any, message: str) -> None:
    with pytest.raises(m2ib.M2IBError) as caught:
        call(model)
    assert str(caught.value) == message


def test_a_value_that_is_out_of_range_is_refused_before_anything_is_fitted(model: m2ib.Model) -> None:
    with pytest.raises(m2ib.SettingError, match=r"layer.* 17 "):
        m2ib.sweep(model, **PAIR, layer=[0, 17], steps=10**6, samples=10**6, show_progress=False)
