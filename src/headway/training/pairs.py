"""Pairs as what a run learns from: cleaning, vocabularies of one or both sides, shards, sequence to sequence."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from headway.corpus.pair_batches import PairBatches
from headway.corpus.pair_cleaning import clean
from headway.corpus.pair_division import overlap
from headway.corpus.pair_languages import language_order
from headway.corpus.pair_readers import Pair
from headway.corpus.pair_shards import PairShards, PairShardSettings, write_pair_shards
from headway.corpus.pairs import read_pairs
from headway.decoding.choice import Choice
from headway.decoding.rows import Rows
from headway.errors import DataError, FormatError
from headway.text.byte_level_training import train_byte_level
from headway.text.tokenizer import Tokenizer
from headway.text.word_level_training import train_words
from headway.training.defaults import TextFacts
from headway.training.material import Tokenizers
from headway.training.pair_defaults import fill_in_pairs, fitting_pair_vocabulary, longest_side
from headway.training.pair_objective import SequenceToSequence
from headway.training.recipe import Recipe
from headway.training.report import Reporter

_SAMPLES = 3  # validation pairs translated at every evaluation
_VOCABULARY_PAIRS = 2_000_000  # a vocabulary learnt from more pairs hardly differs


class PairMaterial:
    """Pairs of a source and a target for an encoder-decoder."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        data = recipe.data
        fields = {"source_field": data.source_field, "target_field": data.target_field}
        self._pairs = read_pairs(data.path, target_path=data.target_path, **fields)
        self._validation = (
            None
            if data.validation is None
            else read_pairs(data.validation, target_path=data.validation_target, **fields)
        )

    @property
    def places(self) -> list[str]:
        """The files and folders that are read."""
        data = self._recipe.data
        every = (data.path, data.target_path, data.validation, data.validation_target)
        return [path for path in every if path is not None]

    def fingerprint(self) -> str:
        """The content of all the pairs a run reads, as one hash."""
        given = [self._pairs] if self._validation is None else [self._pairs, self._validation]
        return "+".join(pairs.fingerprint() for pairs in given)

    def write(self, folder: Path, known: Tokenizers | None, reporter: Reporter) -> tuple[Tokenizers, TextFacts]:
        """Clean the pairs, learn vocabularies where none are known, and write the shards to `folder`."""
        recipe = self._recipe
        pairs, validation = self._cleaned(reporter)
        tokenizers = known or self._learn(pairs, reporter)
        shards = write_pair_shards(
            folder,
            pairs,
            validation,
            tokenizers.source,
            tokenizers.writes,
            PairShardSettings(
                validation_share=recipe.data.validation_share,
                longest=longest_side(recipe, recipe.model.get("context")),
            ),
        )
        train, kept = shards.split("train"), shards.split("validation")
        if not train.pairs or not kept.pairs:
            raise DataError(
                f"{recipe.data.path} has too few pairs: {train.pairs} to train on and {kept.pairs} to measure on;\n"
                f"give more, or others to measure on with --set data.validation=FILE"
            )
        reporter.note(f"{train.pairs:,} pairs to train on; {kept.pairs:,} kept aside to measure on")
        facts = TextFacts(
            training_tokens=train.target_tokens + train.pairs,
            vocabulary=tokenizers.writes.size,
            source_tokens=train.source_tokens + train.pairs,
            source_vocabulary=None if tokenizers.target is None else tokenizers.source.size,
            pairs=train.pairs,
            longest=int(max(train.source_lengths.max(), train.target_lengths.max())),
        )
        return tokenizers, facts

    def fill_in(self, recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
        """The recipe with every choice made, and the reasons."""
        return fill_in_pairs(recipe, facts, start)

    def objective(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> SequenceToSequence:
        """Predict the targets of the shards in `folder`."""
        settings, shards = recipe.train, PairShards.open(folder)
        assert settings.batch_tokens is not None and settings.label_smoothing is not None
        end = _end_of(tokenizers.writes)
        batches = PairBatches(
            shards.split("train"),
            tokens=settings.batch_tokens,
            seed=settings.seed,
            start_id=end,
            end_id=end,
            source_end_id=_end_of(tokenizers.source),
        )
        return SequenceToSequence(
            batches,
            training=shards.split("train"),
            validation=shards.split("validation"),
            accumulation=settings.accumulation,
            validation_tokens=settings.validation_tokens,
            smoothing=settings.label_smoothing,
        )

    def describe(self, recipe: Recipe, facts: TextFacts, folder: Path) -> None:
        """Nothing: what a translator's folder holds says all."""

    def finish(self, recipe: Recipe, folder: Path, data: Path, model: nn.Module) -> None:
        """Nothing is left to do."""

    def sampler(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> Callable[[nn.Module], str | None]:
        """Translates some validation sources; None where no sample is wanted."""
        if recipe.train.sample_tokens == 0:
            return lambda model: None
        split = PairShards.open(folder).split("validation")
        numbers = [place * split.pairs // _SAMPLES for place in range(min(_SAMPLES, split.pairs))]
        sources = [split.source(number).tolist() for number in numbers]
        return lambda model: _translations(model, sources, tokenizers, recipe.train.sample_tokens)

    def _cleaned(self, reporter: Reporter) -> tuple[Iterable[Pair], Iterable[Pair] | None]:
        """The pairs without what is hardly one, said in a report; and the validation pairs as they are."""
        pairs: Iterable[Pair] = self._pairs
        if self._recipe.data.clean:
            cleaned = clean(self._pairs)
            if cleaned.report.kept < cleaned.report.pairs:
                reporter.note(str(cleaned.report))
            pairs = cleaned
        if self._validation is not None:
            order = language_order(pairs, self._validation)
            if order.swapped:
                raise DataError(
                    f"{self._recipe.data.validation} seems to have its sides the other way round: {order}\n"
                    "Exchange its columns, or name them: data.source_field and data.target_field."
                )
            shared = overlap(pairs, self._validation)
            if shared.shared_sources:
                reporter.note(f"warning: {shared}; what is measured on them flatters")
        return pairs, self._validation

    def _learn(self, pairs: Iterable[Pair], reporter: Reporter) -> Tokenizers:
        settings = self._recipe.tokenizer
        n_bytes = self._pairs.bytes
        size = settings.vocabulary or fitting_pair_vocabulary(self._recipe, n_bytes)
        some = list(itertools.islice(pairs, _VOCABULARY_PAIRS))
        learn = train_words if settings.kind == "words" else train_byte_level
        if not settings.separate:
            tokenizer = learn(_both_sides(some), size)
            reporter.note(
                f"a vocabulary of {tokenizer.size:,} for both sides was learnt from {n_bytes:,} bytes of text"
            )
            return Tokenizers(source=tokenizer)
        source = learn((pair.source for pair in some), size)
        target = learn((pair.target for pair in some), size)
        reporter.note(f"vocabularies of {source.size:,} and {target.size:,} were learnt from {n_bytes:,} bytes of text")
        return Tokenizers(source=source, target=target)


def _both_sides(pairs: Iterable[Pair]) -> Iterator[str]:
    for pair in pairs:
        yield pair.source
        yield pair.target


def _end_of(tokenizer: Tokenizer) -> int:
    if tokenizer.end_of_text is None:
        raise FormatError(
            "the tokenizer has no end of text, which ends every sentence\nTake another, or leave it out to learn one."
        )
    return tokenizer.end_of_text


def _translations(model: nn.Module, sources: list[list[int]], tokenizers: Tokenizers, n_tokens: int) -> str:
    end = _end_of(tokenizers.writes)
    rows = Rows(model, vocabulary=tokenizers.writes.size)  # type: ignore[arg-type]
    texts: dict[int, list[int]] = {}
    for source in sources:
        (number,) = rows.add(
            [end],
            Choice(temperature=0.0),
            max_new_tokens=n_tokens,
            stop_ids=frozenset({end}),
            source=[*source, _end_of(tokenizers.source)],
        )
        texts[number] = []
    while len(rows):
        for emitted in rows.step():
            if emitted.id != end:
                texts[emitted.row].append(emitted.id)
    lines = [
        f"{tokenizers.source.decode(source)} -> {tokenizers.writes.decode(ids)}"
        for source, ids in zip(sources, texts.values(), strict=True)
    ]
    return " | ".join(lines)
