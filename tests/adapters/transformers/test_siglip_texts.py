"""Texts: the ids are the tokenizers' own, padded and lower-cased; tokens and words are those of the text as it was given."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import m2ib
from m2ib_adapters.inputs.sentencepiece import piece_spans

TEXTS = [
    "a dog",
    "A Dog, isn't it?",
    "  two   cats!",
    "café ☃ dog",
    "don't stop",
    "a - b",
    "Ｄog ﬁne",
    "dog ▁ cat",
    "ΟΔΟΣ dog",
    "İa dog",
    "a dog</s> here",
    "a<unk>b",
    "e\u0301t dog",
]
KINDS = ("first", "second", "naflex")


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def load(folder: Path) -> Any:
    return m2ib.load_model("siglip", checkpoint=folder, device="cpu")


def ids_of(folder: Path, text: str) -> list[int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return list(tokenizer(text, padding="max_length", truncation=True, max_length=40)["input_ids"])


def places(item: Any) -> list[str]:
    """What each ordinary token covers of the text that is shown."""
    text = item.view["text"]
    return [text[token.start : token.end] for token in item.layout.tokens if not token.special]


@pytest.mark.filterwarnings("ignore:text. the model's tokenizer has no token for")
@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_those_of_the_tokenizer(folder: Path, naflex: Path, text: str) -> None:
    """At a fixed resolution SigLIP 2 has the ids that transformers gives for NaFlex, with the same vocabulary."""
    item = load(folder).item("text", text)
    assert item.inputs.tolist() == ids_of(folder if folder.name.startswith("first") else naflex, text)
    assert len(item.layout.tokens) == len(item.inputs) == 40


@pytest.mark.filterwarnings("ignore:text. the model's tokenizer has no token for")
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_have_their_places_in_the_text(folder: Path, text: str) -> None:
    item = load(folder).item("text", text)
    ordinary = [token for token in item.layout.tokens if not token.special]
    ends = [token.end for token in ordinary]
    assert ends == sorted(ends)
    assert all(token.start <= token.end <= len(item.view["text"]) for token in ordinary)
    for token, place in zip(ordinary, places(item), strict=True):
        assert token.start == token.end or token.text == place.strip()


def test_padding_is_read_and_special(folder: Path) -> None:
    item = load(folder).item("text", "a dog")
    special = [token.special for token in item.layout.tokens]
    first = special.index(True)
    assert 0 < first < 8
    assert all(special[first:])
    assert item.layout.read is None


def test_without_padding_the_embedding_is_another(folder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    model = load(folder)
    module = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ours = model.embed("text", model.preprocess("text", ["a dog"]))
    found = {}
    for padding in (False, "max_length"):
        coded = tokenizer(["a dog"], padding=padding, max_length=40, return_tensors="pt")
        with torch.no_grad():
            found[padding] = normalize(module.get_text_features(**coded).pooler_output, dim=-1)
    torch.testing.assert_close(ours, found["max_length"])
    assert float((ours * found[False]).sum()) < 0.99


def test_the_last_position_is_read(folder: Path) -> None:
    encoder = load(folder).encoder("text")
    assert encoder.attention is not None
    assert encoder.attention.pooled is not None
    assert encoder.attention.pooled(torch.zeros(3, 40, dtype=torch.long)).tolist() == [39] * 3


def test_a_token_that_is_taken_out_becomes_what_fills(folder: Path) -> None:
    encoder = load(folder).encoder("text")
    item = load(folder).item("text", "a dog")
    assert isinstance(encoder.degradation, m2ib.Replacing)
    assert encoder.degradation.padding == ids_of(folder, "a dog")[-1]
    none = encoder.degradation.apply(item.inputs[None], torch.zeros(1, 40), item.layout)[0]
    ordinary = [not token.special for token in item.layout.tokens]
    assert set(none[torch.tensor(ordinary)].tolist()) == {encoder.degradation.padding}


def test_capitals_do_not_matter(folder: Path) -> None:
    model = load(folder)
    given, lower = model.item("text", "A Dog on the Grass"), model.item("text", "a dog on the grass")
    assert torch.equal(given.inputs, lower.inputs)
    assert given.view["text"] == "A Dog on the Grass"
    assert "Dog" in [place.strip() for place in places(given)]


def test_transformers_does_not_lower_texts_of_the_fixed_resolution(second: Path, naflex: Path) -> None:
    """The reason for doing it here."""
    assert ids_of(second, "A Dog") != ids_of(second, "a dog")
    assert ids_of(naflex, "A Dog") == ids_of(naflex, "a dog")


def test_a_tokenizer_that_keeps_capitals_is_left_alone(second: Path, edited: Callable[..., Path]) -> None:
    folder = edited(second, "tokenizer_config.json", do_lower_case=False)
    item = load(folder).item("text", "A Dog")
    assert item.inputs.tolist() == ids_of(second, "A Dog") != ids_of(second, "a dog")


def test_words_are_those_of_the_text(folder: Path) -> None:
    text = "Two CATS, don't they sleep?"
    attribution = m2ib.explain(
        load(folder), image=np.zeros((20, 30, 3), np.uint8), text=text, steps=1, samples=1
    )["text"]
    words = [word for word, _ in attribution.words]
    assert [word for word in words if word not in (",", "?")] == ["Two", "CATS", "don't", "they", "sleep"]
    special = [token.special for token in attribution.layout.tokens]
    total = sum(value for _, value in attribution.words)
    assert total == pytest.approx(float(attribution.grid[~np.array(special)].sum()))


@pytest.mark.parametrize(
    ("raw", "pieces", "spans"),
    [
        ("A Dog, isn't", ["▁a", "▁dog", "▁", "is", "nt"], [(0, 1), (2, 5), (5, 5), (7, 9), (9, 12)]),
        ("  two cats!", ["▁t", "wo", "▁cats"], [(2, 3), (3, 5), (6, 10)]),
        ("Ｄog ﬁn", ["▁dog", "▁f", "in"], [(0, 3), (4, 5), (4, 6)]),  # one sign that is spelt by two pieces
        ("ΟΔΟΣ", ["▁οδο", "ς"], [(0, 3), (3, 4)]),
        ("İa", ["▁i", "\u0307a"], [(0, 1), (0, 2)]),
        ("☃ a", ["▁", "☃", "▁a"], [(0, 0), (0, 1), (2, 3)]),
        ("...", [], []),
        ("a dog</s>", ["▁a", "▁dog", "</s>"], None),
        ("a cat", ["▁a", "▁dog"], None),
        ("e\u0301t", ["▁ét"], [(0, 3)]),  # composed
    ],
)
def test_pieces_are_found_in_the_text(
    raw: str, pieces: list[str], spans: list[tuple[int, int]] | None
) -> None:
    assert piece_spans(raw, pieces, lower=True) == spans


def test_pieces_with_capitals(first: Path) -> None:
    assert piece_spans("A Dog", ["▁A", "▁Dog"], lower=False) == [(0, 1), (2, 5)]
    assert piece_spans("A Dog", ["▁a", "▁dog"], lower=False) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a dog</s> here", "a doghere"), ("e\u0301t dog", "e\u0301t dog"), ("A Dog.", "A Dog.")],
)
def test_where_pieces_are_not_found_again_what_they_spell_is_shown(
    first: Path, text: str, shown: str
) -> None:
    item = load(first).item("text", text)
    assert item.view["text"] == shown
    assert item.origin.get("given", shown) == (text if shown != text else shown)
    assert "".join(places(item)) == shown.replace(" ", "").replace(".", "")


def test_an_unknown_sign_is_a_token_of_the_text(first: Path) -> None:
    model = load(first)
    with pytest.warns(
        m2ib.M2IBWarning, match="tokenizer has no token for '☃'; the model reads its unknown token"
    ):
        item = model.item("text", "a ☃ dog")
    (snowman,) = [token for token in item.layout.tokens if token.text == "☃"]
    assert (snowman.start, snowman.end, snowman.special) == (2, 3, False)
    again = model.item("text", item.inputs)
    assert [token.special for token in again.layout.tokens] == [token.special for token in item.layout.tokens]


def test_ids_are_taken_as_the_text_they_stand_for(folder: Path) -> None:
    model = load(folder)
    item = model.item("text", "two cats sleep")
    again = model.item("text", item.inputs)
    assert again.view["text"] == "two cats sleep"
    assert places(again) == [place.strip() for place in places(item)]
    assert torch.equal(again.inputs, item.inputs)


def test_ids_beyond_the_tokenizer_are_named_by_number(first: Path) -> None:
    from transformers import AutoTokenizer

    from m2ib_adapters.inputs.sentencepiece import SentencePieceCoder

    coded = SentencePieceCoder(AutoTokenizer.from_pretrained(first)).read([3, 5000, 1])
    assert [token.text for token in coded.tokens][1:] == ["id5000", "</s>"]


def test_ids_that_are_not_padded_are_refused(folder: Path) -> None:
    model = load(folder)
    ids = model.item("text", "a dog").inputs[:7]
    with pytest.raises(m2ib.InputError) as caught:
        model.item("text", ids)
    assert str(caught.value) == (
        "text: this model reads its padding and takes exactly 40 token ids, not 7; pad them as its tokenizer does"
    )


def test_a_text_that_is_too_long(folder: Path) -> None:
    model = load(folder)
    text = "a small brown dog on the grass " * 8
    with pytest.raises(m2ib.InputError, match=r"more than the model's 40; shorten it, or pass truncate=True"):
        model.item("text", text)
    item = model.item("text", text, truncate=True)
    assert item.inputs.tolist() == ids_of(folder, text)
    assert item.origin["truncated"] is True
    assert [token.special for token in item.layout.tokens] == [False] * 39 + [True]
    assert 0 < item.layout.tokens[38].end < len(text)


@pytest.mark.parametrize("text", ["!!!", "?,."])
def test_a_text_of_punctuation_alone_is_empty_for_siglip(first: Path, text: str) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        load(first).item("text", text)
    assert str(caught.value) == f"text {text!r} is empty once tokenized; give at least one word"


def test_a_checkpoint_without_a_tokenizer_takes_ids(first: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        shutil.copy(first / name, bare / name)
    model = load(bare)
    ids = load(first).item("text", "a dog").inputs
    item = model.item("text", ids)
    assert [token.text for token in item.layout.tokens][:2] == [f"id{value}" for value in ids.tolist()[:2]]
    assert [token.special for token in item.layout.tokens] == [value == 1 for value in ids.tolist()]
    whole = [model.embed("text", model.collate("text", [item])), load(first).embed("text", ids[None])]
    torch.testing.assert_close(*whole)
    assert model.encoder("text").examples is None
    with pytest.raises(m2ib.InputError) as caught:
        model.item("text", "a dog")
    assert str(caught.value) == (
        "text: this checkpoint comes without a tokenizer; save one into its folder (AutoTokenizer.save_pretrained), "
        "or give a tensor of token ids"
    )


def test_what_is_no_text_is_refused(folder: Path) -> None:
    raw: Any = 3
    with pytest.raises(
        m2ib.InputError, match="text: cannot use 3 of type int; give a string or a tensor of token ids"
    ):
        load(folder).item("text", raw)
