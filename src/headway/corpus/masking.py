"""Words hidden from a reader that is to guess them: which positions, and what stands there instead.

Devlin et al. 2018, section 3.1 and appendix A.1: of the positions chosen, 80 % hold [MASK], 10 % a random token and
10 % the token itself. The choice is drawn anew for every batch ("dynamic masking", Liu et al. 2019, section 4.1).
"""

import hashlib
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from headway.corpus.batches import IGNORED, Ids
from headway.errors import ConfigError
from headway.text.tokenizer import Tokenizer

_HIDDEN, _RANDOM = 0.8, 0.1  # the rest stays as it is, and is asked for nevertheless


@dataclass(frozen=True, kw_only=True)
class Masking:
    """How much is hidden, and of what vocabulary.

    share: of a row's tokens, special ones apart; at least one. mask: the id that hides. ordinary (V,) bool: ids that
    may be hidden and drawn. continues (V,) bool: ids that go on a word; where given, words are hidden whole, so that
    a row may have a few positions more.
    """

    share: float
    mask: int
    ordinary: NDArray[numpy.bool_]
    continues: NDArray[numpy.bool_] | None = None

    def hide(self, ids: Ids, key: str) -> tuple[Ids, Ids]:
        """ids (B, T) -> what the reader sees, and what it is to guess (IGNORED elsewhere), both (B, T).

        The same ids and key give the same answer.
        """
        random = numpy.random.default_rng(numpy.frombuffer(hashlib.blake2b(key.encode()).digest(), dtype="<u4"))
        chosen = self._choose(ids, random)
        seen = ids.copy()
        fate = random.random(ids.shape)
        seen[chosen & (fate < _HIDDEN)] = self.mask
        drawn = chosen & (fate >= _HIDDEN) & (fate < _HIDDEN + _RANDOM)
        seen[drawn] = random.choice(numpy.flatnonzero(self.ordinary), size=int(drawn.sum()))
        return seen, numpy.where(chosen, ids, IGNORED)

    def _choose(self, ids: Ids, random: numpy.random.Generator) -> NDArray[numpy.bool_]:
        """(B, T) True at the positions to guess: in each row those of the smallest draws."""
        hideable = self.ordinary[ids]
        draws = random.random(ids.shape)
        if self.continues is not None:
            # Each position takes the draw of its word's first piece.
            begins = ~(self.continues[ids] & numpy.roll(hideable, 1, axis=1))
            begins[:, 0] = True
            places = numpy.maximum.accumulate(numpy.where(begins, numpy.arange(ids.shape[1]), 0), axis=1)
            draws = numpy.take_along_axis(draws, places, axis=1)
        draws = numpy.where(hideable, draws, 2.0)
        counts = numpy.maximum(numpy.rint(self.share * hideable.sum(axis=1)).astype(int), 1)
        limits = numpy.take_along_axis(numpy.sort(draws, axis=1), (counts - 1)[:, None], axis=1)  # (B, 1)
        chosen: NDArray[numpy.bool_] = (draws <= limits) & hideable
        return chosen


def masking_of(tokenizer: Tokenizer, *, share: float, whole_words: bool) -> Masking:
    """The masking of a tokenizer's texts. Raises ConfigError where it has no [MASK], or cannot tell words."""
    if tokenizer.mask is None:
        raise ConfigError(
            "words are hidden behind a token [MASK], which this tokenizer has not;\n"
            "take the tokenizer of a BERT, or let one be trained on the text"
        )
    continues = tokenizer.continues_word
    if whole_words and continues is None:
        raise ConfigError("this tokenizer cannot tell where words begin: leave out train.whole_words")
    ordinary = numpy.ones(tokenizer.size, dtype=bool)
    ordinary[list(tokenizer.special_tokens.values())] = False
    return Masking(share=share, mask=tokenizer.mask, ordinary=ordinary, continues=continues if whole_words else None)
