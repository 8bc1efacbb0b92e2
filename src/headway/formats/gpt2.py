"""GPT-2 as Hugging Face's transformers writes it (class GPT2LMHeadModel), beside our settings and parameters.

The released code keeps linear layers as (in, out); our parameters are (out, in). A model's head is the one that
`architectures` names: one that is missing or differs is refused, never made up.
"""

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headway.errors import ConfigError, FormatError
from headway.formats.config_keys import OWN, activation_name, check_graph, config_value, short
from headway.formats.label_keys import LABEL_KEYS, label_count, label_keys
from headway.formats.layout import Layout, StoredTensor, TensorName
from headway.models.gpt2 import GPT2Config, Head

_TOKENS = "transformer.wte.weight"
_HEAD = "lm_head.weight"
_READING: Mapping[str, tuple[Head, str]] = {  # a class of transformers, our head, and its matrix
    "GPT2ForSequenceClassification": ("classify", "score"),
    "GPT2ForTokenClassification": ("tag", "classifier"),
    "GPT2ForQuestionAnswering": ("answer", "qa_outputs"),
}
_MODULES: Mapping[Head, str] = dict(_READING.values())
_DROPOUT = "classifier_dropout"


@dataclass(frozen=True, kw_only=True)
class _Key:
    """A configuration key, our field, what the value must be, and the value that an absent key stands for."""

    foreign: str
    ours: str
    kind: type
    absent: object
    alias: str | None = None


_KEYS = (
    _Key(foreign="vocab_size", ours="vocabulary", kind=int, absent=50257),
    _Key(foreign="n_positions", ours="context", kind=int, absent=1024, alias="max_position_embeddings"),
    _Key(foreign="n_embd", ours="width", kind=int, absent=768, alias="hidden_size"),
    _Key(foreign="n_layer", ours="n_layers", kind=int, absent=12, alias="num_hidden_layers"),
    _Key(foreign="n_head", ours="n_heads", kind=int, absent=12, alias="num_attention_heads"),
    _Key(foreign="n_inner", ours="feed_forward", kind=int, absent=None),
    _Key(foreign="activation_function", ours="activation", kind=str, absent="gelu_new"),
    _Key(foreign="embd_pdrop", ours="embedding_dropout", kind=float, absent=0.1),
    _Key(foreign="attn_pdrop", ours="attention_dropout", kind=float, absent=0.1),
    _Key(foreign="resid_pdrop", ours="residual_dropout", kind=float, absent=0.1),
    _Key(foreign="layer_norm_epsilon", ours="epsilon", kind=float, absent=1e-5),
    _Key(foreign="tie_word_embeddings", ours="tied", kind=bool, absent=True),
    _Key(foreign="scale_attn_weights", ours="scale_by_head_width", kind=bool, absent=True),
    _Key(foreign="scale_attn_by_inverse_layer_idx", ours="scale_by_layer", kind=bool, absent=False),
    _Key(foreign="initializer_range", ours="initial_deviation", kind=float, absent=0.02),
)

# Keys that would change the graph, with the values that leave it as it is. `reorder_and_upcast_attn` is not among
# them: it changes rounding alone. `is_decoder` alone changes nothing in transformers; cross-attention does.
_HARMLESS: Mapping[str, tuple[object, ...]] = {
    "add_cross_attention": (False, None),
    "is_encoder_decoder": (False, None),
    "is_causal": (True, None),
    "quantization_config": (None,),
    "pruned_heads": (None, {}, []),
    "auto_map": (None, {}),
}


def read_config(table: Mapping[str, Any]) -> GPT2Config:
    """The settings in a config.json. Raises FormatError for a key that asks for another graph, or an absurd value."""
    check_graph(table, _HARMLESS, "GPT-2")
    fields = {key.ours: _value(key, table) for key in _KEYS}
    names = {name for key in _KEYS for name in (key.foreign, key.alias)}
    given = table.get("architectures")
    named = given[0] if isinstance(given, list) and given else ""
    head: Head = _READING[named][0] if named in _READING else "write"
    fields["n_labels"] = label_count(table) if head in ("classify", "tag") else 0
    if head != "write" and table.get(_DROPOUT) is not None:
        names.add(_DROPOUT)
        fields["head_dropout"] = config_value(table, _DROPOUT, float, 0.1)
    foreign = {key: value for key, value in table.items() if key not in names and key not in OWN}
    try:
        return GPT2Config(**fields, head=head, foreign=foreign)
    except ConfigError as error:
        raise FormatError(
            f"config.json does not describe a GPT-2: {error}\nMend the file, or get the folder again."
        ) from error


def write_config(config: GPT2Config) -> dict[str, Any]:
    """The table for config.json; `dtype` and the special tokens are the folder's to add."""
    classes = {head: name for name, (head, _) in _READING.items()}
    table = {**config.foreign, "model_type": "gpt2", "architectures": [classes.get(config.head, "GPT2LMHeadModel")]}
    for key in _KEYS:
        table[key.foreign] = getattr(config, key.ours)
    table["activation_function"] = activation_name(config.activation)
    if config.head != "write":
        table[_DROPOUT] = config.head_dropout
    if config.n_labels:
        table = {key: value for key, value in table.items() if key not in LABEL_KEYS}
        table |= label_keys(config.foreign, config.n_labels)
    return table


def tensors(config: GPT2Config) -> list[TensorName]:
    """Every parameter of a GPT-2 of these settings, in the order of the graph."""
    width, hidden = config.width, config.hidden
    names = [
        TensorName(foreign=_TOKENS, ours="token_embedding.weight", shape=(config.vocabulary, width)),
        TensorName(foreign="transformer.wpe.weight", ours="position_embedding.weight", shape=(config.context, width)),
    ]
    for layer in range(config.n_layers):
        theirs, ours = f"transformer.h.{layer}", f"blocks.{layer}"
        names += _pair(f"{theirs}.ln_1", f"{ours}.attention_norm", (width,))
        names += _pair(f"{theirs}.attn.c_attn", f"{ours}.attention.qkv", (width, 3 * width))
        names += _pair(f"{theirs}.attn.c_proj", f"{ours}.attention.output", (width, width))
        names += _pair(f"{theirs}.ln_2", f"{ours}.feed_forward_norm", (width,))
        names += _pair(f"{theirs}.mlp.c_fc", f"{ours}.feed_forward.expand", (width, hidden))
        names += _pair(f"{theirs}.mlp.c_proj", f"{ours}.feed_forward.contract", (hidden, width))
    names += _pair("transformer.ln_f", "final_norm", (width,))
    if config.head != "write":
        theirs = _MODULES[config.head]
        names.append(TensorName(foreign=f"{theirs}.weight", ours="head.weight", shape=(config.n_scores, width)))
        if config.head != "classify":
            names.append(TensorName(foreign=f"{theirs}.bias", ours="head.bias", shape=(config.n_scores,)))
    elif not config.tied:
        names.append(TensorName(foreign=_HEAD, ours="output.weight", shape=(config.vocabulary, width)))
    return names


def rename(name: str) -> str | None:
    """The name as transformers writes it today, or None for the causal mask that older versions stored."""
    if re.fullmatch(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)", name):
        return None
    if re.match(r"(wte|wpe|h|ln_f)\.", name):
        return f"transformer.{name}"
    return name


def settle(
    config: GPT2Config, stored: Mapping[str, StoredTensor], same: Callable[[str, str], bool]
) -> tuple[GPT2Config, frozenset[str]]:
    """The settings with `tied` as the weights have it: a head of its own that differs is kept, and said."""
    if config.head != "write":
        spare = _HEAD in stored and stored[_HEAD] == stored.get(_TOKENS) and same(_HEAD, _TOKENS)
        return config, frozenset({_HEAD} if spare else ())
    if not config.tied or _HEAD not in stored:
        return config, frozenset()
    if _TOKENS not in stored or stored[_TOKENS].shape != (config.vocabulary, config.width):
        return config, frozenset({_HEAD})  # a misfit that is named when all names are checked
    if stored[_HEAD] == stored[_TOKENS] and same(_HEAD, _TOKENS):
        return config, frozenset({_HEAD})
    warnings.warn(
        f"{_HEAD} differs from {_TOKENS}, though config.json says tie_word_embeddings=true: the model is opened "
        "with an output matrix of its own",
        stacklevel=2,
    )
    return dataclasses.replace(config, tied=False), frozenset()


LAYOUT = Layout(
    family="gpt2",
    model_type="gpt2",
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    rename=rename,
    settle=settle,
)


def _pair(theirs: str, ours: str, shape: tuple[int, ...]) -> list[TensorName]:
    """The weight and bias of a norm or, where the shape has two sizes, of a linear layer."""
    transposed = len(shape) == 2
    return [
        TensorName(foreign=f"{theirs}.weight", ours=f"{ours}.weight", shape=shape, transposed=transposed),
        TensorName(foreign=f"{theirs}.bias", ours=f"{ours}.bias", shape=shape[-1:]),
    ]


def _value(key: _Key, table: Mapping[str, Any]) -> Any:
    given = {name: table[name] for name in (key.foreign, key.alias) if name is not None and name in table}
    if len(given) == 2 and given[key.foreign] != given[str(key.alias)]:
        raise FormatError(
            f"config.json contradicts itself: {key.foreign}={short(given[key.foreign])}, "
            f"{key.alias}={short(given[str(key.alias)])}\nMend the file, or get the folder again."
        )
    return config_value(table, next(iter(given), key.foreign), key.kind, key.absent)
