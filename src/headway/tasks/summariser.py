"""Summariser: a document in, its summary out, by a model that learnt from pairs of the two.

A document that is too long for the model is summarised in windows, each of as many sentences as fit, and the summaries
of the windows follow each other.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from headway.decoding.search import LengthPenalty
from headway.tasks.translating import Translation, translate_all
from headway.tasks.translator import Texts, Translator

if TYPE_CHECKING:
    import torch


class Summariser:
    """Summarises with a model folder, a bundled model or a translator in memory."""

    def __init__(
        self,
        model: str | Path | Translator,
        *,
        device: "str | torch.device" = "auto",
        engine: str = "auto",
        dtype: "str | torch.dtype | None" = None,
        bits: int | None = None,
    ) -> None:
        """Open a model; what `Translator` says of it holds here too."""
        if not isinstance(model, Translator):
            model = Translator(model, device=device, engine=engine, dtype=dtype, bits=bits)
        self.translator = model

    @overload
    def summarise(
        self,
        document: str,
        *,
        beam: int | None = ...,
        length_penalty: LengthPenalty | None = ...,
        alpha: float | None = ...,
        min_ratio: float = ...,
        max_ratio: float | None = ...,
        max_new_tokens: int | None = ...,
        longest: int | None = ...,
        batch_tokens: int = ...,
    ) -> Translation: ...

    @overload
    def summarise(
        self,
        document: Texts,
        *,
        beam: int | None = ...,
        length_penalty: LengthPenalty | None = ...,
        alpha: float | None = ...,
        min_ratio: float = ...,
        max_ratio: float | None = ...,
        max_new_tokens: int | None = ...,
        longest: int | None = ...,
        batch_tokens: int = ...,
    ) -> list[Translation]: ...

    def summarise(
        self,
        document: str | Texts,
        *,
        beam: int | None = None,
        length_penalty: LengthPenalty | None = None,
        alpha: float | None = None,
        min_ratio: float = 0.0,
        max_ratio: float | None = None,
        max_new_tokens: int | None = None,
        longest: int | None = None,
        batch_tokens: int = 1600,
    ) -> Translation | list[Translation]:
        """The summary of a document, or of each of a list of documents; a list in gives a list out.

        The arguments are those of `Translator.translate`. Line ends and runs of blanks in a document count as one
        blank. `windowed` and `pieces` tell of a document that was read in windows.
        """
        request = self.translator.request(
            beam=beam,
            length_penalty=length_penalty,
            alpha=alpha,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
            max_new_tokens=max_new_tokens,
            longest=longest,
            batch_tokens=batch_tokens,
        )
        documents = [document] if isinstance(document, str) else list(document)
        lines = [" ".join(text.split()) for text in documents]
        found = translate_all(self.translator.sides, lines, replace(request, packed=True))
        return found[0] if isinstance(document, str) else found
