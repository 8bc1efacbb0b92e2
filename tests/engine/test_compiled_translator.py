"""Translating in the engine: what PyTorch finds is found, and what only PyTorch can show still comes from there."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_transformer import tiny

import headway
from headway.cli.main import run
from headway.engine.decoder import Stepping
from headway.errors import ConfigError, ResourceError, StorageError, UsageError
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.tasks.summariser import Summariser
from headway.tasks.translating import Translation
from headway.tasks.translator import Translator
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

ENGLISH = [
    "Where is the station?",
    "I had never seen such a beautiful garden.",
    "He is.",
    "The man who lives in the big house is my brother, and he has three children.",
    "What time is it?",
    "We could not find the keys that you had left on the table.",
    "It was raining.",
    "She asked me if I wanted to go to the sea with them tomorrow.",
    "No!",
    "The children were playing in the street when the old woman came out of her house.",
]
TEXTS = ["Hello.", "a", "", "Where is it?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "translating"
    headway.save(tiny(vocabulary=257, context=53, initial_deviation=0.15), _tokenizer(), path)
    return path


@pytest.fixture(scope="module")
def bundled() -> Iterator[tuple[Translator, Translator]]:
    """The bundled model in the engine at 32 bits, and in PyTorch, in float32 also where bfloat16 would be faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headway.models.hardware.has_bfloat16", lambda device: False)
        yield Translator("en-fr", device="cpu", bits=32), Translator("en-fr", device="cpu", engine="torch")


def _tokenizer() -> ByteLevelTokenizer:
    end = "<|endoftext|>"
    tokens = (*(bytes([byte]) for byte in range(256)), end.encode())
    return ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=(), special_tokens={end: 256}))


def _same(found: list[Translation], expected: list[Translation]) -> None:
    assert [one.ids for one in found] == [one.ids for one in expected]
    scores = [torch.tensor([one.score for one in several]) for several in (found, expected)]
    torch.testing.assert_close(*scores, rtol=0.0, atol=1e-4)


def test_the_bundled_translator_finds_what_it_finds_in_pytorch(bundled: tuple[Translator, Translator]) -> None:
    in_engine, in_torch = bundled
    assert isinstance(in_engine.sides.model, Stepping) and in_engine.sides.model.bits == 32
    _same(in_engine.translate(ENGLISH, n_best=2), in_torch.translate(ENGLISH, n_best=2))
    _same([in_engine.translate(ENGLISH[3], beam=1)], [in_torch.translate(ENGLISH[3], beam=1)])


def test_a_translation_is_the_same_alone_and_in_a_batch_to_the_last_bit() -> None:
    translator = Translator("en-fr", device="cpu", bits=8)
    together = translator.translate(ENGLISH[:4], beam=3)
    assert [translator.translate(text, beam=3) for text in ENGLISH[:4]] == together


def test_alignments_come_from_pytorch(bundled: tuple[Translator, Translator]) -> None:
    in_engine, in_torch = bundled
    found, expected = (one.translate(ENGLISH[1], alignment=True).alignment for one in bundled)
    assert found is not None and found == expected
    source, target = [ENGLISH[0]], ["Où est la gare ?"]
    assert in_engine.align(source, target) == in_torch.align(source, target)


def test_pytorch_s_model_is_opened_by_what_reads_its_attention_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "headway")
    translator, opened = Translator(folder, device="cpu"), []
    actual = headway.formats.folder.load
    monkeypatch.setattr(
        "headway.formats.folder.load", lambda *given, **more: opened.append(1) or actual(*given, **more)
    )
    translator.translate("Hello.", max_new_tokens=9)
    assert opened == [] and "in PyTorch as well" not in caplog.text
    for _ in range(2):
        translator.translate("Hello.", max_new_tokens=9, alignment=True)
        assert opened == [1] and "in PyTorch as well" in caplog.text


def test_attention_is_never_read_from_other_weights_than_those_that_translate(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "replaced")
    translator = Translator(tmp_path / "replaced", device="cpu")
    headway.save(
        tiny(vocabulary=257, context=53, initial_deviation=0.1), _tokenizer(), tmp_path / "replaced", overwrite=True
    )
    assert translator.translate("Hello.", max_new_tokens=9).text
    with pytest.raises(StorageError, match="Open it again"):
        translator.align(["Hello."], ["Salut."])


def test_auto_is_the_engine_on_a_processor_and_what_runs_is_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "headway"):
        translator = Translator(folder, device="cpu")
        assert isinstance(translator.sides.model, Stepping) and translator.sides.plain is not None
        assert "compiled engine: 32 bits" in caplog.text
        plain = Translator(folder, device="cpu", engine="torch")
        assert isinstance(plain.sides.model, torch.nn.Module) and plain.sides.plain is None
        assert "PyTorch: engine=torch was asked for" in caplog.text
    _same(translator.translate(TEXTS, max_new_tokens=9), plain.translate(TEXTS, max_new_tokens=9))
    drawn = [one.translate("Hello.", temperature=1.0, seed=3, max_new_tokens=9).ids for one in (translator, plain)]
    assert drawn[0] == drawn[1]


def test_summaries_run_on_the_engine_too(folder: Path) -> None:
    summariser = Summariser(folder, device="cpu", bits=32)
    assert isinstance(summariser.translator.sides.model, Stepping)
    expected = Summariser(folder, device="cpu", engine="torch").summarise("One. Two.", max_new_tokens=9)
    assert summariser.summarise("One. Two.", max_new_tokens=9).ids == expected.ids


def test_a_coverage_penalty_runs_on_pytorch_or_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"coverage_penalty": 0.5, "max_new_tokens": 9}
    with caplog.at_level(logging.INFO, "headway"):
        found = Translator(folder, device="cpu").translate("Hello.", **options)  # type: ignore[call-overload]
    assert "coverage penalty" in caplog.text
    assert found == Translator(folder, device="cpu", engine="torch").translate("Hello.", **options)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="engine=torch"):
        Translator(folder, device="cpu", bits=8).translate("Hello.", **options)  # type: ignore[call-overload]


def test_an_engine_that_cannot_run_the_model_is_an_error(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    config = RNNSearchConfig(vocabulary=257, width=6, embedding=5, alignment=3, maxout=4, initial="modern")
    headway.save(RNNSearch(config).eval(), _tokenizer(), tmp_path / "recurrent")
    with pytest.raises(ResourceError, match="rnnsearch"):
        Translator(tmp_path / "recurrent", device="cpu", engine="compiled")
    assert isinstance(Translator(tmp_path / "recurrent", device="cpu").sides.model, RNNSearch)
    with pytest.raises(ConfigError, match="bits must be one of"):
        Translator(folder, device="cpu", bits=5)
    with pytest.raises(ConfigError, match="dtype is of PyTorch"):
        Translator(folder, device="cpu", bits=8, dtype="float32")


def test_the_command_line_takes_the_engine_and_its_bits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--max-new-tokens", "9", "--device", "cpu"]
    for words, options in (
        (["--bits", "8"], {"bits": 8}),
        (["--engine", "compiled"], {"engine": "compiled"}),
        (["--engine", "torch"], {"engine": "torch"}),
    ):
        assert run(["translate", str(folder), "Hello.", *few, *words]) == 0
        expected = Translator(folder, device="cpu", **options).translate("Hello.", max_new_tokens=9)  # type: ignore[arg-type]
        assert capsys.readouterr().out == " ".join(expected.text.splitlines()) + "\n" or "\r" in expected.text
    assert run(["translate", str(folder), "Hello.", *few, "--engine", "fast"]) != 0
    assert "auto, torch, compiled" in capsys.readouterr().err


def test_evaluate_scores_a_translator_at_fewer_bits(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.tsv").write_text("Hello.\tSalut.\nWhere is it?\tOu est-il ?\n")
    assert run(["evaluate", str(folder), str(tmp_path / "pairs.tsv"), "--bits", "4", "--beam", "1", "--json"]) == 0
    assert '"bleu"' in capsys.readouterr().out
