"""Grad-CAM, saliency, integrated gradients and the controls against their papers, written as loops and hooks."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
from m2ib.contract.degradation import Degradation, Fading
from scene_model import example, save_scene_model
from tiny_clip import END, START
from toy import BOS, EOS, toy_model

IDS = torch.tensor([BOS, 5, 9, 33, 17, EOS])
CLIP_IDS = torch.tensor([START, 5, 60, 7, 8, END])
PHOTO_IDS = torch.tensor([101, 3899, 2006, 102])


def pixels(size: int) -> Tensor:
    return torch.randn(3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def toy64() -> m2ib.Model:
    model = toy_model()
    return m2ib.Model(model.module.double(), model.encoders, model.device, torch.float64, model.origin)


@pytest.fixture(scope="module")
def biased64(clip_folder: Path) -> m2ib.Model:
    """The tiny CLIP with biases, as a trained one has: without, an input of zeros has an embedding of zeros."""
    model = m2ib.load_model("clip", checkpoint=clip_folder, device="cpu", dtype="float64")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.module.named_parameters():
            if name.endswith("bias"):
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.copy_(0.3 * noise)
    return model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> m2ib.Model:
    return save_scene_model(tmp_path_factory.mktemp("tiny") / "weights.safetensors").model


class Sight:
    """One input of a model and the embedding of the other side, for the loops."""

    def __init__(self, model: m2ib.Model, modality: str, x: Tensor, other: tuple[str, Tensor]) -> None:
        self.encoder = model.encoder(modality)
        self.x = x[None]
        self.layout = model.item(modality, x).layout
        with torch.no_grad():
            self.target = model.encoder(other[0]).embed(other[1][None])[0]

    def cosine(self, x: Any = None) -> Tensor:
        e = self.encoder.embed(self.x if x is None else x)[0]
        return e @ self.target / e.norm() / self.target.norm()

    @contextmanager
    def passing(self, number: int, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """What passes at a layer goes through ``change``."""
        layer = self.encoder.layer(number)

        def output(module: Any, args: Any, given: Any) -> Any:
            return layer.write(given, change(layer.read(given)))

        def first(module: Any, args: Any) -> Any:
            return layer.write(args[0], change(layer.read(args[0]))), *args[1:]

        if layer.at == "input":
            handle = layer.module.register_forward_pre_hook(first)
        else:
            handle = layer.module.register_forward_hook(output)
        try:
            yield
        finally:
            handle.remove()

    def at(self, number: int) -> Tensor:
        """The activation of a layer, (1, ...)."""
        seen = []

        def see(value: Tensor) -> Tensor:
            seen.append(value.detach().clone())
            return value

        with self.passing(number, see), torch.no_grad():
            self.cosine()
        return seen[0]

    def gradient(self, number: int, value: Tensor) -> Tensor:
        """Of the cosine, where the layer gives ``value``."""
        z = value.clone().requires_grad_()
        with self.passing(number, lambda _: z), torch.enable_grad():
            self.cosine().backward(inputs=[z])
        assert z.grad is not None
        return z.grad

    def gradient_at_input(self, value: Tensor) -> Tensor:
        x = value.clone().requires_grad_()
        with torch.enable_grad():
            self.cosine(x).backward(inputs=[x])
        assert x.grad is not None
        return x.grad

    def rows(self, number: int, values: Tensor) -> Tensor:
        """(positions, channels) of a layer's values."""
        axis = self.encoder.layer(number).channel_axis
        return values.movedim(axis, -1).flatten(0, -2)

    def cells(self, count: int) -> list[int]:
        return list(range(count)) if self.layout.index is None else list(self.layout.index)


Case = tuple[m2ib.Model, dict[str, Tensor], str, Sight]


@pytest.fixture(params=["toy image", "toy text", "biased image", "biased text", "photo image", "photo text"])
def case(request: pytest.FixtureRequest) -> Case:
    name, modality = request.param.split()
    model: m2ib.Model = request.getfixturevalue(f"{name}64")
    size, ids = {"toy": (8, IDS), "biased": (32, CLIP_IDS), "photo": (64, PHOTO_IDS)}[name]
    inputs = {"image": pixels(size), "text": ids}
    (other,) = {"image", "text"} - {modality}
    return model, inputs, modality, Sight(model, modality, inputs[modality], (other, inputs[other]))


def near(found: np.ndarray, expected: Any, tolerance: float = 1e-9) -> None:
    wanted = np.asarray(expected).reshape(found.shape)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


# Grad-CAM


def usual_layer(encoder: m2ib.Encoder) -> int:
    """Grad-CAM's default."""
    (layer,) = m2ib.list_methods()["gradcam"].spec.settings
    found: int = layer.default_for(encoder)
    return found


@pytest.mark.parametrize("layer", [-1, 1, None])
@pytest.mark.parametrize("fast", [True, False])
def test_gradcam_is_the_loop(case: Case, layer: int | None, fast: bool) -> None:
    model, inputs, modality, sight = case
    exp = m2ib.explain(model, **inputs, method="gradcam", layer=layer, fast=fast)
    number = usual_layer(sight.encoder) if layer is None else layer
    assert exp[modality].settings["layer"] == number
    a = sight.at(number)
    rows, gradients = sight.rows(number, a), sight.rows(number, sight.gradient(number, a))
    cells = sight.cells(len(rows))
    channels = rows.shape[1]
    weights = [sum(gradients[t, c].item() for t in cells) / len(cells) for c in range(channels)]
    expected = [max(0.0, sum(weights[c] * rows[t, c].item() for c in range(channels))) for t in cells]
    near(exp[modality].grid, expected)
    assert exp[modality].unit == ""
    assert not exp[modality].additive


def test_gradcam_looks_at_the_last_layer_that_knows_places(
    photo64: m2ib.Model, clip64: m2ib.Model, toy64: m2ib.Model
) -> None:
    assert usual_layer(photo64.encoder("image")) == len(photo64.encoder("image").layers) - 1
    assert usual_layer(photo64.encoder("text")) == 5  # of six, averaged
    for modality in clip64.modalities:
        assert usual_layer(clip64.encoder(modality)) == len(clip64.encoder(modality).layers) - 2
        assert usual_layer(toy64.encoder(modality)) == toy64.encoder(modality).default_layer


def test_gradcam_warns_where_nothing_reaches(clip64: m2ib.Model) -> None:
    last = len(clip64.encoder("image").layers) - 1
    with pytest.warns(
        m2ib.M2IBWarning, match=f"gradcam: no position of image at layer {last} .* the map is 0; use"
    ):
        m2ib.explain(
            clip64, image=pixels(32), text=CLIP_IDS, method="gradcam", layer={"image": last, "text": 0}
        )


# Saliency


def test_saliency_is_the_loop(case: Case) -> None:
    model, inputs, modality, sight = case
    exp = m2ib.explain(model, **inputs, method="saliency")
    found = exp[modality].grid
    if modality == "text":
        gradient = sight.gradient(-1, sight.at(-1))[0]  # (T, C)
        near(found, [sum(value.item() ** 2 for value in row) ** 0.5 for row in gradient])
    else:
        gradient = sight.gradient_at_input(sight.x)[0]  # (3, H, W)
        step = gradient.shape[1] // found.shape[0]
        expected = np.zeros(found.shape)
        for i, j in np.ndindex(*found.shape):
            patch = gradient[:, i * step : (i + 1) * step, j * step : (j + 1) * step]
            largest = [max(abs(v) for v in patch[:, y, x].tolist()) for y, x in np.ndindex(step, step)]
            expected[i, j] = sum(largest) / len(largest)
        near(found, expected)
    assert exp[modality].unit == ""
    assert not exp[modality].additive


@pytest.mark.parametrize("modality", ["audio", "imu"])
def test_saliency_of_channels_that_are_not_colours(tiny: m2ib.Model, modality: str) -> None:
    x, image = example(modality, 1), example("image", 2)
    found = m2ib.explain(tiny, (modality, x), ("image", image), method="saliency")[modality].grid
    g = Sight(tiny, modality, x, ("image", image)).gradient_at_input(x[None])[0].abs()
    if modality == "imu":  # (traces, time)
        expected = g.amax(0).reshape(found.shape[0], -1).mean(1)
    else:  # (1 clip, 1 channel, bands, frames)
        rows, cols = found.shape[1:]
        expected = g[0, 0].unflatten(0, (rows, -1)).unflatten(2, (cols, -1)).mean((1, 3))
    near(found, expected)


class Unknown:
    """A degradation that tells of no axes."""

    gradual = True
    positions, hideable, apply = Fading().positions, Fading().hideable, Fading().apply


def dictionary(encoder: m2ib.Encoder) -> m2ib.Encoder:
    """The same, behind inputs by name."""

    def describe(inputs: m2ib.Inputs) -> m2ib.Item:
        item = encoder.describe(inputs)
        return replace(item, inputs={"pixels": item.inputs})  # type: ignore[dict-item]

    return replace(
        encoder, describe=describe, embed=lambda inputs: encoder.embed(inputs["pixels"]), tail=None
    )


@pytest.mark.parametrize("change", [dictionary, lambda e: replace(e, degradation=Unknown())])
@pytest.mark.parametrize("name", ["saliency", "integrated-gradients"])
def test_inputs_whose_axes_are_not_known_are_looked_at_from_the_embedding_on(name: str, change: Any) -> None:
    assert isinstance(Unknown(), Degradation)
    plain, model = toy_model(), toy_model(image=change)
    inputs = {"image": pixels(8).float(), "text": IDS}
    found = m2ib.explain(model, **inputs, method=name)["image"].grid
    sight = Sight(plain, "image", inputs["image"], ("text", IDS))
    if name == "saliency":
        near(found, sight.gradient(-1, sight.at(-1))[0, 1:].norm(dim=-1), 1e-5)
    elif change is dictionary:
        a = sight.at(-1)
        near(
            found,
            integral(lambda z: sight.gradient(-1, z), a * 0, a, "gausslegendre", 50).sum(-1)[0, 1:],
            1e-4,
        )
    else:  # it can be taken out all the same
        near(found, m2ib.explain(plain, **inputs, method=name)["image"].grid, 1e-6)


# Integrated gradients


def integral(
    gradient: Callable[[Tensor], Tensor], start: Tensor, end: Tensor, rule: str, steps: int
) -> Tensor:
    """(end - start) times the mean gradient along the way."""
    if rule == "right":
        ends = torch.linspace(1 / steps, 1, steps, dtype=torch.float32)  # as Captum's are, to seven digits
        points = [(end, 1 / steps) for end in ends.tolist()]
    elif rule == "trapezoid":
        points = [(k / (steps - 1), (0.5 if k in (0, steps - 1) else 1) / (steps - 1)) for k in range(steps)]
    else:
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        points = [((x + 1) / 2, w / 2) for x, w in zip(nodes.tolist(), weights.tolist(), strict=True)]
    total = torch.zeros_like(end)
    for where, weight in points:
        total += weight * gradient(start + where * (end - start))
    return (end - start) * total


@pytest.mark.parametrize(("rule", "steps"), [("right", 7), ("trapezoid", 4), ("gausslegendre", 11)])
def test_integrated_gradients_at_the_input_are_the_loop(case: Case, rule: str, steps: int) -> None:
    model, inputs, modality, sight = case
    exp = m2ib.explain(model, **inputs, method="integrated-gradients", steps=steps, settings={"rule": rule})
    found = exp[modality].grid
    if modality == "text":
        a = sight.at(-1)
        values = integral(lambda z: sight.gradient(-1, z), a * 0, a, rule, steps)[0].sum(-1)
    else:
        values = integral(sight.gradient_at_input, sight.x * 0, sight.x, rule, steps)[0].sum(0)  # (H, W)
        step = len(values) // len(found)
        values = values.unflatten(0, (-1, step)).unflatten(2, (-1, step)).sum((1, 3))
    near(found, values, 1e-6)
    assert exp[modality].unit == "cosine"
    assert exp[modality].additive


@pytest.mark.parametrize(("rule", "layer"), [("right", -1), ("trapezoid", 1), ("gausslegendre", 1)])
def test_integrated_gradients_at_a_layer_are_the_loop(case: Case, rule: str, layer: int) -> None:
    model, inputs, modality, sight = case
    exp = m2ib.explain(
        model,
        **inputs,
        method="integrated-gradients",
        steps=5,
        layer=layer,
        settings={"rule": rule, "at": "layer"},
    )
    a = sight.at(layer)
    rows = sight.rows(layer, integral(lambda z: sight.gradient(layer, z), a * 0, a, rule, 5)).sum(-1)
    near(exp[modality].grid, rows[sight.cells(len(rows))], 1e-6)


def test_the_nib_preset_is_ten_right_steps_at_the_input_of_the_block(case: Case) -> None:
    model, inputs, modality, sight = case
    exp = m2ib.explain(model, **inputs, method="integrated-gradients", preset="nib")
    number = sight.encoder.default_layer - 1
    a = sight.at(number)
    if (
        modality == "text" or model.origin["adapter"] != "photo"
    ):  # blocks of one stream: that is the next one's input
        given: list[Tensor] = []
        block = sight.encoder.layer(number + 1)
        handle = block.module.register_forward_pre_hook(lambda m, args: given.append(block.read(args[0])))
        sight.cosine()
        handle.remove()
        torch.testing.assert_close(given[0], a)
    values = torch.zeros_like(a)
    for k in range(1, 11):
        values += a / 10 * sight.gradient(number, a * (k / 10))
    rows = sight.rows(number, values).sum(-1)
    near(exp[modality].grid, rows[sight.cells(len(rows))], 1e-6)
    assert exp[modality].settings == {
        "at": "layer",
        "layer": number,
        "steps": 10,
        "rule": "right",
        "seed": 0,
        "preset": "nib",
        "target": "similarity",
    }


def test_what_is_given_stands_over_the_preset(toy64: m2ib.Model) -> None:
    exp = m2ib.explain(
        toy64, image=pixels(8), text=IDS, method="integrated-gradients", preset="nib", steps={"text": 4}
    )
    assert (exp["image"].settings["steps"], exp["text"].settings["steps"]) == (10, 4)


def test_the_nib_preset_begins_at_the_embedding_at_the_earliest() -> None:
    model = toy_model(image=lambda e: replace(e, defaults=m2ib.Defaults(layer=-1)))
    exp = m2ib.explain(model, image=pixels(8).float(), text=IDS, method="integrated-gradients", preset="nib")
    assert exp["image"].settings["layer"] == -1


@pytest.mark.parametrize(
    ("case", "steps"),
    [("toy image", 60), ("toy text", 60), ("biased image", 200), ("biased text", 600)],
    indirect=["case"],
)
def test_integrated_gradients_add_up_to_what_the_input_adds(case: Case, steps: int) -> None:
    model, inputs, modality, sight = case
    with torch.no_grad():
        if modality == "text":
            with sight.passing(-1, torch.zeros_like):
                bare = sight.cosine().item()
        else:
            bare = sight.cosine(sight.x * 0).item()
    (other,) = {"image", "text"} - {modality}
    exp = m2ib.explain(model, **inputs, method="integrated-gradients", steps={modality: steps, other: 2})
    assert exp[modality].grid.sum() == pytest.approx(exp.similarity - bare, abs=1e-4)
    assert abs(exp.similarity - bare) > 1e-2


def test_the_baseline_is_what_the_degradation_leaves(toy64: m2ib.Model) -> None:
    grey = replace(toy64.encoder("image"), degradation=Fading(0.7))
    model = replace(toy64, encoders={**toy64.encoders, "image": grey})
    x = pixels(8)
    exp = m2ib.explain(model, image=x, text=IDS, method="integrated-gradients", steps=60)
    sight = Sight(toy64, "image", x, ("text", IDS))
    start = torch.full_like(sight.x, 0.7)
    assert exp["image"].grid.sum() == pytest.approx(exp.similarity - sight.cosine(start).item(), abs=1e-6)
    values = integral(sight.gradient_at_input, start, sight.x, "gausslegendre", 60)[0].sum(0)
    near(exp["image"].grid, values.unflatten(0, (4, 2)).unflatten(2, (4, 2)).sum((1, 3)), 1e-6)


def test_cells_that_cannot_be_hidden_have_no_part(toy64: m2ib.Model) -> None:
    class Half(Fading):
        def hideable(self, layout: m2ib.Layout, grid: tuple[int, ...]) -> Tensor:
            return torch.arange(grid[0])[:, None].expand(grid) < 2

    image = replace(toy64.encoder("image"), degradation=Half())
    model = replace(toy64, encoders={**toy64.encoders, "image": image})
    x = pixels(8)
    sight = Sight(toy64, "image", x, ("text", IDS))
    start = sight.x.clone()
    start[:, :, :4] = 0
    gain = sight.cosine().item() - sight.cosine(start).item()
    for name, given in (("integrated-gradients", {"steps": 60}), ("kernelshap", {"masks": 254})):
        grid = m2ib.explain(model, image=x, text=IDS, method=name, settings=given)["image"].grid
        assert not grid[2:].any()
        assert grid.sum() == pytest.approx(gain, abs=1e-6)
    rise = m2ib.explain(model, image=x, text=IDS, method="rise", settings={"masks": 40})["image"].grid
    assert np.ptp(rise[2:]) < 1e-12
    assert np.ptp(rise[:2]) > 1e-4


def test_captum_says_and_draws_nothing(toy64: m2ib.Model, capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    m2ib.explain(toy64, image=pixels(8), text=IDS, method="integrated-gradients")
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def test_without_captum(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == "captum":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(m2ib.SettingError) as caught:
        m2ib.explain(toy_model(), image=pixels(8).float(), text=IDS, method="integrated-gradients")
    assert str(caught.value) == (
        "method 'integrated-gradients' needs captum.attr, which cannot be imported: pip install 'm2ib[evaluate]'"
    )


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("integrated-gradients", {"steps": 1}, "steps for image: 1 is out of range; it must be >= 2"),
        (
            "integrated-gradients",
            {"rule": "left"},
            "rule for image: 'left' is unknown; it is 'right' or 'trapezoid' or 'gausslegendre'",
        ),
        ("integrated-gradients", {"at": "end"}, "at for image: 'end' is unknown; it is 'input' or 'layer'"),
        (
            "integrated-gradients",
            {"preset": "nip"},
            "preset for image: 'nip' is unknown; did you mean 'nib'? There is nib",
        ),
        (
            "integrated-gradients",
            {"step": 3},
            "settings: 'step' is unknown; did you mean 'steps'? There are at, layer, steps, rule, preset, target, those of the method "
            "'integrated-gradients'",
        ),
        (
            "saliency",
            {"masks": 3},
            "settings: 'masks' is unknown. There are layer, target, those of the method 'saliency'",
        ),
        (
            "gradcam",
            {"beta": 1},
            "settings: 'beta' is unknown. There are layer, target, those of the method 'gradcam'",
        ),
        (
            "saliency",
            {"preset": "nib"},
            "settings: 'preset' is unknown. There are layer, target, those of the method 'saliency'",
        ),
        (
            "gradcam",
            {"layer": 3},
            "layer for image: 3 is out of range; this encoder has the blocks 0 to 2, and -1 for its embedding output "
            "(default 1)",
        ),
    ],
)
def test_gradient_settings_that_cannot_be(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        m2ib.explain(toy_model(), image=pixels(8).float(), text=IDS, method=name, settings=given)
    assert str(caught.value) == message


# Controls


def test_uniform_is_one_everywhere(case: Case) -> None:
    model, inputs, modality, _ = case
    exp = m2ib.explain(model, **inputs, method="uniform")
    assert (exp[modality].grid == 1).all()
    assert exp[modality].grid.shape == m2ib.explain(model, **inputs, steps=1)[modality].grid.shape


def test_random_is_noise_of_the_seed_and_the_input(case: Case) -> None:
    model, inputs, modality, _ = case
    grid = m2ib.explain(model, **inputs, method="random", seed=7)[modality].grid
    content = zlib.crc32(inputs[modality].numpy().tobytes())
    np.testing.assert_array_equal(grid, np.random.default_rng((7, content)).random(grid.shape))
