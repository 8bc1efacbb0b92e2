import pytest
import torch

from headway.errors import ContextError, UsageError
from headway.nn.recurrent_state import RecurrentShape, RecurrentState
from headway.nn.source_memory import SourceMemory


def begun(rows, context=None, width=3):
    shape = RecurrentShape(width=width, context=context, dtype=torch.float32, device=torch.device("cpu"))
    memory = SourceMemory.build([torch.arange(10.0).view(2, 5, 1)], torch.tensor([5, 2]), [0] * (rows - 1) + [1])
    return RecurrentState.begin(shape, torch.zeros(rows, width), memory)


def stepped(state, counts):
    """A step that adds 1 to the hidden state for each token, and stays behind a row's count."""
    wide = max(counts)
    trail = torch.stack([state.hidden + torch.tensor(counts).clamp(max=at)[:, None] for at in range(wide + 1)])
    return state.advance(trail, state.check_step(torch.tensor(counts), wide))


def test_hidden_states_follow_steps_and_rewinds_row_by_row():
    state = stepped(stepped(begun(3), [2, 1, 2]), [0, 3, 1])
    assert state.hidden[:, 0].tolist() == [2, 4, 3] and state.lengths.tolist() == [2, 4, 3]
    state = state.rewind([0, 2, 1])
    assert state.hidden[:, 0].tolist() == [2, 2, 2] and state.lengths.tolist() == [2, 2, 2]
    with pytest.raises(UsageError, match=r"at most the latest step's \[0, 1, 0\], but got \[0, 2, 0\]"):
        state.rewind([0, 2, 0])
    assert stepped(state, [1, 0, 2]).hidden[:, 0].tolist() == [3, 2, 4]


def test_selected_rows_keep_their_trails_and_unread_sources_go():
    state = stepped(begun(3), [3, 1, 2]).select([2, 0, 2])
    assert state.hidden[:, 0].tolist() == [2, 3, 2] and state.memory.rows.tolist() == [1, 0, 1]
    state = state.rewind([2, 1, 0]).select([0, 2])
    assert state.hidden[:, 0].tolist() == [0, 2] and state.memory.lengths.tolist() == [2]
    assert state.select([]).hidden.shape == (0, 3)


def test_joined_rows_of_longer_and_shorter_steps_can_both_be_rewound():
    state = stepped(begun(2), [3, 2]).join(stepped(begun(3), [1, 0, 1]))
    assert state.hidden[:, 0].tolist() == [3, 2, 1, 0, 1]
    assert state.rewind([2, 2, 1, 0, 0]).hidden[:, 0].tolist() == [1, 0, 0, 0, 1]


def test_a_copy_lives_on_and_states_of_other_models_do_not_join():
    state = stepped(begun(2), [1, 1])
    child = state.copy()
    stepped(state, [2, 2])
    assert child.hidden[:, 0].tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="consumed"):
        state.copy()
    with pytest.raises(UsageError, match="same model"):
        child.join(begun(2, width=5))


def test_a_step_past_the_context_is_refused_and_consumes_nothing():
    state = stepped(begun(2, context=3), [1, 3])
    with pytest.raises(ContextError, match="3 tokens .* would make it 4"):
        state.check_step(torch.tensor([1, 1]), 1)
    assert state.lengths.tolist() == [1, 3]
