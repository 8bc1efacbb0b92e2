"""Labelled data as what a run learns from: rows for a reader's task, its labels, and its calibration at the end."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from headway.corpus.batches import IGNORED
from headway.corpus.documents import text_bytes
from headway.corpus.labelled_file import fingerprint_of
from headway.formats.bundled import locate
from headway.formats.reader_settings import ReaderSettings, read_reader_settings, write_reader_settings
from headway.models.calibration import (
    abstention_table,
    confidences_of,
    expected_calibration_error,
    fit_temperature,
)
from headway.models.registry import family
from headway.text.byte_level_training import vocabulary_size
from headway.text.tokenizer import Tokenizer
from headway.training.defaults import DEFAULT, TextFacts
from headway.training.masked import learn_vocabulary
from headway.training.material import Tokenizers
from headway.training.pairs import PairMaterial
from headway.training.reading_answers import answer_rows
from headway.training.reading_batches import ReadingBatches, longest_of
from headway.training.reading_defaults import fill_in_reading, stride_of, window_of
from headway.training.reading_examples import Divided, classify_rows
from headway.training.reading_goals import Answer, Embed, Tag
from headway.training.reading_objectives import (
    Classify,
    Goal,
    ReadingObjective,
    answers_of,
    balanced_weights,
)
from headway.training.reading_pairs import pair_rows
from headway.training.reading_store import (
    ReadingFacts,
    Rows,
    read_facts,
    read_rows,
    write_facts,
    write_rows,
)
from headway.training.reading_tags import tag_rows
from headway.training.recipe import Recipe
from headway.training.report import Reporter

_MOST_IDS = 8192


class ReadingMaterial:
    """Labelled data for a reader."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._pairs = PairMaterial(recipe) if recipe.task == "embed" else None

    @property
    def places(self) -> list[str]:
        """The files and folders that are read."""
        if self._pairs is not None:
            return self._pairs.places
        data = self._recipe.data
        return [path for path in (data.path, data.validation) if path is not None]

    def fingerprint(self) -> str:
        """The content of all that a run reads, as one hash."""
        if self._pairs is not None:
            return self._pairs.fingerprint()
        return "+".join(fingerprint_of(Path(place)) for place in self.places)

    def write(self, folder: Path, known: Tokenizers | None, reporter: Reporter) -> tuple[Tokenizers, TextFacts]:
        """Read, divide and encode the data, learning the vocabulary where none is known, and write it to `folder`."""
        recipe = self._recipe
        assert recipe.task is not None
        window = window_of(recipe)
        stride = stride_of(recipe, window)

        def learn(texts: list[str]) -> Tokenizer:
            return known.source if known is not None else _learn(recipe, texts, reporter)

        tokenizer, divided = _examples(recipe, learn, window, stride)
        for said in divided.notes:
            reporter.note(said)
        folder.mkdir()
        train = write_rows(folder, "train", divided.train)
        write_rows(folder, "validation", divided.validation)
        write_facts(
            folder,
            ReadingFacts(
                task=recipe.task,
                labels=divided.labels,
                multi_label=recipe.data.multi_label,
                pair=divided.pair,
                scheme=divided.scheme,
                window=window,
                stride=stride if recipe.task in ("answer", "tag") else None,
                cut=divided.cut,
                vocabulary=tokenizer.size,
            ),
        )
        facts = TextFacts(
            training_tokens=train.tokens,
            vocabulary=tokenizer.size,
            labels=divided.labels,
            multi_label=recipe.data.multi_label,
            examples=divided.examples,
            longest=longest_of(train, recipe.task == "embed"),
        )
        return Tokenizers(source=tokenizer), facts

    def fill_in(self, recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
        """The recipe with every choice made, and the reasons."""
        return fill_in_reading(recipe, facts, start)

    def objective(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> ReadingObjective:
        """Do the task well on the rows in `folder`."""
        settings, facts = recipe.train, read_facts(folder)
        assert settings.batch_tokens is not None
        train = read_rows(folder, "train")
        batches = ReadingBatches(
            train,
            tokens=settings.batch_tokens,
            seed=settings.seed,
            padding=tokenizers.source.padding or 0,
            apart=facts.task == "embed",
            words=facts.task == "tag",
        )
        return ReadingObjective(
            batches,
            validation=read_rows(folder, "validation"),
            goal=_goal(recipe, facts, train),
            accumulation=settings.accumulation,
        )

    def describe(self, recipe: Recipe, facts: TextFacts, folder: Path) -> None:
        """Write reader.json: the task, its labels and how long rows are."""
        found = read_facts(folder / "training" / "data")
        settings = ReaderSettings(
            task=recipe.task,
            labels=found.labels,
            multi_label=found.multi_label,
            pair=found.pair,
            scheme=found.scheme,
            pooling=_pooling(recipe),
            longest=found.window,
            stride=found.stride,
        )
        write_reader_settings(folder, settings)

    def finish(self, recipe: Recipe, folder: Path, data: Path, model: nn.Module) -> None:
        """Fit the temperature of a classifier or tagger to the validation data, and write reader.json anew."""
        if not recipe.train.calibrate or recipe.task not in ("classify", "tag"):
            return
        facts, validation = read_facts(data), read_rows(data, "validation")
        logits, targets = _validation_logits(recipe, facts, validation, model)
        write_reader_settings(folder, calibrated(read_reader_settings(folder), logits, targets))

    def sampler(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> Callable[[nn.Module], str | None]:
        """A reader writes nothing."""
        return lambda model: None


def calibrated(settings: ReaderSettings, logits: Tensor, targets: Tensor) -> ReaderSettings:
    """The settings with the temperature that suits logits (N, L) and targets, and what is gained by it.

    targets: (N,) numbers, or with several labels (N, L) of 0 and 1. The table of abstention is of whole texts with one
    label; with several, of single decisions.
    """
    several = settings.multi_label
    temperature = fit_temperature(logits, targets, multi_label=several)
    errors = []
    for used in (1.0, temperature):
        sure, said = confidences_of(logits, temperature=used, multi_label=several)
        errors.append(expected_calibration_error(sure, said == targets.long()))
    return replace(
        settings,
        temperature=temperature,
        calibration={"error_before": errors[0], "error_after": errors[1], "examples": float(len(logits))},
        abstention=abstention_table(sure, said == targets.long()) if settings.task == "classify" else (),
    )


def calibration_sentence(settings: ReaderSettings) -> str | None:
    """What calibration came to, for a person; None where there was none."""
    found = settings.calibration
    if not found:
        return None
    return (
        f"calibrated on {found['examples']:,.0f} validation examples: temperature {settings.temperature:.2f}, the mean "
        f"gap between confidence and accuracy {100 * found['error_before']:.1f} % before and "
        f"{100 * found['error_after']:.1f} % after"
    )


def _examples(
    recipe: Recipe, learn: Callable[[list[str]], Tokenizer], window: int, stride: int
) -> tuple[Tokenizer, Divided]:
    """The data of a task as rows."""
    data, start = recipe.data, None if recipe.start is None else locate(recipe.start)
    if recipe.task == "tag":
        return tag_rows(data, start, learn=learn, window=window)
    if recipe.task == "answer":
        return answer_rows(data, learn=learn, window=window, stride=stride)
    if recipe.task == "embed":
        return pair_rows(data, learn=learn, window=window)
    return classify_rows(data, start, learn=learn, window=window)


def _goal(recipe: Recipe, facts: ReadingFacts, train: Rows) -> Goal:
    if facts.task == "answer":
        return Answer()
    if facts.task == "embed":
        return Embed(scale=recipe.train.similarity_scale, pooling=_pooling(recipe))
    targets = train.all_targets()
    targets = targets[targets != IGNORED]
    n_labels, weights = len(facts.labels), None
    if recipe.train.class_weights == "balanced":
        rows = len(train) if facts.multi_label else len(targets)
        weights = balanced_weights(targets, n_labels, rows=rows, multi_label=facts.multi_label)
    if facts.task == "tag":
        assert facts.scheme is not None
        return Tag(labels=facts.labels, scheme=facts.scheme, weights=weights)
    return Classify(n_labels=n_labels, multi_label=facts.multi_label, weights=weights)


def _pooling(recipe: Recipe) -> Literal["mean", "cls"]:
    """That of the start model where it says, else the mean."""
    return "mean" if recipe.start is None else read_reader_settings(locate(recipe.start)).pooling


def _validation_logits(
    recipe: Recipe, facts: ReadingFacts, validation: Rows, model: nn.Module
) -> tuple[Tensor, Tensor]:
    """What the head says of all that is measured on, (N, L), and what is right: (N,), or with several labels (N, L)."""
    assert recipe.train.batch_tokens is not None
    words = facts.task == "tag"
    batches = ReadingBatches(validation, tokens=recipe.train.batch_tokens, seed=0, padding=0, apart=False, words=words)
    goal = Classify(n_labels=len(facts.labels), multi_label=facts.multi_label)
    logits, targets = [], []
    device = next(model.parameters()).device
    with torch.no_grad():
        for _, given in batches.every(validation, recipe.train.batch_tokens):
            part = given.to(device)
            answers = answers_of(model, part)
            wanted = goal.wanted(part.targets) if facts.multi_label else part.targets[:, 0]
            if words:
                there = part.targets != IGNORED
                answers, wanted = answers[there], part.targets[there]
            logits.append(answers.cpu())
            targets.append(wanted.cpu())
    return torch.cat(logits), torch.cat(targets)


def _learn(recipe: Recipe, texts: list[str], reporter: Reporter) -> Tokenizer:
    """A vocabulary from the training texts: pieces of words for a reader, bytes for a model that also writes."""
    n_bytes = sum(map(text_bytes, texts))
    size = recipe.tokenizer.vocabulary or min(vocabulary_size(n_bytes), _MOST_IDS)
    settings = recipe.tokenizer
    if settings.kind is None and family(recipe.model.get("family", DEFAULT)).decoder:
        settings = replace(settings, kind="bytes")
    tokenizer = learn_vocabulary(settings, texts, size)
    reporter.note(f"a vocabulary of {tokenizer.size:,} was learnt from {n_bytes:,} bytes of text")
    return tokenizer
