import pytest
import torch

from headway.models.hardware import has_bfloat16


@pytest.mark.parametrize(
    ("found", "expected"), [({"avx512_bf16": True}, True), ({"avx512_bf16": False}, False), ({}, False)]
)
def test_bfloat16_arithmetic_is_read_from_the_processors_features(monkeypatch, found, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert has_bfloat16("cpu") is expected
