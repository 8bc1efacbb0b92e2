"""What ten minutes teach: bits per byte of held-out text after `headway train` and after plain nanoGPT-style loops.

`python benchmarks/ten_minutes.py TRAIN VALID [--minutes 10]`; the held-out file is read by nobody before it is scored.

- headway: the command `headway train TRAIN -o MODEL --minutes M`, nothing else given. Its wall time is printed too: the
  minutes hold all its preparation, but not starting Python nor the last evaluation.
- nanogpt-char: nanoGPT's recipe for a CPU (4 layers, 4 heads, 128 wide, windows of 64, batch 12, rate 1e-3, no dropout,
  eager) with the decay stretched from 2,000 steps to the minutes. It reads bytes instead of characters, so that the
  held-out text has no unknown ones.
- plain-bpe, stronger: the plain loop with layers, width, heads and vocabulary of headway's run, batch 16 x 256, AdamW
  at 1e-3 with a cosine to a tenth, eager fp32. The vocabulary is given to it ready-made; encoding counts.

The plain loops' minutes begin before they read the text and end with their last step; they train on all of it, headway
keeps a share aside. All are scored alike: every document by itself after the end-of-text id, in windows of the model's
context that move on by half of it; nats of all tokens over ln 2 and over the UTF-8 bytes.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from plain_training import PlainConfig, PlainGPT2, PlainSettings, PlainTraining, plain_step
from whole_documents import whole_documents

import headway
from headway.corpus.documents import text_bytes
from headway.evaluation.perplexity import LOGITS_AT_ONCE, evaluate_text, score_windows
from headway.evaluation.windows import windows
from headway.training.recipe import read_table

Encode = Callable[[list[str]], list[NDArray[Any]]]
"""Documents to ids."""

BYTES_END_OF_TEXT = 256
CHARACTER_MODEL = PlainConfig(vocabulary=257, context=64, width=128, n_layers=4, n_heads=4)
CHARACTER_SETTINGS = PlainSettings(batch_size=12, window=64, learning_rate=1e-3, beta2=0.99)
BPE_SETTINGS = PlainSettings(batch_size=16, window=256, learning_rate=1e-3)


def encode_bytes(texts: list[str]) -> list[NDArray[Any]]:
    """The UTF-8 bytes of each text."""
    return [numpy.frombuffer(text.encode("utf-8"), dtype=numpy.uint8) for text in texts]


def stream(encoded: list[NDArray[Any]], end_of_text: int) -> NDArray[Any]:
    """One long array, each document behind an end-of-text id."""
    start = numpy.array([end_of_text], dtype=numpy.int32)
    return numpy.concatenate([part for ids in encoded for part in (start, ids.astype(numpy.int32))])


def train_plain(
    config: PlainConfig, settings: PlainSettings, encode: Encode, end_of_text: int, path: Path, minutes: float
) -> tuple[PlainGPT2, dict[str, Any]]:
    """The plain loop for so many minutes of wall time from here; the model, and what it came to."""
    began = time.perf_counter()
    training = PlainTraining(config, settings, stream(encode(whole_documents(path)), end_of_text))
    steps, loss = 0, math.nan
    while (share := (time.perf_counter() - began) / (60 * minutes)) < 1.0:
        loss = plain_step(training, share)
        steps += 1
    made = {
        "wall_seconds": time.perf_counter() - began,
        "steps": steps,
        "tokens_read": steps * settings.batch_size * settings.window,
        "last_loss": loss,
        "model": f"{config.n_layers} x {config.width}, vocabulary {config.vocabulary}",
        "parameters": sum(parameter.numel() for parameter in training.model.parameters()),
    }
    return training.model.eval(), made


def score_plain(model: PlainGPT2, encode: Encode, end_of_text: int, path: Path) -> float:
    """Bits per byte of a file, as headway.evaluation.perplexity counts them."""
    texts, context = whole_documents(path), model.config.context
    pieces = (
        piece for ids in encode(texts) for piece in windows(stream([ids], end_of_text), context, max(1, context // 2))
    )
    rows = max(1, LOGITS_AT_ONCE // (context * model.config.vocabulary))
    nats = sum(score_windows(model, batch) for batch in batches(pieces, rows))
    return nats / math.log(2) / sum(text_bytes(text) for text in texts)


def batches(pieces: Iterable[Any], rows: int) -> Iterator[list[Any]]:
    """Lists of so many, the last shorter."""
    iterator = iter(pieces)
    while batch := list(islice(iterator, rows)):
        yield batch


def headway_side(train: Path, valid: Path, minutes: float, folder: Path) -> dict[str, Any]:
    """`headway train` as a person runs it, then scored. Its notes go to stderr."""
    command = [sys.executable, "-m", "headway", "train", str(train), "-o", str(folder), "--minutes", f"{minutes:g}"]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    recipe = read_table(folder / "training" / "recipe.toml")
    sizes, train_settings = recipe["model"], recipe["train"]
    lines = (folder / "training" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = evaluate_text(folder, valid)
    return {
        "bits_per_byte": found.bits_per_byte,
        "wall_seconds": wall,
        "steps": max((json.loads(line)["step"] for line in lines), default=0),
        "model": f"{sizes['n_layers']} x {sizes['width']}, vocabulary {sizes['vocabulary']}",
        "sizes": sizes,
        "settings": {name: train_settings.get(name) for name in ("optimizer", "learning_rate", "precision", "compile")},
    }


def character_side(train: Path, valid: Path, minutes: float) -> dict[str, Any]:
    """nanoGPT's recipe for a CPU, on bytes."""
    settings = (CHARACTER_MODEL, CHARACTER_SETTINGS, encode_bytes, BYTES_END_OF_TEXT)
    model, made = train_plain(*settings, train, minutes)
    return {"bits_per_byte": score_plain(model, encode_bytes, BYTES_END_OF_TEXT, valid), **made}


def bpe_side(train: Path, valid: Path, minutes: float, folder: Path, sizes: dict[str, Any]) -> dict[str, Any]:
    """The plain loop with the vocabulary and the sizes of headway's run."""
    tokenizer = headway.Tokenizer.load(folder)
    assert tokenizer.end_of_text is not None
    config = PlainConfig(
        vocabulary=tokenizer.size,
        context=BPE_SETTINGS.window,
        width=sizes["width"],
        n_layers=sizes["n_layers"],
        n_heads=sizes["n_heads"],
    )
    settings = (config, BPE_SETTINGS, tokenizer.encode_corpus, tokenizer.end_of_text)
    model, made = train_plain(*settings, train, minutes)
    return {"bits_per_byte": score_plain(model, tokenizer.encode_corpus, tokenizer.end_of_text, valid), **made}


def measure(train: Path, valid: Path, minutes: float, place: Path) -> dict[str, Any]:
    """All sides, one after the other; each is told on stderr when it is done."""
    folder = place / "headway"
    sides = {"headway": headway_side(train, valid, minutes, folder)}
    tell("headway", sides["headway"])
    sides["plain-bpe"] = bpe_side(train, valid, minutes, folder, sides["headway"]["sizes"])
    tell("plain-bpe", sides["plain-bpe"])
    sides["nanogpt-char"] = character_side(train, valid, minutes)
    return {"train": train.name, "valid": valid.name, "minutes": minutes, "sides": sides}


def tell(name: str, side: dict[str, Any]) -> None:
    """A side's figure as soon as there is one: the whole run takes half an hour."""
    print(
        f"{name}: {side['bits_per_byte']:.4f} bits per byte after {side['steps']:,} steps", file=sys.stderr, flush=True
    )


def table(result: dict[str, Any]) -> str:
    """The figures as text; the last column is how many fewer bits headway needs."""
    best = result["sides"]["headway"]["bits_per_byte"]
    lines = [f"{'':14} {'bits/byte':>9} {'headway':>8} {'steps':>7} {'wall s':>7}  model"]
    for name, side in result["sides"].items():
        fewer = f"{best / side['bits_per_byte'] - 1:+8.1%}" if name != "headway" else " " * 8
        lines.append(
            f"{name:14} {side['bits_per_byte']:9.4f} {fewer} {side['steps']:7} {side['wall_seconds']:7.0f}"
            f"  {side['model']}"
        )
    chosen = ", ".join(f"{name} {value}" for name, value in result["sides"]["headway"]["settings"].items())
    return "\n".join([*lines, f"headway chose: {chosen}"])


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, nargs="?", help="the text to train on")
    parser.add_argument("valid", type=Path, nargs="?", help="the text to score")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workdir", type=Path, help="a new folder for headway's model; default: one that is removed")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args(words)


def main() -> None:
    """Measure and print."""
    given = arguments()
    if given.valid is None:  # every benchmark can be run with no argument; this one has no text of its own
        print("nothing measured: give a file to train on and a file to score, TRAIN VALID (see --help)")
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = given.workdir or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        result = measure(given.train, given.valid, given.minutes, place)
    result |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if given.json:
        print(json.dumps(result))
    else:
        print(f"{given.minutes:g} minutes, torch {torch.__version__}, {torch.get_num_threads()} threads")
        print(table(result))


if __name__ == "__main__":
    main()
