"""Kill -9 a process that saves over a folder again and again, at random moments; after each the folder must be whole.

Usage: killed_savers.py FOLDER KILLS. A script of its own, so that the library is loaded once and each saver is a fork.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from headway.formats.folder import load, replace_weights, save

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
chance = random.Random(17)
model, _ = load(folder)


def save_for_ever() -> None:
    """Every parameter of the model number n is n: a mixture of two models would show."""
    number = 0
    while True:
        number += 1
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(number)
        if number % 3:
            save(model, None, folder, overwrite=True)
        else:
            replace_weights(folder, model)


for kill in range(kills):
    saver = os.fork()
    if saver == 0:
        try:
            save_for_ever()
        finally:
            os._exit(1)
    time.sleep(0.02 + 0.1 * chance.random())
    os.kill(saver, signal.SIGKILL)
    _, status = os.waitpid(saver, 0)
    assert os.WIFSIGNALED(status), "the saver failed by itself"
    again, _ = load(folder)
    values = torch.cat([parameter.detach().flatten() for parameter in again.parameters()]).unique()
    assert kill == 0 or len(values) == 1, f"kill {kill}: parameters of several models: {values}"
    assert os.listdir(folder.parent) == [folder.name], os.listdir(folder.parent)
    assert not list(folder.glob(".*")), list(folder.iterdir())
