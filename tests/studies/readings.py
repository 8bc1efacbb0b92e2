"""A tiny comparison of readers for the tests, also in a process of its own: python readings.py PLACE FOLDER."""

import json
import random
import sys
from pathlib import Path

from headway.studies.compare import compare
from headway.studies.plan import CompareSettings
from headway.training.recipe import BudgetSettings

SETTINGS = (
    "tokenizer.vocabulary=290",
    "train.window=16",
    "train.batch_size=4",
    "train.evaluations=2",
    "train.validation_tokens=60",
    "train.save_every=2",
    "train.log_every=1",
)
PLACES = ("the mill", "a barn", "the old inn", "my garden")
NAMES = ("Ann", "Bob", "Cora", "Dan", "Eve", "Finn", "Gus", "<b>Hal & Ida</b>")


def write_all(place: Path) -> Path:
    """A text, labelled sentences and questions, all drawn from a few words."""
    chance = random.Random(7)
    place.mkdir(parents=True, exist_ok=True)

    def sentence() -> str:
        return (
            f"{chance.choice(NAMES)} met {chance.choice(NAMES)} in {chance.choice(PLACES)} at {chance.randint(1, 12)}"
        )

    documents = (". ".join(sentence() for _ in range(chance.randint(3, 9))) + "." for _ in range(60))
    (place / "text").mkdir(exist_ok=True)
    lines = [json.dumps({"text": text}) + "\n" for text in documents]
    (place / "text" / "story.jsonl").write_text("".join(lines), encoding="utf-8")
    moods = [("pos", "a good day"), ("neg", "a bad day")]
    rows = [f"{label}\t{words} for {sentence()}\n" for _ in range(40) for label, words in moods]
    (place / "moods.tsv").write_text("".join(rows), encoding="utf-8")
    questions = []
    for number in range(60):
        name, where = chance.choice(NAMES[:-1]), chance.choice(PLACES)
        context = f"{sentence()}. {name} slept in {where} on day {number}."
        questions.append({"context": context, "question": f"Where did {name} sleep?", "answer": where})
    (place / "where.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions), encoding="utf-8")
    return place


def asked(place: Path) -> CompareSettings:
    """BERT and GPT-2, two seeds, three steps each, and two on each of two tasks."""
    return CompareSettings(
        data=str(place / "text"),
        families=("bert", "gpt2"),
        equal="tokens",
        steps=3,
        seeds=2,
        parameters=30_000,
        rate_factors=(1.0,),
        tasks=(str(place / "moods.tsv"), f"places=answer:{place / 'where.jsonl'}"),
        tuning=BudgetSettings(steps=2),
        settings=SETTINGS,
    )


if __name__ == "__main__":
    given, folder = map(Path, sys.argv[1:])
    print("working", flush=True)
    compare(asked(given), folder)
    print("finished", flush=True)
