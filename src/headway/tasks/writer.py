"""Writer: a prompt in, its continuation out. Joins a tokenizer, a model and decoding; the model may be any decoder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from headway.decoding.choice import Choice
from headway.decoding.draft import DraftModel
from headway.decoding.feed import device_of, takes_arrays
from headway.decoding.scoring import score
from headway.decoding.speculation import Lookup, NewDrafter
from headway.errors import FormatError, UsageError
from headway.models.protocol import AnyDecoder
from headway.tasks.continuation import Piece
from headway.tasks.drafting import require_same_ids
from headway.tasks.engines import Asked
from headway.tasks.opening import open_writer
from headway.tasks.request import Request, Search, draw_seed
from headway.tasks.writing import Result, stream_one, write_all
from headway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

Prompts = list[str] | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Score:
    """The tokens of a text and the log-probability of each given those before it; None for the first."""

    ids: list[int]
    logprobs: list[float | None]

    @property
    def total(self) -> float:
        """The text's log-probability after its first token."""
        return sum(logprob for logprob in self.logprobs if logprob is not None)


class Writer:
    """Continues text with a model folder, a bundled model or a model in memory."""

    def __init__(
        self,
        model: str | Path,
        *,
        device: "str | torch.device" = "auto",
        engine: str = "auto",
        dtype: "str | torch.dtype | None" = None,
        bits: int | None = None,
    ) -> None:
        """Open a model folder, or a bundled model by name; an existing path wins over a name.

        device: "auto" is a CUDA device where there is one, else the CPU. engine, bits: see `engines.Asked`; "auto" on
        a CPU is the compiled engine where it knows the model. dtype: PyTorch's; None keeps the stored precision,
        except that bfloat16 weights run as float32 on a processor without bfloat16 arithmetic. What runs is logged.
        The default temperature is the folder's (generation_config.json), else 1. Raises FormatError where the folder
        has no tokenizer, UsageError for a model that reads a source, ResourceError for a device or an engine that is
        not there.
        """
        opened = open_writer(model, device, Asked(engine=engine, bits=bits, dtype=dtype))
        self._join(opened.model, opened.tokenizer, _temperature(opened.generation, model))

    @classmethod
    def of(cls, model: AnyDecoder, tokenizer: Tokenizer, *, temperature: float = 1.0) -> "Writer":
        """A writer of a model in memory, which is put in evaluation mode; `temperature` is its default."""
        writer = cls.__new__(cls)
        writer._join(model, tokenizer, temperature)
        return writer

    # The overloads tell a checker what comes back; with a list and samples > 1 it is a list of lists.
    # More than six parameters: each is a word of the public interface, the same as on the command line.
    @overload
    def write(  # type: ignore[overload-overlap]  # one prompt, one sample: told apart by the value of samples
        self,
        prompt: str,
        *,
        max_new_tokens: int = ...,
        temperature: float | None = ...,
        top_k: int | None = ...,
        top_p: float | None = ...,
        min_p: float | None = ...,
        repetition_penalty: float = ...,
        frequency_penalty: float = ...,
        presence_penalty: float = ...,
        bias: Mapping[int, float] | None = ...,
        seed: int | None = ...,
        stop: str | Sequence[str] = ...,
        samples: Literal[1] = ...,
        beam: int | None = ...,
        length_penalty: float = ...,
        logprobs: int | None = ...,
        echo: bool = ...,
        speculate: "str | Path | Writer | None" = ...,
    ) -> Result: ...

    @overload
    def write(
        self,
        prompt: str | Prompts,
        *,
        max_new_tokens: int = ...,
        temperature: float | None = ...,
        top_k: int | None = ...,
        top_p: float | None = ...,
        min_p: float | None = ...,
        repetition_penalty: float = ...,
        frequency_penalty: float = ...,
        presence_penalty: float = ...,
        bias: Mapping[int, float] | None = ...,
        seed: int | None = ...,
        stop: str | Sequence[str] = ...,
        samples: int = ...,
        beam: int | None = ...,
        length_penalty: float = ...,
        logprobs: int | None = ...,
        echo: bool = ...,
        speculate: "str | Path | Writer | None" = ...,
    ) -> list[Any]: ...

    def write(
        self,
        prompt: str | Prompts,
        *,
        max_new_tokens: int = 200,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        bias: Mapping[int, float] | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        samples: int = 1,
        beam: int | None = None,
        length_penalty: float = 1.0,
        logprobs: int | None = None,
        echo: bool = False,
        speculate: "str | Path | Writer | None" = None,
    ) -> Result | list[Any]:
        """Continue a prompt, or each of a list of prompts as if it were alone; a list in gives a list out.

        The sampling arguments are those of `Choice`; temperature None is the model's default. seed: None draws one,
        and `Result.seed` says which. samples: more than 1 gives a list of that many continuations a prompt. beam: a
        beam search of that width instead of sampling, so it excludes the sampling arguments, samples and logprobs;
        stop strings then cut the best continuation. logprobs: how many alternatives to name at each token. A prompt
        longer than the context is not an error (see `Result.windowed`), except with echo, which scores the prompt and
        raises ContextError. An empty prompt starts from the end-of-text token. speculate: "lookup", or a draft model
        (a folder, a bundled model or a Writer) with the same ids: the same tokens, in fewer steps where the proposals
        are right; not with beam. Raises UsageError for a draft model of another vocabulary.
        """
        choice = Choice(
            temperature=self.temperature if temperature is None else temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            frequency_penalty=frequency_penalty,
            presence_penalty=presence_penalty,
            bias=bias or {},
            seed=draw_seed() if seed is None else seed,
        )
        request = Request(
            choice=choice,
            max_new_tokens=max_new_tokens,
            stop=stop,
            logprobs=logprobs,
            samples=samples,
            search=None if beam is None else Search(width=beam, length_penalty=length_penalty),
            echo=echo,
            drafter=self._drafter(speculate),
        )
        if beam is None and length_penalty != 1.0:
            raise UsageError("length_penalty is of a beam search alone\nSay beam too, or leave it out.")
        if beam is not None and temperature is not None:
            raise UsageError("beam excludes temperature: a beam search draws nothing\nLeave out one of the two.")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        written = write_all(self.model, self.tokenizer, prompts, request)
        answers: list[Any] = [several[0] if samples == 1 else several for several in written]
        return answers[0] if isinstance(prompt, str) else answers

    # More than six parameters: the same words as write's.
    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 200,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        bias: Mapping[int, float] | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        logprobs: int | None = None,
        speculate: "str | Path | Writer | None" = None,
    ) -> Iterator[Piece]:
        """The pieces of one continuation as they are written; together they are exactly what `write` returns.

        The last piece alone has a finish reason; steps that add neither text nor ids are left out. Arguments are
        checked at the call, not at the first piece. Closing the iterator ends the row.
        """
        choice = Choice(
            temperature=self.temperature if temperature is None else temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            frequency_penalty=frequency_penalty,
            presence_penalty=presence_penalty,
            bias=bias or {},
            seed=draw_seed() if seed is None else seed,
        )
        request = Request(
            choice=choice,
            max_new_tokens=max_new_tokens,
            stop=stop,
            logprobs=logprobs,
            drafter=self._drafter(speculate),
        )
        return stream_one(self.model, self.tokenizer, prompt, request)

    def score(self, text: str) -> Score:
        """The log-probability of each token of a text under the model's own distribution.

        Raises ContextError where the text is longer than the model's context.
        """
        ids = self.tokenizer.encode(text)
        return Score(ids=ids, logprobs=score(self.model, ids))

    def _join(self, model: AnyDecoder, tokenizer: Tokenizer, temperature: float) -> None:
        if not takes_arrays(model):  # the compiled engine's models have one mode, and need no PyTorch
            import torch

            if isinstance(model, torch.nn.Module):
                model.eval()
        self.model = model
        self.tokenizer = tokenizer
        self.temperature = temperature
        self._draft: tuple[object, Writer] | None = None  # what it was called, and the model

    def _drafter(self, speculate: "str | Path | Writer | None") -> NewDrafter | None:
        if speculate is None:
            return None
        if speculate == "lookup":
            return Lookup
        if not isinstance(speculate, (str, Path, Writer)):
            raise UsageError(f'speculate takes "lookup", a draft model or None, but got {speculate!r}')
        if self._draft is None or self._draft[0] != speculate:  # opened and compared once, not at every call
            draft = speculate if isinstance(speculate, Writer) else self._open_draft(speculate)
            require_same_ids(self.tokenizer, draft.tokenizer)
            self._draft = (speculate, draft)
        return partial(DraftModel, self._draft[1].model, vocabulary=self.tokenizer.size)

    def _open_draft(self, draft: str | Path) -> "Writer":
        from headway.formats.bundled import locate

        try:
            folder = locate(draft)
        except FormatError as error:
            raise FormatError(f'speculate takes "lookup" or a draft model, and {error}') from error
        return Writer(folder, device=device_of(self.model))


def _temperature(generation: Mapping[str, object], folder: str | Path) -> float:
    value = generation.get("temperature")
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise FormatError(
            f"temperature in generation_config.json of {folder} must be a number of at least 0, but is {value!r}\n"
            "Correct that file, or delete it."
        )
    return float(value)
