"""Jobs that were taken on, and their order: the client with the fewest rows first, then turn by turn."""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from headway.serve.jobs import Deliver, WritingJob


@dataclass(kw_only=True, eq=False)
class Ticket:
    """A job and where it stands."""

    job: WritingJob
    deliver: Deliver
    arrived: float
    deadline: float  # both on the monotonic clock
    open: set[int] = field(default_factory=set)  # samples that go on
    rows: dict[int, int] = field(default_factory=dict)  # each open sample's row, once it has one
    began: float = 0.0
    over: bool = False

    def __post_init__(self) -> None:
        self.open = set(range(self.job.samples))


class FairQueue:
    """Tickets without rows yet; one client's own keep their order."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Ticket]] = OrderedDict()  # the client served last stands last
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Ticket]:
        for tickets in self._waiting.values():
            yield from tickets

    def push(self, ticket: Ticket) -> None:
        self._waiting.setdefault(ticket.job.client, deque()).append(ticket)
        self._count += 1

    def next(self, rows: Mapping[str, int]) -> Ticket | None:
        """Whose turn it is, given how many rows each client has; it stays in the queue until `take`."""
        if not self._waiting:
            return None
        client = min(self._waiting, key=lambda client: rows.get(client, 0))
        return self._waiting[client][0]

    def take(self, ticket: Ticket) -> None:
        """Take out the ticket whose turn it is; the other clients come before this one then."""
        self.remove(ticket)
        if ticket.job.client in self._waiting:
            self._waiting.move_to_end(ticket.job.client)

    def remove(self, ticket: Ticket) -> bool:
        """Whether the ticket was waiting."""
        tickets = self._waiting.get(ticket.job.client)
        if tickets is None or ticket not in tickets:
            return False
        tickets.remove(ticket)
        self._count -= 1
        if not tickets:
            del self._waiting[ticket.job.client]
        return True
