from types import MappingProxyType

import pytest
import torch
from torch import Tensor, nn

from leanseg.networks.cga_unet import CGAUNet, CGAUNetConfig, add_centers, class_centers, regions_of
from leanseg.training.volumes import count_volume_gmacs
from Testing.engine.networks.contract import NetworkContract, count_parameters

SMALL = MappingProxyType({"width": 8, "attention_width": 4, "out_channels": 3})


class TestCGAUNet(NetworkContract):
    name = "cga_unet"
    small = SMALL
    input_shape = (4, 16, 16, 24)
    refused_shape = (4, 16, 16, 20)
    paper_parameters = 4_768_617 - 1
    """Without a scalar that the released network defines and does not use."""
    parameter_tolerance = 0

    def test_every_parameter_gets_a_gradient(self, network: nn.Module, images: Tensor) -> None:
        """Not from the logits alone: what the attention branch says is decided by an argmax."""
        assert isinstance(network, CGAUNet)
        seen = network.eval().guided(images)
        (seen.logits.square().mean() + seen.attention.square().mean()).backward()
        assert all(p.grad is not None and p.grad.any() and p.grad.isfinite().all() for p in network.parameters())

    def test_gradients_are_finite_in_train_mode(self, network: nn.Module, images: Tensor) -> None:
        assert isinstance(network, CGAUNet)
        seen = network.train().guided(images)
        (seen.logits.square().mean() + seen.attention.square().mean()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.fixture(scope="module")
def full() -> CGAUNet:
    with torch.device("meta"):
        return CGAUNet(CGAUNetConfig()).eval()


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 5, 2, 3, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def regions() -> Tensor:
    """3 labels; the last has no voxel."""
    attention = torch.randn(2, 3, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    attention[:, 2] = -100
    return regions_of(attention)


def test_macs_are_those_of_the_released_network_and_the_attention_branch_is_small(full: CGAUNet) -> None:
    whole, branch = (count_volume_gmacs(part, 4, (128, 128, 128)) for part in (full, full.attention))
    assert whole == pytest.approx(151.5, abs=0.1) and branch == pytest.approx(0.687, abs=0.001)
    assert branch < 0.01 * whole
    assert count_parameters(full.attention) == 10_404 < 0.1e6


def test_attention_has_an_eighth_of_the_grid_and_a_logit_for_each_label(full: CGAUNet) -> None:
    with torch.no_grad():
        seen = full.guided(torch.empty(1, 4, 128, 128, 128, device="meta"))
    assert seen.attention.shape == (1, 4, 16, 16, 16) and seen.centers.shape == (1, 4, 128)
    assert [type(layer) for layer in full.attention] == [nn.Conv3d] * 3, "no norm, no activation"


def test_each_voxel_receives_the_mean_of_its_region(features: Tensor, regions: Tensor) -> None:
    added = add_centers(features, regions, class_centers(features, regions)) - features
    for n in range(2):
        for label in range(2):
            inside = regions[n, label] > 0
            expected = features[n][:, inside].mean(dim=1, keepdim=True)
            torch.testing.assert_close(added[n][:, inside], expected.expand(-1, int(inside.sum())), rtol=0, atol=1e-5)


def test_voxels_of_a_region_may_change_places(features: Tensor, regions: Tensor) -> None:
    inside = regions[0, 0] > 0
    other = features.clone()
    order = torch.randperm(int(inside.sum()), generator=torch.Generator().manual_seed(2))
    other[0][:, inside] = features[0][:, inside][:, order]
    assert not torch.equal(other, features)
    one, two = (add_centers(f, regions, class_centers(f, regions)) - f for f in (features, other))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


def test_centers_are_not_rounded_under_autocast(features: Tensor, regions: Tensor) -> None:
    expected = class_centers(features, regions)
    with torch.autocast("cpu", torch.bfloat16):
        centers = class_centers(features, regions)
        added = add_centers(features, regions, centers)
    assert centers.dtype == torch.float32 and torch.equal(centers, expected)
    assert torch.equal(added, add_centers(features, regions, expected))


def test_an_empty_region_has_its_center_at_0_and_no_nan(features: Tensor, regions: Tensor) -> None:
    features.requires_grad_()
    centers = class_centers(features, regions)
    assert not centers[:, 2].any() and centers.isfinite().all()
    add_centers(features, regions, centers).square().mean().backward()
    assert features.grad is not None and features.grad.isfinite().all()


def test_a_network_that_sees_one_class_only_gives_numbers() -> None:
    torch.manual_seed(0)
    network = CGAUNet(CGAUNetConfig(**SMALL)).eval()  # type: ignore[arg-type]
    last = network.attention[-1]
    nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    with torch.no_grad():
        last.bias.copy_(torch.tensor([0.0, 9.0, 0.0]))  # type: ignore[union-attr, operator]
        seen = network.guided(torch.rand(1, 4, 8, 8, 8))
    assert seen.present.tolist() == [[False, True, False]] and seen.logits.isfinite().all()


def test_what_a_voxel_receives_depends_on_the_attention() -> None:
    torch.manual_seed(0)
    network, x = CGAUNet(CGAUNetConfig(**SMALL)).eval(), torch.rand(1, 4, 16, 16, 16)  # type: ignore[arg-type]
    with torch.no_grad():
        before = network(x)
        network.attention[-1].bias += torch.tensor([5.0, 0.0, 0.0])  # type: ignore[operator]
        assert not torch.allclose(network(x), before, atol=1e-5)


def test_centers_have_a_gradient_and_regions_have_none() -> None:
    torch.manual_seed(0)
    network = CGAUNet(CGAUNetConfig(**SMALL)).eval()  # type: ignore[arg-type]
    network(torch.rand(1, 4, 16, 16, 16)).square().mean().backward()
    assert all(p.grad is None for p in network.attention.parameters())
    assert network.stages[3][-1].layers[-1].weight.grad.any()  # type: ignore[index, union-attr]


@pytest.mark.parametrize(("channels", "labels"), [(1, 2), (2, 5)])
def test_any_number_of_sequences_and_labels(channels: int, labels: int) -> None:
    network = CGAUNet(CGAUNetConfig(channels, labels, width=8)).eval()
    with torch.no_grad():
        assert network(torch.rand(1, channels, 8, 16, 24)).shape == (1, labels, 8, 16, 24)


@pytest.mark.parametrize(
    "values", [{"width": 12}, {"out_channels": 1}, {"attention_width": 0}, {"channel_dropout": 1.0}]
)
def test_a_config_that_cannot_be_built_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        CGAUNetConfig(**values)  # type: ignore[arg-type]
