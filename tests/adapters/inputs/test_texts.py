"""Where tokens stand in a text of any script, as it was given, and what ids without a text stand for."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import m2ib
from m2ib.contract.layout import Token
from m2ib.contract.words import clusters, merge_words, word_spans
from m2ib_adapters.inputs.texts import aligned, check_text
from m2ib_adapters.inputs.tokens import SimpleCoder
from tiny_clip import END, START
from toy import save_clip_with_words

SIMPLE = SimpleCoder(open_clip.SimpleTokenizer())
FAMILY = "👨\u200d👩\u200d👧"
CAFE = unicodedata.normalize("NFD", "Café NAÏVE")
TEXTS = [
    "नमस्ते दुनिया", "வணக்கம்  உலகம்", "שָׁלוֹם עוֹלָם", "مَرْحَبًا بالعالم", CAFE, f"{FAMILY} 👍🏽\tok", "İstanbul ΟΔΟΣ",
    "ﬁne ½ Ａｂ", "“It’s” 3.5 cm", "한국어",
]  # fmt: skip


def words_of(text: str, tokens: Sequence[Token]) -> list[str]:
    """Their values checked: one for each token that is not special."""
    words = merge_words(text, tokens, np.ones(len(tokens)))
    assert sum(value for _, value in words) == sum(not token.special for token in tokens)
    return [word for word, _ in words]


@pytest.mark.parametrize("text", TEXTS)
def test_byte_pairs_stand_in_the_text_as_it_was_given(text: str) -> None:
    coded = SIMPLE.code(text, 77, truncate=False, padded=False)
    assert [value for value in open_clip.tokenize([text])[0].tolist() if value] == coded.ids
    assert coded.text == text
    assert words_of(coded.text, coded.tokens) == [text[a:b] for a, b in word_spans(text)]


def test_what_was_repaired_is_shown_repaired() -> None:
    coded = SIMPLE.code("A  Cat &amp; a CAFÃ©", 77, truncate=False, padded=False)
    assert coded.text == "A Cat & a CAFé"
    assert words_of(coded.text, coded.tokens) == ["A", "Cat", "&", "a", "CAFé"]


@pytest.mark.parametrize("text", [*TEXTS, "สวัสดีครับ", "猫が好き 🦊🦊"])
def test_ids_are_read_back_whole(text: str) -> None:
    """A sign's bytes may be several tokens, and CLIP writes spaces between a letter and its marks."""
    ids = SIMPLE.code(text, 77, truncate=False, padded=False).ids
    coded = SIMPLE.read(ids)
    clean = open_clip.tokenizer.basic_clean(text).lower()
    assert "".join(coded.text.split()).replace("ς", "σ") == "".join(clean.split()).replace("ς", "σ")
    assert all(unicodedata.category(word[0])[0] != "M" for word in words_of(coded.text, coded.tokens))
    spelt = [0] * len(coded.text)
    for token in coded.tokens:
        spelt[token.start : token.end] = [1] * (token.end - token.start)
    assert all(done or sign.isspace() for done, sign in zip(spelt, coded.text, strict=True))


def test_each_byte_of_a_sign_belongs_to_it() -> None:
    text = f"ok {FAMILY} ok 🦊"
    known = SIMPLE.code(text, 77, truncate=False, padded=False)
    counts = [
        merge_words(each.text, each.tokens, np.ones(len(each.tokens)))
        for each in (known, SIMPLE.read(known.ids))
    ]
    assert counts[0] == counts[1]


@settings(max_examples=200)
@given(st.text(max_size=30) | st.text("aİé\u0301न\u094dﬁ½Ａ \n👩\u200dς", max_size=20))
def test_signs_are_found_where_they_stand(text: str) -> None:
    text = unicodedata.normalize("NFC", text)

    def clean(sign: str) -> str:
        return unicodedata.normalize("NFD", sign.lower())

    found = aligned(text, clean)
    places = [(sign, n) for n, given_sign in enumerate(text) for sign in clean(given_sign)]
    assert sorted(sign for sign, *_ in found) == sorted(sign for sign, _ in places if not sign.isspace())
    for sign, start, end in found:
        assert sign in clean(text[start:end])
    spans = [(start, end) for _, start, end in found]
    assert spans == sorted(spans)
    edges = {0, len(text), *(start for start, _ in clusters(text))}
    assert all(end - start == 1 or {start, end} <= edges for start, end in spans)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(m2ib.InputError, match=r"holds '\\ud83e', half a character \(a lone surrogate\)"):
        check_text("a \ud83e fox")


def test_what_photo_has_no_token_for_is_said(photo64: m2ib.Model) -> None:
    with pytest.warns(
        m2ib.M2IBWarning, match="no token for 'สวัสดีครับ', '🦊'; the model reads its unknown token"
    ):
        item = photo64.item("text", "a สวัสดีครับ 🦊")
    assert item.origin["warnings"][0].startswith("text: the model's tokenizer has no token for")
    again = photo64.item("text", item.inputs)
    assert [t.special for t in again.layout.tokens] == [t.special for t in item.layout.tokens]
    assert torch.equal(torch.as_tensor(again.inputs), torch.as_tensor(item.inputs))


@pytest.mark.parametrize("name", ["clip", "photo"])
def test_eight_threads_get_the_ids_that_one_gets(name: str, tmp_path: Path) -> None:
    """A fast tokenizer keeps truncation as its own state: another thread's was taken."""
    options: dict[str, Any] = (
        {"size": 64} if name == "photo" else {"checkpoint": save_clip_with_words(tmp_path)}
    )
    model = m2ib.load_model(name, device="cpu", **options)
    texts = [
        "a dog",
        "red cat of the cup",
        "photo of the dog " * 120,
        "cat",
        FAMILY if name == "photo" else "cup",
    ]
    options = {"truncate": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", m2ib.M2IBWarning)
        alone = [model.preprocess("text", [text], **options) for text in texts]
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                drawn = [number % len(texts) for number in range(1200)]
                found = list(pool.map(lambda n: model.preprocess("text", [texts[n]], **options), drawn))
        finally:
            sys.setswitchinterval(before)
    assert all(torch.equal(ids, alone[number]) for ids, number in zip(found, drawn, strict=True))


def test_clip_reads_ids_at_their_end_token_or_says_so(tmp_path: Path, clip_folder: Path) -> None:
    """By transformers' older rule a text is read at its largest id, whatever that is."""
    folders = {
        "words": save_clip_with_words(tmp_path / "words"),
        "none": Path(shutil.copytree(clip_folder, tmp_path / "none")),
    }
    for folder in folders.values():
        file = folder / "config.json"
        config = json.loads(file.read_text())
        config["text_config"]["eos_token_id"] = 2
        file.write_text(json.dumps(config))
    known, blind = (m2ib.load_model("clip", checkpoint=folder, device="cpu") for folder in folders.values())
    with pytest.raises(
        m2ib.InputError, match=f"largest token id, the end token {END}, and that of these is {START}"
    ):
        known.item("text", torch.tensor([5, 60, START, 7]))
    with pytest.warns(m2ib.M2IBWarning, match=f"here {START}; without its tokenizer it is not known"):
        blind.item("text", torch.tensor([5, 60, START, 7]))
    for model in (known, blind):
        assert model.item("text", torch.tensor([START, 5, END])).layout.grid == (3,)
