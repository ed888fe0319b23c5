"""The number that is explained: cosine, MaxSim of sets of vectors, or anything of two embeddings."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
import naive
from late import CELLS, PATCH, WORD, WORDS, late_model, white
from m2ib.contract.similarity import COSINE, MAXSIM, joined, mean_maxsim, present
from m2ib.contract.targets import Targets
from m2ib.errors import AdapterError, InputError
from tiny_clip import END, START

TEXT = " ".join(WORDS)
METHODS = {"m2ib": {}, "gradcam": {}, "integrated-gradients": {}, "rise": {"masks": 400}, "kernelshap": {}}


def sets(*lengths: int, seed: int = 0) -> list[Tensor]:
    """(K, 5) each."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, 5, dtype=torch.float64, generator=generator) for length in lengths]


def filled(each: list[Tensor]) -> Tensor:
    return joined([one[None] for one in each])


def test_maxsim_is_that_of_a_loop_over_vectors() -> None:
    queries, documents = sets(3, 1, 4), sets(2, 6, 3, seed=1)
    found = mean_maxsim(filled(queries), filled(documents))
    expected = [naive.maxsim(*pair).item() for pair in zip(queries, documents, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert present(filled(queries)).sum(1).tolist() == [3, 1, 4]


def test_a_document_whose_products_are_all_negative_is_not_closer_for_what_fills_it_up() -> None:
    query, document = torch.ones(1, 1, 2), -torch.ones(1, 1, 2)
    assert mean_maxsim(query, torch.nn.functional.pad(document, (0, 0, 0, 3))).item() == -2


def test_an_input_without_vectors_is_close_to_nothing() -> None:
    nothing, some = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    for pair in ((nothing, some), (some, nothing)):
        pair = tuple(each.clone().requires_grad_() for each in pair)
        close = mean_maxsim(*pair)
        assert close.item() == 0
        close.sum().backward()
        assert all(torch.isfinite(each.grad).all() for each in pair)


@pytest.mark.parametrize("method", METHODS)
def test_one_word_that_matches_one_patch_is_where_every_map_has_its_peak(method: str) -> None:
    explanation = m2ib.explain(
        late_model(), image=white(), text=TEXT, method=method, settings=METHODS[method], show_progress=False
    )
    assert explanation["image"].grid.shape == (CELLS, CELLS)
    assert explanation["image"].grid.argmax() == PATCH
    assert explanation["text"].grid.argmax() == WORD


def test_both_orders_of_a_pair_ask_the_same_side() -> None:
    model = late_model()
    one = m2ib.explain(model, ("image", white()), ("text", TEXT), steps=3, show_progress=False)
    other = m2ib.explain(model, ("text", TEXT), ("image", white()), steps=3, show_progress=False)
    assert one.similarity == other.similarity
    for modality in ("image", "text"):
        np.testing.assert_allclose(one[modality].grid, other[modality].grid, rtol=1e-9)
    turned = m2ib.explain(
        late_model(replace(MAXSIM, first=("image",))), image=white(), text=TEXT, steps=3, show_progress=False
    )
    assert abs(turned.similarity - one.similarity) > 0.1  # of 16 patches one has its word


def test_of_one_modality_the_first_input_asks() -> None:
    model = late_model()
    words = {
        number: model.embed("text", model.preprocess("text", [text]))[0]
        for number, text in enumerate((TEXT, "bird"))
    }
    for first, second in ((TEXT, "bird"), ("bird", TEXT)):
        explanation = m2ib.explain(model, ("text", first), ("text", second), steps=2, show_progress=False)
        order = (words[0], words[1]) if first == TEXT else (words[1], words[0])
        assert explanation.similarity == pytest.approx(naive.maxsim(*order).item(), abs=1e-6)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_maps_are_those_of_a_loop(modality: str) -> None:
    model = late_model()
    inputs = {"image": white()[None], "text": model.preprocess("text", [TEXT])}
    with torch.no_grad():
        embedded = {name: model.encoder(name).embed(batch)[0] for name, batch in inputs.items()}
    encoder, (other,) = model.encoder(modality), {"image", "text"} - {modality}

    def close(out: Tensor, target: Tensor) -> Tensor:
        return naive.maxsim(out[0], target) if modality == "text" else naive.maxsim(target, out[0])

    settings = {"beta": 0.1, "variance": 1.0, "steps": 3, "samples": 4}
    explanation = m2ib.explain(model, image=white(), text=TEXT, show_progress=False, **settings)
    expected = naive.capacity(
        lambda: encoder.embed(inputs[modality]),
        encoder.blocks[0].module,
        embedded[other],
        similarity=close,
        **settings,
    )
    np.testing.assert_allclose(explanation[modality].grid.ravel(), expected.numpy(), rtol=1e-5)
    assert explanation.similarity == pytest.approx(naive.maxsim(embedded["text"], embedded["image"]).item())


def test_sets_of_different_sizes_in_a_batch_are_as_one_by_one() -> None:
    model = late_model()
    pairs = [(("image", white()), ("text", text)) for text in (TEXT, "bird", "bird sits")]
    together = list(m2ib.explain_many(model, pairs, batch_size=3, steps=3, show_progress=False))
    for pair, found in zip(pairs, together, strict=True):
        alone = m2ib.explain(model, *pair, steps=3, show_progress=False)
        assert found.similarity == pytest.approx(alone.similarity, rel=1e-12)
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one.grid, other.grid, rtol=1e-7)


def test_ensembles_and_contrasts_of_sets_are_means_and_differences_of_similarities() -> None:
    model = late_model()

    def close(*texts: str) -> float:
        every = [
            m2ib.explain(model, image=white(), text=text, steps=1, show_progress=False) for text in texts
        ]
        return float(np.mean([each.similarity for each in every]))

    mean = m2ib.explain(
        model, image=white(), text=m2ib.ensemble("bird", "small", "bird sits"), steps=2, show_progress=False
    )
    assert mean.similarity == pytest.approx(close("bird", "small", "bird sits"))
    asked = m2ib.contrast("bird", m2ib.ensemble("small", "sits"), "small sits")
    contrast = m2ib.explain(model, image=white(), text=asked, method="gradcam", show_progress=False)
    expected = close("bird") - (close("small", "sits") + close("small sits")) / 2
    assert contrast.similarity == pytest.approx(expected)
    assert contrast["image"].grid.argmax() == PATCH
    assert contrast["image"].against is not None
    with pytest.raises(InputError, match="contrast: the text inputs have the same embedding"):
        m2ib.explain(model, image=white(), text=m2ib.contrast("bird", "bird"), show_progress=False)


def test_the_number_is_named_wherever_it_stands(tmp_path: object) -> None:
    model = late_model()
    explanation = m2ib.explain(
        model, image=white(), text=TEXT, method="rise", settings={"masks": 8}, show_progress=False
    )
    assert explanation["image"].unit == "maxsim"
    assert explanation.provenance["similarity"]["name"] == "maxsim"
    page = explanation.to_html(f"{tmp_path}/page.html").read_text("utf-8")
    assert "MaxSim (mean over the query&#39;s vectors) <b>" in page
    count = int(present(model.embed("text", model.preprocess("text", [TEXT])))[0].sum())
    measure = explanation.provenance["similarity"]
    assert (measure["vectors"], measure["sum"]) == (count, count * explanation.similarity)
    assert f'<th scope="row">similarity.sum</th><td>{measure["sum"]:.6g}</td>' in re.sub(r">\s+<", "><", page)
    several = m2ib.explain(model, image=white(), text=m2ib.contrast("bird", "sits"), method="uniform")
    assert "sum" not in several.provenance["similarity"]
    assert "cosine" not in re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    fit = m2ib.explain(model, image=white(), text=TEXT, steps=2, show_progress=False)
    assert "fit: mean maxsim to the other side" in fit.to_html(f"{tmp_path}/fit.html").read_text("utf-8")
    back = m2ib.load_explanation(fit.save(f"{tmp_path}/saved"))
    assert back.similarity_title == fit.similarity_title
    assert back.similarity == fit.similarity


def test_embeddings_of_sets_are_given_as_they_are() -> None:
    model = late_model()
    embedded = model.embed("text", model.preprocess("text", [TEXT, "bird"]))
    assert embedded.shape == (2, 3, 256)
    assert embedded.dtype == torch.float32
    assert present(embedded).sum(1).tolist() == [3, 1]


def test_what_gives_one_vector_is_no_set_and_the_other_way_round() -> None:
    with pytest.raises(
        AdapterError,
        match=r"image: embed gives \(1, 16, 256\) float64 for inputs .*; it must be \(1, D\)",
    ):
        m2ib.explain(late_model(COSINE), image=white(), text=TEXT, show_progress=False)


def test_any_function_of_two_embeddings_is_a_similarity(clip64: m2ib.Model) -> None:
    def distance(one: Tensor, other: Tensor) -> Tensor:
        return 1 / (1 + (one - other).square().sum(-1))

    model = replace(clip64, similarity=m2ib.Similarity("closeness", distance))
    pixels = torch.randn(3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([START, 7, 9, END])
    explanation = m2ib.explain(model, image=pixels, text=ids, method="gradcam", layer=1, show_progress=False)
    with torch.no_grad():
        image, text = model.encoder("image").embed(pixels[None]), model.encoder("text").embed(ids[None])
    assert explanation.similarity == pytest.approx(distance(image, text).item())
    assert explanation.similarity_title == "closeness similarity"
    other = m2ib.explain(clip64, image=pixels, text=ids, method="gradcam", layer=1, show_progress=False)
    assert not np.allclose(explanation["image"].grid, other["image"].grid)


@pytest.mark.parametrize(
    ("similarity", "message"),
    [
        (lambda one, other: (one * other).sum(-1), r"explain: the model's similarity is a function; give"),
        (
            m2ib.Similarity("each", lambda one, other: one * other),
            r"'each': `of` gives \(\d+, 16\) for (\d+) pairs of embeddings \(16,\); it must be a tensor \(\1,\)",
        ),
        (m2ib.Similarity("one", lambda one, other: 1.0), "'one': `of` gives a float for"),
    ],
)
def test_what_is_no_similarity_is_refused(clip64: m2ib.Model, similarity: Any, message: str) -> None:
    pixels, ids = torch.ones(3, 32, 32, dtype=torch.float64), torch.tensor([START, 7, END])
    with pytest.raises((InputError, AdapterError), match=message):
        m2ib.explain(replace(clip64, similarity=similarity), image=pixels, text=ids, show_progress=False)


def test_a_vector_in_place_of_an_input_keeps_its_length_where_that_counts(clip64: m2ib.Model) -> None:
    pixels = torch.randn(3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    dot = replace(clip64, similarity=m2ib.Similarity("dot", lambda one, other: (one * other).sum(-1)))
    for model, factor in ((dot, 3), (clip64, 1)):
        once, thrice = (
            m2ib.explain(
                model, image=pixels, text=m2ib.embedding(n * np.arange(1, 17)), method="gradcam", layer=1
            )
            for n in (1, 3)
        )
        assert thrice.similarity == pytest.approx(factor * once.similarity)


def test_a_method_that_takes_cosines_itself_works_for_cosines_and_is_refused_for_others() -> None:
    vectors = torch.randn(3, 4, dtype=torch.float64)
    ones = torch.ones(3, 1, dtype=torch.float64)
    found = torch.cosine_similarity(vectors.flip(0), Targets(COSINE, vectors[:, None], ones))
    torch.testing.assert_close(found, torch.cosine_similarity(vectors.flip(0), vectors))
    with pytest.raises(
        AdapterError, match=r"this model compares them by maxsim; let it call targets\(embeddings\)"
    ):
        torch.cosine_similarity(vectors, Targets(MAXSIM, vectors[:, None, None], ones))
