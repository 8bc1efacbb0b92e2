"""The models of a server: by name, opened when first asked for."""

import asyncio
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from headway.errors import UsageError
from headway.serve.answer_room import AnswerRoom
from headway.serve.bench import Bench
from headway.serve.board import UNLIMITED, Board
from headway.serve.errors_http import UnknownModel
from headway.serve.jobs import Refused, SchedulerFigures
from headway.serve.limits import Limits
from headway.serve.mailbox import Mailbox
from headway.serve.metrics import Metrics
from headway.serve.scheduler import Scheduler
from headway.tasks.described import Described, describe, fingerprint_of, open_in_pytorch, sizes_of, tokenizer_of
from headway.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How models are opened: see `Writer`."""

    engine: str = "auto"
    bits: int | None = None


@dataclass(kw_only=True)
class Writing:
    """A writer and the scheduler that writes with it."""

    writer: Any
    scheduler: Scheduler
    fingerprint: str
    grammar: Any = None


@dataclass(kw_only=True)
class Served:
    """One model; what is open of it."""

    described: Described
    sizes: dict[str, int | None]
    tokenizer: Tokenizer | None = None
    writing: Writing | None = None
    task: Any = None  # a Reader or a Translator
    twin: Any = None  # (model, tokenizer) in PyTorch
    opening: threading.Lock = field(default_factory=threading.Lock)


class Models:
    """All models of a server.

    bench: where all runs that is no continuation. room: for what answers in the making hold. limits, opening: as given.
    """

    def __init__(self, names: Sequence[str], *, opening: Opening, limits: Limits, waiting: int = 64) -> None:
        """Raises FormatError for a name that is no model."""
        self._opening, self.limits = opening, limits
        self.room = AnswerRoom()
        self.metrics = Metrics(self.figures)
        self.metrics.watch("headway_answer_entries", "Tokens and alternatives that answers may hold.", self._taken)
        self.metrics.watch("headway_bench_waiting", "Requests beside writing that wait or run.", self._benched)
        self.bench = Bench(waiting)
        self._mailbox: Mailbox | None = None
        self._board: Board | None = None
        self._telling = threading.Lock()
        self._served: dict[str, Served] = {}
        for name in names:
            described = describe(name)
            if described.name in self._served:
                raise UsageError(f"two models are called {described.name}; rename one folder")
            self._served[described.name] = Served(described=described, sizes=sizes_of(described.folder))

    @property
    def names(self) -> list[str]:
        """In the order given."""
        return list(self._served)

    def add(self, path: str) -> str:
        """One more model, from a folder that the server itself made; its name."""
        described = describe(path)
        self._served[described.name] = Served(described=described, sizes=sizes_of(described.folder))
        self._tell_room()
        return described.name

    def named(self, name: str, verb: str | None = None) -> Served:
        """Raises UnknownModel, UsageError where the model does something else."""
        served = self._served.get(name)
        if served is None:
            raise UnknownModel(f"no model called {name!r} is served\nServed are: {', '.join(self._served)}.")
        if verb is not None and verb not in served.described.verbs:
            able = [other for other, one in self._served.items() if verb in one.described.verbs]
            hint = f"Served for that are: {', '.join(able)}." if able else "No model served does."
            raise UsageError(f"{name} is no model to {verb} with\n{hint}")
        return served

    def opened(self, name: str) -> Writing | None:
        """The writer, where it is open; at once."""
        return self.named(name, "write").writing

    def refusal(self) -> Refused | None:
        """Why none of the writers can take on a text now; None where one can, or is not open yet."""
        found: Refused | None = None
        for served in list(self._served.values()):
            if "write" in served.described.verbs:
                if served.writing is None:
                    return None
                try:
                    served.writing.scheduler.require_room()
                except Refused as refused:
                    found = refused
                else:
                    return None
        return found

    def show_room_on(self, board: Board) -> None:
        """Tell a gate from here on what `refusal` says here."""
        self._board = board
        self.metrics.refused_elsewhere = board.refused
        self._tell_room()

    def seen(self) -> None:
        """A completion that the gate let in was taken on, or was not."""
        if self._board is not None:
            self._board.tell_seen()

    def _tell_room(self) -> None:
        if self._board is None:
            return
        with self._telling:
            able = [one.writing for one in list(self._served.values()) if "write" in one.described.verbs]
            rooms = [writing.scheduler.room for writing in able if writing is not None]
            free = sum(free for free, _ in rooms) if rooms and len(rooms) == len(able) else UNLIMITED
            self._board.tell_room(free, max((after for _, after in rooms), default=1.0))

    def mailbox(self) -> Mailbox:
        """Of the running loop; a server has one."""
        if self._mailbox is None:
            self._mailbox = Mailbox(asyncio.get_running_loop())
        return self._mailbox

    def writing(self, name: str) -> Writing:
        """The writer, opened where it is not yet; takes seconds then, so call it on a thread."""
        from headway.tasks.writer import Writer

        served = self.named(name, "write")
        with served.opening:
            if served.writing is None:
                writer = Writer(served.described.folder, engine=self._opening.engine, bits=self._opening.bits)
                scheduler = Scheduler(
                    writer.model,
                    vocabulary=writer.tokenizer.size,
                    limits=self.limits,
                    on_step=self.metrics.on_step(name),
                    on_room=self._tell_room,
                )
                scheduler.start()
                fingerprint = fingerprint_of(served.described.folder, writer.model)
                served.writing = Writing(writer=writer, scheduler=scheduler, fingerprint=fingerprint)
                self._tell_room()
            return served.writing

    def grammar(self, name: str) -> Any:
        """The writer's ids as constraints see them; takes seconds the first time. Raises DependencyError."""
        from headway.serve.grammars import grammar_vocabulary

        writing = self.writing(name)
        with self.named(name).opening:
            if writing.grammar is None:
                writing.grammar = grammar_vocabulary(writing.writer.tokenizer)
            return writing.grammar

    def reader(self, name: str, verb: str) -> Any:
        """A `Reader`; on the bench's thread."""
        from headway.tasks.reader import Reader

        served = self.named(name, verb)
        if served.task is None:
            served.task = Reader(served.described.folder, engine="auto")
        return served.task

    def translator(self, name: str) -> Any:
        """A `Translator`; on the bench's thread."""
        from headway.tasks.translator import Translator

        served = self.named(name, "translate")
        if served.task is None:
            served.task = Translator(served.described.folder, engine="auto")
        return served.task

    def twin(self, name: str) -> tuple[Any, Any]:
        """The model and its tokenizer in PyTorch, for what is inside it; on the bench's thread."""
        served = self.named(name)
        if served.twin is None:
            served.twin = open_in_pytorch(served.described.folder)
        model, tokenizer = served.twin
        return model, tokenizer

    def tokenizer(self, name: str) -> Tokenizer:
        """The model's, of a translator the source's; on the bench's thread. Raises UsageError where it has none."""
        served = self.named(name)
        if served.tokenizer is None:
            served.tokenizer = tokenizer_of(served.described.folder)
        return served.tokenizer

    def figures(self) -> Iterable[tuple[str, SchedulerFigures]]:
        """How each open writer's scheduler stands."""
        return [
            (name, served.writing.scheduler.figures())
            for name, served in list(self._served.items())
            if served.writing is not None
        ]

    def _taken(self) -> int:
        return self.room.taken

    def _benched(self) -> int:
        return self.bench.inside

    def close(self, grace_s: float) -> bool:
        """Take no more work and let what there is end within so many seconds; True where all of it did."""
        ended: list[bool] = []
        ending = [self.bench.close]
        ending += [served.writing.scheduler.close for served in self._served.values() if served.writing is not None]
        threads = [threading.Thread(target=lambda end: ended.append(end(grace_s)), args=(end,)) for end in ending]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return all(ended)
