"""OpenVINO: its own reading of a PyTorch module, keys and values kept inside ("stateful"), raw inference requests.

Weights of 8 and 4 bits are made by its quantiser, the package nncf. Arithmetic is in bfloat16 at 16 bits, and at 8 bits
where the processor has it, in float32 else; the type of keys and values is float32 at 32 bits, and else left as it
comes.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy
import openvino  # type: ignore[import-not-found, unused-ignore]
import processor


def version() -> str:
    """Its own."""
    return str(openvino.get_version())


def prepare(family: str, folder: Path, scratch: Path, bits: int) -> Path:
    """The folder of one graph, at this width."""
    processor.check(bits)
    made = scratch / f"openvino-{family}-{bits if bits < 16 else 32}" / "model.xml"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        if bits >= 16:
            model = _converted(family, folder)
        else:
            import nncf  # type: ignore[import-not-found, unused-ignore]

            modes = {8: nncf.CompressWeightsMode.INT8_ASYM, 4: nncf.CompressWeightsMode.INT4_SYM}
            more: dict[str, Any] = {} if bits == 8 else {"group_size": 64, "ratio": 1.0, "all_layers": True}
            plain = openvino.Core().read_model(prepare(family, folder, scratch, 32) / "model.xml")
            model = nncf.compress_weights(plain, mode=modes[bits], **more)
        openvino.save_model(model, made, compress_to_fp16=False)
    return made.parent


def _converted(family: str, folder: Path) -> Any:
    import torch
    from graphs import BERTGraph, GPT2Graph

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ids = torch.ones(2, 5, dtype=torch.int64)
    if family == "bert":
        graph: Any = BERTGraph(folder, n_heads=config["num_attention_heads"])
        return openvino.convert_model(graph.eval(), example_input=(ids,), input=[([-1, -1], openvino.Type.i64)])
    graph = GPT2Graph(folder, n_heads=config["n_head"], reorder=True)
    head = config["n_embd"] // config["n_head"]
    past = [torch.zeros(2, config["n_head"], 3, head) for _ in range(2 * graph.n_layers)]
    shapes = [([-1, -1], openvino.Type.i64), ([-1], openvino.Type.i32)]
    shapes += [([-1, config["n_head"], -1, head], openvino.Type.f32)] * len(past)
    rows = torch.arange(2, dtype=torch.int32)
    model = openvino.convert_model(graph.eval(), example_input=(ids, rows, *past), input=shapes)
    for number, name in enumerate(("ids", "rows")):
        model.inputs[number].get_tensor().set_names({name})
    pairs = {}
    for number in range(len(past)):
        model.inputs[2 + number].get_tensor().set_names({f"past.{number}"})
        model.outputs[1 + number].get_tensor().set_names({f"present.{number}"})
        pairs[f"past.{number}"] = f"present.{number}"
    from openvino._offline_transformations import (  # type: ignore[import-not-found, unused-ignore]
        apply_make_stateful_transformation,
    )

    apply_make_stateful_transformation(model, pairs)
    _begin_empty(model)
    return model


def _begin_empty(model: Any) -> None:
    """Gives each state its first value: no tokens, as many rows as the ids have."""
    from openvino import opset13

    rows = opset13.gather(
        opset13.shape_of(model.input("ids"), output_type="i64"),
        opset13.constant([0], dtype=numpy.int64),
        opset13.constant(0, dtype=numpy.int64),
    )
    for operation in model.get_ops():
        if operation.get_type_name() == "ReadValue":
            shape = [dimension.get_min_length() for dimension in list(operation.get_output_partial_shape(0))]
            parts = [opset13.constant([size], dtype=numpy.int64) for size in shape]
            dims = opset13.concat([rows, parts[1], opset13.constant([0], dtype=numpy.int64), parts[3]], axis=0)
            first = opset13.broadcast(opset13.constant(0.0, dtype=numpy.float32), dims)
            operation.set_arguments([first])
    model.validate_nodes_and_infer_types()


def _compiled(made: Path, bits: int, threads: int) -> Any:
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if bits in (16, 8) and processor.has_bfloat16() else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if bits == 32:
        settings["KV_CACHE_PRECISION"] = "f32"  # by itself it takes 8 bits, and the row would not be float32
    return openvino.Core().compile_model(made / "model.xml", "CPU", settings)


class GPT2:
    """Greedy text; the request keeps the keys and values."""

    def __init__(self, made: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._request = _compiled(made, bits, threads).create_infer_request()

    def greedy(self, prompts: list[list[int]], new: int) -> tuple[list[list[int]], list[float]]:
        """The new ids of each row, and the seconds after each of them."""
        self._request.reset_state()
        started = time.perf_counter()
        rows = numpy.arange(len(prompts), dtype=numpy.int32)
        ids, found, stamps = numpy.array(prompts, dtype=numpy.int64), [], []
        for _ in range(new):
            self._request.infer({"ids": ids, "rows": rows}, share_inputs=True)
            ids = self._request.get_output_tensor(0).data.argmax(-1)[:, None].astype(numpy.int64)
            found.append(ids)
            stamps.append(time.perf_counter() - started)
        return numpy.concatenate(found, 1).tolist(), stamps


class BERT:
    """States by one request."""

    def __init__(self, made: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._request = _compiled(made, bits, threads).create_infer_request()

    def encode(self, ids: Any) -> Any:
        """ids (B, T) -> states (B, T, D)."""
        self._request.infer([ids], share_inputs=True)
        return self._request.get_output_tensor(0).data


OPENED = {"gpt2": GPT2, "bert": BERT}
