"""A run of the kill tests, in a process of its own: python runs.py TEXTS OUTPUT STEPS."""

import sys

from headway.training.recipe import recipe_from
from headway.training.run import train

SETTINGS = (
    "tokenizer.vocabulary=270",
    "model.width=14",
    "model.n_layers=2",
    "model.n_heads=2",
    "model.context=17",
    "model.residual_dropout=0.1",
    "train.batch_size=6",
    "train.save_every=3",
    "train.evaluations=9",
    "train.sample_tokens=3",
    "train.log_every=1",
    "train.validation_tokens=100",
)

if __name__ == "__main__":
    texts, output, steps = sys.argv[1:]
    print("working", flush=True)
    result = train(recipe_from(texts, output, budget={"steps": int(steps)}, assignments=SETTINGS))
    print("finished", result.steps, flush=True)
