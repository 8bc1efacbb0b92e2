"""What the folders of BERT and of FNet share as transformers writes them: configuration keys, heads and their tensors.

Such a model's head is what its tensors say: a body alone has none, and half a head is refused, never made up.
"""

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial

from headway.errors import FormatError
from headway.formats.label_keys import label_count
from headway.formats.layout import Layout, StoredTensor, TensorName
from headway.formats.reader_keys import Kind, read_config, write_config
from headway.models.bert_sizes import BERTConfig, Head

# An output matrix of its own comes with a bias of its own; tied to the embedding, its bias has the other name, and may
# be there twice.
_OUTPUT, _BIAS, _OUTPUT_BIAS = "cls.predictions.decoder.weight", "cls.predictions.bias", "cls.predictions.decoder.bias"

# A module of ours in a head, and theirs; the pooler's is the body's own.
_TRANSFORM = (
    ("transform.dense", "cls.predictions.transform.dense"),
    ("transform.norm", "cls.predictions.transform.LayerNorm"),
)
_ORDER, _LABELS, _SPANS = "cls.seq_relationship", "classifier", "qa_outputs"


def layout(kind: Kind) -> Layout:
    """The layout of one of the two."""

    return Layout(
        family="bert",
        model_type=kind.model_type,
        read_config=partial(read_config, kind),
        write_config=partial(write_config, kind),
        tensors=partial(_tensors, kind),
        rename=partial(_rename, kind),
        settle=partial(_settle, kind),
    )


def says_head(config: BERTConfig) -> bool:
    """Whether transformers has such a head: with a pooler and a transform where its classes have them."""
    if config.head in ("classify", "pretraining") and not config.pools:
        return False
    return config.transform or not config.writes_words


def _tensors(kind: Kind, config: BERTConfig) -> list[TensorName]:
    """Every tensor of a model of these settings, in the order of the graph."""
    width, hidden, body = config.width, config.hidden, kind.model_type
    places = {"word": config.vocabulary, "position": config.context, "token_type": config.segments}
    ours = {"word": "token_embedding", "position": "position_embedding", "token_type": "segment_embedding"}
    names = [
        TensorName(
            foreign=f"{body}.embeddings.{part}_embeddings.weight", ours=f"{ours[part]}.weight", shape=(rows, width)
        )
        for part, rows in places.items()
    ]
    names += _pair(f"{body}.embeddings.LayerNorm", "embedding_norm", (width,))
    if config.embedding_projection:
        names += _pair(f"{body}.embeddings.projection", "embedding_projection", (width, width))
    shapes = {"attention.qkv": (3 * width, width), "attention.output": (width, width)}
    shapes |= {"feed_forward.expand": (hidden, width), "feed_forward.contract": (width, hidden)}
    for layer in range(config.n_layers):
        for module, theirs in kind.layer.items():
            names += _parts(
                f"{body}.encoder.layer.{layer}", theirs, f"blocks.{layer}.{module}", shapes.get(module, (width,))
            )
    if config.pools:
        names += _pair(f"{body}.pooler.dense", "pooler.dense", (width, width))
    return [*names, *_head_tensors(config)]


def _head_tensors(config: BERTConfig) -> list[TensorName]:
    width, names = config.width, []
    if config.writes_words:
        for module, theirs in _TRANSFORM:
            names += _pair(theirs, module, (width, width) if module.endswith("dense") else (width,))
        bias = _BIAS if config.tied else _OUTPUT_BIAS
        names.append(TensorName(foreign=bias, ours="output.bias", shape=(config.vocabulary,)))
        if not config.tied:
            names.append(TensorName(foreign=_OUTPUT, ours="output.weight", shape=(config.vocabulary, width)))
    if config.head == "pretraining":
        names += _pair(_ORDER, "sentence_order", (2, width))
    if config.n_scores:
        names += _pair(_SPANS if config.head == "answer" else _LABELS, "head", (config.n_scores, width))
    return names


def _rename(kind: Kind, name: str) -> str | None:
    """The name as transformers writes it today, or None for a table of numbers that older versions stored."""
    if re.fullmatch(r"(\w+\.)?embeddings\.(position_ids|token_type_ids)", name):
        return None
    if re.match(r"(embeddings|encoder|pooler)\.", name):
        name = f"{kind.model_type}.{name}"
    return re.sub(r"LayerNorm\.(gamma|beta)$", lambda old: f"LayerNorm.{_NORM_NAMES[old[1]]}", name)


_NORM_NAMES = {"gamma": "weight", "beta": "bias"}


def _settle(
    kind: Kind, config: BERTConfig, stored: Mapping[str, StoredTensor], same: Callable[[str, str], bool]
) -> tuple[BERTConfig, frozenset[str]]:
    """The settings with the head, the pooler and `tied` as the weights have them."""
    transform = [f"{theirs}.{part}" for _, theirs in _TRANSFORM for part in ("weight", "bias")]
    bias = _BIAS if config.tied or _OUTPUT_BIAS not in stored else _OUTPUT_BIAS
    has_words = _whole("masked-word head", [*transform, bias], stored)
    has_order = _whole("next-sentence head", _both(_ORDER), stored)
    has_labels = _whole("classifier", _both(_LABELS), stored)
    has_spans = _whole("question-answering head", _both(_SPANS), stored)
    pools = _whole("pooler", _both(f"{kind.model_type}.pooler.dense"), stored)
    found: list[Head] = []
    if has_words or has_order:
        found.append("pretraining" if has_order else "masked")
    if has_labels:
        named = config.head if config.head in ("classify", "tag") else "classify" if pools else "tag"
        found.append(named)
    if has_spans:
        found.append("answer")
    if len(found) > 1:
        raise FormatError(
            f"the weights hold several heads: {', '.join(found)}\nKeep one of them in the file; a model here has one."
        )
    head: Head = found[0] if found else "none"
    missing = {
        "the masked-word head": head == "pretraining" and not has_words,
        "the pooler": head in ("pretraining", "classify") and not pools,
    }
    for part, lacks in missing.items():
        if lacks:
            raise FormatError(
                f"the weights lack {part} that a head for {head} reads through\nGet the folder again, complete."
            )
    if config.head != "none" and head != config.head and (config.head, head) != ("masked", "pretraining"):
        warnings.warn(
            f"config.json names a head for {config.head}, but the weights have "
            f"{'none' if head == 'none' else f'one for {head}'}: the model is opened as the weights have it",
            stacklevel=2,
        )
    n_labels = 0
    if head in ("classify", "tag"):
        n_labels = config.n_labels or label_count(config.foreign)
    settled = dataclasses.replace(config, head=head, n_labels=n_labels, pooler=None)
    if settled.pools != pools:
        settled = dataclasses.replace(settled, pooler=pools)
    return _settle_output(f"{kind.model_type}.embeddings.word_embeddings.weight", settled, stored, same)


def _settle_output(
    tokens: str, config: BERTConfig, stored: Mapping[str, StoredTensor], same: Callable[[str, str], bool]
) -> tuple[BERTConfig, frozenset[str]]:
    """What is there twice is passed over; an output matrix that differs from the embedding is kept, and said.

    Raises FormatError where one bias has two values.
    """
    if not config.tied:
        return config, frozenset({_BIAS} & set(stored))
    # A misfit of the embedding itself is named when all names are checked.
    fits = tokens in stored and stored[tokens].shape == (config.vocabulary, config.width)
    if fits and _OUTPUT in stored and not (stored[_OUTPUT] == stored[tokens] and same(_OUTPUT, tokens)):
        warnings.warn(
            f"{_OUTPUT} differs from {tokens}, though config.json says tie_word_embeddings=true: the model is opened "
            "with an output matrix of its own",
            stacklevel=2,
        )
        return dataclasses.replace(config, tied=False), frozenset({_BIAS} & set(stored))
    if {_BIAS, _OUTPUT_BIAS} <= set(stored) and not (
        stored[_OUTPUT_BIAS] == stored[_BIAS] and same(_OUTPUT_BIAS, _BIAS)
    ):
        raise FormatError(f"{_OUTPUT_BIAS} differs from {_BIAS}, which is the same one\nGet the folder again.")
    return config, frozenset({_OUTPUT, _OUTPUT_BIAS} & set(stored))


def _whole(part: str, names: list[str], stored: Mapping[str, StoredTensor]) -> bool:
    """Whether the weights have a part of the model. Raises FormatError where they have only some of it."""
    missing = [name for name in names if name not in stored]
    if missing and len(missing) < len(names):
        raise FormatError(
            f"the weights hold only some of the {part}; missing: {', '.join(missing)}\n"
            "Get the folder again, complete, or take the rest out of the file to open the model without it."
        )
    return not missing


def _both(module: str) -> list[str]:
    return [f"{module}.weight", f"{module}.bias"]


def _pair(theirs: str, ours: str, shape: tuple[int, ...]) -> list[TensorName]:
    """The weight and bias of a norm or, where the shape has two sizes, of a linear layer."""
    return [
        TensorName(foreign=f"{theirs}.weight", ours=f"{ours}.weight", shape=shape),
        TensorName(foreign=f"{theirs}.bias", ours=f"{ours}.bias", shape=shape[:1]),
    ]


def _parts(begin: str, theirs: tuple[str, ...], ours: str, shape: tuple[int, ...]) -> list[TensorName]:
    """The tensors of one module of a layer, which may be several of theirs, one below the other."""
    if len(theirs) == 1:
        return _pair(f"{begin}.{theirs[0]}", ours, shape)
    rows = shape[0] // len(theirs)
    return [
        dataclasses.replace(name, first=at * rows)
        for at, part in enumerate(theirs)
        for name in _pair(f"{begin}.{part}", ours, (rows, *shape[1:]))
    ]
