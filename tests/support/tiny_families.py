"""A tiny seeded checkpoint of each family of transformers, in its real format: config, weights, tokenizer, image processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_siglip import LINES, save_seeded

SIDE, PATCH, BLOCKS = 32, 8, 3
WIDTH: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
}
VIT: dict[str, Any] = {**WIDTH, "image_size": SIDE, "patch_size": PATCH}
SQUARE: dict[str, Any] = {"size": {"height": SIDE, "width": SIDE}}
CROPPED: dict[str, Any] = {"size": {"shortest_edge": 36}, "crop_size": {"height": SIDE, "width": SIDE}}
WORDS = sorted(
    {word for line in LINES for word in line.split() if word.isascii()}
    | {"red", "blue", "green", "ground", "on"}
)


def word_pieces() -> Any:
    """BERT's kind: whole words, and letters of the others."""
    from transformers import BertTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    parts = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *WORDS,
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    vocabulary = {part: number for number, part in enumerate(dict.fromkeys(parts))}
    return BertTokenizer(vocab=vocabulary, model_max_length=24)


def unigrams() -> Any:
    """XLM-RoBERTa's kind: 1 pads and 2 ends."""
    from transformers import XLMRobertaTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    parts = [*(f"\u2581{word}" for word in WORDS if len(word) > 1), "\u2581", *letters]
    pieces = [(part, -1.0 if len(part) > 2 else -9.0) for part in dict.fromkeys(parts)]
    return XLMRobertaTokenizer(vocab=[*special, *pieces, ("<mask>", 0.0)], model_max_length=24)


def bytes_pairs() -> Any:
    """CLIP's kind: letters and whole words; the end token pads."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + ["'"]
    parts, merges = [*letters, *(f"{letter}</w>" for letter in letters)], []
    for word in WORDS:
        signs = [*word[:-1], f"{word[-1]}</w>"]
        while len(signs) > 1:
            merges.append((signs[0], signs[1]))
            signs = [signs[0] + signs[1], *signs[2:]]
            parts.append(signs[0])
    parts = [*dict.fromkeys(parts), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {part: number for number, part in enumerate(parts)}
    return CLIPTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=24)


def _ids(tokenizer: Any, *, end: Any = None) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer) + 3,  # a model may have more than its tokenizer
        "max_position_embeddings": 26,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id if end is None else end,
    }


def _clip_pixels(**said: Any) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(**(said or CROPPED))


def _metaclip_2() -> tuple[Any, ...]:
    from transformers import MetaClip2Config, MetaClip2Model

    words = unigrams()
    config = MetaClip2Config(text_config={**WIDTH, **_ids(words)}, vision_config=VIT, projection_dim=16)
    return MetaClip2Model(config), words, _clip_pixels()


def _clip(legacy: bool) -> tuple[Any, ...]:
    from transformers import CLIPConfig, CLIPModel

    words = bytes_pairs()
    text = {**WIDTH, **_ids(words, end=2 if legacy else None)}
    return (
        CLIPModel(CLIPConfig(text_config=text, vision_config=VIT, projection_dim=16)),
        words,
        _clip_pixels(),
    )


def _siglip() -> tuple[Any, ...]:
    from transformers import SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    from tiny_siglip import gemma_tokenizer

    words = gemma_tokenizer()
    model = SiglipModel(SiglipConfig(text_config={**WIDTH, **_ids(words)}, vision_config=VIT))
    return model, words, SiglipImageProcessorPil(**SQUARE)


def _chinese_clip() -> tuple[Any, ...]:
    from transformers import ChineseCLIPConfig, ChineseCLIPModel
    from transformers.models.chinese_clip.image_processing_pil_chinese_clip import (
        ChineseCLIPImageProcessorPil,
    )

    words = word_pieces()
    config = ChineseCLIPConfig(text_config={**WIDTH, **_ids(words)}, vision_config=VIT, projection_dim=16)
    return ChineseCLIPModel(config), words, ChineseCLIPImageProcessorPil(**CROPPED)


def _altclip() -> tuple[Any, ...]:
    from transformers import AltCLIPConfig, AltCLIPModel

    words = unigrams()
    text = {**WIDTH, **_ids(words), "project_dim": 24}
    return (
        AltCLIPModel(AltCLIPConfig(text_config=text, vision_config=VIT, projection_dim=16)),
        words,
        _clip_pixels(),
    )


def _aimv2() -> tuple[Any, ...]:
    from transformers import Aimv2Config, Aimv2Model

    words = bytes_pairs()
    text = {**WIDTH, **_ids(words)}
    return (
        Aimv2Model(Aimv2Config(text_config=text, vision_config=VIT, projection_dim=16)),
        words,
        _clip_pixels(),
    )


def _align() -> tuple[Any, ...]:
    from transformers import AlignConfig, AlignModel
    from transformers.models.efficientnet.image_processing_pil_efficientnet import (
        EfficientNetImageProcessorPil,
    )

    words = word_pieces()
    vision = {
        "image_size": 64, "depth_coefficient": 1.0, "width_coefficient": 0.25, "depth_divisor": 4, "hidden_dim": 32,
        "in_channels": [32, 16, 24], "out_channels": [16, 24, 40], "strides": [1, 2, 2], "kernel_sizes": [3, 3, 5],
        "num_block_repeats": [1, 2, 2], "expand_ratios": [1, 6, 6], "depthwise_padding": [], "batch_norm_eps": 0.001,
    }  # fmt: skip
    config = AlignConfig(text_config={**WIDTH, **_ids(words)}, vision_config=vision, projection_dim=12)
    pixels = EfficientNetImageProcessorPil(
        size={"height": 48, "width": 48},
        rescale_factor=1 / 127.5,
        rescale_offset=True,
        do_normalize=False,
        include_top=False,
    )
    return AlignModel(config), words, pixels


def _blip() -> tuple[Any, ...]:
    from transformers import BlipConfig, BlipModel
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    words = word_pieces()
    text = {**WIDTH, **_ids(words), "encoder_hidden_size": 32, "projection_dim": 16}
    config = BlipConfig(text_config=text, vision_config=VIT, projection_dim=16)
    return BlipModel(config), words, BlipImageProcessorPil(**SQUARE)


def _blip_retrieval() -> tuple[Any, ...]:
    from transformers import BlipForImageTextRetrieval

    net, *parts = _blip()
    return BlipForImageTextRetrieval(net.config), *parts


def _xclip() -> tuple[Any, ...]:
    from transformers import XCLIPConfig, XCLIPModel
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    words = bytes_pairs()
    mit = {"mit_hidden_size": 16, "mit_intermediate_size": 24, "mit_num_attention_heads": 4}
    vision = {**VIT, **mit, "num_frames": 3}
    text = {**WIDTH, **_ids(words)}
    net = XCLIPModel(XCLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    return net, words, VideoMAEImageProcessorPil(**CROPPED)


def _pe_text(words: Any) -> dict[str, Any]:
    return {
        **WIDTH, **_ids(words), "model_type": "modernbert", "cls_token_id": words.cls_token_id,
        "sep_token_id": words.sep_token_id, "global_attn_every_n_layers": 2, "local_attention": 4,
    }  # fmt: skip


def _pe_sounds() -> tuple[dict[str, Any], Any]:
    from transformers import PeAudioFeatureExtractor

    dac = {
        "model_type": "dac", "downsampling_ratios": [2, 4], "encoder_hidden_size": 8, "codebook_dim": 6, "hidden_size": 32,
        "sampling_rate": 1600,
    }  # fmt: skip
    audio = {**WIDTH, "head_dim": 8, "dac_config": dac, "max_position_embeddings": 251}
    return audio, PeAudioFeatureExtractor(sampling_rate=1600, hop_length=8)


def _pe_films(**said: Any) -> tuple[dict[str, Any], Any]:
    """Frames by a PE image model of timm's; ``said`` to the video processor."""
    from transformers import PeVideoVideoProcessor

    core = {
        "img_size": SIDE, "patch_size": PATCH, "embed_dim": 24, "depth": 1, "num_heads": 2, "mlp_ratio": 2.0,
        "ref_feat_shape": [SIDE // PATCH] * 2, "attn_pool_num_heads": 2,
    }  # fmt: skip
    vision = {
        "model_type": "timm_wrapper", "architecture": "vit_pe_core_tiny_patch16_384", "num_classes": 12, "global_pool": "map",
        "model_args": core,
    }  # fmt: skip
    pixels = {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.4] * 3,
    }
    video = {**WIDTH, "head_dim": 8, "vision_config": vision, "max_position_embeddings": 13}
    return video, PeVideoVideoProcessor(**SQUARE, **pixels, **said)


def _pe_audio() -> tuple[Any, ...]:
    from transformers import PeAudioConfig, PeAudioModel

    words, (audio, extractor) = word_pieces(), _pe_sounds()
    return PeAudioModel(PeAudioConfig(text_config=_pe_text(words), audio_config=audio)), words, extractor


def _pe_video() -> tuple[Any, ...]:
    from transformers import PeVideoConfig, PeVideoModel

    words, (video, processor) = word_pieces(), _pe_films()
    return PeVideoModel(PeVideoConfig(text_config=_pe_text(words), video_config=video)), words, processor


def _pe_audio_video() -> tuple[Any, ...]:
    from transformers import PeAudioVideoConfig, PeAudioVideoModel, PeAudioVideoProcessor

    words, (audio, extractor) = word_pieces(), _pe_sounds()
    video, processor = _pe_films(do_sample_frames=True, num_frames=4)
    parts = {
        "audio_config": {**audio, "model_type": "pe_audio_encoder"},
        "video_config": {**video, "model_type": "pe_video_encoder"},
    }
    config = PeAudioVideoConfig(
        text_config=_pe_text(words), audio_video_config={**WIDTH, "head_dim": 8, **parts}
    )
    return PeAudioVideoModel(config), PeAudioVideoProcessor(extractor, processor, words)


def _flava() -> tuple[Any, ...]:
    from transformers import FlavaConfig, FlavaModel
    from transformers.models.flava.image_processing_pil_flava import FlavaImageProcessorPil

    words = word_pieces()
    config = FlavaConfig(
        text_config={**WIDTH, **_ids(words)},
        image_config=VIT,
        multimodal_config=WIDTH,
        projection_dim=16,
        hidden_size=32,
    )
    return (
        FlavaModel(config),
        words,
        FlavaImageProcessorPil(**SQUARE, crop_size={"height": SIDE, "width": SIDE}),
    )


def _groupvit() -> tuple[Any, ...]:
    from transformers import GroupViTConfig, GroupViTModel

    words = bytes_pairs()
    vision = {
        **VIT,
        "depths": [3, 2],
        "num_group_tokens": [6, 0],
        "num_output_groups": [6, 0],
        "assign_mlp_ratio": [0.5, 2],
    }
    text = {**WIDTH, **_ids(words)}
    config = GroupViTConfig(
        text_config=text, vision_config=vision, projection_dim=16, projection_intermediate_dim=24
    )
    return GroupViTModel(config), words, _clip_pixels()


def _tipsv2() -> tuple[Any, ...]:
    from transformers import Tipsv2Config, Tipsv2ImageProcessor, Tipsv2Model, Tipsv2Tokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    parts, merges = ["<pad>", "<unk>", "\u2581", *letters], []
    for word in WORDS:
        if word.isalpha():
            signs = ["\u2581", *word]
            while len(signs) > 1:
                merges.append((signs[0], signs[1]))
                signs = [signs[0] + signs[1], *signs[2:]]
                parts.append(signs[0])
    vocabulary = {part: number for number, part in enumerate(dict.fromkeys(parts))}
    words = Tipsv2Tokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=24)
    vision = {**VIT, "mlp_ratio": 2, "num_register_tokens": 2}
    config = Tipsv2Config(text_config={**WIDTH, **_ids(words)}, vision_config=vision)
    return Tipsv2Model(config), words, Tipsv2ImageProcessor(**SQUARE)


def _pair(vision: Any, text: str, words: Any) -> tuple[Any, ...]:
    import transformers
    from transformers import VisionTextDualEncoderConfig, VisionTextDualEncoderModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    told = getattr(transformers, text)(**WIDTH, **_ids(words))
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, told, projection_dim=16)
    return VisionTextDualEncoderModel(config), words, ViTImageProcessorPil(**SQUARE)


def _vit_bert() -> tuple[Any, ...]:
    from transformers import ViTConfig

    return _pair(ViTConfig(**VIT), "BertConfig", word_pieces())


def _clip_roberta() -> tuple[Any, ...]:
    from transformers import CLIPVisionConfig

    return _pair(CLIPVisionConfig(**VIT), "XLMRobertaConfig", unigrams())


def _dinov2_bert() -> tuple[Any, ...]:
    from transformers import Dinov2Config

    return _pair(Dinov2Config(**VIT, mlp_ratio=2), "BertConfig", word_pieces())


def _deit_bert() -> tuple[Any, ...]:
    """Whose image tower is not in the table, with two tokens before its patches: it is found and proven."""
    from transformers import DeiTConfig

    return _pair(DeiTConfig(**VIT), "BertConfig", word_pieces())


FAMILIES: dict[str, Callable[[], tuple[Any, ...]]] = {
    "clip": lambda: _clip(False),
    "clip-legacy": lambda: _clip(True),
    "metaclip_2": _metaclip_2,
    "siglip": _siglip,
    "chinese_clip": _chinese_clip,
    "altclip": _altclip,
    "aimv2": _aimv2,
    "align": _align,
    "blip": _blip,
    "blip-retrieval": _blip_retrieval,
    "xclip": _xclip,
    "pe_audio": _pe_audio,
    "pe_video": _pe_video,
    "pe_audio_video": _pe_audio_video,
    "flava": _flava,
    "groupvit": _groupvit,
    "tipsv2": _tipsv2,
    "vit+bert": _vit_bert,
    "clip+roberta": _clip_roberta,
    "dinov2+bert": _dinov2_bert,
    "deit+bert": _deit_bert,
}


def save_family(name: str, folder: Path) -> Path:
    """By its name in ``FAMILIES``."""
    return save_seeded(FAMILIES[name]()[0], folder, *FAMILIES[name]()[1:])
