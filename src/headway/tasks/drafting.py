"""Whether a model may draft for another: its ids must mean the same."""

from headway.errors import UsageError
from headway.text.tokenizer import Tokenizer


def require_same_ids(writer: Tokenizer, draft: Tokenizer) -> None:
    """Raises UsageError, naming the first difference, where an id does not stand for the same bytes in both."""
    if writer is draft:
        return
    if draft.size != writer.size:
        raise _differ(f"the draft model has {draft.size} ids and the writer {writer.size}")
    if draft.end_of_text != writer.end_of_text:
        raise _differ(
            f"the draft model ends a text with id {draft.end_of_text} and the writer with {writer.end_of_text}"
        )
    for token in range(writer.size):
        here, there = writer.decode_bytes([token]), draft.decode_bytes([token])
        if here != there:
            raise _differ(f"id {token} is {there!r} to the draft model and {here!r} to the writer")


def _differ(difference: str) -> UsageError:
    return UsageError(
        f"a draft model must have the writer's own vocabulary, but {difference}\n"
        "Train a draft with the writer's tokenizer, or use speculate=lookup."
    )
