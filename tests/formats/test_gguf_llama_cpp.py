"""llama.cpp itself on our GGUF files: the same ids for the same text, and the same greedy text, as our own model.

The package llama_cpp belongs to no extra; where it is not installed these checks are left out.
"""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from test_gguf import END, TEXTS, blocky, small_tokenizer

from headway.formats import gguf
from headway.formats.convert import export_model
from headway.formats.folder import load, save
from headway.models.gpt2 import GPT2

pytestmark = pytest.mark.night

STEPS = 40


def open_file(path: Path, **changes: Any) -> Any:
    """The file in llama.cpp, keys and values in float32, as our model has them."""
    llama_cpp = pytest.importorskip("llama_cpp")
    settings = {"n_ctx": 64, "n_threads": 1, "n_threads_batch": 1, "logits_all": True, "verbose": False, **changes}
    return llama_cpp.Llama(str(path), type_k=0, type_v=0, **settings)


def greedy(model: Any, ids: list[int]) -> tuple[list[int], float]:
    """So many ids after these, the likeliest each time, and the least that a chosen one was ahead of the second."""
    ids, ahead = list(ids), []
    for _ in range(STEPS):
        with torch.no_grad():
            first, second = model(torch.tensor([ids]))[0, -1].topk(2)[0].tolist()
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        ahead.append(first - second)
    return ids[-STEPS:], min(ahead)


@pytest.fixture(params=["tiny", "tiny untied", "writer"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, make_model: Callable[..., GPT2]) -> Path | str:
    if request.param == "writer":
        return "writer"
    changes = {"tiny": {}, "tiny untied": {"tied": False, "vocabulary": 265}}[request.param]
    config = blocky(context=67, feed_forward=128, epsilon=1e-3, **changes)
    save(make_model(seed=3, config=config), small_tokenizer(), tmp_path / "model")
    return tmp_path / "model"


def test_the_greedy_text_is_the_same(tmp_path: Path, folder: Path | str) -> None:
    export_model(folder, "gguf", tmp_path / "out.gguf")
    model, tokenizer = load(folder, dtype="float32")
    llama = open_file(tmp_path / "out.gguf")
    assert tokenizer is not None and llama.n_vocab() == model.config.vocabulary
    for text in ("the other", "Once upon a time"):
        prompt = tokenizer.encode(text)
        expected, ahead = greedy(model, prompt)
        steps = llama.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0)
        assert list(islice(steps, STEPS)) == expected, f"the closest choice was decided by {ahead:.2g}"


def test_the_logits_are_the_same_but_for_rounded_gelu(tmp_path: Path, folder: Path | str) -> None:
    export_model(folder, "gguf", tmp_path / "out.gguf")
    model, tokenizer = load(folder, dtype="float32")
    assert tokenizer is not None
    llama = open_file(tmp_path / "out.gguf")
    ids = tokenizer.encode("the other, the one and the same")[:30]
    llama.eval(ids)
    found = torch.tensor(llama.scores[: len(ids)])
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0]
    assert float((found - expected).abs().max()) < 1e-3 * float(expected.abs().max())  # a table of float16 for GELU


def test_a_file_without_a_tokenizer_runs(tmp_path: Path, make_model: Callable[..., GPT2]) -> None:
    model = make_model(seed=3, config=blocky(feed_forward=128))
    save(model, None, tmp_path / "model")
    export_model(tmp_path / "model", "gguf", tmp_path / "out.gguf")
    llama = open_file(tmp_path / "out.gguf", n_ctx=13)
    assert llama.n_vocab() == 263
    ids = [7, 11, 2, 3]
    llama.eval(ids)
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0]
    assert float((torch.tensor(llama.scores[:4]) - expected).abs().max()) < 1e-3 * float(expected.abs().max())


@pytest.mark.parametrize("tensor_type", ["f16", "q8_0", "q4_0"])
def test_rounded_files_run(tmp_path: Path, tensor_type: str) -> None:
    export_model("writer", "gguf", tmp_path / "out.gguf", tensor_type=tensor_type)
    tokenizer = load("writer")[1]
    assert tokenizer is not None
    ids = tokenizer.encode("Once upon a time there was a")
    llama = open_file(tmp_path / "out.gguf")
    llama.eval(ids)
    with torch.no_grad():
        expected = gguf.read(tmp_path / "out.gguf").model(torch.tensor([ids]))[0]
    found = torch.tensor(llama.scores[: len(ids)])
    assert float((found - expected).abs().max()) < 0.05 * float(expected.abs().max())  # it rounds what goes in, too


def test_texts_become_the_same_ids(tmp_path: Path, folder: Path | str) -> None:
    export_model(folder, "gguf", tmp_path / "out.gguf")
    tokenizer = load(folder)[1]
    assert tokenizer is not None and tokenizer.end_of_text is not None
    llama = open_file(tmp_path / "out.gguf", vocab_only=True)
    assert llama.token_eos() == llama.token_bos() == tokenizer.end_of_text
    for text in (*TEXTS, "It's the  other\tone's 12,345 words.\n\n  Isn't it?  ", "naïve café, 1½ Straße"):
        expected = tokenizer.encode(text)
        assert llama.tokenize(text.encode(), add_bos=False, special=False) == expected, text
        if expected:
            assert llama.detokenize(expected, special=True).decode() == text
    marked = f"one{END}two"
    expected = tokenizer.encode(marked, allowed_special="all")
    assert llama.tokenize(marked.encode(), add_bos=False, special=True) == expected
