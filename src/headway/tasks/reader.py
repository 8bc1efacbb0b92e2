"""Reader: a model that reads, with its tokenizer: it fills masks, classifies, tags, answers, and embeds."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from headway.errors import DataError, FormatError, UsageError
from headway.formats.bundled import locate
from headway.formats.folder import load
from headway.formats.reader_settings import ReaderSettings, read_reader_settings
from headway.models.registry import family_of
from headway.tasks.answering import Answer, answer
from headway.tasks.classifying import Classification, classify, label_logits
from headway.tasks.embedding import embed
from headway.tasks.engines import Asked, in_engine
from headway.tasks.filling import Fill, fill
from headway.tasks.placement import choose_device
from headway.tasks.reading import Opened, checked
from headway.tasks.tagging import Repair, Tagging, tag
from headway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray

Pair = tuple[str, str]


class Reader:
    """Opens a model folder once and reads texts with it; safe to call from one thread at a time."""

    def __init__(
        self,
        model: str | Path = "reader",
        *,
        device: "str | torch.device" = "auto",
        engine: str = "auto",
        dtype: "str | torch.dtype | None" = None,
        bits: int | None = None,
    ) -> None:
        """A model folder of ours or of Hugging Face, or a bundled model's name.

        engine, bits: see `engines.Asked`; "auto" on a CPU is the compiled engine where it knows the model. dtype:
        PyTorch's; None keeps the stored precision, but bfloat16 runs as float32 where the processor lacks it. What runs
        is logged. Raises FormatError for a folder that is damaged, holds a model that does not read, or has no
        tokenizer, ResourceError for an engine that is not there or does not know the model.
        """
        asked = Asked(engine=engine, bits=bits, dtype=dtype)
        folder = locate(model)
        network, tokenizer = load(folder, device=choose_device(device), dtype=dtype)
        if tokenizer is None:
            raise FormatError(f"{model} has no tokenizer, so no text can be given to it; put its files into the folder")
        _check_reads(network, str(model))
        self._join(in_engine(network, asked, reads=True), tokenizer, read_reader_settings(folder), str(model))

    @classmethod
    def of(
        cls, model: Any, tokenizer: Tokenizer, settings: ReaderSettings | None = None, *, name: str = "the model"
    ) -> "Reader":
        """A reader of a model in memory, which is put in evaluation mode; settings: what its folder would say."""
        _check_reads(model, name)
        reader = cls.__new__(cls)
        reader._join(model.eval(), tokenizer, settings or ReaderSettings(), name)
        return reader

    @property
    def model(self) -> Any:
        """The model, in evaluation mode, or the compiled engine's."""
        return self._opened.model

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._opened.tokenizer

    @property
    def settings(self) -> ReaderSettings:
        """What the folder says of labels, pooling and calibration."""
        return self._opened.settings

    def fill(self, text: str, *, top: int = 5) -> tuple[Fill, ...]:
        """The `top` likeliest tokens for each [MASK] of the text, mask by mask, with their probabilities.

        Raises UsageError for a text without a mask, FormatError for a model without a masked-word head.
        """
        return fill(self._opened, text, top=top)

    @overload
    def classify(
        self, text: str | Pair, *, error_rate: float | None = ..., threshold: float | None = ...
    ) -> Classification: ...

    @overload
    def classify(
        self, text: list[str] | list[Pair], *, error_rate: float | None = ..., threshold: float | None = ...
    ) -> list[Classification]: ...

    def classify(
        self,
        text: str | Pair | list[str] | list[Pair],
        *,
        error_rate: float | None = None,
        threshold: float | None = None,
    ) -> Classification | list[Classification]:
        """A text's label with calibrated probabilities; a list in gives a list out, each as if alone.

        A reader of pairs takes (first, second). error_rate: abstain so that at most this share of the answers is wrong,
        as measured on validation data; threshold: abstain below this probability. A long text is read in windows, whose
        log-probabilities are averaged. Raises UsageError for a reader without labels, DataError for an empty text.
        """
        many: list[str | Pair] = list(text) if isinstance(text, list) else [text]
        texts, seconds = self._texts(many)
        found = classify(self._opened, texts, seconds, error_rate=error_rate, threshold=threshold)
        return found if isinstance(text, list) else found[0]

    @overload
    def tag(self, text: str, *, repair: Repair = ...) -> Tagging: ...

    @overload
    def tag(self, text: list[str], *, repair: Repair = ...) -> list[Tagging]: ...

    def tag(self, text: str | list[str], *, repair: Repair = "lenient") -> Tagging | list[Tagging]:
        """The spans and words of a text with their labels, by characters of the text; a list in gives a list out.

        repair: "lenient" takes every tag but O as part of some span, "strict" only spans whose tags keep the scheme.
        Raises UsageError for a reader that does not tag, DataError for an empty text.
        """
        self._check_task("tag", "tags no words")
        many = checked(text if isinstance(text, list) else [text])
        found = tag(self._opened, many, repair=repair)
        return found if isinstance(text, list) else found[0]

    def answer(self, question: str, context: str, *, no_answer: bool = True) -> Answer:
        """The stretch of the context that answers the question; the context may be of any length.

        no_answer: False finds one even where the reader thinks that there is none. Raises UsageError for a reader that
        does not answer, DataError for an empty question or context.
        """
        return self.answers([(question, context)], no_answer=no_answer)[0][0]

    def answers(self, asked: Sequence[Pair], *, top: int = 1, no_answer: bool = True) -> list[tuple[Answer, ...]]:
        """As `answer`, for many (question, context) at once: the `top` likeliest answers of each, none overlapping."""
        self._check_task("answer", "answers no questions")
        for question, context in asked:
            for text, what in ((question, "question"), (context, "context")):
                if not text.strip():
                    raise DataError(f"the {what} is empty; an answer takes a question and a text that it stands in")
        return answer(self._opened, asked, top=top, no_answer=no_answer)

    @overload
    def embed(
        self, text: str, *, pooling: Literal["mean", "cls"] | None = ..., normalise: bool | None = ...
    ) -> "NDArray[numpy.float32]": ...

    @overload
    def embed(
        self, text: Iterable[str], *, pooling: Literal["mean", "cls"] | None = ..., normalise: bool | None = ...
    ) -> "NDArray[numpy.float32]": ...

    def embed(
        self,
        text: str | Iterable[str],
        *,
        pooling: Literal["mean", "cls"] | None = None,
        normalise: bool | None = None,
    ) -> "NDArray[numpy.float32]":
        """A text as a vector (D,), or texts as (N, D), float32.

        pooling: None is the folder's, else the mean; normalise: to length 1, None as the folder says. Raises DataError
        for an empty text.
        """
        texts = checked([text] if isinstance(text, str) else text)
        if not texts:
            raise UsageError("there is no text to embed")
        vectors = embed(
            self._opened,
            texts,
            pooling=pooling or self.settings.pooling,
            normalise=self.settings.normalise if normalise is None else normalise,
        )
        return vectors[0] if isinstance(text, str) else vectors

    def logits(self, texts: Sequence[str] | Sequence[Pair]) -> "NDArray[numpy.float64]":
        """The head's own numbers (N, L) for texts or pairs, before the temperature."""
        firsts, seconds = self._texts(list(texts))
        found: NDArray[numpy.float64] = label_logits(self._opened, firsts, seconds)[0].numpy()
        return found

    def _texts(self, many: Sequence[str | Pair]) -> tuple[list[str], list[str] | None]:
        settings = self.settings
        self._check_task("classify", "has no labels for texts")
        pairs = [one for one in many if not isinstance(one, str)]
        if pairs and len(pairs) < len(many):
            raise UsageError("give texts or pairs of texts, not both at once")
        if bool(pairs) != settings.pair and many:
            wanted = "pairs of texts, (first, second)" if settings.pair else "single texts"
            raise UsageError(f"{self._opened.name} was trained on {wanted}; give it those")
        if pairs:
            return checked(first for first, _ in pairs), checked(second for _, second in pairs)
        return checked(one for one in many if isinstance(one, str)), None

    def _check_task(self, task: str, what: str) -> None:
        if self.settings.task != task:
            own = f"; its own verb is headway {self.settings.task}" if self.settings.task else ""
            raise UsageError(
                f"{self._opened.name} {what}{own}\n"
                f"Fine-tune one that does: headway train DATA --from reader --task {task}"
            )

    def _join(self, model: Any, tokenizer: Tokenizer, settings: ReaderSettings, name: str) -> None:
        self._opened = Opened(name=name, model=model, tokenizer=tokenizer, settings=settings)


def _check_reads(model: Any, name: str) -> None:
    family = family_of(model)
    if not family.encoder or family.reads_source:
        verb = "headway translate" if family.reads_source else "headway write"
        raise FormatError(f"{name} is a {family.name}, which is no reader; {verb} uses it")
