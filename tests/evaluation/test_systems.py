"""A model or a file of translations, scored on a file of pairs and beside another."""

from pathlib import Path

import pytest
import torch

import headway
from headway.errors import ConfigError, DataError, UsageError
from headway.evaluation.bootstrap import Resampling
from headway.evaluation.length_plot import draw_length_curves
from headway.evaluation.systems import PairsFile, SystemsReport, evaluate_pairs
from headway.evaluation.translation import Scoring
from headway.models.transformer import Transformer, TransformerConfig
from headway.tasks.translator import Translator
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

TSV = (
    "a b c d\tun deux trois quatre\ne f g h i\tcinq six sept huit neuf\n"
    "a b c d\t1 2 3 4\nj k l m\tdix onze douze treize\n"
)
SCORING = Scoring(bucket_least=2, resampling=Resampling(resamples=20))


@pytest.fixture
def file(tmp_path: Path) -> PairsFile:
    (tmp_path / "test.tsv").write_text(TSV, encoding="utf-8")
    return PairsFile(path=tmp_path / "test.tsv")


@pytest.fixture
def right(tmp_path: Path) -> Path:
    text = "un deux trois quatre\r\ncinq six sept huit neuf\r\ndix onze douze treize"
    (tmp_path / "right.txt").write_bytes(text.encode())
    return tmp_path / "right.txt"


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    (tmp_path / "wrong.txt").write_text("1 2 3 4\ncinq neuf\n\n", encoding="utf-8")
    return tmp_path / "wrong.txt"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    end = "<|endoftext|>"
    tokens = (*(bytes([byte]) for byte in range(256)), end.encode())
    tokenizer = ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=(), special_tokens={end: 256}))
    sizes = {"context": 53, "width": 10, "n_heads": 2, "encoder_layers": 1, "decoder_layers": 2, "feed_forward": 14}
    folder = tmp_path_factory.mktemp("models") / "translating"
    network = Transformer(TransformerConfig(vocabulary=257, norm="pre", **sizes)).eval()
    headway.save(network, tokenizer, folder, generation={"num_beams": 2, "max_new_tokens": 5})
    return folder


def test_given_translations_are_scored_line_by_line(file: PairsFile, right: Path) -> None:
    found = evaluate_pairs(right, file, scoring=SCORING)
    assert (found.scores.bleu, found.scores.chrf) == (pytest.approx(100), pytest.approx(100))
    assert (found.scores.sentences, found.scores.references, found.scores.model) == (3, 4, str(right))
    assert (found.scores.beam, found.scores.seconds, found.against, found.verdicts()) == (None, None, None, [])


def test_a_model_translates_with_its_own_beam(file: PairsFile, model: Path) -> None:
    counts: list[tuple[int, int]] = []
    found = evaluate_pairs(model, file, device="cpu", scoring=SCORING, progress=lambda *count: counts.append(count))
    assert found.scores.beam == 2 and counts == [(0, 3), (3, 3)]
    assert found.scores.sentences_per_second is not None
    wider = evaluate_pairs(model, file, device="cpu", beam=3, scoring=SCORING)
    assert wider.scores.beam == 3


def test_a_models_own_translations_in_a_file_score_the_same(file: PairsFile, model: Path, tmp_path: Path) -> None:
    texts = [one.text for one in Translator(model, device="cpu").translate(["a b c d", "e f g h i", "j k l m"])]
    lines = [text.replace("\r", " ").replace("\n", " ") for text in texts]
    (tmp_path / "own.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    found = evaluate_pairs(model, file, against=tmp_path / "own.txt", device="cpu", scoring=SCORING)
    assert found.against is not None and found.comparison is not None
    assert (found.scores.bleu, found.scores.chrf) == (found.against.bleu, found.against.chrf)
    assert not any(compared.decided for compared in found.comparison.values())


def test_the_sign_of_a_comparison_is_the_first_systems_gain(file: PairsFile, right: Path, wrong: Path) -> None:
    found = evaluate_pairs(right, file, against=wrong, scoring=SCORING)
    assert found.against is not None and found.comparison is not None
    for score in ("bleu", "chrf"):
        gain = found.scores.band(score).mid - found.against.band(score).mid
        assert found.comparison[score].difference.mid == pytest.approx(gain) and gain > 0
    assert [verdict.startswith("no verdict") for verdict in found.verdicts()] == [True, True]  # of three sentences


def test_lengths_in_tokens_are_the_models(file: PairsFile, model: Path, right: Path) -> None:
    scoring = Scoring(length_unit="tokens", bucket_least=1, bucket_width=1)
    found = evaluate_pairs(right, file, against=model, device="cpu", scoring=scoring)
    assert [(part.low, part.sentences) for part in found.scores.by_length] == [(7, 2), (9, 1)]
    with pytest.raises(ConfigError, match="length_unit=tokens needs a model"):
        evaluate_pairs(right, file, scoring=scoring)


def test_pairs_of_training_in_the_test_set_are_counted(file: PairsFile, right: Path, tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("A b c d!\tun deux trois quatre\nx\ty\n", encoding="utf-8")
    found = evaluate_pairs(right, file, training=tmp_path / "train.tsv", scoring=SCORING)
    assert found.overlap is not None
    assert (found.overlap.shared_sources, found.overlap.sources, found.overlap.shared_pairs) == (1, 3, 1)


def test_a_plot_has_both_systems_and_their_numbers(file: PairsFile, right: Path, wrong: Path) -> None:
    found = evaluate_pairs(right, file, against=wrong, scoring=SCORING)
    assert isinstance(found, SystemsReport) and found.against is not None
    for score, name in (("bleu", "BLEU"), ("chrf", "chrF")):
        svg = draw_length_curves([found.scores, found.against], text=found.text, score=score)
        assert "right.txt: " in svg and "wrong.txt: " in svg
        for part in (*found.scores.by_length, *found.against.by_length):
            low, mid, high = part.band(score)
            assert f"{name} {mid:.2f} ({low:.2f} to {high:.2f})" in svg
    assert "test.tsv: 3 sentences, 4 references" in svg
    with pytest.raises(UsageError, match="bleu, chrf"):
        draw_length_curves([found.scores], text="", score="ter")
    with pytest.raises(UsageError, match="no system"):
        draw_length_curves([], text="")


def test_a_line_for_each_pair_is_explained(file: PairsFile, tmp_path: Path) -> None:
    (tmp_path / "four.txt").write_text("a\nb\nc\nd\n", encoding="utf-8")
    with pytest.raises(DataError, match="has 4 lines and the test set 3 distinct sources\n.*--single-reference"):
        evaluate_pairs(tmp_path / "four.txt", file)
    alone = PairsFile(path=file.path, single_reference=True)
    assert evaluate_pairs(tmp_path / "four.txt", alone).scores.sentences == 4
    (tmp_path / "two.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(DataError, match="has 2 lines .*\nGive one line for each distinct source"):
        evaluate_pairs(tmp_path / "two.txt", file)


def test_bad_input_is_named(file: PairsFile, right: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent.tsv"):
        evaluate_pairs(right, PairsFile(path=tmp_path / "absent.tsv"))
    with pytest.raises(UsageError, match="limit must be at least 1"):
        evaluate_pairs(model, PairsFile(path=file.path, limit=0), device="cpu")
    with pytest.raises(UsageError, match="limit is of translating"):
        evaluate_pairs(right, PairsFile(path=file.path, limit=2))
    with pytest.raises(UsageError, match="beam is of translating"):
        evaluate_pairs(right, file, beam=4)
    (tmp_path / "latin.txt").write_bytes("été\nb\nc\n".encode("latin-1"))
    with pytest.raises(DataError, match="latin.txt"):
        evaluate_pairs(tmp_path / "latin.txt", file)
    (tmp_path / "one.tsv").write_text("only a source\n", encoding="utf-8")
    with pytest.raises(DataError, match="one.tsv"):
        evaluate_pairs(right, PairsFile(path=tmp_path / "one.tsv"))
