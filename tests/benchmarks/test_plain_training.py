import math

import numpy
import pytest
import torch

from headway.models.gpt2 import GPT2, GPT2Config


@pytest.fixture
def plain():
    import plain_training

    return plain_training


def config_of(plain, **changes):
    sizes = {"vocabulary": 13, "context": 11, "width": 14, "n_layers": 3, "n_heads": 7, **changes}
    return plain.PlainConfig(**sizes)


def test_the_plain_model_is_the_published_graph(plain):
    torch.manual_seed(1)
    config = config_of(plain)
    ours = GPT2(GPT2Config(vocabulary=13, context=11, width=14, n_layers=3, n_heads=7)).eval()
    theirs = plain.PlainGPT2(config)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        # Both list token, position, blocks, final norm; within a block the order of use.
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert mine.shape == other.shape
            other.copy_(mine)
        ids = torch.randint(13, (2, 5))
        torch.testing.assert_close(theirs(ids), ours(ids))


def test_a_step_is_cross_entropy_adamw_and_clipping(plain):
    config, settings = config_of(plain), plain.PlainSettings(batch_size=2, window=5, learning_rate=0.01)
    ids = numpy.arange(97) % 13
    training = plain.PlainTraining(config, settings, ids)
    losses = [plain.plain_step(training, share / 100) for share in range(100)]
    assert losses[0] == pytest.approx(math.log(13), abs=0.1)
    assert sum(losses[-10:]) / 10 < 0.5  # each id follows from the one before it
    assert training.optimizer.param_groups[0]["weight_decay"] == 0.1
    assert training.optimizer.param_groups[1]["weight_decay"] == 0.0


def test_batches_are_windows_of_the_ids_moved_on_by_one(plain):
    training = plain.PlainTraining(
        config_of(plain, vocabulary=97), plain.PlainSettings(batch_size=3, window=7), numpy.arange(97)
    )
    ids, targets = training.batch()
    assert ids.shape == targets.shape == (3, 7)
    assert torch.equal(targets, ids + 1)
    assert torch.equal(ids, ids[:, :1] + torch.arange(7))


def test_the_rate_rises_in_a_line_and_falls_by_half_a_cosine(plain):
    settings = plain.PlainSettings(batch_size=1, window=1, learning_rate=2.0, warm_up=0.2, final_share=0.1)
    rates = [plain.plain_rate(settings, share) for share in (0.1, 0.2, 0.6, 1.0, 1.5)]
    assert rates == pytest.approx([1.0, 2.0, 1.1, 0.2, 0.2])


def test_too_few_ids_for_a_window_are_refused(plain):
    with pytest.raises(ValueError, match="more ids than that, but got 7"):
        plain.PlainTraining(config_of(plain), plain.PlainSettings(batch_size=1, window=7), numpy.arange(7))
