"""Megabytes of text a second through each way of encoding, the same vocabulary and the same ids for all.

One command: `python benchmarks/tokenizer.py` (made-up English-like text), or with a file or folder that training reads;
`--vocabulary FOLDER`, `--megabytes 20`, `--repeats 5` and `--train 4096` change it; `--word-pieces 8192` learns a
vocabulary of BERT's kind from the text and measures that. The best of the repeats is printed.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from headway.corpus.documents import read_documents
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.byte_level_training import train_byte_level
from headway.text.loading import load
from headway.text.tokenizer import Tokenizer
from headway.text.word_piece import WordPieceTokenizer
from headway.text.word_piece_training import train_word_piece

MILLION = 1_000_000
Encode = Callable[[Sequence[str]], Sequence[Any]]
"""Documents in, the ids of each out, as a list or an array."""


def made_up(n_bytes: int) -> list[str]:
    """Documents of 400 words drawn from 20,000 made-up ones, the early ones far more common, as in a language."""
    source = random.Random(1)
    syllables = ["th", "e", "an", "in", "er", "on", "re", "ti", "s", "al", "or", "ma", "de", "qu", "ou", "ly"]
    words = ["".join(source.choices(syllables, k=source.randrange(1, 5))) for _ in range(20_000)]
    weights = [1 / place for place in range(1, len(words) + 1)]
    documents: list[str] = []
    while n_bytes > 0:
        chosen = source.choices(words, weights, k=400)
        documents.append(" ".join(word + source.choice(("", "", "", "", ",", ".", "\n\n")) for word in chosen))
        n_bytes -= len(documents[-1])
    return documents


def read(path: Path, n_bytes: int) -> list[str]:
    """The documents of a file or folder, as training reads them, up to so many bytes."""
    documents: list[str] = []
    for document in read_documents(path):
        documents.append(document.text)
        n_bytes -= len(document.text.encode())
        if n_bytes <= 0:
            break
    return documents


def paths(tokenizer: Tokenizer) -> dict[str, Encode]:
    """Every way there is, by name; the libraries as their own batch functions run them."""
    ways: dict[str, Encode] = {
        "headway encode_corpus": tokenizer.encode_corpus,
        "headway encode": lambda texts: [tokenizer.encode(text) for text in texts],
    }
    if isinstance(tokenizer, ByteLevelTokenizer):
        from headway.text.encoders import ListEncoder, PromptEncoder

        library = ListEncoder(tokenizer.vocabulary).library
        ways["tokenizers encode_batch_fast"] = lambda texts: [found.ids for found in library.encode_batch_fast(texts)]
        if tokenizer.vocabulary.proper:
            prompt = PromptEncoder(tokenizer.vocabulary)
            ways["tiktoken encode_ordinary_batch"] = lambda texts: [
                prompt.to_ids(ranks) for ranks in prompt.library.encode_ordinary_batch(list(texts))
            ]
    if isinstance(tokenizer, WordPieceTokenizer):
        pieces = bert_of_the_library(tokenizer)
        ways["headway encode_with_spans"] = lambda texts: [tokenizer.encode_with_spans(text)[0] for text in texts]
        ways["tokenizers encode_batch_fast"] = lambda texts: [found.ids for found in pieces.encode_batch_fast(texts)]
        ways["tokenizers encode_batch (spans)"] = lambda texts: [found.ids for found in pieces.encode_batch(texts)]
    return ways


def bert_of_the_library(tokenizer: WordPieceTokenizer) -> Any:
    """The `tokenizers` library's BERT tokenizer with the same vocabulary, special tokens as plain text."""
    from tokenizers import Tokenizer as Library
    from tokenizers import models, pre_tokenizers

    from headway.text.word_piece_cutting import UNKNOWN, normalizer

    library = Library(models.WordPiece(tokenizer.vocabulary.ids, unk_token=UNKNOWN))
    library.normalizer = normalizer(tokenizer.vocabulary)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return library


def best(call: Callable[[], object], repeats: int) -> float:
    """The shortest time of so many runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure, check that all agree, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", type=Path, help="a text file or a folder of them; made-up text if absent")
    parser.add_argument("--vocabulary", default="gpt2", help="a shipped name or a folder")
    parser.add_argument("--megabytes", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--train", type=int, default=0, metavar="SIZE", help="also learn a vocabulary of that size")
    parser.add_argument("--word-pieces", type=int, default=0, metavar="SIZE", help="learn word pieces and measure them")
    arguments = parser.parse_args()
    n_bytes = int(arguments.megabytes * MILLION)
    documents = made_up(n_bytes) if arguments.path is None else read(arguments.path, n_bytes)
    megabytes = sum(len(document.encode()) for document in documents) / MILLION
    tokenizer: Tokenizer
    if arguments.word_pieces:
        start = time.perf_counter()
        tokenizer = train_word_piece(documents, arguments.word_pieces)
        print(f"learning {tokenizer.size} word pieces from {megabytes:.1f} MB: {time.perf_counter() - start:.1f} s")
    else:
        tokenizer = load(arguments.vocabulary)
    ways = paths(tokenizer)
    wanted = [list(ids) for ids in ways["headway encode"](documents)]
    print(f"{len(documents)} documents, {megabytes:.1f} MB, best of {arguments.repeats}")
    print(f"{'':34}{'MB/s':>8}{'ratio':>8}  same ids")
    speeds: dict[str, float] = {}
    for name, encode in ways.items():
        same = [list(ids) for ids in encode(documents)] == wanted
        speeds[name] = megabytes / best(partial(encode, documents), arguments.repeats)
        ratio = speeds[name] / speeds["headway encode_corpus"]
        print(f"{name:34}{speeds[name]:8.1f}{ratio:8.3f}  {'yes' if same else 'NO'}")
    for unit in ("a", " ", "\n", "\u4e2d", "!"):
        text = unit * MILLION
        prompt, corpus = best(partial(tokenizer.encode, text), 1), best(partial(tokenizer.encode_corpus, [text]), 1)
        print(f"a million of {unit!a:10} encode {prompt:5.2f} s   encode_corpus {corpus:5.2f} s")
    if arguments.train:
        seconds = best(partial(train_byte_level, documents, arguments.train), 1)
        print(f"learning {arguments.train} tokens from {megabytes:.1f} MB: {seconds:.1f} s")


if __name__ == "__main__":
    main()
