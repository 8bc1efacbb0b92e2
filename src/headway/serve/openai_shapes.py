"""What the routes take, as the OpenAPI document shows it.

An unknown field is refused by its name, and a value of another type is not turned into the right one. A list is left
at its first wrong entry: a request with a million wrong ones must not become a million messages.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

MOST_TOKENS = 16_384
MOST_TEXT = 1_000_000
MOST_READ = 400_000
"""Characters that a reader takes at once, in all texts of a request."""
MOST_TRANSLATED = 40_000
"""Characters that a translator takes at once."""
_MOST_BIASES = 1024

Count = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Name = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=MOST_TEXT)]
Texts = Text | Annotated[list[Text], Field(min_length=1, max_length=256, fail_fast=True)]
Id = Annotated[int, Strict(), Field(ge=0, lt=2**31)]
Ids = Annotated[list[Id], Field(min_length=1, max_length=65_536, fail_fast=True)]
Heads = Annotated[list[tuple[Count, Count]], Field(max_length=4096, fail_fast=True)]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, given: Any) -> Any:
        """The first unknown field is refused before any other is looked at."""
        if isinstance(given, dict):
            for name in given:
                if name not in cls.model_fields:
                    shown = str(name)[:60].encode("ascii", "backslashreplace").decode()
                    raise PydanticCustomError("unknown_field", "there is no field {field}", {"field": shown})
        return given


class Inspect(Body):
    """What is wanted of a PyTorch pass beside the answer; nothing is computed for what is absent."""

    attention: Annotated[list[Count], Field(max_length=64, fail_fast=True)] = []
    thumbnails: Count = Field(default=0, ge=0, le=128)
    logit_lens: Count = Field(default=0, ge=0, le=50)
    contributions: Flag = False
    heads: Flag = False
    ablate: Heads = []
    alignment: Flag = False
    top: Count = Field(default=10, ge=0, le=1000)
    encoding: Literal["json", "u16"] = "json"


class Asking(Body):
    """A request to a model."""

    model: Name
    inspect: Inspect | None = None


class StreamOptions(Body):
    """As OpenAI's."""

    include_usage: Flag = False


class ResponseFormat(Body):
    """text, json_object, json_schema, regex or grammar (Lark)."""

    type: Literal["text", "json_object", "json_schema", "regex", "grammar"]
    json_schema: dict[str, Any] | None = None
    regex: str | None = Field(default=None, max_length=10_000)
    grammar: str | None = Field(default=None, max_length=100_000)


class Choosing(Body):
    """How the next token is chosen; None is the model's own default."""

    temperature: Number | None = Field(default=None, ge=0, le=100)
    top_k: Count | None = Field(default=None, ge=1, lt=2**31)
    top_p: Number | None = Field(default=None, gt=0, le=1)
    min_p: Number | None = Field(default=None, ge=0, le=1)


class CompletionRequest(Asking, Choosing):
    """OpenAI's completions, and top_k, min_p, repetition_penalty and inspect."""

    prompt: Texts | Ids | Annotated[list[Ids], Field(min_length=1, max_length=256, fail_fast=True)] = ""
    max_tokens: Count | None = Field(default=16, ge=0, le=MOST_TOKENS)
    n: Count | None = Field(default=1, ge=1, le=64)
    best_of: Count | None = Field(default=None, ge=1, le=64)
    stream: Flag | None = False
    stream_options: StreamOptions | None = None
    logprobs: Count | None = Field(default=None, ge=0, le=200)
    echo: Flag | None = False
    stop: (
        Annotated[str, Field(max_length=1000)]
        | Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=16, fail_fast=True)]
        | None
    ) = None
    logit_bias: Annotated[dict[str, Number], Field(max_length=_MOST_BIASES)] | None = None
    seed: Count | None = Field(default=None, ge=0, lt=2**64)
    presence_penalty: Number | None = Field(default=0.0, ge=-100, le=100)
    frequency_penalty: Number | None = Field(default=0.0, ge=-100, le=100)
    repetition_penalty: Number = Field(default=1.0, gt=0, le=100)
    user: str | None = Field(default=None, max_length=1000)
    response_format: ResponseFormat | None = None

    @model_validator(mode="before")
    @classmethod
    def _few_biases(cls, given: Any) -> Any:
        """Counted before each is looked at, for each wrong one would be a message."""
        biases = given.get("logit_bias") if isinstance(given, dict) else None
        if isinstance(biases, dict) and len(biases) > _MOST_BIASES:
            raise PydanticCustomError("too_long", "logit_bias may name at most 1,024 ids")
        return given


class EmbeddingRequest(Asking):
    """OpenAI's embeddings."""

    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Count | None = None
    user: str | None = Field(default=None, max_length=1000)


class TranslateRequest(Asking):
    """Texts to translate, 40,000 characters in all."""

    input: Texts
    beam: Count | None = Field(default=None, ge=1, le=16)
    alignment: Flag = False


class FillRequest(Asking):
    """A text with [MASK] in it."""

    input: Text
    top: Count = Field(default=5, ge=1, le=1000)


class TextsRequest(Asking):
    """Texts to classify or to tag."""

    input: Texts


class AnswerRequest(Asking):
    """A question and the text that it is asked of."""

    question: Annotated[str, Field(max_length=10_000)]
    context: Text


class TokenizeRequest(Body):
    """A text to cut into tokens."""

    model: Name
    text: Annotated[str, Field(max_length=200_000)]


class NextRequest(Choosing):
    """The distribution of the next token, and what a choice keeps of it."""

    model: Name
    text: Text | None = None
    ids: Ids | None = None
    top: Count = Field(default=30, ge=1, le=1000)
    ablate: Heads = []


class InspectRequest(Inspect):
    """One text, or one row of ids, looked into. source: what a translator reads; text is its translation then."""

    model: Name
    text: Text | None = None
    ids: Ids | None = None
    source: Text | None = None


class SpectrumRequest(Body):
    """What a model's layers do with a signal."""

    model: Name
    text: Annotated[str, Field(max_length=100_000)] | None = None


class LessonRequest(Body):
    """A text to learn."""

    text: Annotated[str, Field(max_length=2_000_000)]
    seconds: Number = Field(default=60.0, ge=1, le=120)
    seed: Count = Field(default=1, ge=0, lt=2**32)


class KeepRequest(Body):
    """What a lesson's model is to be called."""

    name: Annotated[str, Field(max_length=100)]
