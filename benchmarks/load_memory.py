"""How much memory loading takes, as a multiple of the weights: the peak above what the imports take.

Usage: load_memory.py [SIZE] [FILE_KIND], by default 124M safetensors; 1558M needs 6.3 GB of disk and 8 GB of memory.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

WRITE = """
import sys, torch
from pathlib import Path
from headway.formats.folder import save, writings
from headway.formats.gpt2 import tensors
from headway.formats.weights import materialise
from headway.models.gpt2 import GPT2, SIZES
torch.set_num_threads(1)
with torch.device("meta"):
    model = GPT2(SIZES[sys.argv[1]])
materialise(model, torch.float32, torch.device("cpu"))
model.initialise()
save(model, None, sys.argv[2])
if sys.argv[3] == "pytorch":
    values = {name: writing.values() for name, writing in writings(model, tensors(model.config)).items()}
    torch.save(values, Path(sys.argv[2], "pytorch_model.bin"))
    for path in Path(sys.argv[2]).glob("model*"):
        path.unlink()
"""

LOAD = """
import re, sys, time, torch
from pathlib import Path
from headway.formats.folder import load
torch.set_num_threads(1)
torch.zeros(1000, 1000).t().contiguous().aminmax()
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before, start = peak(), time.perf_counter()
model, _ = load(sys.argv[1])
seconds = time.perf_counter() - start
weights = sum(parameter.numel() * parameter.itemsize for parameter in model.parameters())
print((peak() - before) / weights, weights, seconds)
"""


def measure(size: str, file_kind: str, place: Path) -> tuple[float, int, float]:
    """The peak as a multiple of the weights, the weights' bytes, and the seconds that loading took."""
    folder = place / size
    subprocess.run([sys.executable, "-c", WRITE, size, folder, file_kind], check=True)
    result = subprocess.run([sys.executable, "-c", LOAD, folder], check=True, capture_output=True, text=True)
    multiple, weights, seconds = result.stdout.split()
    return float(multiple), int(weights), float(seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", nargs="?", default="124M", choices=["124M", "355M", "774M", "1558M"])
    parser.add_argument("file_kind", nargs="?", default="safetensors", choices=["safetensors", "pytorch"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        multiple, weights, seconds = measure(arguments.size, arguments.file_kind, Path(place))
    print(
        f"{arguments.size} {arguments.file_kind}: peak {multiple:.3f} x the weights ({weights / 1e9:.2f} GB), "
        f"{seconds:.1f} s"
    )
