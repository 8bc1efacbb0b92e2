"""Text as what a run learns from: documents, a vocabulary learnt from them, token shards, causal language modelling."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from headway.corpus.batches import TokenBatches
from headway.corpus.documents import Documents, corpus_bytes, fingerprint, read_documents, text_bytes
from headway.corpus.readers import Document
from headway.corpus.shards import ShardSettings, TokenShards, write_shards
from headway.decoding.choice import Choice
from headway.decoding.rows import Rows
from headway.errors import ConfigError, DataError
from headway.text.byte_level_training import train_byte_level
from headway.text.tokenizer import Tokenizer
from headway.training.defaults import TextFacts, fill_in, fitting_vocabulary
from headway.training.material import Tokenizers
from headway.training.objectives import CausalLanguageModelling
from headway.training.recipe import DataSettings, Recipe
from headway.training.report import Reporter

_GIGABYTE = 10**9
# A vocabulary learnt from more text than this hardly differs, and takes minutes longer.
_VOCABULARY_BYTES = 200_000_000


class TextMaterial:
    """Documents for a decoder that reads no source."""

    def __init__(self, recipe: Recipe, learn: Callable[[Iterable[str], int], Tokenizer] | None = None) -> None:
        """`learn` makes a vocabulary of a size from texts; None: one of bytes, which can say any text."""
        self._recipe = recipe
        self._learn_from = learn or partial(_learn_bytes, recipe)

    @property
    def places(self) -> list[str]:
        """The files and folders that are read."""
        data = self._recipe.data
        return [path for path in (data.path, data.validation) if path is not None]

    def fingerprint(self) -> str:
        """The content of all the text a run reads, as one hash."""
        return "+".join(fingerprint(place) for place in self.places)

    def write(self, folder: Path, known: Tokenizers | None, reporter: Reporter) -> tuple[Tokenizers, TextFacts]:
        """Learn the vocabulary where none is known, and write the token shards to `folder`."""
        recipe = self._recipe
        documents = read_documents(recipe.data.path, text_field=recipe.data.text_field)
        tokenizer = known.source if known is not None else self._learn(documents, reporter)
        shards = write_shards(
            folder,
            documents,
            tokenizer,
            ShardSettings(validation_share=recipe.data.validation_share, seed=recipe.train.seed),
            validation=_validation(recipe.data),
            progress=_tell_encoded(reporter),
        )
        reporter.note(_division(shards, recipe.data.path))
        facts = TextFacts(training_tokens=shards.split("train").tokens, vocabulary=tokenizer.size)
        return Tokenizers(source=tokenizer), facts

    def fill_in(self, recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
        """The recipe with every choice made, and the reasons."""
        return fill_in(recipe, facts, start)

    def objective(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> CausalLanguageModelling:
        """Predict each token of the shards in `folder` from those before it."""
        settings, shards = recipe.train, TokenShards.open(folder)
        assert settings.window is not None and settings.batch_size is not None
        batches = TokenBatches(
            shards.split("train"),
            context=settings.window,
            batch_size=settings.batch_size,
            seed=settings.seed,
            end_of_text=shards.split("train").end_of_text,
        )
        return CausalLanguageModelling(
            batches,
            training=shards.split("train"),
            validation=shards.split("validation"),
            accumulation=settings.accumulation,
            validation_tokens=settings.validation_tokens,
        )

    def describe(self, recipe: Recipe, facts: TextFacts, folder: Path) -> None:
        """Nothing: what a writer's folder holds says all."""

    def finish(self, recipe: Recipe, folder: Path, data: Path, model: nn.Module) -> None:
        """Nothing is left to do."""

    def sampler(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> Callable[[nn.Module], str | None]:
        """What the model writes from nothing; None where no sample is wanted or there is no end of text."""
        settings = recipe.train
        return lambda model: _sample(model, tokenizers.source, settings.sample_tokens, settings.seed)

    def _learn(self, documents: Documents, reporter: Reporter) -> Tokenizer:
        recipe = self._recipe
        n_bytes = corpus_bytes(recipe.data.path, text_field=recipe.data.text_field)
        size = recipe.tokenizer.vocabulary or fitting_vocabulary(recipe, n_bytes)
        tokenizer = self._learn_from(spread(documents, n_bytes, _VOCABULARY_BYTES), size)
        learnt = f"{n_bytes:,} bytes" if n_bytes <= _VOCABULARY_BYTES else f"{_VOCABULARY_BYTES:,} of {n_bytes:,} bytes"
        reporter.note(f"a vocabulary of {tokenizer.size:,} was learnt from {learnt} of text")
        return tokenizer


def _learn_bytes(recipe: Recipe, texts: Iterable[str], size: int) -> Tokenizer:
    if recipe.tokenizer.kind not in (None, "bytes"):
        raise ConfigError(
            f"a model that writes has to say any text, which tokenizer.kind={recipe.tokenizer.kind} cannot; "
            f"leave it out"
        )
    return train_byte_level(texts, size)


def spread(documents: Iterable[Document], n_bytes: int, wanted: int) -> Iterator[str]:
    """The texts of evenly spread documents, about `wanted` of all `n_bytes` bytes; all, where they are fewer."""
    seen = taken = 0
    for document in documents:
        if taken * n_bytes <= seen * wanted:
            taken += text_bytes(document.text)
            yield document.text
        seen += text_bytes(document.text)


def _validation(data: DataSettings) -> Documents | None:
    return None if data.validation is None else read_documents(data.validation, text_field=data.text_field)


def _tell_encoded(reporter: Reporter) -> Callable[[int], None]:
    """Says how far the encoding of a large corpus has come, at every gigabyte."""
    said = 0

    def tell(written: int) -> None:
        nonlocal said
        if written // _GIGABYTE > said:
            said = written // _GIGABYTE
            reporter.note(f"{said} GB of text encoded")

    return tell


def _division(shards: TokenShards, path: str) -> str:
    """How the text was divided. Raises DataError where nothing is left to train or to measure on."""
    train, validation = shards.split("train"), shards.split("validation")
    if train.tokens < 2 or validation.tokens < 1:
        raise DataError(
            f"{path} has too little text: {train.tokens} tokens to train on and {validation.tokens} to measure on;\n"
            f"give more text, or other text to measure on with --set data.validation=FILE"
        )
    how = "the end of the one document" if shards.validation_from == "tail" else f"{validation.documents:,} documents"
    return f"{train.tokens:,} tokens to train on; {how}, {validation.tokens:,} tokens, kept aside to measure on"


def _sample(model: nn.Module, tokenizer: Tokenizer, n_tokens: int, seed: int) -> str | None:
    start = tokenizer.end_of_text
    if n_tokens == 0 or start is None:
        return None
    rows = Rows(model, vocabulary=tokenizer.size)  # type: ignore[arg-type]
    rows.add(
        [start],
        Choice(temperature=0.8, top_k=40, seed=seed),
        max_new_tokens=n_tokens,
        stop_ids=frozenset({start}),
    )
    ids = []
    while len(rows):
        ids += [emitted.id for emitted in rows.step() if emitted.id != start]
    return tokenizer.decode(ids)
