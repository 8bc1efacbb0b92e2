"""A tiny comparison for the tests, also in a process of its own: python comparisons.py PAIRS FOLDER."""

import sys
from pathlib import Path

from headway.studies.compare import compare
from headway.studies.plan import CompareSettings
from headway.studies.synthetic import SyntheticSettings, synthetic_pairs

SETTINGS = (
    "data.clean=false",
    "tokenizer.vocabulary=290",
    "train.batch_tokens=150",
    "train.evaluations=2",
    "train.validation_tokens=60",
    "train.save_every=2",
    "train.log_every=1",
)


def write_pairs(path: Path, count: int = 90) -> Path:
    """Sentences of 2 to 6 words and their reverse, one with a name that is no markup."""
    pairs = list(synthetic_pairs(SyntheticSettings(task="reverse", symbols=7, shortest=2, longest=6), count))
    lines = [f"{pair.source}\t{pair.target}\n" for pair in pairs]
    path.write_text("".join(lines) + "<b>ba & de</b>\tde & ba <script>\n", encoding="utf-8")
    return path


def asked(pairs: Path) -> CompareSettings:
    """Two families, two seeds, three steps each."""
    return CompareSettings(
        data=str(pairs),
        families=("rnn-fixed", "transformer"),
        steps=3,
        seeds=2,
        parameters=30_000,
        rate_factors=(0.5, 1.0),
        test_share=0.2,
        probe=True,
        beam=2,
        settings=SETTINGS,
    )


if __name__ == "__main__":
    given, folder = map(Path, sys.argv[1:])
    print("working", flush=True)
    compare(asked(given), folder)
    print("finished", flush=True)
