"""Byte pair encoding's merges (Sennrich et al. 2016, algorithm 1) over counted words, whatever their symbols are.

The most frequent pair of neighbours merges first; of equally frequent ones the pair with the smaller symbols, as in the
`tokenizers` library. Counts are Python's own integers, which do not overflow.
"""

import heapq
from collections import defaultdict

_PAIR = 32  # a pair is kept as one integer, left << 32 | right: quick to hash, and in the order of the pair


class Merger:
    """Words as symbols, and for every pair of neighbours its count and the words that may hold it."""

    def __init__(self, words: list[list[int]], frequencies: list[int]) -> None:
        """words: of symbols from 0 on; frequencies: how often each was seen."""
        self.words = words
        self.frequencies = frequencies
        self.counts: defaultdict[int, int] = defaultdict(int)
        self.places: defaultdict[int, set[int]] = defaultdict(set)  # may name pieces that no longer hold the pair
        for number, (word, frequency) in enumerate(zip(self.words, self.frequencies, strict=True)):
            for left, right in zip(word, word[1:], strict=False):
                self.counts[left << _PAIR | right] += frequency
                self.places[left << _PAIR | right].add(number)

    def learn(self, n_merges: int, min_frequency: int, *, first: int) -> list[tuple[int, int]]:
        """Up to so many merges as pairs of symbols; the merge at place n forms the symbol `first` + n."""
        queue = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(queue)
        merges: list[tuple[int, int]] = []
        while queue and len(merges) < n_merges:
            negative, pair = heapq.heappop(queue)
            count = self.counts[pair]
            if count < min_frequency:
                continue
            if count != -negative:  # it lost occurrences to other merges since it was queued
                heapq.heappush(queue, (-count, pair))
                continue
            left, right = pair >> _PAIR, pair & (1 << _PAIR) - 1
            for fresh in self._merge(left, right, first + len(merges)):
                heapq.heappush(queue, (-self.counts[fresh], fresh))
            merges.append((left, right))
        return merges

    def _merge(self, left: int, right: int, formed: int) -> set[int]:
        """Put one symbol for the pair everywhere; returns the pairs that came to be."""
        counts, places = self.counts, self.places
        pair = left << _PAIR | right
        fresh: set[int] = set()
        for number in places.pop(pair):
            word, frequency = self.words[number], self.frequencies[number]
            merged: list[int] = []
            place, last = 0, len(word) - 1
            while place <= last:
                symbol = word[place]
                if symbol != left or place == last or word[place + 1] != right:
                    merged.append(symbol)
                    place += 1
                    continue
                if merged:
                    before = merged[-1] << _PAIR
                    counts[before | left] -= frequency
                    counts[before | formed] += frequency
                    places[before | formed].add(number)
                    fresh.add(before | formed)
                if place + 1 < last:
                    after = word[place + 2]
                    counts[right << _PAIR | after] -= frequency
                    counts[formed << _PAIR | after] += frequency
                    places[formed << _PAIR | after].add(number)
                    fresh.add(formed << _PAIR | after)
                merged.append(formed)
                place += 2
            self.words[number] = merged
        del counts[pair]
        return {key for key in fresh if counts[key] > 0}
