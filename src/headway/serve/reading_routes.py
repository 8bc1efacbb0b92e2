"""The routes of readers and translators: each hands its work to the bench's thread and shapes what comes of it."""

import base64
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from headway.errors import UsageError
from headway.serve.answer_shapes import (
    AnswerEntry,
    AnswerList,
    EmbeddingEntry,
    EmbeddingList,
    FillEntry,
    FillList,
    LabelEntry,
    LabelList,
    TagEntry,
    TagList,
    TranslationEntry,
    TranslationList,
    Usage,
    WordAlignment,
)
from headway.serve.inspecting import inspected, inspected_translation
from headway.serve.models_served import Models
from headway.serve.openai_shapes import (
    MOST_READ,
    MOST_TRANSLATED,
    AnswerRequest,
    Asking,
    EmbeddingRequest,
    FillRequest,
    TextsRequest,
    TranslateRequest,
)


def add_readers(router: APIRouter, models: Models) -> None:
    """embeddings, translate, fill, classify, tag, answer."""
    _add_embeddings(router, models)
    _add_translate(router, models)

    @router.post("/fill", summary="Guess masked words")
    async def fill(body: FillRequest) -> FillList:
        _texts(body.input, MOST_READ)
        found = await models.bench.run(lambda: models.reader(body.model, "fill").fill(body.input, top=body.top))
        data = [FillEntry(**asdict(one)) for one in found]
        return FillList(data=data, model=body.model, inspection=await _looked(models, body, body.input))

    @router.post("/classify", summary="A label for each text")
    async def classify(body: TextsRequest) -> LabelList:
        texts = _texts(body.input, MOST_READ)
        found = await models.bench.run(lambda: models.reader(body.model, "classify").classify(texts))
        data = [LabelEntry(**asdict(one)) for one in found]
        return LabelList(data=data, model=body.model, inspection=await _looked(models, body, texts[0]))

    @router.post("/tag", summary="Tags and spans of each text")
    async def tag(body: TextsRequest) -> TagList:
        texts = _texts(body.input, MOST_READ)
        found = await models.bench.run(lambda: models.reader(body.model, "tag").tag(texts))
        data = [TagEntry(**asdict(one)) for one in found]
        return TagList(data=data, model=body.model, inspection=await _looked(models, body, texts[0]))

    @router.post("/answer", summary="The stretch of a context that answers a question")
    async def answer(body: AnswerRequest) -> AnswerList:
        _texts(body.context, MOST_READ)
        found = await models.bench.run(lambda: models.reader(body.model, "answer").answer(body.question, body.context))
        data = [AnswerEntry(**asdict(found))]
        return AnswerList(data=data, model=body.model, inspection=await _looked(models, body, body.question))


def _add_embeddings(router: APIRouter, models: Models) -> None:
    @router.post("/embeddings", summary="A vector for each text")
    async def embeddings(body: EmbeddingRequest) -> EmbeddingList:
        if body.dimensions is not None:
            raise UsageError("dimensions cannot be chosen: a model's vectors have the width that they have")
        texts = _texts(body.input, MOST_READ)

        def embed() -> tuple[Any, int]:
            vectors = models.reader(body.model, "embed").embed(texts)
            tokenizer = models.tokenizer(body.model)
            return vectors, sum(len(tokenizer.encode(text)) for text in texts)

        vectors, read = await models.bench.run(embed)
        encoded = [
            base64.b64encode(vector.astype("<f4").tobytes()).decode()
            if body.encoding_format == "base64"
            else vector.tolist()
            for vector in vectors
        ]
        return EmbeddingList(
            data=[EmbeddingEntry(index=at, embedding=embedding) for at, embedding in enumerate(encoded)],
            model=body.model,
            usage=Usage(prompt_tokens=read, total_tokens=read),
            inspection=await _looked(models, body, texts[0]),
        )


def _add_translate(router: APIRouter, models: Models) -> None:
    @router.post("/translate", summary="Translate texts")
    async def translate(body: TranslateRequest) -> TranslationList:
        texts = _texts(body.input, MOST_TRANSLATED)
        wanted = body.inspect
        aligned = body.alignment or (wanted is not None and wanted.alignment)

        def work() -> Any:
            translator = models.translator(body.model)
            try:
                return translator.translate(texts, beam=body.beam, alignment=aligned)
            except UsageError:
                if not aligned:
                    raise
                return translator.translate(texts, beam=body.beam)  # one that reads a fixed vector aligns nothing

        found = await models.bench.run(work)
        inspection = None
        if wanted is not None:
            inspection = await models.bench.run(
                lambda: inspected_translation(models, body.model, texts[0], found[0].text, wanted)
            )
        data = [
            TranslationEntry(
                text=one.text, score=one.score, finish_reason=one.finish_reason, alignment=_alignment(one.alignment)
            )
            for one in found
        ]
        return TranslationList(data=data, model=body.model, inspection=inspection)


def _texts(given: str | list[str], most: int) -> list[str]:
    """The texts of a request. Raises UsageError for more than may hold up those behind it."""
    texts = [given] if isinstance(given, str) else given
    length = sum(len(text) for text in texts)
    if length > most:
        raise UsageError(f"a request may bring {most:,} characters here, but this one has {length:,}\nSend several.")
    return texts


def _alignment(found: Any) -> WordAlignment | None:
    if found is None:
        return None
    return WordAlignment(source=found.source_words, target=found.target_words, weights=found.word_weights)


async def _looked(models: Models, body: Asking, text: str) -> dict[str, Any] | None:
    """What one pass over the first text shows, where that was asked for."""
    wanted = body.inspect
    if wanted is None:
        return None
    return await models.bench.run(lambda: inspected(models, body.model, text, wanted))
