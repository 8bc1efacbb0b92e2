"""Which peer runs what at which width: plain values, so that whoever reads them needs none of the peers."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a peer at one precision.

    module: the file of this folder that drives it. bits: of a weight, as the peer is asked for it; stored: with its
    scales. own: whether it runs in headway's environment, and not in the peers'.
    """

    peer: str
    module: str
    precision: str
    bits: int
    stored: float
    own: bool = False

    @property
    def name(self) -> str:
        """What a reader and a result file call it."""
        return f"{self.peer} {self.precision}"


def _rows(peer: str, module: str, widths: tuple[tuple[str, int, float], ...], *, own: bool = False) -> tuple[Row, ...]:
    return tuple(
        Row(peer=peer, module=module, precision=precision, bits=bits, stored=stored, own=own)
        for precision, bits, stored in widths
    )


_TORCH = (("fp32", 32, 32.0), ("bf16", 16, 16.0))
_TWO = (("fp32", 32, 32.0), ("int8", 8, 8.0))
_HEADWAY = _rows("headway-torch", "with_headway_torch", _TORCH, own=True)
_ENGINE = (("32 bit", 32, 32.0), ("16 bit", 16, 16.0), ("8 bit", 8, 8.0), ("4 bit", 4, 4.5))
_COMPILED = _rows("headway", "with_headway", _ENGINE, own=True)
_TRANSFORMERS = _rows("transformers", "with_transformers", _TORCH, own=True)
_LLAMA = (("F32", 32, 32.0), ("BF16", 16, 16.0), ("Q8_0", 8, 8.5), ("Q4_0 pure", 4, 4.5))
_OPENVINO = (("fp32", 32, 32.0), ("fp32 weights, bf16", 16, 32.0), ("int8 weights", 8, 8.0))
_OPENVINO_4 = (("int4 weights", 4, 4.25),)

# The first row is the one that the others' results are compared with.
ROWS: dict[str, tuple[Row, ...]] = {
    "gpt2": (
        *_HEADWAY,
        *_COMPILED,
        *_rows("llama.cpp", "with_llama_cpp", _LLAMA),
        *_rows("ctranslate2", "with_ctranslate2", _TWO),
        *_rows("onnxruntime", "with_onnxruntime", _TWO),
        *_rows("openvino", "with_openvino", _OPENVINO + _OPENVINO_4),
        *_TRANSFORMERS,
    ),
    "bert": (
        *_HEADWAY,
        *_COMPILED,
        *_rows("ctranslate2", "with_ctranslate2", _TWO),
        *_rows("onnxruntime", "with_onnxruntime", _TWO),
        *_rows("openvino", "with_openvino", _OPENVINO),
        *_TRANSFORMERS,
    ),
    "marian": (
        *_HEADWAY,
        *_COMPILED,
        *_rows("ctranslate2", "with_ctranslate2", _TWO),
        *_TRANSFORMERS,
    ),
}
PEERS = tuple(dict.fromkeys(row.peer for rows in ROWS.values() for row in rows))
WORKS: dict[str, tuple[str, ...]] = {
    "gpt2": ("after 32", "after 512", "batch 8", "stolen core", "cold start"),
    "bert": ("batch 1", "batch 32"),
    "marian": ("beam 4",),
}
