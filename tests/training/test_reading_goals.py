"""Losses and scores of the tasks, against numbers worked by hand or with torch's own functions."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.corpus.batches import IGNORED
from headway.corpus.questions import Question
from headway.training.reading_answers import gold
from headway.training.reading_batches import ReadingBatches
from headway.training.reading_goals import Answer, Embed, Tag
from headway.training.reading_objectives import Classify, ReadingObjective, balanced_weights
from headway.training.reading_store import Row, Rows, rows_of


class Says(nn.Module):
    """A reader whose states are embeddings of its ids, and whose head reads them alone."""

    def __init__(self, labels: int, *, rows: bool) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embedding = nn.Embedding(41, 7)
        self.head = nn.Linear(7, labels)
        self.rows = rows

    def encode(self, ids: Tensor, lengths: Tensor, segments: Tensor | None = None) -> Tensor:
        there = torch.arange(ids.shape[1]) < lengths[:, None]
        return self.embedding(ids) * there[..., None]

    def read_head(self, states: Tensor, lengths: Tensor) -> Tensor:
        return self.head(states[:, 0] if self.rows else states)


def rows(*targets: list[int], pair: bool = False) -> Rows:
    made = []
    for number, wanted in enumerate(targets):
        ids = [(3 * number + place) % 40 + 1 for place in range(3 + number)]
        made.append(Row(ids, 2 if pair else len(ids), wanted))
    return rows_of(made)


def batches(given: Rows, *, apart: bool = False, words: bool = False, tokens: int = 90) -> ReadingBatches:
    return ReadingBatches(given, tokens=tokens, seed=3, padding=0, apart=apart, words=words)


def whole(given: Rows, *, apart: bool = False, words: bool = False):
    ((_, part),) = batches(given, apart=apart, words=words).every(given, 1000)
    return part


def test_one_label_is_cross_entropy_and_its_weights_count() -> None:
    part, model = whole(rows([0], [2], [2], [1])), Says(3, rows=True)
    logits = model.read_head(model.encode(part.ids, part.lengths), part.lengths)
    expected = functional.cross_entropy(logits, torch.tensor([0, 2, 2, 1]), reduction="sum")
    torch.testing.assert_close(Classify(n_labels=3).loss(model, part), expected)
    weights = balanced_weights([0, 2, 2, 1], 3, rows=4, multi_label=False)
    assert weights.tolist() == pytest.approx([4 / 3, 4 / 3, 2 / 3])
    each = functional.cross_entropy(logits, torch.tensor([0, 2, 2, 1]), reduction="none")
    found = Classify(n_labels=3, weights=weights).loss(model, part)
    torch.testing.assert_close(found, (each * weights[torch.tensor([0, 2, 2, 1])]).sum())


def test_several_labels_are_each_a_yes_or_no() -> None:
    part, model = whole(rows([0, 2], [], [1])), Says(3, rows=True)
    wanted = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]])
    logits = model.read_head(model.encode(part.ids, part.lengths), part.lengths)
    expected = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="mean") * 3
    goal = Classify(n_labels=3, multi_label=True)
    torch.testing.assert_close(goal.loss(model, part), expected)
    assert goal.wanted(part.targets).tolist() == wanted.tolist()
    assert balanced_weights([0, 2, 1], 3, rows=3, multi_label=True).tolist() == [2.0, 2.0, 2.0]


def test_accuracy_and_macro_f1_by_hand() -> None:
    model = Says(2, rows=True)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([1.0, 0.0]))
    given = rows([0], [0], [1], [0])
    scores = Classify(n_labels=2).scores(model, batches(given).every(given, 9))
    assert scores == {"accuracy": pytest.approx(0.75), "macro_f1": pytest.approx((6 / 7 + 0) / 2)}


def test_tags_are_learnt_at_first_pieces_alone() -> None:
    given = rows([IGNORED, 1, IGNORED], [IGNORED, 0, 2, IGNORED])
    part, model = whole(given, words=True), Says(3, rows=False)
    assert part.count == 3
    logits = model.read_head(model.encode(part.ids, part.lengths), part.lengths)
    picked = torch.stack([logits[0, 1], logits[1, 1], logits[1, 2]])
    expected = functional.cross_entropy(picked, torch.tensor([1, 0, 2]), reduction="sum")
    goal = Tag(labels=("O", "B-X", "I-X"), scheme="BIO")
    torch.testing.assert_close(goal.loss(model, part), expected)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    scores = goal.scores(model, batches(given, words=True).every(given, 1000))
    # Said: B; B, B. Wanted: B; O, I, of which the I is a span of its own.
    assert scores["accuracy"] == pytest.approx(1 / 3)
    assert scores["span_precision"] == pytest.approx(2 / 3) and scores["span_recall"] == 1.0


def answers(*spans: tuple[int, int]) -> Rows:
    """Rows of one token of question and five of context, each a question of its own."""
    made = []
    for number, (begin, end) in enumerate(spans):
        inside = [begin + 3, end + 3] if begin >= 0 else [0, 0]
        made.append(Row([1, 9, 2, *range(10 + number, 15 + number), 2], 3, [*inside, number, 3, 0, begin, end]))
    return rows_of(made)


def test_an_answers_loss_is_the_mean_of_begin_and_end_within_the_row() -> None:
    part, model = whole(answers((1, 2), (-1, -1))), Says(2, rows=False)
    logits = model.read_head(model.encode(part.ids, part.lengths), part.lengths)
    begins = functional.cross_entropy(logits[..., 0], torch.tensor([4, 0]), reduction="sum")
    ends = functional.cross_entropy(logits[..., 1], torch.tensor([5, 0]), reduction="sum")
    torch.testing.assert_close(Answer().loss(model, part), (begins + ends) / 2)


def test_the_best_answer_of_a_questions_windows_is_scored() -> None:
    first = Row([1, 9, 2, 20, 21, 22, 2], 3, [0, 0, 0, 3, 0, 4, 4])
    second = Row([1, 9, 2, 23, 30, 24, 2], 3, [4, 4, 0, 3, 3, 4, 4])
    given = rows_of([first, second, *[Row([1, 9, 2, 23, 2], 3, [0, 0, 1, 3, 0, -1, -1])]])
    model = Says(2, rows=False)
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.embedding.weight[30] = 1.0
        model.head.weight.fill_(1.0)
        model.head.bias.zero_()
        scores = Answer().scores(model, batches(given).every(given, 1000))
    assert scores == {"exact_match": 1.0, "token_f1": 1.0}
    with torch.no_grad():
        model.embedding.weight[22] = 2.0
        scores = Answer().scores(model, batches(given).every(given, 1000))
    assert scores == {"exact_match": 0.5, "token_f1": 0.5}


def test_the_tokens_of_an_answer_are_those_it_reaches_into() -> None:
    spans = [(0, 3), (3, 3), (4, 7), (7, 8), (9, 12)]
    assert gold(Question("?", "abc def. ghi", ("ef.",), (5,)), spans) == (2, 3)
    assert gold(Question("?", "abc def. ghi", (), ()), spans) == (-1, -1)


def test_pairs_are_told_apart_both_ways_but_not_from_their_equals() -> None:
    made = [Row([1, 5, 1, 6 + number, 7], 2, []) for number in range(3)]
    given = rows_of([Row([1, 5, 1, 6, 7], 2, []), Row([1, 8, 1, 9], 2, []), Row([1, 9, 1, 11, 3], 2, [])])
    part, model = whole(given, apart=True), Says(2, rows=False)
    goal = Embed(scale=20.0, pooling="mean")
    first, second = goal.vectors(model, part)
    lengths = zip(part.ids.tolist(), part.lengths.tolist(), strict=True)
    means = torch.stack([model.embedding(torch.tensor(row[:length])).mean(0) for row, length in lengths])
    torch.testing.assert_close(first, functional.normalize(means, dim=-1))
    scores = 20.0 * first @ second.T
    right = torch.arange(3)
    expected = functional.cross_entropy(scores, right, reduction="sum")
    expected = (expected + functional.cross_entropy(scores.T, right, reduction="sum")) / 2
    torch.testing.assert_close(goal.loss(model, part), expected)
    equal = whole(rows_of(made), apart=True)  # three times the same first text: nothing can be told apart
    assert float(goal.loss(model, equal).detach()) == pytest.approx(0.0, abs=1e-5)
    cls = Embed(scale=20.0, pooling="cls").vectors(model, part)[0]
    torch.testing.assert_close(cls, functional.normalize(model.embedding(part.ids[:, 0]), dim=-1))


def test_the_gradient_does_not_depend_on_accumulation() -> None:
    given = rows(*[[number % 3] for number in range(17)])
    gradients = []
    for accumulation in (1, 4):
        model = Says(3, rows=True)
        objective = ReadingObjective(
            batches(given, tokens=120), validation=given, goal=Classify(n_labels=3), accumulation=accumulation
        )
        parts = objective.parts(1)
        count = sum(part.count for part in parts)
        for part in parts:
            (objective.loss(model, part) / count).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_an_epoch_has_every_row_once_within_the_budget_and_a_step_is_always_the_same() -> None:
    given = rows(*[[number] for number in range(31)])
    made = batches(given, tokens=70)
    for epoch in range(2):
        seen = []
        for step in range(epoch * made.steps_per_epoch, (epoch + 1) * made.steps_per_epoch):
            (part,) = made.parts(step, 1)
            assert part.ids.numel() <= 70
            seen += part.targets[:, 0].tolist()
        assert sorted(seen) == list(range(31))
    again = batches(given, tokens=70)
    assert torch.equal(again.parts(9, 1)[0].ids, made.parts(9, 1)[0].ids)


def test_segments_mark_the_second_text() -> None:
    given = rows([0], [1], pair=True)
    part = whole(given)
    assert part.segments is not None
    assert part.segments.tolist() == [[0, 0, 1, 0], [0, 0, 1, 1]]
    assert whole(rows([0], [1])).segments is None
