"""Tagged sentences as rows: a target at the first piece of each word, long sentences in windows between words."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from headway.corpus.batches import IGNORED
from headway.corpus.connected_division import keep_aside
from headway.corpus.layout_of_texts import added, lay_out
from headway.corpus.strides import word_windows
from headway.corpus.tag_schemes import split_tag, tag_set
from headway.corpus.tagged import Tagged, TaggedTexts, read_tagged
from headway.errors import DataError
from headway.formats.reader_settings import read_reader_settings
from headway.text.tokenizer import Tokenizer
from headway.training.reading_examples import MOST_VALIDATION, Divided, note_overlap
from headway.training.reading_store import Row
from headway.training.recipe import DataSettings


def tag_rows(
    data: DataSettings, start: Path | None, *, learn: Callable[[list[str]], Tokenizer], window: int
) -> tuple[Tokenizer, Divided]:
    """Sentences as rows of at most `window` tokens. Raises DataError for tags of the validation data alone."""
    notes: list[str] = []
    found = read_tagged(data.path, word_field=data.text_field, tag_field=data.label_field)
    _tell_repairs(notes, found)
    if data.validation is None:
        texts = [(sentence.text,) for sentence in found.sentences]
        aside = keep_aside(texts, [0] * len(texts), share=data.validation_share, most=MOST_VALIDATION)
        train = [sentence for sentence, kept in zip(found.sentences, aside, strict=True) if not kept]
        validation = [sentence for sentence, kept in zip(found.sentences, aside, strict=True) if kept]
    else:
        other = read_tagged(
            data.validation, word_field=data.text_field, tag_field=data.label_field, scheme=found.scheme
        )
        _tell_repairs(notes, other)
        train, validation = list(found.sentences), list(other.sentences)
        note_overlap(notes, [(one.text,) for one in train], [(one.text,) for one in validation])
    counts = Counter(split_tag(tag)[1] or tag for sentence in train for tag in sentence.tags)
    spans = Counter(
        split_tag(tag)[1] for sentence in train for tag in sentence.tags if split_tag(tag)[0] in ("B", "S", "I")
    )
    names = {name for name in counts if name != "O"} if found.scheme == "none" else set(spans)
    labels = _labels(data, names, found, validation, start)
    notes.append(
        f"{len(train):,} sentences to train on, {len(validation):,} to measure on; tags in {found.scheme}, "
        f"{len(names)} labels: {', '.join(sorted(names)[:10])}"
    )
    divided = Divided(
        texts=[sentence.text for sentence in train],
        labels=labels,
        scheme=found.scheme,
        examples=len(train),
        notes=notes,
    )
    tokenizer = learn(divided.texts)
    numbers = {label: number for number, label in enumerate(labels)}
    room = window - added(tokenizer, False)
    for sentences, rows in ((train, divided.train), (validation, divided.validation)):
        for sentence in sentences:
            new, cut = sentence_rows(tokenizer, sentence, numbers, room)
            rows.extend(new)
            divided.cut += cut
    return tokenizer, divided


def sentence_rows(tokenizer: Tokenizer, sentence: Tagged, numbers: dict[str, int], room: int) -> tuple[list[Row], bool]:
    """A sentence's rows, and whether a word had to be cut. A word without a token of its own has no target."""
    ids, words = word_pieces(tokenizer, sentence.words)
    lengths = [0] * len(sentence.words)
    for word in words:
        lengths[word] += 1
    begin = int(tokenizer.begin_of_text is not None)
    rows, place, cut = [], 0, False
    for first, last in word_windows(lengths, room):
        count = sum(lengths[first:last])
        some, owners = ids[place : place + count], words[place : place + count]
        place += count
        if not count:
            continue
        cut = cut or count > room
        some, owners = some[:room], owners[:room]
        laid, _ = lay_out(tokenizer, some)
        targets = [IGNORED] * len(laid)
        for number, owner in enumerate(owners):
            if number == 0 or owners[number - 1] != owner:
                targets[begin + number] = numbers[sentence.tags[owner]]
        rows.append(Row(laid, len(laid), targets))
    return rows, cut


def word_pieces(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[list[int], list[int]]:
    """The ids of words with a blank between any two, and the number of the word that each id is of.

    An id belongs to the word in which its last character stands: pieces of bytes take the blank before a word along.
    """
    text = " ".join(words)
    owner: list[int] = []
    for number, word in enumerate(words):
        owner += [number] * (len(word) + 1)
    ids, spans = tokenizer.encode_with_spans(text)
    kept = [(id, owner[end - 1]) for id, (begin, end) in zip(ids, spans, strict=True) if end > begin]
    return [id for id, _ in kept], [number for _, number in kept]


def _tell_repairs(notes: list[str], found: TaggedTexts) -> None:
    if found.repaired:
        notes.append(
            f"warning: in {found.repaired:,} of {len(found.sentences):,} sentences of {found.path} the tags break "
            f"{found.scheme}, first at {found.example}; they are read leniently"
        )


def _labels(
    data: DataSettings, names: set[str], found: TaggedTexts, validation: Sequence[Tagged], start: Path | None
) -> tuple[str, ...]:
    """The tags in order of their number. Raises DataError for too few, or others in the validation data."""
    if not names or (found.scheme == "none" and len(names) < 2):
        raise DataError(
            f"{data.path} has no spans to learn: its tags are {', '.join(sorted(names)) or 'O'} only\n"
            "Name the column of the tags by its number: --set data.label_field=2"
        )
    labels = tag_set(names, found.scheme)
    for sentence in validation:
        unknown = [tag for tag in sentence.tags if tag not in labels]
        if unknown:
            raise DataError(
                f"the validation data has a label that the training data has not: {unknown[0]!r}, in the sentence at "
                f"{sentence.place}\nMend it, or add examples to train on."
            )
    settings = None if start is None else read_reader_settings(start)
    if settings is not None and settings.task == "tag" and set(labels) <= set(settings.labels):
        return settings.labels
    return labels
