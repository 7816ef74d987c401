"""Ranges of weights with their middle at 0: what INT8 runs fastest."""

from dataclasses import replace

import pytest
import torch

from leanseg.errors import LeanSegError
from leanseg.quantization.config import QuantizationConfig
from leanseg.quantization.dsq import DSQWeights
from leanseg.quantization.layers import go_on_, quantize_
from leanseg.schema import parse
from Testing.engine.quantization.lesions import new_network


def test_symmetric_ranges_have_their_middle_at_0_and_learn_their_width() -> None:
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0)) + 0.5
    quantizer = DSQWeights(weight, 3, True, None, 0.2, symmetric=True)
    lower, upper = quantizer.ends()
    assert torch.equal(lower, -upper)
    torch.testing.assert_close(upper.flatten(), 2.6 * weight.flatten(1).std(dim=1, correction=0))
    codes = quantizer.codes(weight)
    assert torch.equal(quantizer(weight), torch.from_numpy(codes.values())) and not codes.needs_rest
    quantizer(weight).square().sum().backward()
    assert quantizer.upper.grad is not None and quantizer.lower.grad is not None
    torch.testing.assert_close(quantizer.upper.grad, -quantizer.lower.grad)
    assert quantizer.state_dict().keys() == DSQWeights(weight, 3, True, None, 0.2).state_dict().keys()


def test_it_is_an_option_that_earlier_recipes_do_not_have() -> None:
    earlier = QuantizationConfig().to_json()
    assert not earlier.pop("symmetric")
    assert parse(QuantizationConfig, earlier, "quantization") == QuantizationConfig()


def test_learned_ranges_are_no_start_for_symmetric_ones() -> None:
    config = QuantizationConfig("dsq", 4)
    state = quantize_(new_network(), config).state_dict()
    with pytest.raises(LeanSegError, match="are no start for another quantization"):
        go_on_(new_network(), replace(config, symmetric=True), state, config)
