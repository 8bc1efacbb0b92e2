"""Sentences of tagged words, from columns as the shared tasks on named entities have them (CoNLL).

A word a line, first column the word, last the tag (or those named), a blank line between sentences; lines that begin
with -DOCSTART- divide documents and are left out, as are comments, "# " with more behind it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from headway.corpus.labelled_file import check_file, fingerprint_of
from headway.corpus.tag_schemes import Scheme, check_tags, repaired, scheme_of
from headway.corpus.text_file import shown, text_lines
from headway.errors import DataError

KINDS = (".conll", ".conllu", ".txt", ".tsv", ".bio", ".iob", ".iob2")
_DOCUMENT = "-DOCSTART-"
_TOO_MANY = 2_000  # different tags
_WAY_OUT = (
    "Put a word and its tag on each line, or number the columns: train --set data.text_field=1 --set\n"
    "data.label_field=4, evaluate --text-field 1 --label-field 4"
)


@dataclass(frozen=True, slots=True)
class Tagged:
    """A sentence's words, a tag each, and where it begins."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    place: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """The words with a blank between any two."""
        return " ".join(self.words)


@dataclass(frozen=True, kw_only=True)
class TaggedTexts:
    """The sentences of a file. scheme: of their tags; repaired: how many sentences had tags that break it."""

    path: Path
    sentences: tuple[Tagged, ...]
    scheme: Scheme
    repaired: int = 0
    example: str = ""


def read_tagged(
    path: str | Path,
    *,
    word_field: str | None = None,
    tag_field: str | None = None,
    strict: bool = False,
    scheme: str | None = None,
) -> TaggedTexts:
    """The sentences of a .conll, .conllu, .txt, .tsv, .bio or .iob file (also .gz), their tags sound in its scheme.

    word_field, tag_field: numbers of the columns, from 1. Tags that break the scheme are mended leniently and counted;
    `strict` refuses them. scheme: what the tags are in, None: seen from all of them. Raises DataError for a bad file.
    """
    path = Path(path)
    check_file(path, KINDS, "tagged sentences")
    sentences = list(_sentences(path, _number(word_field), _number(tag_field)))
    if not sentences:
        raise DataError(f"there are no sentences in {shown(path)}: it is empty\n{_WAY_OUT}")
    counts = Counter(tag for sentence in sentences for tag in sentence.tags)
    if len(counts) > _TOO_MANY or (len(counts) > 50 and 2 * len(counts) > sum(counts.values())):
        raise DataError(f"{shown(path)} has {len(counts):,} different tags, so they are hardly tags\n{_WAY_OUT}")
    found = scheme_of(counts) if scheme is None else scheme
    sound, mended, example = [], 0, ""
    for sentence in sentences:
        if strict:
            check_tags(sentence.tags, found, sentence.place)
        tags = tuple(repaired(sentence.tags, found))
        if not _alike(tags, sentence.tags):
            mended += 1
            example = example or sentence.place
        sound.append(Tagged(sentence.words, tags, sentence.place))
    return TaggedTexts(path=path, sentences=tuple(sound), scheme=found, repaired=mended, example=example)  # type: ignore[arg-type]


def tagged_fingerprint(path: Path, word_field: str | None, tag_field: str | None) -> str:
    """A hash of the file's bytes and of the columns taken from it."""
    return fingerprint_of(path, repr((word_field, tag_field)))


def _alike(tags: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether two ways of writing tags differ in letters only: L for E, U for S, a bare label for an inner one."""
    letters = {"L-": "E-", "U-": "S-"}
    written = (letters.get(tag[:2], tag[:2]) + tag[2:] for tag in others)
    return all(mine == theirs or mine == f"I-{theirs}" for mine, theirs in zip(tags, written, strict=True))


def _number(column: str | None) -> int | None:
    if column is None:
        return None
    if not column.isdecimal() or int(column) < 1:
        raise DataError(f"columns of tagged words have no names, but numbers from 1; got {column!r}\n{_WAY_OUT}")
    return int(column) - 1


def _sentences(path: Path, word: int | None, tag: int | None) -> Iterator[Tagged]:
    words: list[str] = []
    tags: list[str] = []
    width, begun = None, 0
    for number, line in enumerate(text_lines(path), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith(_DOCUMENT):
            if words:
                yield Tagged(tuple(words), tuple(tags), f"{shown(path)}:{begun}")
            words, tags = [], []
            continue
        columns = stripped.split("\t") if "\t" in stripped else stripped.split()
        if columns[0] == "#" or stripped.startswith("# "):
            if len(columns) != width:
                continue
        width = width or len(columns)
        if len(columns) != width or len(columns) < 2:
            raise DataError(
                f"{shown(path)}:{number} has {len(columns)} columns, but "
                + (f"the lines before have {width}" if len(columns) != width else "a word and its tag are two")
                + f"\n{_WAY_OUT}"
            )
        for place in (word, tag):
            if place is not None and place >= width:
                raise DataError(f"{shown(path)} has {width} columns, so there is no column {place + 1}\n{_WAY_OUT}")
        begun = begun if words else number
        words.append(columns[word or 0])
        tags.append(columns[-1 if tag is None else tag])
    if words:
        yield Tagged(tuple(words), tuple(tags), f"{shown(path)}:{begun}")
