"""A fine-tuning of the kill tests, in a process of its own: python reading_runs.py TASK DATA OUTPUT STEPS."""

import sys

from headway.training.recipe import recipe_from
from headway.training.run import train

SETTINGS = (
    "model.family=bert",
    "model.width=12",
    "model.n_layers=1",
    "model.n_heads=2",
    "model.feed_forward=16",
    "model.context=64",
    "tokenizer.vocabulary=200",
    "train.window=32",
    "train.batch_tokens=256",
    "train.save_every=3",
    "train.evaluations=5",
    "train.log_every=1",
    "data.validation_share=0.2",
)

if __name__ == "__main__":
    task, data, output, steps = sys.argv[1:]
    print("working", flush=True)
    made = recipe_from(data, output, budget={"steps": int(steps)}, assignments=(f"task={task}", *SETTINGS))
    print("finished", train(made).steps, flush=True)
