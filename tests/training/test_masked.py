"""Masked language modelling: rows, targets, the second task, and a run from texts to a folder that reads."""

from pathlib import Path

import numpy
import pytest
import torch

from headway.corpus.batches import IGNORED, TokenBatches
from headway.corpus.masking import Masking
from headway.corpus.stream import TokenStream
from headway.errors import ConfigError, TrainingError
from headway.formats.folder import load, read_config, read_model_type
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig
from headway.training.masked_objective import Hiding, MaskedLanguageModelling, RowEnds
from headway.training.recipe import Recipe, recipe_from
from headway.training.run import train

SIZE, BEGIN, END, MASK, FIRST = 37, 1, 2, 3, 4
TEXTS = Path(__file__).parents[1] / "data" / "corpus"


def stream(n_tokens: int, seed: int) -> TokenStream:
    ids = numpy.random.default_rng(seed).integers(FIRST, SIZE, size=n_tokens).astype("<u2")
    ids[::29] = END
    return TokenStream([ids], bytes=4 * n_tokens, documents=3, end_of_text=END)


def objective(*, window: int = 17, rows: int = 8, accumulation: int = 1, **changes: object) -> MaskedLanguageModelling:
    ends, next_sentence = RowEnds(begin=BEGIN, end=END), bool(changes.pop("next_sentence", False))
    training = stream(1_000, 5)
    return MaskedLanguageModelling(
        TokenBatches(training, context=window - ends.added(next_sentence), batch_size=rows, seed=3, end_of_text=END),
        training=training,
        validation=stream(211, 7),
        hiding=Hiding(
            masking=Masking(share=0.3, mask=MASK, ordinary=numpy.arange(SIZE) >= FIRST),
            ends=ends,
            next_sentence=next_sentence,
            seed=3,
        ),
        accumulation=accumulation,
        validation_tokens=200,
    )


def bert(head: str = "masked") -> BERT:
    torch.manual_seed(11)
    sizes = {"vocabulary": SIZE, "context": 19, "width": 12, "n_layers": 2, "n_heads": 3, "feed_forward": 23}
    dropouts = dict.fromkeys(("embedding_dropout", "attention_dropout", "residual_dropout", "head_dropout"), 0.0)
    return BERT(BERTConfig(**sizes, **dropouts, head=head, pooler=head == "pretraining"))  # type: ignore[arg-type]


def test_rows_are_text_between_the_ends_with_its_hidden_words_as_targets() -> None:
    given = objective()
    (part,) = given.parts(0)
    _, text = given._batches.batch(0)
    assert part.ids.shape == (8, 17)
    assert (part.ids[:, 0] == BEGIN).all() and (part.ids[:, -1] == END).all()
    hidden = part.targets != IGNORED
    assert part.count == int(hidden.sum()) == sum(round(0.3 * (row != END).sum()) for row in text)
    whole = torch.where(hidden, part.targets, part.ids)[:, 1:-1]
    assert whole.tolist() == text.tolist()
    assert part.lengths.tolist() == [17] * 8


def test_the_gradient_does_not_depend_on_accumulation() -> None:
    for asked in ({}, {"next_sentence": True}):
        gradients = []
        for accumulation in (1, 4):
            model, given = bert("pretraining" if asked else "masked"), objective(accumulation=accumulation, **asked)
            parts = given.parts(2)
            count = sum(part.count for part in parts)
            for part in parts:
                (given.loss(model, part) / count).backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        torch.testing.assert_close(gradients[0], gradients[1], rtol=2e-2 if asked else 1e-4, atol=1e-5)


def test_the_loss_is_that_of_the_whole_logits_at_hidden_places() -> None:
    model, given = bert().eval(), objective()
    (part,) = given.parts(1)
    expected = torch.nn.functional.cross_entropy(
        model(part.ids, part.lengths).flatten(0, 1), part.targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    torch.testing.assert_close(given.loss(model, part), expected, rtol=1e-5, atol=1e-5)


def test_half_of_the_second_halves_come_from_elsewhere_and_are_told() -> None:
    given = objective(window=19, rows=200, next_sentence=True)
    (part,) = given.parts(0)
    _, text = given._batches.batch(0)
    assert part.strange is not None and part.segments is not None
    assert 60 < int(part.strange.sum()) < 140
    whole = torch.where(part.targets != IGNORED, part.targets, part.ids)
    half = text.shape[1] // 2
    own = (whole[:, half + 2 : -1].numpy() == text[:, half:]).all(axis=1)
    full = (text != IGNORED).all(axis=1)
    assert full.sum() > 190 and (own == (part.strange.numpy() == 0))[full].all()
    assert (whole[:, 1 : half + 1].numpy() == text[:, :half])[full].all()
    assert (part.segments[:, half + 2 :] == 1).all() and (part.segments[:, : half + 2] == 0).all()


def test_a_row_at_the_end_of_the_text_is_short_and_its_padding_is_no_target() -> None:
    given = objective()
    last = given._batches.windows // 8
    short = [part for step in range(last + 2) for part in given.parts(step) if int(part.lengths.min()) < 17]
    assert short
    for part in short:
        row = int(part.lengths.argmin())
        assert (part.targets[row, int(part.lengths[row]) - 1 :] == IGNORED).all()


def test_steps_and_validation_are_the_same_at_every_call() -> None:
    given, again = objective(), objective()
    assert torch.equal(given.parts(5)[0].ids, again.parts(5)[0].ids)
    assert not torch.equal(given.parts(5)[0].ids, given.parts(6)[0].ids)
    for one, other in zip(given.validation(), given.validation(), strict=True):
        assert torch.equal(one.ids, other.ids)


def test_scores_count_right_guesses() -> None:
    model, given = bert().eval(), objective()
    with torch.no_grad():
        model.output.bias.fill_(-100.0)
        model.output.bias[9] = 100.0
    parts = list(given.validation())
    nines = sum(int((part.targets == 9).sum()) for part in parts)
    assert given.scores(model) == {"masked_accuracy": pytest.approx(nines / sum(part.count for part in parts))}


def recipe(output: Path, *settings: str, family: str = "bert") -> Recipe:
    small = ("model.width=32", "model.n_layers=2", "train.batch_size=4", "train.window=32", "train.evaluations=2")
    return recipe_from(TEXTS, output, budget={"steps": 6}, assignments=(f"model.family={family}", *small, *settings))


def test_a_run_on_texts_leaves_a_reader_with_its_word_pieces(tmp_path: Path) -> None:
    result = train(recipe(tmp_path / "reader"))
    assert result.validation_bits_per_byte is None
    assert 0.0 <= result.scores["masked_accuracy"] <= 1.0
    model, tokenizer = load(tmp_path / "reader")
    assert isinstance(model, BERT) and tokenizer is not None
    assert tokenizer.mask is not None and tokenizer.begin_of_text is not None
    assert model.config.head == "masked"


def test_a_run_that_is_stopped_and_gone_on_with_ends_alike(tmp_path: Path) -> None:
    class Stops(Exception): ...

    class Reporter:
        def note(self, text: str) -> None: ...
        def evaluation(self, evaluation: object) -> None: ...
        def sample(self, text: str) -> None: ...
        def progress(self, progress: object) -> None:
            raise Stops

    asked = ("train.save_every=2", "train.log_every=3")
    with pytest.raises(Stops):
        train(recipe(tmp_path / "stopped", *asked), reporter=Reporter())
    train(recipe(tmp_path / "stopped", *asked))
    train(recipe(tmp_path / "straight", *asked))
    ends = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("stopped", "straight")]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("family", ["fnet", "hartley"])
def test_other_mixers_learn_by_the_same_command(tmp_path: Path, family: str) -> None:
    train(recipe(tmp_path / family, family=family))
    assert read_config(tmp_path / family).mixer == {"fnet": "fourier", "hartley": "hartley"}[family]


def test_whole_words_the_second_task_and_bytes_on_request(tmp_path: Path) -> None:
    train(recipe(tmp_path / "words", "train.whole_words=true", "train.next_sentence=true"))
    assert read_config(tmp_path / "words").head == "pretraining"
    train(recipe(tmp_path / "bytes", "tokenizer.kind=bytes"))
    _, tokenizer = load(tmp_path / "bytes")
    assert tokenizer is not None and tokenizer.mask is not None and tokenizer.unknown is None


def test_a_body_that_learns_is_chosen_unless_the_papers_is_asked_for(tmp_path: Path) -> None:
    train(recipe(tmp_path / "chosen"))
    chosen = read_config(tmp_path / "chosen")
    assert (chosen.norm, chosen.positions, chosen.gated, chosen.segments) == ("pre", "rotary", True, 0)
    assert abs(chosen.feed_forward - 8 * 32 / 3) <= 8
    train(recipe(tmp_path / "paper", "model.norm=post"))
    paper = read_config(tmp_path / "paper")
    assert (paper.norm, paper.positions, paper.gated, paper.segments) == ("post", "learned", False, 2)
    assert read_model_type(tmp_path / "paper") == "bert"


def test_a_tokenizer_without_a_mask_and_a_kind_that_cannot_hide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[MASK\]"):
        train(recipe(tmp_path / "gpt2", "tokenizer.folder=gpt2"))
    with pytest.raises(ConfigError, match="wordpiece or bytes"):
        train(recipe(tmp_path / "words", "tokenizer.kind=words"))
    assert not list(tmp_path.iterdir())


def test_another_share_of_hidden_words_is_another_run(tmp_path: Path) -> None:
    train(recipe(tmp_path / "reader"))
    with pytest.raises(TrainingError, match="mask_share"):
        train(recipe(tmp_path / "reader", "train.mask_share=0.2"))
