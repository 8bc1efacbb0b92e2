"""What the hardware computes with, asked once where a task or a run chooses its precision."""

import torch

# Processor features that compute with bfloat16; without one, each operation converts to float32 and back.
_FEATURES = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def has_bfloat16(device: str) -> bool:
    """Whether the device ("cpu" or "cuda") multiplies bfloat16 in hardware, so that it is faster than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # the oldest torch we take has none
    found = capabilities() if capabilities is not None else {}
    return any(bool(found.get(feature, False)) for feature in _FEATURES)
