"""The Transformer as Hugging Face's transformers writes it (class MarianMTModel), beside our settings and parameters.

Post-norm, sinusoids, an output matrix tied to the embedding: the paper's Transformer, with a constant added to the
logits. Marian keeps query, key and value apart where we have one matrix.
"""

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from headway.errors import ConfigError, FormatError
from headway.formats.config_keys import OWN, activation_name, check_graph, config_value
from headway.formats.layout import Layout, StoredTensor, TensorName
from headway.formats.weights import WithoutDrawing
from headway.models.transformer import Transformer, TransformerConfig

_SHARED, _HEAD, _BIAS = "model.shared.weight", "lm_head.weight", "final_logits_bias"
_SOURCE, _TARGET = "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"

# Key, what its value must be (a text is the name of an activation), and the value that an absent key stands for.
_KEYS: Mapping[str, tuple[type, object]] = {
    "vocab_size": (int, 58101),
    "decoder_vocab_size": (int, None),
    "max_position_embeddings": (int, 1024),
    "d_model": (int, 1024),
    "encoder_layers": (int, 12),
    "decoder_layers": (int, 12),
    "encoder_attention_heads": (int, 16),
    "decoder_attention_heads": (int, 16),
    "encoder_ffn_dim": (int, 4096),
    "decoder_ffn_dim": (int, 4096),
    "activation_function": (str, "gelu"),
    "dropout": (float, 0.1),
    "embedding_dropout": (float, None),  # ours: where it is not the other dropout
    "attention_dropout": (float, 0.0),
    "activation_dropout": (float, 0.0),
    "scale_embedding": (bool, False),
    "share_encoder_decoder_embeddings": (bool, True),
    "tie_word_embeddings": (bool, True),
    "init_std": (float, None),
}

# Keys that would change the graph, with the values that leave it as it is.
_HARMLESS: Mapping[str, tuple[object, ...]] = {
    "is_encoder_decoder": (True, None),
    "is_decoder": (False, None),
    "normalize_before": (False, None),
    "normalize_embedding": (False, None),
    "add_final_layer_norm": (False, None),
    "static_position_embeddings": (True, None),
    "extra_pos_embeddings": (0, None),
    "quantization_config": (None,),
    "auto_map": (None, {}),
}

# A module of ours in a layer, and the one or several modules of theirs that it is.
_MODULES: Mapping[str, tuple[str, ...]] = {
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.output": ("self_attn.out_proj",),
    "attention_norm": ("self_attn_layer_norm",),
    "cross_attention.query": ("encoder_attn.q_proj",),
    "cross_attention.key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_attention.output": ("encoder_attn.out_proj",),
    "cross_attention_norm": ("encoder_attn_layer_norm",),
    "feed_forward.expand": ("fc1",),
    "feed_forward.contract": ("fc2",),
    "feed_forward_norm": ("final_layer_norm",),
}


def can_say(config: TransformerConfig) -> bool:
    """Whether Marian's layout has words for these settings."""
    return (
        config.norm == "post"
        and config.positions == "sinusoid"
        and config.context is not None
        and config.epsilon == 1e-5
        and (config.tied or not config.shared)  # without tying, transformers takes the two embeddings apart as well
    )


def read_config(table: Mapping[str, Any]) -> TransformerConfig:
    """The settings in a config.json. Raises FormatError for a key that asks for another graph, or an absurd value."""
    check_graph(table, _HARMLESS, "Marian")
    found = {key: config_value(table, key, *wanted) for key, wanted in _KEYS.items()}
    for size in ("attention_heads", "ffn_dim"):
        first, second = found[f"encoder_{size}"], found[f"decoder_{size}"]
        if first != second:
            raise FormatError(
                f"config.json has encoder_{size}={first} and decoder_{size}={second}\n"
                "Supported are the same for both; such a model cannot be opened here."
            )
    source, target = found["vocab_size"], found["decoder_vocab_size"] or found["vocab_size"]
    tied = found["tie_word_embeddings"]
    shared = found["share_encoder_decoder_embeddings"] and tied
    if found["share_encoder_decoder_embeddings"] and source != target:
        raise FormatError(
            f"config.json contradicts itself: one embedding for vocab_size={source} and decoder_vocab_size={target}\n"
            "Mend the file, or get the folder again."
        )
    try:
        return TransformerConfig(
            vocabulary=target,
            source_vocabulary=None if source == target else source,
            context=found["max_position_embeddings"],
            width=found["d_model"],
            n_heads=found["encoder_attention_heads"],
            encoder_layers=found["encoder_layers"],
            decoder_layers=found["decoder_layers"],
            feed_forward=found["encoder_ffn_dim"],
            activation=found["activation_function"],
            shared=shared,
            tied=tied,
            scaled=found["scale_embedding"],
            embedding_dropout=found["dropout"] if found["embedding_dropout"] is None else found["embedding_dropout"],
            attention_dropout=found["attention_dropout"],
            residual_dropout=found["dropout"],
            activation_dropout=found["activation_dropout"],
            initial_deviation=found["init_std"],
            foreign={key: value for key, value in table.items() if key not in _KEYS and key not in OWN},
        )
    except ConfigError as error:
        raise FormatError(
            f"config.json does not describe a Marian model: {error}\nMend the file, or get the folder again."
        ) from error


def write_config(config: TransformerConfig) -> dict[str, Any]:
    """The table for config.json; `dtype` and the special tokens are the folder's to add."""
    # Marian's files say swish where others say silu.
    activation = "swish" if config.activation == "silu" else activation_name(config.activation)
    table = {
        # Absent, it would be 0 to transformers: a token that ends every text it cuts off.
        "forced_eos_token_id": None,
        "is_encoder_decoder": True,
        **config.foreign,
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        "vocab_size": config.vocabulary if config.source_vocabulary is None else config.source_vocabulary,
        "decoder_vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "d_model": config.width,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "encoder_attention_heads": config.n_heads,
        "decoder_attention_heads": config.n_heads,
        "encoder_ffn_dim": config.feed_forward,
        "decoder_ffn_dim": config.feed_forward,
        "activation_function": activation,
        "dropout": config.residual_dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "scale_embedding": config.scaled,
        "share_encoder_decoder_embeddings": config.shared,
        "tie_word_embeddings": config.tied,
    }
    if config.embedding_dropout != config.residual_dropout:
        table["embedding_dropout"] = config.embedding_dropout
    if config.initial_deviation is not None:
        table["init_std"] = config.initial_deviation
    return table


def tensors(config: TransformerConfig) -> list[TensorName]:
    """Every tensor of a Marian model of these settings, in the order of our graph."""
    with torch.device("meta"), WithoutDrawing():
        model = Transformer(config)
    names = []
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        if name == "token_embedding.weight":
            names.append(TensorName(foreign=_SHARED if config.shared else _TARGET, ours=name, shape=shape))
        elif name == "source_embedding.weight":
            names.append(TensorName(foreign=_SOURCE, ours=name, shape=shape))
        elif name == "output.weight":
            names.append(TensorName(foreign=_HEAD, ours=name, shape=shape))
        elif name == "output_bias":
            names.append(TensorName(foreign=_BIAS, ours=name, shape=(1, *shape)))
        else:
            names += _of_layer(name, shape)
    return names


def rename(name: str) -> str | None:
    """The name itself, or None for the tables of sinusoids that some files hold."""
    return None if re.fullmatch(r"model\.(encoder|decoder)\.embed_positions\.weight", name) else name


def settle(
    config: TransformerConfig, stored: Mapping[str, StoredTensor], same: Callable[[str, str], bool]
) -> tuple[TransformerConfig, frozenset[str]]:
    """The settings with `output_bias` and `tied` as the weights have it.

    A head of its own that differs is kept, and said. Raises FormatError where one of several embeddings that
    config.json calls shared differs.
    """
    config = dataclasses.replace(config, output_bias=_BIAS in stored)
    main = _SHARED if config.shared else _TARGET
    copies = [name for name in (_SOURCE, _TARGET) if config.shared and name in stored]
    if config.tied and _HEAD in stored:
        copies.append(_HEAD)
    if not config.tied:  # then transformers reads the two embeddings, and an embedding for both is left over
        return config, frozenset({_SHARED} & set(stored))
    if main not in stored:
        return config, frozenset(copies)  # a misfit that is named when all names are checked
    differing = [name for name in copies if stored[name] != stored[main] or not same(name, main)]
    if not differing:
        return config, frozenset(copies)
    if config.shared:
        raise FormatError(
            f"{differing[0]} differs from {main}, though config.json says that they are one\n"
            "Get both files from the same model."
        )
    warnings.warn(
        f"{_HEAD} differs from {_TARGET}, though config.json says tie_word_embeddings=true: the model is opened "
        "with an output matrix of its own",
        stacklevel=2,
    )
    return dataclasses.replace(config, tied=False), frozenset()


LAYOUT = Layout(
    family="transformer",
    model_type="marian",
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    rename=rename,
    settle=settle,
)


def _of_layer(name: str, shape: tuple[int, ...]) -> list[TensorName]:
    """The tensors that make up one parameter of a layer."""
    stack, _, number, rest = name.split(".", 3)
    module, _, kind = rest.rpartition(".")
    theirs = _MODULES[module]
    rows = shape[0] // len(theirs)
    return [
        TensorName(
            foreign=f"model.{stack}.layers.{number}.{part}.{kind}",
            ours=name,
            shape=(rows, *shape[1:]),
            first=at * rows if len(theirs) > 1 else None,
        )
        for at, part in enumerate(theirs)
    ]
