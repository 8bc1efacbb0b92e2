"""The configuration keys of BERT and of FNet as transformers writes them, beside our settings, both ways."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headway.errors import ConfigError, FormatError
from headway.formats.config_keys import OWN, activation_name, check_graph, config_value, short
from headway.formats.label_keys import LABEL_KEYS, label_count, label_keys
from headway.models.bert_sizes import BERTConfig, Head

_HEADS: Mapping[str, Head] = {
    "Model": "none",
    "ForMaskedLM": "masked",
    "ForPreTraining": "pretraining",
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
    "ForQuestionAnswering": "answer",
}
"""What a class of transformers is called behind its family's name, and the head that it has."""

# Keys that would change the graph, with the values that leave it as it is.
_HARMLESS: Mapping[str, tuple[object, ...]] = {
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "is_encoder_decoder": (False, None),
    "quantization_config": (None,),
    "pruned_heads": (None, {}, []),
    "auto_map": (None, {}),
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """A configuration key, our field, what its value must be, and the value that an absent key stands for.

    extra: transformers has no such key; it is written where it says more than its absence.
    """

    foreign: str
    ours: str
    kind: type
    absent: object
    extra: bool = False


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What one of the two has of its own.

    classes: how its classes of transformers begin. layer: a module of ours in a layer, and the one or several of theirs
    that it is. fixed: settings that its graph has and no key names.
    """

    model_type: str
    classes: str
    keys: tuple[Key, ...]
    layer: Mapping[str, tuple[str, ...]]
    fixed: Mapping[str, Any]


SHARED_KEYS = (
    Key(foreign="hidden_size", ours="width", kind=int, absent=768),
    Key(foreign="num_hidden_layers", ours="n_layers", kind=int, absent=12),
    Key(foreign="intermediate_size", ours="feed_forward", kind=int, absent=3072),
    Key(foreign="max_position_embeddings", ours="context", kind=int, absent=512),
    Key(foreign="hidden_dropout_prob", ours="residual_dropout", kind=float, absent=0.1),
    Key(foreign="embedding_dropout", ours="embedding_dropout", kind=float, absent=None, extra=True),
    Key(foreign="classifier_dropout", ours="head_dropout", kind=float, absent=None),
    Key(foreign="initializer_range", ours="initial_deviation", kind=float, absent=0.02),
    Key(foreign="layer_norm_eps", ours="epsilon", kind=float, absent=1e-12),
    Key(foreign="tie_word_embeddings", ours="tied", kind=bool, absent=True),
)


def read_config(kind: Kind, table: Mapping[str, Any]) -> BERTConfig:
    """The settings in a config.json. Raises FormatError for a key that asks for another graph, or an absurd value."""
    check_graph(table, _HARMLESS, kind.classes)
    found = {key.ours: config_value(table, key.foreign, key.kind, key.absent) for key in kind.keys}
    if found["embedding_dropout"] is None:
        found["embedding_dropout"] = found["residual_dropout"]
    if found["head_dropout"] is None:
        found["head_dropout"] = found["residual_dropout"]
    head = _head_of(kind, table)
    names = {key.foreign for key in kind.keys}
    foreign = {key: value for key, value in table.items() if key not in names and key not in OWN}
    n_labels = label_count(table) if head in ("classify", "tag") else 0
    try:
        return BERTConfig(**kind.fixed, **found, head=head, n_labels=n_labels, foreign=foreign)
    except ConfigError as error:
        raise FormatError(
            f"config.json does not describe a {kind.classes}: {error}\nMend the file, or get the folder again."
        ) from error


def write_config(kind: Kind, config: BERTConfig) -> dict[str, Any]:
    """The table for config.json; `dtype` and the special tokens are the folder's to add."""
    table = {key: value for key, value in config.foreign.items() if key not in LABEL_KEYS}
    table["model_type"] = kind.model_type
    table["architectures"] = [kind.classes + next(name for name, head in _HEADS.items() if head == config.head)]
    for key in kind.keys:
        value = getattr(config, key.ours)
        if key.ours == "embedding_dropout" and value == config.residual_dropout:
            continue
        table[key.foreign] = config.hidden if key.ours == "feed_forward" else value
    table["hidden_act"] = activation_name(config.activation)
    if config.head in ("classify", "tag"):
        table |= label_keys(config.foreign, config.n_labels)
    return table


def _head_of(kind: Kind, table: Mapping[str, Any]) -> Head:
    """The head that `architectures` names; none where it is absent. Raises FormatError for a class that is unknown."""
    given = table.get("architectures")
    name = given[0] if isinstance(given, list) and given else f"{kind.classes}Model"
    known = {kind.classes + end: head for end, head in _HEADS.items()}
    if name not in known:
        raise FormatError(
            f"config.json has architectures={short(given)}, which is not supported\nSupported are {', '.join(known)}."
        )
    return known[name]
