"""The two networks are written out; they are timm's and transformers', number by number, with the packaged weights."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
from m2ib.results.resume import weights_digest
from m2ib_adapters.inputs.tokens import TokenizerCoder
from m2ib_adapters.photo import adapter, networks
from m2ib_adapters.photo.minilm import parts_of

TEXTS = (
    "a tabby cat with green eyes",
    "Ünïcödé, 日本 und don't  stop  ...",
    "antidisestablishmentarianism [SEP] of [MASK] [CLS]",
    "one word more " * 100,
)


@pytest.fixture(scope="module")
def bert() -> Any:
    from transformers import AutoModel

    folder = networks.package_file(*networks.TEXT_FILE).parent
    return AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def coders() -> tuple[Any, TokenizerCoder]:
    """Ours, and transformers' own."""
    from transformers import AutoTokenizer

    path = networks.package_file(*networks.TEXT_FILE)
    return networks.text_network()[1], TokenizerCoder(AutoTokenizer.from_pretrained(path.parent))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("limit", [6, 256])
@pytest.mark.parametrize("padded", [False, True])
def test_texts_are_tokenized_as_transformers_does(coders: Any, text: str, limit: int, padded: bool) -> None:
    ours, theirs = (coder.code(text, limit, truncate=True, padded=padded) for coder in coders)
    assert ours == theirs
    assert coders[0].read(ours.ids) == coders[1].read(ours.ids)
    assert (coders[0].pad, coders[0].end, coders[0].special) == (0, 102, coders[1].special)
    with pytest.raises(
        m2ib.InputError, match=r"has 302 tokens, 46 more than the model's 256; shorten it, or"
    ):
        coders[0].code(TEXTS[-1], 256, truncate=False, padded=False)


def test_unknown_words_are_told_as_transformers_does(coders: Any) -> None:
    for coder in coders:
        with pytest.warns(m2ib.M2IBWarning, match="has no token for '😀'; the model reads its unknown token"):
            found = coder.code("a 😀", 9, truncate=False, padded=False)
        assert found.tokens[2].text == "😀"


def test_the_text_network_is_transformers_bert(bert: Any, coders: Any) -> None:
    ours, _ = networks.text_network()
    assert weights_digest(ours) == weights_digest(bert)
    rows = [torch.tensor(coders[0].code(text, 256, truncate=True, padded=False).ids) for text in TEXTS[:3]]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    found, expected = (networks.sentence_embedding(each.double(), ids, 0) for each in (ours, bert))
    bert.float()
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    ours.encoder.layer[0].intermediate.dense = torch.nn.Sequential(ours.encoder.layer[0].intermediate.dense)
    assert [parts_of(block) is None for block in ours.encoder.layer] == [True] + [False] * 5


def test_maps_are_those_of_transformers_bert(bert: Any) -> None:
    model = m2ib.load_model("photo", device="cpu", size=64)
    inner: Any = torch.nn.ModuleDict({**dict(model.module.named_children()), "text": bert})
    inner.requires_grad_(False)
    text = adapter._text_encoder(inner, networks.text_network()[1])
    assert text.tail is None  # its blocks are none of ours
    theirs = replace(model, module=inner, encoders={**model.encoders, "text": text})
    assert [each.name for each in text.layers] == [each.name for each in model.encoders["text"].layers]
    text_side, pixels = TEXTS[0], torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    for options in ({}, {"method": "gradcam"}):
        ours, expected = (
            m2ib.explain(each, image=pixels, text=text_side, **options)  # type: ignore[arg-type]
            for each in (model, theirs)
        )
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_allclose(a.grid, b.grid, rtol=0, atol=1e-5 * np.abs(b.grid).max())


@pytest.mark.parametrize("size", [64, 75])
def test_the_image_network_is_timms(size: int) -> None:
    import timm

    ours: Any = networks.image_network()
    theirs: Any = timm.create_model("tf_efficientnet_lite2").eval()
    theirs.load_state_dict(ours.state_dict())
    assert weights_digest(ours) == weights_digest(theirs)
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours.forward_features(pixels), theirs.forward_features(pixels))
    torch.testing.assert_close(ours(pixels), theirs(pixels))
    assert [len(stage) for stage in ours.blocks] == [len(stage) for stage in theirs.blocks]


def test_usual_captions_are_of_classes_that_it_knows() -> None:
    from timm.data.imagenet_info import ImageNetInfo

    names = [ImageNetInfo().index_to_description(number) for number in range(0, 1000, 31)]
    assert list(adapter.USUAL) == [name.split(",")[0] for name in names]


HEAVY = ("transformers", "sentence_transformers", "timm", "torchvision", "sklearn", "scipy", "pandas", "matplotlib", "huggingface_hub", "skimage")  # fmt: skip


def test_loading_it_imports_no_library_of_models() -> None:
    code = f"""
import sys, m2ib
model = m2ib.load_model("photo", device="cpu", size=64)
model.embed("text", model.preprocess("text", ["a cat"]))
print(*[name for name in {HEAVY!r} if name in sys.modules])
import transformers
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, later = done.stdout.splitlines()
    assert found == ""
    assert "transformers" in later  # it would be noticed


def test_a_missing_package_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(m2ib.AdapterError, match=r"tokenizers.*pip install 'm2ib\[photo\]'"):
        m2ib.load_model("photo", device="cpu", size=64)
