"""What a model folder is, said without opening its weights: for lists of models and pages about them."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.errors import UsageError
from headway.formats.bundled import bundled_names, locate
from headway.formats.folder import family_of_folder, load, read_config
from headway.formats.reader_settings import read_reader_settings
from headway.models.registry import FAMILIES
from headway.text.loading import load_from_folder
from headway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import nn

_ROW = re.compile(r"^\|\s*(\d+)(?: to (\d+))?\s*\|\s*\d[\d,]*\s*\|\s*([\d.]+)\s*\|")


@dataclass(frozen=True, kw_only=True)
class LengthPoint:
    """How well sources of so many words (the middle of a band) are translated."""

    words: float
    bleu: float


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a folder says of its model.

    verbs: what it can be asked for. task: what a reader was fine-tuned to. card: the model card as written, without its
    front matter; licence: as the front matter names it. length_curve: of a translator whose card has the table.
    """

    name: str
    folder: Path
    family: str
    verbs: tuple[str, ...]
    task: str | None
    labels: tuple[str, ...]
    languages: tuple[str, ...]
    card: str
    licence: str
    length_curve: tuple[LengthPoint, ...]


def served_by_default() -> list[str]:
    """The names of the bundled models, the writer first."""
    return sorted(bundled_names(), key=lambda name: (name != "writer", name))


def describe(name: str) -> Described:
    """A folder's or a bundled model's description. Raises FormatError for a folder that holds no model."""
    folder = locate(name).resolve()
    family = family_of_folder(folder)
    settings = read_reader_settings(folder)
    front, card = _card(folder)
    return Described(
        name=name if name in bundled_names() else folder.name,
        folder=folder,
        family=family,
        verbs=_verbs(family, settings.task),
        task=settings.task,
        labels=settings.labels,
        languages=tuple(re.findall(r"^- (\w\w)$", front, flags=re.MULTILINE)),
        card=card,
        licence=next(iter(re.findall(r"^license: *(.+)$", front, flags=re.MULTILINE)), "unknown"),
        length_curve=_length_curve(card),
    )


def open_in_pytorch(folder: Path) -> "tuple[nn.Module, Tokenizer | None]":
    """The model on the CPU in float32, in evaluation mode, for what the engine does not show."""
    import torch

    model, tokenizer = load(folder, device="cpu", dtype=torch.float32)
    return model.eval(), tokenizer


def tokenizer_of(folder: Path) -> Tokenizer:
    """The folder's tokenizer, of a translator the source's. Raises UsageError where it has none that headway reads."""
    found = load_from_folder(folder)
    if found is None:
        raise UsageError(f"{folder.name} has no tokenizer that headway reads")
    return found


def fingerprint_of(folder: Path, model: Any) -> str:
    """Of the weights and of how they are computed: texts of a seed are the same where this is the same."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin")):
        with open(path, "rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    how = (getattr(model, "bits", "torch"), getattr(model, "kernels", ""))
    digest.update(repr(how).encode())
    return "fp_" + digest.hexdigest()[:16]


def sizes_of(folder: Path) -> dict[str, int | None]:
    """Parameters, layers, heads, vocabulary and context of a folder's model, None where it has no such thing."""
    config = read_config(folder)
    layers = getattr(config, "n_layers", None) or getattr(config, "decoder_layers", None)
    return {
        "parameters": config.n_parameters(),
        "layers": layers,
        "heads": getattr(config, "n_heads", None),
        "vocabulary": getattr(config, "vocabulary", None),
        "context": getattr(config, "context", None),
    }


def _verbs(family: str, task: str | None) -> tuple[str, ...]:
    known = FAMILIES[family]
    if known.reads_source:
        return ("translate",)
    if task is not None:
        return (task,)
    if family in ("gpt2", "laplace"):
        return ("write",)
    return ("fill", "embed")


def _card(folder: Path) -> tuple[str, str]:
    """The front matter and the text of the model card; empty where there is none."""
    path = folder / "README.md"
    if not path.is_file():
        return "", ""
    text = path.read_text(encoding="utf-8", errors="replace")
    if text.startswith("---\n"):
        front, _, rest = text[4:].partition("\n---\n")
        return front, rest.strip()
    return "", text.strip()


def _length_curve(card: str) -> tuple[LengthPoint, ...]:
    points = []
    for line in card.splitlines():
        row = _ROW.match(line)
        if row is not None:
            first, last = int(row[1]), int(row[2] or row[1])
            points.append(LengthPoint(words=(first + last) / 2, bleu=float(row[3])))
    return tuple(points)
