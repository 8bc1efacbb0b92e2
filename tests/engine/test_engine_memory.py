"""What would take more memory than there is gets refused before any is taken, and the state stays as it was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_gpt2 import CONTEXT, feed, in_engine, tiny
from tiny_transformer import in_engine as translator_in_engine
from tiny_transformer import tiny as tiny_translator

from headway.engine import memory
from headway.engine.compile import compiled
from headway.engine.memory import available_memory, floats, refuse_past_memory
from headway.errors import ResourceError
from headway.models.bert import BERT, BERTConfig

MIB = 2**20


class System:
    """The files in which a system tells what memory there is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.free(64)

    def free(self, mebibytes: int) -> None:
        self.put("proc/meminfo", f"MemTotal: 1 kB\nMemAvailable:   {mebibytes * 1024} kB\n")

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setattr(memory, "SYSTEM", tmp_path)
    monkeypatch.setattr(memory, "UNASKED", 1)
    return System(tmp_path)


# What is free


def test_the_machine_s_free_memory_counts_where_no_group_limits_it(system: System) -> None:
    assert available_memory() == 64 * MIB
    system.put("proc/self/cgroup", "0::/\n")
    system.put("sys/fs/cgroup/memory.max", "max\n")
    assert available_memory() == 64 * MIB


def test_the_narrowest_of_the_groups_around_a_process_counts(system: System) -> None:
    system.put("proc/self/cgroup", "0::/outer/inner\n")
    for folder, most in (("outer", 40), ("outer/inner", 50)):
        system.put(f"sys/fs/cgroup/{folder}/memory.max", f"{most * MIB}\n")
        system.put(f"sys/fs/cgroup/{folder}/memory.current", f"{30 * MIB}\n")
    assert available_memory() == 10 * MIB
    system.put("sys/fs/cgroup/outer/memory.stat", f"anon 5\ninactive_file {7 * MIB}\n")
    assert available_memory() == 17 * MIB
    system.put("sys/fs/cgroup/outer/memory.current", f"{90 * MIB}\n")
    assert available_memory() == 0


def test_groups_of_the_first_version_count_and_their_limit_without_a_limit_does_not(system: System) -> None:
    system.put("proc/self/cgroup", "5:cpu:/\n4:memory:/docker/of-the-outside\n0::/\n")
    system.put("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    system.put("sys/fs/cgroup/memory/memory.usage_in_bytes", f"{3 * MIB}\n")
    assert available_memory() == 64 * MIB
    system.put("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{5 * MIB}\n")
    assert available_memory() == 2 * MIB


def test_where_a_system_does_not_say_nothing_is_refused(system: System) -> None:
    (system.root / "proc/meminfo").unlink()
    assert available_memory() is None
    refuse_past_memory("this", 2**60, "")


def test_a_refusal_says_what_is_needed_what_is_free_and_the_way_out(system: System) -> None:
    with pytest.raises(ResourceError, match=r"a step would take 65 MiB of memory, but 64 MiB is free\nFeed fewer\."):
        refuse_past_memory("a step", 65 * MIB, "Feed fewer.")
    refuse_past_memory("a step", 64 * MIB, "Feed fewer.")
    for shape in ((2**62, 2**62), (2**31, 2**31)):
        with pytest.raises(ResourceError, match="GiB"):
            floats(shape, "a step", "Feed fewer.")


def test_small_needs_are_not_asked_for(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.free(0)
    monkeypatch.setattr(memory, "UNASKED", 16 * MIB)
    refuse_past_memory("a step", 16 * MIB - 1, "")
    with pytest.raises(ResourceError):
        refuse_past_memory("a step", 16 * MIB, "")


# Who is refused


def same_after(model: Any, state: Any, ids: list[int]) -> Any:
    """Logits behind one more token, equal to those of a row that nothing was refused to."""
    logits, state = feed(model, state, [[3]])
    expected, _ = feed(model, model.start(rows=1), [[*ids, 3]])
    assert torch.equal(logits, expected)
    return state


def test_a_step_whose_keys_and_values_do_not_fit_is_refused_and_the_state_stays(system: System) -> None:
    model = in_engine(tiny(), 8)
    _, state = feed(model, model.start(rows=1), [[1, 2]])
    state = state.select([0] * 3000)
    held = state.pages_out
    system.free(12)  # each row wants a page of its own now, of 8,640 bytes, and 16 MiB of them are there
    with pytest.raises(ResourceError, match="this step would take .* MiB of memory, but .* is free"):
        feed(model, state, [[3]] * 3000)
    assert state.pages_out == held and state.lengths.tolist() == [2] * 3000
    same_after(model, state.select([0]), [1, 2])


def test_a_step_that_needs_no_new_page_is_taken_where_no_memory_is_free(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = in_engine(tiny(), 8)
    _, state = feed(model, model.start(rows=1), [[1, 2]])
    monkeypatch.setattr(memory, "UNASKED", MIB)  # more than the logits of a row
    system.free(0)
    same_after(model, state, [1, 2])


def test_logits_of_every_token_that_do_not_fit_are_refused_and_the_state_stays(system: System) -> None:
    model = in_engine(tiny(vocabulary=5000), 8)
    _, state = feed(model, model.start(rows=1), [[1, 2]])
    chunk = [5] * (CONTEXT - 2)
    system.free(1)
    with pytest.raises(ResourceError, match="Feed fewer tokens in a step, or fewer rows"):
        feed(model, state, [chunk], every=True)
    assert state.lengths.tolist() == [2]
    system.free(64)
    feed(model, state, [chunk], every=True)


def test_more_rows_than_fit_are_refused_before_they_are_made(system: System) -> None:
    model = in_engine(tiny(), 8)
    _, state = feed(model, model.start(rows=1), [[1, 2]])
    system.free(1)
    with pytest.raises(ResourceError, match="1,000,000 rows would take"):
        model.start(rows=1_000_000)
    with pytest.raises(ResourceError, match="1,000,000 rows would take"):
        state.select([0] * 1_000_000)
    same_after(model, state, [1, 2])


def test_sources_that_do_not_fit_are_refused_before_they_are_read(system: System) -> None:
    model = translator_in_engine(tiny_translator(), 8)
    sources = torch.ones(2000, 7, dtype=torch.int64)
    system.free(1)
    with pytest.raises(ResourceError, match="these sources would take .* MiB"):
        model.start(sources, None, rows=range(2000))
    assert model.sources_out == 0
    model.start(sources, None, rows=[3] * 5)  # the others are never read


def test_texts_whose_states_do_not_fit_are_refused(system: System) -> None:
    torch.manual_seed(5)
    model = BERT(BERTConfig(vocabulary=61, context=307, width=42, n_layers=1, n_heads=3, feed_forward=71)).eval()
    engine = compiled(model, "bert", bits=8)
    ids = torch.ones(100, 300, dtype=torch.int64)
    system.free(4)
    with pytest.raises(ResourceError, match="Read fewer texts at once"):
        engine.encode(ids)
    states = engine.encode(ids[:3])
    with pytest.raises(ResourceError, match="Read fewer texts at once"):
        engine.output(states.expand(40, *states.shape))
