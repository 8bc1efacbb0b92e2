"""`headway doctor`: what this machine has, which bundled models are there, what will fit."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from headway.cli.machine import Fit, Machine, inspect_machine
from headway.cli.output import bytes_text, print_json, print_rows


def doctor(*, json: Annotated[bool, Parameter(help="Print one JSON object.")] = False) -> None:
    """Say what this machine has and what will fit on it.

    Example: headway doctor
    """
    from headway.cli.models import bundled_models

    machine = inspect_machine()
    names = [model.name for model in bundled_models()]
    if json:
        print_json({**asdict(machine), "bundled": names})
        return
    print_rows(_rows(machine, names))
    print("\nWhat fits in the memory that is free now (fp32):")
    print_rows([("model", "write", "train"), *(_fit_row(fit) for fit in machine.fits)], indent="  ")


def _rows(machine: Machine, bundled: list[str]) -> list[tuple[str, str]]:
    features = " ".join(name for name, there in machine.features.items() if there)
    memory = "unknown"
    if machine.memory is not None and machine.memory_free is not None:
        memory = f"{bytes_text(machine.memory_free)} free of {bytes_text(machine.memory)}"
    return [
        ("python", f"{machine.python} on {machine.system}"),
        *((name, version or "not installed") for name, version in machine.packages.items()),
        ("processor", machine.processor),
        ("cores", f"{machine.cores}, torch uses {machine.threads} threads"),
        ("features", features or "unknown"),
        ("bf16", _bf16(machine)),
        ("engine", _engine(machine)),
        ("memory", memory),
        ("disk", f"{bytes_text(machine.disk_free)} free here"),
        ("cuda", machine.cuda or "none: models run on the processor"),
        *(("device", f"{device.name}, {bytes_text(device.memory)}") for device in machine.devices),
        ("bundled", ", ".join(bundled) or "none"),
    ]


def _bf16(machine: Machine) -> str:
    if machine.devices:
        return "yes, on the device"
    fast = [name for name in ("avx512_bf16", "amx_bf16", "bf16") if machine.features.get(name)]
    return f"yes ({', '.join(fast)})" if fast else "no arithmetic for it on this processor"


def _engine(machine: Machine) -> str:
    from headway.engine.extension import HOW_TO_BUILD

    if machine.kernels:
        return f"compiled; kernels here: {', '.join(machine.kernels)}"
    return f"not built: models run on PyTorch. {HOW_TO_BUILD}"


def _fit_row(fit: Fit) -> tuple[str, str, str]:
    cells = ((fit.write, fit.write_bytes), (fit.train, fit.train_bytes))
    write, train = (f"{'yes' if fits else 'no'}, needs {bytes_text(size)}" for fits, size in cells)
    return fit.model, write, train
