"""Copy and reverse pairs: what they are, that seeds hold, and how alignments are judged."""

from itertools import islice

import pytest

from headway.errors import ConfigError
from headway.studies.synthetic import SyntheticSettings, expected, on_the_diagonal, synthetic_pairs


def test_targets_are_what_the_task_makes_of_the_sources() -> None:
    for task in ("copy", "reverse"):
        for pair in synthetic_pairs(SyntheticSettings(task=task, shortest=2, longest=7), 50):
            source, target = pair.source.split(), pair.target.split()
            assert 2 <= len(source) <= 7
            assert target == (source if task == "copy" else source[::-1]) == expected(task, source)


def test_the_seed_decides_and_fewer_pairs_are_the_first_of_more() -> None:
    settings = SyntheticSettings(task="reverse", seed=3)
    many = list(synthetic_pairs(settings, 30))
    assert list(synthetic_pairs(settings, 11)) == many[:11]
    assert list(synthetic_pairs(SyntheticSettings(task="reverse", seed=4), 30)) != many


def test_every_symbol_and_length_occurs() -> None:
    pairs = list(islice(synthetic_pairs(SyntheticSettings(task="copy", symbols=11, shortest=5, longest=8), 500), 500))
    assert len({word for pair in pairs for word in pair.source.split()}) == 11
    assert {len(pair.source.split()) for pair in pairs} == {5, 6, 7, 8}


def test_links_are_judged_by_the_tasks_own_diagonal() -> None:
    links = [(0, 0), (1, 1), (2, 0)]
    assert on_the_diagonal("copy", links, 3) == pytest.approx(2 / 3)
    assert on_the_diagonal("reverse", [(2, 0), (1, 1), (0, 2)], 3) == 1.0
    assert on_the_diagonal("copy", [], 3) == 0.0


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="symbols must be in 2..70"):
        SyntheticSettings(task="copy", symbols=71)
    with pytest.raises(ConfigError, match="shortest"):
        SyntheticSettings(task="copy", shortest=7, longest=5)
