"""Texts are tokenized as by open_clip; each token knows its place in the text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import m2ib
from m2ib.execution.context import evaluating
from m2ib_adapters.inputs.tokens import SimpleCoder
from open_clip_models import (
    CPU,
    QUIET,
    VIT,
    Loaded,
    difference,
    fixed_length,
    hugging_face,
    photo,
    save_and_load,
    wordpiece,
)

SIMPLE = SimpleCoder(open_clip.SimpleTokenizer())
ODD = (
    "a Straße İstanbul&amp;amp;co  ﬁne\t— 'S don't 10's naïve 🦊🦊 日本語 <end_of_text> "
    "e\u0301 _x_ ½ \u200b\u03a3\u0391\u03a3"
)


@settings(max_examples=300)
@given(st.text(max_size=40) | st.text("aA bİßﬁ's'tLL10_!&amp;<>🦊é日\u200b\n", max_size=30))
def test_ids_are_the_tokenizers_own_and_spans_are_places(text: str) -> None:
    coded = SIMPLE.code(text, 77, truncate=True, padded=True)
    assert coded.ids == open_clip.tokenize([text])[0].tolist()
    assert len(coded.tokens) == 77
    place = 0
    for token in coded.tokens:
        assert 0 <= token.start <= token.end <= len(coded.text)
        assert (
            token.start >= place - len(token.text) or token.special
        )  # two tokens may share the last character
        place = max(place, token.end)
        assert token.special or token.text == coded.text[token.start : token.end]
    unspoken = set(coded.text.casefold()) - set("".join(token.text.casefold() for token in coded.tokens))
    assert coded.ids[-1] != 0 or not "".join(map(open_clip.tokenizer.basic_clean, unspoken)).strip()


def test_tokens_of_an_odd_text() -> None:
    coded = SIMPLE.code(ODD, 77, truncate=False, padded=False)
    assert coded.ids == [i for i in open_clip.tokenize([ODD])[0].tolist() if i]
    plain = SIMPLE.code("A Golden  retriever&amp;co", 77, truncate=False, padded=False)
    assert plain.text == "A Golden retriever&co"
    assert [token.text for token in plain.tokens[1:-1]] == ["A", "Golden", "retriever", "&", "co"]
    assert [(token.start, token.end) for token in plain.tokens[1:-1]] == [
        (0, 1),
        (2, 8),
        (9, 18),
        (18, 19),
        (19, 21),
    ]
    grown = SIMPLE.code("İstanbul", 77, truncate=False, padded=False)  # lower-casing adds a character
    assert grown.text == "İstanbul"
    assert [(token.start, token.end) for token in grown.tokens[1:3]] == [(0, 1), (0, 1)]


def test_long_and_empty_texts(loaded: Callable[[str], Loaded]) -> None:
    for name, limit in (("vit", 12), ("bert", 16), ("siglip", 11)):
        case = loaded(name)
        long = "the dog " * 9
        with pytest.raises(
            m2ib.InputError, match=f"has 20 tokens, {20 - limit} more than the model's {limit}; shorten"
        ):
            case.model.preprocess("text", [long])
        inputs = case.model.preprocess("text", [long], truncate=True)
        assert torch.equal(inputs, fixed_length(case, long)[:, :limit])
        assert case.model.item("text", long, truncate=True).origin["truncated"] is True
        with pytest.raises(m2ib.InputError, match=r"is empty"):
            case.model.preprocess("text", ["  "])
    with pytest.raises(m2ib.InputError, match=r"text '\?!' is empty once tokenized"):
        loaded("siglip").model.preprocess("text", ["?!"])


def test_padded_ids_give_what_the_text_gives(loaded: Callable[[str], Loaded]) -> None:
    options = {"steps": 3, "samples": 2, "layer": 0, **QUIET}
    for name in ("vit", "scaled", "bert", "siglip", "coca"):
        case = loaded(name)
        raw = m2ib.explain(case.model, image=photo(), text="a photo of dogs", **options)
        padded = fixed_length(case, "a photo of dogs")[0]
        ids = m2ib.explain(case.model, image=photo(), text=padded, **options)
        assert np.array_equal(raw["text"].grid, ids["text"].grid)
        assert [t.special for t in raw["text"].layout.tokens] == [
            t.special for t in ids["text"].layout.tokens
        ]
        assert ids["text"].view["text"] == "a photo of dogs"
        assert [word for word, _ in ids["text"].words] == ["a", "photo", "of", "dogs"]


@pytest.mark.parametrize("strip", [False, True])
def test_hugging_face_tokenizers_of_open_clips_own_towers(tmp_path: Path, strip: bool) -> None:
    """Pooled at the tokenizer's own end; or, as in CLIPA, the separator blanked and all of it read."""
    kinds = {"pool_type": "last", "no_causal_mask": True} if strip else {"pool_type": "eos", "eos_id": 3}
    text = {**VIT["text_cfg"], **kinds, "vocab_size": 20, "hf_tokenizer_name": str(wordpiece(tmp_path))}
    case = save_and_load(
        {**VIT, "text_cfg": text | {"tokenizer_kwargs": {"strip_sep_token": strip}}}, tmp_path / "x.pt"
    )
    full = fixed_length(case, "The dogs")
    assert (3 in full[0].tolist()) != strip
    inputs = case.model.preprocess("text", ["The dogs"])
    assert torch.equal(inputs, full if strip else full[:, :5])
    tokens = case.model.item("text", "The dogs").layout.tokens
    assert [token.text for token in tokens if not token.special] == ["The", "dog", "s"]
    with evaluating(case.model.module), torch.no_grad():
        expected = case.model.module.encode_text(full)
        assert difference(case.model.encoder("text").embed(inputs).numpy(), expected.numpy()) < 1e-12


def test_ids_that_cannot_be_read(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    with pytest.raises(m2ib.InputError, match=r"takes exactly 11 token ids, not 3; pad them"):
        loaded("siglip").model.item("text", torch.tensor([2, 4, 3]))
    with pytest.raises(m2ib.InputError, match=r"padding \(token id 0\) at place 1, before the text's end"):
        loaded("bert").model.item("text", torch.tensor([2, 0, 4, 3]))
    with pytest.raises(m2ib.InputError, match=r"token id 20 is outside the model's vocabulary of 20"):
        loaded("bert").model.item("text", torch.tensor([2, 20, 3]))
    text = {**VIT["text_cfg"], "vocab_size": 300}
    small = save_and_load({**VIT, "text_cfg": text}, tmp_path / "small.pt").model
    with pytest.raises(m2ib.InputError, match=r"outside the model's vocabulary of 300"):
        small.preprocess("text", ["a dog"])
    explanation = m2ib.explain(small, image=photo(), text=torch.tensor([7, 8, 299, 0]), layer=0, **QUIET)
    assert explanation["text"].grid.shape == (3,)
    eos = {**VIT["text_cfg"], "pool_type": "eos", "eos_id": 49407}
    model = save_and_load({**VIT, "text_cfg": eos}, tmp_path / "eos.pt").model
    with pytest.raises(m2ib.InputError, match=r"lack the end-of-text id 49407"):
        model.item("text", torch.tensor([49406, 320]))


def test_ids_without_the_token_that_is_read(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    with pytest.raises(
        m2ib.InputError, match=r"at its largest token id, the end token 49407, and that of these is 49406"
    ):
        loaded("vit").model.item("text", torch.tensor([49406, 320, 1929]))
    bert = save_and_load(hugging_face("bert", tmp_path / "bert"), tmp_path / "bert.pt").model
    with pytest.raises(
        m2ib.InputError, match=r"reads a text at its first token, and these token ids begin with 4"
    ):
        bert.item("text", torch.tensor([4, 5, 3]))
    assert bert.item("text", torch.tensor([2, 4, 5, 3])).layout.grid == (4,)
    kinds = {"pool_type": "eos", "eos_id": 49407, "no_causal_mask": True}
    text = {**VIT["text_cfg"], **kinds}
    model = save_and_load({**VIT, "text_cfg": text}, tmp_path / "whole.pt").model
    with pytest.raises(m2ib.InputError, match=r"lack the end-of-text id 49407, where this model reads them"):
        model.item("text", torch.tensor([49406, *[320] * (text["context_length"] - 1)]))
    text = {**VIT["text_cfg"], "hf_tokenizer_name": str(tmp_path / "nowhere")}
    blind = save_and_load({**VIT, "text_cfg": text}, tmp_path / "blind.pt").model
    with pytest.warns(
        m2ib.M2IBWarning, match=r"largest token id, here 49406; without its tokenizer it is not known"
    ):
        blind.item("text", torch.tensor([320, 1929, 49406, 5]))


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    text = {**VIT["text_cfg"], "hf_tokenizer_name": str(tmp_path / "nowhere")}
    case = save_and_load({**VIT, "text_cfg": text}, tmp_path / "no.pt")
    with pytest.raises(
        m2ib.InputError, match=r"tokenizer cannot be loaded .*nowhere.*tokenizer=, or give a tensor"
    ):
        case.model.preprocess("text", ["a dog"])
    ids = torch.tensor([49406, 320, 1929, 49407, 0, 0])
    explanation = m2ib.explain(case.model, image=photo(), text=ids, layer=0, steps=1, **QUIET)
    assert explanation["text"].tokens == ("id49406", "id320", "id1929", "id49407")
    with pytest.raises(m2ib.SettingError, match=r"tokenizer '.*gone' cannot be loaded"):
        m2ib.load_model(
            "open-clip", architecture=VIT, checkpoint=case.file, tokenizer=str(tmp_path / "gone"), **CPU
        )
    left = wordpiece(tmp_path / "left", side="left")
    with pytest.raises(m2ib.CheckpointError, match=r"pads on the left"):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=case.file, tokenizer=str(left), **CPU)
