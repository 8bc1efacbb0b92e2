"""Export and import: from our model folders to another format and back, each proved before it counts.

The model is written, opened again, and given the same random ids as the source: the largest difference between the two
sets of logits is what is reported. A target that differs too much is not kept.
"""

import copy
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from headway.errors import ConfigError, FormatError, UsageError
from headway.formats import gguf, gpt2_tensorflow, nanogpt, peft
from headway.formats.bundled import bundled_names, locate
from headway.formats.contents import Contents
from headway.formats.folder import (
    CARD,
    CONFIG,
    check_target,
    family_of_folder,
    load,
    load_target_tokenizer,
    precision_named,
    read_generation,
    read_model_type,
    write_folder,
)
from headway.formats.layouts import Model
from headway.formats.own_names import OWN
from headway.formats.reading import inside, present
from headway.models.registry import FAMILIES, family_of
from headway.settings import unknown_setting
from headway.storage import new_folder

# For logits of the usual size, computed in float32 at least: what the order of sums may change, and what weights
# rounded to so few bits may (the half precisions keep 11 and 8).
_ROUNDING = 1e-4
_TOLERANCES = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 2e-1}
_LARGEST_CARD = 1 << 20
_POSITIONS = 32  # that the two are compared on


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was done: `largest_difference` between the logits of source and target, and what computed the target's.

    base: the model that an adapter was added to.
    """

    source: str
    target: str
    kind: str
    parameters: int
    largest_difference: float
    checked_with: str
    base: str | None = None


def _put_folder(path: Path, overwrite: bool, fill: Callable[[Path], None]) -> None:
    with new_folder(path, overwrite=overwrite) as folder:
        fill(folder)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A format: whether a path holds it, its reader and writer, and a foreign reader's logits where there is one.

    check_target raises StorageError where it may not be written to a path. precision: the only one it has, if so.
    typed: for a format whose matrices come in types, of which `write` takes the first: what gives a model the weights
    that it has in a type, in place, and what writes it. put: makes a path whole or not at all, by what fills it.
    """

    recognise: Callable[[Path], bool]
    read: Callable[[Path], Contents]
    write: Callable[[Contents, Path], None]
    foreign_logits: Callable[[Path, Tensor], tuple[str, Tensor] | None] = lambda folder, ids: None
    check_target: Callable[[Path, bool], None] = check_target
    precision: torch.dtype | None = None
    typed: Callable[[str], tuple[Callable[[Contents], None], Callable[[Contents, Path], None]]] | None = None
    put: Callable[[Path, bool, Callable[[Path], None]], None] = _put_folder


class _Reading(NamedTuple):
    """What is to be written, and the source's logits on `ids`.

    The target's may differ from them by `tolerance` or, where the weights were rounded to a type, from `rounded`.
    """

    contents: Contents
    ids: Tensor
    expected: Tensor
    tolerance: float
    rounded: Tensor | None = None


def export_model(
    source: str | Path,
    kind: str,
    target: str | Path,
    *,
    dtype: str | None = None,
    tensor_type: str | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Write a model folder (or a bundled model, by name) in another format, and precision where `dtype` is given.

    tensor_type: the type of a GGUF file's matrices, f32 unless given. With either, the difference reported is that of
    the rounding too. Raises UsageError for an unknown kind, ConfigError for an unknown dtype or type, or one that the
    format does not have, FormatError where the source is damaged, the format cannot say what the model computes or the
    target's logits differ, DependencyError where a package is missing, StorageError where the target is taken or cannot
    be written.
    """
    if kind not in KINDS:
        raise UsageError(unknown_setting(f"export kind {kind}", [f"export kind {known}" for known in KINDS]))
    writer = KINDS[kind]
    precision, only = None if dtype is None else precision_named(dtype), writer.precision
    if writer.typed is None and tensor_type is not None:
        raise UsageError(f"--type is for --to gguf, and --to {kind} has no types\nLeave it out, or give a --dtype.")
    if writer.typed is not None and dtype is not None:
        raise UsageError(f"--to {kind} has types of its own, so dtype={dtype!r} is not one\nGive a --type instead.")
    if only is not None and precision not in (None, only):
        raise ConfigError(
            f"--to {kind} always writes {str(only).removeprefix('torch.')}, so dtype={dtype!r} is not one"
        )
    change = None
    if writer.typed is not None and tensor_type is not None:
        change, write = writer.typed(tensor_type)
        writer = replace(writer, write=write)
    read = partial(_read_model, "huggingface", precision=precision or only, change=change)
    return replace(_convert(read, locate(source), writer, Path(target), overwrite), kind=kind)


def import_model(
    source: str | Path, target: str | Path, *, base: str | Path | None = None, overwrite: bool = False
) -> Conversion:
    """Write a model of any format that is known by its files as a model folder of ours.

    An adapter of the peft library is added to the weights of `base`, a model folder or bundled name; None: of the model
    that it names itself, where that is one. Raises as `export_model`, and UsageError where that is none, or where
    `base` is given for anything else.
    """
    source = Path(source) if Path(source).is_file() else locate(source)
    if peft.recognise(source):
        return _import_adapter(source, Path(target), base, overwrite)
    if base is not None:
        raise UsageError(
            f"a base model is for an adapter, but {source} has no {peft.CONFIG}\n"
            "Leave out --base, or give the adapter's folder."
        )
    for kind, reader in KINDS.items():
        if reader.recognise(source):
            read = partial(_read_model, kind)
            return replace(_convert(read, source, KINDS["huggingface"], Path(target), overwrite), kind=kind)
    raise FormatError(
        f"{source} holds no model of a known format\nKnown are: {', '.join(KINDS)}, peft. A folder needs its {CONFIG}, "
        f"a checkpoint, a ckpt.pt or an {peft.CONFIG}."
    )


def _import_adapter(source: Path, target: Path, base: str | Path | None, overwrite: bool) -> Conversion:
    check_target(target, overwrite)
    folder = _base_of(source, base)
    _check_apart(source, target)
    _check_apart(folder, target)
    read = partial(_read_adapter, source, folder, target.name)
    return replace(
        _write_checked(read, KINDS["huggingface"], target, overwrite), source=str(source), kind="peft", base=str(folder)
    )


def _read_adapter(source: Path, folder: Path, name: str) -> _Reading:
    """The logits are those of the model with the adapter beside its weights, which are then added up."""
    contents = _read_huggingface(folder)
    adapter = peft.read(source, contents.model)
    ids = _ids(contents.model)
    with peft.attached(contents.model, adapter):
        expected = _logits(contents.model, ids)
    peft.merge(contents.model, adapter)
    dtype = next(contents.model.parameters()).dtype
    tolerance = _TOLERANCES.get(dtype, _ROUNDING)  # sums in half a precision are rounded once more
    return _Reading(replace(contents, name=name, card=None), ids, expected, tolerance)


def _base_of(source: Path, base: str | Path | None) -> Path:
    """The folder of the model that an adapter belongs to. Raises UsageError where nothing says which that is."""
    if base is not None:
        return locate(base)
    named = peft.base_named(source)
    if named is None or not (Path(named).is_dir() or named in bundled_names()):
        said = "does not say what it was trained on" if named is None else f"was trained on {ascii(named)[:200]}"
        raise UsageError(
            f"the adapter {source} {said}{'' if named is None else ', and no such folder is here'}\n"
            "Name the folder of that model: --base MODEL."
        )
    return locate(named)


def _check_apart(source: Path, target: Path) -> None:
    if os.path.realpath(source) == os.path.realpath(target):
        raise UsageError(f"source and target are the same folder, {source}\nName another target.")


def _convert(read: Callable[[Path], _Reading], source: Path, writer: Kind, target: Path, overwrite: bool) -> Conversion:
    writer.check_target(target, overwrite)
    _check_apart(source, target)
    return replace(_write_checked(partial(read, source), writer, target, overwrite), source=str(source))


def _read_model(
    origin: str, source: Path, precision: torch.dtype | None = None, change: Callable[[Contents], None] | None = None
) -> _Reading:
    contents = KINDS[origin].read(source)
    dtype = next(contents.model.parameters()).dtype
    ids = _ids(contents.model)
    expected = _logits(contents.model, ids)
    if precision is not None:
        contents.model.to(precision)
    rounded = None
    if change is not None:
        change(contents)
        rounded = _logits(contents.model, ids)
    narrows = precision is not None and torch.promote_types(dtype, precision) is not precision
    tolerance = _TOLERANCES[precision] if precision is not None and narrows else _ROUNDING
    return _Reading(contents, ids, expected, tolerance, rounded)


def _write_checked(read: Callable[[], _Reading], writer: Kind, target: Path, overwrite: bool) -> Conversion:
    """Write what is read, open it again and compare; the conversion's source and kind are the caller's to say."""
    contents, ids, expected, tolerance, rounded = read()
    parameters = contents.model.config.n_parameters()
    differences = []

    def fill(place: Path) -> None:
        nonlocal contents
        writer.write(contents, place)
        del contents  # two models at once would be twice the memory
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what was just written there is nothing to warn
            found = [("headway", _logits(writer.read(place).model, ids))]
        foreign = writer.foreign_logits(place, ids)
        if foreign is not None:
            found.append(foreign)
        wanted = expected if rounded is None else rounded
        scale = max(1.0, float(wanted.abs().max()) / 10)
        for name, logits in found:
            wrong = float((logits - wanted).abs().max())
            if not wrong <= tolerance * scale:
                raise FormatError(
                    f"the converted model's logits differ from the source's by {wrong:.2g}; at most "
                    f"{tolerance * scale:.2g} is rounding\n"
                    "Nothing was written. Report this with the model's config.json."
                )
            differences.append((name, float((logits - expected).abs().max())))

    writer.put(target, overwrite, fill)
    return Conversion(
        source="",
        target=str(target),
        kind="huggingface",
        parameters=parameters,
        largest_difference=max(difference for _, difference in differences),
        checked_with=", ".join(name for name, _ in differences),
    )


def _ids(model: Model) -> Tensor:
    """(2, T): the same for every model of the same vocabulary and context; a source and its target are the same."""
    generator = torch.Generator().manual_seed(0)
    known = min(model.config.vocabulary, getattr(model.config, "source_vocabulary", None) or model.config.vocabulary)
    return torch.randint(known, (2, min(model.context or _POSITIONS, _POSITIONS)), generator=generator)


def _logits(model: Model, ids: Tensor) -> Tensor:
    """The logits in float32 at least, so that a half precision's own arithmetic does not hide a wrong weight."""
    dtype = next(model.parameters()).dtype
    if torch.promote_types(dtype, torch.float32) is not dtype:
        model = copy.deepcopy(model).float()
    with torch.no_grad():
        logits = model(ids, None, ids) if family_of(model).reads_source else model(ids)
    return logits.double()  # type: ignore[no-any-return]


def _is_huggingface(path: Path) -> bool:
    return present(path, CONFIG)


def _read_huggingface(path: Path) -> Contents:
    model, tokenizer = load(path)
    card = None
    if present(path, CARD):
        file = inside(path, CARD)
        if file.stat().st_size <= _LARGEST_CARD:
            card = file.read_text(encoding="utf-8", errors="replace")
    return Contents(
        model=model,
        tokenizer=tokenizer,
        name=path.name,
        card=card,
        generation=read_generation(path),
        target_tokenizer=load_target_tokenizer(path),
    )


def _write_huggingface(contents: Contents, folder: Path) -> None:
    write_folder(
        contents.model,
        contents.tokenizer,
        folder,
        name=contents.name,
        card=contents.card,
        generation=contents.generation,
        target_tokenizer=contents.target_tokenizer,
    )


def _transformers_logits(folder: Path, ids: Tensor) -> tuple[str, Tensor] | None:
    """The logits of transformers' own model on the folder, where that library is installed and knows the family."""
    if importlib.util.find_spec("transformers") is None or read_model_type(folder).startswith(OWN):
        return None
    transformers: Any = importlib.import_module("transformers")
    chatter = transformers.utils.logging
    level, bar = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        pairs = FAMILIES[family_of_folder(folder)].reads_source
        kind = transformers.AutoModelForSeq2SeqLM if pairs else transformers.AutoModelForCausalLM
        model = kind.from_pretrained(folder, local_files_only=True, dtype="auto")
        model = model.to(torch.promote_types(model.dtype, torch.float32)).eval()
        with torch.no_grad():
            found = model(input_ids=ids, decoder_input_ids=ids) if pairs else model(ids)
        logits = found.logits.double()
    finally:
        chatter.set_verbosity(level)
        if bar:
            chatter.enable_progress_bar()
    return f"transformers {transformers.__version__}", logits


KINDS: dict[str, Kind] = {
    "huggingface": Kind(
        recognise=_is_huggingface,
        read=_read_huggingface,
        write=_write_huggingface,
        foreign_logits=_transformers_logits,
    ),
    "tensorflow": Kind(
        recognise=gpt2_tensorflow.recognise,
        read=gpt2_tensorflow.read,
        write=gpt2_tensorflow.write,
        check_target=gpt2_tensorflow.check_target,
        precision=gpt2_tensorflow.PRECISION,
    ),
    "nanogpt": Kind(
        recognise=nanogpt.recognise,
        read=nanogpt.read,
        write=nanogpt.write,
        check_target=nanogpt.check_target,
    ),
    "gguf": Kind(
        recognise=gguf.recognise,
        read=gguf.read,
        write=gguf.write,
        check_target=gguf.check_target,
        typed=lambda tensor_type: (
            partial(gguf.prepare, tensor_type=tensor_type),
            partial(gguf.write, tensor_type=tensor_type),
        ),
        put=gguf.put,
    ),
}
"""The formats a model can leave in or come from; another format is another row."""
