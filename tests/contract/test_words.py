"""Words of any script: whole, in order, and holding all that their tokens hold."""

from __future__ import annotations

import itertools
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m2ib.contract.layout import Token
from m2ib.contract.words import clusters, merge_words, placed_words, word_spans

FAMILY = "👨\u200d👩\u200d👧"
SIGNS = "aBß 'é1.,-_\n\t!\u0301\u0308नमस्ते\u200d\u200cสวัดีำ猫がケーשׁלוֹםمَر👍🏽🇩🇪️⃣한ᄒ\u200b\u200f½\u3000"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया", "।"]),
        ("வணக்கம் உலகம்", ["வணக்கம்", "உலகம்"]),
        ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
        ("क्\u200dष र\u200cव", ["क्\u200dष", "र\u200cव"]),
        ("שָׁלוֹם עוֹלָם", ["שָׁלוֹם", "עוֹלָם"]),
        ("مَرْحَبًا، می\u200cخواهم", ["مَرْحَبًا", "،", "می\u200cخواهم"]),
        (
            unicodedata.normalize("NFD", "café naïve 한국"),
            unicodedata.normalize("NFD", "café naïve 한국").split(),
        ),
        ("น้ำ ดี", ["น้ำ", "ดี"]),  # one letter, its tone and its vowel; then one with its vowel
        ("ខ្មែរ", ["ខ្មែ", "រ"]),
        ("猫が好き コンピューター", ["猫", "が", "好", "き", "コンピューター"]),
        (f"{FAMILY}👍🏽🇩🇪🇫🇷😀!!", [FAMILY, "👍🏽", "🇩🇪", "🇫🇷", "😀", "!!"]),
        ("3.5 cm, 1,000 m² 3½", ["3.5", "cm", ",", "1,000", "m²", "3½"]),
        ("don't, don’t 10's x_y", ["don't", ",", "don’t", "10's", "x_y"]),
        ("a well-known dog ... what?!", ["a", "well-known", "dog", "...", "what", "?!"]),
        (
            "rock'n'roll (1990-2000) -- 'quoted'",
            ["rock'n'roll", "(", "1990-2000", ")", "--", "'", "quoted", "'"],
        ),
    ],
)
def test_words_of_a_script(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_spans(text)] == words


@given(st.text(min_size=1, max_size=40) | st.text(SIGNS, min_size=1, max_size=30), st.data())
@example("a  ", None).via("a token of white space at the end")
@example(" \t", None).via("no word at all")
def test_words_hold_all_that_their_tokens_hold(text: str, data: st.DataObject | None) -> None:
    """Wherever tokens are cut, within a character too, and also where they are empty or white space alone."""
    every = st.lists(st.integers(0, len(text)), max_size=12)
    cuts = list(range(len(text))) if data is None else data.draw(every)
    spans = list(itertools.pairwise([0, *sorted(cuts), len(text)]))
    tokens = [Token("<s>", 0, 0, True), *(Token(text[a:b], a, b) for a, b in spans)]
    values = np.arange(1.0, len(tokens) + 1)
    words = placed_words(text, tokens, values)
    assert sum(value for *_, value in words) == pytest.approx(values[1:].sum())
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(words))
    edges = {0, len(text), *(start for start, _ in clusters(text))}
    assert edges.issuperset(place for start, end, _ in words for place in (start, end))
    for a, b in spans:  # a token touches the parts of one word alone
        assert sum(start < b and a < end for start, end, _ in words) <= 1


@pytest.mark.parametrize(
    ("text", "pieces", "words"),
    [
        ("un believable", [(0, 2), (3, 13)], ["un", "believable"]),
        ("unbelievable!", [(0, 2), (2, 8), (8, 12), (12, 13)], ["unbelievable", "!"]),
        ("don't stop", [(0, 3), (3, 4), (4, 5), (6, 10)], ["don't", "stop"]),
        ("猫が好き", [(0, 1), (1, 2), (2, 4)], ["猫", "が", "好き"]),
        ("it 's a", [(0, 2), (3, 5), (6, 7)], ["it", "'s", "a"]),  # a piece over two words makes them one
        ("a dog", [(0, 1), (1, 5)], ["a", "dog"]),  # the second piece carries its space
        (
            "สวัสดี",
            [(0, 3), (3, 5), (5, 6)],
            ["สวั", "สดี"],
        ),  # two letters by one piece, the second one's vowel by the next
        ("न\u094dम", [(0, 1), (1, 2), (1, 2), (2, 3)], ["न\u094dम"]),  # bytes of one sign
        ("a, b", [(0, 1), (3, 4)], ["a", "b"]),  # what no token stands for is no word
    ],
)
def test_words_are_merged_by_offsets(text: str, pieces: list[tuple[int, int]], words: list[str]) -> None:
    tokens = [Token(text[a:b], a, b) for a, b in pieces]
    assert [word for word, _ in merge_words(text, tokens, np.ones(len(tokens)))] == words


def test_white_space_counts_for_the_word_that_follows() -> None:
    tokens = [Token("a", 0, 1), Token("", 1, 2), Token("b", 2, 3), Token("", 3, 4)]
    assert merge_words("a b ", tokens, np.array([1.0, 2, 4, 8])) == [("a", 1.0), ("b", 14.0)]
    assert merge_words("a b ", tokens, np.array([1.0, 2, 4, 8]), mean=True) == [("a", 1.0), ("b", 14 / 3)]
