"""The process of one lesson: trains a small writer on the text in its folder and tells how it goes, a JSON line each.

python -m headway.serve.lesson_process FOLDER, with a `LessonOrder` as JSON on the first line of its input; the input
stays open, and where it ends (the server is gone) the process ends. What it tells is listed in serve/lessons.py.
"""

import base64
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from headway.errors import HeadwayError, ResourceError
from headway.settings import from_dict

if TYPE_CHECKING:
    from torch import nn

    from headway.text.tokenizer import Tokenizer
    from headway.training.report import Evaluation, Progress

TEXT, MODEL = "pasted-text.txt", "model"

NICENESS = 10

# The size: on two slow cores the first words stand there after ten seconds (docs/serve.md, "Lessons").
WIDTH, LAYERS, HEADS, CONTEXT, ROWS = 128, 3, 4, 128, 8
# A text of so many bytes fills a vocabulary of 1,024; a smaller one would learn most of its words by heart as pieces.
VOCABULARY, SMALL_VOCABULARY, SMALL_TEXT = 1_024, 512, 30_000

LOOK_SECONDS = 10.0
TELL_SECONDS = 0.5
PICTURE = 32  # tokens, and so cells, of a head's map
SAMPLE_TOKENS = 60
_PROMPT_WORDS, _PROMPT_CHARACTERS = 3, 24


@dataclass(frozen=True, kw_only=True)
class LessonOrder:
    """What a lesson is to do: seconds of training, its seed, threads, and the most bytes of memory it may hold.

    steps: so many in place of the seconds, for a lesson that is to come out the same again; None: the seconds count.
    """

    seconds: float
    seed: int
    threads: int
    memory: int
    steps: int | None = None


class Teller:
    """Tells a run to the parent process, and looks at the model: its sample, and the map of one head."""

    def __init__(self, told: IO[str], order: LessonOrder, text: str) -> None:
        self._told = told
        self._order = order
        self._text = text
        self._prompt = prompt_of(text)
        self._said_at = -TELL_SECONDS
        self._untold: Progress | None = None
        self._step = 0
        self._first: tuple[int, Any] | None = None  # the maps before the first step
        self._watched: tuple[int, int] | None = None

    def tell(self, event: Mapping[str, object]) -> None:
        """Write one line; where nobody listens any more, there is nothing left to do."""
        try:
            self._told.write(json.dumps(event) + "\n")
            self._told.flush()
        except OSError:
            os._exit(1)

    def note(self, text: str) -> None:
        """A choice made."""
        self.tell({"note": text})

    def progress(self, progress: "Progress") -> None:
        """A step, at most every half second. Raises ResourceError where the process holds more memory than it may."""
        self._step = progress.step
        if progress.memory > self._order.memory:
            raise ResourceError(
                f"a lesson may hold {self._order.memory:,} bytes of memory, but holds {progress.memory:,}\n"
                f"Give it a shorter text."
            )
        self._untold = progress
        if time.monotonic() - self._said_at >= TELL_SECONDS:
            self._tell_progress()

    def _tell_progress(self) -> None:
        progress = self._untold
        if progress is None:
            return
        self._untold, self._said_at = None, time.monotonic()
        self.tell(
            {
                "step": progress.step,
                "loss": progress.loss,
                "bits_per_byte": progress.bits_per_byte,
                "tokens_per_s": progress.tokens_per_second,
                "seconds_left": progress.seconds_left,
            }
        )

    def evaluation(self, evaluation: "Evaluation") -> None:
        """The text kept aside was measured."""
        self._step = evaluation.step
        self._tell_progress()
        bits = evaluation.validation_bits_per_byte
        self.tell({"kept_aside": {"step": evaluation.step, "bits_per_byte": bits, "best": evaluation.best}})

    def sample(self, text: str) -> None:
        """Nothing: the sample is written in `look`."""

    def look(self, model: "nn.Module", tokenizer: "Tokenizer") -> None:
        """A sample from the fixed prompt and seed, and a head's map."""
        from headway.tasks.writer import Writer

        if self._first is None:
            self._tell_model(model, tokenizer)
        writer = Writer.of(model, tokenizer)  # type: ignore[arg-type]
        written = writer.write(
            self._prompt, max_new_tokens=SAMPLE_TOKENS, temperature=0.8, top_k=40, seed=self._order.seed
        )
        self.tell({"sample": self._prompt + written.text, "prompt": self._prompt, "at_step": self._step})
        self._tell_head(model, tokenizer)

    def _tell_model(self, model: "nn.Module", tokenizer: "Tokenizer") -> None:
        self.tell(
            {
                "model": {
                    "layers": LAYERS,
                    "heads": HEADS,
                    "width": WIDTH,
                    "context": CONTEXT,
                    "vocabulary": tokenizer.size,
                    "parameters": sum(parameter.numel() for parameter in model.parameters()),
                    "text_bytes": len(self._text.encode()),
                    "seconds": self._order.seconds,
                    "seed": self._order.seed,
                }
            }
        )

    def _tell_head(self, model: "nn.Module", tokenizer: "Tokenizer") -> None:
        """The map over the text's first tokens: of the head that was sharpest at the first look after learning began.

        Before the first step all heads look alike, so that picture is told once the head is known.
        """
        from headway.insight.forming_head import attention_of, sharpest_head

        ids = tokenizer.encode(self._text[: 64 * PICTURE])[:PICTURE]
        if len(ids) < 2:
            return
        maps = attention_of(model, ids)
        if self._first is None:
            self._first = (self._step, maps)
            return
        if self._watched is None:
            self._watched = sharpest_head(maps)
            self._tell_map(*self._first, ids, tokenizer)
        self._tell_map(self._step, maps, ids, tokenizer)

    def _tell_map(self, step: int, maps: Any, ids: list[int], tokenizer: "Tokenizer") -> None:
        from headway.insight.forming_head import head_map

        assert self._watched is not None
        found = head_map(maps, *self._watched, side=PICTURE)
        self.tell(
            {
                "head": {
                    "layer": found.layer,
                    "head": found.head,
                    "side": found.side,
                    "data": base64.b64encode(found.data).decode("ascii"),
                    "at_step": step,
                    "tokens": [tokenizer.decode([number]) for number in ids],
                }
            }
        )


def prompt_of(text: str) -> str:
    """The text's own first words: at most three and at most 24 characters, for scripts without blanks."""
    return " ".join(text.split(maxsplit=_PROMPT_WORDS)[:_PROMPT_WORDS])[:_PROMPT_CHARACTERS]


def run(teller: Teller, order: LessonOrder, n_bytes: int) -> None:
    """Train in the current folder, from TEXT into MODEL, and tell the end. Raises the errors of training."""
    import torch

    from headway.training.recipe import BudgetSettings, DataSettings, Recipe, TokenizerSettings, TrainSettings
    from headway.training.run import train

    torch.set_num_threads(order.threads)
    recipe = Recipe(
        data=DataSettings(path=TEXT),
        output=MODEL,
        tokenizer=TokenizerSettings(vocabulary=VOCABULARY if n_bytes >= SMALL_TEXT else SMALL_VOCABULARY),
        model={"family": "gpt2", "width": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "context": CONTEXT},
        train=TrainSettings(
            seed=order.seed,
            batch_size=ROWS,
            device="cpu",
            precision="float32",
            compile=False,
            patience=0,
            log_every=1,
            evaluations=max(2, round(order.seconds / LOOK_SECONDS)),
            validation_tokens=4_096,
            sample_tokens=0,
        ),
        budget=BudgetSettings(minutes=order.seconds / 60.0 if order.steps is None else None, steps=order.steps),
    )
    result = train(recipe, reporter=teller, look=teller.look)
    teller.tell(
        {
            "done": {
                "steps": result.steps,
                "seconds": result.seconds,
                "bits_per_byte": result.validation_bits_per_byte,
                "best_step": result.best_step,
            }
        }
    )


def main(folder: str) -> int:
    """Run the lesson; 0 where it came to its end."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    # What libraries print must not mix with what is told: standard output becomes standard error.
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order = from_dict(LessonOrder, json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(folder)
    text = Path(TEXT).read_text(encoding="utf-8")
    teller = Teller(told, order, text)
    try:
        run(teller, order, len(text.encode()))
    except HeadwayError as error:
        teller.tell({"error": {"message": str(error), "code": "failed"}})
        return 1
    except MemoryError:
        teller.tell(
            {"error": {"message": "the memory is used up\nGive a shorter text, or try again.", "code": "failed"}}
        )
        return 1
    return 0


def _end_with_parent() -> None:
    """Wait for the end of the input, past Python's own buffer, whose lock would be in the way of the process's end."""
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
