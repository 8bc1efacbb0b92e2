import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy, embedding, linear

from headway.errors import ConfigError, ContextError, UsageError
from headway.models.rnn_search import PRESETS, RNNSearch, RNNSearchConfig, sized
from headway.nn.trace import Trace

SOURCE_LENGTHS = torch.tensor([7, 2, 5])
CLOSE = {"rtol": 0.0, "atol": 1e-5}


def tiny(attention="additive", **settings):
    torch.manual_seed(1)
    sizes = {"vocabulary": 31, "source_vocabulary": 29, "width": 13, "embedding": 11, "alignment": 17, "maxout": 5}
    model = RNNSearch(RNNSearchConfig(**{**sizes, "attention": attention, **settings}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.4)
    return model.eval()


def batch(rows=3):
    generator = torch.Generator().manual_seed(5)
    source = torch.randint(29, (rows, 7), generator=generator)
    return source, SOURCE_LENGTHS[:rows], torch.randint(31, (rows, 6), generator=generator)


@pytest.fixture(params=["additive", "fixed"])
def model(request):
    return tiny(request.param)


# What it computes


def encoder_decoder(weights, source, target):
    """The RNN encoder-decoder written on its own: a reader in each direction, one summary, a writer; no padding.

    Takes our weights by name; the order of operations is ours, so that the last bit can be compared.
    """

    def unit(name, terms, state, order):
        n, states = state.shape[1], []
        for at in order:
            states.append(state)
            gates = torch.sigmoid(torch.addmm(terms[at, :, : 2 * n], state, weights[f"{name}.gates.weight"].t()))
            z, r = gates[:, :n], gates[:, n:]
            proposal = torch.addmm(terms[at, :, 2 * n :], r * state, weights[f"{name}.candidate.weight"].t())
            state = torch.lerp(state, torch.tanh(proposal), z)
        return states, state

    def terms_of(name, x):
        return linear(x, weights[f"{name}.input.weight"], weights[f"{name}.input.bias"])

    read = embedding(source.t(), weights["source_embedding.weight"])
    empty = read.new_zeros(len(source), weights["initial_state.weight"].shape[0])
    positions = range(source.shape[1])
    _, ahead = unit("encoder.forwards", terms_of("encoder.forwards", read), empty, positions)
    _, back = unit("encoder.backwards", terms_of("encoder.backwards", read), empty, reversed(positions))
    summary = torch.cat([ahead, back], dim=1)
    state = torch.tanh(linear(back, weights["initial_state.weight"], weights["initial_state.bias"]))
    written = embedding(target.t(), weights["target_embedding.weight"])
    terms = terms_of("decoder", written) + linear(summary, weights["decoder.context.weight"])
    states, _ = unit("decoder", terms, state, range(target.shape[1]))
    deep = linear(torch.stack(states), weights["deep_output.from_state.weight"])
    deep = deep + linear(
        written, weights["deep_output.from_embedding.weight"], weights["deep_output.from_embedding.bias"]
    )
    deep = deep + linear(summary, weights["deep_output.from_context.weight"])
    half = deep.shape[2] // 2
    larger = torch.maximum(deep[..., :half], deep[..., half:])
    return linear(larger.transpose(0, 1), weights["output.weight"])


@torch.no_grad()
def test_with_a_fixed_context_it_is_the_rnn_encoder_decoder_to_the_last_bit():
    # A matrix product's last bit depends on where in memory it begins; with 4 rows of 16, wherever a position begins
    # is a multiple of 64 bytes.
    model, source, target = tiny("fixed", width=16), *torch.randint(29, (2, 4, 7))
    assert torch.equal(model(source, None, target), encoder_decoder(model.state_dict(), source, target))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_attention_to_a_constant_is_the_fixed_context(bidirectional, monkeypatch):
    attentive, fixed = tiny(bidirectional=bidirectional), tiny("fixed", bidirectional=bidirectional)
    left_out = fixed.load_state_dict(attentive.state_dict(), strict=False)
    assert {name.split(".")[0] for name in left_out.unexpected_keys} == {"attention"} and not left_out.missing_keys
    encode = attentive._encode

    def constant(ids, lengths):
        annotations, initial, summary = encode(ids, lengths)
        return summary[:, None].expand_as(annotations), initial, summary

    given = batch()
    assert not torch.allclose(attentive(*given), fixed(*given), atol=1e-2)
    monkeypatch.setattr(attentive, "_encode", constant)
    torch.testing.assert_close(attentive(*given), fixed(*given), **CLOSE)
    steps = [model.step(given[2], torch.tensor([6, 6, 6]), model.start(*given[:2], rows=[0, 1, 2]), every=True)[0]
             for model in (attentive, fixed)]  # fmt: skip
    torch.testing.assert_close(*steps, **CLOSE)


def test_the_summary_of_one_direction_is_the_last_state(monkeypatch):
    """Cho et al. 2014: c = h_Tx, which here also gives s_0."""
    model, (source, lengths, _) = tiny("fixed", bidirectional=False), batch()
    annotations, initial, summary = model._encode(source, lengths)
    assert torch.equal(summary, annotations[torch.arange(3), lengths - 1])
    assert torch.equal(initial, torch.tanh(model.initial_state(summary)))


def test_the_deep_output_takes_the_larger_of_each_pair():
    """From t~ = (1, -2, 3 | 0, 5, -1) comes (1, 5, 3); U_o, V_o and C_o are added in front."""
    deep = tiny(maxout=3).deep_output
    with torch.no_grad():
        for parameter in deep.parameters():
            parameter.zero_()
        deep.from_state.weight[:, 0] = torch.tensor([1.0, 0.0, 3.0, 0.0, 0.0, 0.0])
        deep.from_embedding.bias[:] = torch.tensor([0.0, -2.0, 0.0, 0.0, 0.0, -1.0])
        read = torch.tensor([0.0, 0.0, 0.0, 0.0, 5.0, 0.0])
        assert deep(torch.eye(13)[0], torch.zeros(11), read).tolist() == [1.0, 5.0, 3.0]


def test_hidden_is_what_the_output_matrix_reads(model):
    given = batch()
    hidden = model(*given, hidden=True)
    assert hidden.shape == (3, 6, 5)
    torch.testing.assert_close(linear(hidden, model.output.weight), model(*given), **CLOSE)


# Attention


def traced(model, source, lengths, target):
    trace = Trace()
    state = model.start(source, lengths, rows=list(range(len(source))))
    logits, _ = model.step(target, torch.full((len(target),), target.shape[1]), state, every=True, trace=trace)
    return logits, trace.found


def test_a_trace_holds_the_alignment_and_changes_nothing():
    model, given = tiny(), batch()
    logits, found = traced(model, *given)
    weights = found["layers.0.cross_attention"]
    assert weights.shape == (3, 1, 6, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 1, 6), **CLOSE)
    assert not weights[1, :, :, 2:].any() and not weights[2, :, :, 5:].any() and bool((weights[0] > 0).all())
    torch.testing.assert_close(logits, model(*given), **CLOSE)
    assert traced(tiny("fixed"), *given)[1] == {}


def test_without_scores_attention_is_even_over_each_source():
    model, given = tiny(), batch()
    torch.nn.init.zeros_(model.attention.score)
    weights = traced(model, *given)[1]["layers.0.cross_attention"]
    for row, length in enumerate(SOURCE_LENGTHS.tolist()):
        torch.testing.assert_close(weights[row, 0, :, :length], torch.full((6, length), 1 / length))


def test_the_head_can_be_silenced_and_no_other():
    model, (source, lengths, target) = tiny(), batch()
    state, counts = model.start(source, lengths, rows=[0, 1, 2]), torch.tensor([6, 6, 6])
    silent, _ = model.step(target, counts, state.copy(), ablate=frozenset({(0, 0)}))
    plain, _ = model.step(target, counts, state.copy())
    assert not torch.allclose(silent, plain, atol=1e-2)
    with pytest.raises(UsageError, match=r"one head, \(0, 0\), but ablate names \[\(0, 1\)\]"):
        model.step(target, counts, state, ablate=frozenset({(0, 1)}))
    fixed = tiny("fixed")
    with pytest.raises(UsageError, match="no head"):
        fixed.step(target, counts, fixed.start(source, lengths, rows=[0, 1, 2]), ablate=frozenset({(0, 0)}))


# Rows, padding, steps


@pytest.mark.parametrize("settings", [{}, {"layer_norm": True}, {"bidirectional": False}])
def test_a_row_does_not_depend_on_batch_or_padding(model, settings):
    model = tiny(model.config.attention, **settings)
    source, lengths, target = batch()
    together, annotations = model(source, lengths, target), model.encode(source, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(source[row : row + 1, :length], None, target[row : row + 1, :4])
        torch.testing.assert_close(together[row, :4], alone[0], **CLOSE)
        read = model.encode(source[row : row + 1, :length], None)
        assert read.shape == (1, length, 13 if settings.get("bidirectional") is False else 26)
        torch.testing.assert_close(annotations[row, :length], read[0], **CLOSE)


@pytest.mark.parametrize("settings", [{}, {"layer_norm": True}, {"bidirectional": False}])
def test_steps_equal_the_full_pass(model, settings):
    model = tiny(model.config.attention, **settings)
    source, lengths, target = batch()
    full = model(source, lengths, target)
    state = model.start(source, lengths, rows=[0, 1, 2])
    for at in range(6):
        logits, state = model.step(target[:, at : at + 1], torch.ones(3, dtype=torch.int64), state)
        torch.testing.assert_close(logits, full[:, at], **CLOSE)
    assert state.lengths.tolist() == [6, 6, 6]


def test_rows_share_sources_in_any_order(model):
    source, lengths, target = batch()
    full = model(source, lengths, target)
    of, counts = [2, 0, 2, 1, 2], [6, 3, 1, 0, 4]
    logits, state = model.step(target[of], torch.tensor(counts), model.start(source, lengths, rows=of))
    for row, (read, count) in enumerate(zip(of, counts, strict=True)):
        if count:
            torch.testing.assert_close(logits[row], full[read, count - 1], **CLOSE)
    assert len(state.memory.lengths) == 3
    logits, state = model.step(target[[1, 2]][:, :1], torch.ones(2, dtype=torch.int64), state.select([3, 2]))
    torch.testing.assert_close(logits[0], full[1, 0], **CLOSE)
    assert len(state.memory.lengths) == 2 and state.memory.tensors[0].shape[1] in (1, 5)


def test_a_source_padded_wider_than_the_longest_is_cut(model):
    source, lengths, target = batch()
    wide = torch.nn.functional.pad(source[1:2], (0, 3), value=28)
    logits, _ = model.step(target[1:2], torch.tensor([6]), model.start(wide, lengths[1:2], rows=1))
    torch.testing.assert_close(logits[0], model(source[1:2, :2], None, target[1:2])[0, -1], **CLOSE)


def test_nothing_flows_from_a_later_input_to_an_earlier_output(model):
    source, lengths, target = batch()
    model.requires_grad_(False)
    found = []

    def keep(_, __, output):
        found.append(output.requires_grad_())
        return output

    model.target_embedding.register_forward_hook(keep)
    model(source, lengths, target)[:, 2].square().sum().backward()
    reached = found[0].grad.abs().sum(dim=(1, 2)) > 0  # (T, B, M)
    assert reached.tolist() == [True, True, True, False, False, False]


# Learning


@pytest.mark.parametrize("initial", ["paper", "modern"])
def test_counted_parameters_are_those_the_model_has(initial):
    for attention, layer_norm, bidirectional, tied in itertools.product(
        ("additive", "fixed"), (False, True), (False, True), (False, True)
    ):
        config = RNNSearchConfig(
            vocabulary=31,
            width=14,
            embedding=6,
            maxout=6,
            attention=attention,
            layer_norm=layer_norm,
            bidirectional=bidirectional,
            tied=tied,
            shared=tied,
            initial=initial,
        )
        assert sum(parameter.numel() for parameter in RNNSearch(config).parameters()) == config.n_parameters()


def test_the_papers_presets_have_its_sizes():
    for name, counted in (("rnnenc-50", 68_548_000), ("rnnsearch-50", 80_413_000)):
        with torch.device("meta"):
            model = RNNSearch(PRESETS[name])
        assert sum(parameter.numel() for parameter in model.parameters()) == counted
        assert PRESETS[name].n_parameters() == counted
        assert (model.config.width, model.config.embedding, model.config.maxout) == (1000, 620, 500)


def test_the_small_presets_are_of_equal_size():
    for name in ("rnn-fixed-small", "rnnsearch-small"):
        assert PRESETS[name].vocabulary == 4096
        assert PRESETS[name].n_parameters() == pytest.approx(3_600_000, rel=0.015)


@pytest.mark.parametrize("attention", ["additive", "fixed"])
@pytest.mark.parametrize("wanted", [500_000, 12_000_000])
def test_a_size_is_found_for_a_number_of_parameters(attention, wanted):
    config = sized(wanted, vocabulary=2003, attention=attention)
    assert config.n_parameters() == pytest.approx(wanted, rel=0.03)
    assert (config.vocabulary, config.attention) == (2003, attention)


def test_fresh_weights_are_the_papers():
    torch.manual_seed(5)
    model = RNNSearch(RNNSearchConfig(vocabulary=499, width=64, embedding=48, maxout=32))
    for name in ("gates", "candidate"):
        for unit in (model.encoder.forwards, model.encoder.backwards, model.decoder):
            for square in getattr(unit, name).weight.view(-1, 64, 64):
                torch.testing.assert_close(square @ square.T, torch.eye(64), rtol=0.0, atol=1e-5)
    for layer, deviation in (
        (model.attention.query, 0.001),
        (model.attention.key, 0.001),
        (model.source_embedding, 0.01),
        (model.decoder.context, 0.01),
        (model.output, 0.01),
    ):
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
    assert not model.attention.score.any() and not model.decoder.input.bias.any()


def test_tied_and_shared_matrices_are_one():
    model = RNNSearch(RNNSearchConfig(vocabulary=31, width=14, embedding=6, maxout=6, tied=True, shared=True))
    assert model.output.weight is model.target_embedding.weight is model.source_embedding.weight
    assert "target_embedding.weight" in dict(model.named_parameters())


@pytest.mark.parametrize("preset", ["rnnsearch-small", "rnn-fixed-small", "rnnsearch-50"])
def test_a_few_pairs_are_learned_by_heart(preset):
    torch.manual_seed(2)
    settings = {"vocabulary": 31, "width": 32, "embedding": 24, "maxout": 24, "source_vocabulary": None}
    config = {name: getattr(PRESETS[preset], name) for name in PRESETS[preset].__dataclass_fields__} | settings
    model, (source, lengths, target) = RNNSearch(RNNSearchConfig(**config)), batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    inputs = torch.cat([torch.zeros(3, 1, dtype=torch.int64), target[:, :-1]], dim=1)
    for _ in range(40):
        optimizer.zero_grad()
        loss = cross_entropy(model(source, lengths, inputs).flatten(0, 1), target.flatten())
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
    state, ids = model.eval().start(source, lengths, rows=[0, 1, 2]), inputs[:, :1]
    for at in range(6):
        logits, state = model.step(ids, torch.ones(3, dtype=torch.int64), state)
        ids = logits.argmax(-1, keepdim=True)
        assert ids[:, 0].tolist() == target[:, at].tolist()


def test_dropout_acts_in_training_alone():
    model, given = tiny(embedding_dropout=0.3, output_dropout=0.3), batch()
    assert torch.equal(model(*given), model(*given))
    model.train()
    assert not torch.equal(model(*given), model(*given))


# What is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width must be in 1..65536, but got width=0"),
        ({"source_vocabulary": -1}, "source_vocabulary must be in"),
        ({"context": 0}, "context must be in"),
        ({"attention": "dot"}, "attention must be one of additive, fixed, but got 'dot'"),
        ({"initial": "zero"}, "initial must be one of paper, modern"),
        ({"output_dropout": 1.0}, "output_dropout must be in 0..1"),
        ({"tied": True}, "tied needs maxout equal to embedding, but got maxout=500, embedding=620"),
        ({"shared": True, "source_vocabulary": 7}, "shared needs one vocabulary for both sides"),
    ],
)
def test_settings_out_of_range_are_refused_with_rule_and_value(settings, message):
    with pytest.raises(ConfigError) as caught:
        RNNSearchConfig(**settings)
    assert message in str(caught.value)


def test_an_empty_source_is_refused(model):
    source, _, target = batch()
    for lengths in (torch.tensor([7, 0, 5]), None):
        given = source if lengths is not None else source[:, :0]
        for call in (lambda s, n: model(s, n, target), model.encode, lambda s, n: model.start(s, n, rows=[0])):
            with pytest.raises(UsageError, match="at least one token"):
                call(given, lengths)


def test_what_makes_no_sense_is_refused(model):
    source, lengths, _ = batch()
    with pytest.raises(UsageError, match="reads a source"):
        model.start(rows=3)
    with pytest.raises(UsageError, match="rows name sources in 0..2"):
        model.start(source, lengths, rows=[3])
    with pytest.raises(UsageError, match="no segments"):
        model.encode(source, lengths, segments=source)
    state = model.start(source, lengths, rows=[0, 1, 2])
    with pytest.raises(UsageError, match=r"one count in 0..1 for each of 3 rows, but got \[2, 0, 0\]"):
        model.step(source[:, :1], torch.tensor([2, 0, 0]), state)
    with pytest.raises(UsageError, match="another state of the same model"):
        state.join(state)
    with pytest.raises(UsageError, match="row numbers in 0..2"):
        state.select([3])


def test_more_tokens_than_the_context_are_refused_and_the_state_stays_usable(model):
    model = tiny(model.config.attention, context=7)
    source, lengths, target = batch()
    state = model.start(source, lengths, rows=[0, 1, 2], capacity=7)
    with pytest.raises(ContextError, match="at most 7 tokens"):
        model(torch.zeros(1, 8, dtype=torch.int64), None, target[:1])
    with pytest.raises(ContextError, match="at most 7 tokens"):
        model.start(source, lengths, rows=[0, 1, 2], capacity=8)
    _, state = model.step(target, torch.tensor([6, 6, 6]), state)
    with pytest.raises(ContextError, match="would make it 8"):
        model.step(target[:, :2], torch.tensor([1, 2, 1]), state)
    model.step(target[:, :1], torch.tensor([1, 1, 1]), state)
