"""Pairs of texts that mean alike as rows for embeddings: each text is a row of its own, begun and ended."""

from collections.abc import Callable

from headway.corpus.connected_division import keep_aside
from headway.corpus.layout_of_texts import added, lay_out
from headway.corpus.pair_readers import Pair
from headway.corpus.pairs import read_pairs
from headway.errors import DataError
from headway.text.tokenizer import Tokenizer
from headway.training.reading_examples import MOST_VALIDATION, Divided, note_overlap
from headway.training.reading_store import Row
from headway.training.recipe import DataSettings


def pair_rows(data: DataSettings, *, learn: Callable[[list[str]], Tokenizer], window: int) -> tuple[Tokenizer, Divided]:
    """Pairs as rows of two texts of at most `window` tokens each. Raises DataError for fewer than two pairs."""
    notes: list[str] = []
    every = _read(data, data.path, notes)
    texts = [(pair.source, pair.target) for pair in every]
    if data.validation is None:
        aside = keep_aside(texts, [0] * len(texts), share=data.validation_share, most=MOST_VALIDATION)
        train = [pair for pair, kept in zip(every, aside, strict=True) if not kept]
        validation = [pair for pair, kept in zip(every, aside, strict=True) if kept]
    else:
        train, validation = every, _read(data, data.validation, notes)
        note_overlap(notes, texts, [(pair.source, pair.target) for pair in validation])
    if len(train) < 2:
        raise DataError(f"{data.path} has {len(train)} pairs to train on, and pairs are told apart from each other")
    notes.append(f"{len(train):,} pairs to train on, {len(validation):,} to measure on")
    divided = Divided(
        texts=[text for pair in train for text in (pair.source, pair.target)], examples=len(train), notes=notes
    )
    tokenizer = learn(divided.texts)
    room = window - added(tokenizer, False)
    for pairs, rows in ((train, divided.train), (validation, divided.validation)):
        sides = [tokenizer.encode_corpus([getattr(pair, side) for pair in pairs]) for side in ("source", "target")]
        for first, second in zip(*sides, strict=True):
            divided.cut += len(first) > room or len(second) > room
            one, _ = lay_out(tokenizer, first[:room].tolist())
            other, _ = lay_out(tokenizer, second[:room].tolist())
            rows.append(Row([*one, *other], len(one), []))
    if divided.cut:
        notes.append(f"{divided.cut:,} pairs have a text longer than {window} tokens and are read that far")
    return tokenizer, divided


def _read(data: DataSettings, path: str, notes: list[str]) -> list[Pair]:
    """The pairs with two texts. Raises DataError where there are none."""
    second = data.validation_target if path == data.validation else data.target_path
    every = list(read_pairs(path, target_path=second, source_field=data.source_field, target_field=data.target_field))
    kept = [pair for pair in every if pair.source.strip() and pair.target.strip()]
    if not kept:
        raise DataError(f"all {len(every)} pairs of {path} have an empty side; give others")
    if len(kept) < len(every):
        notes.append(f"left out {len(every) - len(kept):,} of {len(every):,} pairs with an empty side")
    return kept
