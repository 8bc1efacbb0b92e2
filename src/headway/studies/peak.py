"""The most memory a piece of work held, as far as the system tells."""

import gc
from pathlib import Path

import torch

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # Linux, proc(5): sets the peak of the resident set to what is resident now


class PeakMemory:
    """Begins to count when it is made; on a GPU what torch allocated there, else the process's resident set."""

    def __init__(self) -> None:
        gc.collect()
        self._cuda = torch.cuda.is_available()
        self._resets = True
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            return
        try:
            _REFERENCES.write_text(_RESET_PEAK, encoding="ascii")
        except OSError:
            self._resets = False

    def bytes(self) -> int | None:
        """The peak since then; None where the system does not tell."""
        if self._cuda:
            return torch.cuda.max_memory_allocated()
        if not self._resets:
            return None
        try:
            for line in _STATUS.read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        return None
