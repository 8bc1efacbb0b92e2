"""What is inside a model, for the routes: a PyTorch pass beside the engine's."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from headway.errors import UsageError
from headway.serve.models_served import Models
from headway.serve.openai_shapes import Inspect

_WINDOW = 64
_MOST_TOKENS = 2048


def inspected(models: Models, name: str, ids: Sequence[int] | str, wanted: Inspect | None) -> dict[str, Any]:
    """One pass looked into; see `insight.inspection`."""
    from headway.insight.inspection import inspect

    model, tokenizer = models.twin(name)
    if "translate" in models.named(name).described.verbs:
        raise UsageError(f"{name} reads a source: give source, and in text its translation")
    return inspect(model, tokenizer, ids, _request(wanted))


def inspected_translation(
    models: Models, name: str, source: str, target: str | None, wanted: Inspect | None
) -> dict[str, Any]:
    """A translator's pass over a source and its translation, the model's own where none is given."""
    from headway.insight.inspection import SourceText, inspect

    translator = models.translator(name)
    text = translator.translate(source).text if target is None else target
    sides = translator.sides
    given = SourceText(ids=[*sides.source.encode(source), sides.source_end], tokenizer=sides.source, start=sides.start)
    model, _ = models.twin(name)
    return inspect(model, sides.target, sides.target.encode(text), _request(wanted), source=given)


def spectrum_of(models: Models, name: str, text: str | None) -> dict[str, Any]:
    """By what a model's layers mix, and what they do with a signal; see `insight.spectrum_model`."""
    from headway.insight import spectrum_model

    model, tokenizer = models.twin(name)
    windows = None
    if text is not None:
        begin = getattr(tokenizer, "begin_of_text", None)
        end = tokenizer.end_of_text if begin is not None else None
        context = getattr(model, "context", None)
        window = _WINDOW if context is None else min(_WINDOW, context)
        windows = spectrum_model.cut_windows(tokenizer.encode(text)[:_MOST_TOKENS], window, begin=begin, end=end)
    found = spectrum_model.spectrum_of(model, models.named(name).described.family, windows)
    return {"model": name, "mixers": list(spectrum_model.mixers_of(model)), **_finite(asdict(found))}


def _request(wanted: Inspect | None) -> Any:
    from headway.insight.inspection import InspectionRequest

    wanted = wanted or Inspect()
    return InspectionRequest(
        attention=tuple(wanted.attention),
        thumbnails=wanted.thumbnails,
        logit_lens=wanted.logit_lens,
        contributions=wanted.contributions,
        heads=wanted.heads,
        ablate=frozenset(wanted.ablate),
        top=wanted.top,
        encoding=wanted.encoding,
    )


def _finite(value: Any) -> Any:
    """Numbers that JSON has no word for become None."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not -1e308 < value < 1e308:
        return None
    return value
