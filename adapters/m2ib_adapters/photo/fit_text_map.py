"""Fit the linear map from MiniLM sentence embeddings to the rows of EfficientNet-Lite2's classifier.

The image encoder knows 1,000 classes and the text encoder knows none of them. What joins them is the
classifier's weight: row c is the direction in which an image's pooled feature grows for class c. Prompts about
class c are embedded by the text encoder, t (384,), and a ridge regression sends them to that row, y (1280,):

    y_c = (w_c - mean(w)) / |w_c - mean(w)|                             centred, unit length
    minimise  sum_i s_i |M^T (t_i - t0) + y0 - y_i|^2 + lam |M|^2       s_i sum to 1, t0 and y0 weighted means
    M = (T^T S T + lam I)^-1 T^T S Y                                    closed form, float64

A text's place in the shared space is normalise(M^T t + bias), bias = y0 - M^T t0; its embedding is what
``networks.TextMap`` makes of it.

``python -m m2ib_adapters.photo.fit_text_map`` (with timm, which knows the classes' names) prints the held-out figures and writes ``text_map.safetensors``
(weight (384, 1280) float16, bias (1280,) float16). Nothing is random but what a seeded generator draws.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from m2ib_adapters.photo.networks import class_rows, image_network, sentence_embedding, text_network

CLASSES, HELD_OUT, SPLITS, FOLDS = 1000, 200, 5, 5
STRENGTHS = (3e-4, 1e-3, 2e-3, 4e-3, 1e-2)
CAPTIONS_PER_CLASS = 12
CAPTION_WEIGHT = 4.0
PAIRS_PER_CLASS = 4

# A caption is a lead, a class name behind an adjective, a place and a time, each of them drawn on its own and often
# left out: things around the class that say nothing about it, so that the map learns to look past them.
LEADS = (
    "", "", "", "", "a photo of", "a close-up of", "a picture with", "part of", "a view of",
    "a pair of people with", "a person with", "a man standing next to", "a woman smiling beside",
    "children looking at", "someone holding", "a group of tourists around",
    "a black and white photograph of", "here we see", "my friend bought", "in front of us is",
)  # fmt: skip
ADJECTIVES = (
    "", "", "", "", "", "big", "small", "red", "black", "white", "orange", "blue", "old", "new", "shiny",
    "wooden", "metal", "bright", "dark", "beautiful", "round", "long", "lonely", "striped",
)  # fmt: skip
PLACES = (
    "", "", "", "", "in the foreground", "in the background", "on a table", "on a shelf", "on the grass",
    "in the street", "by the sea", "in front of a building", "against the sky", "in a garage",
    "in the kitchen", "in a field", "in the water", "on the left", "in the middle of the picture",
    "looking at the camera", "standing still", "ready to go", "with a friend", "surrounded by people",
    "under the trees", "next to the window", "with other things",
)  # fmt: skip
TIMES = (
    "", "", "", "", "", "at night", "in the morning", "on a sunny day", "in winter", "during a trip",
    "at a party", "at work",
)  # fmt: skip
PAIRS = ("{a} and {b}", "{a} next to {b}", "{a} in front of {b}", "{a} with {b} in the background")
# Only ever used to measure: none of these is among the prompts of the fit.
HELD_OUT_PROMPTS = {
    "name": "{n}",
    "photo": "this is a photo of {a}",
    "caption": "there is {a} behind a wooden fence",
    "long caption": "a cheerful young couple on holiday walked past {a} on a sunny afternoon",
}


Prompt = tuple[float, str, tuple[int, ...]]
"""How much it counts in a fit, its text, and the classes that it is about."""


def with_article(name: str) -> str:
    """Return ``name`` behind "a" or "an"."""
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def fill(template: str, name: str, other: str = "thing") -> str:
    """Put a class name (and a second one) into a template."""
    return template.format(n=name, a=with_article(name), b=with_article(other))


def caption(name: str, draw: random.Random) -> str:
    """Write one caption about ``name``."""
    lead, adjective, place, time = (draw.choice(words) for words in (LEADS, ADJECTIVES, PLACES, TIMES))
    return " ".join(part for part in (lead, with_article(f"{adjective} {name}".strip()), place, time) if part)


def class_names() -> tuple[list[list[str]], list[str]]:
    """Return the lemmas and the WordNet definition of each of the 1,000 classes, in the classifier's order."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    lemmas = [info.index_to_description(c) for c in range(CLASSES)]
    detailed = [info.index_to_description(c, detailed=True) for c in range(CLASSES)]
    definitions = [
        text.removeprefix(name).removeprefix(": ") for name, text in zip(lemmas, detailed, strict=True)
    ]
    return [[part.strip() for part in text.split(",")] for text in lemmas], definitions


def build_prompts(lemmas: list[list[str]], definitions: list[str], among: list[int]) -> list[Prompt]:
    """Write the prompts of the classes ``among``; a pair joins two of them, and no other class is named."""
    prompts: list[Prompt] = []

    def add(weight: float, text: str, *about: int) -> None:
        prompts.append((weight, text, about))

    for c in among:
        draw = random.Random(c)
        names, definition = lemmas[c], definitions[c]
        everything = ", ".join(names)
        add(1.0, everything, c)
        add(1.0, f"{everything}: {definition}", c)
        add(1.0, definition, c)
        for name in names:
            add(1.0 / len(names), name, c)
            add(1.0 / len(names), f"a photo of {with_article(name)}", c)
        for _ in range(CAPTIONS_PER_CLASS):
            add(CAPTION_WEIGHT / CAPTIONS_PER_CLASS, caption(draw.choice(names), draw), c)
        for _ in range(PAIRS_PER_CLASS):
            other = draw.choice([o for o in among if o != c])
            text = fill(draw.choice(PAIRS), draw.choice(names), draw.choice(lemmas[other]))
            add(1.0 / PAIRS_PER_CLASS, text, c, other)
    return prompts


def classifier_rows() -> Tensor:
    """What is aimed at: (1000, 1280) float64."""
    return class_rows(image_network())


def ridge(
    texts: Tensor, targets: Tensor, weights: Tensor, strengths: tuple[float, ...]
) -> list[tuple[Tensor, Tensor]]:
    """Weighted ridge regression with an intercept, one (M (384, 1280), bias (1280,)) for each strength."""
    weights = (weights / weights.sum())[:, None]  # (N, 1)
    text_mean, target_mean = (weights * texts).sum(0), (weights * targets).sum(0)
    centred = texts - text_mean
    gram = (weights * centred).T @ centred  # (384, 384)
    cross = (weights * centred).T @ (targets - target_mean)  # (384, 1280)
    maps = []
    for strength in strengths:
        matrix = torch.linalg.solve(gram + strength * torch.eye(len(gram), dtype=gram.dtype), cross)
        maps.append((matrix, target_mean - text_mean @ matrix))
    return maps


class Fitting:
    """What maps are fitted to and measured by: the adapter's own sentence embeddings, the classifier's rows, the classes' names."""

    def __init__(self) -> None:
        self.network, self.coder = text_network()
        self.embedded: dict[str, Tensor] = {}
        self.rows = classifier_rows()
        self.lemmas, self.definitions = class_names()

    @torch.no_grad()
    def embed(self, texts: list[str], batch_size: int = 256) -> Tensor:
        """Texts -> (N, 384) float64, unit rows; each text is computed once."""
        new = sorted(set(texts) - self.embedded.keys(), key=lambda text: (len(text), text))
        for start in range(0, len(new), batch_size):
            part = new[start : start + batch_size]
            coded = (self.coder.code(text, 256, truncate=True, padded=False).ids for text in part)
            ids, padding = [torch.tensor(each) for each in coded], self.coder.pad
            batch = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=padding)  # (B, T)
            rows = sentence_embedding(self.network, batch, padding)  # (B, 384)
            self.embedded.update(zip(part, rows.double(), strict=True))
        return torch.stack([self.embedded[text] for text in texts])

    def fit(self, among: list[int], strengths: tuple[float, ...]) -> list[tuple[Tensor, Tensor]]:
        """Fit on the classes ``among`` alone; a prompt about two classes aims at the mean of their rows."""
        weights, texts, classes = zip(*build_prompts(self.lemmas, self.definitions, among), strict=True)
        targets = torch.stack([self.rows[list(about)].mean(0) for about in classes])  # (N, 1280)
        return ridge(self.embed(list(texts)), targets, torch.tensor(weights, dtype=targets.dtype), strengths)

    def accuracy(self, among: list[int], template: str, model: tuple[Tensor, Tensor]) -> tuple[float, float]:
        """Share of the classes ``among`` whose own row is the nearest, or among the five nearest, of their rows."""
        matrix, bias = model
        texts = [fill(template, self.lemmas[c][0]) for c in among]
        cosine = F.normalize(self.embed(texts) @ matrix + bias, dim=1) @ self.rows[among].T  # (K, K)
        rank = (cosine > cosine.diagonal()[:, None]).sum(1)  # (K,) 0 is the best
        return (rank < 1).double().mean().item(), (rank < 5).double().mean().item()

    def choose_strength(self, among: list[int]) -> float:
        """Cross-validate the ridge strength over folds of the classes ``among``: mean top-5 of names and captions."""
        scores = torch.zeros(len(STRENGTHS))
        for fold in range(FOLDS):
            inner = [c for i, c in enumerate(among) if i % FOLDS != fold]
            outer = among[fold::FOLDS]
            for i, model in enumerate(self.fit(inner, STRENGTHS)):
                for prompt in ("name", "caption"):
                    scores[i] += self.accuracy(outer, HELD_OUT_PROMPTS[prompt], model)[1]
        return STRENGTHS[int(scores.argmax())]


def main() -> None:
    """Measure on held-out classes, then fit on all of them and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("text_map.safetensors"))
    arguments = parser.parse_args()

    fitting, everything = Fitting(), list(range(CLASSES))
    results: dict[str, list[tuple[float, float]]] = {prompt: [] for prompt in HELD_OUT_PROMPTS}
    for split in range(SPLITS):
        order = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(split)).tolist()
        left_out, rest = order[:HELD_OUT], order[HELD_OUT:]
        strength = fitting.choose_strength(rest)
        [model] = fitting.fit(rest, (strength,))
        line = f"split {split}: strength {strength:g}"
        for prompt, template in HELD_OUT_PROMPTS.items():
            results[prompt].append(fitting.accuracy(left_out, template, model))
            line += "  {} {:.1%}/{:.1%}".format(prompt, *results[prompt][-1])
        print(line, flush=True)
    for prompt, values in results.items():
        top1, top5 = (sum(each) / SPLITS for each in zip(*values, strict=True))
        print(
            f"mean of {SPLITS} splits, {HELD_OUT} classes left out, {prompt}: top-1 {top1:.1%}, top-5 {top5:.1%}"
        )
    strength = fitting.choose_strength(everything)
    [(matrix, bias)] = fitting.fit(everything, (strength,))
    tensors = {"weight": matrix.half().contiguous(), "bias": bias.half().contiguous()}
    save_file(tensors, arguments.out, metadata={"strength": f"{strength:g}"})
    print(f"all classes: strength {strength:g}, wrote {arguments.out}")


if __name__ == "__main__":
    main()
