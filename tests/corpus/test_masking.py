"""Which words are hidden: the shares of the paper, exactly so many, whole words, the same again for the same key."""

import numpy
import pytest

from headway.corpus.batches import IGNORED
from headway.corpus.masking import Masking, masking_of
from headway.errors import ConfigError
from headway.text.byte_level_training import train_byte_level

SIZE, MASK, SPECIAL = 101, 3, 5
ORDINARY = numpy.arange(SIZE) >= SPECIAL


def rows(n_rows: int, n_tokens: int) -> numpy.ndarray:
    ids = numpy.random.default_rng(7).integers(SPECIAL, SIZE, size=(n_rows, n_tokens))
    ids[:, 0], ids[:, -1] = 1, 2
    return ids


def masking(share: float = 0.15, continues: numpy.ndarray | None = None) -> Masking:
    return Masking(share=share, mask=MASK, ordinary=ORDINARY, continues=continues)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.9])
def test_each_row_hides_exactly_its_share_and_never_a_special_token(share: float) -> None:
    ids = rows(13, 43)
    seen, targets = masking(share).hide(ids, "key")
    chosen = targets != IGNORED
    assert (chosen.sum(axis=1) == round(share * 41)).all()
    assert not chosen[:, [0, -1]].any()
    assert (targets[chosen] == ids[chosen]).all()
    assert (seen[~chosen] == ids[~chosen]).all()


def test_of_the_hidden_80_percent_are_masks_10_random_and_10_as_they_were() -> None:
    ids = rows(400, 102)
    seen, targets = masking(0.5).hide(ids, "key")
    chosen = targets != IGNORED
    masks = (seen == MASK) & chosen
    same = (seen == ids) & chosen
    total = chosen.sum()
    assert masks.sum() / total == pytest.approx(0.8, abs=0.01)
    assert same.sum() / total == pytest.approx(0.1 + 0.1 / (SIZE - SPECIAL), abs=0.01)
    assert (seen[chosen & ~masks] >= SPECIAL).all()


def test_the_same_key_hides_the_same_and_another_key_others() -> None:
    ids = rows(5, 31)
    first, again, other = (masking().hide(ids, key)[0] for key in ("1 2", "1 2", "1 3"))
    assert (first == again).all()
    assert (first != other).any()


def test_whole_words_are_hidden_whole() -> None:
    continues = numpy.zeros(SIZE, dtype=bool)
    continues[50:] = True
    ids = rows(60, 43)
    _, targets = masking(0.2, continues).hide(ids, "key")
    chosen = targets != IGNORED
    for row in range(len(ids)):
        for place in range(2, 42):
            if continues[ids[row, place]] and place > 1:
                assert chosen[row, place] == chosen[row, place - 1], (row, place)
    assert chosen.sum(axis=1).min() >= round(0.2 * 41)
    assert chosen.sum(axis=1).max() < 41


def test_a_row_of_one_word_has_that_hidden_and_one_of_none_has_nothing() -> None:
    _, targets = masking().hide(numpy.array([[1, 9, 2, 2], [1, 2, 2, 2]]), "key")
    assert targets.tolist() == [[IGNORED, 9, IGNORED, IGNORED], [IGNORED] * 4]


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    tokenizer = train_byte_level(["a text, and a text"], 300)
    with pytest.raises(ConfigError, match=r"\[MASK\]"):
        masking_of(tokenizer, share=0.15, whole_words=False)
