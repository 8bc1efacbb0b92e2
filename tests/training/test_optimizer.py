import pytest
import torch

from headway.errors import FormatError
from headway.models.gpt2 import GPT2, GPT2Config
from headway.training.muon import FullPrecisionMuon, orthogonalised
from headway.training.optimizer import build_optimizer
from headway.training.recipe import TrainSettings

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def model():
    torch.manual_seed(5)
    return GPT2(GPT2Config(vocabulary=31, context=11, width=14, n_layers=3, n_heads=2))


def step(network, optimizer, rate=0.01):
    torch.manual_seed(7)
    ids = torch.randint(31, (3, 11))
    network.zero_grad(set_to_none=True)
    network(ids).float().logsumexp(-1).sum().backward()
    optimizer.set_rate(rate)
    optimizer.step()


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (6, 6)])
def test_orthogonalised_matrices_keep_their_directions_and_have_singular_values_near_one(shape):
    torch.manual_seed(1)
    matrix = torch.randn(2, *shape)
    found = orthogonalised(matrix, COEFFICIENTS, 5, 1e-7)
    for before, after in zip(matrix, found, strict=True):
        left, _, right = torch.linalg.svd(before, full_matrices=False)
        values = left.T @ after @ right.T
        assert bool((values.diagonal() > 0.3).all()) and bool((values.diagonal() < 1.4).all())
        assert float((values - values.diagonal().diag()).abs().max()) < 1e-4


def test_muon_in_float32_is_torchs_own_within_bfloat16():
    torch.manual_seed(2)
    start, gradients = [torch.randn(5, 7), torch.randn(5, 7), torch.randn(11, 3)], []
    ours, theirs = ([torch.nn.Parameter(w.clone()) for w in start] for _ in range(2))
    settings = {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    mine, torchs = FullPrecisionMuon(ours, **settings), torch.optim.Muon(theirs, **settings)
    for _ in range(4):
        gradients = [torch.randn_like(w) for w in start]
        for parameters in (ours, theirs):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
        mine.step()
        torchs.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        moved = (other.detach() - before).norm()
        assert float((one - other).detach().norm() / moved) < 0.02  # bfloat16 keeps 8 bits


def test_muon_moves_the_layers_matrices_and_adamw_the_rest():
    network = model()
    optimizer = build_optimizer(network, TrainSettings(optimizer="muon", learning_rate=0.01, device="cpu"))
    step(network, optimizer)
    kinds = {}
    for key in optimizer.tensors(network):
        name, _, kind = key.rpartition("/")
        kinds.setdefault(name, set()).add(kind)
    assert kinds.keys() == dict(network.named_parameters()).keys()
    for name, found in kinds.items():
        matrix = name.startswith("blocks.") and name.endswith("weight") and "norm" not in name
        assert found == ({"momentum_buffer"} if matrix else {"exp_avg", "exp_avg_sq", "step"})


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_a_restored_optimiser_goes_on_bit_for_bit(kind):
    settings = TrainSettings(optimizer=kind, learning_rate=0.01, device="cpu")
    straight = model()
    first = build_optimizer(straight, settings)
    step(straight, first)
    resumed = model()
    resumed.load_state_dict(straight.state_dict())
    second = build_optimizer(resumed, settings)
    second.restore(resumed, {name: value.clone() for name, value in first.tensors(straight).items()})
    step(straight, first)
    step(resumed, second)
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_biases_and_norms_are_not_decayed():
    network = model()
    optimizer = build_optimizer(network, TrainSettings(optimizer="adamw", learning_rate=0.01, weight_decay=0.5))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
        with torch.no_grad():
            parameter.fill_(1.0)
    optimizer.set_rate(0.1)
    optimizer.step()
    for name, parameter in network.named_parameters():
        decayed = parameter.dim() == 2
        assert float(parameter.detach().flatten()[0]) == pytest.approx(0.95 if decayed else 1.0), name


def test_frozen_layers_have_no_state_and_lower_layers_a_smaller_rate():
    network = model()
    settings = TrainSettings(optimizer="adamw", learning_rate=0.01, freeze=1, layer_decay=0.5, weight_decay=0.0)
    optimizer = build_optimizer(network, settings)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    step(network, optimizer, rate=0.008)
    moved = {name: float((p.detach() - before[name]).abs().max()) for name, p in network.named_parameters()}
    assert moved["token_embedding.weight"] == moved["blocks.0.attention.qkv.weight"] == 0.0
    # Adam's first step moves every weight by the rate itself.
    assert moved["blocks.1.attention.qkv.weight"] == pytest.approx(0.004, rel=1e-2)
    assert moved["blocks.2.attention.qkv.weight"] == pytest.approx(0.008, rel=1e-2)
    assert not any(name.startswith(("blocks.0", "token")) for name in optimizer.tensors(network))


def test_a_state_of_another_model_is_refused():
    network = model()
    optimizer = build_optimizer(network, TrainSettings(optimizer="adamw", learning_rate=0.01))
    with pytest.raises(FormatError, match="does not fit the model"):
        optimizer.restore(network, {"final_norm.weight/exp_avg": torch.zeros(3)})
