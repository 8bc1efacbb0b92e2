import math
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from doubles import END, SIZE, WORDS, ByteTokenizer, ScriptedDecoder, tiny_gpt2
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ConfigError, ContextError, UsageError
from headway.tasks import writing
from headway.tasks.continuation import Piece
from headway.tasks.writer import Writer
from headway.tasks.writing import Result

BYTES = {token: ByteTokenizer().decode_bytes([token]) for token in range(SIZE)}
LETTERS = "abé€😀"


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer.of(tiny_gpt2(), ByteTokenizer())


def scripted(script: Sequence[int]) -> Writer:
    return Writer.of(ScriptedDecoder(script), ByteTokenizer(), temperature=0)


def put_together(pieces: Sequence[Piece]) -> tuple[str, list[int], list[float], list[Any], str | None]:
    assert all(piece.finish_reason is None for piece in pieces[:-1])
    return (
        "".join(piece.text for piece in pieces),
        [token for piece in pieces for token in piece.ids],
        [logprob for piece in pieces for logprob in piece.logprobs],
        [top for piece in pieces for top in piece.top_logprobs],
        pieces[-1].finish_reason,
    )


def whole(result: Result) -> tuple[str, list[int], list[float], list[Any], str | None]:
    return result.text, result.ids, result.logprobs, result.top_logprobs, result.finish_reason


@st.composite
def scripts(draw: st.DrawFn) -> list[int]:
    """Tokens of a text of LETTERS, cut anywhere between bytes, some of them several bytes long."""
    data = draw(st.text(LETTERS, max_size=14)).encode()
    script = []
    at = 0
    while at < len(data):
        fitting = [data[at], *(token for token, word in WORDS.items() if data[at:].startswith(word))]
        token = draw(st.sampled_from(fitting))
        script.append(token)
        at += len(BYTES[token])
    return script


@settings(max_examples=80, deadline=None)
@given(script=scripts(), stop=st.lists(st.text(LETTERS, min_size=1, max_size=3), max_size=3))
def test_stop_strings_never_show_and_ids_are_the_tokens_wholly_kept(script: list[int], stop: list[str]) -> None:
    text = b"".join(BYTES[token] for token in script).decode()
    kept = text
    for end in range(1, len(text) + 1):
        complete = [one for one in stop if text[:end].endswith(one)]
        if complete:
            kept = text[: end - max(map(len, complete))]
            break
    n_bytes, ids = 0, []
    for token in script:
        n_bytes += len(BYTES[token])
        if n_bytes <= len(kept.encode()):
            ids.append(token)

    result = scripted(script).write("?", max_new_tokens=99, stop=stop, seed=1)
    assert (result.text, result.ids, result.finish_reason) == (kept, ids, "stop")
    assert len(result.logprobs) == len(result.top_logprobs) == len(ids)

    pieces = list(scripted(script).stream("?", max_new_tokens=99, stop=stop, seed=1))
    assert put_together(pieces) == whole(result)
    so_far = ""
    for piece in pieces:
        so_far += piece.text
        assert kept.startswith(so_far)


@settings(max_examples=60, deadline=None)
@given(script=st.lists(st.integers(0, SIZE - 1).filter(lambda token: token != END), max_size=12))
def test_any_bytes_come_out_as_decode_has_them_and_no_piece_ends_inside_a_character(script: list[int]) -> None:
    text = b"".join(BYTES[token] for token in script).decode(errors="replace")
    pieces = list(scripted(script).stream("?", max_new_tokens=99))
    joined, ids, *_ = put_together(pieces)
    assert (joined, ids) == (text, script)
    length = scripted(script).write("?", max_new_tokens=max(1, len(script)))
    if script:
        assert (length.text, length.ids, length.finish_reason) == (text, script, "length")


def test_a_token_in_which_a_stop_string_begins_is_not_among_the_ids_though_its_first_letters_are_text() -> None:
    result = scripted([120, 260, 260]).write("?", stop="b", seed=1)  # x, ab, ab
    assert (result.text, result.ids, result.finish_reason) == ("xa", [120], "stop")


def test_half_a_character_before_a_stop_string_belongs_to_it() -> None:
    result = scripted([97, 0xE2, 0x82, 0xAC]).write("?", stop="€")
    assert (result.text, result.ids) == ("a", [97])


def test_end_of_text_stops_and_is_no_part_of_the_result() -> None:
    result = scripted([104, 105]).write("?")
    assert (result.text, result.ids, result.finish_reason) == ("hi", [104, 105], "stop")
    assert len(result.logprobs) == 2


def test_a_stop_string_that_ends_with_the_last_token_is_a_stop() -> None:
    result = scripted([104, 46]).write("?", max_new_tokens=2, stop=["."])
    assert (result.text, result.finish_reason) == ("h", "stop")


def test_a_single_stop_string_is_one_string_and_not_its_letters() -> None:
    assert scripted([69, 120, 258]).write("?", stop="END").text == "Ex "


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"seed": 3}, {"seed": 4, "top_k": 9, "top_p": 0.9}])
def test_streamed_equals_written(writer: Writer, settings: dict[str, Any]) -> None:
    result = writer.write("Once upon", max_new_tokens=40, logprobs=3, **settings)
    pieces = list(writer.stream("Once upon", max_new_tokens=40, logprobs=3, **settings))
    assert put_together(pieces) == whole(result)
    assert len(pieces) > 5


def test_a_list_gives_each_prompt_s_result_as_if_alone(writer: Writer) -> None:
    prompts = ["Once", "another, longer prompt", "", "the third of them, the longest of all, with more words"]
    together = writer.write(prompts, max_new_tokens=17, seed=3, stop=["e"])
    alone = [writer.write(prompt, max_new_tokens=17, seed=3, stop=["e"]) for prompt in prompts]
    assert [whole(one)[:2] for one in together] == [whole(one)[:2] for one in alone]
    assert [one.prompt_tokens for one in together] == [4, 22, 1, 54]
    for left, right in zip(together, alone, strict=True):
        assert left.logprobs == pytest.approx(right.logprobs, abs=1e-4)
    assert writer.write(["Once"], max_new_tokens=3, seed=3)[0].ids == writer.write("Once", max_new_tokens=3, seed=3).ids
    assert writer.write([]) == []


def test_more_prompts_than_run_at_once_all_come_out_in_order(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [f"{number}, number" for number in range(7)]
    expected = [one.ids for one in writer.write(prompts, max_new_tokens=5, seed=2)]
    monkeypatch.setattr(writing, "ROWS_AT_ONCE", 2)
    assert [one.ids for one in writer.write(prompts, max_new_tokens=5, seed=2)] == expected


def test_samples_differ_and_repeat_with_the_seed(writer: Writer) -> None:
    several = writer.write("Once", max_new_tokens=11, samples=3, seed=8)
    assert len({one.text for one in several}) == 3
    assert several == writer.write("Once", max_new_tokens=11, samples=3, seed=8)
    assert several[0].ids == writer.write("Once", max_new_tokens=11, seed=8).ids
    nested = writer.write(["Once", "Twice"], max_new_tokens=11, samples=3, seed=8)
    assert [[one.ids for one in row] for row in nested][0] == [one.ids for one in several]
    assert [len(row) for row in nested] == [3, 3]


def test_without_a_seed_one_is_drawn_and_said_and_repeats(writer: Writer) -> None:
    first, second = writer.write("Once", max_new_tokens=11), writer.write("Once", max_new_tokens=11)
    assert first.seed != second.seed
    assert writer.write("Once", max_new_tokens=11, seed=first.seed) == first
    pieces = list(writer.stream("Once", max_new_tokens=11))
    assert len({piece.seed for piece in pieces}) == 1
    assert writer.write("Once", max_new_tokens=11, seed=pieces[0].seed).ids == put_together(pieces)[1]


def test_log_probabilities_are_log_softmax_of_the_full_pass(writer: Writer) -> None:
    result = writer.write("Once", max_new_tokens=9, temperature=0.4, top_k=5, bias={104: 4.0}, logprobs=2, seed=1)
    ids = writer.tokenizer.encode("Once") + result.ids
    with torch.no_grad():
        every = writer.model(torch.tensor([ids]))[0].log_softmax(-1)  # type: ignore[operator]
    expected = [float(every[at - 1, ids[at]]) for at in range(4, len(ids))]
    assert result.logprobs == pytest.approx(expected, abs=1e-4)
    assert [len(top) for top in result.top_logprobs] == [2] * len(result.ids)
    assert all(first[1] >= second[1] for top in result.top_logprobs for first, second in pairwise(top))


def test_sampling_arguments_reach_the_choice(writer: Writer) -> None:
    written = {
        name: writer.write("Once upon a time", max_new_tokens=40, **{"seed": 1, **settings}).text
        for name, settings in {
            "plain": {},
            "seed": {"seed": 2},
            "temperature": {"temperature": 0.5},
            "top_k": {"top_k": 2},
            "top_p": {"top_p": 0.2},
            "min_p": {"min_p": 0.5},
            "repetition": {"repetition_penalty": 3.0},
            "frequency": {"frequency_penalty": 2.0},
            "presence": {"presence_penalty": 2.0},
            "bias": {"bias": {104: 9.0}},
        }.items()
    }
    assert len(set(written.values())) == len(written)
    assert set(writer.write("Once", max_new_tokens=9, bias={104: 999.0}).text) == {"h"}


def test_the_default_temperature_is_the_writer_s() -> None:
    cold = Writer.of(tiny_gpt2(), ByteTokenizer(), temperature=0)
    warm = Writer.of(tiny_gpt2(), ByteTokenizer())
    assert cold.write("Once", max_new_tokens=20).ids == warm.write("Once", max_new_tokens=20, temperature=0).ids
    assert cold.write("Once", max_new_tokens=20, temperature=1.0, seed=3) == warm.write(
        "Once", max_new_tokens=20, seed=3
    )


def test_echo_scores_the_prompt_and_score_agrees(writer: Writer) -> None:
    result = writer.write("Once upon", max_new_tokens=3, echo=True, seed=1)
    scored = writer.score("Once upon")
    assert result.prompt_logprobs == scored.logprobs
    assert scored.ids == list(b"Once upon")
    assert scored.logprobs[0] is None
    assert scored.total == pytest.approx(sum(value for value in scored.logprobs if value is not None))
    assert writer.write("Once upon", max_new_tokens=3, seed=1).prompt_logprobs is None
    assert len(result.ids) <= 3


def test_an_empty_prompt_starts_from_end_of_text(writer: Writer) -> None:
    result = writer.write("", max_new_tokens=1, temperature=0, echo=True)
    with torch.no_grad():
        expected = int(writer.model(torch.tensor([[END]]))[0, -1].argmax())  # type: ignore[operator]
    assert result.ids == ([] if expected == END else [expected])
    assert (result.prompt_tokens, result.prompt_logprobs) == (1, [None])


def test_an_empty_prompt_without_an_end_of_text_token_is_refused() -> None:
    with pytest.raises(UsageError, match="Give a prompt"):
        Writer.of(tiny_gpt2(), ByteTokenizer(has_end=False)).write("")


def test_zero_new_tokens_write_nothing_but_still_echo(writer: Writer) -> None:
    result = writer.write("Once", max_new_tokens=0, echo=True)
    assert (result.text, result.ids, result.finish_reason) == ("", [], "length")
    assert len(result.prompt_logprobs or []) == 4
    assert [piece.finish_reason for piece in writer.stream("Once", max_new_tokens=0)] == ["length"]


def test_past_the_context_writing_goes_on_and_says_so_while_echo_and_score_refuse() -> None:
    writer = Writer.of(tiny_gpt2(context=13), ByteTokenizer())
    short = writer.write("Once", max_new_tokens=5, seed=1)
    grown = writer.write("Once", max_new_tokens=40, seed=1)
    long = writer.write("a prompt longer than the context", max_new_tokens=5, seed=1)
    assert (short.windowed, grown.windowed, long.windowed) == (False, True, True)
    assert grown.ids[: len(short.ids)] == short.ids
    assert long.ids == writer.write("an the context", max_new_tokens=5, seed=1).ids
    pieces = list(writer.stream("Once", max_new_tokens=40, seed=1))
    assert put_together(pieces) == whole(grown)
    assert pieces[-1].windowed
    for refused in (
        lambda: writer.score("a prompt longer"),
        lambda: writer.write("a prompt longer", echo=True),
    ):
        with pytest.raises(ContextError, match="at most 13 tokens"):
            refused()


def test_beam_one_equals_greedy_and_a_wider_beam_scores_no_worse(writer: Writer) -> None:
    greedy = writer.write("Once", max_new_tokens=12, temperature=0)
    one = writer.write("Once", max_new_tokens=12, beam=1)
    assert (one.text, one.ids, one.finish_reason) == (greedy.text, greedy.ids, greedy.finish_reason)
    assert one.logprobs == pytest.approx(greedy.logprobs, abs=1e-4)
    wide = writer.write("Once", max_new_tokens=2, beam=SIZE)
    narrow = writer.write("Once", max_new_tokens=2, beam=1)
    assert math.fsum(wide.logprobs) / 2 >= math.fsum(narrow.logprobs) / 2 - 1e-9
    assert [one.ids for one in writer.write(["Once", "Then"], max_new_tokens=3, beam=2)] == [
        writer.write("Once", max_new_tokens=3, beam=2).ids,
        writer.write("Then", max_new_tokens=3, beam=2).ids,
    ]


def test_stop_strings_cut_the_best_of_a_beam() -> None:
    writer = scripted(list(b"one. two"))
    result = writer.write("?", beam=2, stop=["."])
    assert (result.text, result.ids, result.finish_reason) == ("one", list(b"one"), "stop")
    assert writer.write("?", beam=2).text == "one. two"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"top_k": 3}, "top_k"),
        ({"top_p": 0.5}, "top_p"),
        ({"min_p": 0.5}, "min_p"),
        ({"samples": 2}, "samples"),
        ({"logprobs": 2}, "logprobs"),
        ({"bias": {1: 1.0}}, "bias or a penalty"),
        ({"repetition_penalty": 2.0}, "bias or a penalty"),
    ],
)
def test_a_beam_with_sampling_arguments_is_refused_by_name(
    writer: Writer, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=f"beam excludes {named}"):
        writer.write("Once", beam=2, **settings)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"max_new_tokens": -1}, UsageError, "max_new_tokens must be a whole number of at least 0, but got -1"),
        ({"max_new_tokens": 2.5}, UsageError, "max_new_tokens"),
        ({"samples": 0}, UsageError, "samples"),
        ({"logprobs": -1}, UsageError, "logprobs"),
        ({"beam": 0}, UsageError, "beam"),
        ({"beam": 2, "length_penalty": float("nan")}, UsageError, "length_penalty must be a finite number"),
        ({"length_penalty": 0.6}, UsageError, "length_penalty is of a beam search alone"),
        ({"stop": ["a", ""]}, UsageError, "stop"),
        ({"temperature": -1}, ConfigError, "temperature"),
        ({"bias": {SIZE: 1.0}}, UsageError, r"0\.\.263, but got 264"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(
    writer: Writer, settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        writer.write("Once", **settings)


def test_a_prompt_that_is_no_text_is_refused(writer: Writer) -> None:
    with pytest.raises(UsageError, match="must be text, but got 7"):
        writer.write(["Once", 7])  # type: ignore[list-item]


def test_streaming_checks_its_arguments_at_the_call(writer: Writer) -> None:
    with pytest.raises(ConfigError, match="top_k"):
        writer.stream("Once", top_k=0)
    with pytest.raises(UsageError, match="must be text"):
        writer.stream(["Once"])  # type: ignore[arg-type]


def test_closing_a_stream_ends_it(writer: Writer) -> None:
    pieces = writer.stream("Once", max_new_tokens=40, seed=1)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert list(pieces) == []


def test_a_writer_puts_its_model_in_evaluation_mode() -> None:
    model = tiny_gpt2().train()
    Writer.of(model, ByteTokenizer())
    assert not model.training


def test_importing_the_writer_loads_no_torch() -> None:
    code = "import sys, headway.tasks.writer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
