"""The open-clip adapter against open_clip itself, the naive method and transformers' CLIP.

Models are tiny, seeded and in float64.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import m2ib
from m2ib.capture import frozen
from m2ib_adapters.openclip.adapter import build
from m2ib_adapters.openclip.preprocess import DEFAULTS, merge, preparation
from m2ib_adapters.openclip.text_towers import text_tower
from m2ib_adapters.openclip.tokens import SimpleCoder
from naive import capacity

CPU = {"device": "cpu", "dtype": "float64"}
QUIET = {"show_progress": False}
WORDS = "[CLS] [SEP] a the dog cat ##s photo of two on grass snow ! ##p ##hoto red"
TEXTS = ("a dog", "a photo of two cats on grass", "Snow!")
VIT = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": [32, 24], "layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}
SCALED = {  # LayerScale, quick GELU, the text tower in its own module
    **VIT,
    "vision_cfg": {**VIT["vision_cfg"], "ls_init_value": 0.3, "final_ln_after_pool": True},
    "text_cfg": {**VIT["text_cfg"], "ls_init_value": 0.3, "proj_bias": True},
    "quick_gelu": True,
    "custom_text": True,
}
RESNET = {**VIT, "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "head_width": 16}}
COCA = {
    "embed_dim": 16,
    "vision_cfg": {
        **VIT["vision_cfg"],
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": {**VIT["text_cfg"], "context_length": 11, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {"context_length": 12, "width": 32, "heads": 2, "layers": 1},
    "custom_text": True,
}


def photo(rows: int = 45, columns: int = 61, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((columns, rows), Image.Resampling.BICUBIC))


def shake(module: nn.Module) -> nn.Module:
    """Weights that leave nothing at 0 or 1: open_clip starts some branches at exactly zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def module_of(config: dict[str, Any]) -> Any:
    config = json.loads(json.dumps(config))
    custom = config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"]["hf_model_pretrained"] = False
    kind = (
        open_clip.CoCa
        if "multimodal_cfg" in config
        else open_clip.CustomTextCLIP
        if custom
        else open_clip.CLIP
    )
    torch.manual_seed(0)
    return shake(kind(**config))


@dataclass(frozen=True)
class Loaded:
    model: m2ib.Model
    config: dict[str, Any]
    file: Path


def save_and_load(config: dict[str, Any], file: Path, **options: Any) -> Loaded:
    torch.save(module_of(config).state_dict(), file)
    model = m2ib.load_model("open-clip", architecture=config, checkpoint=file, **{**CPU, **options})
    return Loaded(model, config, file)


def wordpiece(folder: Path, *, side: str = "right", pad: int = 0) -> Path:
    """A word-piece tokenizer of a few words, saved as transformers saves one; ``pad``: 0 or 1."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]"] if pad == 0 else ["[UNK]", "[PAD]"]
    words += WORDS.split()
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=side,
    )
    fast.save_pretrained(folder)
    return folder


def bert_config(folder: Path) -> dict[str, Any]:
    from transformers import BertConfig

    wordpiece(folder)
    BertConfig(
        vocab_size=20,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=16,
        pad_token_id=0,
    ).save_pretrained(folder)
    tower = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_pooler_type": "mean_pooler"}
    return {**VIT, "text_cfg": {**tower, "hf_proj_type": "linear"}}


def siglip_config(folder: Path) -> dict[str, Any]:
    """timm's smallest ViT with attention pooling; the text side as in open_clip's SigLIP configurations."""
    vision = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none", "image_size": 160}
    text = {
        "context_length": 11,
        "vocab_size": 20,
        "width": 32,
        "heads": 2,
        "layers": 3,
        "hf_tokenizer_name": str(wordpiece(folder)),
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    }
    return {
        "embed_dim": 96,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": vision,
        "text_cfg": text,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("open-clip")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Callable[[str], Loaded]:
    """Each model once."""
    configs: dict[str, Callable[[], dict[str, Any]]] = {
        "vit": lambda: VIT,
        "scaled": lambda: SCALED,
        "resnet": lambda: RESNET,
        "coca": lambda: COCA,
        "bert": lambda: bert_config(folder / "bert"),
        "siglip": lambda: siglip_config(folder / "siglip"),
    }
    done: dict[str, Loaded] = {}

    def get(name: str) -> Loaded:
        if name == "sequence-first":
            return replace(get("vit"), model=sequence_first(get("vit")))
        if name not in done:
            done[name] = save_and_load(configs[name](), folder / f"{name}.pt")
        return done[name]

    return get


def sequence_first(vit: Loaded) -> m2ib.Model:
    """The same weights in blocks that run (tokens, batch, channels), as open_clip's used to."""
    module = module_of(vit.config).double()
    for transformer in (module.transformer, module.visual.transformer):
        transformer.batch_first = False
        for block in transformer.resblocks:
            block.attn.batch_first = False
    size = tuple(vit.config["vision_cfg"]["image_size"])
    coder = SimpleCoder(open_clip.SimpleTokenizer(context_length=12))
    return build(module, preparation(size, DEFAULTS), coder, 12, {})


def features(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def fixed_length(case: Loaded, text: str) -> Tensor:
    """Ids (1, context) as open_clip's own tokenizer gives them."""
    given = case.config["text_cfg"]
    length = given.get("context_length", 77)
    if "hf_tokenizer_name" not in given:
        return open_clip.SimpleTokenizer(context_length=length)([text])
    from open_clip.tokenizer import HFTokenizer

    tokenizer = HFTokenizer(
        given["hf_tokenizer_name"], context_length=length, **given.get("tokenizer_kwargs", {})
    )
    return tokenizer([text], context_length=min(length, 16))


def encode_text(module: Any, ids: Tensor) -> Tensor:
    return features(module.text(ids) if hasattr(module, "text") else module.encode_text(ids))


def difference(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


TOWERS = ("vit", "sequence-first", "scaled", "resnet", "coca", "bert", "siglip")
GRID = ((-1, 0.1, 1.0), (0, 0.01, 0.1), (1, 1.0, 1.0), (1, 0.1, 0.1))


@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize(("layer", "beta", "variance"), GRID)
def test_both_sides_equal_the_naive_method(
    loaded: Callable[[str], Loaded], name: str, layer: int, beta: float, variance: float
) -> None:
    case = loaded(name)
    model, module = case.model, case.model.module
    slow = name == "siglip"
    options = {
        "beta": beta,
        "variance": variance,
        "steps": 3 if slow else 5,
        "samples": 2 if slow else 3,
        "seed": 7,
    }
    text = "a photo of two dogs"
    explanation = m2ib.explain(model, image=photo(), text=text, layer=layer, **options, **QUIET)
    pixels, ids = model.preprocess("image", [photo()]), fixed_length(case, text)

    def embed_image() -> Tensor:
        return features(module.visual(pixels))

    def embed_text() -> Tensor:
        return encode_text(module, ids)

    with frozen(module):
        targets = {"image": embed_text().detach(), "text": embed_image().detach()}
        for modality, embed in (("image", embed_image), ("text", embed_text)):
            place = model.encoder(modality).layer(layer)
            attribution = explanation[modality]
            if name == "coca" and modality == "text":
                continue  # its class token stands after the padding: see the test of CoCa
            reference = capacity(
                embed,
                place.module,
                targets[modality],
                at=place.at,
                sequence_first=name == "sequence-first",
                channel_axis=place.channel_axis,
                read=attribution.layout.read,
                **options,
            )
            assert difference(attribution.capacity, reference.numpy()) < 1e-11


def test_full_length_fit_equals_the_naive_method(loaded: Callable[[str], Loaded]) -> None:
    case = loaded("vit")
    module = case.model.module
    explanation = m2ib.explain(case.model, image=photo(), text="a dog on grass", **QUIET)
    assert explanation["text"].settings["layer"] == explanation["image"].settings["layer"] == 1
    pixels, ids = case.model.preprocess("image", [photo()]), fixed_length(case, "a dog on grass")
    with frozen(module):
        reference = capacity(
            lambda: module.encode_text(ids),
            module.transformer.resblocks[1],
            module.encode_image(pixels).detach(),
            beta=0.1,
            variance=1.0,
            read=6,
        )
    assert explanation["text"].tokens == ("<start_of_text>", "a", "dog", "on", "grass", "<end_of_text>")
    assert difference(explanation["text"].grid, reference.numpy()) < 1e-11
    assert explanation["image"].grid.shape == (4, 3)
    assert explanation["image"].capacity.shape == (13,)


@pytest.mark.parametrize("name", TOWERS)
def test_many_equal_one_by_one_and_fast_equals_general(loaded: Callable[[str], Loaded], name: str) -> None:
    model = loaded(name).model
    options = {"steps": 3, "samples": 2, "layer": 0, **QUIET}
    pairs = [{"image": photo(40 + n, 61, n), "text": text} for n, text in enumerate(TEXTS)]
    together = list(m2ib.explain_many(model, pairs, batch_size=3, **options))
    general = list(m2ib.explain_many(model, pairs, batch_size=3, fast=False, **options))
    for pair, many, slow in zip(pairs, together, general, strict=True):
        alone = m2ib.explain(model, **pair, **options)
        for modality in ("image", "text"):
            assert (
                difference(many[modality].capacity[: alone[modality].capacity.size], alone[modality].capacity)
                < 1e-11
            )
            assert difference(many[modality].grid, alone[modality].grid) < 1e-11
            assert difference(slow[modality].grid, many[modality].grid) < 1e-11
        assert many.similarity == pytest.approx(alone.similarity, abs=1e-12)


@pytest.mark.parametrize("name", ["vit", "sequence-first", "scaled", "resnet"])
def test_tails_equal_the_model(loaded: Callable[[str], Loaded], name: str) -> None:
    """Also the last block's, and with padding in the batch."""
    model = loaded(name).model
    inputs = {"image": [photo(seed=n) for n in range(3)], "text": list(TEXTS)}
    for modality, raws in inputs.items():
        encoder = model.encoder(modality)
        assert encoder.tail is not None
        batch = model.preprocess(modality, raws)
        for layer in range(-1, len(encoder.layers)):
            place, seen = encoder.layer(layer), []
            with frozen(model.module), torch.no_grad():
                if place.at == "output":
                    handle = place.module.register_forward_hook(lambda m, args, out: seen.append(out))  # noqa: B023
                else:
                    handle = place.module.register_forward_pre_hook(lambda m, args: seen.append(args[0]))  # noqa: B023
                expected = encoder.embed(batch)
                handle.remove()
                got = encoder.tail(place.read(seen[0]), layer, batch)
            assert difference(got.numpy(), expected.numpy()) < 1e-12


@pytest.mark.parametrize("name", TOWERS)
def test_embeddings_are_open_clips_own(loaded: Callable[[str], Loaded], name: str) -> None:
    """Cut and padded only to the longest of the batch, texts embed as with open_clip's fixed length."""
    case = loaded(name)
    module = case.model.module
    with frozen(module), torch.no_grad():
        for texts in ([TEXTS[1]], [TEXTS[0], TEXTS[2]]):
            expected = torch.cat([encode_text(module, fixed_length(case, text)) for text in texts])
            if name != "coca":  # only texts of one length share its batch
                got = case.model.encoder("text").embed(case.model.preprocess("text", texts))
            else:
                got = torch.cat(
                    [case.model.encoder("text").embed(case.model.preprocess("text", [t])) for t in texts]
                )
            assert difference(got.numpy(), expected.numpy()) < 1e-12
        pixels = case.model.preprocess("image", [photo()])
        expected = features(module.visual(pixels))
        assert difference(case.model.encoder("image").embed(pixels).numpy(), expected.numpy()) == 0


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("text", [*TEXTS, "a " * 20])
def test_coca_reads_what_its_class_token_reads(
    loaded: Callable[[str], Loaded], text: str, correct: bool
) -> None:
    """Cut to the tokens that the class token sees, CoCa's text tower gives what it gives in full."""
    case = loaded("coca")
    tower = case.model.module.text
    before = tower.correct_cls_mask
    tower.correct_cls_mask = correct
    try:
        item = build_text(case).prepare(text, truncate=True)
        full = fixed_length(case, text)
        with frozen(case.model.module), torch.no_grad():
            got = build_text(case).embed(item.inputs[None])
            expected = features(tower(full))
        assert difference(got.numpy(), expected.numpy()) < 1e-12
        names = [token.text for token in item.layout.tokens]
        assert names[-1] == "<class>"
        assert ("<pad>" in names) == (not correct and text != "a " * 20)
    finally:
        tower.correct_cls_mask = before


def build_text(case: Loaded) -> m2ib.Encoder:
    from m2ib_adapters.openclip.text_towers import text_encoder

    coder = SimpleCoder(open_clip.SimpleTokenizer(context_length=11))
    return text_encoder(text_tower(case.model.module, 11), coder)


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


def test_equals_transformers_clip_with_the_same_weights(
    loaded: Callable[[str], Loaded], tmp_path: Path
) -> None:
    from transformers import CLIPConfig, CLIPModel

    config = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": 32}}
    ours = save_and_load(config, tmp_path / "square.pt").model
    shared = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2}
    shared |= {"hidden_act": "gelu", "projection_dim": 16}
    text = {**shared, "max_position_embeddings": 12, "vocab_size": 49408}
    text |= {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 0}
    vision = {**shared, "image_size": 32, "patch_size": 8}
    theirs = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).double()
    theirs.load_state_dict(to_transformers(ours.module.state_dict()), strict=False)
    theirs.save_pretrained(tmp_path / "clip")
    other = m2ib.load_model("clip", checkpoint=tmp_path / "clip", **CPU)
    pixels = ours.preprocess("image", [photo()])[0]
    for words in TEXTS:
        padded = open_clip.SimpleTokenizer(context_length=12)([words])[0]
        for layer in (-1, 0, 1):
            settings = {"layer": layer, "steps": 5, "samples": 3, **QUIET}
            here = m2ib.explain(ours, image=pixels, text=words, **settings)
            there = m2ib.explain(other, image=pixels, text=padded, **settings)
            assert here.similarity == pytest.approx(there.similarity, abs=1e-12)
            for modality in ("image", "text"):
                assert here[modality].grid.shape == there[modality].grid.shape
                assert difference(here[modality].grid, there[modality].grid) < 1e-10


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A plain open_clip ViT's weights under transformers' names."""
    found = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T,
        "text_projection.weight": state["text_projection"].T,
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
    }
    norms = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm"}
    norms["ln_final"] = "text_model.final_layer_norm"
    for old, new in norms.items():
        found |= {f"{new}.{kind}": state[f"{old}.{kind}"] for kind in ("weight", "bias")}
    parts = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    parts["attn.out_proj"] = "self_attn.out_proj"
    for old, new in (("visual.transformer", "vision_model"), ("transformer", "text_model")):
        for number in range(3):
            block, layer = f"{old}.resblocks.{number}", f"{new}.encoder.layers.{number}"
            for kind in ("weight", "bias"):
                found |= {f"{layer}.{b}.{kind}": state[f"{block}.{a}.{kind}"] for a, b in parts.items()}
                three = state[f"{block}.attn.in_proj_{kind}"].chunk(3)
                found |= {f"{layer}.self_attn.{n}_proj.{kind}": w for n, w in zip("qkv", three, strict=True)}
    return {key: value.contiguous() for key, value in found.items()}


# --- the last block


@pytest.mark.parametrize("name", ["vit", "sequence-first", "scaled"])
@pytest.mark.parametrize("fast", [True, False])
def test_the_last_block_of_a_pooled_token_is_warned_of(
    loaded: Callable[[str], Loaded], name: str, fast: bool
) -> None:
    model = loaded(name).model
    with pytest.warns(m2ib.M2IBWarning) as record:
        m2ib.explain(model, image=photo(), text="a dog", layer=2, steps=2, samples=2, fast=fast, **QUIET)
    messages = [str(warning.message) for warning in record]
    assert any(
        "image: no position at layer 2 (visual.transformer.resblocks.2) reaches" in m for m in messages
    )
    assert any("text: no position at layer 2" in m for m in messages)


def test_the_last_map_is_not_warned_of(loaded: Callable[[str], Loaded]) -> None:
    """Attention pooling, mean pooling and convolutions read all positions; warnings are errors here."""
    for name, layer in (
        ("siglip", {"image": 8, "text": 1}),
        ("bert", {"image": 1, "text": 2}),
        ("resnet", {"image": 4}),
    ):
        m2ib.explain(
            loaded(name).model, image=photo(), text="a dog", layer=layer, steps=1, samples=1, **QUIET
        )


# --- layouts and towers


def test_siglip_reads_its_padding_and_has_no_class_token(loaded: Callable[[str], Loaded]) -> None:
    explanation = m2ib.explain(
        loaded("siglip").model, image=photo(), text="A photo, of DOGS!", steps=1, **QUIET
    )
    image, text = explanation["image"], explanation["text"]
    assert image.grid.shape == (10, 10)
    assert image.layout.index == tuple(range(1, 101))  # one register token
    assert image.settings["layer"] == 7
    assert text.tokens == ("[CLS]", "A", "photo", "of", "DOG", "S", "[SEP]", *("[PAD]",) * 4)
    assert text.view["text"] == "A photo of DOGS"
    assert text.origin["given"] == "A photo, of DOGS!"
    assert text.layout.read is None
    assert (text.grid > 0).all()
    assert [word for word, _ in text.words] == ["A", "photo", "of", "DOGS"]


def test_resnet_maps_are_the_layers_own(loaded: Callable[[str], Loaded]) -> None:
    model = loaded("resnet").model
    assert [layer.name for layer in model.encoder("image").layers] == [
        "visual.layer1.0",
        "visual.layer2.0",
        "visual.layer2.1",
        "visual.layer3.0",
        "visual.layer4.0",
    ]
    assert model.encoder("image").defaults.layer == 3  # the end of layer3
    for layer, grid in ((-1, (16, 16)), (0, (16, 16)), (2, (8, 8)), (3, (4, 4)), (4, (2, 2))):
        settings = {"image": layer, "text": 0}
        explanation = m2ib.explain(
            model, image=photo(), text="a dog", layer=settings, steps=1, samples=1, **QUIET
        )
        assert explanation["image"].grid.shape == grid


TIMM = (  # name, size, pooling, default grid
    ("test_vit", 160, "token", (10, 10)),
    ("test_vit2", 160, "avg", (10, 10)),
    ("test_vit_relpos", 160, "avg", (10, 10)),
    ("test_convnext", 160, "avg", (10, 10)),
    ("test_resnet", 160, "avg", (10, 10)),
    ("test_efficientnet", 160, "avg", (10, 10)),
    ("test_byobnet", 160, "avg", (10, 10)),
)


@pytest.mark.parametrize(("name", "size", "pool", "grid"), TIMM)
def test_timm_towers(tmp_path: Path, name: str, size: int, pool: str, grid: tuple[int, int]) -> None:
    vision = {"timm_model_name": name, "timm_pool": pool, "timm_proj": "linear", "image_size": size}
    case = save_and_load({**VIT, "vision_cfg": vision}, tmp_path / "timm.pt")
    explanation = m2ib.explain(case.model, image=photo(), text="a dog", steps=2, samples=2, **QUIET)
    assert explanation["image"].grid.shape == grid
    assert difference(explanation["image"].capacity, naive_image(case.model, explanation, 2)) < 1e-11


def naive_image(model: m2ib.Model, explanation: m2ib.Explanation, samples: int) -> np.ndarray:
    place = model.encoder("image").layer(explanation["image"].settings["layer"])
    pixels, ids = model.preprocess("image", [photo()]), model.preprocess("text", ["a dog"])
    with frozen(model.module):
        found = capacity(
            lambda: model.module.encode_image(pixels),
            place.module,
            model.encoder("text").embed(ids).detach(),
            beta=0.1,
            variance=1.0,
            steps=2,
            samples=samples,
            channel_axis=place.channel_axis,
        )
    return found.numpy()


def test_swin_maps_have_their_channels_last() -> None:
    """A real configuration's tower, small enough for two steps."""
    vision = {"timm_model_name": "swin_tiny_patch4_window7_224", "timm_pool": "avg", "timm_proj": "linear"}
    with pytest.warns(m2ib.M2IBWarning, match=r"weights are random"):
        model = m2ib.load_model(
            "open-clip", architecture={**VIT, "vision_cfg": vision | {"image_size": 224}}, **CPU
        )
    assert model.encoder("image").defaults.layer == 9  # 2 + 2 + 6 blocks, the last two left out
    explanation = m2ib.explain(model, image=photo(), text="a dog", steps=2, samples=1, **QUIET)
    assert explanation["image"].grid.shape == (14, 14)
    assert difference(explanation["image"].capacity, naive_image(model, explanation, 1)) < 1e-11


def hugging_face(kind: str, home: Path) -> dict[str, Any]:
    """A tiny text tower of each family that open_clip knows."""
    import transformers

    pad = 1 if kind in ("roberta", "m2m_100") else 0
    shared = {"vocab_size": 20, "pad_token_id": pad}
    if kind == "mt5":
        config = transformers.MT5Config(d_model=32, d_kv=16, d_ff=48, num_layers=3, num_heads=2, **shared)
    elif kind == "m2m_100":
        config = transformers.M2M100Config(
            d_model=32,
            encoder_layers=3,
            decoder_layers=1,
            encoder_attention_heads=2,
            encoder_ffn_dim=48,
            **shared,
        )
    else:
        family = transformers.RobertaConfig if kind == "roberta" else transformers.BertConfig
        sizes = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
        config = family(hidden_size=32, max_position_embeddings=16, **sizes, **shared)
    config.save_pretrained(wordpiece(home, pad=pad))
    pooler = "cls_pooler" if kind in ("bert", "m2m_100") else "mean_pooler"
    text = {"hf_model_name": str(home), "hf_tokenizer_name": str(home), "hf_pooler_type": pooler}
    return {**VIT, "text_cfg": text}


@pytest.mark.parametrize("kind", ["bert", "roberta", "mt5", "m2m_100"])
def test_hugging_face_towers(tmp_path: Path, kind: str) -> None:
    """Without its padding, alone and in a batch, a text gives what it gives at full length."""
    case = save_and_load(hugging_face(kind, tmp_path), tmp_path / "weights.pt")
    model = case.model
    limit = {"bert": 16, "roberta": 14, "mt5": 77, "m2m_100": 77}[kind]
    with pytest.raises(m2ib.InputError, match=f"more than the model's {limit};"):
        model.preprocess("text", ["the dog " * 40])
    texts = [TEXTS[1], "the dog", "a red cat"]
    from open_clip.tokenizer import HFTokenizer

    with frozen(model.module), torch.no_grad():
        full = HFTokenizer(str(tmp_path), context_length=limit)(texts)
        expected = model.module.text(full)
        got = model.encoder("text").embed(model.preprocess("text", texts))
    assert difference(got.numpy(), expected.numpy()) < 1e-12
    pairs = [{"image": photo(seed=n), "text": text} for n, text in enumerate(texts)]
    for layer in (-1, 0, 1):
        settings = {"layer": {"text": layer, "image": 0}, "steps": 3, "samples": 2, **QUIET}
        for pair, many in zip(pairs, m2ib.explain_many(model, pairs, **settings), strict=True):
            assert difference(many["text"].grid, m2ib.explain(model, **pair, **settings)["text"].grid) < 1e-11
    place = model.encoder("text").layer(1)
    pixels = model.preprocess("image", [photo()])
    with frozen(model.module):
        found = capacity(
            lambda: model.module.text(full[:1]),
            place.module,
            model.module.visual(pixels).detach(),
            beta=0.1,
            variance=1.0,
            steps=3,
            samples=2,
            read=10,
        )
    assert (
        difference(next(iter(m2ib.explain_many(model, pairs, **settings)))["text"].grid, found.numpy())
        < 1e-11
    )


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
    with frozen(case.model.module), torch.no_grad():
        expected = case.model.module.encode_text(full)
        assert difference(case.model.encoder("text").embed(inputs).numpy(), expected.numpy()) < 1e-12


@pytest.mark.parametrize("rule", ["argmax", "eos", "first", "last"])
@pytest.mark.parametrize("causal", [True, False])
def test_text_pooling_rules(tmp_path: Path, rule: str, causal: bool) -> None:
    """Only a causal tower that pools the end of the text leaves its padding out."""
    text = {**VIT["text_cfg"], "pool_type": rule, "eos_id": 49407, "no_causal_mask": not causal}
    case = save_and_load({**VIT, "text_cfg": text}, tmp_path / "rule.pt")
    inputs = case.model.preprocess("text", ["a dog"])
    cut = causal and rule in ("argmax", "eos")
    assert inputs.shape == (1, 4 if cut else 12)
    item = case.model.item("text", "a dog")
    assert item.layout.read == (4 if cut else None)
    assert [token.text for token in item.layout.tokens[4:]] == [] if cut else ["<pad>"] * 8
    with frozen(case.model.module), torch.no_grad():
        expected = case.model.module.encode_text(fixed_length(case, "a dog"))
        assert difference(case.model.encoder("text").embed(inputs).numpy(), expected.numpy()) < 1e-12


# --- preprocessing


@pytest.mark.parametrize("size", [32, 33, (32, 24), (24, 33)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_pixels_are_exactly_open_clips(size: int | tuple[int, int], interpolation: str, mode: str) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    own = {
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.25, 0.3),
        "interpolation": interpolation,
        "resize_mode": mode,
    }
    transform = image_transform_v2(PreprocessCfg(size=size, fill_color=7, **own), is_train=False)
    ours = preparation(size, merge(own, {"fill_color": 7}))
    generator = np.random.default_rng(3)
    for rows, columns in [
        (1, 1),
        (32, 32),
        (33, 32),
        (75, 50),
        *generator.integers(17, 97, (40, 2)).tolist(),
    ]:
        image = Image.fromarray(generator.integers(0, 256, (rows, columns, 3), dtype=np.uint8))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", m2ib.M2IBWarning)  # little is seen of a long strip
            got = ours.prepare(image, m2ib.Layout()).inputs
        assert torch.equal(got, transform(image)), (rows, columns)


def test_preprocessing_comes_from_the_weights(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    """The configuration's own, an option before it; registered names take what their weights agree on."""
    from m2ib_adapters.openclip.architectures import resolve

    siglip = resolve("ViT-B-16-SigLIP")
    assert merge(siglip.preprocess)["mean"] == (0.5, 0.5, 0.5)
    assert merge(siglip.preprocess)["resize_mode"] == "squash"
    assert merge(resolve("ViT-B-32").preprocess) == DEFAULTS
    vit = loaded("vit")
    whole = {"model_cfg": VIT, "preprocess_cfg": {"mean": [0.5] * 3, "resize_mode": "squash", "size": 9}}
    model = m2ib.load_model("open-clip", architecture=whole, checkpoint=vit.file, **CPU)
    origin = model.item("image", photo()).origin
    assert origin["mean"] == [0.5] * 3
    assert origin["fit"] == "squash"
    assert origin["input_size"] == [32, 24]
    options = {"preprocess": {"mean": [0.1] * 3}}
    model = m2ib.load_model("open-clip", architecture=whole, checkpoint=vit.file, **options, **CPU)
    assert model.item("image", photo()).origin["mean"] == [0.1] * 3
    with pytest.raises(m2ib.SettingError, match=r"keys out of mean, std, .*, not size"):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=vit.file, preprocess={"size": 8}, **CPU)


# --- tokens

SIMPLE = SimpleCoder(open_clip.SimpleTokenizer())
ODD = (
    "a Straße İstanbul&amp;amp;co  ﬁne\t— 'S don't 10's naïve 🦊🦊 日本語 <end_of_text> "
    "e\u0301 _x_ ½ \u200b\u03a3\u0391\u03a3"
)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text("aA bİßﬁ's'tLL10_!&amp;<>🦊é日\u200b\n", max_size=30))
def test_ids_are_the_tokenizers_own_and_spans_are_places(text: str) -> None:
    coded = SIMPLE.code(text, 77, truncate=True, padded=True)
    assert coded.ids == open_clip.tokenize([text])[0].tolist()
    assert len(coded.tokens) == 77
    place = 0
    for token in coded.tokens:
        assert 0 <= token.start <= token.end <= len(coded.text)
        assert token.start >= place - 1  # two tokens may share a character, never more than the last one
        place = max(place, token.end)
        assert token.special or token.text == coded.text[token.start : token.end]
    unspoken = set(coded.text.lower()) - set("".join(token.text.lower() for token in coded.tokens))
    assert coded.ids[-1] != 0 or all(sign.isspace() for sign in unspoken)


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
    assert grown.text == "İstanbul".lower()


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


def test_ids_that_cannot_be_read(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    with pytest.raises(m2ib.InputError, match=r"takes exactly 11 token ids, not 3; pad them"):
        loaded("siglip").model.item("text", torch.tensor([2, 4, 3]))
    with pytest.raises(m2ib.InputError, match=r"padding id 0 can only stand after"):
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


# --- architectures and checkpoints


def test_files_of_all_kinds_load_alike(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    vit = loaded("vit")
    state = module_of(VIT).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    training = {
        "epoch": 3,
        "name": "x",
        "state_dict": {f"module.{key}": value for key, value in state.items()},
    }
    torch.save(training, tmp_path / "epoch_3.pt")
    openai = {**state, "input_resolution": torch.tensor(32), "context_length": torch.tensor(12)}
    torch.save({key: value.half() for key, value in openai.items()}, tmp_path / "openai.bin")
    (tmp_path / "config.json").write_text(json.dumps(VIT), encoding="utf-8")
    expected = vit.model.embed("text", vit.model.preprocess("text", ["a dog"]))
    for name in ("weights.safetensors", "epoch_3.pt", "openai.bin"):
        model = m2ib.load_model(
            "open-clip", architecture=tmp_path / "config.json", checkpoint=str(tmp_path / name), **CPU
        )
        got = model.embed("text", model.preprocess("text", ["a dog"]))
        assert torch.allclose(got, expected, atol=1e-3 if "openai" in name else 1e-7)
        assert len(model.origin["sha256"]) == 64
        assert model.origin["architecture"] == str(tmp_path / "config.json")
        assert model.origin["checkpoint"] == str(tmp_path / name)
        json.dumps(model.origin)


def test_a_flat_files_weights_fit_a_separate_text_tower(loaded: Callable[[str], Loaded]) -> None:
    vit = loaded("vit")
    model = m2ib.load_model(
        "open-clip", architecture={**VIT, "custom_text": True}, checkpoint=vit.file, **CPU
    )
    settings = {"layer": 1, "steps": 2, "samples": 2, **QUIET}
    here = m2ib.explain(model, image=photo(), text="a dog", **settings)
    assert np.array_equal(
        here["text"].grid, m2ib.explain(vit.model, image=photo(), text="a dog", **settings)["text"].grid
    )


def test_a_folder_brings_its_own_weights_and_tokenizer(folder: Path, loaded: Callable[[str], Loaded]) -> None:
    case = loaded("bert")
    config = json.loads(json.dumps(case.config))
    config["text_cfg"] |= {"hf_tokenizer_name": "not/used", "hf_model_name": "."}
    home = folder / "bert"
    (home / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"resize_mode": "longest"}}), encoding="utf-8"
    )
    torch.save(module_of(case.config).state_dict(), home / "open_clip_pytorch_model.bin")
    for name in (home, f"local-dir:{home}"):
        model = m2ib.load_model("open-clip", architecture=name, **CPU)
        assert model.item("image", photo()).origin["fit"] == "pad"
        assert torch.equal(
            model.embed("text", model.preprocess("text", ["the cats"])),
            case.model.embed("text", case.model.preprocess("text", ["the cats"])),
        )


def test_architectures_that_are_not_there(tmp_path: Path) -> None:
    def load(architecture: Any, **options: Any) -> m2ib.Model:
        return m2ib.load_model("open-clip", architecture=architecture, **options, **CPU)

    with pytest.raises(
        m2ib.SettingError, match=r"architecture is missing; give a name as in architecture='ViT-B-32'"
    ):
        m2ib.load_model("open-clip")
    with pytest.raises(m2ib.SettingError, match=r"'vit-b32' is unknown \(did you mean ViT-B-32"):
        load("vit-b32")
    with pytest.raises(
        m2ib.SettingError, match=r"given as a dict is not an open_clip model config: it lacks text_cfg"
    ):
        load({key: value for key, value in VIT.items() if key != "text_cfg"})
    with pytest.raises(m2ib.SettingError, match=r"is a folder without open_clip_config\.json"):
        load(tmp_path)
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(m2ib.SettingError, match=r"cannot be read as JSON"):
        load(tmp_path / "bad.json")
    with pytest.raises(m2ib.SettingError, match=r"cannot be built by CLIP: .*'colour'"):
        load({**VIT, "vision_cfg": {**VIT["vision_cfg"], "colour": 1}})
    with pytest.raises(m2ib.SettingError, match=r"a name, a file or a dict, not int"):
        load(3)
    with pytest.raises(m2ib.SettingError, match=r"quick_gelu is True, False or None, not 1"):
        load(VIT, quick_gelu=1)
    with pytest.raises(m2ib.CheckpointError, match=r"pool_type 'none'"):
        save_and_load({**VIT, "text_cfg": {**VIT["text_cfg"], "pool_type": "none"}}, tmp_path / "none.pt")
    wrong = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "linear", "image_size": 96}
    with pytest.raises(m2ib.CheckpointError, match=r"built for 160x160 pixels, .* image_size 96x96"):
        save_and_load({**VIT, "vision_cfg": wrong}, tmp_path / "size.pt")


def test_checkpoints_that_cannot_be_used(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    vit = loaded("vit")

    def load(checkpoint: Any, architecture: Any = VIT) -> m2ib.Model:
        return m2ib.load_model("open-clip", architecture=architecture, checkpoint=checkpoint, **CPU)

    with pytest.raises(
        m2ib.CheckpointError, match=r"checkpoint is missing; .* the tags of ViT-B-32 are openai, laion"
    ):
        load(None, "ViT-B-32")
    with pytest.raises(
        m2ib.CheckpointError, match=r"'laion5b' is neither a file nor .* of ViT-B-32 are openai, laion"
    ):
        load("laion5b", "ViT-B-32")
    with pytest.raises(
        m2ib.CheckpointError, match=r"nowhere.pt' is neither a file nor a pretrained tag; given as a dict"
    ):
        load(tmp_path / "nowhere.pt")
    with pytest.raises(m2ib.CheckpointError, match=r"is a folder; name a file in it"):
        load(tmp_path)
    (tmp_path / "junk.pt").write_bytes(b"this is no archive" * 9)
    with pytest.raises(m2ib.CheckpointError, match=r"junk\.pt' is damaged, or holds more than tensors"):
        load(tmp_path / "junk.pt")
    (tmp_path / "junk.safetensors").write_bytes(b"\xff" * 90)
    with pytest.raises(m2ib.CheckpointError, match=r"junk.safetensors' is not a safetensors file"):
        load(tmp_path / "junk.safetensors")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(m2ib.CheckpointError, match=r"tensor.pt' holds no state dict"):
        load(tmp_path / "tensor.pt")
    wider = {**VIT, "text_cfg": {**VIT["text_cfg"], "layers": 2}, "embed_dim": 8}
    with pytest.raises(m2ib.CheckpointError) as caught:
        load(vit.file, wider)
    assert "vit.pt' is not of the architecture given as a dict: 14 keys differ, first" in str(caught.value)
    assert "text_projection ((32, 16) instead of (32, 8))" in str(caught.value)
    assert "transformer.resblocks.2.ln_1.weight (extra)" in str(caught.value)
    assert str(caught.value).count("(extra)") == 3  # five keys are named
    with pytest.raises(m2ib.CheckpointError, match=r"visual\.bn1\.weight \(missing\)"):
        load(vit.file, RESNET)
    resized = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": 64}}
    with pytest.raises(
        m2ib.CheckpointError, match=r"visual\.positional_embedding \(\(13, 32\) instead of \(65, 32\)\)"
    ):
        load(vit.file, resized)


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('code of the file was run')",)


def test_a_file_that_holds_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(m2ib.CheckpointError, match=r"not opened for safety; save the weights alone"):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=tmp_path / "evil.pt", **CPU)
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(m2ib.CheckpointError, match=r"not opened for safety"):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=tmp_path / "evil.bin", **CPU)


def test_random_weights_are_seeded_and_warned_of() -> None:
    state = torch.random.get_rng_state()
    models = []
    for _ in range(2):
        with pytest.warns(m2ib.M2IBWarning, match=r"loaded without a checkpoint; its weights are random"):
            models.append(m2ib.load_model("open-clip", architecture=VIT, **CPU))
    first, second = (model.module.state_dict() for model in models)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert models[0].origin["checkpoint"] is None


def test_the_activation_follows_the_tag() -> None:
    """open_clip's entry for OpenAI's weights says quick GELU; the name alone does not."""
    from m2ib_adapters.openclip.architectures import choose, resolve

    source = resolve("ViT-B-32")
    assert choose(source, "openai").tag["quick_gelu"] is True
    assert "quick_gelu" not in choose(source, "laion2b_s34b_b79k").tag
    assert choose(source, "LAION2B-s34b-b79k").name == "laion2b_s34b_b79k"
    assert not source.config.get("quick_gelu")
    assert resolve("ViT-B-32-quickgelu").config["quick_gelu"] is True


def test_a_file_of_openai_weights_can_ask_for_its_activation(loaded: Callable[[str], Loaded]) -> None:
    vit = loaded("vit")
    model = m2ib.load_model("open-clip", architecture=VIT, checkpoint=vit.file, quick_gelu=True, **CPU)
    assert type(model.module.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert type(vit.model.module.transformer.resblocks[0].mlp.gelu).__name__ == "GELU"
    assert model.origin["quick_gelu"] is True


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["vit", "resnet", "bert", "siglip"])
def test_lower_precision_runs_and_stays_close(loaded: Callable[[str], Loaded], name: str, dtype: str) -> None:
    case = loaded(name)
    model = m2ib.load_model(
        "open-clip", architecture=case.config, checkpoint=case.file, device="cpu", dtype=dtype
    )
    assert {parameter.dtype for parameter in model.module.parameters()} == {getattr(torch, dtype)}
    settings = {"layer": 0, "steps": 2, "samples": 2, **QUIET}
    explanation = m2ib.explain(model, image=photo(), text="a dog", **settings)
    exact = m2ib.explain(case.model, image=photo(), text="a dog", **settings)
    tolerance = {"float32": 1e-6, "float16": 1e-2, "bfloat16": 5e-2}[dtype]
    for modality, raw in (("image", photo()), ("text", "a dog")):
        assert np.isfinite(explanation[modality].grid).all()
        # Adam's first steps are sign-like: single positions may hang on rounding, most may not
        gap = np.abs(explanation[modality].grid / exact[modality].grid - 1)
        assert np.median(gap) < 10 * tolerance
        here, there = (m.embed(modality, m.preprocess(modality, [raw])) for m in (model, case.model))
        assert torch.allclose(here, there, atol=tolerance)


def test_the_model_is_left_as_it_was_found(loaded: Callable[[str], Loaded]) -> None:
    for name in ("vit", "bert", "siglip"):
        module = loaded(name).model.module
        before = {key: value.clone() for key, value in module.state_dict().items()}
        m2ib.explain(
            loaded(name).model, image=photo(), text="a dog", layer=0, steps=1, samples=1, fast=False, **QUIET
        )
        after = module.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert all(parameter.requires_grad for parameter in module.parameters())
        assert not any("forward" in part.__dict__ for part in module.modules())
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
