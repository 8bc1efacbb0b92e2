"""Copy and reverse: what the fixed vector loses with length, and whether attention finds the (anti-)diagonal.

`python benchmarks/copy_reverse.py [--minutes 5] [--tasks copy,reverse] [--families rnn-fixed,rnnsearch,transformer]`
trains each family on each task (sentences of 5 to 40 words out of 40, drawn anew) through the same recipe, with equal
parameters, batches and order, for so many minutes or steps each; then translates sentences of every length greedily.

- exact: the share of sentences whose translation is right to the last word, by length; none above 40 was trained on.
- alignment: the share of target words whose strongest attention is on their own copy (copy: the diagonal, reverse: the
  anti-diagonal), on sentences of trained lengths with the right target forced; the layer and head are chosen on others.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy

from headway.errors import UsageError
from headway.evaluation.plot import Curve, Labels, Point, draw_curves
from headway.models.registry import spelled_out
from headway.studies.sizes import sized_model
from headway.studies.synthetic import SyntheticSettings, expected, on_the_diagonal, synthetic_pairs
from headway.tasks.alignment import attention_maps
from headway.tasks.translator import Translator
from headway.training.defaults import TextFacts
from headway.training.recipe import Recipe, recipe_from
from headway.training.run import train

SHORTEST, LONGEST = 5, 40
TRAINED = ((5, 9), (10, 14), (15, 19), (20, 24), (25, 29), (30, 34), (35, 40))
BUCKETS = (*TRAINED, (41, 45), (46, 50), (51, 60))  # words of the source; the last three are longer than any trained on
PARAMETERS, VOCABULARY = 700_000, 340  # of each model; ids that the words come to, about
RATES = {"rnn-fixed": 6e-3, "rnnsearch": 6e-3, "transformer": 6e-3}


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Sentences of low..high words: how many, and how many came out right."""

    low: int
    high: int
    sentences: int
    exact: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A family on a task. aligned: None where the model has no alignment; head: the layer and head it is of."""

    task: str
    family: str
    parameters: int
    steps: int
    seconds: float
    buckets: tuple[Bucket, ...]
    aligned: float | None
    head: tuple[int, int] | None

    def share(self, *, trained: bool) -> float:
        """Exact sentences of trained lengths, or of longer ones."""
        found = [bucket for bucket in self.buckets if ((bucket.low, bucket.high) in TRAINED) == trained]
        return sum(bucket.exact for bucket in found) / max(1, sum(bucket.sentences for bucket in found))


def sentences(task: str, low: int, high: int, count: int, seed: int) -> list[str]:
    """Sources with low..high words, of another seed than any that is trained on."""
    settings = SyntheticSettings(task=task, shortest=low, longest=high, seed=1_000_000 + seed * 1000 + low)
    return [pair.source for pair in synthetic_pairs(settings, count)]


def recipe_of(given: argparse.Namespace, task: str, family: str, folder: Path) -> Recipe:
    """Equal for all families but for the model and its rate."""
    budget = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
    assignments = [
        f"model.family={family}",
        f"data.validation={folder / 'validation.jsonl'}",
        "data.clean=false",  # copies are the task
        "tokenizer.vocabulary=400",
        f"train.learning_rate={RATES.get(family, 1e-3)}",
        "train.optimizer=muon",
        f"train.batch_tokens={given.batch_tokens}",
        "train.label_smoothing=0.0",
        "train.warm_up=0.05",
        "train.patience=0",
        "train.sample_tokens=0",
        f"train.seed={given.seed}",
        *(f"model.{name}=0.0" for name in dropouts(family)),
        *sizes(family),
    ]
    return recipe_from(folder / "train.jsonl", folder / f"{family}-model", budget=budget, assignments=assignments)


def dropouts(family: str) -> tuple[str, ...]:
    """Nothing is learnt by heart where every sentence is drawn anew."""
    return (
        ("embedding_dropout", "residual_dropout")
        if family == "transformer"
        else ("embedding_dropout", "output_dropout")
    )


def sizes(family: str) -> tuple[str, ...]:
    """The family's practical model with as many parameters as the others."""
    facts = TextFacts(training_tokens=1, vocabulary=VOCABULARY)
    table = sized_model(spelled_out({"family": family}), facts, PARAMETERS)
    left_open = {"family", "vocabulary", *dropouts(family)}
    return tuple(
        f"model.{name}={json.dumps(value)}"
        for name, value in table.items()
        if name not in left_open and value is not None
    )


def write_pairs(folder: Path, task: str, count: int, seed: int) -> None:
    """The training pairs and those to choose the best weights by."""
    for name, number, at in (("train", count, seed), ("validation", 500, seed + 500_000)):
        settings = SyntheticSettings(task=task, shortest=SHORTEST, longest=LONGEST, seed=at)
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for pair in synthetic_pairs(settings, number):
                file.write(json.dumps({"source": pair.source, "target": pair.target}) + "\n")


def measure(task: str, translator: Translator, count: int, seed: int) -> tuple[Bucket, ...]:
    """Greedy translations of sentences of every length."""
    buckets = []
    for low, high in BUCKETS:
        sources = sentences(task, low, high, count, seed)
        made = translator.translate(sources, beam=1)
        right = sum(
            found.text.split() == expected(task, source.split()) for found, source in zip(made, sources, strict=True)
        )
        buckets.append(Bucket(low=low, high=high, sentences=len(sources), exact=right))
    return tuple(buckets)


def alignment(task: str, translator: Translator, count: int, seed: int) -> tuple[float, tuple[int, int]] | None:
    """The share of words aligned with their own copy by the best head, which other sentences choose."""
    sides = translator.sides
    chosen_on, measured_on = (sentences(task, SHORTEST, LONGEST, count, seed + 1 + part) for part in range(2))

    def shares(sources: Sequence[str]) -> numpy.ndarray:
        targets = [sides.target.encode(" ".join(expected(task, source.split()))) for source in sources]
        ids = [[*sides.source.encode(source), sides.source_end] for source in sources]
        maps = attention_maps(sides.model, ids, targets, start=sides.start)
        return numpy.mean([one_sentence(task, found) for found in maps], axis=0)  # (layers, heads)

    try:
        found = shares(chosen_on)
    except UsageError:  # one fixed vector
        return None
    layer, head = (int(place) for place in numpy.unravel_index(found.argmax(), found.shape))
    return float(shares(measured_on)[layer, head]), (layer, head)


def one_sentence(task: str, maps: numpy.ndarray) -> numpy.ndarray:
    """(layers, heads, T, S with the end) -> (layers, heads): one word is one token here."""
    strongest = maps[..., :-1].argmax(axis=-1)  # (layers, heads, T)
    n_words = maps.shape[3] - 1
    return numpy.array(
        [
            [on_the_diagonal(task, [(int(source), at) for at, source in enumerate(head)], n_words) for head in layer]
            for layer in strongest
        ]
    )


def run(given: argparse.Namespace, task: str, family: str, folder: Path) -> Outcome:
    """Train a family on a task and measure it."""
    result = train(recipe_of(given, task, family, folder))
    translator = Translator(folder / f"{family}-model", engine="torch")
    found = alignment(task, translator, given.sentences, given.seed)
    return Outcome(
        task=task,
        family=family,
        parameters=translator.sides.model.config.n_parameters(),
        steps=result.steps,
        seconds=result.seconds,
        buckets=measure(task, translator, given.sentences, given.seed),
        aligned=None if found is None else found[0],
        head=None if found is None else found[1],
    )


def print_outcome(outcome: Outcome) -> None:
    """Two lines of a person's table."""
    aligned = "has none" if outcome.aligned is None else f"{100 * outcome.aligned:.1f} % (layer, head {outcome.head})"
    print(
        f"{outcome.task:<8} {outcome.family:<12} {outcome.parameters:>9,} parameters  {outcome.steps:>6,} steps "
        f"{outcome.seconds / 60:5.1f} min  exact {100 * outcome.share(trained=True):5.1f} % of trained lengths, "
        f"{100 * outcome.share(trained=False):5.1f} % of longer  alignment {aligned}"
    )
    print(
        "  " + "  ".join(f"{one.low}-{one.high}: {100 * one.exact / one.sentences:.0f}" for one in outcome.buckets),
        flush=True,
    )


def draw(outcomes: Sequence[Outcome], task: str) -> str:
    """The curve of a task as an SVG."""
    curves = []
    for outcome in outcomes:
        points = []
        for one in outcome.buckets:
            share = one.exact / one.sentences
            reach = 1.96 * (share * (1 - share) / one.sentences) ** 0.5
            low, high = max(0.0, share - reach), min(1.0, share + reach)
            points.append(Point((one.low + one.high) / 2, 100 * low, 100 * share, 100 * high, one.sentences))
        curves.append(Curve(name=outcome.family, points=points))
    labels = Labels(
        title=f"{task.capitalize()}: sentences without an error, by length",
        x=f"words of the source (trained: {SHORTEST} to {LONGEST})",
        y="exact, %",
        caption="One model each; the bands are over the sentences.",
    )
    return draw_curves(curves, labels)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="wall time of each training run")
    parser.add_argument("--steps", type=int, help="steps of each training run instead")
    parser.add_argument("--tasks", default="copy,reverse")
    parser.add_argument("--families", default="rnn-fixed,rnnsearch,transformer")
    parser.add_argument("--pairs", type=int, default=60_000)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--sentences", type=int, default=100, help="measured in each bucket of lengths")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=Path, help="a folder for copy.svg, reverse.svg and outcomes.json")
    given = parser.parse_args()
    every: list[Outcome] = []
    with tempfile.TemporaryDirectory() as temporary:
        for task in given.tasks.split(","):
            folder = Path(temporary, task)
            folder.mkdir()
            write_pairs(folder, task, given.pairs, given.seed)
            outcomes = []
            for family in given.families.split(","):
                outcomes.append(run(given, task, family, folder))
                print_outcome(outcomes[-1])
            every += outcomes
            if given.figures:
                given.figures.mkdir(parents=True, exist_ok=True)
                (given.figures / f"{task}.svg").write_text(draw(outcomes, task), encoding="utf-8")
    if given.figures:
        text = json.dumps([asdict(outcome) for outcome in every], indent=1)
        (given.figures / "outcomes.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
