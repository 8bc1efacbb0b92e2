"""Cleaning leaves out what is hardly a pair, says why, and lets real pairs be."""

from pathlib import Path

import pytest

from headway.corpus.pair_cleaning import RULES, CleaningReport, CleaningSettings, clean
from headway.corpus.pair_languages import language_order, script_of
from headway.corpus.pairs import Pair, read_pairs
from headway.errors import ConfigError, DataError

SAMPLES = Path(__file__).parent.parent / "data" / "pairs"
TRAIN = list(read_pairs(SAMPLES / "tatoeba.en-fr.train.tsv"))
VALID = list(read_pairs(SAMPLES / "tatoeba.en-fr.valid.tsv"))
RUSSIAN = "Эта собака не хочет идти домой."
BAD = {
    "empty": [Pair("", "Rien."), Pair("Nothing.", " \t\N{NO-BREAK SPACE}"), Pair("", "")],
    "long": [Pair("word " * 10_000, "mot " * 10_000), Pair("字" * 30_000, "字 de " * 300)],
    "copy": [Pair("This line was never translated.", "This line was never translated. ")],
    "script": [Pair("This dog does not want to go.", RUSSIAN), Pair("你好，世界和平", "Bonjour le monde")],
    "ratio": [Pair("Yes.", "Oui, mais seulement si tu me racontes toute cette histoire depuis son commencement.")],
    "duplicate": [TRAIN[5], TRAIN[7], TRAIN[5]],
}


def summary(report: CleaningReport) -> dict[str, int]:
    return {name: count for name, count in report.counts.items() if count}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_leaves_out_its_own_and_nothing_else(rule: str) -> None:
    kept = clean(TRAIN[:11] + BAD[rule] + TRAIN[11:])
    assert list(kept) == TRAIN and list(kept) == TRAIN
    assert summary(kept.report) == {rule: len(BAD[rule])}
    assert list(kept.report.examples[rule]) == BAD[rule]
    assert (kept.report.pairs, kept.report.kept) == (300 + len(BAD[rule]), 300)


def test_a_pair_counts_under_the_first_rule_it_breaks() -> None:
    bad = [Pair("", ""), Pair("", ""), Pair("same here and there", "same here and there")]
    assert summary(clean(TRAIN + bad * 2).report) == {"empty": 4, "copy": 2}


def test_real_pairs_all_stay() -> None:
    assert clean(TRAIN).report.kept == 300 and clean(VALID).report.kept == 60


def test_a_few_names_may_be_copies() -> None:
    names = [Pair(f"Name {number}", f"Name {number}") for number in range(7)]
    assert summary(clean(TRAIN + names, CleaningSettings(copies=0.01)).report) == {"copy": 4}
    assert summary(clean(TRAIN + names, CleaningSettings(copies=0.0)).report) == {"copy": 7}
    assert summary(clean(TRAIN + names, CleaningSettings(copies=0.5)).report) == {}
    sentence = [Pair("Four words are many.", "four words are MANY.")]
    assert summary(clean(TRAIN + sentence, CleaningSettings(copies=0.5)).report) == {"copy": 1}


def test_the_rules_can_be_turned_off() -> None:
    settings = CleaningSettings(copies=1, length_ratio=None, longest_words=100_000, other_script=1, duplicates=True)
    some = [pair for rule in ("long", "script", "ratio", "duplicate") for pair in BAD[rule]]
    assert list(clean(TRAIN + some, settings)) == TRAIN + some


def test_summaries_are_shorter_by_nature() -> None:
    texts = [Pair(" ".join(f"word{n}" for n in range(20 + 7 * i)), f"summary {i} of it") for i in range(40)]
    report = clean(texts).report
    assert report.kept == 40
    assert summary(clean([*texts, Pair("two words", "summary of it " * 90)]).report) == {"ratio": 1}


def test_scripts_of_either_side_are_at_home_on_both() -> None:
    pairs = [Pair(f"{RUSSIAN} {number}", f"This dog ({number}) wants to go home.") for number in range(20)]
    mixed = [Pair("Он купил Toyota Corolla.", "He bought a Toyota Corolla (Тойота)."), Pair("Latin words only", "они")]
    report = clean(pairs + mixed).report
    assert (report.kept, report.source_scripts, report.target_scripts) == (22, ("CYRILLIC",), ("LATIN",))
    assert summary(clean([*pairs, Pair(RUSSIAN, "هذا الكلب لا يريد الذهاب")]).report) == {"script": 1}


def test_a_word_of_another_script_inside_a_sentence_stays() -> None:
    assert (
        clean([*TRAIN, Pair("The word Москва means Moscow here.", "Le mot Москва veut dire Moscou.")]).report.kept
        == 301
    )


def test_emoji_and_right_to_left_text_stay_and_are_shown_safely() -> None:
    hebrew = [Pair(f"שלום עולם {n} \N{GRINNING FACE}", f"مرحبا بالعالم {n} \N{ROCKET}") for n in range(9)]
    assert clean(hebrew).report.kept == 9
    shown = str(clean([*hebrew, Pair("\N{RIGHT-TO-LEFT OVERRIDE}a\x1b[31m\n", "")]).report)
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in shown and "\x1b" not in shown
    assert shown.count("\n") == 2 and shown.endswith("(nothing)")


def test_the_report_names_places_counts_and_reasons(tmp_path: Path) -> None:
    lines = [f"{pair.source}\t{pair.target}\n" for pair in TRAIN[:20]]
    (tmp_path / "a.tsv").write_text("".join([*lines, "x\t\n", lines[3], "y" * 99 + "\t\n"]), encoding="utf-8")
    said = str(clean(read_pairs(tmp_path / "a.tsv")).report).splitlines()
    assert said[0] == "20 of 23 pairs kept, 3 left out"
    assert said[1] == "  empty: 2 (a side is empty)"
    assert said[2].endswith("a.tsv:21: x | (nothing)")
    assert said[3].endswith("a.tsv:23: " + "y" * 60 + "... | (nothing)")
    assert said[4] == "  duplicate: 1 (the same pair stands before)"
    assert len(said) == 6


def test_nothing_left_and_pairs_that_change_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cleaning leaves no pair: empty 3"):
        clean(BAD["empty"])
    with pytest.raises(DataError, match="there is none"):
        clean([])
    (tmp_path / "a.tsv").write_text("a\tb\nc\td\n")
    kept = clean(read_pairs(tmp_path / "a.tsv"))
    for text in ("a\tb\n", "a\tb\nc\td\ne\tf\n"):
        (tmp_path / "a.tsv").write_text(text)
        with pytest.raises(DataError, match="have changed since they were cleaned: there were 2"):
            list(kept)


@pytest.mark.parametrize(
    ("name", "value"), [("copies", -0.1), ("other_script", 2.0), ("length_ratio", 1.0), ("longest_words", 0)]
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        CleaningSettings(**{name: value})


def test_the_script_of_a_letter() -> None:
    found = {letter: script_of(letter) for letter in "aéЖβשعあ字한ａ𝐁7 \N{GRINNING FACE}ª"}
    assert found == {
        **dict.fromkeys("aéａ𝐁ª", "LATIN"),
        **dict.fromkeys("あ字한", "EAST ASIAN"),
        **dict.fromkeys("7 \N{GRINNING FACE}", None),
        **{"Ж": "CYRILLIC", "β": "GREEK", "ש": "HEBREW", "ع": "ARABIC"},
    }


@pytest.mark.parametrize("count", [5, 13, 60])
def test_swapped_languages_are_noticed(count: int) -> None:
    swapped = [Pair(pair.target, pair.source) for pair in VALID[:count]]
    order = language_order(TRAIN, swapped)
    assert order.swapped and "seem to be swapped" in str(order)
    straight = language_order(TRAIN, VALID[:count])
    assert not straight.swapped and "same order" in str(straight)
    assert (straight.straight, straight.crossed) == (order.crossed, order.straight)


def test_one_language_on_both_sides_is_never_swapped() -> None:
    same = [Pair(one.source, other.source) for one, other in zip(TRAIN[::2], TRAIN[1::2], strict=True)]
    for other in (same[:50], [Pair(pair.target, pair.source) for pair in same[50:]], [], [Pair("", "")]):
        assert not language_order(same, other).swapped


def test_a_long_set_is_sampled_from_all_of_it() -> None:
    many = [Pair("aaaa bbbb", "cccc dddd")] * 4500 + [Pair("eeee ffff", "gggg hhhh")] * 4500
    assert language_order(many, many[4500:]).straight == pytest.approx(2**-0.5, abs=0.01)
