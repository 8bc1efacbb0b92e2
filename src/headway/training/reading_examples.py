"""Labelled texts as rows: read, divided into training and validation, their labels numbered, encoded."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from headway.corpus.connected_division import keep_aside, shared_texts
from headway.corpus.labelled import Labelled, LabelledTexts, read_labelled
from headway.corpus.layout_of_texts import added, lay_out, room_for_two
from headway.errors import DataError
from headway.formats.reader_settings import read_reader_settings
from headway.text.tokenizer import Tokenizer
from headway.training.reading_store import Row
from headway.training.recipe import DataSettings

MOST_VALIDATION = 3000
"""Examples that are kept aside at most."""
_SHOWN = 5


@dataclass(kw_only=True)
class Divided:
    """What is learnt from and what is measured on; `notes`: what a person should know of the data."""

    texts: list[str]
    train: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    labels: tuple[str, ...] = ()
    pair: bool = False
    scheme: str | None = None
    cut: int = 0
    examples: int = 0
    notes: list[str] = field(default_factory=list)


def labelled_examples(
    data: DataSettings, start: Path | None
) -> tuple[list[Labelled], list[Labelled], tuple[str, ...], list[str]]:
    """Training and validation examples, the labels by number, and what is to be said of them.

    Raises DataError for one label only, for labels that only the validation data has, and where nothing is left.
    """
    notes: list[str] = []
    given = read_labelled(
        data.path,
        text_field=data.text_field,
        label_field=data.label_field,
        other_field=data.other_field,
        multi_label=data.multi_label,
    )
    examples = _read(given, notes)
    if data.validation is None:
        aside = keep_aside(
            [example.texts for example in examples],
            [example.labels for example in examples],
            share=data.validation_share,
            most=MOST_VALIDATION,
        )
        train = [example for example, kept in zip(examples, aside, strict=True) if not kept]
        validation = [example for example, kept in zip(examples, aside, strict=True) if kept]
    else:
        # The columns are those of the training file: a few lines tell less about which is the label.
        other = replace(given, path=Path(data.validation), fields=given.columns())
        train, validation = examples, _read(other, notes)
        note_overlap(notes, [example.texts for example in train], [example.texts for example in validation])
    labels = _labels(data, train, validation, start)
    counts = Counter(label for example in train for label in example.labels)
    listed = ", ".join(f"{label} {counts[label]:,}" for label in labels[:10]) + (", ..." if len(labels) > 10 else "")
    notes.append(
        f"{len(train):,} examples to train on, {len(validation):,} to measure on; {len(labels)} labels: {listed}"
    )
    return train, validation, labels, notes


def classify_rows(
    data: DataSettings, start: Path | None, *, learn: Callable[[list[str]], Tokenizer], window: int
) -> tuple[Tokenizer, Divided]:
    """Texts with their labels as rows of at most `window` tokens; a longer text is read as far as that."""
    train, validation, labels, notes = labelled_examples(data, start)
    divided = Divided(
        texts=[text for example in train for text in example.texts],
        labels=labels,
        pair=train[0].other is not None,
        examples=len(train),
        notes=notes,
    )
    tokenizer = learn(divided.texts)
    numbers = {label: number for number, label in enumerate(labels)}
    for examples, rows in ((train, divided.train), (validation, divided.validation)):
        firsts = tokenizer.encode_corpus([example.text for example in examples])
        seconds = tokenizer.encode_corpus([example.other or "" for example in examples]) if divided.pair else None
        room = window - added(tokenizer, divided.pair)
        for place, example in enumerate(examples):
            second = None if seconds is None else seconds[place]
            lengths = len(firsts[place]), 0 if second is None else len(second)
            keep = room_for_two(room, *lengths) if second is not None else (min(room, lengths[0]), 0)
            divided.cut += keep != lengths
            ids, segments = lay_out(
                tokenizer, firsts[place][: keep[0]].tolist(), None if second is None else second[: keep[1]].tolist()
            )
            rows.append(Row(ids, segments.count(0), [numbers[label] for label in example.labels]))
    if divided.cut:
        notes.append(
            f"{divided.cut:,} texts are longer than {window} tokens and are read that far (--set train.window=N)"
        )
    return tokenizer, divided


def note_overlap(notes: list[str], train: Sequence[Sequence[str]], validation: Sequence[Sequence[str]]) -> None:
    """Warn of validation texts that training has too."""
    shared = shared_texts(train, validation)
    if shared:
        notes.append(
            f"warning: {shared:,} of {len(validation):,} validation examples have a text that stands in the training "
            "data too; what is measured on them flatters"
        )


def _read(given: LabelledTexts, notes: list[str]) -> list[Labelled]:
    every = list(given)
    kept = [example for example in every if all(text.strip() for text in example.texts)]
    if not kept:
        raise DataError(f"all {len(every)} texts of {given.path} are empty; name the field: --set data.text_field=NAME")
    if len(kept) < len(every):
        empty = next(example for example in every if not all(text.strip() for text in example.texts))
        notes.append(
            f"left out {len(every) - len(kept):,} of {len(every):,} examples without text, first {empty.place}"
        )
    return kept


def _labels(
    data: DataSettings, train: Sequence[Labelled], validation: Sequence[Labelled], start: Path | None
) -> tuple[str, ...]:
    """The labels in order of their number: that of the start model where it knows them all, else by name."""
    found = sorted({label for example in train for label in example.labels}, key=_by_number)
    unknown = [example for example in validation if set(example.labels) - set(found)]
    if unknown:
        names = sorted({label for example in unknown for label in example.labels} - set(found))
        shown = ", ".join(map(repr, names[:_SHOWN]))
        raise DataError(
            f"the validation data has labels that the training data has not: {shown} ({len(unknown)} examples, first "
            f"{unknown[0].place});\nknown are {', '.join(map(repr, found[:20]))}\n"
            "Mend them, or add examples to train on."
        )
    if len(found) < (1 if data.multi_label else 2):
        raise DataError(
            f"there must be two labels at least, but {data.path} has {', '.join(map(repr, found)) or 'none'} only\n"
            "Give examples of another one, or name the label's column: --set data.label_field=NAME"
        )
    if len(found) > max(1000, len(train) // 2):
        raise DataError(
            f"{data.path} has {len(found):,} different labels in {len(train):,} examples, so hardly any returns\n"
            "Name the label's column: --set data.label_field=NAME"
        )
    known = () if start is None else read_reader_settings(start).labels
    return known if set(found) <= set(known) else tuple(found)


def _by_number(label: str) -> tuple[int, str]:
    return (int(label), "") if label.isdecimal() and label.isascii() else (10**9, label)
