"""A writer with `speculate` writes the same, and refuses what cannot draft for it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import SIZE, ByteTokenizer, ScriptedDecoder, tiny_gpt2

import headway
from headway.errors import FormatError, UsageError
from headway.models.gpt2 import GPT2, GPT2Config
from headway.tasks.writer import Writer

SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0, "seed": 1},
    {"seed": 3, "temperature": 0.6, "top_k": 9},
    {"seed": 4, "temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.2, "frequency_penalty": 0.1},
    {"seed": 5, "temperature": 0.5, "stop": ["e", "th"], "logprobs": 2, "samples": 3},
    {"temperature": 0, "seed": 1, "max_new_tokens": 150},  # past the context
]


class OtherBytes(ByteTokenizer):
    """The same number of ids, one of which means something else."""

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return super().decode_bytes([261 if token == 260 else token for token in ids])


class MoreBytes(ByteTokenizer):
    @property
    def size(self) -> int:
        return SIZE + 1


def smaller() -> Writer:
    model = tiny_gpt2(context=23)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return Writer.of(model, ByteTokenizer())


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer.of(tiny_gpt2(), ByteTokenizer())


@pytest.mark.parametrize("settings", SETTINGS, ids=range(len(SETTINGS)))
@pytest.mark.parametrize("kind", ["lookup", "draft"])
def test_the_results_are_those_of_plain_writing(writer: Writer, settings: dict[str, Any], kind: str) -> None:
    settings = {"max_new_tokens": 40, **settings}
    speculate = "lookup" if kind == "lookup" else smaller()
    prompts = ["abc, abc, ab", "Once upon a time", ""]
    expected = writer.write(prompts, **settings)
    found = writer.write(prompts, speculate=speculate, **settings)
    for here, there in zip(_flat(found), _flat(expected), strict=True):
        assert (here.text, here.ids, here.finish_reason) == (there.text, there.ids, there.finish_reason)
        assert (here.windowed, here.seed, here.prompt_tokens) == (there.windowed, there.seed, there.prompt_tokens)
        assert here.logprobs == pytest.approx(there.logprobs, abs=1e-4)
    if "samples" not in settings:
        pieces = list(writer.stream(prompts[0], speculate=speculate, **settings))
        assert "".join(piece.text for piece in pieces) == expected[0].text
        assert [token for piece in pieces for token in piece.ids] == expected[0].ids
        assert [piece.finish_reason for piece in pieces][-1] == expected[0].finish_reason


def _flat(results: list[Any]) -> list[Any]:
    return [one for row in results for one in (row if isinstance(row, list) else [row])]


@pytest.mark.parametrize(("stop", "text"), [("d", "abcabcabcabcabc"), ("cd", "abcabcabcabcab")])
def test_a_stop_string_within_an_accepted_run_ends_the_text_there(stop: str, text: str) -> None:
    model = ScriptedDecoder(list(b"abcabcabcabcabcdabcabcabcabc"))
    writer = Writer.of(model, ByteTokenizer(), temperature=0)
    draft = Writer.of(ScriptedDecoder(model.script), ByteTokenizer())
    for speculate in ("lookup", draft):
        model.n_steps = 0
        result = writer.write("?", stop=[stop], speculate=speculate)
        assert (result.text, result.finish_reason, result.ids) == (text, "stop", list(text.encode()))
        assert model.n_steps < 12
        assert "".join(piece.text for piece in writer.stream("?", stop=[stop], speculate=speculate)) == text


def test_a_folder_can_be_the_draft_and_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    tokenizer = headway.Tokenizer.load("gpt2")
    for name, width in (("large", 14), ("small", 6)):
        config = GPT2Config(vocabulary=tokenizer.size, context=31, width=width, n_layers=1, n_heads=2)
        headway.save(GPT2(config), tokenizer, tmp_path / name)
    writer = Writer(tmp_path / "large", device="cpu")
    expected = writer.write("Once, once, once", max_new_tokens=11, seed=1)
    for _ in range(2):
        found = writer.write("Once, once, once", max_new_tokens=11, seed=1, speculate=tmp_path / "small")
        assert found.ids == expected.ids
        monkeypatch.setattr("headway.formats.bundled.locate", None)  # the second time nothing is opened


def test_a_draft_of_another_vocabulary_is_refused_with_the_first_difference(writer: Writer) -> None:
    for tokenizer, said in (
        (MoreBytes(), f"the draft model has {SIZE + 1} ids and the writer {SIZE}"),
        (ByteTokenizer(has_end=False), "ends a text with id None and the writer with 256"),
        (OtherBytes(), "id 260 is b'ba' to the draft model and b'ab' to the writer"),
    ):
        draft = Writer.of(tiny_gpt2(), tokenizer)
        with pytest.raises(UsageError, match=said):
            writer.write("Once", speculate=draft)
        with pytest.raises(UsageError, match=said):
            writer.stream("Once", speculate=draft)


def test_beam_and_what_is_no_draft_are_refused(writer: Writer) -> None:
    for speculate in ("lookup", smaller()):
        with pytest.raises(UsageError, match="beam excludes speculate"):
            writer.write("Once", beam=2, speculate=speculate)
    with pytest.raises(FormatError, match='speculate takes "lookup" or a draft model, and there is no folder'):
        writer.write("Once", speculate="lokup")
    with pytest.raises(UsageError, match='speculate takes "lookup", a draft model or None, but got True'):
        writer.write("Once", speculate=True)  # type: ignore[call-overload]
