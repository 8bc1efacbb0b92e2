"""`headway models`: the models that come with headway."""

import json as json_format
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.output import bytes_text, count_text, print_json, print_rows
from headway.formats.bundled import ROOT


@dataclass(frozen=True, kw_only=True)
class BundledModel:
    """One bundled model folder; `size` in bytes, `card` the first line of prose in its card."""

    name: str
    family: str
    parameters: int
    size: int
    card: str
    path: str


def models(*, json: Annotated[bool, Parameter(help="Print one JSON object.")] = False) -> None:
    """List the bundled models: their family, parameters, size on disk and the card's first line.

    Example: headway models
    """
    found = bundled_models()
    if json:
        print_json({"models": [asdict(model) for model in found]})
        return
    if not found:
        print("No model is bundled with this installation.")
        return
    rows = [
        (model.name, model.family, count_text(model.parameters), bytes_text(model.size), model.card) for model in found
    ]
    print_rows([("name", "family", "parameters", "size", "about"), *rows])


def bundled_models(root: Path = ROOT) -> list[BundledModel]:
    """The model folders under `root`, by name; empty where there are none."""
    return [_describe(path.parent) for path in sorted(root.glob("*/config.json"))]


def _describe(folder: Path) -> BundledModel:
    config = json_format.loads((folder / "config.json").read_text(encoding="utf-8"))
    return BundledModel(
        name=folder.name,
        family=config.get("model_type", "unknown").removeprefix("headway-"),
        parameters=stored_parameters(folder),
        size=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        card=_first_prose(folder / "README.md"),
        path=str(folder),
    )


def stored_parameters(folder: Path) -> int:
    """The parameters stored, from the headers of the weight files alone."""
    from safetensors import safe_open

    count = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as weights:
            count += sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())
    return count


def _first_prose(card: Path) -> str:
    """The card's first line that is neither its front matter nor a heading nor blank."""
    if not card.is_file():
        return ""
    lines = card.read_text(encoding="utf-8").splitlines()
    if lines and lines[0].strip() == "---" and "---" in (line.strip() for line in lines[1:]):
        lines = lines[1 + [line.strip() for line in lines[1:]].index("---") + 1 :]
    return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
