"""What an adapter does not tell, and what telling it would gain: present where it lacks, absent where it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import m2ib
import m2ib.registry.discovery
from installed import Plugins
from m2ib import Axis, Encoder
from m2ib.registry.discovery import Registered, Registry
from m2ib.registry.specs import AdapterSpec
from m2ib.renderers import ImageRenderer, ValuesRenderer
from m2ib.testing.missing import MissingField, merged, missing_from_encoder, missing_from_spec
from toy import EXAMPLES, toy_model

Install = Callable[..., None]


@pytest.fixture
def install(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install distributions beside those that are there, and look for plugins anew."""

    def add(code: str, *, distribution: str) -> None:
        plugins.add(distribution, code)
        monkeypatch.setattr(m2ib.registry.discovery, "_default", Registry.discover())

    return add


def alien(model: m2ib.Model) -> m2ib.Model:
    """The toy's texts under a name that scenes do not have."""
    encoder = replace(model.encoders["text"], modality="smiles")
    return replace(model, encoders={"image": model.encoders["image"], "smiles": encoder})


def lacks(encoder: Encoder, modality: str = "image", raw: Any = None) -> dict[str, str]:
    """What is not told -> what it would gain, for the toy's encoder in place of its own."""
    model = toy_model(**{modality: lambda _: encoder})
    found = missing_from_encoder(model, modality, EXAMPLES[modality][0] if raw is None else raw)
    assert all(gain.modalities == (modality,) for gain in found)
    return {gain.what: gain.gain for gain in found}


def image(**changes: Any) -> Encoder:
    return replace(toy_model().encoders["image"], **changes)


def text(**changes: Any) -> Encoder:
    return replace(toy_model().encoders["text"], **changes)


def prepared(change: Callable[[m2ib.Item], m2ib.Item], encoder: Encoder) -> Encoder:
    """Its items changed."""
    prepare = encoder.prepare
    assert prepare is not None
    return replace(encoder, prepare=lambda raw, truncate=False: change(prepare(raw)))  # type: ignore[arg-type]


AXES = tuple(Axis(name, "px", tuple((2.0 * n, 2.0 * n + 2) for n in range(4))) for name in ("row", "column"))


def placed(item: m2ib.Item) -> m2ib.Item:
    return replace(item, layout=replace(item.layout, axes=AXES))


def test_an_encoder_that_tells_everything_lacks_nothing() -> None:
    whole = prepared(
        placed,
        image(
            stride=(2, 2),
            reference=lambda: EXAMPLES["image"],
            attention=m2ib.Attention(None),
            examples=lambda: EXAMPLES["image"],
        ),
    )
    assert lacks(whole) == {}


@pytest.mark.parametrize(
    ("bare", "told", "what", "gain"),
    [
        (
            image(),
            image(attention=m2ib.Attention(None)),
            "attention",
            "the methods chefer, grad-eclip and legrad, if its blocks attend",
        ),
        (
            image(tail=None),
            image(),
            "tail",
            "a path of its own from a layer to the embedding; each step of a fit now runs `embed`",
        ),
        (
            image(),
            image(stride=(2, 2)),
            "stride",
            "the settings shifts and smooth, and with them all of the preset sharp",
        ),
        (
            image(),
            image(reference=lambda: EXAMPLES["image"]),
            "reference",
            "the setting standardize without reference inputs of the caller's own",
        ),
        (
            image(),
            prepared(placed, image()),
            "Layout.axes",
            "where cells lie in the raw input's own units, for regions and the metrics iou, pointing and mass-in-region",
        ),
        (
            image(renderer=ValuesRenderer()),
            image(),
            "renderer",
            "maps over the input itself; they are shown as plain values",
        ),
        (
            image(),
            image(examples=lambda: EXAMPLES["image"]),
            "examples",
            "inputs of its own for m2ib check and m2ib.adapt",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_an_encoder_does_not_tell(bare: Encoder, told: Encoder, what: str, gain: str) -> None:
    assert lacks(bare)[what] == gain
    assert what not in lacks(told)


def test_ways_to_hide_token_ids_and_named_tensors() -> None:
    gain = "the methods banzhaf, kernelshap and rise, and the metrics drop, increase, deletion, insertion and roar: {} cannot fade"
    assert lacks(text(degradation=None), "text")["degradation"] == gain.format("token ids")
    assert "degradation" not in lacks(text(), "text")
    assert "degradation" not in lacks(image())  # numbers fade

    def by_name(encoder: Encoder) -> Encoder:
        changed = prepared(lambda item: replace(item, inputs={"pixels": item.inputs}), encoder)  # type: ignore[dict-item]
        return replace(changed, embed=lambda inputs: encoder.embed(inputs["pixels"]))  # type: ignore[index]

    model = toy_model(image=by_name)
    found = {gain.what: gain.gain for gain in missing_from_encoder(model, "image", EXAMPLES["image"][0])}
    assert found["degradation"] == gain.format("several tensors by name")
    assert "stride" not in found  # there is none for named tensors


def test_what_texts_and_grids_that_depend_on_the_layer_cannot_tell() -> None:
    words = lacks(text(), "text")
    assert "stride" not in words
    assert "Layout.axes" not in words
    free = prepared(lambda item: replace(item, layout=replace(item.layout, grid=None, index=None)), image())
    assert "stride" not in lacks(free)
    assert "Layout.axes" in lacks(free)  # those of the finest grid
    assert "Layout.axes" not in lacks(prepared(placed, free))


def test_maps_of_convolutions_lack_no_attention() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2, 2), torch.nn.Conv2d(4, 6, 1))

    def flat(pixels: m2ib.Inputs) -> torch.Tensor:
        out: torch.Tensor = net(pixels)
        return out.mean((2, 3))

    layers = tuple(m2ib.Layer(part, f"{n}", channel_axis=1) for n, part in enumerate(net))
    found = lacks(image(embed=flat, layers=layers, stem=None, tail=None, defaults=m2ib.Defaults(layer=0)))
    assert "attention" not in found
    assert "tail" in found


class Molecule(ImageRenderer):
    name = "molecule"


RENDERER = """
    import m2ib

    def load():
        from test_check_gains import Molecule

        return Molecule()

    @m2ib.hookimpl
    def m2ib_register_renderers(register):
        register(m2ib.RendererSpec("molecule", "atoms", load))
"""


def test_a_renderer_that_no_plugin_registers(install: Install) -> None:
    drawn = image(renderer=Molecule())
    assert lacks(drawn)["RendererSpec"] == (
        "saved explanations that load as they were: no plugin registers the renderer 'molecule', so their maps load as "
        "plain values"
    )
    install(RENDERER, distribution="drawings")
    assert "RendererSpec" not in lacks(drawn)
    install(RENDERER, distribution="etchings")
    assert lacks(drawn)["RendererSpec"] == (
        "saved explanations that load as they were: the renderer 'molecule' is registered by 'drawings' and 'etchings': ask "
        "for 'drawings:molecule' or 'etchings:molecule', so their maps load as plain values"
    )


METHODS = """
    import m2ib

    def load():
        from m2ib.methods import Batch, Method, needs_attention
        return Method(lambda batch, settings: None, refuse=needs_attention)

    def picky():
        from m2ib.methods import Method
        return Method(
            lambda batch, settings: None,
            refuse=lambda encoder: "it takes sounds alone" if encoder.modality != "audio" else None,
        )

    def absent():
        import a_package_that_is_nowhere

    @m2ib.hookimpl
    def m2ib_register_methods(register):
        register(m2ib.MethodSpec("rollout", "attention", load, attention=True))
        register(m2ib.MethodSpec("picky", "sounds", picky))
        register(m2ib.MethodSpec("far", "attention", absent, attention=True))
        register(m2ib.MethodSpec("fog", "hides", picky, hides=True))
"""


def test_methods_of_plugins_are_counted(install: Install) -> None:
    install(METHODS, distribution="more-methods")
    found = lacks(image())
    attending = "the methods chefer, far, grad-eclip, legrad and rollout, if its blocks attend"
    assert found["attention"] == attending
    assert found["method picky"] == "is not defined for it: it takes sounds alone"
    assert "attention" not in lacks(image(attention=m2ib.Attention(None)))
    assert lacks(text(degradation=None), "text")["degradation"].startswith(
        "the methods banzhaf, fog, kernelshap and rise, and the metrics "
    )


def test_what_several_encoders_lack_is_said_once() -> None:
    gains = [
        MissingField(("image",), "tail", "speed"),
        MissingField(("image",), "stride", "more"),
        MissingField(("text",), "tail", "speed"),
    ]
    assert merged(gains) == [
        MissingField(("image", "text"), "tail", "speed"),
        MissingField(("image",), "stride", "more"),
    ]


def registered(load: Callable[..., Any], **told: Any) -> Registered[AdapterSpec]:
    spec = m2ib.AdapterSpec("toy", "small", ("image", "text"), load, **told)
    return Registered(spec, "toy-adapter")


def plain(*, checkpoint: Any = None, device: Any, dtype: Any) -> None:
    """No options of its own."""


def optioned(*, checkpoint: Any = None, device: Any, dtype: Any, size: int = 8, depth: int = 2) -> None:
    """Two options."""


def open_ended(**options: Any) -> None:
    """Nobody knows."""


def unsaid(
    info: Registered[AdapterSpec], model: m2ib.Model | None = None, **raws: Sequence[Any]
) -> dict[str, str]:
    """What is not told -> what it would gain, for what an adapter is registered with."""
    found = missing_from_spec(info, model or toy_model(), {**EXAMPLES, **raws})
    assert all(gain.modalities == ("adapter",) for gain in found)
    return {gain.what: gain.gain for gain in found}


def test_what_it_opens() -> None:
    seen = "AdapterSpec.can"
    gain = "checkpoints that m2ib adapters --can and load_model('auto', ...) find it for"
    assert unsaid(registered(plain))[seen] == gain
    assert seen not in unsaid(registered(plain, can=lambda checkpoint, **options: None))


def test_options_that_are_not_named() -> None:
    seen = "AdapterSpec.options"
    assert unsaid(registered(optioned))[seen] == ("a hint where one is misspelt: options=('size', 'depth')")
    assert seen not in unsaid(registered(optioned, options=("size", "depth")))
    assert unsaid(registered(optioned, options=("size",)))[seen] == (
        "the use of depth: an option that is not named is refused"
    )
    assert seen not in unsaid(registered(plain))
    assert unsaid(registered(open_ended))[seen] == (
        "a hint where one is misspelt, if load takes options of its own; none are named"
    )
    assert seen not in unsaid(registered(open_ended, options=("size",)))


def test_attention_that_is_not_told() -> None:
    seen = "AdapterSpec.attention"
    showing = toy_model(text=lambda e: replace(e, attention=m2ib.Attention(None)))
    assert unsaid(registered(plain), showing)[seen] == (
        "methods that read attention refused before anything is loaded: attention=('text',)"
    )
    assert seen not in unsaid(registered(plain, attention=("text",)), showing)
    assert seen not in unsaid(registered(plain, attention=("image", "text")), showing)  # it may
    assert unsaid(registered(plain, attention=("image",)), showing)[seen] == (
        "methods that read attention for text: it leaves out what the encoders show, so they are refused; "
        "attention=('text',)"
    )


def test_presets_that_are_not_told() -> None:
    seen = "AdapterSpec.presets"
    bringing = toy_model(image=lambda e: replace(e, presets={"sharp": {}, "fine": {"steps": 5}}))
    assert seen not in unsaid(registered(plain), bringing)
    assert seen not in unsaid(registered(plain, presets=("fine",)), bringing)
    assert unsaid(registered(plain, presets=()), bringing)[seen] == (
        "the presets fine: they are left out, and so refused before anything is loaded; presets=('fine',)"
    )


def test_inputs_that_are_written_out(tmp_path: Path) -> None:
    seen = "AdapterSpec.inline"
    file = tmp_path / "CCO"
    model = alien(toy_model())
    words = {"smiles": ["CCO", "C1=CC=CC=C1"]}
    assert unsaid(registered(plain), model, **words)[seen] == (
        "tables of pairs with smiles written out, which are now taken for paths of files: inline=('text', 'smiles')"
    )
    assert seen not in unsaid(registered(plain, inline=("text", "smiles")), model, **words)
    file.write_text("a molecule", encoding="utf-8")
    assert seen not in unsaid(registered(plain), model, smiles=[str(file)])
    assert seen not in unsaid(registered(plain))  # arrays, and texts, which are inline
