import re

import pytest
import torch

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")


@pytest.fixture
def benchmark():
    import transformer_layers

    return transformer_layers


def test_both_sides_have_the_same_layers(benchmark):
    config = benchmark.TransformerConfig(
        vocabulary=64, width=14, n_heads=7, encoder_layers=2, decoder_layers=1, feed_forward=19
    )
    ours, theirs = benchmark.Transformer(config), benchmark.TorchTransformer(config)
    count = sum(part.numel() for part in theirs.layers.parameters())
    final_norms = 4 * 14  # torch's stacks end with one each, which the paper's do not
    assert count - final_norms == config.n_parameters() - 64 * 14
    for batch in benchmark.batches(3, 5, 64, "cpu").values():
        assert ours(*batch, hidden=True).shape == theirs(*batch).shape == (3, 5, 14)


def test_unequal_rows_are_masked_on_both_sides(benchmark):
    config = benchmark.TransformerConfig(
        vocabulary=64, width=14, n_heads=7, encoder_layers=1, decoder_layers=1, feed_forward=19
    )
    source, lengths, target = benchmark.batches(5, 7, 64, "cpu")["of unequal length"]
    assert int(lengths.min()) < 7
    other = torch.where(torch.arange(7) < lengths[:, None], source, 1)
    theirs = benchmark.TorchTransformer(config).train()
    theirs.layers.apply(lambda part: part.eval() if isinstance(part, torch.nn.Dropout) else None)
    for part in theirs.layers.modules():
        if isinstance(part, torch.nn.MultiheadAttention):
            part.dropout = 0.0
    torch.testing.assert_close(theirs(source, lengths, target), theirs(other, lengths, target))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_command_prints_a_row_for_each_kind_of_batch(benchmark, capsys, precision):
    sizes = ["--width", "14", "--heads", "7", "--layers", "1", "--feed-forward", "19", "--rows", "3", "--tokens", "5"]
    benchmark.main([*sizes, "--repeats", "1", "--precision", precision])
    printed = capsys.readouterr().out
    assert (
        len(re.findall(r"^(?:equally long|of unequal length) +0\.[01]0 +[\d,]+ +[\d,]+ +\d+\.\d\d$", printed, re.M))
        == 4
    )
