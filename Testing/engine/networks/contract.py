"""The contract of every network: subclass `NetworkContract` as `Test<Net>` and state what differs.

A check that a network cannot keep is overridden there, with the reason; it is never removed here.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from leanseg.networks import NETWORKS, build_network
from leanseg.schema import parse


class NetworkContract:
    name: str
    """Key in `NETWORKS`."""
    small: Mapping[str, Any]
    """A config that runs in milliseconds; the defaults of the config are the paper's."""
    input_shape: tuple[int, ...]
    """(channel, ...) that the small network takes."""
    refused_shape: tuple[int, ...] | None
    """(channel, ...) of a grid that it cannot take, or None if there is none."""
    paper_parameters: float
    parameter_tolerance: float

    @pytest.fixture
    def network(self) -> nn.Module:
        torch.manual_seed(0)
        return build_network(self.name, self.small)

    @pytest.fixture
    def images(self) -> Tensor:
        return torch.rand(2, *self.input_shape, generator=torch.Generator().manual_seed(1))

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():
            result = network.eval()(images)
        assert isinstance(result, Tensor)
        return result

    def test_output_lies_on_the_grid_of_the_input(self, network: nn.Module, images: Tensor) -> None:
        logits = self.logits(network, images)
        assert logits.shape[0] == len(images) and logits.shape[2:] == images.shape[2:]
        assert logits.isfinite().all()

    def test_a_grid_it_cannot_take_is_refused_with_what_came_and_what_fits(self, network: nn.Module) -> None:
        if self.refused_shape is None:
            pytest.skip("takes every grid")
        came = ", ".join(str(n) for n in self.refused_shape[1:])
        with pytest.raises(ValueError, match=rf"needs .*multiples of .*got \({came}\)"):
            network(torch.rand(1, *self.refused_shape))

    def test_every_parameter_gets_a_gradient(self, network: nn.Module, images: Tensor) -> None:
        # eval: in train mode batch norm cancels the bias before it, so that its gradient is 0 or rounding noise.
        network.eval()(images).square().mean().backward()
        without = [
            key for key, p in network.named_parameters() if p.grad is None or not p.grad.any() or p.grad.isnan().any()
        ]
        assert without == []

    def test_gradients_are_finite_in_train_mode(self, network: nn.Module, images: Tensor) -> None:
        network.train()(images).square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    def test_a_batch_of_two_is_two_batches_of_one(self, network: nn.Module, images: Tensor) -> None:
        together = self.logits(network, images)
        apart = torch.cat([self.logits(network, image[None]) for image in images])
        torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(apart[0], apart[1], atol=1e-4), "the two images must not look alike"

    def test_config_survives_json(self) -> None:
        config_type = NETWORKS[self.name][1]
        for config in (config_type(), config_type(**self.small)):
            assert parse(config_type, json.loads(json.dumps(config.to_json())), "config") == config
        assert config_type(**self.small) != config_type()

    def test_weights_survive_a_file(self, network: nn.Module, images: Tensor, tmp_path: Path) -> None:
        file = tmp_path / "weights.safetensors"
        safetensors.torch.save_file(network.state_dict(), file)
        torch.manual_seed(99)
        other = build_network(self.name, self.small)
        expected = self.logits(network, images)
        assert not torch.equal(self.logits(other, images), expected), "the other network must start elsewhere"
        other.load_state_dict(safetensors.torch.load_file(file))
        assert torch.equal(self.logits(other, images), expected)

    def test_number_of_parameters_is_the_papers(self) -> None:
        with torch.device("meta"):
            network = build_network(self.name, {})
        assert math.isclose(count_parameters(network), self.paper_parameters, abs_tol=self.parameter_tolerance)

    def test_the_same_seed_gives_the_same_result(self, images: Tensor) -> None:
        results = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            results.append(self.logits(build_network(self.name, self.small), images))
        assert torch.equal(results[0], results[1])
        assert not torch.equal(results[0], results[2])

    @pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own, in torch.onnx
    def test_the_exported_graph_agrees(self, network: nn.Module, images: Tensor, tmp_path: Path) -> None:
        _use_every_statistic(network)
        expected = self.logits(network, images)
        file = tmp_path / "network.onnx"
        torch.onnx.export(network, (images,), file, dynamo=True, verbose=False)
        hints = {"INFERENCE_PRECISION_HINT": "f32"}
        graph = openvino.Core().compile_model(str(file), "CPU", hints)
        torch.testing.assert_close(torch.from_numpy(graph([images.numpy()])[0]), expected, rtol=0, atol=1e-4)
        assert expected.abs().max() > 1e-2, "logits this small agree with anything"


def count_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _use_every_statistic(network: nn.Module) -> None:
    """Batch-norm statistics away from 0 and 1, as after training; otherwise an export could leave them out."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
