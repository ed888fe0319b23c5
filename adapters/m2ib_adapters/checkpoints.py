"""Loading weights: what every adapter of a hub or a file does alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from m2ib.errors import CheckpointError


def default_layer(blocks: int) -> int:
    """The paper's block 9 of 12, at the same depth of other encoders; never the last block.

    The last block's patches cannot reach an embedding that is read from one token.
    """
    return max(-1, min(round(0.75 * blocks), blocks - 2))


@contextmanager
def loading(adapter: str, source: str) -> Iterator[None]:
    """Whatever a library raises while it reads weights becomes one :class:`CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(f"{adapter}: checkpoint {source!r} cannot be loaded: {reason}") from error
