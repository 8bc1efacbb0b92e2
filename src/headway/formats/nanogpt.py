"""nanoGPT's ckpt.pt: a table of the model's tensors, its sizes, and how far training had come.

The names are those of transformers, but linear layers are (out, in), as ours are. It is opened by PyTorch's restricted
unpickler, so no code in it runs; the meta.pkl of a data set is a pickle like any other and is never opened.
"""

import dataclasses
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from headway.errors import FormatError, UsageError
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
from headway.formats.layout import StoredTensor, TensorName
from headway.formats.reading import inside, present
from headway.formats.safetensors_file import check_finite
from headway.models.gpt2 import GPT2, GPT2Config
from headway.storage import require_space
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.tokenizer import Tokenizer

CHECKPOINT = "ckpt.pt"

_ARGUMENTS = f"model_args of {CHECKPOINT}"
_PARTS = (CHECKPOINT, *TOKENIZER_FILES)
_KEYS = {
    "n_layer": "n_layers",
    "n_head": "n_heads",
    "n_embd": "width",
    "block_size": "context",
    "vocab_size": "vocabulary",
}
_COMPILED = "_orig_mod."  # what torch.compile puts before every name
_HEAD, _TOKENS = "lm_head.weight", "transformer.wte.weight"
_GPT2_SIZES = (50257, 50304)  # the vocabulary, and the same filled up to a multiple of 64
_HISTORY = "nanogpt"  # the key of config.json under which what we do not use is kept
_LONGEST_VALUE = 4096
_UNTRAINED_LOSS = 1e9  # nanoGPT's own first value


def recognise(path: Path) -> bool:
    """Whether the path is such a file, under whatever name, or a folder with a ckpt.pt."""
    return present(path, CHECKPOINT) if path.is_dir() else path.suffix == ".pt"


def read(path: Path) -> Contents:
    """The model of such a file or folder; the tokenizer that lies beside it, else GPT-2's where the size says so.

    Raises FormatError where the file is damaged or holds anything but tensors and plain values.
    """
    folder = path if path.is_dir() else path.parent
    file = _CheckpointFile(inside(folder, CHECKPOINT) if path.is_dir() else path)
    try:
        config = LAYOUT.read_config(file.arguments)
        history = _history(file)
        if not history["bias"]:
            file.add_biases(_tensors(config))
        noted = history.get("config", {}).get("activation")
        if noted == "gelu_tanh":
            config = dataclasses.replace(config, activation=noted)
        config = dataclasses.replace(config, foreign={_HISTORY: history})
        model = read_model({file.path: file}, LAYOUT, config, _ARGUMENTS)
    finally:
        file.close()
    tokenizer = _tokenizer(folder, config.vocabulary)
    return Contents(model=model, tokenizer=tokenizer, name=folder.name, card=None, generation={})


def write(contents: Contents, folder: Path) -> None:
    """Write a ckpt.pt, and the tokenizer where it is not GPT-2's, into an empty folder.

    The optimiser's state in it is that of one that has not stepped yet. Raises FormatError where nanoGPT cannot
    compute the model, or a weight is not finite; warns where it computes it with another form of GELU.
    """
    model = contents.gpt2("nanoGPT")
    config = model.config
    arguments = LAYOUT.write_config(config)
    history = config.foreign.get(_HISTORY)
    history = history if isinstance(history, Mapping) else {}
    settings = _plain(history.get("config"))
    settings.pop("activation", None)
    if config.activation == "gelu_tanh":
        settings = {**settings, "activation": config.activation}
        warnings.warn(
            "nanoGPT computes GELU exactly, and this model was made for its tanh form: on the ids of the check, "
            f"nanoGPT's own logits differ by up to {_difference(model):.1e}",
            stacklevel=2,
        )
    parameters = dict(model.named_parameters())
    tensors: dict[str, Tensor] = {}
    for name in _tensors(config):
        value = parameters[name.ours].detach().to("cpu")
        check_finite(name.foreign, value, CHECKPOINT)
        tensors[name.foreign] = value
    biases = [name for name in tensors if name.endswith(".bias")]
    if history.get("bias") is False and not any(bool(tensors[name].any()) for name in biases):
        arguments["bias"] = False
        tensors = {name: value for name, value in tensors.items() if name not in biases}
    optimiser = _fresh_optimiser(list(tensors.values()))
    tensors[_HEAD] = tensors[_TOKENS]
    require_space(folder, sum(value.numel() * value.itemsize for value in parameters.values()))
    checkpoint = {
        "model": tensors,
        "optimizer": optimiser,
        "model_args": arguments,
        "iter_num": history.get("iter_num", 0),
        "best_val_loss": history.get("best_val_loss", _UNTRAINED_LOSS),
        "config": settings,
    }
    torch.save(checkpoint, folder / CHECKPOINT)
    if contents.tokenizer is not None and not _is_gpt2(contents.tokenizer, config.vocabulary):
        contents.tokenizer.save(folder)


def check_target(path: Path, overwrite: bool) -> None:
    """Raises UsageError for a name that is a file's, StorageError where no such folder may be written to `path`."""
    if path.suffix == ".pt":
        raise UsageError(f"{path} would be a folder, in which {CHECKPOINT} is written\nGive the folder's name.")
    check_replaceable(path, overwrite, _PARTS)


class _CheckpointFile:
    """The tensors under `model`, mapped into memory, and what else the file says."""

    def __init__(self, path: Path) -> None:
        """Raises FormatError where the file is damaged or is no such table of plain tensors."""
        self.path = path
        whole = _load(path)
        tables: list[Any] = [whole.get(key) for key in ("model", "model_args")] if isinstance(whole, dict) else []
        if not tables or not all(isinstance(table, dict) for table in tables):
            raise FormatError(
                f"{path} is no checkpoint of nanoGPT: it must hold the tables model and model_args\n"
                "A state_dict alone does not say how many heads a model has."
            )
        self._values: dict[str, Any] = tables[0]
        self.arguments: dict[str, Any] = tables[1]
        self.rest = {key: whole.get(key) for key in ("iter_num", "best_val_loss", "config")}
        size = path.stat().st_size
        for name, value in self._values.items():
            if not (isinstance(name, str) and _is_plain(value) and value.numel() * value.itemsize <= size):
                raise FormatError(
                    f"{path} must hold plain tensors that fill their place in it, but {ascii(name)[:80]} is another"
                    " thing\nGet the file again."
                )
        self.tensors = {
            name: StoredTensor(shape=tuple(value.shape), dtype=value.dtype) for name, value in self._values.items()
        }

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """A tensor's rows (or elements, with one dimension) from `start` to `stop`; zeros for an added bias."""
        value: Tensor | None = self._values.get(name)
        return torch.zeros(stop - start, dtype=self.tensors[name].dtype) if value is None else value[start:stop]

    def add_biases(self, names: list[TensorName]) -> None:
        """Stand in for the biases of a model that has none: zeros compute the same."""
        dtype = next((stored.dtype for stored in self.tensors.values()), torch.float32)
        for name in names:
            if name.foreign.endswith(".bias"):
                self.tensors.setdefault(name.foreign, StoredTensor(shape=name.shape, dtype=dtype))

    def close(self) -> None:
        self._values = {}


def _load(path: Path) -> Any:
    """Whatever the restricted unpickler makes of the file: tensors, plain values and tables of them."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise ValueError("it holds compressed parts, which torch.save never writes")
            if sum(part.file_size for part in parts) > path.stat().st_size:
                raise ValueError("its parts are together larger than it is")
            damaged = archive.testzip()  # what is mapped into memory has its checksum verified by nobody else
            if damaged is not None:
                raise ValueError(f"the checksum of its part {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged pickle fails in any way there is
        reason = ascii(str(error).split("\n", 1)[0])[1:-1][:200]
        raise FormatError(
            f"{path} cannot be opened as a checkpoint: {reason}\n"
            "Only tensors and plain values are read from it, code never. Get the file again."
        ) from error


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _read_config(table: Mapping[str, Any]) -> GPT2Config:
    """The settings in model_args. The GELU is nanoGPT's own, the exact one, unless our note in `config` says else."""
    unknown = sorted(map(str, table.keys() - {*_KEYS, "bias", "dropout"}))
    if unknown:
        raise FormatError(
            f"{_ARGUMENTS} have {ascii(unknown)[1:-1][:200]}, which nanoGPT does not know\n"
            "The model is of a changed nanoGPT, whose graph may be another; it cannot be opened here."
        )
    dropout, bias = table.get("dropout", 0.0), table.get("bias", True)
    if type(dropout) not in (int, float) or type(bias) is not bool:
        raise FormatError(
            f"{_ARGUMENTS} have dropout={ascii(dropout)[:60]}, bias={ascii(bias)[:60]}, where a number and true or"
            " false belong\nGet the file again."
        )
    dropouts = dict.fromkeys(("embedding_dropout", "attention_dropout", "residual_dropout"), float(dropout))
    return described(_ARGUMENTS, {"activation": "gelu", **counts(_ARGUMENTS, table, _KEYS), **dropouts})


def _write_config(config: GPT2Config) -> dict[str, Any]:
    """model_args for the settings. Raises FormatError where nanoGPT's graph is another."""
    activation = "gelu_tanh" if config.activation == "gelu_tanh" else "gelu"
    require_settings(config, "nanoGPT", activation=activation)
    table = {foreign: getattr(config, ours) for foreign, ours in _KEYS.items()}
    return {**table, "bias": True, "dropout": config.residual_dropout}


def _tensors(config: GPT2Config) -> list[TensorName]:
    return [
        dataclasses.replace(name, shape=name.shape[::-1], transposed=False) if name.transposed else name
        for name in gpt2.tensors(config)
    ]


def _rename(name: str) -> str | None:
    return gpt2.rename(name.removeprefix(_COMPILED))


def _settle(
    config: GPT2Config, stored: Mapping[str, StoredTensor], same: Callable[[str, str], bool]
) -> tuple[GPT2Config, frozenset[str]]:
    """nanoGPT ties the output matrix to the embedding and stores it twice; one that differs is kept, and said."""
    if _HEAD not in stored or stored[_HEAD] != stored.get(_TOKENS):
        return config, frozenset()  # a misfit is named when all names are checked
    if same(_HEAD, _TOKENS):
        return config, frozenset({_HEAD})
    warnings.warn(
        f"{_HEAD} differs from {_TOKENS}, though nanoGPT has one matrix for both: the model is opened with an output"
        " matrix of its own",
        stacklevel=2,
    )
    return dataclasses.replace(config, tied=False), frozenset()


def _history(file: _CheckpointFile) -> dict[str, Any]:
    """What we do not use and give back: how far training had come, its settings, and whether there are biases."""
    steps, loss = file.rest["iter_num"], file.rest["best_val_loss"]
    if isinstance(loss, Tensor) and loss.numel() == 1:
        loss = loss.item()
    stored = any(re.search(r"\.(ln_\w|c_\w+)\.bias$", name) for name in file.tensors)
    if stored and not file.arguments.get("bias", True):
        raise FormatError(f"{file.path} contradicts itself: bias=False, and biases\nGet the file again.")
    history = {"iter_num": steps, "best_val_loss": loss, "config": _plain(file.rest["config"])}
    return {"bias": file.arguments.get("bias", stored)} | _plain(history, tables=True)


def _plain(table: object, tables: bool = False) -> dict[str, Any]:
    """The entries of a table that JSON can say and give back."""
    if not isinstance(table, Mapping):
        return {}
    return {
        key: value
        for key, value in table.items()
        if isinstance(key, str)
        and (
            (type(value) in (int, str, bool) and len(str(value)) < _LONGEST_VALUE)
            or (type(value) is float and math.isfinite(value))
            or (tables and isinstance(value, dict))
        )
    }


def _tokenizer(folder: Path, vocabulary: int) -> Tokenizer | None:
    tokenizer = read_tokenizer(folder, TOKENIZER_FILES)
    if tokenizer is not None:
        return tokenizer
    pickled = " The meta.pkl beside it is a pickle and is not opened." if present(folder, "meta.pkl") else ""
    if vocabulary in _GPT2_SIZES:
        warnings.warn(
            f"{CHECKPOINT} has no tokenizer; its {vocabulary} ids are taken for those of GPT-2's.{pickled}",
            stacklevel=3,
        )
        return Tokenizer.load("gpt2")
    warnings.warn(
        f"{CHECKPOINT} has no tokenizer, and {vocabulary} ids are not GPT-2's: the model is opened without one."
        f"{pickled or ' A meta.pkl is a pickle and is never opened.'}",
        stacklevel=3,
    )
    return None


def _is_gpt2(tokenizer: Tokenizer, vocabulary: int) -> bool:
    if vocabulary not in _GPT2_SIZES or not isinstance(tokenizer, ByteLevelTokenizer):
        return False
    shipped = Tokenizer.load("gpt2")
    return isinstance(shipped, ByteLevelTokenizer) and tokenizer.vocabulary == shipped.vocabulary


def _difference(model: GPT2) -> float:
    """The largest difference between the model's logits and those with the exact GELU, on ids that stay the same."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocabulary, (2, min(model.context, 32)), generator=generator)
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "activate")]
    own = [layer.activate for layer in layers]
    with torch.no_grad():
        expected = model(ids)
        try:
            for layer in layers:
                layer.activate = functional.gelu
            return float((model(ids) - expected).abs().max())
        finally:
            for layer, activate in zip(layers, own, strict=True):
                layer.activate = activate


def _fresh_optimiser(tensors: list[Tensor]) -> dict[str, Any]:
    """The state of nanoGPT's AdamW before its first step, without which it does not go on: only matrices decay."""
    matrices = [torch.zeros(1) for value in tensors if value.dim() >= 2]
    others = [torch.zeros(1) for value in tensors if value.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95)).state_dict()


LAYOUT = dataclasses.replace(
    gpt2.LAYOUT,
    model_type="nanogpt",
    read_config=_read_config,
    write_config=_write_config,
    tensors=_tensors,
    rename=_rename,
    settle=_settle,
)
