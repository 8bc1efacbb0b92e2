"""Opening a writer's folder: from the engine's cache without PyTorch where that is there, else by loading the model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.errors import FormatError, UsageError
from headway.models.protocol import AnyDecoder
from headway.tasks.engines import Asked
from headway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model that writes, its tokenizer, and the settings of generation_config.json."""

    model: AnyDecoder
    tokenizer: Tokenizer
    generation: dict[str, Any]


def open_writer(name: str | Path, device: "str | torch.device", asked: Asked) -> Opened:
    """The folder or bundled model of that name, ready to write.

    Raises what `Writer` does.
    """
    from headway.formats.bundled import locate
    from headway.tasks.placement import surely_on_cpu

    folder = locate(name).resolve()  # once, so that a folder that hides a bundled model is said once
    on_cpu = surely_on_cpu(device) or (device == "auto" and asked.insists)
    if on_cpu and _may_run_compiled(asked):
        opened = _from_cache(folder, asked, name)
        if opened is not None:
            return opened
    return _loaded(folder, "cpu" if on_cpu else device, asked, name)


def _from_cache(folder: Path, asked: Asked, name: str | Path) -> Opened | None:
    from headway.engine.cache import Cache
    from headway.formats.companions import check_tokenizer, load_tokenizer, read_generation
    from headway.tasks.engines import say_compiled

    identity = folder.stat().st_ino
    model = Cache(folder).read(asked.bits)
    if model is None:
        return None
    tokenizer = load_tokenizer(folder)
    check_tokenizer(tokenizer, model.vocabulary)
    generation = read_generation(folder)
    if folder.stat().st_ino != identity:
        return None  # another folder took its place meanwhile: what was read may be of both
    say_compiled(model)
    return Opened(model=model, tokenizer=_required(tokenizer, name), generation=generation)


def _loaded(folder: Path, device: "str | torch.device", asked: Asked, name: str | Path) -> Opened:
    from headway.engine.cache import Cache
    from headway.formats.companions import read_generation
    from headway.formats.folder import load
    from headway.formats.reader_settings import read_reader_settings
    from headway.models.registry import family_of
    from headway.tasks.engines import in_engine
    from headway.tasks.placement import choose_device

    cache = Cache(folder) if _may_run_compiled(asked) else None  # as the files are before the weights are read
    loaded, tokenizer = load(folder, device=choose_device(device), dtype=asked.dtype)
    if family_of(loaded).reads_source:
        raise UsageError(
            f"{name} reads a source before it writes, so it does not go on from a prompt\n"
            f'Translate with it: headway translate {name} "A sentence."'
        )
    if not family_of(loaded).decoder or getattr(loaded.config, "head", "write") != "write":
        verb = read_reader_settings(folder).task or "fill"
        raise UsageError(f"{name} reads texts and does not write any\nIts own verb is headway {verb} {name}")
    return Opened(
        model=in_engine(loaded, asked, cache=cache),
        tokenizer=_required(tokenizer, name),
        generation=read_generation(folder),
    )


def _may_run_compiled(asked: Asked) -> bool:
    from headway.engine.extension import is_built

    return asked.engine != "torch" and asked.dtype is None and is_built()


def _required(tokenizer: Tokenizer | None, name: str | Path) -> Tokenizer:
    if tokenizer is None:
        raise FormatError(
            f"{name} holds weights but no tokenizer that headway reads, and a writer needs one\n"
            "Put the model's tokenizer.json (or vocab.json and merges.txt) into the folder."
        )
    return tokenizer
