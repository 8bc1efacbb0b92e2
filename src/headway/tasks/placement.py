"""Where a model runs and in what precision: decided once, when a task opens it."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


DEVICES = Path("/dev")
"""Where the system shows its devices."""

_GRAPHICS = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "dxg", "kfd")
"""What the drivers that PyTorch's CUDA devices need put there: Nvidia's, those of its boards, WSL's, AMD's."""


def surely_on_cpu(device: "str | torch.device") -> bool:
    """Whether a model goes to the CPU as far as can be told without loading PyTorch; False where only it can tell."""
    if device != "auto":
        return str(device) == "cpu"
    if "torch" in sys.modules:
        return choose_device("auto") == "cpu"
    if sys.platform == "darwin":
        return True  # PyTorch has no CUDA there
    return sys.platform == "linux" and not any(any(DEVICES.glob(pattern)) for pattern in _GRAPHICS)


def choose_device(device: "str | torch.device") -> "str | torch.device":
    """The device itself, or for "auto" CUDA where there is such a device, else the CPU."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def into_native_precision(model: "torch.nn.Module") -> None:
    """Turn bfloat16 weights on a CPU into float32 where it has no bfloat16 arithmetic, and log it."""
    import torch

    from headway.models.hardware import has_bfloat16

    stored = {(parameter.device.type, parameter.dtype) for parameter in model.parameters()}
    if ("cpu", torch.bfloat16) in stored and not has_bfloat16("cpu"):
        model.to(torch.float32)
        logger.info(
            "the weights are stored as bfloat16 and run as float32: this processor has no bfloat16 arithmetic"
            " (dtype=bfloat16 runs them as stored)"
        )
