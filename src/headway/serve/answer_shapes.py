"""What the routes give, as the OpenAPI document shows it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Given(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class ErrorBody(_Given):
    """OpenAI's shape of an error."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(_Given):
    """What every refusal gives."""

    error: ErrorBody


class Logprobs(_Given):
    """OpenAI's; natural logarithms, None for a prompt's first token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(_Given):
    """OpenAI's, and the ids of what was written. In a stream finish_reason comes with a choice's last event."""

    index: int
    text: str
    ids: list[int]
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length"] | None = None


class Usage(_Given):
    """Tokens read and written."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int | None = None


class Completion(_Given):
    """OpenAI's completion, and the seed: with it, the same request on the same fingerprint gives the same texts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    seed: int
    choices: list[CompletionChoice]
    usage: Usage | None = None
    inspection: dict[str, Any] | None = None


class _List(_Given):
    object: Literal["list"] = "list"


class _Read(_List):
    model: str
    inspection: dict[str, Any] | None = None


class Card(_Given):
    """A model card; its text is Markdown."""

    title: str
    text: str
    licence: str


class CurvePoint(_Given):
    """How well sources of so many words are translated."""

    words: float
    bleu: float


class ModelFacts(_Given):
    """What a model is. engine, bits, kernels and threads: of a writer that is open."""

    family: str
    verbs: list[str]
    task: str | None
    parameters: int
    layers: int | None
    heads: int | None
    vocabulary: int | None
    context: int | None
    engine: Literal["compiled", "torch"] | None
    bits: int | None
    kernels: str | None
    threads: int | None
    languages: list[str] = Field(description="Of a translator: from, to.")
    labels: list[str]
    card: Card
    length_curve: list[CurvePoint] | None


class ModelEntry(_Given):
    """OpenAI's model, and what headway knows of it."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "headway"
    headway: ModelFacts


class ModelList(_List):
    """The models served."""

    data: list[ModelEntry]


class EmbeddingEntry(_Given):
    """One text's vector; base64 of little-endian 32-bit numbers where that was asked for."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingList(_Read):
    """OpenAI's embeddings."""

    data: list[EmbeddingEntry]
    usage: Usage


class WordAlignment(_Given):
    """Target word after source word: how much of each was read; rows sum to 1."""

    source: list[str]
    target: list[str]
    weights: list[list[float]]


class TranslationEntry(_Given):
    """One text's translation. alignment: None too where the model reads a fixed vector and aligns nothing."""

    text: str
    score: float
    finish_reason: Literal["stop", "length"]
    alignment: WordAlignment | None


class TranslationList(_Read):
    """In the order of the texts."""

    data: list[TranslationEntry]


class FillEntry(_Given):
    """One token for one mask, the most probable first; text is the whole text with it."""

    place: int
    token: str
    probability: float
    id: int
    text: str


class FillList(_Read):
    """Mask after mask."""

    data: list[FillEntry]


class LabelEntry(_Given):
    """label: None where no label of several is probable enough. windows: in how many pieces the text was read."""

    label: str | None
    probability: float
    probabilities: dict[str, float]
    labels: list[str]
    windows: int


class LabelList(_Read):
    """In the order of the texts."""

    data: list[LabelEntry]


class Span(_Given):
    """A stretch of a text, from its first character to one past its last."""

    label: str
    text: str
    start: int
    end: int
    score: float


class Word(_Given):
    """A word and its tag."""

    text: str
    start: int
    end: int
    tag: str
    probability: float


class TagEntry(_Given):
    """One text's."""

    spans: list[Span]
    words: list[Word]


class TagList(_Read):
    """In the order of the texts."""

    data: list[TagEntry]


class AnswerEntry(_Given):
    """A stretch of the context; text is empty where there is no answer."""

    text: str
    start: int
    end: int
    score: float
    no_answer_score: float
    probability: float


class AnswerList(_Read):
    """The best answer alone."""

    data: list[AnswerEntry]


class TokenEntry(_Given):
    """A token as it is shown."""

    id: int
    text: str


class TokenList(_Given):
    """A text's tokens in order."""

    tokens: list[TokenEntry]


class CandidateEntry(TokenEntry):
    """probability: the model's own. kept_probability: what the choice makes of it."""

    probability: float
    kept_probability: float


class Rest(_Given):
    """All tokens that are not listed."""

    count: int
    probability: float
    kept_probability: float


class Candidates(_Given):
    """The next token's distribution; windowed: the text was cut to its last tokens, which fit."""

    candidates: list[CandidateEntry]
    rest: Rest
    windowed: bool


class LessonBegun(_Given):
    """A lesson that runs now."""

    id: str
    seconds: float


class LessonKept(_Given):
    """The name under which its model is served now."""

    model: str


class LessonGone(_Given):
    """It is forgotten."""

    id: str
    deleted: Literal[True]


class Sign(_Given):
    """Of life, or of readiness."""

    status: str
