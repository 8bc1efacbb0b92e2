"""A text as a vector: the mean of its tokens' states, or the first one's (Reimers and Gurevych 2019, section 3)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from headway.tasks.reading import Opened, rows_of

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


def embed(reader: Opened, texts: Sequence[str], *, pooling: str, normalise: bool) -> "NDArray[numpy.float32]":
    """(N, D) float32, a row a text; a text longer than the model is the mean of its windows, each by its tokens."""
    rows = [
        row
        for number, ids in enumerate(reader.tokenizer.encode_corpus(texts))
        for row in rows_of(reader, number, ids.tolist())
    ]
    total: torch.Tensor | None = None
    weights = torch.zeros(len(texts), dtype=torch.float64)
    for some, states, lengths in reader.states(rows):
        values = states.double().cpu()
        if total is None:
            total = torch.zeros(len(texts), values.shape[-1], dtype=torch.float64)
        for row, state, length in zip(some, values, lengths.tolist(), strict=True):
            # The padding is zero, but the order of a sum depends on how much is summed.
            total[row.text] += state[:length].sum(dim=0) if pooling == "mean" else state[0] * length
            weights[row.text] += length
    assert total is not None
    vectors = total / weights[:, None]
    if normalise:
        vectors = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-12)
    found: NDArray[numpy.float32] = vectors.float().numpy()
    return found
