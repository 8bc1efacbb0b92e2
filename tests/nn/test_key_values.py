import torch

from headway.nn.key_values import KeyValueShape, KeyValueState

SHAPE = KeyValueShape(n_layers=2, n_heads=3, head_width=5, context=211, dtype=torch.float32, device=torch.device("cpu"))


def step(state: KeyValueState, counts: list[int], first: float) -> tuple[KeyValueState, torch.Tensor]:
    """One step whose keys are first, first + 1, ... by position and whose values are their negatives."""
    n_new = max(counts)
    extension = state.extend(torch.tensor(counts), n_new)
    for layer in range(SHAPE.n_layers):
        new = (first + torch.arange(float(n_new)))[None, None, :, None].expand(len(counts), 3, n_new, 5)
        keys, values = extension.write(layer, new, -new)
        assert torch.equal(keys, -values)
    return extension.finish(), keys


def test_growing_room_keeps_what_was_written_and_where():
    state = KeyValueState.empty(SHAPE, rows=2, capacity=None)
    rooms = []
    for at in range(0, 209, 11):
        state, keys = step(state, [11, 11], float(at))
        rooms.append(state.capacity)
        assert torch.equal(keys, torch.arange(float(at + 11))[None, None, :, None].expand(2, 3, at + 11, 5))
    assert sorted(set(rooms)) == [64, 128, 211]  # by doubling, and never past the context
    assert state.lengths.tolist() == [209, 209]


def test_a_copy_is_not_disturbed_when_the_other_grows():
    state, _ = step(KeyValueState.empty(SHAPE, rows=1, capacity=7), [7], 0.0)
    kept = state.copy()
    state, _ = step(state, [2], 50.0)
    assert (kept.capacity, state.capacity) == (7, 64)
    kept, keys = step(kept, [1], 7.0)
    assert keys[0, 0, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_rows_of_unequal_counts_are_each_written_at_their_own_place():
    state, _ = step(KeyValueState.empty(SHAPE, rows=2, capacity=None), [3, 1], 0.0)
    state, keys = step(state, [1, 2], 70.0)
    assert keys[0, 0, :, 0].tolist()[:4] == [0, 1, 2, 70]
    assert keys[1, 0, :, 0].tolist()[:3] == [0, 70, 71]
    assert state.lengths.tolist() == [4, 3]


def test_rows_are_moved_inside_their_memory_until_half_of_it_is_no_longer_used():
    state, _ = step(KeyValueState.empty(SHAPE, rows=7, capacity=None), [1, 2, 3, 1, 2, 3, 1], 0.0)
    extension = state.extend(torch.ones(7, dtype=torch.int64), 1)
    marks = torch.arange(7.0)[:, None, None, None].expand(7, 3, 1, 5)
    # Held, so that no later memory can come to lie in the same place.
    first = [extension.write(layer, marks, -marks)[0].untyped_storage() for layer in range(SHAPE.n_layers)]
    state, rows, held = extension.finish(), list(range(7)), [2, 3, 4, 2, 3, 4, 2]
    for kept, inside in (
        ([6, 5, 5, 0, 1, 1, 2], True),
        ([4, 3, 2, 6], True),
        ([3, 0, 3], False),
        ([2, 2, 1, 0], False),
    ):
        state, rows = state.select(kept), [rows[at] for at in kept]
        assert state.lengths.tolist() == [held[row] for row in rows]
        extension = state.extend(torch.zeros(len(kept), dtype=torch.int64), 1)
        nothing = torch.zeros(len(kept), 3, 1, 5)
        for layer, storage in enumerate(first):
            keys, values = extension.write(layer, nothing, nothing)
            assert (keys.untyped_storage().data_ptr() == storage.data_ptr()) == inside
            for at, row in enumerate(rows):
                assert keys[at, 2, : held[row], 4].tolist() == [*range(held[row] - 1), row]
                assert values[at, 2, held[row] - 1, 4] == -row
        state = extension.finish()
