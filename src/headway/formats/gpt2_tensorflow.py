"""GPT-2 as OpenAI released it: a TensorFlow checkpoint with hparams.json, encoder.json and vocab.bpe beside it.

The names and shapes are those of the released code (src/model.py of openai/gpt-2): linear layers are convolutions of
width one, (1, in, out), and the gain of a norm is `g`. Optimisers' slots, which end a parameter's name, are left out.
"""

import dataclasses
import json
import logging
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headway.errors import FormatError
from headway.formats import gpt2
from headway.formats.contents import (
    TOKENIZER_FILES,
    Contents,
    counts,
    described,
    read_model,
    read_tokenizer,
    require_settings,
)
from headway.formats.folder import check_replaceable
from headway.formats.layout import TensorName
from headway.formats.reading import inside, present, read_json
from headway.formats.safetensors_file import Writing
from headway.formats.tensor_bundle import INDEX_SUFFIX, TensorBundle, write_bundle
from headway.formats.weights import writings
from headway.models.gpt2 import GPT2Config
from headway.storage import require_space
from headway.text.byte_alphabet import to_text
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.tokenizer import Tokenizer
from headway.text.vocabulary import END_OF_TEXT

HPARAMS = "hparams.json"
STATE = "checkpoint"
PRECISION = torch.float32
"""The one that the released code declares its variables in."""

_NAME = "model.ckpt"
_ENCODER, _MERGES = "encoder.json", "vocab.bpe"
_PARTS = (HPARAMS, STATE, "*.index", "*.data-?????-of-?????", "*.meta", _ENCODER, _MERGES, *TOKENIZER_FILES)
_KEYS = {"n_vocab": "vocabulary", "n_ctx": "context", "n_embd": "width", "n_head": "n_heads", "n_layer": "n_layers"}
_LARGEST_STATE = 1 << 20
_PARAMETER = re.compile(r"model/(wte|wpe|ln_f/[gb]|h\d+/(ln_[12]/[gb]|(attn|mlp)/c_(attn|fc|proj)/[wb]))")

logger = logging.getLogger(__name__)


def recognise(path: Path) -> bool:
    """Whether the path is such a folder, or the index or `checkpoint` file in one."""
    if path.is_dir():
        return present(path, STATE) or any(path.glob(f"*{INDEX_SUFFIX}"))
    return path.name == STATE or path.suffix == INDEX_SUFFIX


def read(path: Path) -> Contents:
    """The model and tokenizer of such a folder, or of the checkpoint whose index file `path` is.

    Raises FormatError where a file is missing, damaged, or contradicts another.
    """
    folder = path if path.is_dir() else path.parent
    name = path.name.removesuffix(INDEX_SUFFIX) if path.suffix == INDEX_SUFFIX else _latest(folder)
    config = _read_hparams(folder)
    bundle = TensorBundle(folder, name, wanted=_is_weight)
    try:
        skipped = [found for found in bundle.names if found not in bundle.tensors]
        if skipped:
            logger.info("%s: %d tensors that are no weights are not read: %s", folder, len(skipped), skipped[:3])
        for found, stored in bundle.tensors.items():
            if len(stored.shape) == 3 and stored.shape[0] == 1:
                bundle.reshape(found, stored.shape[1:])
        model = read_model({folder / f"{name}{INDEX_SUFFIX}": bundle}, LAYOUT, config, HPARAMS)
    finally:
        bundle.close()
    tokenizer = read_tokenizer(folder, (_ENCODER, _MERGES, *TOKENIZER_FILES))
    return Contents(model=model, tokenizer=tokenizer, name=folder.name, card=None, generation={})


def write(contents: Contents, folder: Path) -> None:
    """Write such a folder's files into an empty folder.

    Raises FormatError where the released code cannot compute the model, or a weight is not finite.
    """
    model = contents.gpt2("OpenAI's TensorFlow layout")
    config = model.config
    table = _write_config(config)
    tensors = {
        name: _one_wide(writing) if name.endswith("/w") else writing._replace(dtype=PRECISION)
        for name, writing in writings(model, _tensors(config)).items()
    }
    require_space(folder, config.n_parameters() * PRECISION.itemsize)
    write_bundle(folder, _NAME, tensors)
    _write_text(folder / STATE, f'model_checkpoint_path: "{_NAME}"\nall_model_checkpoint_paths: "{_NAME}"\n')
    _write_text(folder / HPARAMS, json.dumps(table, indent=2) + "\n")
    if contents.tokenizer is not None:
        _write_tokenizer(contents.tokenizer, folder)


def check_target(path: Path, overwrite: bool) -> None:
    """Raises StorageError where such a folder may not be written to `path`."""
    check_replaceable(path, overwrite, _PARTS)


def _latest(folder: Path) -> str:
    """The name of the checkpoint that the folder's state file names or, without one, of the only one there is."""
    if not present(folder, STATE):
        names = sorted(found.name for found in folder.glob(f"*{INDEX_SUFFIX}"))
        if len(names) != 1:
            raise FormatError(
                f"{folder} holds {len(names)} checkpoints and no file named {STATE} that says which to take\n"
                f"Give one of them itself: {', '.join(names[:3]) or 'its .index file'}."
            )
        return names[0].removesuffix(INDEX_SUFFIX)
    path = inside(folder, STATE)
    if path.stat().st_size > _LARGEST_STATE:
        raise FormatError(f"{folder / STATE} has {path.stat().st_size} bytes; at most {_LARGEST_STATE} are read")
    text = path.read_text(encoding="utf-8", errors="replace")
    found = re.findall(r'^[ \t]*model_checkpoint_path[ \t]*:[ \t]*"(.*)"[ \t\r]*$', text, re.MULTILINE)
    if len(found) != 1:
        raise FormatError(f"{folder / STATE} names no checkpoint, or several\nGive the .index file itself.")
    name: str = found[0]
    if not re.fullmatch(r"[\w.-]{1,200}", name, re.ASCII) or name in (".", ".."):
        raise FormatError(
            f"{folder / STATE} names the checkpoint {ascii(name)[:120]}, which is not a plain name in its own folder\n"
            "It is not opened. Give the .index file itself."
        )
    return name


def _read_hparams(folder: Path) -> GPT2Config:
    if not present(folder, HPARAMS):
        raise FormatError(
            f"{folder} has no {HPARAMS}, which says how many heads the model has\n"
            f"Put the one there that it was trained with; it gives {', '.join(_KEYS)}."
        )
    return _read_config(read_json(folder, HPARAMS))


def _read_config(table: Mapping[str, Any]) -> GPT2Config:
    unknown = sorted(table.keys() - _KEYS.keys())
    if unknown:
        logger.warning("%s: not used, for the released graph does not know them: %s", HPARAMS, ascii(unknown)[:200])
    return described(HPARAMS, counts(HPARAMS, table, _KEYS))


def _write_config(config: GPT2Config) -> dict[str, Any]:
    require_settings(config, "The released TensorFlow code", activation="gelu_tanh")
    return {foreign: getattr(config, ours) for foreign, ours in _KEYS.items()}


def _tensors(config: GPT2Config) -> list[TensorName]:
    """Every parameter by its released name; `transposed` ones have lost their first size, which is 1."""
    return [dataclasses.replace(name, foreign=_released(name.foreign)) for name in gpt2.tensors(config)]


def _released(name: str) -> str:
    """`transformer.h.0.ln_1.weight` as `model/h0/ln_1/g`, and so on."""
    *places, kind = re.sub(r"\.h\.", ".h", name).removeprefix("transformer.").split(".")
    if places[0] in ("wte", "wpe"):
        return f"model/{places[0]}"
    letter = "b" if kind == "bias" else "g" if places[-1].startswith("ln_") else "w"
    return "/".join(("model", *places, letter))


def _is_weight(name: str) -> bool:
    """Any tensor of the model, be it an unknown one, but for the slots below a parameter."""
    parameter = _PARAMETER.match(name)
    return name.startswith("model/") and not (parameter and name[parameter.end() :].startswith("/"))


def _one_wide(writing: Writing) -> Writing:
    return Writing(PRECISION, (1, *writing.shape), partial(_unsqueezed, writing))


def _unsqueezed(writing: Writing) -> Tensor:
    return writing.values().unsqueeze(0)  # (in, out) -> (1, in, out)


def _write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """encoder.json and vocab.bpe and, where the vocabulary has more than those can say, our own files too."""
    if not isinstance(tokenizer, ByteLevelTokenizer):
        tokenizer.save(folder)
        return
    vocabulary = tokenizer.vocabulary
    special = set(vocabulary.special_tokens.values())
    ids = {
        token.decode() if number in special else to_text(token): number
        for number, token in enumerate(vocabulary.tokens)
    }
    merges = "".join(f"{to_text(left)} {to_text(right)}\n" for left, right in vocabulary.merges)
    _write_text(folder / _ENCODER, json.dumps(ids))
    _write_text(folder / _MERGES, f"#version: 0.2\n{merges}")
    named = [END_OF_TEXT] if END_OF_TEXT in ids else []
    if list(vocabulary.special_tokens) != named or vocabulary.end_of_text != (named[0] if named else None):
        tokenizer.save(folder)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


LAYOUT = dataclasses.replace(
    gpt2.LAYOUT,
    model_type="openai",
    read_config=_read_config,
    write_config=_write_config,
    tensors=_tensors,
    rename=str,
)
