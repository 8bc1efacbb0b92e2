"""`headway demo`: the bundled models write, translate and read; a first look that needs no argument and no network."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from headway.cli.look import print_table
from headway.cli.models import stored_parameters
from headway.cli.output import count_text, note, print_json
from headway.cli.prompt import DEFAULT_MODEL
from headway.cli.translate import DEFAULT_MODEL as DEFAULT_TRANSLATOR
from headway.cli.write import print_pieces

PROMPTS = (
    "He said to them,",
    "It was a fine",
    "The people of the United States",
)
SENTENCE = "The man who lives in the big house is my brother."
MASKED = "The [MASK] of the Union"
SENTENCE_TO_JUDGE = "A warm and funny film, with a cast that never puts a foot wrong."
TOKENS = 60
SEED = 1


def demo(*, json: Annotated[bool, Parameter(help="Print one JSON object.")] = False) -> None:
    """See the bundled models continue a few prompts, translate a sentence, guess a word and judge; needs no network.

    Example: headway demo
    """
    from headway.formats.bundled import locate
    from headway.insight.alignment_grid import grid_of
    from headway.tasks.reader import Reader
    from headway.tasks.translator import Translator
    from headway.tasks.writer import Writer

    translation = Translator(DEFAULT_TRANSLATOR, device="cpu").translate(SENTENCE, alignment=True)
    assert translation.alignment is not None
    writer = Writer(DEFAULT_MODEL, device="cpu")
    guesses = Reader("reader", device="cpu").fill(MASKED, top=3)
    judgement = Reader("judge", device="cpu").classify(SENTENCE_TO_JUDGE)
    if json:
        results = writer.write(list(PROMPTS), max_new_tokens=TOKENS, temperature=0.8, top_k=40, seed=SEED)
        texts = [{"prompt": prompt, "text": result.text} for prompt, result in zip(PROMPTS, results, strict=True)]
        translated = {
            "model": DEFAULT_TRANSLATOR,
            "source": SENTENCE,
            "text": translation.text,
            "alignment": asdict(translation.alignment),
        }
        read = {
            "masked": MASKED,
            "guesses": [asdict(guess) for guess in guesses],
            "judged": SENTENCE_TO_JUDGE,
            "judgement": asdict(judgement),
        }
        print_json({"model": DEFAULT_MODEL, "seed": SEED, "results": texts, "translation": translated, **read})
        return
    size = count_text(stored_parameters(locate(DEFAULT_MODEL)))
    note(
        f"{DEFAULT_MODEL} is a GPT-2 of {size} parameters that comes with headway. It runs on this machine alone and "
        "writes one token after another; each is drawn from what it finds likely.\n"
    )
    for prompt in PROMPTS:
        print(prompt, end="", flush=True)
        print_pieces(writer.stream(prompt, max_new_tokens=TOKENS, temperature=0.8, top_k=40, seed=SEED), say_seed=False)
        print()
    note(
        f"\n{DEFAULT_TRANSLATOR} is a Transformer that reads an English sentence and writes it in French. A row for "
        "each word it writes: the darker, the more it read of the English word above.\n"
    )
    print(f"{SENTENCE}\n{translation.text}\n")
    print_table(grid_of(translation.alignment))
    note("\nreader is a small BERT: it reads both sides of a gap and guesses what stood there.\n")
    print(MASKED)
    for guess in guesses:
        print(f"  {guess.probability:4.0%}  {guess.token}")
    note("\njudge is that reader, fine-tuned on sentences from film reviews.\n")
    print(f"{SENTENCE_TO_JUDGE}\n  {judgement.probability:4.0%}  {judgement.label}")
    note(
        '\nNext: headway write "A prompt of yours", headway translate "A sentence of yours.", or train your own:\n'
        "      headway train my-texts/ -o my-model --minutes 10\n"
        "      headway train pairs.tsv -o my-translator --family transformer --minutes 30\n"
        "      headway serve    # the page: http://127.0.0.1:8321, where all of this can be watched"
    )
