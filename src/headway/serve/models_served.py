"""The models of a server: by name, opened when first asked for, and the one thread on which all but writing runs."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from headway.errors import UsageError
from headway.serve.errors_http import UnknownModel
from headway.serve.jobs import Refused, SchedulerFigures
from headway.serve.limits import Limits
from headway.serve.metrics import Metrics
from headway.serve.scheduler import Scheduler
from headway.tasks.described import Described, describe, open_in_pytorch, sizes_of

T = TypeVar("T")


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
    grammar: Any = None


@dataclass(kw_only=True)
class Served:
    """One model; what is open of it."""

    described: Described
    sizes: dict[str, int | None] | None = None
    writing: Writing | None = None
    task: Any = None  # a Reader or a Translator
    twin: Any = None  # (model, tokenizer) in PyTorch
    opening: threading.Lock = field(default_factory=threading.Lock)


class Bench:
    """One thread for everything that is no continuation; so many may wait for it."""

    def __init__(self, waiting: int) -> None:
        self._most = waiting
        self._waiting = 0
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="headway-bench")

    async def run(self, work: Callable[[], T]) -> T:
        """The work's result. Raises Refused where too many wait already."""
        if self._waiting >= self._most:
            raise Refused(f"{self._waiting} requests wait already\nTry again in a moment.", 2.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """No more work is taken; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Models:
    """All models of a server."""

    def __init__(self, names: Sequence[str], *, opening: Opening, limits: Limits, waiting: int = 64) -> None:
        """Raises FormatError for a name that is no model."""
        self._opening, self._limits = opening, limits
        self.metrics = Metrics(self.figures)
        self.bench = Bench(waiting)
        self._served: dict[str, Served] = {}
        for name in names:
            described = describe(name)
            if described.name in self._served:
                raise UsageError(f"two models are called {described.name}; rename one folder")
            self._served[described.name] = Served(described=described)

    @property
    def names(self) -> list[str]:
        """In the order given."""
        return list(self._served)

    def add(self, path: str) -> str:
        """One more model, from a folder that the server itself made; its name."""
        described = describe(path)
        self._served[described.name] = Served(described=described)
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
                    limits=self._limits,
                    on_step=self.metrics.on_step(name),
                )
                scheduler.start()
                served.writing = Writing(writer=writer, scheduler=scheduler)
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
            served.sizes = sizes_of(served.twin[0])
        model, tokenizer = served.twin
        return model, tokenizer

    def sizes(self, name: str) -> dict[str, int | None]:
        """Of the twin; on the bench's thread."""
        self.twin(name)
        sizes = self.named(name).sizes
        assert sizes is not None
        return sizes

    def figures(self) -> Iterable[tuple[str, SchedulerFigures]]:
        """How each open writer's scheduler stands."""
        return [
            (name, served.writing.scheduler.figures())
            for name, served in list(self._served.items())
            if served.writing is not None
        ]

    def close(self, grace_s: float) -> bool:
        """Let the texts being written end within so many seconds; True where all did."""
        open_ones = [served.writing.scheduler for served in self._served.values() if served.writing is not None]
        closing = [threading.Thread(target=scheduler.close, args=(grace_s,)) for scheduler in open_ones]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        self.bench.close()
        return all(not figures.running for _, figures in self.figures())
