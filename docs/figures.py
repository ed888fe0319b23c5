"""The pictures of these pages: one drawn scene, asked about in several ways.

    python docs/figures.py [folder]

It writes PNG files into ``docs/figures``, or into the folder, and prints their names. It takes seconds, and no download:
the model is imagebind-tiny, the scene one of ``m2ib.scenes``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import m2ib
from m2ib.scenes import Scene, query, scene

SEED, ASKED, OTHER = 13, "frog", "clock"  # a cat, a clock and a frog
METHODS = ("m2ib", "gradcam", "saliency", "integrated-gradients", "rise", "chefer", "grad-eclip", "legrad")


def maps(model: m2ib.Model, made: Scene, asked: str = ASKED, **settings: object) -> m2ib.Attribution:
    """The map of the scene's picture, asked for one of its objects."""
    options = {"show_progress": False, **settings}
    return m2ib.explain(model, image=made.image, text=query(asked), **options)["image"]  # type: ignore[arg-type]


def row(count: int) -> tuple[Figure, Sequence[Axes]]:
    """A row of square panels."""
    figure = Figure(figsize=(2.2 * count, 2.4), dpi=130, layout="constrained")
    panels = figure.subplots(1, count)
    for panel in panels:
        panel.set_axis_off()
    return figure, panels


def show(panel: Axes, made: Scene, found: m2ib.Attribution | None, title: str, asked: str = ASKED) -> None:
    """The picture, a map over it, and the outline of what was asked for."""
    height, width = made.image.shape[:2]
    grey = made.image.mean(-1)
    if found is None:
        panel.imshow(made.image)
    else:
        panel.imshow(grey, cmap="gray", vmin=-40, vmax=300)
        strength = 0.15 + 0.75 * found.scores  # faint where there is little
        panel.imshow(
            found.scores, cmap="inferno", alpha=strength, extent=(-0.5, width - 0.5, height - 0.5, -0.5)
        )
    panel.contour(made.masks["image"][asked], levels=[0.5], colors="#3fe6ff", linewidths=1)
    panel.set_title(title, fontsize=9)


def draw_scene(model: m2ib.Model, made: Scene) -> Figure:
    figure, panels = row(4)
    show(panels[0], made, None, "the scene")
    show(panels[1], made, maps(model, made), f"a {ASKED}")
    show(panels[2], made, maps(model, made, OTHER), f"a {OTHER}", OTHER)
    both = m2ib.explain(
        model, image=made.image, text=m2ib.contrast(query(ASKED), query(OTHER)), show_progress=False
    )
    show(panels[3], made, both["image"], f"a {ASKED} rather than a {OTHER}")
    return figure


def draw_beta(model: m2ib.Model, made: Scene) -> Figure:
    betas = (0.01, 0.1, 1, 10)
    figure, panels = row(len(betas))
    for panel, beta in zip(panels, betas, strict=True):
        found = maps(model, made, beta={"image": beta}, steps=20)
        show(panel, made, found, f"beta {beta:g}: {found.grid.sum():,.0f} nats")
    return figure


def draw_layers(model: m2ib.Model, made: Scene) -> Figure:
    layers = range(-1, len(model.encoder("image").blocks) - 1)
    figure, panels = row(len(layers))
    for panel, layer in zip(panels, layers, strict=True):
        where = "what enters block 0" if layer < 0 else f"after block {layer}"
        show(panel, made, maps(model, made, layer={"image": layer}), f"layer {layer}, {where}")
    return figure


def draw_curve(model: m2ib.Model, made: Scene) -> Figure:
    curve = maps(model, made, steps=40).curve
    assert curve is not None
    figure = Figure(figsize=(7, 2.8), dpi=130, layout="constrained")
    left = figure.subplots()
    right = left.twinx()
    passes = np.arange(1, len(curve.fit) + 1)
    left.plot(passes, curve.fit, color="#9a4a00", label="fit: cosine with the target")
    right.plot(passes, curve.information, color="#00707f", label="information: nats per number")
    left.axvline(10, color="#999999", linewidth=1, linestyle=":")
    left.set(xlabel="forward pass (10 are made by default)", ylabel="fit", ylim=(0, 1))
    right.set(ylabel="information")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


def draw_sharp(model: m2ib.Model, made: Scene) -> Figure:
    figure, panels = row(4)
    for panel, (title, settings) in zip(
        panels,
        {
            "the paper's method": {},
            'granularity="token"': {"granularity": "token"},
            "standardize=True": {"standardize": {"image": True}},
            'preset="sharp"': {"preset": "sharp"},
        }.items(),
        strict=True,
    ):
        show(panel, made, maps(model, made, **settings), title)
    return figure


def draw_methods(model: m2ib.Model, made: Scene) -> Figure:
    figure = Figure(figsize=(9, 5), dpi=130, layout="constrained")
    for panel, method in zip(figure.subplots(2, 4).flat, METHODS, strict=True):
        panel.set_axis_off()
        fewer = {"masks": 256} if method == "rise" else {}  # as the benchmark has it
        show(panel, made, maps(model, made, method=method, **fewer), method)
    return figure


def draw_sound(model: m2ib.Model, made: Scene) -> Figure:
    explanation = m2ib.explain(
        model, audio=made.audio, text=query(ASKED), preset={"audio": "sharp"}, show_progress=False
    )
    outlined = explanation.with_regions(made.masks["audio"], made.axes["audio"], at="audio", highlight=ASKED)
    figure = Figure(figsize=(7, 3), dpi=130, layout="constrained")
    panel = figure.subplots()
    outlined["audio"].renderer.draw(outlined["audio"], panel)
    return figure


def draw_links(model: m2ib.Model, made: Scene) -> Figure:
    explanation = m2ib.explain(
        model, image=made.image, text=made.text, interactions=True, show_progress=False
    )
    return explanation.figure()


FIGURES: dict[str, Callable[[m2ib.Model, Scene], Figure]] = {
    "scene.png": draw_scene,
    "beta.png": draw_beta,
    "layers.png": draw_layers,
    "curve.png": draw_curve,
    "sharp.png": draw_sharp,
    "methods.png": draw_methods,
    "sound.png": draw_sound,
    "links.png": draw_links,
}


def main(folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    model, made = m2ib.load_model("imagebind-tiny", device="cpu"), scene(SEED)
    for name, draw in FIGURES.items():
        draw(model, made).savefig(folder / name, metadata={"Software": None})
        print(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("figures"))
