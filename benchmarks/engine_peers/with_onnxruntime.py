"""ONNX Runtime: graphs by PyTorch's exporter, bound inputs and outputs, int8 by its own `quantize_dynamic`."""

import json
import time
from pathlib import Path
from typing import Any

import numpy
import onnxruntime  # type: ignore[import-not-found, unused-ignore]


def version() -> str:
    """Its own."""
    return str(onnxruntime.__version__)


def prepare(family: str, folder: Path, scratch: Path, bits: int) -> Path:
    """The folder of one graph, at this width."""
    made = scratch / f"onnx-{family}-{bits}" / "model.onnx"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        if bits == 32:
            _export(family, folder, made)
        else:
            from onnxruntime.quantization import (  # type: ignore[import-not-found, unused-ignore]
                QuantType,
                quantize_dynamic,
            )

            quantize_dynamic(
                prepare(family, folder, scratch, 32) / "model.onnx", made, weight_type=QuantType.QInt8, per_channel=True
            )
        (made.parent / "config.json").write_bytes((folder / "config.json").read_bytes())
    return made.parent


def _export(family: str, folder: Path, made: Path) -> None:
    import torch
    from graphs import BERTGraph, GPT2Graph

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if family == "bert":
        graph: Any = BERTGraph(folder, n_heads=config["num_attention_heads"])
        given: tuple[Any, ...] = (torch.ones(2, 5, dtype=torch.int64),)
        names, results = ["ids"], ["states"]
        axes = {"ids": {0: "rows", 1: "tokens"}, "states": {0: "rows", 1: "tokens"}}
    else:
        graph = GPT2Graph(folder, n_heads=config["n_head"], reorder=False)
        past, results = _past_names(graph.n_layers, "past"), ["logits", *_past_names(graph.n_layers, "present")]
        names = ["ids", *past]
        empty = torch.zeros(2, config["n_head"], 3, config["n_embd"] // config["n_head"])
        given = (torch.ones(2, 5, dtype=torch.int64), *(empty.clone() for _ in past))
        axes = {"ids": {0: "rows", 1: "tokens"}, "logits": {0: "rows"}}
        axes |= {name: {0: "rows", 2: name.split("_")[0]} for name in [*past, *results[1:]]}
    torch.onnx.export(
        graph.eval(), given, made, input_names=names, output_names=results, dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )  # fmt: skip


def _past_names(n_layers: int, what: str) -> list[str]:
    return [f"{what}_{kind}_{layer}" for layer in range(n_layers) for kind in ("key", "value")]


def _session(made: Path, threads: int) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(made / "model.onnx", settings, providers=["CPUExecutionProvider"])


class GPT2:
    """Greedy text; keys and values stay where the runtime put them."""

    def __init__(self, made: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._session = _session(made, threads)
        config = json.loads((made / "config.json").read_text(encoding="utf-8"))
        self._past = [given.name for given in self._session.get_inputs()[1:]]
        self._empty = (config["n_head"], 0, config["n_embd"] // config["n_head"])

    def greedy(self, prompts: list[list[int]], new: int) -> tuple[list[list[int]], list[float]]:
        """The new ids of each row, and the seconds after each of them."""
        empty = numpy.zeros((len(prompts), *self._empty), numpy.float32)
        started = time.perf_counter()
        past = [onnxruntime.OrtValue.ortvalue_from_numpy(empty) for _ in self._past]
        ids, found, stamps = numpy.array(prompts, dtype=numpy.int64), [], []
        for _ in range(new):
            binding = self._session.io_binding()
            binding.bind_cpu_input("ids", ids)
            for name, value in zip(self._past, past, strict=True):
                binding.bind_ortvalue_input(name, value)
            for result in self._session.get_outputs():
                binding.bind_output(result.name)
            self._session.run_with_iobinding(binding)
            logits, *past = binding.get_outputs()
            ids = logits.numpy().argmax(-1)[:, None]
            found.append(ids)
            stamps.append(time.perf_counter() - started)
        return numpy.concatenate(found, 1).tolist(), stamps


class BERT:
    """States by `run`."""

    def __init__(self, made: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._session = _session(made, threads)

    def encode(self, ids: Any) -> Any:
        """ids (B, T) -> states (B, T, D)."""
        return self._session.run(None, {"ids": ids})[0]


OPENED = {"gpt2": GPT2, "bert": BERT}
