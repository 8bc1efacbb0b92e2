"""One row's tokens on their way to text: whole characters, no stop string, and the ids that belong to what is kept."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from headway.decoding.rows import Alternatives, Emitted, FinishReason
from headway.tasks.stops import StopStrings
from headway.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What a row adds to its text at one step; the pieces of a row, put together, are its result.

    text: whole characters; may be empty while a character or a possible stop string is incomplete. ids, logprobs,
    top_logprobs: one entry for each token whose text is now given out to its end, so a piece's ids can lag behind
    its text by a token. finish_reason: "stop" or "length" on the last piece, else None. seed: the draws can be
    repeated with it.
    """

    text: str
    ids: list[int]
    logprobs: list[float]
    top_logprobs: list[Alternatives]
    finish_reason: FinishReason | None
    windowed: bool
    seed: int


class Continuation:
    """Turns the tokens of one row into pieces.

    A token belongs to the result where the whole of its text is kept: the token in which a stop string begins after
    some kept text does not, nor does an end-of-text token, which has no text.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], seed: int) -> None:
        self._tokenizer = tokenizer
        self._decoder = tokenizer.stream()
        self._stops = StopStrings(stops)
        self._seed = seed
        self._waiting: list[tuple[Emitted, int]] = []  # tokens not given out, and the text's length at their end
        self._n_decoded = 0
        self._n_given = 0
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, emitted: Emitted) -> Piece:
        """The row's next token in, the next piece out. After a piece with a finish reason nothing may follow."""
        reason = emitted.finish_reason
        text = ""
        if reason != "stop":
            decoded = self._decoder.push(emitted.id)
            self._n_decoded += len(decoded)
            self._waiting.append((emitted, self._n_decoded + self._half_character(emitted.id)))
            text = self._stops.push(decoded)
        if reason is not None and not self._stops.stopped:
            text += self._stops.push(self._decoder.flush())
            text += self._stops.finish()
        self._n_given += len(text)
        n_kept = sum(end <= self._n_given for _, end in self._waiting)
        if self._stops.stopped:
            reason = "stop"
        elif reason is not None:
            n_kept = len(self._waiting)
        kept = [token for token, _ in self._waiting[:n_kept]]
        del self._waiting[:n_kept]
        return Piece(
            text=text,
            ids=[token.id for token in kept],
            logprobs=[token.logprob for token in kept],
            top_logprobs=[token.top for token in kept],
            finish_reason=reason,
            windowed=emitted.windowed,
            seed=self._seed,
        )

    def _half_character(self, token: int) -> int:
        """1 where the token ends inside a character, which then belongs to it too, else 0."""
        self._characters.decode(self._tokenizer.decode_bytes([token]))
        return 1 if self._characters.getstate()[0] else 0
