"""What a token is shown as: its text, and the bytes of one that holds only a part of a character."""

from collections.abc import Sequence

from headway.text.tokenizer import Tokenizer


class TokenTexts:
    """The shown text of a tokenizer's ids; each is worked out once.

    A byte that is no whole character in its token is shown as `\\xe2`, so that every token has a text that is safe to
    show; a backslash that the text itself holds stays as it is.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, str] = {}

    def text(self, id: int) -> str:
        """The text of one id by itself. Raises UsageError for an id that the tokenizer does not have."""
        found = self._known.get(id)
        if found is None:
            found = self._known[id] = _shown(self._tokenizer.decode_each([id])[0])
        return found

    def one(self, id: int) -> dict[str, object]:
        """An id with its text, as answers carry it."""
        return {"id": id, "text": self.text(id)}

    def every(self, ids: Sequence[int]) -> list[dict[str, object]]:
        """The ids of one text in order; blanks before words are those that the text has."""
        parts = self._tokenizer.decode_each(ids)
        return [{"id": id, "text": _shown(part)} for id, part in zip(ids, parts, strict=True)]


def _shown(part: bytes) -> str:
    return part.decode("utf-8", "backslashreplace")
