"""A model of sentence-transformers as encoders run it: its modules one after the other, whatever they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from m2ib.contract.similarity import COSINE, MAXSIM, Similarity
from m2ib.errors import CheckpointError
from m2ib_adapters.checkpoints import quiet
from m2ib_adapters.sentences.reading import no_blocks

ASKS = ("query", "text")  # modalities that may ask for a document
_distance = partial(Similarity, zero=None)
_OTHERS = {
    "dot": Similarity("dot", lambda one, other: (one * other).sum(-1), "dot product"),
    "euclidean": _distance("euclidean", lambda one, other: -(one - other).norm(dim=-1), "negative distance"),
    "manhattan": _distance(
        "manhattan", lambda one, other: -(one - other).abs().sum(-1), "negative Manhattan distance"
    ),
}


@dataclass(frozen=True, eq=False)
class Pipeline:
    """How inputs of one kind go through a model.

    net    sentence-transformers' model
    who    is named in errors
    task   "query", "document" or None, as its ``encode_query``, ``encode_document`` and ``encode`` say
    prompt what stands before a text
    size   numbers of an embedding that are kept (Matryoshka); None: all
    """

    net: Any
    who: str
    task: str | None
    prompt: str | None
    size: int | None

    @property
    def reader(self) -> Any:
        """The module that reads inputs."""
        return self.net[0]

    def features(self, raw: Any, **options: Any) -> dict[str, Any]:
        """Of one raw input, as the library makes them."""
        more = {} if self.task is None else {"task": self.task}
        processor = self.reader.processor
        with quiet():
            if self.retrieves:
                kind = "text" if isinstance(raw, str) else "image"
                made = dict(
                    processor.process_queries([raw]) if kind == "text" else processor.process_images([raw])
                )
                return made | {"modality": kind}
            return dict(self.net.preprocess([raw], prompt=self.prompt, **more, **options))

    @property
    def retrieves(self) -> bool:
        """Whether this is one of transformers' own models of late interaction, whose processors have ways of their own."""
        return bool(self.reader.transformer_task == "retrieval")

    def embed(self, features: dict[str, Any]) -> Tensor:
        """(N, D); of a multi-vector model (N, K, D), zeros in place of tokens that do not count."""
        out = self.net(features, **({} if self.task is None else {"task": self.task}))
        if is_multi(self.net):
            vectors: Tensor = out["token_embeddings"]  # (N, T, D)
            return vectors * out["attention_mask"].to(vectors.dtype)[..., None]
        return out["sentence_embedding"][:, : self.size]

    def leads_on(self) -> bool:
        """Whether its texts have a way through the model's routers."""
        try:
            if has_routes(self.net):
                self.net.encode(["a"], task=self.task)
        except ValueError as error:
            if "route" not in str(error):
                raise
            return False
        return True

    def expansion(self) -> dict[str, Any] | None:
        """How queries are filled up with tokens that count, as ColBERT does; None where they are not."""
        found: dict[str, Any] | None = getattr(self.reader, "query_expansion", None)
        return found if self.task == "query" else None

    def expanded(self, ids: Tensor) -> Tensor:
        """(N, T) ids, below 0 for what only fills up the batch -> (N, T) which ones fill up a query."""
        if self.expansion() is None:
            return torch.zeros_like(ids, dtype=torch.bool)
        other = ((ids != self.filler) & (ids >= 0)).flip(1).int()
        return (other.cumsum(1) == 0).flip(1) & (ids >= 0)  # a run at the end

    @property
    def filler(self) -> int:
        """The id that fills up a query."""
        expansion, tokenizer = self.expansion(), self.net.tokenizer
        if expansion is not None and expansion["token"] is not None:
            return int(tokenizer.convert_tokens_to_ids(expansion["token"]))
        return int(tokenizer.eos_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id)


def is_multi(net: Any) -> bool:
    """Whether an embedding is a set of vectors."""
    return bool(net.model_type == "MultiVectorEncoder")


def has_routes(net: Any) -> bool:
    """Whether queries and documents go different ways."""
    return any(type(module).__name__ == "Router" for module in net)


def similarity_of(net: Any) -> Similarity:
    """The model's own."""
    if is_multi(net):
        return replace(MAXSIM, first=ASKS)
    return _OTHERS.get(net.similarity_fn_name, COSINE)


def check_modules(net: Any, who: str) -> None:
    """Raises :class:`CheckpointError` for modules that no encoder can be made of."""
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.multi_vector_encoder.modules import BaseTokenPooling

    if not isinstance(net[0], Transformer):
        kind = type(net[0])
        raise CheckpointError(f"{who} {no_blocks(f'{kind.__module__}.{kind.__name__}')}")
    for module in net:
        if isinstance(module, BaseTokenPooling):
            raise CheckpointError(
                f"{who} ends with a {type(module).__name__}, which merges tokens by clustering and has no gradient; take it "
                "out of the model"
            )
