"""The routes that show a model from inside: tokens, the next token's distribution, one pass, spectra."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from headway.decoding.choice import Choice
from headway.errors import UsageError
from headway.serve.answer_shapes import Candidates, TokenList
from headway.serve.inspecting import inspected, inspected_translation, spectrum_of
from headway.serve.models_served import Models
from headway.serve.openai_shapes import InspectRequest, NextRequest, SpectrumRequest, TokenizeRequest


def add_looks(router: APIRouter, models: Models) -> None:
    """tokenize, next, inspect, spectrum."""

    @router.post("/tokenize", response_model=TokenList, summary="Cut a text into tokens")
    async def tokenize(body: TokenizeRequest) -> Response:
        from headway.insight.token_texts import TokenTexts

        def cut() -> list[dict[str, object]]:
            tokenizer = models.tokenizer(body.model)
            return TokenTexts(tokenizer).every(tokenizer.encode(body.text))

        return JSONResponse({"tokens": await models.bench.run(cut)})

    @router.post("/next", response_model=Candidates, summary="What may come next, and what a choice keeps of it")
    async def next_token(body: NextRequest) -> Response:
        from headway.insight.next_token import next_candidates

        given = _one_of(body.text, body.ids)
        choice = Choice(
            temperature=1.0 if body.temperature is None else body.temperature,
            top_k=body.top_k,
            top_p=body.top_p,
            min_p=body.min_p,
        )
        models.named(body.model, "write")

        def look() -> dict[str, Any]:
            model, tokenizer = models.twin(body.model)
            return next_candidates(model, tokenizer, given, choice, top=body.top, ablate=frozenset(body.ablate))

        return JSONResponse(await models.bench.run(look))

    @router.post("/inspect", response_model=dict[str, Any], summary="Look into one pass")
    async def inspect(body: InspectRequest) -> Response:
        given = "" if body.source is not None else _one_of(body.text, body.ids)

        def look() -> dict[str, Any]:
            if body.source is not None:
                return inspected_translation(models, body.model, body.source, body.text, body)
            return inspected(models, body.model, given, body)

        return JSONResponse(await models.bench.run(look))

    @router.post("/spectrum", response_model=dict[str, Any], summary="What the layers do with a signal")
    async def spectrum(body: SpectrumRequest) -> Response:
        return JSONResponse(await models.bench.run(lambda: spectrum_of(models, body.model, body.text)))


def _one_of(text: str | None, ids: list[int] | None) -> str | list[int]:
    if (text is None) == (ids is None):
        raise UsageError("give text or ids, one of the two")
    return text if text is not None else ids or []
