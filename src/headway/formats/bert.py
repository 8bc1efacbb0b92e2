"""BERT as Hugging Face's transformers writes it (class BertModel and those with a head), beside ours; and our own.

transformers keeps query, key and value apart where we have one matrix. What its BERT has no words for (norms before the
sublayers, rotary positions, other mixers, ...) is written under our own names.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from headway.formats import fnet
from headway.formats.label_keys import LABEL_KEYS, label_keys
from headway.formats.layout import Layout
from headway.formats.own_names import own_layout
from headway.formats.reader_keys import SHARED_KEYS, Key, Kind
from headway.formats.reader_layout import layout, says_head
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig

LAYOUT = layout(
    Kind(
        model_type="bert",
        classes="Bert",
        keys=(
            Key(foreign="vocab_size", ours="vocabulary", kind=int, absent=30522),
            Key(foreign="num_attention_heads", ours="n_heads", kind=int, absent=12),
            Key(foreign="hidden_act", ours="activation", kind=str, absent="gelu"),
            Key(foreign="type_vocab_size", ours="segments", kind=int, absent=2),
            Key(foreign="attention_probs_dropout_prob", ours="attention_dropout", kind=float, absent=0.1),
            *SHARED_KEYS,
        ),
        layer={
            "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
            "attention.output": ("attention.output.dense",),
            "attention_norm": ("attention.output.LayerNorm",),
            "feed_forward.expand": ("intermediate.dense",),
            "feed_forward.contract": ("output.dense",),
            "feed_forward_norm": ("output.LayerNorm",),
        },
        fixed={},
    )
)


def layout_for(config: BERTConfig) -> Layout:
    """The layout that a model of these settings is written in."""
    plain = (
        config.norm == "post"
        and config.positions == "learned"
        and config.segments >= 1
        and config.embedding_norm
        and not config.gated
        and config.pooling == "first"
        and says_head(config)
    )
    if plain and config.mixer == "attention" and not config.embedding_projection:
        return LAYOUT
    if plain and config.mixer == "fourier" and not config.attends and config.embedding_projection:
        return fnet.LAYOUT
    return OWN


def _own() -> Layout:
    """Our own names for the settings, and transformers' for the names of labels."""
    plain = own_layout("bert", BERTConfig, BERT)

    def read_config(table: Mapping[str, Any]) -> BERTConfig:
        config: BERTConfig = plain.read_config({key: value for key, value in table.items() if key not in LABEL_KEYS})
        labels = {key: table[key] for key in LABEL_KEYS if key in table}
        return dataclasses.replace(config, foreign={**config.foreign, **labels})

    def write_config(config: BERTConfig) -> dict[str, Any]:
        labels = label_keys(config.foreign, config.n_labels) if config.head in ("classify", "tag") else {}
        return {**labels, **plain.write_config(config)}

    return dataclasses.replace(plain, read_config=read_config, write_config=write_config)


OWN = _own()
"""The layout of a BERT that neither BERT's nor FNet's of transformers can say."""
