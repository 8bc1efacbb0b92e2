"""What all models in the engine are: packed weights, and what was decided when they were packed."""

from typing import Any

from headway.errors import UsageError


class PackedModel:
    """A model in the engine, in `bits` of 32, 16 (bfloat16), 8 or 4 a weight."""

    def __init__(self, model: Any, *, context: int | None, bits: int, threads: int) -> None:
        """`model`: the extension's own."""
        self._model = model
        self.context = context
        self.bits = bits
        self.threads = threads

    @property
    def kernels(self) -> str:
        """Which of the kernels this processor runs: avx512, avx2, neon or plain."""
        return str(self._model.kernels)

    @property
    def bytes(self) -> int:
        """What the packed weights take."""
        return int(self._model.bytes)


def refuse_to_show(trace: object, ablate: object) -> None:
    """Raises UsageError where anything inside is to be shown or silenced."""
    if trace is not None or ablate:
        raise UsageError("the compiled engine keeps no trace and silences no head\nOpen the model with engine=torch.")
