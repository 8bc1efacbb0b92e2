"""GPT-2 in the engine: the same numbers as PyTorch, the same bits from all kernels, and clear refusals."""

import copy
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_gpt2 import CONTEXT, VOCABULARY, feed, in_engine, tiny

from headway.engine.compile import compiled, why_not
from headway.engine.extension import native
from headway.errors import ConfigError, ContextError, FormatError, ResourceError, UsageError
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.laplace import Laplace, LaplaceConfig

IDS = [[(5 * at * at + 3 * row) % VOCABULARY for at in range(31)] for row in range(2)]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_float32_logits_equal_pytorch_s(data: st.DataObject) -> None:
    heads = data.draw(st.sampled_from([1, 2, 3, 5]))
    width = heads * data.draw(st.sampled_from([7, 16, 19] if heads < 5 else [1, 7, 16, 19]))
    model = tiny(
        width=width,
        n_heads=heads,
        n_layers=data.draw(st.integers(1, 3)),
        vocabulary=data.draw(st.sampled_from([1, 15, 16, 17, 97])),
        feed_forward=data.draw(st.sampled_from([1, 13, 64])),
        activation=data.draw(st.sampled_from(["gelu_tanh", "gelu", "relu", "silu"])),
        tied=data.draw(st.booleans()),
        scale_by_head_width=data.draw(st.booleans()),
        scale_by_layer=data.draw(st.booleans()),
        initial_deviation=width**-0.5,
    )
    ids = torch.tensor(IDS) % model.config.vocabulary
    with torch.inference_mode():
        expected = model(ids)
        # The norm of a small width can magnify what rounding changes: PyTorch's own error is then above 1e-4.
        rounded = float((expected - copy.deepcopy(model).double()(ids)).abs().max())
        torch.testing.assert_close(in_engine(model, 32, 2)(ids), expected, rtol=0.0, atol=max(1e-4, 3 * rounded))


@pytest.mark.parametrize(("bits", "lost"), [(16, 0.004), (8, 0.02), (4, 0.15)])
def test_fewer_bits_lose_little_but_something(bits: int, lost: float) -> None:
    """Of the logits' own spread, in the mean over all of them."""
    torch.manual_seed(5)
    model = GPT2(GPT2Config(vocabulary=VOCABULARY, context=CONTEXT, width=128, n_layers=3, n_heads=4)).eval()
    with torch.inference_mode():
        exact = model(torch.tensor(IDS))
        apart = (in_engine(model, bits)(torch.tensor(IDS)) - exact).abs().mean() / exact.std()
    assert lost / 20 < float(apart) < lost


@pytest.mark.parametrize("bits", [32, 16, 8, 4])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_all_kernels_give_the_same_bits(bits: int, data: st.DataObject) -> None:
    heads, size = data.draw(st.sampled_from([1, 3, 5])), data.draw(st.sampled_from([1e-3, 0.2, 3.0]))
    model = tiny(width=heads * 17, n_heads=heads, feed_forward=data.draw(st.sampled_from([3, 37, 101])))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(size)
    plain = in_engine(model, bits, kernels="plain")(torch.tensor(IDS))
    for kernels in native().kernels_here():
        assert torch.equal(in_engine(model, bits, 2, kernels)(torch.tensor(IDS)), plain)


@pytest.mark.parametrize("bits", [32, 16, 8, 4])
@pytest.mark.parametrize("count", [3, 5, 8, 23, 24, 25, 61])
def test_many_rows_at_once_have_the_bits_of_one_after_another(bits: int, count: int) -> None:
    """Inputs enough for several parts of a tile, the last of an odd length."""
    model = tiny(width=85, n_heads=5, n_layers=1, feed_forward=1571)
    ids = [(7 * at * at + at) % VOCABULARY for at in range(count)]
    for kernels in native().kernels_here():
        engine = in_engine(model, bits, 2, kernels)
        together, _ = feed(engine, engine.start(rows=1), [ids], every=True)
        state, alone = engine.start(rows=1), []
        for token in ids:
            logits, state = feed(engine, state, [[token]])
            alone.append(logits[0])
        assert torch.equal(together[0], torch.stack(alone)), kernels


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 40])
@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
def test_weights_of_the_largest_size_overflow_nothing(share: float, count: int) -> None:
    """Of the weights, a share has the largest size that there is: sums of products of 8 bits may not leave 16 bits."""
    model = tiny(width=85, n_heads=5, n_layers=2, feed_forward=1571)
    with torch.no_grad():
        for parameter in model.parameters():
            largest = torch.where(torch.rand_like(parameter) < 0.5, -1.0, 1.0) * parameter.abs().max()
            parameter.copy_(torch.where(torch.rand_like(parameter) < share, largest, parameter))
    ids = [[(7 * at * at + at) % VOCABULARY for at in range(count)]]
    plain, _ = feed(*started(in_engine(model, 8, kernels="plain")), ids, every=True)
    for kernels in native().kernels_here():
        assert torch.equal(feed(*started(in_engine(model, 8, 2, kernels)), ids, every=True)[0], plain), kernels


def started(engine: Any) -> tuple[Any, Any]:
    return engine, engine.start(rows=1)


def test_rows_share_pages_until_they_part_and_let_them_go() -> None:
    model = in_engine(tiny(), 8)
    _, state = feed(model, model.start(rows=1), [IDS[0][:20]])
    assert state.pages_out == 2
    state = state.select([0] * 9)
    assert state.pages_out == 2
    _, state = feed(model, state, [[1]] * 9)
    assert state.pages_out == 10  # the full page is still one, the begun one nine
    kept = state.copy()
    assert state.pages_out == 10
    state = state.select([])
    del kept
    assert state.pages_out == 0


def test_a_thousand_steps_take_no_more_memory_than_one() -> None:
    model = in_engine(tiny(), 8)
    _, state = feed(model, model.start(rows=2), [[1] * 40, [2] * 40])
    for _ in range(1000):
        _, state = feed(model, state, [[3], [4]])
        state = state.rewind([1, 1])
        assert state.pages_out == 6


# Bad input


def test_ids_outside_the_vocabulary_are_refused_and_the_state_stays() -> None:
    model = in_engine(tiny(), 8)
    _, state = feed(model, model.start(rows=1), [[1, 2]])
    for wrong in (-1, VOCABULARY, 2**40):
        with pytest.raises(UsageError, match=str(wrong)):
            feed(model, state, [[wrong]])
    with pytest.raises(UsageError, match="one count for each of 1 rows, but got 2"):
        feed(model, state, [[1], [2]])
    with pytest.raises(UsageError, match=r"counts in 0\.\.1, but got 2"):
        model.step(torch.tensor([[1]]), torch.tensor([2]), state)
    assert state.lengths.tolist() == [2]


def test_absurd_numbers_are_refused_and_the_state_stays() -> None:
    model = in_engine(tiny(), 8)
    _, state = feed(model, model.start(rows=1), [[1, 2]])
    for absurd in (-1, 2**31, 2**62, -(2**63)):
        with pytest.raises(UsageError, match=rf"counts in 0\.\.1, but got {absurd}"):
            model.step(torch.tensor([[1]]), torch.tensor([absurd]), state)
        with pytest.raises(UsageError, match=rf"row numbers in 0\.\.0, but got {absurd}"):
            state.select([absurd])
        with pytest.raises(UsageError, match="at most the latest step's"):
            state.rewind([absurd])
    with pytest.raises(UsageError, match="one count a row"):
        state.rewind([0] * 1000)
    with pytest.raises(ContextError, match=str(CONTEXT)):
        feed(model, state, [[1] * 100_000])
    assert state.lengths.tolist() == [2]


def test_a_step_after_select_with_no_rows_gives_no_rows() -> None:
    model = in_engine(tiny(), 8)
    _, state = feed(model, model.start(rows=2), [[1], [2]])
    logits, state = feed(model, state.select([]), [])
    assert logits.shape == (0, VOCABULARY) and state.lengths.tolist() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "name",
    ["blocks.1.attention.qkv.weight", "token_embedding.weight", "blocks.0.attention.output.bias"]
    + ["position_embedding.weight", "blocks.2.attention_norm.bias", "final_norm.weight"],
)
def test_weights_that_are_not_finite_are_refused_by_name(name: str, value: float) -> None:
    model = tiny()
    with torch.no_grad():
        model.get_parameter(name).view(-1)[3] = value
    with pytest.raises(FormatError, match=name.rpartition(".")[0].replace(".", r"\.")):
        in_engine(model, 8)


def test_what_the_engine_cannot_do_is_refused_with_the_way_out() -> None:
    model = in_engine(tiny(), 8)
    for asked in ({"trace": object()}, {"ablate": frozenset({(0, 0)})}):
        with pytest.raises(UsageError, match="engine=torch"):
            model.step(torch.tensor([[1]]), torch.tensor([1]), model.start(rows=1), **asked)
    with pytest.raises(UsageError, match="reads no source"):
        model.start(torch.tensor([[1]]), torch.tensor([1]), rows=1)
    with pytest.raises(UsageError, match="rows"):
        model.start(rows=10**9)
    with pytest.raises(ContextError, match=str(CONTEXT)):
        model.start(rows=1, capacity=CONTEXT + 1)
    for bits, threads in ((5, 1), (8, 0), (8, 256)):
        with pytest.raises(ConfigError, match="must be"):
            in_engine(tiny(), bits, threads)
    with pytest.raises(FormatError, match="kernels named abacus"):
        in_engine(tiny(), 8, 1, "abacus")
    other = Laplace(LaplaceConfig(vocabulary=7, context=5, width=4, n_layers=1))
    assert why_not(other, "laplace") is not None
    with pytest.raises(ResourceError, match="laplace"):
        compiled(other, "laplace")
    assert "head" in str(why_not(tiny(head="classify", n_labels=2), "gpt2"))


def test_states_of_two_models_do_not_join() -> None:
    one, two = in_engine(tiny(), 8), in_engine(tiny(), 8)
    mine, theirs = one.start(rows=1), two.start(rows=1)
    with pytest.raises(UsageError, match="same model"):
        mine.join(theirs)
    with pytest.raises(UsageError, match="same model"):
        mine.join(mine)
    feed(one, mine, [[1]])
    feed(two, theirs, [[1]])


def test_two_threads_that_use_one_state_are_told_so() -> None:
    model = in_engine(tiny(context=4000, width=48, n_layers=8), 8)
    refused: list[BaseException] = []
    state = model.start(rows=1)
    ready = threading.Barrier(2)

    def run() -> None:
        ready.wait()
        try:
            feed(model, state, [[1] * 3000])
        except RuntimeError as error:
            refused.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1 and "consumed" in str(refused[0])


def test_several_engines_compute_at_once_and_do_not_disturb_each_other() -> None:
    models = [in_engine(tiny(), bits, threads=3) for bits in (32, 8, 4)]
    expected = [model(torch.tensor(IDS)) for model in models]
    wrong: list[int] = []

    def run(at: int) -> None:
        for _ in range(20):
            if not torch.equal(models[at](torch.tensor(IDS)), expected[at]):
                wrong.append(at)

    threads = [threading.Thread(target=run, args=(at,)) for at in (0, 1, 2, 0, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


_PROGRAM = """
import os, sys, threading, time
sys.path.insert(0, {folder!r})
import conftest  # the build to test
from tiny_gpt2 import feed, in_engine, tiny
model = in_engine(tiny(context=4000, width=48, n_layers=8), 8, threads=2)
feed(model, model.start(rows=1), [[1] * 5])
{rest}
"""
# The program ends while the engine computes: PyTorch's own calls, before it, abort a process that ends during one.
_EXIT = """
state = model.start(rows=1)
threading.Thread(target=lambda: feed(model, state, [[1] * 3900]), daemon=True).start()
while state._held is not None:
    time.sleep(0.001)
"""
_FORK = """
child = os.fork()
feed(model, model.start(rows=1), [[1] * 50])
if child == 0:
    os._exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 7)
"""


@pytest.mark.parametrize("rest", [_EXIT, _FORK], ids=["exit-during-a-step", "fork"])
def test_a_process_ends_and_forks_cleanly(rest: str) -> None:
    program = _PROGRAM.format(folder=os.path.dirname(__file__), rest=rest)
    environment: dict[str, Any] = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
