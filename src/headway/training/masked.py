"""Text as what a reader learns from: documents packed into rows, some of whose words are hidden."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from headway.corpus.batches import TokenBatches
from headway.corpus.masking import masking_of
from headway.corpus.shards import TokenShards
from headway.errors import ConfigError
from headway.text.byte_level_training import train_byte_level
from headway.text.tokenizer import MASK, Tokenizer
from headway.text.vocabulary import END_OF_TEXT
from headway.text.word_piece_training import train_word_piece
from headway.training.defaults import TextFacts, fill_in
from headway.training.masked_objective import Hiding, MaskedLanguageModelling, RowEnds
from headway.training.material import Tokenizers
from headway.training.recipe import Recipe, TokenizerSettings
from headway.training.report import Reporter
from headway.training.texts import TextMaterial

MASK_SHARE = {"post": 0.15, "pre": 0.3}
"""By the norm of the body: Devlin et al. 2018, section 3.1; more teaches more (Wettig et al. 2023; docs/log.md)."""
_FEWEST = 8
"""Ids a row must have room for, so that there is something to guess from."""


class MaskedMaterial:
    """Documents for a reader that guesses hidden words."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._text = TextMaterial(recipe, partial(learn_vocabulary, recipe.tokenizer))

    @property
    def places(self) -> list[str]:
        """The files and folders that are read."""
        return self._text.places

    def fingerprint(self) -> str:
        """The content of all the text a run reads, as one hash."""
        return self._text.fingerprint()

    def write(self, folder: Path, known: Tokenizers | None, reporter: Reporter) -> tuple[Tokenizers, TextFacts]:
        """Learn the vocabulary where none is known, and write the token shards to `folder`."""
        if known is not None:
            masking_of(known.source, share=0.5, whole_words=self._recipe.train.whole_words)
        return self._text.write(folder, known, reporter)

    def fill_in(self, recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
        """The recipe with every choice made, and the reasons."""
        wanted = "pretraining" if recipe.train.next_sentence else "masked"
        head = (start or recipe.model).get("head", wanted)
        if head != wanted and not (start is not None and wanted == "masked" and head == "pretraining"):
            raise ConfigError(
                f"this run needs a model with model.head={wanted}, but got {head};\n"
                + ("start from another model" if start is not None else "leave model.head out")
            )
        body = dict(recipe.model) if start is not None else learnable_body(recipe.model)
        given = replace(recipe, model={**body, "head": head})
        complete, reasons = fill_in(given, facts, start)
        share = recipe.train.mask_share or MASK_SHARE[complete.model["norm"]]
        assert complete.train.window is not None
        if complete.train.window < _FEWEST:
            raise ConfigError(f"train.window must be at least {_FEWEST} for a reader, but is {complete.train.window}")
        reasons.append(f"{100 * share:g} % of the words are hidden, to be guessed")
        return replace(complete, train=replace(complete.train, mask_share=share)), reasons

    def objective(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> MaskedLanguageModelling:
        """Guess the hidden words of the shards in `folder`."""
        settings, shards, tokenizer = recipe.train, TokenShards.open(folder), tokenizers.source
        assert settings.window is not None and settings.batch_size is not None and settings.mask_share is not None
        ends = RowEnds(begin=tokenizer.begin_of_text, end=shards.end_of_text)
        batches = TokenBatches(
            shards.split("train"),
            context=settings.window - ends.added(settings.next_sentence),
            batch_size=settings.batch_size,
            seed=settings.seed,
            end_of_text=shards.end_of_text,
        )
        return MaskedLanguageModelling(
            batches,
            training=shards.split("train"),
            validation=shards.split("validation"),
            hiding=Hiding(
                masking=masking_of(tokenizer, share=settings.mask_share, whole_words=settings.whole_words),
                ends=ends,
                next_sentence=settings.next_sentence,
                seed=settings.seed,
            ),
            accumulation=settings.accumulation,
            validation_tokens=settings.validation_tokens,
        )

    def describe(self, recipe: Recipe, facts: TextFacts, folder: Path) -> None:
        """Nothing: what the folder holds says all."""

    def finish(self, recipe: Recipe, folder: Path, data: Path, model: nn.Module) -> None:
        """Nothing is left to do."""

    def sampler(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> Callable[[nn.Module], str | None]:
        """A reader writes nothing."""
        return lambda model: None


def learnable_body(given: Mapping[str, Any]) -> dict[str, Any]:
    """A reader's model table with a body that learns within minutes, unless the paper's is asked for by its norm.

    Norms before the sublayers, rotary positions, gated feed-forward networks of as many numbers as plain ones, and no
    segments: BERT's own body stands still at the words' frequencies for the first millions of tokens (docs/log.md).
    """
    if given.get("norm") == "post":
        return dict(given)
    attends = given.get("mixer", "attention") == "attention"
    chosen: dict[str, Any] = {
        "norm": "pre",
        "positions": "rotary" if attends else "learned",
        "gated": True,
        "segments": 0,
    }
    return {**chosen, **given}


def learn_vocabulary(settings: TokenizerSettings, texts: Iterable[str], size: int) -> Tokenizer:
    """A reader's vocabulary of a size, of the kind asked for. Raises ConfigError for one that cannot hide words."""
    if settings.kind == "bytes":
        return train_byte_level(texts, size, special_tokens=(END_OF_TEXT, MASK))
    if settings.kind in (None, "wordpiece"):
        return train_word_piece(texts, size, lowercase=settings.lowercase)
    raise ConfigError(f"a reader's tokenizer.kind is wordpiece or bytes, but got {settings.kind}")
