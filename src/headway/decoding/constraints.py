"""Texts that must follow a JSON schema, a regular expression or a grammar: a mask over the vocabulary at each token.

llguidance (the extra `grammar`) reads the grammar and follows it byte by byte; its work is bounded by the limits here,
so that no grammar, however it is made, can hold up the rows beside it for long.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headway.errors import DependencyError, UsageError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

    from headway.decoding.choice import Mask

MOST_CHARACTERS = 65_536
MOST_DEPTH = 64


class GrammarVocabulary:
    """The ids of a model as bytes, as constraints see them; made once a model, which takes seconds for a large one."""

    def __init__(self, tokens: Sequence[bytes], *, end: int, encode: Callable[[bytes], list[int]]) -> None:
        """tokens: what each id adds to a text. end: the id that ends a text. encode: the ids of some bytes.

        Raises DependencyError where llguidance is not there.
        """
        try:
            import llguidance
        except ImportError:
            raise DependencyError(
                'constraints need llguidance, which is not installed\nInstall it: pip install "headway[grammar]"'
            ) from None
        self.size = len(tokens)
        self.end = end
        described = _Described(tokens, end, encode)
        self._tokenizer: LLTokenizer = llguidance.LLTokenizer(
            llguidance.TokenizerWrapper(described), n_vocab=len(tokens), eos_token=end
        )

    def json_object(self) -> "Constraint":
        """Any JSON object."""
        return self.json_schema({"type": "object"})

    def json_schema(self, schema: Mapping[str, Any]) -> "Constraint":
        """JSON that the schema allows, with one blank behind each comma and colon and none elsewhere.

        Raises UsageError for a schema that is too large, too deep, or has keywords that cannot be followed.
        """
        from llguidance import LLMatcher

        if not isinstance(schema, Mapping):
            raise UsageError(f"a JSON schema must be an object, but got {type(schema).__name__}")
        _require_depth(schema)
        try:
            text = json.dumps(schema, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"a JSON schema must be JSON, but {_short(error)}") from None
        _require_size("a JSON schema", text)
        options: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        try:
            grammar = LLMatcher.grammar_from_json_schema(text, overrides=options)
        except ValueError as error:
            raise UsageError(f"this JSON schema cannot be followed: {_short(error)}") from None
        return self._constraint("a JSON schema", grammar)

    def regex(self, pattern: str) -> "Constraint":
        """A text that the pattern matches from its beginning to its end; no look-around, no back-references."""
        from llguidance import LLMatcher

        _require_text("a regular expression", pattern)
        return self._constraint("a regular expression", LLMatcher.grammar_from_regex(pattern))

    def lark(self, grammar: str) -> "Constraint":
        """A text of the language of a context-free grammar, in Lark's notation; its first rule is called start."""
        from llguidance import LLMatcher

        _require_text("a grammar", grammar)
        return self._constraint("a grammar", LLMatcher.grammar_from_lark(grammar))

    def _constraint(self, kind: str, grammar: str) -> "Constraint":
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=_limits())
        if matcher.is_error():
            raise UsageError(f"{kind} cannot be followed: {_short(matcher.get_error())}\nCorrect or simplify it.")
        return Constraint(matcher, size=self.size, end=self.end)


class Constraint:
    """What a text must follow, read and found possible; any number of rows may begin with it."""

    def __init__(self, matcher: "LLMatcher", *, size: int, end: int) -> None:
        self._matcher = matcher
        self.size = size
        self.end = end
        if not self.begin().mask().any():  # what fails at its first token is refused before it becomes a row
            raise UsageError("no text follows this constraint\nCorrect it.")

    def begin(self) -> "Progress":
        """A row's own place, at the beginning; cheap, for the grammar is shared."""
        return Progress(self._matcher.deep_copy(), self.size)


class Progress:
    """How far one row is in its constraint."""

    def __init__(self, matcher: "LLMatcher", size: int) -> None:
        self._matcher = matcher
        self._size = size

    def mask(self) -> "Mask":
        """(V,) True for the ids that may come next; the end id only where the text so far is whole.

        Raises UsageError where the limits of the work for one token are passed.
        """
        import numpy

        packed = self._matcher.compute_bitmask()
        self._require_able()
        bits = numpy.unpackbits(numpy.frombuffer(packed, numpy.uint8), count=self._size, bitorder="little")
        return bits.astype(numpy.bool_)

    def take(self, token: int) -> None:
        """Go on by a token. Raises UsageError for one that the mask does not allow."""
        self._matcher.consume_token(token)
        self._require_able()

    def _require_able(self) -> None:
        if self._matcher.is_error():
            raise UsageError(
                f"the constraint can no longer be followed: {_short(self._matcher.get_error())}\nSimplify it."
            )


class _Described:
    """The vocabulary in the words of llguidance."""

    def __init__(self, tokens: Sequence[bytes], end: int, encode: Callable[[bytes], list[int]]) -> None:
        self.eos_token_id = end
        self.bos_token_id = None
        self.tokens = [b"<|end|>" if id == end else token for id, token in enumerate(tokens)]
        self.special_token_ids = [end]
        self._encode = encode

    def __call__(self, text: bytes | str) -> list[int]:
        return self._encode(text.encode() if isinstance(text, str) else text)


def _limits() -> "LLParserLimits":
    from llguidance import LLParserLimits

    return LLParserLimits(
        max_items_in_row=2_000,
        initial_lexer_fuel=1_000_000,  # some 20 ms
        step_lexer_fuel=200_000,  # some 15 ms
        step_max_items=20_000,  # some 1 ms
        max_lexer_states=20_000,  # some 40 MB
        max_grammar_size=100_000,
        precompute_large_lexemes=False,  # it would go through the whole vocabulary without a limit
        verbose_errors=False,
    )


def _require_text(kind: str, text: str) -> None:
    if not isinstance(text, str):
        raise UsageError(f"{kind} must be text, but got {type(text).__name__}")
    _require_size(kind, text)


def _require_size(kind: str, text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"{kind} may have {MOST_CHARACTERS} characters, but this one has {len(text)}")


def _require_depth(schema: object) -> None:
    level = [schema]
    for _ in range(MOST_DEPTH):
        inner = [part.values() if isinstance(part, Mapping) else part for part in level if isinstance(part, _NESTED)]
        level = [part for parts in inner for part in parts]
        if not level:
            return
    raise UsageError(f"a JSON schema may be {MOST_DEPTH} levels deep, but this one is deeper")


_NESTED = (Mapping, list, tuple)


def _short(error: object) -> str:
    """The first line of another library's message, cut where it is long."""
    first = re.sub(r"\s+", " ", str(error).strip().partition("\n")[0])
    return first if len(first) <= 200 else first[:200] + " ..."
