"""How much memory loading takes, and then writing, as a multiple of the weights: the peak above what the imports take.

Usage: load_memory.py [SIZE] [FILE_KIND], by default 124M safetensors; 1558M needs 6.3 GB of disk and 8 GB of memory.
Writing is greedy, at batch 1: 32 tokens of prompt and 64 new ones in float32.
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
from headway.decoding.choice import Choice
from headway.decoding.rows import Rows
from headway.formats.folder import load
torch.set_num_threads(int(sys.argv[2]))
torch.zeros(1000, 1000).t().contiguous().aminmax()
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before, start = peak(), time.perf_counter()
model, _ = load(sys.argv[1])
seconds = time.perf_counter() - start
weights = sum(parameter.numel() * parameter.itemsize for parameter in model.parameters())
loaded = peak()
rows = Rows(model)
rows.add(list(range(32)), Choice(temperature=0), max_new_tokens=64)
while len(rows):
    rows.step()
print((loaded - before) / weights, weights, seconds, (peak() - before) / weights)
"""


def measure(size: str, file_kind: str, place: Path, threads: int = 2) -> tuple[float, int, float, float]:
    """The peak as a multiple of the weights, their bytes, the seconds that loading took, the peak with writing."""
    folder = place / size
    subprocess.run([sys.executable, "-c", WRITE, size, folder, file_kind], check=True)
    command = [sys.executable, "-c", LOAD, folder, str(threads)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    multiple, weights, seconds, writing = result.stdout.split()
    return float(multiple), int(weights), float(seconds), float(writing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", nargs="?", default="124M", choices=["124M", "355M", "774M", "1558M"])
    parser.add_argument("file_kind", nargs="?", default="safetensors", choices=["safetensors", "pytorch"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        multiple, weights, seconds, writing = measure(arguments.size, arguments.file_kind, Path(place))
    print(
        f"{arguments.size} {arguments.file_kind}: peak {multiple:.3f} x the weights ({weights / 1e9:.2f} GB) loading, "
        f"{seconds:.1f} s; {writing:.3f} x with writing"
    )
