"""Whole words as tokens."""

from __future__ import annotations

import pytest
import torch

import m2ib
from m2ib.contract.layout import Token
from m2ib.scenes import WORDS
from m2ib_adapters.inputs.words import WordCoder
from scene_model import SceneModel

FEW = ("a", "photo", "of", "car", "bell")
START, END = 6, 7


@pytest.fixture
def coder() -> WordCoder:
    return WordCoder(FEW)


def test_start_words_end(coder: WordCoder) -> None:
    coded = coder.code("a photo of a car", 24, truncate=False, padded=False)
    assert coded.ids == [START, 1, 2, 3, 1, 4, END]
    assert coded.tokens == (
        Token("<start_of_text>", 0, 0, True),
        Token("a", 0, 1),
        Token("photo", 2, 7),
        Token("of", 8, 10),
        Token("a", 11, 12),
        Token("car", 13, 16),
        Token("<end_of_text>", 16, 16, True),
    )
    assert not coded.truncated


def test_capitals_marks_and_spaces(coder: WordCoder) -> None:
    text = "  A photo,of:\na CAR!? Bell;."
    coded = coder.code(text, 24, truncate=False, padded=False)
    assert coded.ids == [START, 1, 2, 3, 1, 4, 5, END]
    assert coded.text == text
    words = coded.tokens[1:-1]
    assert [text[token.start : token.end] for token in words] == ["A", "photo", "of", "a", "CAR", "Bell"]
    assert [token.text for token in words] == ["A", "photo", "of", "a", "CAR", "Bell"]
    assert coded.tokens[-1].start == text.index(";")


def test_lower_case_that_is_longer_moves_no_offset() -> None:
    coded = WordCoder(("i̇", "car")).code("İ car", 9, truncate=False, padded=False)
    assert [(token.start, token.end) for token in coded.tokens[1:-1]] == [(0, 1), (2, 5)]


def test_an_unknown_word_is_named_with_all_known_ones(coder: WordCoder) -> None:
    with pytest.raises(m2ib.InputError) as caught:
        coder.code("a photo of a Cart, a dog", 24, truncate=False, padded=False)
    assert str(caught.value) == (
        "text 'a photo of a Cart, a dog': the model does not know the word 'cart'; did you mean 'car'? "
        "Known: a, bell, car, of, photo"
    )
    with pytest.raises(m2ib.InputError) as caught:
        coder.code("a zebra " * 10, 24, truncate=False, padded=False)
    assert str(caught.value) == (
        "text 'a zebra a zebra a zebra a zebra a zebra '...: the model does not know the word 'zebra'. "
        "Known: a, bell, car, of, photo"
    )


def test_a_text_that_is_too_long(coder: WordCoder) -> None:
    assert len(coder.code("a car bell", 5, truncate=False, padded=False).ids) == 5
    message = (
        r"text 'a car a bell' has 6 tokens, 1 more than the model's 5; shorten it, or pass truncate=True"
    )
    with pytest.raises(m2ib.InputError, match=message):
        coder.code("a car a bell", 5, truncate=False, padded=False)
    cut = coder.code("a car a bell", 5, truncate=True, padded=False)
    assert cut.ids == [START, 1, 4, 1, END]
    assert cut.tokens[-1] == Token("<end_of_text>", 7, 7, True)
    assert cut.truncated


def test_padding(coder: WordCoder) -> None:
    coded = coder.code("a car", 6, truncate=False, padded=True)
    assert coded.ids == [START, 1, 4, END, 0, 0]
    assert coded.tokens[4:] == (Token("<pad>", 5, 5, True),) * 2


def test_ids_are_read_back(coder: WordCoder) -> None:
    coded = coder.read([START, 1, 5, END, 0])
    assert coded.text == "a bell"
    assert coded.tokens == (
        Token("<start_of_text>", 0, 0, True),
        Token("a", 0, 1),
        Token("bell", 2, 6),
        Token("<end_of_text>", 6, 6, True),
        Token("<pad>", 6, 6, True),
    )
    assert coded.ids == [START, 1, 5, END, 0]


# In the model


def test_the_model_knows_the_words_of_scenes(tiny: SceneModel) -> None:
    ids = tiny.model.preprocess("text", ["a photo of a bell"])
    assert isinstance(ids, torch.Tensor)
    end = len(WORDS) + 2
    assert ids.tolist() == [[end - 1, *(1 + WORDS.index(w) for w in ("a", "photo", "of", "a", "bell")), end]]
    with pytest.raises(m2ib.InputError) as caught:
        tiny.model.item("text", "a photo of a dog")
    assert str(caught.value).endswith(f" Known: {', '.join(sorted(WORDS))}")
    assert "\n" not in str(caught.value)


def test_a_text_padded_by_hand_is_the_same(tiny: SceneModel) -> None:
    short = tiny.model.item("text", "a photo of a bell").inputs
    padded = torch.cat([short, torch.zeros(3, dtype=torch.long)])
    assert torch.equal(tiny.model.item("text", padded).inputs, short)


@pytest.mark.parametrize("text", ["?!", " , "])
def test_marks_alone_are_no_text(tiny: SceneModel, text: str) -> None:
    with pytest.raises(m2ib.InputError, match="is empty once tokenized; give at least one word"):
        tiny.model.item("text", text)


def test_longer_than_the_model_takes(tiny: SceneModel) -> None:
    limit = tiny.model.module.architecture.context_length  # type: ignore[union-attr]
    text = " ".join(["a"] * (limit - 1))
    with pytest.raises(m2ib.InputError, match=f"has {limit + 1} tokens, 1 more than the model's {limit}"):
        tiny.model.item("text", text)
    assert tiny.model.item("text", text, truncate=True).inputs.shape == (limit,)


def test_ids_outside_the_vocabulary(tiny: SceneModel) -> None:
    outside = len(WORDS) + 3
    with pytest.raises(
        m2ib.InputError, match=f"token id {outside} is outside the model's vocabulary of {outside}"
    ):
        tiny.model.item("text", torch.tensor([outside]))
