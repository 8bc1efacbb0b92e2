"""Whether this processor computes with bfloat16; read from the system, so that no library is loaded for it."""

from pathlib import Path

_FEATURES = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}


def has_bfloat16() -> bool:
    """Without it, each operation converts to float32 and back, and no peer would choose it."""
    return not _FEATURES.isdisjoint(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())


def check(bits: int) -> None:
    """Raises RuntimeError where a width of 16 bits makes no sense here."""
    if bits == 16 and not has_bfloat16():
        raise RuntimeError("this processor has no bfloat16 arithmetic")
