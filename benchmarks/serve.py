"""What the server costs: the first token, 16 clients at once, the fairness of 50, and refusals at twice the capacity.

One command: `python benchmarks/serve.py` (the bundled writer; another with `--model FOLDER`, or a model of random
weights of GPT-2's smallest size with `--model random`). The server runs in a process of its own, the clients reach it
over loopback, and the engine's own batch is measured in this process before. `--smoke` is a short run of a tiny model.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from served import Answer, Server, request, serving


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    prompt: int = 50
    first_tokens: int = 30
    clients: int = 16
    phones: int = 50
    new_tokens: int = 64
    flood: int = 700  # above twice the default rows and queue
    flood_tokens: int = 16


SMOKE = Sizes(prompt=7, first_tokens=3, clients=3, phones=5, new_tokens=8, flood=30, flood_tokens=4)


@dataclass(frozen=True)
class Figures:
    """What was found; times in milliseconds, rates in tokens per second."""

    first_token_median: float
    first_token_p95: float
    alone_rate: float
    engine_batch_rate: float
    served_rate: float
    share_of_engine: float
    slowest_over_median: float
    phones_rate: float
    accepted: int
    refused: int
    lost: int
    refusal_p99: float
    memory_growth: float


def prompts_of(count: int, length: int, vocabulary: int) -> list[list[int]]:
    """Different prompts of random tokens, so that no cache of prefixes helps."""
    draw = random.Random(11)
    return [[draw.randrange(min(vocabulary, 200)) for _ in range(length)] for _ in range(count)]


def job(model: str, prompt: Sequence[int], new_tokens: int) -> dict[str, Any]:
    """A request that writes exactly so many tokens, unless the end of the text comes first."""
    return {
        "model": model,
        "prompt": list(prompt),
        "max_tokens": new_tokens,
        "temperature": 1.0,
        "seed": 1,
        "stream": True,
        "user": str(prompt[:4]),
    }


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


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def batch_rate(folder: str, prompts: Sequence[Sequence[int]], new_tokens: int) -> float:
    """The engine's own batch in this process: tokens per second, prompts included in the time."""
    from headway import Writer
    from headway.decoding.choice import Choice
    from headway.decoding.rows import Rows

    writer = Writer(folder)
    rates = []
    for _ in range(3):
        began, written = time.perf_counter(), 0
        rows = Rows(writer.model, vocabulary=writer.tokenizer.size)
        for prompt in prompts:
            rows.add(list(prompt), Choice(temperature=1.0, seed=1), max_new_tokens=new_tokens)
        while len(rows):
            written += len(rows.step())
        rates.append(written / (time.perf_counter() - began))
    return statistics.median(rates)


async def measure(server: Server, model: str, vocabulary: int, engine_rate: float, sizes: Sizes) -> Figures:
    """Everything, one after another. Raises RuntimeError where an answer that should come did not."""
    port = server.port
    alone = []
    for prompt in prompts_of(sizes.first_tokens + 1, sizes.prompt, vocabulary):
        alone += (await together(port, [job(model, prompt, sizes.new_tokens)]))[0]
    firsts = [1e3 * answer.times[0] for answer in alone[1:] if answer.times]  # the first request warms up
    if len(firsts) < sizes.first_tokens:
        raise RuntimeError(f"a request alone was not answered: {alone[-1].status} {alone[-1].body or alone[-1].error}")
    prompts = prompts_of(sizes.clients, sizes.prompt, vocabulary)
    runs = [await together(port, [job(model, prompt, sizes.new_tokens) for prompt in prompts]) for _ in range(3)]
    served = statistics.median(tokens_of(answers) / seconds for answers, seconds in runs)
    phones = prompts_of(sizes.phones, sizes.prompt, vocabulary)
    room, seconds = await together(port, [job(model, prompt, sizes.new_tokens) for prompt in phones])
    rates = sorted(rate_of(answer) for answer in room)
    before = server.memory()
    flood = prompts_of(sizes.flood, sizes.prompt, vocabulary)
    crowd, _ = await together(port, [job(model, prompt, sizes.flood_tokens) for prompt in flood])
    refused = [answer for answer in crowd if answer.status == 429]
    accepted = [answer for answer in crowd if answer.status == 200]
    return Figures(
        first_token_median=statistics.median(firsts),
        first_token_p95=percentile(firsts, 0.95),
        alone_rate=statistics.median(rate_of(answer) for answer in alone[1:]),
        engine_batch_rate=engine_rate,
        served_rate=served,
        share_of_engine=served / engine_rate,
        slowest_over_median=rates[0] / max(statistics.median(rates), 1e-9),
        phones_rate=tokens_of(room) / seconds,
        accepted=len(accepted),
        refused=len(refused),
        lost=len(crowd) - len(refused) - sum(answer.finished for answer in accepted),
        refusal_p99=1e3 * percentile([answer.seconds for answer in refused], 0.99),
        memory_growth=(server.memory() - before) / max(before, 1),
    )


def random_model(folder: Path, *, tiny: bool) -> str:
    """A GPT-2 with random weights and the shipped vocabulary: of the smallest published size, or tiny."""
    import torch

    import headway
    from headway.models.gpt2 import GPT2, SIZES, GPT2Config

    torch.manual_seed(0)
    tokenizer = headway.Tokenizer.load("gpt2")
    small = GPT2Config(vocabulary=tokenizer.size, context=256, width=16, n_layers=2, n_heads=2)
    headway.save(GPT2(small if tiny else SIZES["124M"]), tokenizer, folder / "random")
    return str(folder / "random")


def lines_of(model: str, figures: Figures, sizes: Sizes) -> list[str]:
    """The table."""
    return [
        f"{model}, prompts of {sizes.prompt} tokens, {sizes.new_tokens} new ones",
        f"first token alone         {figures.first_token_median:9.1f} ms   (95 %: {figures.first_token_p95:.1f} ms)",
        f"one client                {figures.alone_rate:9.1f} tokens/s",
        f"{sizes.clients:2} clients                {figures.served_rate:9.1f} tokens/s, "
        f"{figures.share_of_engine:.0%} of the engine's own batch ({figures.engine_batch_rate:.1f})",
        f"{sizes.phones:2} clients                {figures.phones_rate:9.1f} tokens/s, "
        f"the slowest has {figures.slowest_over_median:.2f} of the median's rate",
        f"{sizes.flood} requests at once     {figures.accepted} accepted, {figures.refused} refused, "
        f"{figures.lost} lost; refusals within {figures.refusal_p99:.1f} ms (99 %), "
        f"memory {figures.memory_growth:+.1%}",
    ]


def main(arguments: Sequence[str] | None = None) -> Figures:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="writer", help='a folder, a bundled name, or "random"')
    parser.add_argument("--smoke", action="store_true", help="a short run of a tiny model, to see that it works")
    parser.add_argument("--json", action="store_true", help="print one object")
    given = parser.parse_args(arguments)
    sizes = SMOKE if given.smoke else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        made = given.smoke or given.model == "random"
        model = random_model(Path(folder), tiny=given.smoke) if made else given.model
        prompts = prompts_of(sizes.clients, sizes.prompt, 200)
        rate = batch_rate(model, prompts, sizes.new_tokens)
        with serving([model]) as server:
            listed = asyncio.run(request(server.port, "GET", "/v1/models")).body
            name, vocabulary = listed["data"][0]["id"], listed["data"][0]["headway"]["vocabulary"]
            figures = asyncio.run(measure(server, name, vocabulary, rate, sizes))
    if given.json:
        print(json.dumps(asdict(figures)))
    else:
        print("\n".join(lines_of(name, figures, sizes)))
    return figures


if __name__ == "__main__":
    main()
