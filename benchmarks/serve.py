"""What the server costs beside the engine that it serves: the first token, 16 clients at once, a room of 50.

One command: `python benchmarks/serve.py` (random weights at GPT-2's smallest published size, 8 bits; another model with
`--model`). The server runs in a process of its own and the clients reach it over loopback. The engine's own batch is
measured through the decoding protocol in this process, taking turns with the server, one of them at work at a time.
Choices are greedy everywhere. `--peers-python` adds llama.cpp's server. `--smoke` is a short run of a tiny model.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serve_peers.llama_server import Peer, llama_rate
from served import Answer, Server, request, serving

_WORDS = (
    "the of and to in is that it was for on are as with his they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so these "
    "would other into has more her two like him see time could no make than first been its who now people my made over"
).split()


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    prompt: int = 50
    first_tokens: int = 20
    clients: int = 16
    phones: int = 50
    new_tokens: int = 64
    turns: int = 3


SMOKE = Sizes(prompt=7, first_tokens=3, clients=3, phones=5, new_tokens=8, turns=1)


@dataclass(frozen=True)
class Prompt:
    """The same text twice."""

    text: str
    ids: list[int]


@dataclass(frozen=True)
class Figures:
    """What was found; times in milliseconds, rates in tokens per second, prompts included in their time.

    alone_rate, engine_alone_rate: of one text, after its first token.
    """

    first_token_median: float
    first_token_p95: float
    engine_first_token_median: float
    alone_rate: float
    engine_alone_rate: float
    engine_rate: float
    served_rate: float
    share_of_engine: float
    room_rate: float
    room_slowest_over_median: float
    room_first_token_median: float
    room_first_token_p95: float


def prompts_of(tokenizer: Any, count: int, length: int, seed: int) -> list[Prompt]:
    """Different prompts of so many tokens each, so that no cache of prefixes helps."""
    draw, prompts = random.Random(seed), []
    for _ in range(count):
        ids = tokenizer.encode("".join(f" {draw.choice(_WORDS)}" for _ in range(length)))[:length]
        prompts.append(Prompt(tokenizer.decode(ids), ids))
    return prompts


def job(model: str, prompt: Sequence[int], new_tokens: int) -> dict[str, Any]:
    """A request that writes exactly so many tokens, unless the end of the text comes first."""
    return {"model": model, "prompt": list(prompt), "max_tokens": new_tokens, "temperature": 0.0, "stream": True}


async def together(port: int, jobs: Sequence[dict[str, Any]]) -> tuple[list[Answer], float]:
    """All at once: the answers, and the seconds until the last."""
    began = time.perf_counter()
    answers = await asyncio.gather(*(request(port, "POST", "/v1/completions", job) for job in jobs))
    return list(answers), time.perf_counter() - began


def tokens_of(answers: Sequence[Answer]) -> int:
    return sum(len(answer.ids) for answer in answers)


def rate_of(answer: Answer) -> float:
    """Tokens per second from the sending to the last token, waiting included."""
    return len(answer.ids) / answer.times[-1] if answer.times else 0.0


def after_first(times: Sequence[float]) -> float:
    """Tokens per second after the first."""
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


class Engine:
    """The model through the decoding protocol alone."""

    def __init__(self, folder: str, bits: int | None) -> None:
        from headway import Writer

        self.writer = Writer(folder, bits=bits)

    def rate(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> float:
        """Tokens per second of one batch, the reading of the prompts included in the time."""
        return len(prompts) * new_tokens / self.times(prompts, new_tokens)[-1]

    def times(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[float]:
        """Seconds until each token of the batch."""
        import numpy

        model = self.writer.model
        began = time.perf_counter()
        new = numpy.array(prompts, dtype=numpy.int64)
        state: Any = model.start(rows=len(prompts))
        times = []
        for _ in range(new_tokens):
            counts = numpy.full(len(prompts), new.shape[1], dtype=numpy.int64)
            logits, state = model.step(new, counts, state)
            new = numpy.asarray(logits).argmax(axis=-1)[:, None].astype(numpy.int64)
            times.append(time.perf_counter() - began)
        return times


async def first_tokens(port: int, model: str, prompts: Sequence[Prompt], new_tokens: int) -> list[Answer]:
    """One after another. Raises RuntimeError where an answer did not come."""
    answers = []
    for prompt in prompts:
        answers += (await together(port, [job(model, prompt.ids, new_tokens)]))[0]
        if not answers[-1].times:
            failed = answers[-1]
            raise RuntimeError(f"a request alone was not answered: {failed.status} {failed.body or failed.error}")
    return answers


def measure(server: Server, model: str, engine: Any, tokenizer: Any, sizes: Sizes) -> Figures:
    """Everything, one after another. Raises RuntimeError where a request alone is not answered."""
    port, ask = server.port, sizes.new_tokens
    asyncio.run(first_tokens(port, model, prompts_of(tokenizer, 2, sizes.prompt, 1), 2))  # warms up
    alone = asyncio.run(
        first_tokens(port, model, prompts_of(tokenizer, sizes.first_tokens, sizes.prompt, 2), min(ask, 16))
    )
    firsts = [1e3 * answer.times[0] for answer in alone]
    bare = [engine.times([prompt.ids], min(ask, 16)) for prompt in prompts_of(tokenizer, len(firsts), sizes.prompt, 4)]
    own, served = [], []
    for turn in range(sizes.turns):
        prompts = [prompt.ids for prompt in prompts_of(tokenizer, sizes.clients, sizes.prompt, 10 + turn)]
        own.append(engine.rate(prompts, ask))
        answers, seconds = asyncio.run(together(port, [job(model, prompt, ask) for prompt in prompts]))
        served.append(tokens_of(answers) / seconds)
    phones = prompts_of(tokenizer, sizes.phones, sizes.prompt, 3)
    room, seconds = asyncio.run(together(port, [job(model, phone.ids, ask) for phone in phones]))
    rates = [rate_of(answer) for answer in room]
    waits = [1e3 * answer.times[0] for answer in room if answer.times]
    return Figures(
        first_token_median=statistics.median(firsts),
        first_token_p95=percentile(firsts, 0.95),
        engine_first_token_median=statistics.median(1e3 * times[0] for times in bare),
        alone_rate=statistics.median(after_first(answer.times) for answer in alone),
        engine_alone_rate=statistics.median(map(after_first, bare)),
        engine_rate=statistics.median(own),
        served_rate=statistics.median(served),
        share_of_engine=statistics.median(mine / its for mine, its in zip(served, own, strict=True)),
        room_rate=tokens_of(room) / seconds,
        room_slowest_over_median=min(rates) / max(statistics.median(rates), 1e-9),
        room_first_token_median=statistics.median(waits) if waits else float("nan"),
        room_first_token_p95=percentile(waits, 0.95),
    )


def random_model(folder: Path, *, tiny: bool) -> str:
    """A GPT-2 with random weights and the shipped vocabulary, of the smallest published size or tiny, if not there."""
    import torch

    import headway
    from headway.models.gpt2 import GPT2, SIZES, GPT2Config

    made = folder / ("tiny" if tiny else "gpt2-124m")
    if not made.exists():
        torch.manual_seed(0)
        tokenizer = headway.Tokenizer.load("gpt2")
        small = GPT2Config(vocabulary=tokenizer.size, context=256, width=16, n_layers=2, n_heads=2)
        headway.save(GPT2(small if tiny else SIZES["124M"]), tokenizer, made)
    return str(made)


def lines_of(model: str, figures: Figures, peer: Peer | None, sizes: Sizes) -> list[str]:
    """The table."""
    lines = [
        f"{model}, prompts of {sizes.prompt} tokens, {sizes.new_tokens} new ones",
        f"first token alone  {figures.first_token_median:8.1f} ms (95 %: {figures.first_token_p95:.1f} ms), "
        f"{figures.engine_first_token_median:.1f} ms of the engine",
        f"one client         {figures.alone_rate:8.1f} tokens/s after the first, "
        f"{figures.engine_alone_rate:.1f} of the engine",
        f"{sizes.clients:2} clients         {figures.served_rate:8.1f} tokens/s, {figures.share_of_engine:.0%} "
        f"of the engine's own batch ({figures.engine_rate:.1f})",
        f"{sizes.phones:2} clients         {figures.room_rate:8.1f} tokens/s, the slowest has "
        f"{figures.room_slowest_over_median:.2f} of the median's rate, first token "
        f"{figures.room_first_token_median:.0f} ms (95 %: {figures.room_first_token_p95:.0f} ms)",
    ]
    if peer is not None:
        measured = f"{peer.rate:8.1f} tokens/s" if peer.rate is not None else f"not measured: {peer.why}"
        times = f", {figures.served_rate / peer.rate:.2f} times that here" if peer.rate else ""
        lines.append(f"llama.cpp's server {measured}{times}")
    return lines


def main(arguments: Sequence[str] | None = None) -> Figures:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random", help='a folder, a bundled name, or "random"')
    parser.add_argument("--bits", type=int, default=8, help="of the weights in the engine")
    parser.add_argument("--threads", type=int, default=None, help="of the engine, here and in the server")
    parser.add_argument("--work", type=Path, default=None, help="keeps what is made here for the next run")
    parser.add_argument("--peers-python", default=None, help="a Python with llama-cpp-python's server")
    parser.add_argument("--smoke", action="store_true", help="a short run of a tiny model, to see that it works")
    parser.add_argument("--json", action="store_true", help="print one object")
    given = parser.parse_args(arguments)
    sizes = SMOKE if given.smoke else Sizes()
    if given.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(given.threads)  # read by the engine, and by the server's process
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        made = given.smoke or given.model == "random"
        model = random_model(work, tiny=given.smoke) if made else given.model
        engine = Engine(model, given.bits)
        with serving([model], "--bits", str(given.bits)) as server:
            name = asyncio.run(request(server.port, "GET", "/v1/models")).body["data"][0]["id"]
            figures = measure(server, name, engine, engine.writer.tokenizer, sizes)
        peer = None
        if given.peers_python is not None:
            prompts = prompts_of(engine.writer.tokenizer, sizes.clients, sizes.prompt, 10)
            threads = getattr(engine.writer.model, "threads", 1)
            texts = [prompt.text for prompt in prompts]
            peer = llama_rate(given.peers_python, model, work, texts, new_tokens=sizes.new_tokens, threads=threads)
    if given.json:
        print(json.dumps({**asdict(figures), "llama_server": None if peer is None else asdict(peer)}))
    else:
        print("\n".join(lines_of(name, figures, peer, sizes)))
    return figures


if __name__ == "__main__":
    main()
