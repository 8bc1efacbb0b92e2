"""Models of equal size: each family's own shapes, and one inner width that makes up what is left."""

from collections.abc import Mapping
from typing import Any

from headway.errors import ConfigError
from headway.training.defaults import TextFacts, model_config, model_table
from headway.training.pair_defaults import SIZED

# Parameters may differ by so much of the number wanted and still be called equal.
TOLERANCE = 0.02

# What a family's size is trimmed with where its ladder of sizes is too coarse.
_TRIMMED = {"transformer": "feed_forward", "rnnsearch": "width"}
_ATTEMPTS = 3


def sized_model(model: Mapping[str, Any], facts: TextFacts, wanted: int) -> dict[str, Any]:
    """The family's model table with a number of parameters nearest to `wanted`.

    The family's own sizes come first, asked for anew where other vocabularies than theirs change the count; what is
    left is made up by one inner width.
    """
    name = model["family"]
    tables, asked_for = [], float(wanted)
    for _ in range(_ATTEMPTS):
        tables.append(_table(model, facts, max(1, round(asked_for))))
        asked_for *= wanted / model_config(tables[-1]).n_parameters()
    best = min(tables, key=lambda table: abs(model_config(table).n_parameters() - wanted))
    if name in _TRIMMED and abs(model_config(best).n_parameters() - wanted) > TOLERANCE / 2 * wanted:
        best = trimmed(best, _TRIMMED[name], wanted)
    return checked(best, facts, wanted)


def checked(model: dict[str, Any], facts: TextFacts, wanted: int) -> dict[str, Any]:
    """The table itself. Raises ConfigError where its count is no longer equal to what was wanted."""
    found = model_config(model).n_parameters()
    if abs(found - wanted) > TOLERANCE * wanted:
        raise ConfigError(
            f"{model['family']} with a vocabulary of {facts.vocabulary:,} comes no nearer to {wanted:,} parameters "
            f"than {found:,};\n"
            f"give another --parameters, or a smaller vocabulary: --set tokenizer.vocabulary=N"
        )
    return model


def _table(model: Mapping[str, Any], facts: TextFacts, n_parameters: int) -> dict[str, Any]:
    config = SIZED[model["family"]](n_parameters, facts.vocabulary, model)
    table = {**model_table(model["family"], config), "source_vocabulary": facts.source_vocabulary}
    if facts.source_vocabulary is not None and "shared" in table:
        table["shared"] = False
    return {**table, **model}


def trimmed(table: dict[str, Any], field: str, wanted: int) -> dict[str, Any]:
    """The table with one inner width changed, by half or double at most, so that the count comes nearest."""
    size = table[field]
    low, high = max(1, size // 2), 2 * size
    counts = {low: model_config({**table, field: low}).n_parameters()}
    while low < high:  # the count grows with the width
        middle = (low + high + 1) // 2
        counts[middle] = model_config({**table, field: middle}).n_parameters()
        low, high = (middle, high) if counts[middle] <= wanted else (low, middle - 1)
    counts[low + 1] = model_config({**table, field: low + 1}).n_parameters()
    return {**table, field: min(counts, key=lambda width: abs(counts[width] - wanted))}
