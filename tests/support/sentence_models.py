"""Small models of sentence-transformers with random weights, in the folders that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import AddedToken, PreTrainedTokenizerFast

WORDS = [
    "a",
    "the",
    "bird",
    "dog",
    "dogs",
    "sits",
    "sit",
    "on",
    "branch",
    "two",
    "play",
    "in",
    "snow",
    "near",
    "house",
    "sing",
    "query",
    "passage",
    "q",
    "d",
    ":",
    ".",
    ",",
    "!",
    "sing",
    "##s",
    "##ing",
]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXTS = ("A bird sits on the branch.", "Two dogs play in the snow, near a house!")


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """With weights large enough that every input has an embedding of its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return module.eval()


def word_pieces(folder: Path, more: tuple[str, ...] = (), **options: Any) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys((*SPECIAL, *WORDS)))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=256,
        **options,
    )
    fast.add_tokens([AddedToken(each, special=True, normalized=False) for each in more])
    fast.save_pretrained(folder)
    return fast


def bert(folder: Path, kin: str = "Bert") -> Path:
    """A backbone alone, as transformers saves it; ``kin`` is what its classes in transformers begin with."""
    tokenizer = word_pieces(folder)
    config = getattr(transformers, f"{kin}Config")(
        vocab_size=len(tokenizer),
        pad_token_id=0,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    drawn(getattr(transformers, f"{kin}Model")(config)).save_pretrained(folder)
    return folder


def sentence_model(
    folder: Path,
    *,
    pooling: Any = "mean",
    dense: int = 0,
    include_prompt: bool = True,
    kin: str = "Bert",
    **options: Any,
) -> Path:
    """A SentenceTransformer; the ``options`` are its own."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    backbone = Transformer(str(bert(folder / "backbone", kin)))
    pooled = Pooling(32, pooling, include_prompt=include_prompt)
    modules: list[nn.Module] = [backbone, pooled]
    if dense:
        modules.append(
            drawn(Dense(pooled.get_embedding_dimension(), dense, activation_function=nn.Tanh()), 1)
        )
    modules.append(Normalize())
    SentenceTransformer(modules=modules, device="cpu", **options).save(str(folder / "model"))
    return folder / "model"


def colbert(folder: Path, expansion: dict[str, Any] | None = None) -> Path:
    """A MultiVectorEncoder of texts: prompts, a projection, punctuation that does not count, queries filled up."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    backbone = Transformer(str(bert(folder / "backbone")))
    backbone.query_expansion = expansion
    tokens = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    projection = Dense(32, 16, bias=False, activation_function=nn.Identity(), **tokens)
    modules = [
        backbone,
        drawn(projection, 1),
        MultiVectorMask(skiplist_words=[".", ",", "!"]),
        Normalize(module_input_name="token_embeddings", module_output_name="token_embeddings"),
    ]
    prompts = {"query": "query: ", "document": "passage: "}
    MultiVectorEncoder(modules=modules, prompts=prompts, device="cpu").save(str(folder / "model"))
    return folder / "model"


def colmodernvbert(folder: Path, *, text: Any = None, vision: Any = None, shuffle: int = 2) -> Path:
    """``ColModernVBertForRetrieval`` as transformers saves it: images cut into pieces beside the whole.

    text, vision  sizes in place of the small ones
    """
    from transformers import (
        ColModernVBertConfig,
        ColModernVBertForRetrieval,
        ColModernVBertProcessor,
        ModernBertConfig,
        ModernVBertConfig,
        SiglipVisionConfig,
    )
    from transformers.models.idefics3.image_processing_idefics3 import Idefics3ImageProcessor

    pieces = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
    marks = (
        "<fake_token_around_image>",
        "<image>",
        "<end_of_utterance>",
        "<global-img>",
        "<|begin_of_text|>",
    )
    tokenizer = word_pieces(folder, (*marks, *pieces))
    small = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    words = ModernBertConfig(
        vocab_size=len(tokenizer),
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
        **(
            {"hidden_size": 32, "local_attention": 16, "max_position_embeddings": 512, **small}
            if text is None
            else text
        ),
    )
    pixels = SiglipVisionConfig(
        **({"hidden_size": 24, "image_size": 32, "patch_size": 4, **small} if vision is None else vision)
    )
    image = tokenizer.convert_tokens_to_ids("<image>")
    vlm = ModernVBertConfig(
        text_config=words, vision_config=pixels, image_token_id=image, pixel_shuffle_factor=shuffle
    )
    drawn(ColModernVBertForRetrieval(ColModernVBertConfig(vlm_config=vlm, embedding_dim=16))).save_pretrained(
        folder
    )
    side, tokens = pixels.image_size, (pixels.image_size // pixels.patch_size // shuffle) ** 2
    largest = side if vision else 2 * side
    preparing = Idefics3ImageProcessor(
        size={"longest_edge": largest}, max_image_size={"longest_edge": side}, do_image_splitting=True
    )
    ColModernVBertProcessor(preparing, tokenizer, image_seq_len=tokens).save_pretrained(folder)
    return folder


def colpali(folder: Path) -> Path:
    """``ColPaliForRetrieval``: a square of image tokens before a prompt."""
    from transformers import (
        ColPaliConfig,
        ColPaliForRetrieval,
        ColPaliProcessor,
        PaliGemmaConfig,
        SiglipImageProcessor,
    )

    tokenizer = word_pieces(folder, ("<image>", "<bos>"), bos_token="<bos>")
    image = tokenizer.convert_tokens_to_ids("<image>")
    text = {
        "model_type": "gemma",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 48,
        "pad_token_id": 0,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 32,
        "patch_size": 8,
        "projection_dim": 32,
    }
    vlm = PaliGemmaConfig(
        text_config=text, vision_config=vision, image_token_index=image, hidden_size=32, projection_dim=32
    )
    drawn(ColPaliForRetrieval(ColPaliConfig(vlm_config=vlm, embedding_dim=16))).save_pretrained(folder)
    preparing = SiglipImageProcessor(size={"height": 32, "width": 32})
    preparing.image_seq_length = 16
    ColPaliProcessor(preparing, tokenizer).save_pretrained(folder)
    return folder


def qwen_embedding(folder: Path) -> Path:
    """A SentenceTransformer whose one decoder reads texts and images through a chat template, as Qwen3-VL-Embedding does."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLModel, Qwen3VLProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    marks = (
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
        "<|im_start|>",
        "<|im_end|>",
    )
    tokenizer = word_pieces(folder / "backbone", marks)
    start, end, image, video, *_ = (tokenizer.convert_tokens_to_ids(mark) for mark in marks)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 48,
            "head_dim": 16,
            "max_position_embeddings": 512,
            "rope_scaling": {"mrope_section": [4, 2, 2], "rope_type": "default", "mrope_interleaved": True},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 24,
            "num_heads": 2,
            "intermediate_size": 32,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    drawn(Qwen3VLModel(config)).save_pretrained(folder / "backbone")
    template = (
        "{% for m in messages %}<|im_start|>{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% elif c['type'] == 'text' %}{{ c['text'] }}"
        "{% endif %}{% endfor %}{% endif %}<|im_end|>{% endfor %}"
    )
    images = Qwen2VLImageProcessor(
        patch_size=4, merge_size=2, temporal_patch_size=2, min_pixels=256, max_pixels=1536
    )
    videos = Qwen3VLVideoProcessor(patch_size=4, merge_size=2)
    Qwen3VLProcessor(images, tokenizer, videos, chat_template=template).save_pretrained(folder / "backbone")
    modules = [Transformer(str(folder / "backbone")), Pooling(32, "lasttoken"), Normalize()]
    prompts = {"query": "query :"}
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(folder / "model"))
    return folder / "model"


def gemma_embedding(folder: Path) -> Path:
    """A SentenceTransformer of EmbeddingGemma 2: texts without a template, images as padded patches that are pooled two by two."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import (
        EmbeddingGemma2Config,
        EmbeddingGemma2Model,
        EmbeddingGemma2Processor,
        Gemma4AudioFeatureExtractor,
        Gemma4ImageProcessor,
    )
    from transformers.models.embedding_gemma2.video_processing_embedding_gemma2 import (
        EmbeddingGemma2VideoProcessor,
    )

    marks = {
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
    }
    backbone = folder / "backbone"
    tokenizer = word_pieces(backbone, (*marks.values(), "<|video|>"), extra_special_tokens=marks)
    ids = {name: tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()}
    small = {"hidden_size": 32, "num_attention_heads": 2, "head_dim": 16, "intermediate_size": 48}
    config = EmbeddingGemma2Config(
        text_config={
            **small,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 4,
            "num_key_value_heads": 1,
            "global_head_dim": 16,
            "sliding_window_pattern": 2,
            "sliding_window": 8,
            "hidden_size_per_layer_input": 8,
            "embedding_dim": 24,
            "bos_token_id": 2,
            "eos_token_id": 3,
        },
        vision_config={
            **small,
            "model_type": "gemma4_vision",
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "patch_size": 4,
            "pooling_kernel_size": 2,
            "position_embedding_size": 128,
        },
        audio_config={
            "model_type": "gemma4_audio",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "output_proj_dims": 32,
            "subsampling_conv_channels": [8, 4],
        },
        image_token_id=ids["image_token"],
        audio_token_id=ids["audio_token"],
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
    )
    drawn(EmbeddingGemma2Model(config)).save_pretrained(backbone)
    sizes = {"patch_size": 4, "pooling_kernel_size": 2, "max_soft_tokens": 70}
    images, videos = Gemma4ImageProcessor(**sizes), EmbeddingGemma2VideoProcessor(**sizes)
    EmbeddingGemma2Processor(Gemma4AudioFeatureExtractor(), images, tokenizer, videos).save_pretrained(
        backbone
    )
    prompts = {"query": "query : ", "document": "passage : "}
    modules = [Transformer(str(backbone)), Pooling(24, "mean"), Normalize()]
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(folder / "model"))
    return folder / "model"


def clip(folder: Path) -> Path:
    """A SentenceTransformer around a CLIP, as those of its hub are."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    from tiny_families import save_family

    backbone = save_family("clip", folder / "backbone")
    SentenceTransformer(modules=[Transformer(str(backbone))], device="cpu").save(str(folder / "model"))
    return folder / "model"
