"""A byte-level vocabulary as plain data: what each id stands for and which pairs merge, first rule first.

Byte pair encoding after Sennrich et al. 2016, over bytes as GPT-2 does it (Radford et al. 2019, section 2.2).
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import chain

from headway.errors import FormatError
from headway.text.byte_alphabet import BYTE_ORDER

END_OF_TEXT = "<|endoftext|>"
MAX_SIZE = 2**31 - 1  # ids are kept as int32

Merge = tuple[bytes, bytes]

_PROPER = {"60e525f230e1989fb6ad23788940ce39984440b6164dc8dcf0d2cf3a0f209331"}
"""Digests of lists of merges that were found proper: to find it takes a fifth of a second for GPT-2's own."""


@dataclass(frozen=True, kw_only=True)
class ByteVocabulary:
    """Tokens by id, merges by rank, special tokens by name.

    `end_of_text` names the special token between documents, or is None. Raises FormatError for a missing byte, a
    token that stands twice, a merge of or into something that is no token.
    """

    tokens: tuple[bytes, ...]
    merges: tuple[Merge, ...]
    special_tokens: Mapping[str, int]
    end_of_text: str | None = END_OF_TEXT

    def __post_init__(self) -> None:
        for name, number in self.special_tokens.items():
            if not 0 <= number < len(self.tokens) or self.tokens[number] != name.encode():
                raise FormatError(f"special token {name!a} must have an id of its own, but its id is {number}")
        if self.end_of_text is not None and self.end_of_text not in self.special_tokens:
            raise FormatError(f"the end-of-text token {self.end_of_text!a} is not among the special tokens")
        missing = [byte for byte in range(256) if bytes((byte,)) not in self.ids]
        if missing:
            raise FormatError(
                f"a byte-level vocabulary needs a token for each of the 256 bytes, but {len(missing)} are missing,"
                f" the first is byte {missing[0]}"
            )
        if self.ids.keys() >= {*chain.from_iterable(self.merges), *self.ranked}:
            return
        for left, right in self.merges:
            if left not in self.ids or right not in self.ids or left + right not in self.ids:
                raise FormatError(f"the merge of {left!r} and {right!r} names a token that is not in the vocabulary")

    @cached_property
    def ids(self) -> dict[bytes, int]:
        """The id of each token ordinary text can become. Raises FormatError where two ids mean the same."""
        special = set(self.special_tokens.values())
        formed = set(self.ranked[256:])
        left_out = {n for n in special if self.tokens[n] not in formed and len(self.tokens[n]) != 1}
        table = {token: number for number, token in enumerate(self.tokens) if number not in left_out}
        if len(table) == len(self.tokens) - len(left_out):
            return table
        table = {}
        for number, token in enumerate(self.tokens):
            if number in left_out:
                continue
            if table.setdefault(token, number) != number:
                raise FormatError(f"ids {table[token]} and {number} both stand for {token!r}; each needs its own token")
        return table

    @cached_property
    def ranked(self) -> tuple[bytes, ...]:
        """The 256 bytes in GPT-2's order, then what each merge forms, in the order of the merges."""
        return (*(bytes((byte,)) for byte in BYTE_ORDER), *(left + right for left, right in self.merges))

    @cached_property
    def proper(self) -> bool:
        """Whether merging the pair of least-ranked bytes equals following the list of merges, on every text.

        The fast encoders merge by the rank of the bytes formed and so never ask which pair formed them. That is right
        if each merge forms new bytes from tokens ranked before it, and those tokens are what the earlier merges
        leave of its bytes. Trained vocabularies are so; a list edited by hand may not be.
        """
        if self._digest() in _PROPER:
            return True
        ranks = {token: rank for rank, token in enumerate(self.ranked)}
        if len(ranks) != len(self.ranked):
            return False
        pairs: dict[tuple[int, int], int] = {}
        lefts, rights = [0] * 256, [0] * 256
        for rank, (left, right) in enumerate(self.merges, start=256):
            if left not in ranks or right not in ranks or max(ranks[left], ranks[right]) >= rank:
                return False
            lefts.append(ranks[left])
            rights.append(ranks[right])
            pairs[ranks[left], ranks[right]] = rank
        return all(_stands(lefts[rank], rights[rank], lefts, rights, pairs) for rank in range(256, len(ranks)))

    def _digest(self) -> str:
        """SHA-256 of the list of merges."""
        tokens = list(chain.from_iterable(self.merges))
        digest = sha256(array("I", map(len, tokens)).tobytes())
        digest.update(b"".join(tokens))
        return digest.hexdigest()


def _stands(left: int, right: int, lefts: list[int], rights: list[int], pairs: dict[tuple[int, int], int]) -> bool:
    """Whether no earlier merge would have run across the border between the two tokens.

    The merges that formed both are taken back, latest first; at each stage the two symbols at the border must not
    merge before what was just taken back was formed. Equal ranks merge from left to right.
    """
    limit = pairs[left, right]
    while left >= 256 or right >= 256:
        if left > right:
            limit, left = left, rights[left]
        else:
            limit, right = right + 1, lefts[right]
        if pairs.get((left, right), limit) < limit:
            return False
    return True
