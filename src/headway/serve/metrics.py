"""What the server counts, for Prometheus; a registry of its own."""

import resource
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from headway.serve.jobs import SchedulerFigures, StepFigures

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters, and gauges that are read when somebody asks."""

    def __init__(self, figures: Callable[[], Iterable[tuple[str, SchedulerFigures]]]) -> None:
        """figures: how each model's scheduler stands."""
        self.registry = CollectorRegistry()
        self.requests = Counter("headway_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        self.refusals = Counter("headway_refusals", "Requests refused for want of room.", registry=self.registry)
        self.tokens = Counter("headway_tokens", "Tokens written.", ["model"], registry=self.registry)
        self.steps = Histogram(
            "headway_step_seconds", "Time of a step.", ["model"], buckets=_SECONDS, registry=self.registry
        )
        self.batch = Histogram(
            "headway_batch_rows", "Rows of a step.", ["model"], buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.first_token = Histogram(
            "headway_first_token_seconds",
            "From a request to its first token.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.per_token = Histogram(
            "headway_token_seconds", "Between two tokens of one text.", buckets=_SECONDS, registry=self.registry
        )
        memory = Gauge("headway_memory_bytes", "The most memory this process has held.", registry=self.registry)
        memory.set_function(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        up = time.time()
        Gauge("headway_up_seconds", "Since the start.", registry=self.registry).set_function(lambda: time.time() - up)
        self.registry.register(_Queues(figures))
        self.refused_elsewhere: Callable[[], int] = lambda: 0
        """How many requests were refused before they came here."""
        self._told_of = 0

    def on_step(self, model: str) -> Callable[[StepFigures], None]:
        """What a scheduler calls at each step."""
        steps, batch, tokens = self.steps.labels(model), self.batch.labels(model), self.tokens.labels(model)

        def told(step: StepFigures) -> None:
            steps.observe(step.seconds)
            batch.observe(step.rows)
            tokens.inc(step.tokens)

        return told

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """One more gauge, read when somebody asks."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        elsewhere = self.refused_elsewhere()
        more, self._told_of = elsewhere - self._told_of, elsewhere
        self.requests.labels("other", "429").inc(more)
        self.refusals.inc(more)
        return generate_latest(self.registry)


class _Queues(Collector):
    def __init__(self, figures: Callable[[], Iterable[tuple[str, SchedulerFigures]]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[GaugeMetricFamily]:
        named = {
            name: GaugeMetricFamily(f"headway_{name}", text, labels=["model"])
            for name, text in (
                ("rows", "Rows taken."),
                ("running", "Jobs that are being written."),
                ("queued", "Jobs that wait."),
                ("prompt_tokens", "Tokens of their prompts."),
                ("cache_tokens", "Tokens of the prefix cache."),
                ("cache_hits", "Prompts that went on from the cache."),
            )
        }
        for model, figures in self._figures():
            for name, family in named.items():
                family.add_metric([model], getattr(figures, name))
        yield from named.values()
