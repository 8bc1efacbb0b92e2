"""`headway evaluate` on pairs: what the library found, as text, JSON and a plot."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

import headway
from headway.models.transformer import Transformer, TransformerConfig
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

WORDS = "un deux trois quatre cinq six sept huit neuf dix".split()


@pytest.fixture(scope="session")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    end = "<|endoftext|>"
    tokens = (*(bytes([byte]) for byte in range(256)), end.encode())
    tokenizer = ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=(), special_tokens={end: 256}))
    sizes = {"context": 53, "width": 10, "n_heads": 2, "encoder_layers": 1, "decoder_layers": 2, "feed_forward": 14}
    folder = tmp_path_factory.mktemp("models") / "translator"
    network = Transformer(TransformerConfig(vocabulary=257, norm="pre", **sizes)).eval()
    headway.save(network, tokenizer, folder, generation={"max_new_tokens": 5})
    return folder


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    """Twelve sentences of 4 to 9 words; the first has two references."""
    pairs = [
        (f"{number} {' '.join(WORDS[: 3 + number % 6])}", " ".join(WORDS[: 4 + number % 6])) for number in range(12)
    ]
    pairs.append((pairs[0][0], "zéro"))
    path = tmp_path / "test.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    return path


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Path]:
    """Translations: the references, and the references without their second half."""
    found = {}
    for name, part in (("whole", 1.0), ("half", 0.5)):
        lines = [WORDS[: int((4 + number % 6) * part)] for number in range(12)]
        found[name] = tmp_path / f"{name}.txt"
        found[name].write_text("".join(f"{' '.join(line)}\n" for line in lines), encoding="utf-8")
    return found


def test_json_has_every_figure(command: Callable, translator: Path, test_file: Path) -> None:
    finished = command("evaluate", translator, test_file, "--beam", "2", "--bucket-least", "3", "--json")
    assert finished.code == 0, finished.err
    found = json.loads(finished.out)
    assert {"bleu", "chrf", "by_length", "signatures", "length_ratio", "sentences_per_second"} <= set(found)
    assert (found["sentences"], found["references"], found["beam"], found["text"]) == (12, 13, 2, str(test_file))
    assert found["signatures"]["bleu"].startswith("nrefs:var|")
    assert sum(part["sentences"] for part in found["by_length"]) == 12 and len(found["by_length"]) > 1
    assert all({"low", "high", "bleu", "bleu_band", "chrf", "chrf_band"} <= set(part) for part in found["by_length"])


def test_the_text_has_scores_bands_and_signatures(command: Callable, test_file: Path, given: dict[str, Path]) -> None:
    finished = command("evaluate", test_file, "--hypotheses", given["whole"])
    assert finished.code == 0, finished.err
    assert "BLEU    100.00 (100.0 to 100.0)\n" in finished.out and "chrF    100.00" in finished.out
    assert "12 sentences with 13 references" in finished.out and "nrefs:var|case:mixed" in finished.out
    assert "nc:6|nw:0" in finished.out and "sentences/s" not in finished.out and "\nwords " not in finished.out


def test_by_length_shows_a_row_for_each_bucket(command: Callable, test_file: Path, given: dict[str, Path]) -> None:
    words = ("evaluate", test_file, "--hypotheses", given["half"], "--bucket-least", "4", "--bucket-width", "3")
    found = json.loads(command(*words, "--json").out)
    rows = command(*words, "--by-length").out.split("words  ")[1].splitlines()
    for part, row in zip(found["by_length"], rows[1:], strict=False):
        assert row.split()[:3] == [f"{part['low']}-{part['high']}", str(part["sentences"]), f"{part['bleu']:.2f}"]


def test_two_systems_get_a_verdict(command: Callable, test_file: Path, given: dict[str, Path]) -> None:
    words = ("evaluate", test_file, "--hypotheses", given["whole"], "--against", given["half"])
    found = json.loads(command(*words, "--json").out)
    assert found["against"]["bleu"] < found["bleu"] and found["comparison"]["bleu"]["decided"] is True
    assert found["comparison"]["bleu"]["difference"] == pytest.approx(found["bleu"] - found["against"]["bleu"])
    text = command(*words).out
    assert found["comparison"]["bleu"]["verdict"] in text and found["comparison"]["chrf"]["verdict"] in text
    assert f"{given['whole']} is better than {given['half']} by" in text
    same = command("evaluate", test_file, "--hypotheses", given["whole"], "--against", given["whole"])
    assert "no verdict: the difference of +0.00 BLEU" in same.out


def test_a_plot_is_written_whole(command: Callable, test_file: Path, given: dict[str, Path], tmp_path: Path) -> None:
    drawn = tmp_path / "lengths.svg"
    words = ("evaluate", test_file, "--hypotheses", given["whole"], "--against", given["half"], "--plot", drawn)
    finished = command(*words, "--bucket-least", "4")
    assert finished.code == 0 and str(drawn) in finished.err
    assert ElementTree.parse(drawn).getroot().tag.endswith("svg")
    assert "whole.txt" in drawn.read_text(encoding="utf-8") and "BLEU" in drawn.read_text(encoding="utf-8")
    assert command(*words, "--plot-score", "chrf").code == 0
    assert "chrF" in drawn.read_text(encoding="utf-8")
    assert not list(tmp_path.glob(".*"))


def test_training_pairs_in_the_test_set_are_said(command: Callable, test_file: Path, given: dict[str, Path]) -> None:
    words = ("evaluate", test_file, "--hypotheses", given["whole"], "--training", test_file)
    assert "12 of 12 test sources (100.0 %)" in command(*words).err
    assert json.loads(command(*words, "--json").out)["training_overlap"]["shared_pairs"] == 13


def test_two_text_files_are_pairs(command: Callable, given: dict[str, Path]) -> None:
    words = ("evaluate", given["whole"], "--target-path", given["whole"].with_name("whole.txt"))
    assert command(*words, "--hypotheses", given["half"]).code == 2  # the same file twice
    finished = command("evaluate", given["half"], "--target-path", given["whole"], "--hypotheses", given["whole"])
    assert finished.code == 3 and "distinct sources" in finished.err  # six are distinct
    words = ("evaluate", given["half"], "--target-path", given["whole"], "--hypotheses", given["whole"])
    assert "BLEU    100.00" in command(*words, "--single-reference").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("{translator}",), 2, "needs TEXT beside the model"),
        (("{translator}", "{test}", "--stride", "3"), 2, "--stride is of models that write"),
        (("{tiny}", "{test}", "--by-length"), 2, "--by-length is of models that translate"),
        (("{tiny}", "{test}", "--single-reference"), 2, "--single-reference is of models that translate"),
        (("{translator}", "{test}", "--hypotheses", "{test}"), 2, "takes no model"),
        (("{translator}", "{test}", "--against", "absent-model"), 3, "absent-model"),
        (("{translator}", "{test}", "--against", "{tiny}"), 2, "reads no source"),
        (("{translator}", "{test}", "--plot", "lengths.png"), 2, "ends in .svg"),
        (("{translator}", "{test}", "--limit", "0"), 2, "limit must be at least 1"),
        (("{translator}", "{test}", "--beam", "0"), 2, "beam must be at least 1"),
        (("{test}", "--hypotheses", "absent.txt"), 3, "no file absent.txt"),
        (("{translator}", "absent.tsv"), 3, "absent.tsv"),
    ],
)
def test_what_contradicts_itself_is_refused(
    command: Callable, translator: Path, tiny: Path, test_file: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    finished = command("evaluate", *(word.format(translator=translator, tiny=tiny, test=test_file) for word in words))
    assert finished.code == code and said in finished.err, finished
    assert len(finished.err.splitlines()) <= 6
