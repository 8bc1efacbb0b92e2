"""What a logistic regression over words reaches on labelled texts: `python benchmarks/bag_of_words.py TRAIN VALID`.

Files of two columns divided by a tab, the label first (.tsv, also with .gz). Prints for each way of counting the
accuracy on VALID with its interval, the penalty chosen within TRAIN, and the seconds.
"""

import argparse
import time
from pathlib import Path

from headway.corpus.text_file import text_lines
from headway.evaluation.bag_of_words import BagSettings, fit_bag_of_words
from headway.evaluation.classification_scores import score_classes


def read(path: Path) -> tuple[list[str], list[str]]:
    rows = [line.removesuffix("\n").split("\t") for line in text_lines(path)]
    return [row[1] for row in rows], [row[0] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    arguments = parser.parse_args()
    texts, labels = read(arguments.train)
    held_texts, held_labels = read(arguments.valid)
    for weighting in ("tfidf", "counts"):
        for run in (1, 2):
            began = time.perf_counter()
            bag = fit_bag_of_words(texts, labels, settings=BagSettings(run=run, weighting=weighting))
            seconds = time.perf_counter() - began
            scores = score_classes(held_labels, bag.classify(held_texts), bag.labels)
            low, high = scores.accuracy_band
            print(
                f"{weighting:6} runs of {run}: accuracy {100 * scores.accuracy:.1f} % ({100 * low:.1f} to "
                f"{100 * high:.1f}), macro-F1 {100 * scores.macro_f1:.1f} %, penalty {bag.penalty:g}, "
                f"{len(bag.features):,} features, {seconds:.1f} s"
            )


if __name__ == "__main__":
    main()
