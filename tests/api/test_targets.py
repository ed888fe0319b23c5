"""Ensembles and given embeddings as targets, against what the model itself gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

import m2ib
from late import late_model
from m2ib.cli import main
from naive import capacity
from tiny_clip import END, START

IDS = [torch.tensor([START, *inner, END]) for inner in ((5, 60, 7), (8, 9), (41, 3, 22, 17))]
FEW: Any = {"steps": 2, "samples": 2}
PHOTO = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def pixels(seed: int = 1) -> Tensor:
    return torch.randn(3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Full:
    """The tiny CLIP's own calls."""

    def __init__(self, model: m2ib.Model) -> None:
        self.module: Any = model.module

    def image(self, image: Tensor) -> Tensor:
        return self.module.get_image_features(pixel_values=image[None]).pooler_output

    @torch.no_grad()
    def texts(self, *texts: Tensor) -> Tensor:
        """(1, D) the unit mean of unit embeddings."""
        found = [self.module.get_text_features(input_ids=ids[None]).pooler_output for ids in texts]
        return normalize(torch.cat([normalize(each, dim=-1) for each in found]).mean(0, keepdim=True), dim=-1)

    def map_of(self, image: Tensor, target: Tensor) -> np.ndarray:
        block = self.module.vision_model.encoder.layers[1]
        found = capacity(lambda: self.image(image), block, target, beta=0.1, variance=1.0)
        return found[1:].detach().numpy()


def close(grid: np.ndarray | None, expected: np.ndarray) -> None:
    assert grid is not None
    assert np.abs(grid.reshape(-1) - expected.reshape(-1)).max() <= 1e-9 * np.abs(expected).max()


def test_an_ensemble_is_the_mean_of_unit_embeddings(clip64: m2ib.Model) -> None:
    full, image = Full(clip64), pixels()
    exp = m2ib.explain(clip64, image=image, text=m2ib.ensemble(*IDS), layer=1)
    target = full.texts(*IDS)
    close(exp["image"].grid, full.map_of(image, target))
    assert exp.similarity == pytest.approx(cosine_similarity(full.image(image), target).item(), abs=1e-12)
    alone = m2ib.explain(clip64, image=image, text=IDS[0], layer=1)
    assert np.array_equal(exp["text"].grid, alone["text"].grid)  # the first one's own
    assert abs(exp.similarity - alone.similarity) > 1e-3
    assert exp["text"].origin["ensemble"] == [alone["text"].view["text"], *exp["text"].origin["ensemble"][1:]]
    assert len(exp["text"].origin["ensemble"]) == 3
    assert "ensemble" not in exp["image"].origin


def test_a_contrast_of_ensembles(clip64: m2ib.Model) -> None:
    full, image = Full(clip64), pixels()
    two, one = m2ib.ensemble(IDS[:2]), IDS[2]
    for this, other, target in (
        (two, one, full.texts(*IDS[:2]) - full.texts(one)),
        (one, two, full.texts(one) - full.texts(*IDS[:2])),
    ):
        exp = m2ib.explain(clip64, image=image, text=m2ib.contrast(this, other), layer=1)
        close(exp["image"].grid, full.map_of(image, target))
        close(exp["image"].against, full.map_of(image, -target))
        assert exp.similarity == pytest.approx(cosine_similarity(full.image(image), target).item(), abs=1e-12)


def test_targets_in_batches_are_those_one_by_one(clip64: m2ib.Model) -> None:
    pairs = [
        {"image": pixels(n), "text": text}
        for n, text in enumerate(
            (
                m2ib.ensemble(*IDS),
                IDS[0],
                m2ib.ensemble(IDS[0], IDS[2]),
                m2ib.embedding(np.arange(1, 17)),
                IDS[0],
            )
        )
    ]
    for exp, pair in zip(m2ib.explain_many(clip64, pairs, **FEW), pairs, strict=True):
        alone = m2ib.explain(clip64, **pair, **FEW)
        assert exp.similarity == pytest.approx(alone.similarity, abs=1e-12)
        close(exp["image"].grid, alone["image"].grid)


def test_an_ensemble_of_one_is_the_one(clip64: m2ib.Model) -> None:
    exp = m2ib.explain(clip64, image=pixels(), text=m2ib.ensemble(IDS[0]), **FEW)
    assert exp.similarity == m2ib.explain(clip64, image=pixels(), text=IDS[0], **FEW).similarity
    assert "ensemble" not in exp["text"].origin


def test_images_and_both_sides_can_be_ensembles(clip64: m2ib.Model) -> None:
    exp = m2ib.explain(
        clip64, image=m2ib.ensemble(pixels(1), pixels(2)), text=m2ib.ensemble(*IDS[:2]), layer=1
    )
    full = Full(clip64)
    with torch.no_grad():
        images = normalize(
            torch.cat([normalize(full.image(pixels(n)), dim=-1) for n in (1, 2)]).mean(0), dim=0
        )
    close(exp["image"].grid, full.map_of(pixels(1), full.texts(*IDS[:2])))
    assert exp.similarity == pytest.approx(float(images @ full.texts(*IDS[:2])[0]), abs=1e-12)


def test_the_page_of_an_ensemble_says_what_it_is(clip64: m2ib.Model, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(PHOTO).save(tmp_path / name)
    files = m2ib.ensemble(tmp_path / "a.png", tmp_path / "b.png")
    exp = m2ib.explain(clip64, image=files, text=m2ib.contrast(m2ib.ensemble(*IDS[:2]), IDS[2]), **FEW)
    exp = m2ib.load_explanation(exp.save(tmp_path / "kept"))
    page = exp.to_html(tmp_path / "page.html").read_text()
    assert (
        "the first of 2 inputs that are one target, the mean of their unit embeddings: <q>a.png</q>, <q>b.png</q>. The "
        "map here explains <q>a.png</q> alone" in page
    )
    first, second = exp["text"].origin["ensemble"]
    assert f"for <q>the mean of {first}, {second}</q>, rather than <q>" in page
    assert f"The map here explains <q>{first}</q> alone; the difference is on the other side" in page
    figure = exp.figure()
    image, text = (axes.get_title() for axes in figure.axes if axes.get_title())
    assert image.endswith("\nof a.png, the first of 2")
    assert text.endswith(
        f"\nthe mean of {first}, {second}\nrather than {exp['text'].origin['rather_than'][0]}"
    )
    assert figure.get_suptitle().endswith(" to the difference")


def test_warnings_of_all_members_are_shown(clip64: m2ib.Model) -> None:
    dark = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3) % 9
    with pytest.warns(m2ib.M2IBWarning, match="nearly black"):
        exp = m2ib.explain(clip64, image=m2ib.ensemble(PHOTO, dark), text=IDS[0], **FEW)
    assert len(exp["image"].origin["warnings"]) == 1
    with pytest.warns(m2ib.M2IBWarning, match="nearly black"):
        exp = m2ib.explain(clip64, image=m2ib.contrast(PHOTO, dark), text=IDS[0], **FEW)
    assert len(exp["image"].origin["warnings"]) == 1


@pytest.mark.parametrize("method", ["m2ib", "gradcam", "rise", "chefer"])
def test_an_embedding_stands_for_the_input_that_has_it(clip64: m2ib.Model, method: str) -> None:
    image = pixels()
    vector = clip64.module.get_text_features(input_ids=IDS[0][None]).pooler_output[0]  # with its graph
    more: Any = {"masks": 8} if method == "rise" else FEW if method == "m2ib" else {}
    known = m2ib.explain(clip64, image=image, text=IDS[0], method=method, **more)
    for given in (vector, 7 * vector, vector.detach().numpy(), vector.tolist(), vector[None]):
        exp = m2ib.explain(clip64, image=image, text=m2ib.embedding(given), method=method, **more)
        assert exp.similarity == pytest.approx(known.similarity, abs=1e-12)
        close(exp["image"].grid, known["image"].grid)
        assert exp.modalities == ("image", "text")
    with_image = m2ib.explain(
        clip64, ("image", image), ("image", m2ib.embedding(vector)), method=method, **more
    )
    close(with_image[0].grid, known["image"].grid)
    first = m2ib.explain(clip64, text=m2ib.embedding(vector), image=image, method=method, **more)
    close(first["image"].grid, known["image"].grid)


def test_an_embedding_has_no_map_and_is_kept(clip64: m2ib.Model, tmp_path: Path) -> None:
    vector = np.random.default_rng(0).normal(size=16)
    exp = m2ib.explain(clip64, image=PHOTO, text=m2ib.embedding(vector), layer={"image": 1}, **FEW)
    exp = m2ib.load_explanation(exp.save(tmp_path / "kept"))
    given = exp["text"]
    assert given.grid.shape == given.scores.shape == (0,)
    assert given.words == []
    assert given.settings == {}
    assert given.origin == {"source": "embedding", "size": 16}
    assert np.array_equal(given.view.vector, vector)
    assert (
        "an embedding of 16 numbers, given in place of an input; it has no map"
        in exp.to_html(tmp_path / "page.html").read_text()
    )
    exp.figure().savefig(tmp_path / "figure.png")
    assert "grid=(0,)" in repr(exp)


def test_a_contrast_against_an_embedding(clip64: m2ib.Model, tmp_path: Path) -> None:
    exp = m2ib.explain(
        clip64, image=m2ib.embedding(np.arange(1, 17)), text=m2ib.contrast(IDS[0], IDS[1]), **FEW
    )
    alone = m2ib.explain(clip64, image=m2ib.embedding(np.arange(1, 17)), text=IDS[0], **FEW)
    assert np.array_equal(exp["text"].grid, alone["text"].grid)
    exp.to_html(tmp_path / "page.html")


def test_what_is_no_target(clip64: m2ib.Model) -> None:
    def said(make: Any) -> str:
        with pytest.raises(m2ib.InputError) as caught:
            make()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    vector = m2ib.embedding(np.arange(1, 17))
    assert said(lambda: m2ib.embedding(np.ones((3, 16)))) == "embedding: give one vector (D,), not (3, 16)"
    assert said(lambda: m2ib.embedding(3.0)) == "embedding: give one vector (D,), not ()"
    assert said(lambda: m2ib.embedding([])) == "embedding: give one vector (D,), not (0,)"
    assert said(lambda: m2ib.embedding([1, np.nan])) == "embedding: the vector holds NaN or infinite values"
    assert said(lambda: m2ib.embedding(np.zeros(16))) == "embedding: the vector is 0, and points nowhere"
    for strange, kind in (
        ("a cat", "str"),
        (["a"], "list"),
        (np.ones(16) * (1 + 1j), "ndarray"),
        (None, "NoneType"),
    ):
        start = f"embedding: give the real numbers of one vector, not a {kind}: "
        assert said(lambda given=strange: m2ib.embedding(given)).startswith(start)
    assert said(lambda: m2ib.explain(clip64, image=pixels(), text=m2ib.embedding(np.ones(512)))) == (
        "embedding: the embedding of image has 16 numbers, that of text 512; give one out of the model's own space"
    )
    assert said(lambda: m2ib.explain(clip64, image=vector, text=vector)).startswith(
        "explain: one side of a pair can be an embedding, not both"
    )
    assert said(lambda: m2ib.explain(clip64, image=pixels(), audio=vector)).startswith(
        "model 'clip' takes no 'audio'"
    )
    assert said(m2ib.ensemble) == "ensemble: give inputs, as in ensemble('a cat', 'a photo of a cat')"
    assert said(lambda: m2ib.ensemble(IDS[0], vector)).startswith("explain: embedding() is no input here")
    assert said(lambda: m2ib.ensemble(m2ib.ensemble(IDS[0]))).startswith(
        "explain: ensemble() is no input here"
    )
    nested = m2ib.contrast(m2ib.contrast(IDS[0], IDS[1]), IDS[2])
    assert said(lambda: m2ib.explain(clip64, image=pixels(), text=nested)).startswith(
        "explain: contrast() is no input"
    )
    with pytest.raises(m2ib.InputError, match=r"^image '/none.png' does not exist"):
        m2ib.explain(clip64, image=m2ib.ensemble(PHOTO, "/none.png"), text=IDS[0])


def test_an_ensemble_whose_members_cancel_out() -> None:
    from m2ib.contract.targets import _mean

    with pytest.raises(
        m2ib.InputError, match=r"^ensemble: the embeddings of the text inputs cancel each other out$"
    ):
        _mean([torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])], "text")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    few = [
        "steps=1",
        "samples=1",
        "options.size=64",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
        "--force",
    ]
    words = ["explain", "--image", str(tmp_path / "a.png"), "--text", "a cat", "--also", "a photo of a cat"]
    assert main([*words, "--also", "my cat", "--against", "a dog", *few]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    origin = manifest["attributions"][1]["origin"]
    assert origin["ensemble"] == ["a cat", "a photo of a cat", "my cat"]
    assert origin["rather_than"] == ["a dog"]
    assert main(["explain", "--also", "a cat", *few]) == 2
    assert "--also follows the input it belongs to, as in --text 'a cat' --also" in capsys.readouterr().err
    (tmp_path / "a.yaml").write_text(
        f"inputs: [{{image: {tmp_path}/a.png}}, {{text: a cat, also: [my cat]}}]"
    )
    assert main(["explain", "--config", str(tmp_path / "a.yaml"), *few]) == 0
    (tmp_path / "b.yaml").write_text(f"inputs: {{image: {tmp_path}/a.png, text: a cat, also: [my cat]}}")
    assert main(["explain", "--config", str(tmp_path / "b.yaml"), *few]) == 2
    assert "'also' stands beside one input, so write a list" in capsys.readouterr().err


@pytest.mark.parametrize("factor", [1e-300, 1e-13, 1e20, 1e300])
def test_a_given_embedding_has_a_direction_alone(clip64: m2ib.Model, factor: float) -> None:
    """Far from 1 its cosine was wrong without a word."""
    pixels = torch.randn(3, 32, 32, dtype=torch.float64)
    vector = torch.randn(16, dtype=torch.float64)
    plain, scaled = (
        m2ib.explain(clip64, image=pixels, text=m2ib.embedding(each)) for each in (vector, vector * factor)
    )
    assert scaled.similarity == pytest.approx(plain.similarity, abs=1e-9)
    np.testing.assert_allclose(scaled["image"].grid, plain["image"].grid, rtol=1e-6)


def usual_of(full: Full, *texts: Tensor) -> Tensor:
    """(D,) the mean of unit embeddings, not of length 1."""
    return torch.cat([full.texts(each) for each in texts]).mean(0)


def test_centred_takes_off_the_mean_of_usual_embeddings(clip64: m2ib.Model) -> None:
    full, image = Full(clip64), pixels()
    options: Any = {"layer": 1, "reference": {"text": IDS[1:]}}
    exp = m2ib.explain(clip64, image=image, text=IDS[0], target={"image": "centred"}, **options)
    close(exp["image"].grid, full.map_of(image, full.texts(IDS[0]) - usual_of(full, *IDS[1:])))
    plain = m2ib.explain(clip64, image=image, text=IDS[0], **options)
    assert np.array_equal(exp["text"].grid, plain["text"].grid)
    assert exp.similarity == plain.similarity
    assert [each.settings["target"] for each in exp] == ["centred", "similarity"]
    of_contrast = m2ib.explain(
        clip64, image=image, text=m2ib.contrast(*IDS[:2]), target={"image": "centred"}, **options
    )
    close(of_contrast["image"].grid, full.map_of(image, full.texts(IDS[0]) - full.texts(IDS[1])))


def test_an_adapter_may_have_a_target_of_its_own(clip64: m2ib.Model) -> None:
    image = clip64.encoders["image"]
    other = replace(image, defaults=replace(image.defaults, target="centred"))
    model = replace(clip64, encoders={**clip64.encoders, "image": other})
    options: Any = {"layer": 1, "reference": {"text": IDS[1:]}, **FEW}
    found = m2ib.explain(model, image=pixels(), text=IDS[0], **options)
    asked = m2ib.explain(clip64, image=pixels(), text=IDS[0], target={"image": "centred"}, **options)
    assert np.array_equal(found["image"].grid, asked["image"].grid)
    plain = m2ib.explain(model, image=pixels(), text=IDS[0], target="similarity", **options)
    assert not np.array_equal(plain["image"].grid, found["image"].grid)


def test_centred_where_similarities_are_of_sets() -> None:
    model = late_model()
    photo = torch.zeros(1, 16, 16, dtype=torch.float64)
    photo[:, 8:12, 4:8] = 1
    photo[:, :4] = 0.5
    ids, usual = torch.tensor([1, 2, 3]), [torch.tensor([1, 3]), torch.tensor([3, 2])]
    target = m2ib.explain(
        model, image=photo, text=ids, target={"image": "centred"}, reference={"text": usual}, **FEW
    )
    by_hand = m2ib.explain(model, image=photo, text=m2ib.contrast(ids, *usual), **FEW)
    close(target["image"].grid, by_hand["image"].grid)


def test_a_function_of_a_callers_own_is_explained(clip64: m2ib.Model) -> None:
    def likeness(embeddings: Tensor, other: Tensor) -> Tensor:
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(len(embeddings)).to(embeddings))
        return (embeddings * other).sum(-1)

    exp = m2ib.explain(clip64, image=pixels(), text=IDS[0], layer=1, target=likeness)
    plain = m2ib.explain(clip64, image=pixels(), text=IDS[0], layer=1)
    for one, other in zip(exp, plain, strict=True):
        close(one.grid, other.grid)
        assert one.settings["target"] == "likeness"
    twice = m2ib.explain(
        clip64, image=pixels(), text=IDS[0], layer=1, target=lambda own, other: -likeness(own, other)
    )
    against = m2ib.explain(clip64, image=pixels(), text=IDS[0], layer=1, signed=True)
    for one, other in zip(twice, against, strict=True):
        close(one.grid, other.against)


def test_a_contrast_may_be_given_as_the_target(clip64: m2ib.Model) -> None:
    for target in (m2ib.contrast(*IDS[:2]), m2ib.ensemble(*IDS[:2])):
        one = m2ib.explain(clip64, image=PHOTO, text=IDS[0], target=target, layer=1, **FEW)
        other = m2ib.explain(clip64, image=PHOTO, text=target, layer=1, **FEW)
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a.grid, b.grid)


def test_null_is_the_same_map_against_others(clip64: m2ib.Model) -> None:
    full, image = Full(clip64), pixels()
    reference = {
        "text": IDS,
        "image": [pixels(2), pixels(3), pixels(4)],
    }  # of the texts one is the pair's own
    exp = m2ib.explain(clip64, image=image, text=IDS[0], layer=1, reference=reference, null=3)
    plain = m2ib.explain(clip64, image=image, text=IDS[0], layer=1)
    for one, other in zip(exp, plain, strict=True):
        assert np.array_equal(one.grid, other.grid)
    null = exp["image"].null
    assert null is not None
    maps = np.stack([full.map_of(image, full.texts(each)) for each in IDS[1:]])
    close(null.mean, maps.mean(0))
    close(null.deviation, maps.std(0, ddof=1))
    cosines = [cosine_similarity(full.image(image), full.texts(each)).item() for each in IDS[1:]]
    assert null.similarities == pytest.approx(cosines, abs=1e-12)
    assert null.similarity == pytest.approx(exp.similarity, abs=1e-12)
    assert exp["text"].null is not None
    assert len(exp["text"].null.similarities) == 3


def test_an_input_is_embedded_once_whatever_the_number_of_others(clip64: m2ib.Model) -> None:
    rows: list[int] = []
    reference = {"text": IDS, "image": [pixels(2), pixels(3), pixels(4)]}
    vision: Any = clip64.module.get_submodule("vision_model")
    seen = vision.register_forward_hook(lambda module, given, out: rows.append(len(out[0])))
    found = []
    for others in (2, 3):
        rows.clear()
        m2ib.explain(clip64, image=pixels(), text=IDS[0], method="uniform", reference=reference, null=others)
        found.append(sum(rows))
    seen.remove()
    assert found[0] == found[1] > 0


def test_null_is_the_same_alone_and_in_a_batch(clip64: m2ib.Model) -> None:
    options: Any = {
        "layer": 1,
        "reference": {"text": IDS[1:], "image": [pixels(2), pixels(3)]},
        "null": 2,
        **FEW,
    }
    pairs = [{"image": pixels(n), "text": text} for n, text in ((5, IDS[0]), (6, IDS[2]), (7, IDS[0]))]
    with pytest.raises(
        m2ib.InputError, match="null for text: of 2 reference inputs 1 are not the pair's own; give others"
    ):
        list(m2ib.explain_many(clip64, pairs, **options))
    options["reference"]["text"] = [*IDS, torch.tensor([START, 11, END])]
    for pair, found in zip(pairs, m2ib.explain_many(clip64, pairs, **options), strict=True):
        alone = m2ib.explain(clip64, **pair, **options)
        for one, other in zip(found, alone, strict=True):
            assert one.null is not None
            assert other.null is not None
            close(one.null.mean, other.null.mean)
            assert one.null.similarities == pytest.approx(other.null.similarities, abs=1e-12)


def test_null_of_a_contrast_and_of_what_is_centred(clip64: m2ib.Model) -> None:
    full, image = Full(clip64), pixels()
    reference = {"text": [*IDS[1:]]}
    exp = m2ib.explain(
        clip64,
        ("image", image),
        ("text", IDS[0]),
        layer=1,
        target={"image": "centred"},
        reference=reference,
        null=0,
    )
    assert exp["image"].null is None
    options: Any = {"layer": 1, "reference": {**reference, "image": [pixels(2), pixels(3)]}, "null": 2}
    centred = m2ib.explain(clip64, image=image, text=IDS[0], target={"image": "centred"}, **options)
    usual = usual_of(full, *IDS[1:])
    maps = [full.map_of(image, full.texts(each) - usual) for each in IDS[1:]]
    assert centred["image"].null is not None
    close(centred["image"].null.mean, np.mean(maps, axis=0))
    third = torch.tensor([START, 11, END])
    against = m2ib.explain(clip64, image=image, text=m2ib.contrast(IDS[0], third), **options)
    maps = [full.map_of(image, full.texts(each) - full.texts(third)) for each in IDS[1:]]
    assert against["image"].null is not None
    close(against["image"].null.mean, np.mean(maps, axis=0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "centerd"}, "target for image: 'centerd' is unknown; did you mean 'centred'"),
        ({"target": 3}, "target for image: 3 is unknown. It is 'similarity' or 'centred'"),
        ({"target": {"sound": "centred"}}, "target: 'sound' is not a modality of this explanation"),
        (
            {"target": "centred"},
            "target='centred' for text: this model brings no reference inputs; give some",
        ),
        ({"null": 4}, "null=4 for text: this model brings no reference inputs"),
        ({"null": 1}, "null: 1 is not possible; give how many other inputs, from 2 to 32"),
        ({"null": True}, "null: True is not possible"),
        ({"signed": True, "method": "rise"}, "signed: the method 'rise' does not tell what speaks against"),
        (
            {"target": m2ib.contrast("a dog", "a cat")},
            "target: a contrast begins with one of the two inputs, as .* 'a dog' is neither of them",
        ),
    ],
)
def test_targets_that_cannot_be_had(clip64: m2ib.Model, options: dict[str, Any], said: str) -> None:
    with pytest.raises(m2ib.M2IBError, match=said):
        m2ib.explain(clip64, image=PHOTO, text="a cat", **options)


def test_what_speaks_against_is_looked_for_where_it_is_asked_for(clip64: m2ib.Model) -> None:
    full, image = Full(clip64), pixels()
    exp = m2ib.explain(clip64, image=image, text=IDS[0], layer=1, signed=True)
    close(exp["image"].against, full.map_of(image, -full.texts(IDS[0])))
    assert exp["text"].against is not None
    by_sign = m2ib.explain(clip64, image=image, text=IDS[0], method="integrated-gradients", signed=True)
    assert by_sign["image"].against is None
    assert (by_sign["image"].grid < 0).any()
