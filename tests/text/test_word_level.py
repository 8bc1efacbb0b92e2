"""Words as tokens: how text is cut, what comes back, what is learned, and the same ids in the library's own terms."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_text import random_strings
from tokenizers import Tokenizer as ReferenceTokenizer
from vocabularies import PROSE

from headway.errors import ConfigError, DataError, FormatError, StorageError, UsageError
from headway.text.loading import UnknownTokenizer, load, load_from_folder
from headway.text.word_level import CLOSING, OPENING, SPLIT_PATTERN, WordTokenizer, WordVocabulary, chunks
from headway.text.word_level_training import train_words

Table = dict[str, Any]
ENGLISH = (
    "The agreement on the European Economic Area was signed in August 1992.",
    "Don't ask (please) for 1,000.50 at 10:30 a.m.; it's well-known, isn't it?",
    'She said "no" and "never again!", then left.',
    "The dogs' food: meat, fish... [and] more!",
)
FRENCH = (
    "L'accord sur la zone \u00e9conomique europ\u00e9enne a \u00e9t\u00e9 sign\u00e9 en ao\u00fbt 1992.",
    "Qu'est-ce que c'est ? C'est l'\u00e9cole ! Vraiment ?",
    "Il a dit : \u00ab Lorsqu'il pleut aujourd'hui, j'y vais. \u00bb Puis il est parti ; elle aussi.",
    "Tu viens ? Oui ! Il dit : non ; alors \u00ab jamais \u00bb et rien.",
)
BLANKS = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
BLANKS += "\u2028\u2029\u202f\u205f\u3000"
fixed = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def pieces(text: str) -> list[str]:
    """The pieces a text is cut into: every one of them is a word of its own vocabulary."""
    tokenizer = train_words([text], 10_000)
    return [tokenizer.vocabulary.words[id] for id in tokenizer.encode(text)]


def without_blanks(text: str) -> str:
    return text.translate(dict.fromkeys(map(ord, BLANKS)))


def change(folder: Path, edit: Callable[[Table], object], name: str = "tokenizer.json") -> None:
    table = json.loads((folder / name).read_text(encoding="utf-8"))
    edit(table)
    (folder / name).write_text(json.dumps(table), encoding="utf-8")


@pytest.fixture
def small() -> WordTokenizer:
    return train_words([*ENGLISH * 3, *FRENCH], 61)


@pytest.fixture
def folder(small: WordTokenizer, tmp_path: Path) -> Path:
    small.save(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't panic, vis-\u00e0-vis O\u2019Brien.", "Don't|panic|,|vis-\u00e0-vis|O\u2019Brien|."),
        ("The the THE", "The|the|THE"),
        ("1,000.50 at 10:30, 3.", "1,000.50|at|10:30|,|3|."),
        ("U.S.A. at 7 a.m. End.Next", "U.S.A|.|at|7|a.m|.|End|.|Next"),
        ("l'eau qu'il Lorsqu\u2019on aujourd'hui", "l'|eau|qu'|il|Lorsqu\u2019|on|aujourd'hui"),
        ("dogs' 'tis '' ...", "dogs|'|'|tis|'|'|.|.|."),
        ("B2B snake_case -5 x- --", "B2B|snake_case|-|5|x|-|-|-"),
        ("\u4e2d\u6587ab\u300c\u3042\u30ab\u30fc\u300d", "\u4e2d|\u6587|ab|\u300c|\u3042|\u30ab|\u30fc|\u300d"),
        (
            "e\u0301te\u0301 \u0939\u093f\u0928\u094d\u0926\u0940",
            "e\u0301te\u0301|\u0939\u093f\u0928\u094d\u0926\u0940",
        ),
        ("\u05e9\u05dc\u05d5\u05dd, \ud55c\uad6d\uc5b4", "\u05e9\u05dc\u05d5\u05dd|,|\ud55c\uad6d\uc5b4"),
        (
            "\U0001f1eb\U0001f1f7\U0001f1eb \U0001f468\u200d\U0001f469 \U0001f44d\U0001f3fd!",
            "\U0001f1eb\U0001f1f7|\U0001f1eb|\U0001f468\u200d\U0001f469|\U0001f44d\U0001f3fd|!",
        ),
        ("a\x00b\x1cc\u200bd", "a|\x00|b|\x1c|c|\u200b|d"),
        ("[UNK]<|endoftext|>", "[|UNK|]|<|||endoftext|||>"),
    ],
)
def test_text_is_cut_into_words_numbers_and_single_marks(text: str, expected: str) -> None:
    assert "|".join(pieces(text)) == expected


@pytest.mark.parametrize("texts", [ENGLISH, FRENCH], ids=["English", "French"])
def test_ordinary_sentences_come_back_letter_for_letter(texts: tuple[str, ...]) -> None:
    tokenizer = train_words(texts * 3, 1000)  # often enough to outweigh the default
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == list(texts)


def test_marks_have_their_blanks_as_in_the_texts_learned_from() -> None:
    english, french = train_words(ENGLISH, 1000).vocabulary, train_words(FRENCH * 2, 1000).vocabulary
    assert set("?!:;") <= set(english.closing) and not set("?!:;") & set(french.closing)
    assert set(".,)") <= set(english.closing) & set(french.closing)
    assert "\u00ab" in english.opening and "\u00ab" not in french.opening
    assert train_words(["a / b"], 9).vocabulary == train_words(["b a /"], 9).vocabulary  # one sighting decides nothing
    assert "/" in train_words(["km/h and/or m/s"] * 2, 9).vocabulary.opening


def test_chinese_and_quotes_have_no_blanks_inside() -> None:
    for text in ('"Go!" he said. "Now, "', "\u6211\u7231\u4f60\u3002\u300c\u3042\u300d", "\u201cyes\u201d", "($5, #1)"):
        tokenizer = train_words([text], 100)
        assert tokenizer.decode(tokenizer.encode(text)) == text.replace(', "', ',"')


def test_a_quote_left_open_ends_with_its_document() -> None:
    tokenizer = train_words(['a " b'], 100)
    ids = tokenizer.encode('a " b<|endoftext|>a " b', allowed_special="all")
    assert tokenizer.decode(ids) == 'a "b <|endoftext|> a "b'


@fixed
@given(text=st.text(max_size=40))
def test_words_come_back_whole_and_in_order(text: str) -> None:
    try:
        tokenizer = train_words([text], 1000)
    except DataError:
        assert not without_blanks(text)
        return
    ids = tokenizer.encode(text)
    assert tokenizer.unknown not in ids
    assert without_blanks(tokenizer.decode(ids)) == without_blanks(
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def test_decoded_text_encodes_to_the_same_ids() -> None:
    texts = [*ENGLISH, *FRENCH, PROSE]
    tokenizer = train_words(texts, 10_000)
    for ids in map(tokenizer.encode, texts):
        assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_only_white_space_divides_and_every_white_space_does() -> None:
    for code in (*range(0xD800), *range(0xE000, 0x11000), *range(0x1F000, 0x20000), *range(0xE0000, 0xE0100)):
        character = chr(code)
        assert (len(chunks(f"a{character}b")) == 2) == (character in BLANKS), ascii(character)
    assert chunks(" \x1c a\u3000\x1f") == ["\x1c", "a", "\x1f"]


def test_rare_words_are_unknown_and_said_so(small: WordTokenizer) -> None:
    assert small.size == 61
    ids = small.encode("gnu the zyzzyva was signed.")
    assert [small.vocabulary.words[id] for id in ids] == ["[UNK]", "the", "[UNK]", "was", "signed", "."]
    assert ids.count(small.unknown) == 2 and small.unknown == 1
    assert small.decode(ids) == "[UNK] the [UNK] was signed."
    assert small.decode_each(ids)[:3] == [b"[UNK]", b" the", b" [UNK]"]


def test_what_is_not_byte_exact_is_refused(small: WordTokenizer) -> None:
    assert small.decode_bytes(small.encode_bytes(b"the Area was signed.")) == b"the Area was signed."
    with pytest.raises(UsageError, match=r"does not give these bytes back[^\n]*\n.*byte-level"):
        small.encode_bytes(b"the  Area")
    with pytest.raises(UsageError, match="does not give these bytes back"):
        small.encode_bytes(b"the zyzzyva")
    with pytest.raises(UsageError, match="byte 4 is not\n"):
        small.encode_bytes(b"the \xff")


def test_a_special_token_that_looks_like_a_word_is_not_reached_by_text() -> None:
    vocabulary = WordVocabulary(
        words=("unk", "end", "a"), special_tokens={"unk": 0, "end": 1}, unknown="unk", end_of_text="end"
    )
    tokenizer = WordTokenizer(vocabulary)
    assert tokenizer.encode("end a unk b") == [0, 2, 0, 0]
    assert tokenizer.encode("end a", allowed_special=["end"]) == [1, 2]


def test_words_are_kept_by_frequency_then_by_their_letters() -> None:
    tokenizer = train_words(["c b a b", "d a b"], 6)
    assert tokenizer.vocabulary.words == ("<|endoftext|>", "[UNK]", "b", "a", "c", "d")
    assert train_words(["c b a b", "d a b"], 5).vocabulary.words == tokenizer.vocabulary.words[:5]
    assert (tokenizer.end_of_text, tokenizer.unknown) == (0, 1)


def test_the_order_of_texts_does_not_matter() -> None:
    texts = [*ENGLISH, *FRENCH, *random_strings(100, seed=11)]
    assert train_words(texts, 200).vocabulary == train_words(reversed(texts), 200).vocabulary


@pytest.mark.parametrize("size", [2, -1, True, 2**31, 8.0])
def test_a_size_that_holds_no_word_is_refused(size: Any) -> None:
    with pytest.raises(ConfigError, match="size must be"):
        train_words(ENGLISH, size)


@pytest.mark.parametrize("texts", [[], ["", " \n\u3000"]])
def test_texts_without_a_word_are_refused(texts: list[str]) -> None:
    with pytest.raises(DataError, match="not a single word"):
        train_words(texts, 10)


def test_few_words_give_a_small_vocabulary() -> None:
    assert train_words(["one two"], 30_000).size == 4


@pytest.mark.parametrize("character", ["a", " ", "'", "a-", "\u0301", "\u200d", "1,"])
def test_a_long_run_is_no_trouble(character: str) -> None:
    tokenizer = train_words(["a"], 3)
    assert len(tokenizer.encode(character * 100_000)) <= 100_000


RANDOM = ["", *ENGLISH, *FRENCH, PROSE, "one<|endoftext|>two[UNK]", *random_strings(400, seed=29)]


def test_the_tokenizers_library_gives_the_same_ids(tmp_path: Path) -> None:
    tokenizer = train_words([*RANDOM, *random_strings(50, seed=31)], 500)
    tokenizer.save(tmp_path)
    theirs = ReferenceTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.get_vocab_size() == tokenizer.size
    known = 0
    for text in RANDOM:
        ids = tokenizer.encode(text, allowed_special="all")
        assert theirs.encode(text).ids == ids
        known += len(ids) - ids.count(tokenizer.unknown)
        if '"' not in text:
            assert theirs.decode(ids, skip_special_tokens=False) == tokenizer.decode(ids)
    assert known > 1000


def test_transformers_reads_the_same_ids_and_what_it_saves_opens_here(
    small: WordTokenizer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoTokenizer

    small.save(folder, model_max_length=1031)
    theirs = AutoTokenizer.from_pretrained(folder)
    assert len(theirs) == small.size
    assert (theirs.eos_token_id, theirs.bos_token_id, theirs.unk_token_id) == (0, 0, 1)
    assert theirs.model_max_length == 1031
    for text in RANDOM[:100]:
        ids = small.encode(text, allowed_special="all")
        assert theirs(text)["input_ids"] == ids
        if '"' not in text:
            assert theirs.decode(ids) == small.decode(ids)
    theirs.save_pretrained(folder / "again")
    again = load(folder / "again")
    assert isinstance(again, WordTokenizer)
    assert again.vocabulary == small.vocabulary


@pytest.mark.parametrize(("closing", "opening"), [(CLOSING, OPENING), ("", ""), ("]\\^-|[&", "[]\\|&^-"), (".", "")])
def test_marks_are_saved_and_loaded(closing: str, opening: str, tmp_path: Path) -> None:
    vocabulary = WordVocabulary(
        words=("[UNK]", "a", "]", "\\", "|", "&"),
        special_tokens={"[UNK]": 0},
        end_of_text=None,
        closing=closing,
        opening=opening,
    )
    tokenizer = WordTokenizer(vocabulary)
    tokenizer.save(tmp_path)
    again = load(tmp_path)
    assert isinstance(again, WordTokenizer)
    assert again.vocabulary == vocabulary
    assert again.end_of_text is None
    theirs = ReferenceTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = [1, 2, 1, 3, 1, 4, 1, 5, 5, 0, 2]
    assert theirs.decode(ids, skip_special_tokens=False) == tokenizer.decode(ids)


def put(table: Table, word: str, number: object) -> None:
    table["model"]["vocab"][word] = number


DAMAGED: dict[str, Callable[[Table], object]] = {
    "no vocabulary": lambda table: table["model"].pop("vocab"),
    "a listed vocabulary": lambda table: table["model"].update(vocab=[["a", 0]]),
    "an empty vocabulary": lambda table: table["model"].update(vocab={}),
    "no unknown": lambda table: table["model"].pop("unk_token"),
    "an unknown of numbers": lambda table: table["model"].update(unk_token=[1]),
    "an unknown that is no word": lambda table: table["model"].update(unk_token="[unk]"),
    "an id too large": lambda table: put(table, "x", 10**9),
    "an id beyond any": lambda table: put(table, "x", 10**400),
    "a negative id": lambda table: put(table, "x", -1),
    "an id twice": lambda table: put(table, "x", 5),
    "an id of text": lambda table: put(table, "x", "61"),
    "an id that is true": lambda table: put(table, "x", True),
    "a fractional id": lambda table: put(table, "x", 61.0),
    "an empty word": lambda table: put(table, "", 61),
    "a word with a blank": lambda table: put(table, "two words", 61),
    "a lone surrogate": lambda table: put(table, "\ud800", 61),
    "added tokens of text": lambda table: table.update(added_tokens="x"),
    "an empty added token": lambda table: table.update(added_tokens=[{"id": 61, "content": ""}]),
    "an added token without id": lambda table: table.update(added_tokens=[{"content": "<x>"}]),
    "an added token with two ids": lambda table: table.update(added_tokens=[{"id": 7, "content": "[UNK]"}]),
}
FOREIGN: dict[str, Callable[[Table], object]] = {
    "a normalizer": lambda table: table.update(normalizer={"type": "Lowercase"}),
    "a template": lambda table: table.update(post_processor={"type": "TemplateProcessing"}),
    "another split": lambda table: table.update(pre_tokenizer={"type": "Whitespace"}),
    "no split": lambda table: table.update(pre_tokenizer=None),
    "a foreign pattern": lambda table: table["pre_tokenizer"].update(pattern={"Regex": "(a+)+$"}),
    "marks not kept apart": lambda table: table["pre_tokenizer"].update(behavior="MergedWithNext"),
    "no decoder": lambda table: table.update(decoder=None),
    "a decoder of text": lambda table: table.update(decoder="x"),
    "a foreign decoder": lambda table: table["decoder"]["decoders"][2]["pattern"].update(Regex="(a+)+$"),
    "a decoder of numbers": lambda table: table["decoder"]["decoders"][2]["pattern"].update(Regex=7),
    "a decoder cut short": lambda table: table["decoder"]["decoders"].pop(),
    "a greedy token": lambda table: table["added_tokens"][0].update(lstrip=True),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_is_an_error_that_names_the_file(damage: str, folder: Path) -> None:
    change(folder, DAMAGED[damage])
    with pytest.raises(FormatError, match=r"tokenizer\.json: ") as caught:
        load_from_folder(folder)
    assert not isinstance(caught.value, UnknownTokenizer)
    assert len(str(caught.value).removeprefix(str(folder))) < 300
    assert str(caught.value).isascii() and str(caught.value).count("\n") < 6


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_would_change_ids_or_blanks_is_an_unknown_tokenizer(kind: str, folder: Path) -> None:
    change(folder, FOREIGN[kind])
    with pytest.raises(UnknownTokenizer, match=r"tokenizer\.json: .*support"):
        load_from_folder(folder)


def test_added_tokens_are_special_and_the_configuration_names_the_end(folder: Path) -> None:
    change(folder, lambda table: table["added_tokens"].append({"id": 61, "content": "</s>"}))
    change(folder, lambda table: table.update(eos_token={"content": "</s>"}), "tokenizer_config.json")
    tokenizer = load(folder)
    assert tokenizer.end_of_text == 61 and tokenizer.size == 62
    assert dict(tokenizer.special_tokens) == {"<|endoftext|>": 0, "[UNK]": 1, "</s>": 61}


def test_a_vocabulary_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(FormatError, match="'a' stands twice"):
        WordVocabulary(words=("[UNK]", "a", "a"), special_tokens={"[UNK]": 0}, end_of_text=None)
    with pytest.raises(FormatError, match="is not among the special tokens"):
        WordVocabulary(words=("[UNK]", "a"), special_tokens={"[UNK]": 0})
    with pytest.raises(FormatError, match="must have an id of its own"):
        WordVocabulary(words=("[UNK]", "a"), special_tokens={"[UNK]": 1}, end_of_text=None)


def test_the_split_pattern_is_the_one_of_saved_files() -> None:
    # A change of the pattern makes every saved vocabulary of words unreadable: it needs a reader for the old one.
    import hashlib

    assert hashlib.sha256(SPLIT_PATTERN.encode()).hexdigest()[:16] == "ccb7959ff027b658"


def test_a_failed_write_is_a_storage_error(small: WordTokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(StorageError, match=r"tokenizer\.json could not be written"):
        small.save(tmp_path)
