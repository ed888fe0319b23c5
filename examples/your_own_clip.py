"""Any CLIP that transformers opens: a hub id, or a folder. Many pairs at once, saved and loaded again.

    python examples/your_own_clip.py [openai/clip-vit-base-patch32]

Without an argument a CLIP with random weights is made on the spot: the maps then mean nothing, the code is the same.
"""

import sys
import tempfile

import skimage.data
import torch

import m2ib


def random_clip(folder: str) -> str:
    """ViT-B/32's shape in small, with token ids instead of a tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    vision = {"num_hidden_layers": 4, "hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4}
    text = {**vision, "eos_token_id": 2}
    CLIPModel(CLIPConfig(vision_config=vision, text_config=text)).save_pretrained(folder)
    return folder


with tempfile.TemporaryDirectory() as folder:
    if len(sys.argv) > 1:
        model = m2ib.load_model("clip", checkpoint=sys.argv[1])
        captions = ["a tabby cat", "a cup of espresso", "an astronaut"]
    else:
        model = m2ib.load_model("clip", checkpoint=random_clip(folder))
        captions = [
            torch.tensor([49406, *ids, 49407]) for ids in ([320, 2368], [320, 1937, 539, 5000], [550, 18376])
        ]
    photos = [skimage.data.cat(), skimage.data.coffee(), skimage.data.astronaut()]
    pairs = [{"image": photo, "text": caption} for photo, caption in zip(photos, captions, strict=True)]

    for number, explanation in enumerate(m2ib.explain_many(model, pairs, batch_size=8, layer={"text": 1})):
        saved = explanation.save(f"{folder}/explanations/{number}")
        again = m2ib.load_explanation(saved)
        assert (again["image"].grid == explanation["image"].grid).all()
        print(f"{explanation.similarity:+.3f}", again["image"].grid.shape, again["text"].tokens)
