"""Fine-tuning: labelled data becomes a reader for each task, by the same commands, resumable bit for bit."""

import json
from pathlib import Path

import pytest
import torch

from headway.errors import ConfigError, DataError, TrainingError
from headway.formats.folder import load, read_config, save
from headway.formats.reader_settings import read_reader_settings
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig
from headway.text.word_piece_training import train_word_piece
from headway.training.recipe import Recipe, recipe_from
from headway.training.run import train

DATA = Path(__file__).parents[1] / "data"
FILES = {
    "classify": DATA / "labelled" / "sentiment.train.tsv",
    "tag": DATA / "tagged" / "names.train.conll",
    "answer": DATA / "questions" / "coqa.jsonl",
    "embed": DATA / "pairs" / "tatoeba.en-fr.valid.tsv",
}
SMALL = (
    "model.family=bert",
    "model.width=24",
    "model.n_layers=1",
    "model.n_heads=2",
    "model.feed_forward=32",
    "model.context=128",
    "tokenizer.vocabulary=300",
    "train.window=64",
    "train.batch_tokens=512",
    "train.evaluations=2",
    "train.log_every=3",
    "data.validation_share=0.3",
)
SCORES = {
    "classify": {"accuracy", "macro_f1"},
    "tag": {"accuracy", "span_precision", "span_recall", "span_f1"},
    "answer": {"exact_match", "token_f1"},
    "embed": {"retrieval_accuracy", "cosine"},
}


def recipe(task: str, output: Path, *settings: str, data: Path | None = None, **budget: float) -> Recipe:
    return recipe_from(
        data or FILES[task], output, budget=budget or {"steps": 6}, assignments=(f"task={task}", *SMALL, *settings)
    )


class Notes:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, progress: object) -> None: ...
    def evaluation(self, evaluation: object) -> None: ...
    def sample(self, text: str) -> None: ...


class Stop(Notes):
    """Stops a run at its second report."""

    def progress(self, progress: object) -> None:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader that guesses words, with weights from a seed."""
    texts = [line.split("\t")[1] for line in FILES["classify"].read_text(encoding="utf-8").splitlines()]
    tokenizer = train_word_piece(texts, 300)
    torch.manual_seed(3)
    sizes = {"context": 96, "width": 20, "n_layers": 2, "n_heads": 2, "feed_forward": 28}
    model = BERT(BERTConfig(vocabulary=tokenizer.size, **sizes))
    folder = tmp_path_factory.mktemp("start") / "reader"
    save(model, tokenizer, folder)
    return folder


@pytest.mark.parametrize("task", FILES)
def test_each_task_is_learnt_from_nothing(tmp_path: Path, task: str) -> None:
    result = train(recipe(task, tmp_path / "model"))
    assert result.task == task and set(result.scores) == SCORES[task]
    settings = read_reader_settings(tmp_path / "model")
    assert settings.task == task and settings.longest == 64
    model, tokenizer = load(tmp_path / "model")
    assert tokenizer is not None and tokenizer.begin_of_text is not None
    assert read_config(tmp_path / "model").head == ("none" if task == "embed" else task)
    assert not (tmp_path / "model" / "training" / "data").exists()


@pytest.mark.parametrize("task", FILES)
def test_a_stopped_run_ends_bit_for_bit_as_one_that_never_stopped(tmp_path: Path, task: str) -> None:
    asked = ("train.save_every=2", "train.log_every=4")
    with pytest.raises(KeyboardInterrupt):
        train(recipe(task, tmp_path / "stopped", *asked), reporter=Stop())
    result = train(recipe(task, tmp_path / "stopped", *asked))
    train(recipe(task, tmp_path / "straight", *asked))
    assert result.resumed_from == 2
    for name in ("model.safetensors", "reader.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


@pytest.mark.parametrize("task", FILES)
def test_a_reader_begins_with_the_start_models_weights(tmp_path: Path, start: Path, task: str) -> None:
    told = Notes()
    made = recipe_from(
        FILES[task],
        tmp_path / "model",
        start=start,
        budget={"steps": 1},
        assignments=(f"task={task}", "train.window=64", "train.batch_tokens=512", "train.learning_rate=1e-9"),
    )
    train(made, reporter=told)
    assert train(made).already_finished
    before, _ = load(start)
    after, _ = load(tmp_path / "model")
    for name in ("token_embedding.weight", "blocks.1.attention.output.weight"):
        torch.testing.assert_close(after.get_parameter(name), before.get_parameter(name), rtol=0, atol=1e-7)
    drawn = [note for note in told.notes if note.startswith("begins with random weights")]
    assert bool(drawn) == (task != "embed")
    assert all("head.weight" in note and "token_embedding" not in note for note in drawn)


def test_labels_are_told_apart_after_some_steps(tmp_path: Path) -> None:
    lines = [
        f"{'good' if number % 2 else 'bad'}\tit was {'a joy' if number % 2 else 'dull'} {number}\n"
        for number in range(80)
    ]
    path = tmp_path / "reviews.tsv"
    path.write_text("".join(lines), encoding="utf-8")
    result = train(recipe("classify", tmp_path / "model", "train.learning_rate=0.01", data=path, steps=30))
    assert result.scores["accuracy"] > 0.9 and result.scores["macro_f1"] > 0.9


def test_names_are_found_after_some_steps(tmp_path: Path) -> None:
    valid = f"data.validation={DATA / 'tagged' / 'names.valid.conll'}"
    result = train(recipe("tag", tmp_path / "model", "train.learning_rate=0.02", valid, steps=60))
    assert result.scores["span_f1"] > 0.9
    settings = read_reader_settings(tmp_path / "model")
    assert settings.scheme == "BIO" and settings.labels[:3] == ("O", "B-LOC", "I-LOC")


def test_pairs_that_mean_alike_are_found_after_some_steps(tmp_path: Path) -> None:
    first = train(recipe("embed", tmp_path / "first", steps=1))
    later = train(recipe("embed", tmp_path / "later", "train.learning_rate=0.01", steps=40))
    assert later.validation_loss is not None and first.validation_loss is not None
    assert later.validation_loss < first.validation_loss - 0.1


def test_an_answer_is_found_after_some_steps(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        words = [f"w{(number * 7 + place * 3) % 11}" for place in range(9)]
        words[number % 7 + 1] = "red"
        context = " ".join(words) + f" {number}"
        rows.append({"context": context, "question": "which colour ?", "answer": "red"})
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = train(recipe("answer", tmp_path / "model", "train.learning_rate=0.01", data=path, steps=60))
    assert result.scores["exact_match"] > 0.9


def test_a_temperature_and_its_gain_are_in_the_folder(tmp_path: Path) -> None:
    train(recipe("classify", tmp_path / "model"))
    settings = read_reader_settings(tmp_path / "model")
    assert set(settings.calibration) == {"error_before", "error_after", "examples"}
    assert settings.temperature != 1.0 and settings.abstention[0][2] == 1.0
    train(recipe("classify", tmp_path / "plain", "train.calibrate=false"))
    assert read_reader_settings(tmp_path / "plain").temperature == 1.0


def test_several_labels_at_once(tmp_path: Path) -> None:
    labels = ("", "red", "red|round", "round")
    path = tmp_path / "shapes.csv"
    rows = [f"thing {number} {labels[number % 4].replace('|', ' ')},{labels[number % 4]}\n" for number in range(60)]
    path.write_text("text,label\n" + "".join(rows), encoding="utf-8")
    asked = ("data.multi_label=true", "train.class_weights=balanced", "train.learning_rate=0.01")
    result = train(recipe("classify", tmp_path / "model", *asked, data=path, steps=40))
    assert result.validation_loss is not None and result.validation_loss < 0.65  # 0.693 is knowing nothing
    assert json.loads((tmp_path / "model" / "config.json").read_text())["problem_type"] == "multi_label_classification"
    assert read_reader_settings(tmp_path / "model").multi_label


def test_a_reader_that_is_trained_on_keeps_the_numbers_of_its_labels(tmp_path: Path) -> None:
    path = tmp_path / "one.tsv"
    path.write_text("".join(f"{'bcd'[number % 3]}\ttext {number}\n" for number in range(60)), encoding="utf-8")
    train(recipe("classify", tmp_path / "first", data=path))
    path.write_text("".join(f"{'db'[number % 2]}\tword {number}\n" for number in range(60)), encoding="utf-8")
    made = recipe_from(
        path, tmp_path / "second", start=tmp_path / "first", budget={"steps": 2}, assignments=["task=classify"]
    )
    train(made)
    assert read_reader_settings(tmp_path / "second").labels == ("b", "c", "d")


@pytest.mark.parametrize(
    ("task", "setting", "message"),
    [
        ("classify", "train.batch_size=4", "batch_tokens"),
        ("classify", "model.head=tag", "model.head"),
        ("classify", "train.window=4", "at least 8"),
        ("classify", "train.window=200", "context 128"),
        ("answer", "train.class_weights=balanced", "class_weights"),
        ("embed", "train.accumulation=2", "accumulation"),
        ("classify", "train.compile=true", "compile"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tmp_path: Path, task: str, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(recipe(task, tmp_path / "model", setting))
    assert not (tmp_path / "model").exists()


def test_other_data_in_the_folder_is_another_run(tmp_path: Path) -> None:
    path = tmp_path / "one.tsv"
    path.write_text("".join(f"{'ab'[number % 2]}\ttext {number}\n" for number in range(40)), encoding="utf-8")
    train(recipe("classify", tmp_path / "model", data=path))
    path.write_text(path.read_text() + "a\tmore\n", encoding="utf-8")
    with pytest.raises(TrainingError, match="other text"):
        train(recipe("classify", tmp_path / "model", data=path))


def test_a_texts_rest_past_the_window_is_said_and_a_million_characters_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "long.tsv"
    lines = [f"{'ab'[number % 2]}\t{'word ' * (3 + number)}\n" for number in range(40)]
    path.write_text("a\t" + "x" * 1_000_000 + "\nb\t" + "да но 日本 " * 20 + "\n" + "".join(lines), encoding="utf-8")
    told = Notes()
    train(recipe("classify", tmp_path / "model", "train.window=16", data=path, steps=2), reporter=told)
    assert any("longer than 16 tokens" in note for note in told.notes)


def test_a_context_of_a_hundred_thousand_words_is_read_in_windows(tmp_path: Path) -> None:
    words = [f"{'abcdefgh'[place % 8]}{place % 5}" for place in range(100_000)]
    words[70_001] = "treasure"
    rows = [{"context": " ".join(words), "question": "what is hidden?", "answer": "treasure"}]
    rows += [
        {"context": f"here lies gold {number}", "question": "what lies here?", "answer": "gold"} for number in range(9)
    ]
    path, other = tmp_path / "long.jsonl", tmp_path / "valid.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    other.write_text(json.dumps({"context": "iron", "question": "what?", "answer": "iron"}) + "\n", encoding="utf-8")
    result = train(recipe("answer", tmp_path / "model", f"data.validation={other}", data=path, steps=2))
    assert result.steps == 2


def test_labels_of_the_validation_data_alone_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.tsv"
    other.write_text("great\tfine film\npos\tgood film\nneg\tbad film\npos\tno film\n", encoding="utf-8")
    with pytest.raises(DataError, match="'great'"):
        train(recipe("classify", tmp_path / "model", f"data.validation={other}"))
    assert not (tmp_path / "model").exists()


def test_texts_on_both_sides_are_warned_of(tmp_path: Path) -> None:
    lines = FILES["classify"].read_text(encoding="utf-8").splitlines(keepends=True)
    other = tmp_path / "other.tsv"
    other.write_text("".join(lines[:12]).upper().replace("POS\t", "pos\t").replace("NEG\t", "neg\t"), encoding="utf-8")
    told = Notes()
    train(recipe("classify", tmp_path / "model", f"data.validation={other}", steps=1), reporter=told)
    assert any(note.startswith("warning: 12 of 12") for note in told.notes)


@pytest.mark.parametrize("task", ["classify", "embed"])
def test_a_model_that_writes_learns_to_read(tmp_path: Path, task: str) -> None:
    result = train(recipe(task, tmp_path / "model", "model.family=gpt2", steps=2))
    assert result.family == "gpt2" and set(result.scores) == SCORES[task]
    _, tokenizer = load(tmp_path / "model")
    assert tokenizer is not None and tokenizer.unknown is None


def test_a_family_without_heads_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="transformer does not learn to classify"):
        train(
            recipe_from(
                FILES["classify"], tmp_path / "model", assignments=["task=classify", "model.family=transformer"]
            )
        )
    assert not (tmp_path / "model").exists()
