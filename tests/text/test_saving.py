"""Saved tokenizers open in transformers and in tokenizers with the same ids, and theirs open here."""

import json
from pathlib import Path

import pytest
from random_text import random_strings
from tokenizers import Tokenizer as ReferenceTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers
from vocabularies import PROSE

from headway.text.byte_level import ByteLevelTokenizer
from headway.text.loading import load

TEXTS = [PROSE, "one<|endoftext|>two", *random_strings(100, seed=19)]


def test_the_tokenizers_library_opens_it_with_the_same_ids(tokenizer: ByteLevelTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    theirs = ReferenceTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.get_vocab_size() == tokenizer.size
    for text in TEXTS:
        ids = tokenizer.encode(text, allowed_special="all")
        assert theirs.encode(text).ids == ids
        assert theirs.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("with_model", [False, True])
def test_transformers_opens_it_with_the_same_ids(
    with_model: bool, tokenizer: ByteLevelTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path, model_max_length=1031)
    if with_model:  # beside a GPT-2, transformers may prefer its own class
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == tokenizer.size
    assert theirs.eos_token_id == theirs.bos_token_id == theirs.unk_token_id == tokenizer.end_of_text
    assert theirs.model_max_length == 1031
    for text in TEXTS:
        ids = tokenizer.encode(text, allowed_special="all")
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == text


def test_what_transformers_saves_opens_here(tokenizer: ByteLevelTokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    again = load(tmp_path / "again")
    assert again.special_tokens == tokenizer.special_tokens
    assert again.end_of_text == tokenizer.end_of_text
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]


def test_what_the_tokenizers_library_trains_opens_here(tmp_path: Path) -> None:
    theirs = ReferenceTokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=311,
        special_tokens=["<|endoftext|>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator([PROSE], trainer)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = load(tmp_path)
    assert dict(ours.special_tokens) == {"<|endoftext|>": 0, "<pad>": 1}
    assert ours.size == 311
    for text in TEXTS:
        assert ours.encode(text, allowed_special="all") == theirs.encode(text).ids


def test_the_files_are_the_same_each_time(tokenizer: ByteLevelTokenizer, tmp_path: Path) -> None:
    saved = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tokenizer.save(tmp_path / name)
        saved.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert saved[0] == saved[1]
    assert saved[0].keys() == {"tokenizer.json", "tokenizer_config.json"}
