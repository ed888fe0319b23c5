"""Texts: what is read of them, where the words are, and that attention is what the model computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import m2ib
from clap_checkpoint import RATE, processor, roberta, transformers_of
from m2ib_adapters.kit import transformers_texts

PAD, START, END = 1, 0, 2
SOUND = (np.random.default_rng(0).standard_normal(3000).astype(np.float32) * 0.1, RATE)


@pytest.fixture
def text_model(models: dict[str, m2ib.Model]) -> m2ib.Model:
    return models["unfused"]


def ids_of(model: m2ib.Model, text: str) -> torch.Tensor:
    inputs = model.item("text", text).inputs
    assert isinstance(inputs, torch.Tensor)
    return inputs


def test_ids_and_words(text_model: m2ib.Model, folders: dict[str, Path]) -> None:
    item = text_model.item("text", "a dog barking on the roof")
    assert isinstance(item.inputs, torch.Tensor)
    assert (
        item.inputs.tolist()
        == processor(folders["unfused"]).tokenizer("a dog barking on the roof")["input_ids"]
    )
    tokens = item.layout.tokens
    assert [(token.text, token.special) for token in (tokens[0], tokens[-1])] == [
        ("<s>", True),
        ("</s>", True),
    ]
    spelt = [(token.text, token.start, token.end) for token in tokens if not token.special]
    assert spelt[:4] == [("a", 0, 1), ("dog", 2, 5), ("bark", 6, 10), ("ing", 10, 13)]
    pair = m2ib.explain(
        text_model, audio=SOUND, text="a dog barking on the roof", steps=1, samples=1, show_progress=False
    )
    assert [word for word, _ in pair["text"].words] == ["a", "dog", "barking", "on", "the", "roof"]
    assert pair["text"].grid.shape == (len(tokens),)


def test_a_text_that_is_too_long(text_model: m2ib.Model) -> None:
    text = "dog " * 60
    with pytest.raises(m2ib.InputError) as caught:
        text_model.item("text", text)
    assert str(caught.value).endswith(
        " tokens, 23 more than the model's 40; shorten it, or pass truncate=True (--truncate)"
    )
    ids = text_model.item("text", text, truncate=True).inputs
    assert isinstance(ids, torch.Tensor)
    assert (len(ids), int(ids[0]), int(ids[-1])) == (40, START, END)
    longest = text_model.item("text", "dog " * 37 + "dog")
    assert len(longest.layout.tokens) == 40
    assert torch.isfinite(text_model.embed("text", text_model.collate("text", [longest]))).all()


def test_the_tokenizers_own_limit_counts_too(text_model: m2ib.Model) -> None:
    encoder = transformers_texts("clap", text_model.module, roberta(limit=8), "")
    limited = m2ib.Model(text_model.module, {"text": encoder}, text_model.device, text_model.dtype)
    with pytest.raises(m2ib.InputError, match=r"has 12 tokens, 4 more than the model's 8; shorten it"):
        limited.item("text", "dog" + " dog" * 9)


def test_padding_at_the_end_of_ids_is_not_read(text_model: m2ib.Model) -> None:
    ids = ids_of(text_model, "a dog")
    item = text_model.item("text", torch.cat([ids, torch.full((5,), PAD)]))
    assert torch.equal(torch.as_tensor(item.inputs), ids)
    assert item.layout.read == len(ids)


@pytest.mark.parametrize(
    ("given", "where"),
    [([0, PAD, 9, 2], "at place 1, before the text's end"), ([PAD, PAD], "and nothing else")],
)
def test_other_padding_is_refused(text_model: m2ib.Model, given: list[int], where: str) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        text_model.item("text", torch.tensor(given))
    assert str(caught.value) == (
        f"text: there is padding (token id {PAD}) {where}, which this model does not read; take it out"
    )


def test_the_padding_token_written_out_is_refused(text_model: m2ib.Model) -> None:
    with pytest.raises(
        m2ib.InputError, match=r"^text: there is padding \(token id 1\) at place 2, before the text's end"
    ):
        text_model.item("text", "a<pad> dog")


@pytest.mark.parametrize(("raw", "told"), [(" ", "is empty"), (3, "cannot use 3 of type int")])
def test_no_text(text_model: m2ib.Model, raw: object, told: str) -> None:
    with pytest.raises(m2ib.InputError, match=told):
        text_model.item("text", raw)


def test_hidden_words_are_masked_out(text_model: m2ib.Model) -> None:
    """A word that is replaced by padding is gone: what is left has the embedding of the text without it."""
    item = text_model.item("text", "a dog barking")
    degradation = text_model.encoder("text").degradation
    assert degradation is not None
    keep = torch.ones(1, len(item.layout.tokens))
    keep[0, [0, 3, 4]] = 0  # "<s>" stays, "bark" and "ing" go
    ids = text_model.collate("text", [item])
    hidden = degradation.apply(ids, keep, item.layout)
    assert isinstance(hidden, torch.Tensor)
    assert hidden[0].tolist() == [START, *ids_of(text_model, "a dog").tolist()[1:3], PAD, PAD, END]
    left = text_model.preprocess("text", ["a dog"])
    torch.testing.assert_close(text_model.embed("text", hidden), text_model.embed("text", left))


def test_attention_by_torch_is_not_causal(text_model: m2ib.Model) -> None:
    """transformers takes these blocks for causal ones where no token is masked, unless it is told."""
    encoder = text_model.encoder("text")
    assert encoder.attention is not None
    assert encoder.attention.by_sdpa is not None
    inputs = text_model.preprocess("text", ["a dog barking"])
    assert isinstance(inputs, torch.Tensor)
    with torch.no_grad():
        plain = encoder.embed(inputs)
        with encoder.attention.by_sdpa():
            torch.testing.assert_close(encoder.embed(inputs), plain, rtol=0, atol=2e-6)
            untold = transformers_of(text_model).get_text_features(input_ids=inputs).pooler_output
    assert (untold - plain).abs().max() > 1e-2  # if this fails, transformers has mended it


@pytest.mark.parametrize("method", ["chefer", "legrad", "grad-eclip"])
def test_methods_that_read_attention(text_model: m2ib.Model, method: str) -> None:
    model = replace(text_model, encoders={"text": text_model.encoder("text")})
    pair = m2ib.explain(
        model, ("text", "a dog barking"), ("text", "rain on a roof"), method=method, show_progress=False
    )
    assert pair[0].grid.shape == (6,)
    assert np.ptp(pair[0].grid) > 0


def test_sounds_have_no_attention_to_read(text_model: m2ib.Model) -> None:
    with pytest.raises(m2ib.SettingError, match="attention"):
        m2ib.explain(text_model, audio=SOUND, text="a dog", method="chefer", show_progress=False)


def test_ids_without_the_start_token_are_refused(text_model: m2ib.Model) -> None:
    """The model reads a text at its first token, which would be a word."""
    ids = ids_of(text_model, "a dog")
    with pytest.raises(
        m2ib.InputError, match="reads a text at its first token, and these token ids begin with"
    ):
        text_model.item("text", ids[1:])
