"""What the routes take and give, as the OpenAPI document shows it. An unknown field is refused by its name."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_TOKENS = 16_384
MOST_TEXT = 1_000_000
Text = Annotated[str, Field(max_length=MOST_TEXT)]
Texts = Text | Annotated[list[Text], Field(min_length=1, max_length=256)]
Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=65_536)]


class Strict(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False, protected_namespaces=())


class Inspect(Strict):
    """What is wanted of a PyTorch pass beside the answer; nothing is computed for what is absent."""

    attention: list[int] = Field(default=[], max_length=64)
    thumbnails: int = Field(default=0, ge=0, le=128)
    logit_lens: int = Field(default=0, ge=0, le=50)
    contributions: bool = False
    heads: bool = False
    ablate: list[tuple[int, int]] = Field(default=[], max_length=4096)
    alignment: bool = False
    top: int = Field(default=10, ge=0, le=1000)
    encoding: Literal["json", "u16"] = "json"


class Asking(Strict):
    """A request to a model."""

    model: str = Field(max_length=200)
    inspect: Inspect | None = None


class StreamOptions(Strict):
    """As OpenAI's."""

    include_usage: bool = False


class ResponseFormat(Strict):
    """text, json_object, json_schema, regex or grammar (Lark)."""

    type: Literal["text", "json_object", "json_schema", "regex", "grammar"]
    json_schema: dict[str, Any] | None = None
    regex: str | None = Field(default=None, max_length=10_000)
    grammar: str | None = Field(default=None, max_length=100_000)


class Choosing(Strict):
    """How the next token is chosen; None is the model's own default."""

    temperature: float | None = Field(default=None, ge=0, le=100)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)


class CompletionRequest(Asking, Choosing):
    """OpenAI's completions, and top_k, min_p, repetition_penalty and inspect."""

    prompt: Texts | Ids | Annotated[list[Ids], Field(min_length=1, max_length=256)] = ""
    max_tokens: int | None = Field(default=16, ge=0, le=MOST_TOKENS)
    n: int | None = Field(default=1, ge=1, le=64)
    best_of: int | None = Field(default=None, ge=1, le=64)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    logprobs: int | None = Field(default=None, ge=0, le=200)
    echo: bool | None = False
    stop: Annotated[str, Field(max_length=1000)] | Annotated[list[str], Field(max_length=16)] | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**64)
    presence_penalty: float | None = Field(default=0.0, ge=-100, le=100)
    frequency_penalty: float | None = Field(default=0.0, ge=-100, le=100)
    repetition_penalty: float = Field(default=1.0, gt=0, le=100)
    user: str | None = Field(default=None, max_length=1000)
    response_format: ResponseFormat | None = None


class EmbeddingRequest(Asking):
    """OpenAI's embeddings."""

    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = Field(default=None, max_length=1000)


class TranslateRequest(Asking):
    """Texts to translate."""

    input: Texts
    beam: int | None = Field(default=None, ge=1, le=64)
    alignment: bool = False


class FillRequest(Asking):
    """A text with [MASK] in it."""

    input: Text
    top: int = Field(default=5, ge=1, le=1000)


class TextsRequest(Asking):
    """Texts to classify or to tag."""

    input: Texts


class AnswerRequest(Asking):
    """A question and the text that it is asked of."""

    question: Text
    context: Text


class TokenizeRequest(Strict):
    """A text to cut into tokens."""

    model: str = Field(max_length=200)
    text: Text


class NextRequest(Choosing):
    """The distribution of the next token, and what a choice keeps of it."""

    model: str = Field(max_length=200)
    text: Text | None = None
    ids: Ids | None = None
    top: int = Field(default=30, ge=1, le=1000)
    ablate: list[tuple[int, int]] = Field(default=[], max_length=4096)


class InspectRequest(Inspect):
    """One text, or one row of ids, looked into. source: what a translator reads; text is its translation then."""

    model: str = Field(max_length=200)
    text: Text | None = None
    ids: Ids | None = None
    source: Text | None = None


class SpectrumRequest(Strict):
    """What a model's layers do with a signal."""

    model: str = Field(max_length=200)
    text: Annotated[str, Field(max_length=100_000)] | None = None


class LessonRequest(Strict):
    """A text to learn."""

    text: Annotated[str, Field(max_length=2_000_000)]
    seconds: float = Field(default=60.0, ge=1, le=120)
    seed: int = Field(default=1, ge=0, lt=2**32)


class KeepRequest(Strict):
    """What a lesson's model is to be called."""

    name: str = Field(max_length=100)


class ErrorBody(BaseModel):
    """OpenAI's shape of an error."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(BaseModel):
    """What every refusal gives."""

    error: ErrorBody


class Completion(BaseModel):
    """OpenAI's completion; each choice has `ids` too."""

    model_config = ConfigDict(protected_namespaces=())
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    system_fingerprint: str | None = None
    usage: dict[str, Any] | None = None
    inspection: dict[str, Any] | None = None


class ListAnswer(BaseModel):
    """OpenAI's list."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    model: str | None = None
    usage: dict[str, Any] | None = None
    inspection: dict[str, Any] | None = None
