"""sentence-transformers: small models in its own folders, against its own calls and a loop over the full model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from torch import Tensor

import m2ib
import naive
from m2ib.contract.similarity import present
from m2ib.errors import CheckpointError, InputError, SettingError
from m2ib.testing import check_adapter
from sentence_models import (
    TEXTS,
    bert,
    clip,
    colbert,
    colmodernvbert,
    colpali,
    drawn,
    gemma_embedding,
    qwen_embedding,
    sentence_model,
)

FIXED = {"strategy": "fixed", "length": 18, "attend": False}
MODELS: dict[str, Callable[[Path], Path]] = {
    "mean": sentence_model,
    "cls": lambda folder: sentence_model(folder, pooling="cls"),
    "lasttoken": lambda folder: sentence_model(folder, pooling="lasttoken"),
    "several": lambda folder: sentence_model(folder, pooling=["max", "weightedmean"], dense=20),
    "prompts": lambda folder: sentence_model(
        folder, prompts={"query": "query: ", "document": "passage: "}, include_prompt=False
    ),
    "matryoshka": lambda folder: sentence_model(folder, truncate_dim=12),
    "jina": lambda folder: sentence_model(folder, kin="JinaEmbeddingsV3"),
    "albert": lambda folder: sentence_model(folder, kin="Albert"),
    "colbert": colbert,
    "colbert expanded": lambda folder: colbert(folder, FIXED),
    "colbert attending": lambda folder: colbert(folder, {**FIXED, "strategy": "min", "attend": True}),
    "colmodernvbert": colmodernvbert,
    "colpali": colpali,
    "qwen": qwen_embedding,
    "gemma": gemma_embedding,
}
WITH_IMAGES = ("colmodernvbert", "colpali", "qwen", "gemma")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = MODELS[name](tmp_path_factory.mktemp("sentences"))
        return made[name]

    return of


@pytest.fixture(scope="module")
def model_of(folder_of: Callable[[str], Path]) -> Callable[[str], m2ib.Model]:
    made: dict[str, m2ib.Model] = {}

    def of(name: str) -> m2ib.Model:
        if name not in made:
            made[name] = m2ib.load_model(
                "sentence-transformers", checkpoint=str(folder_of(name)), dtype="float64"
            )
        return made[name]

    return of


every = pytest.mark.parametrize("name", MODELS)


def photo(width: int = 90, height: int = 60) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height))


def library(model: m2ib.Model, modality: str, raw: Any) -> Tensor:
    """(D,) or (K, D), by the call that a user of the library makes."""
    net = model.module
    if net[0].transformer_task == "retrieval":  # transformers' own model and processor
        processor, text = net[0].processor, isinstance(raw, str)
        inputs = processor.process_queries([raw]) if text else processor.process_images([raw])
        inputs = {
            name: value.double().contiguous() if value.is_floating_point() else value
            for name, value in inputs.items()
        }
        with torch.no_grad():
            return net[0].model(**inputs).embeddings[0]
    encode = {"query": net.encode_query, "document": net.encode_document}.get(modality, net.encode)
    return torch.as_tensor(encode([raw])[0]).double().clone()  # made in inference mode


def raws(model: m2ib.Model) -> list[tuple[str, Any]]:
    return [
        (modality, raw)
        for modality in model.modalities
        for raw in ((photo(), photo(64, 96)) if modality == "image" else TEXTS)
    ]


@every
def test_embeddings_are_the_librarys(model_of: Callable[[str], m2ib.Model], name: str) -> None:
    model = model_of(name)
    for modality, raw in raws(model):
        item = model.item(modality, raw)
        with torch.no_grad():
            (own,) = model.encoder(modality).embed(model.collate(modality, [item]))
        own = own[present(own)] if own.ndim == 2 else own
        exact = 10 if name == "gemma" else 1  # whose norms and pixels are computed in float32 in any case
        torch.testing.assert_close(own, library(model, modality, raw), rtol=exact * 1e-6, atol=exact * 1e-7)


@every
def test_the_similarity_is_the_librarys(model_of: Callable[[str], m2ib.Model], name: str) -> None:
    model = model_of(name)
    first = "query" if "query" in model.modalities else "text"
    second = (
        "image" if "image" in model.modalities else "document" if "document" in model.modalities else "text"
    )
    raw = photo() if second == "image" else TEXTS[1]
    found = m2ib.explain(model, (first, TEXTS[0]), (second, raw), method="uniform", show_progress=False)
    one, other = library(model, first, TEXTS[0]), library(model, second, raw)
    expected = naive.maxsim(one, other) if one.ndim == 2 else torch.cosine_similarity(one, other, dim=0)
    assert found.similarity == pytest.approx(expected.item(), abs=1e-6)
    if one.ndim == 2:
        scored = model.module.similarity(one[None], other[None]).item()  # MaxSim as it has it, a sum
        assert found.provenance["similarity"]["sum"] == pytest.approx(scored, rel=1e-5)


@every
def test_words_are_those_of_the_text(model_of: Callable[[str], m2ib.Model], name: str) -> None:
    model = model_of(name)
    for modality in set(model.modalities) - {"image"}:
        for text in TEXTS:
            item = model.item(modality, text)
            words = [token for token in item.layout.tokens if not token.special]
            assert [token.text for token in words] == [text[token.start : token.end] for token in words]
            assert "".join(token.text for token in words) == text.replace(" ", "")


@every
@pytest.mark.parametrize("place", [0, 1])
def test_maps_are_those_of_a_loop(model_of: Callable[[str], m2ib.Model], name: str, place: int) -> None:
    model = model_of(name)
    first = "query" if "query" in model.modalities else "text"
    second = (
        "image" if "image" in model.modalities else "document" if "document" in model.modalities else "text"
    )
    pair = ((first, TEXTS[0]), (second, photo() if second == "image" else TEXTS[1]))
    layer = 0 if name == "albert" else 1  # which has one
    settings = {"layer": layer, "beta": 0.1, "variance": 1.0, "steps": 3, "samples": 3}
    found = m2ib.explain(model, *pair, show_progress=False, **settings)
    general = m2ib.explain(model, *pair, show_progress=False, fast=False, **settings)
    np.testing.assert_allclose(found[place].grid, general[place].grid, rtol=1e-8)
    modality, raw = pair[place]
    encoder, item = model.encoder(modality), model.item(modality, raw)
    inputs = model.collate(modality, [item])
    target = library(model, *pair[1 - place])

    def close(out: Tensor, target: Tensor) -> Tensor:
        if out.ndim == 2:
            return naive.cosine(out, target)
        own = out[0][present(out[0])]
        return naive.maxsim(own, target) if place == 0 else naive.maxsim(target, own)

    settings.pop("layer")
    with model.running():
        expected = naive.capacity(
            lambda: encoder.embed(inputs), encoder.blocks[layer].module, target, similarity=close, **settings
        )
    np.testing.assert_allclose(
        found[place].grid.ravel(), item.layout.to_grid(expected.numpy()).ravel(), rtol=1e-5
    )


@every
def test_a_batch_is_as_one_by_one(model_of: Callable[[str], m2ib.Model], name: str) -> None:
    model = model_of(name)
    other = "image" if "image" in model.modalities else "text"
    inputs = [photo(), photo(), photo(64, 96)] if other == "image" else [TEXTS[0], "dogs", TEXTS[1]]
    pairs = [(("text", text), (other, raw)) for text, raw in zip(("a bird", *TEXTS), inputs, strict=True)]
    together = m2ib.explain_many(model, pairs, batch_size=3, steps=3, samples=3, show_progress=False)
    for pair, found in zip(pairs, together, strict=True):
        alone = m2ib.explain(model, *pair, steps=3, samples=3, show_progress=False)
        assert found.similarity == pytest.approx(alone.similarity, rel=1e-9)
        for one, each in zip(found, alone, strict=True):
            np.testing.assert_allclose(one.grid, each.grid, rtol=1e-6, atol=1e-9)


def test_one_block_for_all_layers_is_explained_before_it(model_of: Callable[[str], m2ib.Model]) -> None:
    model = model_of("albert")
    (layer,) = model.encoder("text").blocks
    assert layer.name.endswith("encoder.embedding_hidden_mapping_in")
    pair = (("text", TEXTS[0]), ("text", TEXTS[1]))
    for method in ("rise", "kernelshap"):
        found = m2ib.explain(model, *pair, method=method, show_progress=False)
        assert found[0].grid.std() > 0
    with pytest.raises(SettingError, match="chefer"):
        m2ib.explain(model, *pair, method="chefer", show_progress=False)


@every
def test_the_kit_is_content(model_of: Callable[[str], m2ib.Model], name: str) -> None:
    check_adapter(model_of(name))


def fades(name: str, grid: tuple[int, int], cell: int) -> list[tuple[Any, ...]]:
    """Where in the pixels, (K, 1, ...), a cell lies."""
    top, left = 8 * (cell // grid[1]), 8 * (cell % grid[1])
    if name == "qwen":  # four patches to a cell
        return [(slice(4 * cell, 4 * cell + 4),)]
    if name == "gemma":  # likewise, in rows of patches
        corner = 4 * (cell // grid[1]) * grid[1] + 2 * (cell % grid[1])
        return [(0, [corner, corner + 1, corner + 2 * grid[1], corner + 2 * grid[1] + 1])]
    if name == "colpali":
        return [(0, slice(None), slice(top, top + 8), slice(left, left + 8))]
    (piece_row, row), (piece_column, column) = divmod(top, 32), divmod(left, 32)
    inside = (slice(None), slice(row, row + 8), slice(column, column + 8))
    down, across = top // 16 * 8, left // 16 * 8
    small = (slice(None), slice(down, down + 8), slice(across, across + 8))
    return [(0, 2 * piece_row + piece_column, *inside), (0, 4, *small)]  # and a quarter of one of the whole


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_cells_of_images_are_taken_out(model_of: Callable[[str], m2ib.Model], name: str) -> None:
    model = model_of(name)
    item = model.item("image", photo())
    encoder, inputs, grid = model.encoder("image"), model.collate("image", [item]), item.layout.grid
    for cell in (0, grid[0] * grid[1] - 1, grid[1] + 1):
        keep = torch.ones(2, *grid, dtype=torch.float64)
        keep[1].view(-1)[cell] = 0
        changed = encoder.degradation.apply(inputs, keep, item.layout)
        assert all(torch.equal(changed[each][0], inputs[each][0]) for each in inputs)
        moved = changed["pixel_values"][1] != inputs["pixel_values"][0]
        expected = torch.zeros_like(moved)
        for place in fades(name, grid, cell):
            expected[place] = True
        assert torch.equal(moved, expected)


@pytest.mark.parametrize("name", WITH_IMAGES)
@pytest.mark.parametrize(
    ("method", "settings"), [("rise", {"masks": 16}), ("integrated-gradients", {"steps": 4})]
)
def test_methods_that_hide_work_on_images(
    model_of: Callable[[str], m2ib.Model], name: str, method: str, settings: dict[str, Any]
) -> None:
    pair = ("text", TEXTS[0]), ("image", photo())
    found = m2ib.explain(model_of(name), *pair, method=method, settings=settings, show_progress=False)
    assert found["image"].grid.std() > 0


def test_pieces_of_an_image_lie_where_they_were_cut_out(model_of: Callable[[str], m2ib.Model]) -> None:
    model = model_of("colmodernvbert")
    item = model.item("image", photo())
    ids = item.inputs["input_ids"][0]
    names = model.module.tokenizer.convert_ids_to_tokens(ids.tolist())
    grid = np.array(item.layout.index).reshape(item.layout.grid)
    assert grid.shape == (8, 8)
    for row in range(2):
        for column in range(2):
            piece = grid[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert names[piece[0, 0] - 1] == f"<row_{row + 1}_col_{column + 1}>"
            assert piece.ravel().tolist() == list(range(piece[0, 0], piece[0, 0] + 16))


def test_prepared_inputs_are_taken(model_of: Callable[[str], m2ib.Model]) -> None:
    model = model_of("qwen")
    item = model.item("image", photo())
    again = model.item("image", dict(item.inputs))
    assert again.layout.index == item.layout.index
    with pytest.raises(InputError, match="this model takes the image itself"):
        model.item("image", torch.zeros(3, 8, 8))
    ids = model.item("text", TEXTS[0]).inputs
    assert model.item("text", ids).layout.grid == (len(ids),)


def test_too_long_a_text_is_refused_or_cut(model_of: Callable[[str], m2ib.Model]) -> None:
    model = model_of("colbert expanded")
    long = " ".join(["bird"] * 20)
    with pytest.raises(InputError, match=r"has 24 tokens, 6 more than the model's 18; shorten it"):
        model.item("query", long)
    cut = model.item("query", long, truncate=True)
    assert cut.layout.grid == (18,)
    assert cut.origin["truncated"]


@pytest.mark.parametrize("name", ["mean", "colbert", "qwen"])
def test_padding_of_given_ids_is_not_read(model_of: Callable[[str], m2ib.Model], name: str) -> None:
    model = model_of(name)
    modality = model.modalities[-2] if "image" in model.modalities else model.modalities[-1]
    rows = model.preprocess(modality, ["dogs", TEXTS[0]])
    alone = model.preprocess(modality, ["dogs"])[0]
    filled = torch.nn.functional.pad(alone, (2, 3), value=model.module.tokenizer.pad_token_id)
    for given in (rows[0], filled):
        torch.testing.assert_close(model.preprocess(modality, [given])[0], alone)


def test_a_last_token_that_is_also_the_padding_is_kept(tmp_path: Path) -> None:
    folder = sentence_model(tmp_path, pooling="lasttoken")
    net = SentenceTransformer(str(folder), device="cpu")
    net.tokenizer.pad_token = "[SEP]"
    model = m2ib.load_model("sentence-transformers", checkpoint=net)
    ids = model.preprocess("text", ["dogs"])[0]
    torch.testing.assert_close(model.preprocess("text", [ids])[0], ids)


@pytest.mark.parametrize("default", ["document", None])
def test_queries_and_documents_go_their_own_ways(tmp_path: Path, default: str | None) -> None:
    from sentence_transformers.base.modules import Dense, Router

    net = SentenceTransformer(str(sentence_model(tmp_path)), device="cpu")
    routes = [[drawn(Dense(32, 8), seed)] for seed in (1, 2)]
    net.append(Router.for_query_document(*routes, default_route=default, allow_empty_key=False))
    net.save(str(tmp_path / "routed"))
    model = m2ib.load_model("sentence-transformers", checkpoint=str(tmp_path / "routed"))
    assert model.modalities == ("text", "query", "document")[default is None :]
    found = m2ib.explain(model, query=TEXTS[0], document=TEXTS[1], steps=2, show_progress=False)
    one, other = (library(model, *pair) for pair in (("query", TEXTS[0]), ("document", TEXTS[1])))
    assert found.similarity == pytest.approx(torch.cosine_similarity(one, other, dim=0).item(), abs=1e-5)
    for modality in ("query", "document"):
        own = model.embed(modality, model.preprocess(modality, TEXTS))
        expected = torch.stack([library(model, modality, text) for text in TEXTS]).float()
        torch.testing.assert_close(own, torch.nn.functional.normalize(expected), rtol=1e-4, atol=1e-5)


def test_a_router_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    from sentence_transformers.base.modules import Dense, Router

    net = SentenceTransformer(str(sentence_model(tmp_path)), device="cpu")
    net.append(Router({"elsewhere": [drawn(Dense(32, 8))]}, allow_empty_key=False))
    with pytest.raises(
        CheckpointError, match=r"Could not determine route .*; this model cannot be explained"
    ):
        m2ib.load_model("sentence-transformers", checkpoint=net)


def test_a_prompt_that_leaves_no_room_is_refused(folder_of: Callable[[str], Path]) -> None:
    message = (
        r"prompt and special tokens of query are 82 of the 64 tokens that are read, which leaves no room"
    )
    with pytest.raises(SettingError, match=message):
        m2ib.load_model(
            "sentence-transformers", checkpoint=str(folder_of("mean")), prompts={"query": "a " * 80}
        )


def test_prompts_of_ones_own(folder_of: Callable[[str], Path]) -> None:
    model = m2ib.load_model(
        "sentence-transformers", checkpoint=str(folder_of("mean")), prompts={"query": "q: "}
    )
    assert model.modalities == ("text", "query", "document")
    assert model.origin["prompts"] == {"query": "q: "}
    tokens = model.item("query", "bird").layout.tokens
    assert [token.special for token in tokens] == [True, True, True, False, True]
    own = model.embed("query", model.preprocess("query", ["bird"]))
    expected = torch.from_numpy(model.module.encode(["bird"], prompt="q: "))
    torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(SettingError, match="prompts has 'image'"):
        m2ib.load_model("sentence-transformers", checkpoint=str(folder_of("mean")), prompts={"image": "q"})


def test_embeddings_are_cut_to_the_size_asked_for(folder_of: Callable[[str], Path]) -> None:
    model = m2ib.load_model("sentence-transformers", checkpoint=str(folder_of("mean")), truncate_dim=8)
    own = model.embed("text", model.preprocess("text", list(TEXTS)))
    expected = torch.from_numpy(model.module.encode(list(TEXTS), truncate_dim=8, normalize_embeddings=True))
    torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(SettingError, match="truncate_dim=64 of embeddings of 32"):
        m2ib.load_model("sentence-transformers", checkpoint=str(folder_of("mean")), truncate_dim=64)


def test_a_model_in_memory_is_as_its_folder(
    model_of: Callable[[str], m2ib.Model], folder_of: Callable[[str], Path]
) -> None:
    net = SentenceTransformer(str(folder_of("mean")), device="cpu").double()
    model = m2ib.load_model("sentence-transformers", checkpoint=net)
    assert model.module is net
    pair = (("text", TEXTS[0]), ("text", TEXTS[1]))
    found = m2ib.explain(model, *pair, steps=3, show_progress=False)
    expected = m2ib.explain(model_of("mean"), *pair, steps=3, show_progress=False)
    np.testing.assert_allclose(found[0].grid, expected[0].grid, rtol=1e-9)
    with pytest.raises(CheckpointError, match="not a SentenceTransformer or MultiVectorEncoder"):
        m2ib.load_model("sentence-transformers", checkpoint=net[0].auto_model)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
@pytest.mark.parametrize("where", ["around", "inside", "added"])
def test_peft_is_explained_as_it_runs(folder_of: Callable[[str], Path], where: str) -> None:
    peft = pytest.importorskip("peft")
    net = SentenceTransformer(str(folder_of("mean")), device="cpu").double()
    config = peft.LoraConfig(
        task_type="FEATURE_EXTRACTION", r=2, target_modules=["query"], init_lora_weights=False
    )
    given: Any = net
    if where == "around":
        given = peft.get_peft_model(
            net, peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
        )
    elif where == "inside":
        net[0].model = peft.get_peft_model(net[0].auto_model, config)
    else:
        try:
            net.add_adapter(config)
        except ValueError as error:  # transformers asks for a newer one
            if "version of PEFT" not in str(error):
                raise
            pytest.skip(str(error))
    model = m2ib.load_model("sentence-transformers", checkpoint=given.double().eval())
    own = model.embed("text", model.preprocess("text", [TEXTS[0]]))[0]
    torch.testing.assert_close(own.double(), library(model, "text", TEXTS[0]), rtol=1e-5, atol=1e-6)
    plain = SentenceTransformer(str(folder_of("mean")), device="cpu").double().encode([TEXTS[0]])[0]
    assert (own - torch.as_tensor(plain)).abs().max() > 1e-3
    check_adapter(model)


def test_what_peft_is_told_in_a_folder_is_on_a_list(tmp_path: Path) -> None:
    folder = sentence_model(tmp_path)
    told = {"peft_type": "LORA", "megatron_config": {"a": 1}, "megatron_core": "strangers"}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    with pytest.raises(
        CheckpointError, match=r"adapter_config\.json sets 'megatron_config', which may load more"
    ):
        m2ib.load_model("sentence-transformers", checkpoint=str(folder))


def test_other_similarities_are_the_librarys(tmp_path: Path) -> None:
    folder = sentence_model(tmp_path, similarity_fn_name="euclidean")
    model = m2ib.load_model("sentence-transformers", checkpoint=str(folder))
    found = m2ib.explain(model, ("text", TEXTS[0]), ("text", TEXTS[1]), steps=2, show_progress=False)
    expected = model.module.similarity(*(model.module.encode([text]) for text in TEXTS))
    assert found.similarity == pytest.approx(expected.item(), abs=1e-5)
    assert found.similarity_title == "negative distance"
    assert all(side.curve is not None and side.curve.kept is not None for side in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("foreign", "has a module of the class 'os.path', which is not of sentence-transformers"),
        (
            "lacking",
            "lacks 1 weights that its config.json describes, first encoder.layer.2.output.dense.weight",
        ),
        ("static", "begins with a StaticEmbedding, which has no blocks of a transformer to explain"),
        ("wordless", "has no tokenizer.json that knows a word"),
        ("listed", "has a config_sentence_transformers.json of another form"),
        ("sparse", "is a 'SparseEncoder', which has no embeddings that are compared here"),
        ("unpooled", "lacks '1_Pooling/config.json', which describes its Pooling; give the whole folder"),
        ("pooled", "ends with a HierarchicalTokenPooling, which merges tokens by clustering"),
    ],
)
def test_what_cannot_be_explained_is_refused(tmp_path: Path, change: str, message: str) -> None:
    from safetensors.torch import load_file, save_file
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    folder = colbert(tmp_path) if change == "pooled" else sentence_model(tmp_path)
    if change == "foreign":
        modules = json.loads((folder / "modules.json").read_text())
        modules[1]["type"] = "os.path"
        (folder / "modules.json").write_text(json.dumps(modules))
    if change == "lacking":
        weights = load_file(folder / "model.safetensors")
        del weights["encoder.layer.2.output.dense.weight"]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    if change == "static":
        static = StaticEmbedding(bert_tokenizer(tmp_path), embedding_dim=8)
        shutil.rmtree(folder)
        SentenceTransformer(modules=[static], device="cpu").save(str(folder))
    if change == "pooled":
        net = MultiVectorEncoder(str(folder), device="cpu")
        net.append(HierarchicalTokenPooling(pool_factor=2))
        net.save(str(folder))
    if change == "unpooled":
        shutil.rmtree(folder / "1_Pooling")
    if change == "wordless":
        for each in folder.glob("tokenizer*"):
            each.unlink()
    if change == "listed":
        (folder / "config_sentence_transformers.json").write_text("[]")
    if change == "sparse":
        settings = json.loads((folder / "config_sentence_transformers.json").read_text())
        settings["model_type"] = "SparseEncoder"
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=message):
        m2ib.load_model("sentence-transformers", checkpoint=str(folder))
    told = m2ib.who_opens(str(folder)).faults["sentence-transformers"] or ""
    assert told.startswith(message) == (
        change in ("foreign", "static", "listed", "sparse", "unpooled")
    )  # what descriptions tell


@pytest.mark.parametrize("name", ["sentence-transformers", "clip"])
@pytest.mark.parametrize("attention", [3, True, "", ["sdpa"]])
def test_an_attention_that_is_no_name(name: str, attention: Any) -> None:
    with pytest.raises(SettingError) as caught:
        m2ib.load_model(name, attention=attention)
    assert str(caught.value) == f"{name}: attention is a name as 'sdpa' or 'eager', not {attention!r}"


@pytest.mark.parametrize("size", ["x", 0, -3, 2.5, True])
def test_a_size_of_the_folders_that_is_none(folder_of: Callable[[str], Path], size: Any) -> None:
    net = SentenceTransformer(str(folder_of("mean")), device="cpu")
    net.truncate_dim = size
    with pytest.raises(SettingError, match=rf"in memory.*: truncate_dim is a whole number > 0, not {size!r}"):
        m2ib.load_model("sentence-transformers", checkpoint=net)


def test_a_device_that_holds_no_numbers() -> None:
    with pytest.raises(SettingError, match="sentence-transformers: device is 'meta', where no text runs"):
        m2ib.load_model("sentence-transformers", device="meta")


def bert_tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "backbone" / "tokenizer.json"))


def test_a_backbone_alone_is_averaged_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(
        m2ib.M2IBWarning, match=r"comes without modules.json, so the vectors of its tokens are averaged"
    ):
        model = m2ib.load_model("sentence-transformers", checkpoint=str(bert(tmp_path)))
    own = model.embed("text", model.preprocess("text", [TEXTS[0]]))
    expected = torch.from_numpy(model.module.encode([TEXTS[0]], normalize_embeddings=True))
    torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6)


def test_by_default_it_is_the_model_that_comes_as_a_package() -> None:
    model = m2ib.load_model("sentence-transformers")
    assert model.origin["checkpoint"] == "all-MiniLM-L6-v2"
    close = m2ib.explain(
        model,
        ("text", "A man plays the guitar."),
        ("text", "Someone makes music."),
        steps=2,
        show_progress=False,
    )
    far = m2ib.explain(
        model,
        ("text", "A man plays the guitar."),
        ("text", "The stock fell by 3 %."),
        steps=2,
        show_progress=False,
    )
    assert close.similarity > far.similarity + 0.2


@every
def test_it_is_known_by_its_descriptions(folder_of: Callable[[str], Path], name: str) -> None:
    assert m2ib.who_opens(str(folder_of(name))).name == "sentence-transformers"


def test_a_backbone_alone_says_why_it_is_not_taken(tmp_path: Path) -> None:
    fault = m2ib.who_opens(str(bert(tmp_path))).faults["sentence-transformers"]
    assert fault == "has no modules.json, and is of no late interaction"


@pytest.mark.parametrize("there", [True, False])
def test_what_is_no_folder_is_told_in_one_line(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "model.md"
    if there:
        path.write_text("weights")
    message = "is a file; give a local folder" if there else "does not exist; give a local folder"
    with pytest.raises(CheckpointError, match=message):
        m2ib.load_model("sentence-transformers", checkpoint=str(path))


def test_a_clip_that_compares_by_dot_products_is_refused(tmp_path: Path) -> None:
    net = SentenceTransformer(str(clip(tmp_path)), device="cpu", similarity_fn_name="dot")
    with pytest.raises(CheckpointError, match="compares by dot, and only cosines are known here"):
        m2ib.load_model("sentence-transformers", checkpoint=net)


def test_a_clip_is_opened_as_transformers_opens_it(tmp_path: Path) -> None:
    folder = clip(tmp_path)
    model = m2ib.load_model("sentence-transformers", checkpoint=str(folder), dtype="float64")
    same = m2ib.load_model("clip", checkpoint=str(tmp_path / "backbone"), dtype="float64")
    assert model.modalities == same.modalities
    assert model.encoder("image").tail is not None
    texts = ["a small cat", "red on the ground"]
    own = model.embed("text", model.preprocess("text", texts))
    expected = model.module.encode(texts, normalize_embeddings=True, convert_to_tensor=True)
    torch.testing.assert_close(own, expected.float(), rtol=1e-5, atol=1e-6)
    own = model.embed("image", model.preprocess("image", [photo()]))
    expected = model.module.encode([photo()], normalize_embeddings=True, convert_to_tensor=True)
    torch.testing.assert_close(own, expected.float(), rtol=0, atol=2e-3)  # Pillow's pixels, not torchvision's
    found, other = (
        m2ib.explain(each, image=photo(), text=texts[0], steps=3, show_progress=False)
        for each in (model, same)
    )
    for one, again in zip(found, other, strict=True):
        np.testing.assert_allclose(one.grid, again.grid, rtol=1e-9)
    check_adapter(model)
    with pytest.raises(SettingError, match="takes no prompts and no truncate_dim"):
        m2ib.load_model("sentence-transformers", checkpoint=str(folder), truncate_dim=4)
