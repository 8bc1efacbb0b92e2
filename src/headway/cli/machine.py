"""What this machine has: processor, memory, disk, devices, installed versions, and which models will fit."""

import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "numpy", "safetensors", "tokenizers", "tiktoken", "gigatoken", "pyarrow")
FEATURES = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")

WRITE_BYTES = 4 * 1.2  # a parameter in fp32, and 20 % for keys, values and activations
TRAIN_BYTES = 16 * 1.2  # weight, gradient and AdamW's two moments in fp32, and the same margin


@dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator."""

    name: str
    memory: int


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Whether one published size fits in the memory that is free now."""

    model: str
    write: bool
    write_bytes: int
    train: bool
    train_bytes: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Everything `headway doctor` reports; memory and disk in bytes, None where the system does not say.

    kernels: those of the compiled engine that this processor runs, the fastest first; none where it was not built.
    """

    python: str
    system: str
    packages: dict[str, str | None]
    processor: str
    cores: int
    threads: int
    features: dict[str, bool]
    kernels: tuple[str, ...]
    memory: int | None
    memory_free: int | None
    disk_free: int
    cuda: str | None
    devices: tuple[Device, ...]
    fits: tuple[Fit, ...]


def inspect_machine() -> Machine:
    """Look at the machine this runs on. Loads torch, changes nothing."""
    import torch

    from headway.engine.extension import is_built, native
    from headway.models.gpt2 import SIZES

    flags = _processor_flags()
    total, free = _memory()
    devices = tuple(
        Device(name=torch.cuda.get_device_name(index), memory=torch.cuda.get_device_properties(index).total_memory)
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    )
    room = max([free or 0, *(device.memory for device in devices)])
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages={name: _version(name) for name in PACKAGES},
        processor=f"{_processor_name()} (torch uses {torch.backends.cpu.get_cpu_capability()})",
        cores=_cores(),
        threads=torch.get_num_threads(),
        features={name: name in flags for name in FEATURES} if flags else {},
        kernels=tuple(native().kernels_here()) if is_built() else (),
        memory=total,
        memory_free=free,
        disk_free=shutil.disk_usage(Path.cwd()).free,
        cuda=torch.version.cuda if devices else None,
        devices=devices,
        fits=tuple(_fit(f"GPT-2 {name}", config.n_parameters(), room) for name, config in SIZES.items()),
    )


def _fit(model: str, parameters: int, room: int) -> Fit:
    write, train = int(parameters * WRITE_BYTES), int(parameters * TRAIN_BYTES)
    return Fit(model=model, write=write <= room, write_bytes=write, train=train <= room, train_bytes=train)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> tuple[int | None, int | None]:
    """Total and free bytes; a container's limit counts where it is lower."""
    total = free = None
    facts = _facts("/proc/meminfo")
    if "MemTotal" in facts:
        total = int(facts["MemTotal"].split()[0]) * 1024
        free = int(facts.get("MemAvailable", facts["MemTotal"]).split()[0]) * 1024
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit is not None and total is not None and free is not None:
        total, free = min(total, limit), min(free, limit - (used or 0))
    return total, free


def _processor_flags() -> set[str]:
    facts = _facts("/proc/cpuinfo")
    return set(facts.get("flags", facts.get("Features", "")).split())


def _processor_name() -> str:
    return _facts("/proc/cpuinfo").get("model name") or platform.processor() or platform.machine()


def _facts(path: str) -> dict[str, str]:
    """The `name: value` lines of a file the kernel writes; empty where the system has no such file."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such file, or the word "max": no limit
        return None
