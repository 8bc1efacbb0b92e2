"""A tokenizer's ids as the constraints of decoding see them."""

from headway.decoding.constraints import GrammarVocabulary
from headway.errors import UsageError
from headway.text.tokenizer import Tokenizer


def grammar_vocabulary(tokenizer: Tokenizer) -> GrammarVocabulary:
    """For constraints on the texts of this tokenizer's model; make it once, it takes up to seconds.

    Raises UsageError where no id ends a text or texts do not come back exactly, DependencyError without llguidance.
    """
    if tokenizer.end_of_text is None or tokenizer.unknown is not None:
        raise UsageError("constraints need a tokenizer that can say every text and has an end-of-text token")
    tokens = tokenizer.decode_each(range(tokenizer.size))
    return GrammarVocabulary(tokens, end=tokenizer.end_of_text, encode=tokenizer.encode_bytes)
