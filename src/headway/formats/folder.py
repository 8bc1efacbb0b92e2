"""A model folder, in and out: configuration, weights, tokenizer, generation settings and card.

It is the layout of Hugging Face's transformers. Opening a folder runs no code and reads nothing outside it.
"""

import fnmatch
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from headway.errors import ConfigError, FormatError, ResourceError, StorageError
from headway.formats.bundled import bundled_names, locate
from headway.formats.card import CardFacts, short_card
from headway.formats.companions import CACHE, check_tokenizer, load_tokenizer
from headway.formats.companions import CONFIG as CONFIG
from headway.formats.companions import GENERATION as GENERATION
from headway.formats.companions import read_generation as read_generation
from headway.formats.layout import Layout
from headway.formats.layouts import LAYOUTS, Model, layout_of
from headway.formats.reading import inside, present, read_json
from headway.formats.safetensors_file import Writing, write_safetensors
from headway.formats.weights import (
    INDEX,
    SINGLE,
    Weights,
    WithoutDrawing,
    check_names,
    fill,
    materialise,
    open_weights,
    stored_precision,
    writings,
)
from headway.models.registry import FAMILIES, family_of
from headway.storage import new_folder, replace_file, require_free, require_space, sweep
from headway.text.tokenizer import Tokenizer

CARD = "README.md"
LONGEST_SOURCE = "headway_longest_source"
"""The key of generation_config.json with the most source tokens, the end included, that a model learnt from."""
TARGET = "target"
"""The folder in a model folder with the target's tokenizer, where it is not the source's too."""
LARGEST_SHARD = 5_000_000_000

# What a model's folder may hold when it is overwritten; anything else is somebody's own and stays.
_PARTS = (
    *(CONFIG, GENERATION, CARD, "LICENSE*", "NOTICE*", ".gitattributes", "training", "adapter", "recipe.toml"),
    TARGET,
    CACHE,
    "metrics.jsonl",
    *("model.safetensors", "model-?????-of-?????.safetensors", INDEX),
    *("pytorch_model.bin", "pytorch_model-?????-of-?????.bin", "pytorch_model.bin.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
    *("merges.txt", "encoder.json", "vocab.bpe", "vocab.txt", "chat_template.jinja"),
)


def load(
    name_or_path: str | Path, *, device: str | torch.device = "cpu", dtype: str | torch.dtype | None = None
) -> tuple[Model, Tokenizer | None]:
    """A model folder's model, in evaluation mode, and its tokenizer.

    The tokenizer is None where the folder has none, or, with a warning, one of an unknown kind. dtype: None keeps the
    stored precision. Raises FormatError where the folder is damaged, contradicts itself or asks for what is not
    supported, ResourceError where the device is not there or has too little memory.
    """
    folder = locate(name_or_path)
    sweep(folder)
    while True:
        identity = folder.stat().st_ino
        try:
            loaded = _load(folder, _device(device), None if dtype is None else precision_named(dtype))
        except FormatError:
            if folder.is_dir() and folder.stat().st_ino == identity:
                raise
        else:
            if folder.stat().st_ino == identity:
                return loaded
        # Another folder took this one's place while it was read: what was read may be of both.


def save(
    model: Model,
    tokenizer: Tokenizer | None,
    path: str | Path,
    *,
    overwrite: bool = False,
    card: str | None = None,
    generation: Mapping[str, object] | None = None,
    target_tokenizer: Tokenizer | None = None,
) -> None:
    """Write a model folder, whole or not at all, in the model's own precision.

    Only a model's folder is ever overwritten, and it stays until the new one is complete. card: the text of README.md;
    None: a short one. generation: the settings for generation_config.json. target_tokenizer: of a model whose target
    has a vocabulary of its own, where `tokenizer` is the source's. Raises StorageError where `path` is taken
    or cannot be written, FormatError where the tokenizer does not fit the model or a weight is not finite.
    """
    path = Path(path)
    check_target(path, overwrite)
    with new_folder(path, overwrite=overwrite) as folder:
        write_folder(
            model,
            tokenizer,
            folder,
            name=path.name,
            card=card,
            generation=generation,
            target_tokenizer=target_tokenizer,
        )


# Seven parameters: the parts of a folder, each its own.
def write_folder(
    model: Model,
    tokenizer: Tokenizer | None,
    folder: Path,
    *,
    name: str,
    card: str | None = None,
    generation: Mapping[str, object] | None = None,
    target_tokenizer: Tokenizer | None = None,
) -> None:
    """Write a model folder's files into an empty folder."""
    layout = layout_of(model)
    config = model.config
    check_tokenizer(tokenizer, _source_vocabulary(config))
    check_tokenizer(target_tokenizer, config.vocabulary)
    names = layout.tensors(config)
    _write_weights(folder, writings(model, names))
    writes = target_tokenizer or tokenizer
    end = None if writes is None else writes.end_of_text
    table = layout.write_config(config)
    table["dtype"] = str(next(model.parameters()).dtype).removeprefix("torch.")
    special: dict[str, int | None] = {"bos_token_id": end, "eos_token_id": end}
    if family_of(model).reads_source and end is not None:
        known = [end, *([] if tokenizer is None or tokenizer.end_of_text is None else [tokenizer.end_of_text])]
        # Padding is given to both sides, so its id must be one of each.
        special |= {"decoder_start_token_id": end, "pad_token_id": min(known)}
    table = {**special, **table}
    _write_json(folder / CONFIG, table)
    defaults = {key: table[key] for key in special}
    _write_json(folder / GENERATION, {**defaults, **(generation or {})})
    if tokenizer is not None:
        tokenizer.save(folder)
    if target_tokenizer is not None:
        (folder / TARGET).mkdir()
        target_tokenizer.save(folder / TARGET)
    _write_text(folder / CARD, card if card is not None else _card(model, layout, table["dtype"], name))


def replace_weights(folder: str | Path, model: Model) -> None:
    """Put the model's weights in place of a folder's, by the rename of one file; nothing else in it changes.

    Raises StorageError where writing fails, and FormatError where a weight is not finite; the old weights then stay.
    """
    folder = Path(folder)
    contents = writings(model, layout_of(model).tensors(model.config))
    require_space(folder, _bytes(contents))
    replace_file(folder / SINGLE, lambda partial: write_safetensors(partial, contents))
    if present(folder, INDEX):  # the parts that the single file replaces, which come second when both are there
        shards = set(read_json(folder, INDEX).get("weight_map", {}).values())
        (folder / INDEX).unlink()
        for shard in shards:
            inside(folder, shard).unlink()


def read_config(folder: str | Path) -> Any:
    """The settings of a folder's model, of its family's class. Raises FormatError."""
    table, layout = _table(locate(folder))
    return layout.read_config(table)


def read_model_type(folder: str | Path) -> str:
    """The `model_type` of a folder's config.json, one of LAYOUTS. Raises FormatError."""
    _, layout = _table(locate(folder))
    return layout.model_type


def family_of_folder(folder: str | Path) -> str:
    """The name of the family of a folder's model. Raises FormatError."""
    _, layout = _table(locate(folder))
    return layout.family


def load_target_tokenizer(name_or_folder: str | Path) -> Tokenizer | None:
    """The tokenizer of the target where it has a vocabulary of its own; None where one tokenizer serves both.

    Takes what `Tokenizer.load` takes, and bundled models. Raises FormatError where it is damaged.
    """
    if not Path(name_or_folder).is_dir() and str(name_or_folder) not in bundled_names():
        return None  # a shipped vocabulary, which has one side
    folder = locate(name_or_folder)
    return Tokenizer.load(folder / TARGET) if present(folder, TARGET) else None


def check_target(path: Path, overwrite: bool) -> None:
    """Raises StorageError where a model folder may not be written to `path`: taken, or no model's folder."""
    check_replaceable(path, overwrite, _PARTS)


def check_replaceable(path: Path, overwrite: bool, parts: tuple[str, ...]) -> None:
    """Raises StorageError where a folder may not be written to `path`: taken, or not made of these parts alone.

    parts: patterns of file names, of which the first must be there in a folder that is to be overwritten.
    """
    sweep(path)
    require_free(path, overwrite=overwrite)
    names = sorted(os.listdir(path)) if path.is_dir() else []
    if names and parts[0] not in names:
        raise StorageError(
            f"{path} holds no {parts[0]}, so it is no model's folder and is not overwritten\nChoose another folder."
        )
    strange = [name for name in names if not any(fnmatch.fnmatchcase(name, part) for part in parts)]
    if strange:
        raise StorageError(
            f"{path} holds {', '.join(strange[:3])}, which is no part of a model, so it is not overwritten\n"
            "Move that elsewhere, or choose another folder."
        )


def _load(folder: Path, device: torch.device, dtype: torch.dtype | None) -> tuple[Model, Tokenizer | None]:
    table, layout = _table(folder)
    config = layout.read_config(table)
    tokenizer = load_tokenizer(folder)
    check_tokenizer(tokenizer, _source_vocabulary(config))
    with open_weights(folder, layout) as weights:
        config, skipped = layout.settle(config, weights.tensors, weights.same)
        _check_size(config.n_parameters(), weights)
        names = layout.tensors(config)
        check_names(weights, names, skipped)
        dtype = dtype or stored_precision(weights, names)
        try:
            model = _build(layout, config, dtype, device)
            fill(model, weights, names)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise ResourceError(
                f"the model's {config.n_parameters():,} parameters do not fit the memory of {device}\n"
                "Load it in a smaller precision (dtype='bfloat16') or on another device."
            ) from error
    return model.eval(), tokenizer


def _build(layout: Layout, config: Any, dtype: torch.dtype, device: torch.device) -> Model:
    with torch.device("meta"), WithoutDrawing():
        model = FAMILIES[layout.family].model(config)
    assert isinstance(model, Model)
    materialise(model, dtype, device)
    return model


def _table(folder: Path) -> tuple[dict[str, Any], Layout]:
    if not present(folder, CONFIG):
        raise FormatError(f"{folder} has no {CONFIG}, so it is no model folder\nGive the folder that holds one.")
    table = read_json(folder, CONFIG)
    kind = table.get("model_type")
    if not isinstance(kind, str) or kind not in LAYOUTS:
        raise FormatError(
            f"{folder / CONFIG} has model_type={ascii(kind)[:60]}, which is not supported\n"
            f"Supported are: {', '.join(LAYOUTS)}."
        )
    return table, LAYOUTS[kind]


def _source_vocabulary(config: Any) -> int:
    """The ids of what the model's first tokenizer encodes: the source where it has a vocabulary of its own."""
    own: int | None = getattr(config, "source_vocabulary", None)
    vocabulary: int = config.vocabulary
    return vocabulary if own is None else own


def _check_size(n_parameters: int, weights: Weights) -> None:
    """No memory is asked for before the files are known to hold as much; no precision takes under two bytes."""
    if 2 * n_parameters > weights.size:
        raise FormatError(
            f"{CONFIG} describes {n_parameters:,} parameters, but the weight files have {weights.size:,} bytes\n"
            "Get both from the same model, complete."
        )


def _device(device: str | torch.device) -> torch.device:
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device must be cpu, cuda, cuda:0, mps or the like, but got {device!r}") from error
    missing_cuda = chosen.type == "cuda" and not torch.cuda.is_available()
    if missing_cuda or (chosen.type == "mps" and not torch.backends.mps.is_available()):
        raise ResourceError(f"device={str(device)!r} is not there, or PyTorch was built without it\nUse device='cpu'.")
    return chosen


def precision_named(dtype: str | torch.dtype) -> torch.dtype:
    """The precision itself, or the one of that name. Raises ConfigError for one that weights do not come in."""
    known = {name: getattr(torch, name) for name in ("float64", "float32", "float16", "bfloat16")}
    if dtype in known.values():
        assert isinstance(dtype, torch.dtype)
        return dtype
    if str(dtype) not in known:
        raise ConfigError(f"dtype must be one of {', '.join(known)}, but got {dtype!r}")
    chosen: torch.dtype = known[str(dtype)]
    return chosen


def _write_weights(folder: Path, contents: dict[str, Writing]) -> None:
    total = _bytes(contents)
    require_space(folder, total)
    if total <= LARGEST_SHARD:
        write_safetensors(folder / SINGLE, contents)
        return
    shards: list[dict[str, Writing]] = [{}]
    for name, writing in contents.items():
        if shards[-1] and _bytes(shards[-1]) + _bytes({name: writing}) > LARGEST_SHARD:
            shards.append({})
        shards[-1][name] = writing
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / file, shard)
        places |= dict.fromkeys(shard, file)
    _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def _bytes(contents: Mapping[str, Writing]) -> int:
    return sum(torch.Size(shape).numel() * dtype.itemsize for dtype, shape, _ in contents.values())


def _card(model: Model, layout: Layout, precision: str, name: str) -> str:
    config = model.config
    return short_card(
        CardFacts(
            name=name,
            family=layout.family,
            parameters=config.n_parameters(),
            precision=precision,
            vocabulary=config.vocabulary,
            context=config.context,
        )
    )


def _write_json(path: Path, table: Mapping[str, Any]) -> None:
    _write_text(path, json.dumps(table, indent=2, sort_keys=True) + "\n")


def _write_text(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


__all__ = ["load", "read_config", "read_generation", "replace_weights", "save", "sweep"]
