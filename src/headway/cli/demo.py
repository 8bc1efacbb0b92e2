"""`headway demo`: the bundled model writes, so that a first look needs no argument and no network."""

from typing import Annotated

from cyclopts import Parameter

from headway.cli.output import count_text, note, print_json
from headway.cli.prompt import DEFAULT_MODEL
from headway.cli.write import print_pieces

PROMPTS = (
    "He said to them,",
    "It was a fine",
    "The people of the United States",
)
TOKENS = 60
SEED = 1


def demo(*, json: Annotated[bool, Parameter(help="Print one JSON object.")] = False) -> None:
    """See the bundled model continue a few prompts; needs no network.

    Example: headway demo
    """
    from headway.tasks.writer import Writer

    writer = Writer(DEFAULT_MODEL, device="cpu")
    if json:
        results = writer.write(list(PROMPTS), max_new_tokens=TOKENS, temperature=0.8, top_k=40, seed=SEED)
        texts = [{"prompt": prompt, "text": result.text} for prompt, result in zip(PROMPTS, results, strict=True)]
        print_json({"model": DEFAULT_MODEL, "seed": SEED, "results": texts})
        return
    network = writer.model
    note(
        f"{DEFAULT_MODEL} is a GPT-2 of {count_text(_parameters(network))} parameters that comes with headway. It runs "
        "on this machine alone and writes one token after another; each is drawn from what it finds likely.\n"
    )
    for prompt in PROMPTS:
        print(prompt, end="", flush=True)
        print_pieces(writer.stream(prompt, max_new_tokens=TOKENS, temperature=0.8, top_k=40, seed=SEED), say_seed=False)
        print()
    note(
        'Next: headway write "A prompt of yours", or train a model on your own text:\n'
        "      headway train my-texts/ -o my-model --minutes 10"
    )


def _parameters(network: object) -> int:
    from torch.nn import Module

    assert isinstance(network, Module)
    return sum(parameter.numel() for parameter in network.parameters())
