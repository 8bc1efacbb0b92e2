"""How much memory a run holds now: the process's resident set, or the GPU's allocations."""

import os
from pathlib import Path

import torch


def memory_in_use(device: torch.device) -> int:
    """Bytes in use on the device; on a CPU the resident set where the system tells it, else 0."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
