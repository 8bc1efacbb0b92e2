"""Stop strings in a stream of text: none of a stop string's characters is ever given out."""

from collections.abc import Sequence

from headway.errors import UsageError


class StopStrings:
    """Holds back text that may be the start of a stop string, and ends the text before the first that is complete.

    What is kept does not depend on how the text was cut into pieces: the stop string that is complete first counts,
    the longest of them where several end at the same character.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises UsageError for an empty stop string."""
        if not all(isinstance(stop, str) and stop for stop in stops):
            raise UsageError(f"a stop string must have at least one character, but got {list(stops)!r}")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The text that is safe to give out now; nothing once a stop string was complete."""
        if self.stopped:
            return ""
        held = self._held + text
        ends = [(at + len(stop), at) for stop in self._stops if (at := held.find(stop)) >= 0]
        if ends:
            self.stopped = True
            self._held = ""
            return held[: min(ends)[1]]
        n_safe = len(held) - max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[n_safe:]
        return held[:n_safe]

    def finish(self) -> str:
        """The text still held back, which can no longer become a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text begin the stop string without completing it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
