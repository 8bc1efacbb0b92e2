"""How BERT reads text, rule by rule, on examples worked by hand, and character by character against the library."""

import re

import pytest
from tokenizers import BertWordPieceTokenizer, normalizers, pre_tokenizers
from vocabularies import PROSE

from headway.text.word_piece import SPECIAL, WordPieceTokenizer, WordPieceVocabulary
from headway.text.word_piece_cutting import OrderMatters, ReadyCharacters
from headway.text.word_piece_training import train_word_piece


def vocabulary(*pieces: str, lowercase: bool = True, strip_accents: bool | None = None) -> WordPieceVocabulary:
    """These pieces behind the special tokens."""
    return WordPieceVocabulary(
        pieces=(*SPECIAL, *pieces),
        special_tokens={name: number for number, name in enumerate(SPECIAL)},
        lowercase=lowercase,
        strip_accents=strip_accents,
    )


def words(text: str, *, lowercase: bool = True, strip_accents: bool | None = None) -> list[str]:
    return ReadyCharacters(vocabulary(lowercase=lowercase, strip_accents=strip_accents)).words(text)


def test_control_characters_vanish_and_join_what_was_around_them() -> None:
    assert words("a\x00b\ufffdc\u200bd\u00ade\x0bf\x85g") == ["abcdefg"]
    assert words("a\tb\nc\rd\u00a0e\u3000f\u2028g") == list("abcdefg")


def test_accents_fall_with_the_capitals_unless_told_otherwise() -> None:
    assert words("\u00c9cole e\u0301 \u1ea4") == ["ecole", "e", "a"]
    assert words("\u00c9cole", lowercase=False) == ["\u00c9cole"]
    assert words("\u00c9cole", strip_accents=False) == ["\u00e9cole"]
    assert words("\u00c9cole", lowercase=False, strip_accents=True) == ["Ecole"]


def test_marks_and_chinese_characters_stand_alone() -> None:
    assert words("isn't $5^2~") == ["isn", "'", "t", "$", "5", "^", "2", "~"]
    assert words("a\u4e2d\u6587b \u65e5\u672c") == ["a", "\u4e2d", "\u6587", "b", "\u65e5", "\u672c"]
    assert words("\u3042\u3044 \ud55c") == ["\u3042\u3044", "\u1112\u1161\u11ab"]  # kana and hangul are letters


def test_a_word_is_its_longest_beginning_and_then_the_longest_that_goes_on() -> None:
    tokenizer = WordPieceTokenizer(vocabulary("un", "una", "##ff", "##a", "##ffa", "##able", "##ble", "##f"))
    named = [tokenizer.vocabulary.pieces[id] for id in tokenizer.encode("unaffable")]
    assert named == ["una", "##ffa", "##ble"]
    assert tokenizer.encode("affable un") == [1, 5]
    # The longest beginning is taken even where a shorter one would leave a word that could be finished.
    hasty = WordPieceTokenizer(vocabulary("un", "una", "##able", "##b"))
    assert hasty.encode("unable") == [hasty.unknown] == [1]


def test_a_search_goes_past_lengths_that_are_no_piece() -> None:
    tokenizer = WordPieceTokenizer(vocabulary("a", "abcd", "##b", "##bcde"))
    assert tokenizer.encode("abcd") == [6]
    assert tokenizer.encode("ab") == [5, 7]
    assert tokenizer.encode("abbcde") == [5, 7, 8]
    assert tokenizer.encode("abc abbcd") == [1, 1]


def test_a_word_may_have_a_hundred_characters_after_accents_fell() -> None:
    tokenizer = WordPieceTokenizer(vocabulary("e", "##e"))
    assert tokenizer.encode("e\u0301" * 100) == [5] + [6] * 99
    assert tokenizer.encode("e" * 101) == [1]


def test_spans_are_places_in_the_text_as_given() -> None:
    tokenizer = WordPieceTokenizer(vocabulary("ecole", "isn", "'", "t", "\u4e2d", "##s"))
    text = " \u00c9co\u0301les\x00 isn't\u00a0\u4e2dzz"
    ids, spans = tokenizer.encode_with_spans(text)
    assert ids == [5, 10, 6, 7, 8, 9, 1]
    assert [text[begin:end] for begin, end in spans] == [
        *("\u00c9co\u0301le", "s", "isn", "'", "t", "\u4e2d", "zz"),
    ]


def test_text_never_becomes_a_special_token_whatever_its_name() -> None:
    odd = WordPieceVocabulary(
        pieces=(*SPECIAL, "sea", "the"), special_tokens={name: n for n, name in enumerate([*SPECIAL, "sea"])}
    )
    assert WordPieceTokenizer(odd).encode("the sea") == [6, 1]
    assert WordPieceTokenizer(odd).encode("the sea", allowed_special="all") == [6, 5]


def test_characters_that_change_places_are_left_to_the_library() -> None:
    # Two marks the library keeps, of different rank: decomposing puts the lower one first.
    text = "a\U0001d165\U0001d16d b\U0001d16d\U0001d165"
    tokenizer = WordPieceTokenizer(vocabulary("a", "##\U0001d165", "##\U0001d16d", "b"))
    with pytest.raises(OrderMatters):
        words(text)
    theirs = BertWordPieceTokenizer(dict(tokenizer.vocabulary.ids)).encode(text, add_special_tokens=False)
    assert tokenizer.encode(text) == theirs.ids
    assert tokenizer.encode_with_spans(text) == (theirs.ids, theirs.offsets)
    assert words(text, lowercase=False) == ["a\U0001d165\U0001d16d", "b\U0001d16d\U0001d165"]


def differences(codes: range, lowercase: bool) -> list[str]:
    """The characters that become other words than the library's, between two letters."""
    ours = ReadyCharacters(vocabulary(lowercase=lowercase))
    clean, cut = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    found = []
    for code in codes:
        text = f"x{chr(code)}Y"
        if 0xD800 <= code < 0xE000:
            continue
        try:
            if ours.words(text) != [word for word, _ in cut.pre_tokenize_str(clean.normalize_str(text))]:
                found.append(chr(code))
        except OrderMatters:
            pass
    return found


@pytest.mark.parametrize("lowercase", [True, False])
def test_characters_of_many_scripts_become_the_librarys_words(lowercase: bool) -> None:
    assert differences(range(0x500), lowercase) == []
    assert differences(range(0x500, 0x110000, 211), lowercase) == []


@pytest.mark.night
@pytest.mark.parametrize("lowercase", [True, False])
def test_every_character_becomes_the_librarys_words(lowercase: bool) -> None:
    assert differences(range(0x110000), lowercase) == []


def learnt_anew(text: str, n_merges: int) -> list[str]:
    """Merges found by counting all pairs again each time: the rule without its shortcuts."""
    spelled = [[word[0], *(f"##{letter}" for letter in word[1:])] for word in re.findall(r"\w+|[^\w\s]", text)]
    symbols = sorted({word[0] for word in spelled}) + sorted({later for word in spelled for later in word[1:]})
    for _ in range(n_merges):
        counts: dict[tuple[int, int], int] = {}
        for word in spelled:
            for pair in zip(word, word[1:], strict=False):
                places = (symbols.index(pair[0]), symbols.index(pair[1]))
                counts[places] = counts.get(places, 0) + 1
        left, right = (symbols[place] for place in min(counts, key=lambda pair: (-counts[pair], pair)))
        symbols.append(left + right.removeprefix("##"))
        for word in spelled:
            place = 0
            while place < len(word) - 1:
                if word[place : place + 2] == [left, right]:
                    word[place : place + 2] = [symbols[-1]]
                place += 1
    return symbols


def test_learning_equals_counting_all_pairs_anew() -> None:
    text = "the then there other them mother breathe the thee other others bananas ananas, on and on!"
    symbols = learnt_anew(text, 23)
    assert train_word_piece([text], len(SPECIAL) + len(symbols), min_frequency=1).vocabulary.pieces[5:] == (*symbols,)


def test_only_the_most_frequent_characters_become_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from headway.text import word_piece_training

    monkeypatch.setattr(word_piece_training, "MOST_CHARACTERS", 7)
    learnt = train_word_piece([PROSE], 100)
    characters = {piece.removeprefix("##") for piece in learnt.vocabulary.pieces[5:]}
    assert len({piece for piece in characters if len(piece) == 1}) == 7
    assert learnt.encode("\u5217") == [learnt.unknown]
