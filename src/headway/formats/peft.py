"""A low-rank adapter as the peft library keeps it: a folder of adapter_config.json and adapter_model.safetensors.

Each adapted matrix has two tensors, A (rank, inputs) and B (outputs, rank), and changes by scale * B A (Hu et al. 2021,
section 4.1); the scale is alpha / rank, or alpha / sqrt(rank) (Kalajdzievski 2023, "rsLoRA").
"""

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.errors import FormatError
from headway.formats.layout import TensorName
from headway.formats.layouts import LAYOUTS, Model
from headway.formats.reading import inside, present, read_json
from headway.formats.safetensors_file import SafetensorsFile, Writing, check_finite, write_safetensors
from headway.formats.torch_file import TorchFile
from headway.formats.weights import WeightFile
from headway.models.registry import family_of

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
OLDER_WEIGHTS = "adapter_model.bin"

_LARGEST = 2**31
_PRECISIONS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")

# Keys that are read, or that only say how the adapter was made. Any other must be absent or say "no" (null, false,
# empty): most of them change what is computed, and so may those that a later version adds.
_READ = ("peft_type", "task_type", "bias", "init_lora_weights", "r", "lora_alpha", "lora_dropout", "use_rslora")
_PLACES = ("target_modules", "layers_to_transform", "base_model_name_or_path")
_HARMLESS = ("revision", "inference_mode", "auto_mapping", "fan_in_fan_out", "peft_version", "eva_config")
_IDLE = ("megatron_core", "qalora_group_size")  # they speak of settings that must be off
_KNOWN = frozenset((*_READ, *_PLACES, *_HARMLESS, *_IDLE))


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A low-rank change of some linear layers of a model.

    factors: A (rank, inputs) and B (outputs, rank) by the layer's name in our model, "blocks.0.attention.qkv".
    by_root: the scale is alpha / sqrt(rank). base: the model it was trained on, as it was named then.
    """

    rank: int
    alpha: float
    dropout: float = 0.0
    by_root: bool = False
    base: str | None = None
    factors: Mapping[str, tuple[Tensor, Tensor]]

    @property
    def scale(self) -> float:
        """What the product B A is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.by_root else self.rank)


def recognise(path: Path) -> bool:
    """Whether it is an adapter's folder."""
    return path.is_dir() and present(path, CONFIG)


def base_named(folder: Path) -> str | None:
    """What the adapter says it was trained on; None where it says nothing. Raises FormatError."""
    name = read_json(folder, CONFIG).get("base_model_name_or_path")
    return name if isinstance(name, str) and name else None


def read(folder: Path, model: Model) -> Adapter:
    """The adapter in a folder, for that model.

    Raises FormatError where it is damaged, is not complete, does not fit the model, or asks for another computation.
    """
    table = read_json(folder, CONFIG)
    _check_kind(table)
    rank, alpha = _number(table, "r", int), _number(table, "lora_alpha", float)
    places = _places(model)
    expected = _targets(table, places)
    if present(folder, WEIGHTS):
        file: WeightFile = SafetensorsFile(inside(folder, WEIGHTS))
    elif present(folder, OLDER_WEIGHTS):
        file = TorchFile(inside(folder, OLDER_WEIGHTS))
    else:
        raise FormatError(f"{folder} has {CONFIG}, but neither {WEIGHTS} nor {OLDER_WEIGHTS}\nGet the folder again.")
    try:
        _check_tensors(file, expected, places, rank)
        factors = {
            places[place].ours.removesuffix(".weight"): (_tensor(file, place, "A"), _tensor(file, place, "B"))
            for place in expected
        }
    finally:
        file.close()
    dropout = table.get("lora_dropout")
    return Adapter(
        rank=rank,
        alpha=alpha,
        dropout=float(dropout) if isinstance(dropout, (int, float)) and 0 <= dropout < 1 else 0.0,
        by_root=table.get("use_rslora") is True,
        base=base_named(folder),
        factors=factors,
    )


def write(adapter: Adapter, model: Model, folder: Path) -> None:
    """Write an adapter of that model's layers into an empty folder, each layer's matrix under its own path's end.

    Raises FormatError where a value is not finite.
    """
    places = {name.ours.removesuffix(".weight"): (place, name) for place, name in _places(model).items()}
    tensors = {}
    for ours, pair in adapter.factors.items():
        for letter, value in zip("AB", pair, strict=True):
            values = partial(torch.Tensor.detach, value)
            tensors[_key(places[ours][0], letter)] = Writing(value.dtype, tuple(value.shape), values)
    write_safetensors(folder / WEIGHTS, tensors)
    adapted = [places[ours] for ours in adapter.factors]
    table: dict[str, object] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base,
        "revision": None,
        "inference_mode": True,
        "auto_mapping": None,
        "r": adapter.rank,
        "lora_alpha": int(adapter.alpha) if adapter.alpha == int(adapter.alpha) else adapter.alpha,
        "lora_dropout": adapter.dropout,
        "use_rslora": adapter.by_root,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": any(name.transposed for _, name in adapted),
        "init_lora_weights": True,
        # c_proj alone would mean two matrices of a layer, so the name of the part it lies in stands before it.
        "target_modules": sorted({re.sub(r"^.*\.\d+\.", "", place) for place, _ in adapted}),
        "layers_to_transform": None,
        "layers_pattern": None,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
    }
    with open(folder / CONFIG, "w", encoding="utf-8") as file:
        file.write(json.dumps(table, indent=2, sort_keys=True) + "\n")


@contextlib.contextmanager
def attached(model: nn.Module, adapter: Adapter) -> Iterator[None]:
    """While the block runs the model computes with the adapter beside its weights, which do not change."""
    with contextlib.ExitStack() as stack:
        for name, (down, up) in adapter.factors.items():
            beside = partial(_add_beside, down.float(), up.float(), adapter.scale)
            stack.callback(model.get_submodule(name).register_forward_hook(beside).remove)
        yield


@torch.no_grad()
def merge(model: nn.Module, adapter: Adapter) -> None:
    """Add the adapter to the model's weights, in float32 at least; the sums are rounded to the weights' precision."""
    for name, (down, up) in adapter.factors.items():
        weight = model.get_submodule(name).get_parameter("weight")
        precision = torch.promote_types(weight.dtype, torch.float32)
        product = up.to(weight.device, precision) @ down.to(weight.device, precision)
        weight.copy_(weight.to(precision) + product * adapter.scale)


def _add_beside(
    down: Tensor, up: Tensor, scale: float, module: nn.Module, inputs: tuple[Tensor], output: Tensor
) -> Tensor:
    x = inputs[0]
    change = functional.linear(functional.linear(x, down.to(x)), up.to(x))  # (..., inputs) -> (..., outputs)
    return output + change * scale


def _places(model: Model) -> dict[str, TensorName]:
    """The weights of linear layers by their modules' names in the ecosystem's model."""
    family = family_of(model).name
    layout = next(layout for layout in LAYOUTS.values() if layout.family == family)
    return {
        name.foreign.removesuffix(".weight"): name
        for name in layout.tensors(model.config)
        if len(name.shape) == 2 and not isinstance(model.get_submodule(name.ours.removesuffix(".weight")), nn.Embedding)
    }


def _key(place: str, letter: str) -> str:
    return f"base_model.model.{place}.lora_{letter}.weight"


def _check_kind(table: Mapping[str, Any]) -> None:
    """Raises FormatError for a setting that asks for another computation than scale * B A beside the weights."""
    kinds: dict[str, Callable[[Any], bool]] = {
        "peft_type": lambda value: value == "LORA",
        "task_type": lambda value: value in (None, "CAUSAL_LM"),
        "bias": lambda value: value in (None, "none"),
        "use_rslora": lambda value: value is None or isinstance(value, bool),
        # Some ways to begin (PiSSA, OLoRA, CorDA, LoftQ) change the base's own weights too.
        "init_lora_weights": lambda value: value in (None, True, False, "gaussian", "eva", "orthogonal"),
    }
    for key, value in table.items():
        fits = kinds[key](value) if key in kinds else key in _KNOWN or value in (None, False, [], {}, "")
        if not fits:
            raise FormatError(
                f"{CONFIG} has {_short(key)}={_short(value)}, which asks for more than plain LoRA\n"
                "Supported is peft_type LORA for CAUSAL_LM, with or without use_rslora; merge it with the program "
                "that made it."
            )
    if "peft_type" not in table:
        raise FormatError(f"{CONFIG} has no peft_type, so it is no adapter's\nGet the folder again.")


def _number(table: Mapping[str, Any], key: str, kind: type) -> Any:
    value = table.get(key)
    of_kind = type(value) is int or (type(value) is float and kind is float)
    if value is None or not of_kind or not 0 < abs(value) < _LARGEST or (kind is int and value < 1):
        belongs = "a whole number from 1" if kind is int else "a number other than 0"
        raise FormatError(f"{CONFIG} has {key}={_short(value)}, where {belongs} belongs\nGet the folder again.")
    return kind(value)


def _targets(table: Mapping[str, Any], places: Mapping[str, TensorName]) -> list[str]:
    """The modules that the settings name, as the peft library finds them: by the ends of their names."""
    targets, layers = table.get("target_modules"), table.get("layers_to_transform")
    if targets == "all-linear":
        chosen = [place for place in places if _layer(place) is not None]
    elif isinstance(targets, list) and targets and all(isinstance(target, str) for target in targets):
        chosen = [place for place in places if any(f".{place}".endswith(f".{target}") for target in targets)]
    else:  # a pattern would have to be run, and a hostile one can run for ever
        raise FormatError(
            f"{CONFIG} has target_modules={_short(targets)}, where a list of names belongs, or all-linear\n"
            'A pattern is not run: write out what it means, for instance ["attn.c_attn", "mlp.c_fc"].'
        )
    if layers not in (None, []):
        numbers = layers if isinstance(layers, list) else [layers]
        if not all(type(number) is int for number in numbers):
            raise FormatError(f"{CONFIG} has layers_to_transform={_short(layers)}, where whole numbers belong")
        chosen = [place for place in chosen if _layer(place) in numbers]
    if not chosen:
        raise FormatError(
            f"{CONFIG} has target_modules={_short(targets)}, none of which the base model has\n"
            "Name the model it was trained on: --base MODEL."
        )
    return chosen


def _layer(place: str) -> int | None:
    found = re.search(r"\.(\d+)\.", place)
    return int(found[1]) if found else None


def _check_tensors(file: WeightFile, expected: list[str], places: Mapping[str, TensorName], rank: int) -> None:
    """Raises FormatError where tensors are missing, left over, of another shape or not of plain numbers."""
    wanted: dict[str, tuple[int, ...]] = {}
    for place in expected:
        shape = places[place].shape
        inputs, outputs = shape if places[place].transposed else shape[::-1]
        wanted |= {_key(place, "A"): (rank, inputs), _key(place, "B"): (outputs, rank)}
    problems = [f"{name} is missing" for name in wanted if name not in file.tensors]
    for name, stored in file.tensors.items():
        if name not in wanted:
            match = _KEY.fullmatch(name)
            reason = "target_modules does not name it" if match and match[1] in places else "the base has no such layer"
            problems.append(f"{_short(name)} is not expected: {reason}")
        elif stored.shape != wanted[name]:
            problems.append(f"{name} is {list(stored.shape)}, where {list(wanted[name])} belongs")
        elif stored.dtype not in _PRECISIONS:
            problems.append(f"{name} is stored as {stored.dtype}, which is no precision for weights here")
    if problems:
        more = f" (and {len(problems) - 2} more)" if len(problems) > 2 else ""
        raise FormatError(
            "\n".join(
                ["the adapter does not fit its settings or the base model:", *problems[:2]]
                + [f"Get the adapter again, or name the model it was trained on: --base MODEL.{more}"]
            )
        )


def _tensor(file: WeightFile, place: str, letter: str) -> Tensor:
    name = _key(place, letter)
    value = file.rows(name, 0, file.tensors[name].shape[0]).clone()
    check_finite(name, value, "the adapter")
    return value


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 90 else f"{text[:87]}..."
