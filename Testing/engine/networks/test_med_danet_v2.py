from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from leanseg.errors import UnknownNameError
from leanseg.networks import NETWORKS
from leanseg.networks.blocks.residual_unet import ResidualUNet
from leanseg.networks.med_danet import MedDANet, MedDANetConfig
from leanseg.networks.med_danet_v2 import SKIP, MedDANetV2, MedDANetV2Config
from Testing.engine.networks.contract import NetworkContract, count_parameters

SMALL: Mapping[str, Any] = MappingProxyType({"width": 4, "crop_sizes": (8, 16)})
CROP_8, CROP_16, WHOLE = 1, 2, 3
HEIGHT, WIDTH = 24, 32


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "med_danet_v2", (MedDANetV2, MedDANetV2Config))


def a_network(**options: object) -> MedDANetV2:
    torch.manual_seed(0)
    return MedDANetV2(MedDANetV2Config(**{**SMALL, **options})).eval()


@pytest.fixture
def network() -> MedDANetV2:
    return a_network()


def images(number: int) -> Tensor:
    return torch.rand(number, 4, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def place_crops(network: MedDANetV2, *positions: tuple[float, float]) -> None:
    """Make the crop position network say these a, the same for every slice, one for each size."""
    said = torch.tensor(positions).logit(eps=1e-12).flatten()
    network.position.register_forward_hook(lambda module, inputs, output: output * 0 + said)


def on_meta(**options: object) -> MedDANetV2:
    with torch.device("meta"):
        return MedDANetV2(MedDANetV2Config(**options))  # type: ignore[arg-type]


class TestMedDANetV2(NetworkContract):
    """The branches are asked by decisions that are given: an untrained decision network may skip everything."""

    name = "med_danet_v2"
    small = SMALL
    input_shape = (4, HEIGHT, WIDTH)
    refused_shape = (4, HEIGHT, WIDTH + 4)
    paper_parameters = 1_750_908 - 4_772  # without the layers that the released code never uses
    parameter_tolerance = 0

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        assert isinstance(network, MedDANetV2)
        with torch.no_grad():
            both = [network.eval().predict(images, torch.full((len(images),), n)).logits for n in (CROP_16, WHOLE)]
        return both[0] + both[1]

    def everything(self, network: nn.Module, images: Tensor) -> Tensor:
        """Every branch, the decision, and what the selected bits cost: a choice alone has no gradient."""
        assert isinstance(network, MedDANetV2)
        branches = network.branches(images, quantize=True)
        total = network.decision(images).square().mean()
        for choice, branch in enumerate(branches, start=1):
            gmacs = network.branch_macs(choice, branch.bits, HEIGHT, WIDTH).sum() / 1e9
            total = total + branch.logits.square().mean() + gmacs.float()
        return total

    def test_every_parameter_gets_a_gradient(self, network: nn.Module, images: Tensor) -> None:
        self.everything(network.eval(), images).backward()
        assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []

    def test_gradients_are_finite_in_train_mode(self, network: nn.Module, images: Tensor) -> None:
        self.everything(network.train(), torch.cat([images, images])).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    def test_the_exported_graph_agrees(self) -> None:  # type: ignore[override]
        pytest.skip("routing has no graph: `static` U-Nets and small networks are exported one by one, see their tests")


# ── size and cost ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_parameters_of_the_small_networks_are_the_papers() -> None:
    network = on_meta()
    assert count_parameters(network.decision) == 65_708
    assert count_parameters(network.position) == 65_452
    assert count_parameters(network.selectors) == 50 + 82 + 146 + 274


@pytest.mark.parametrize(("choice", "gmacs"), [(2, 1.018), (1, 0.606)])
def test_full_precision_gmacs_of_both_paths_are_the_papers(choice: int, gmacs: float) -> None:
    macs = on_meta().branch_macs(choice, torch.full((1, 4), 32.0), 128, 128)
    assert macs.item() / 1e9 == pytest.approx(gmacs, rel=2e-3)


def test_bits_weigh_the_macs_of_their_stage() -> None:
    bits = torch.tensor([[8.0, 16.0, 32.0, 8.0]])
    stages, rest = (94.372 / 4 + 169.869 / 2 + 169.869 + 301.99 / 4), 204.472 + 76.546
    assert on_meta().branch_macs(2, bits, 128, 128).item() / 1e6 == pytest.approx(stages + rest, rel=1e-5)


@pytest.mark.parametrize("paste", ["features", "logits"])
def test_macs_are_those_that_torch_counts(paste: str) -> None:
    network, decisions = a_network(paste=paste), torch.tensor([WHOLE, SKIP, CROP_8, CROP_16, CROP_16])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.decision(images(5))
        prediction = network.predict(images(5), decisions, quantize=False)
    cost = prediction.cost
    assert cost.macs == cost.bit_weighted_macs == counter.get_total_flops() / 2
    small = 5 * network.decision.macs(HEIGHT, WIDTH) + 3 * network.position.macs(HEIGHT, WIDTH)
    assert cost.decision_macs == small and cost.histogram == (1, 1, 2, 1)


def test_selected_bits_make_the_bit_weighted_macs(network: MedDANetV2) -> None:
    with torch.no_grad():
        cost = network.predict(images(2), torch.tensor([WHOLE, SKIP])).cost
    stages = sum(network.body.stage_macs(HEIGHT, WIDTH))
    assert cost.macs - cost.bit_weighted_macs == pytest.approx(stages / 2), "16 of 32 bits at the start"


def test_a_case_of_the_reference_phantom_costs_what_the_paper_promises() -> None:
    """45 % of 128 slices have tumor, which fits into the crop; 8 bits suffice. Med-DANet as in its own test."""
    decisions = torch.tensor([0] * 70 + [1] * 58)
    bits = torch.where(decisions[:, None] > 0, 8.0, 0.0).expand(-1, 4)
    cost = on_meta().cost(decisions, bits, 128, 128)
    with torch.device("meta"):
        predecessor = MedDANet(MedDANetConfig())
    first = predecessor.cost(torch.tensor([0] * 70 + [3] * 38 + [4] * 20), 128, 128)
    assert cost.bit_weighted_macs / 1e9 <= 0.07 * 333.09
    assert cost.bit_weighted_macs <= 0.30 * first.macs
    assert cost.decision_macs / 1e6 == pytest.approx(128 * 4.083 + 58 * 4.082, rel=1e-3)


# ── static mode ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("up_sampling", ["transposed", "nearest"])
def test_whole_with_32_bits_is_exactly_the_plain_unet(up_sampling: str) -> None:
    network = a_network(up_sampling=up_sampling)
    plain = ResidualUNet(network.config.unet).eval()
    plain.body.load_state_dict(network.body.state_dict())
    plain.head.load_state_dict(network.whole_head.state_dict())
    with torch.no_grad():
        expected = plain(images(2))
        assert torch.equal(network.predict(images(2), torch.tensor([WHOLE, WHOLE]), quantize=False).logits, expected)
        assert torch.equal(network.static()(images(2)), expected)
        assert not torch.equal(network.predict(images(2), torch.tensor([WHOLE, WHOLE])).logits, expected)
        for selector in network.selectors:
            selector.candidates.fill_(32.0)
        assert torch.equal(network.predict(images(2), torch.tensor([WHOLE, WHOLE])).logits, expected)


def test_the_static_unet_shares_the_parameters(network: MedDANetV2) -> None:
    shared = {id(p) for p in network.parameters()}
    assert all(id(p) in shared for p in [*network.static().parameters(), *network.static(CROP_8).parameters()])
    assert network.static(CROP_8).head is network.crop_head and not network.static().training


# ── crops ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def bypass_the_networks(network: MedDANetV2) -> None:
    """The body gives its input, a head the features that it gets."""
    network.body.forward = lambda image, bits=None: image  # type: ignore[method-assign]
    network.crop_head.forward = lambda features: features  # type: ignore[method-assign]


@pytest.mark.parametrize("position", [(0.25, 0.75), (0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("choice", [CROP_8, CROP_16])
def test_a_crop_comes_back_to_its_place(network: MedDANetV2, position: tuple[float, float], choice: int) -> None:
    """In the released code row and column are swapped on the way back."""
    size = network.config.crop_sizes[choice - 1]
    place_crops(network, position, position)
    bypass_the_networks(network)
    row, column = round(position[0] * (HEIGHT - size)), round(position[1] * (WIDTH - size))
    expected = torch.zeros(2, 4, HEIGHT, WIDTH)
    there = (..., slice(row, row + size), slice(column, column + size))
    expected[there] = images(2)[there]
    with torch.no_grad():
        prediction = network.predict(images(2), torch.tensor([choice] * 2), quantize=False)
        in_training = network.branches(images(2), quantize=False)[choice - 1].logits
    assert prediction.corners.tolist() == [[row, column]] * 2
    assert torch.equal(prediction.logits, expected)
    torch.testing.assert_close(in_training, expected, rtol=0, atol=5e-5)


def test_crops_of_different_slices_lie_at_different_places(network: MedDANetV2) -> None:
    said = torch.linspace(-2, 2, 4)[:, None] * torch.tensor([1, -1, 0.5, 2])
    network.position.register_forward_hook(lambda module, inputs, output: said[: len(output)])
    with torch.no_grad():
        corners = network.predict(images(4), torch.tensor([CROP_8, CROP_16, CROP_8, WHOLE])).corners
        exact = network.corners(images(4))
    assert corners[3].tolist() == [0, 0]
    for n, choice in enumerate([CROP_8, CROP_16, CROP_8]):
        assert (corners[n] - exact[n, choice - 1]).abs().max() <= 0.5001
    assert corners[0].tolist() != corners[2].tolist()


@pytest.mark.parametrize("paste", ["features", "logits"])
def test_training_and_inference_agree_where_corners_are_whole(paste: str) -> None:
    network = a_network(paste=paste)
    place_crops(network, (0.25, 0.75), (0.5, 0.25))
    with torch.no_grad():
        branches = network.branches(images(2), quantize=True)
        for choice in (CROP_8, CROP_16, WHOLE):
            logits = network.predict(images(2), torch.tensor([choice] * 2)).logits
            torch.testing.assert_close(branches[choice - 1].logits, logits, rtol=1e-3, atol=2e-3)


def test_pasted_logits_are_those_of_the_crop_on_a_background() -> None:
    network = a_network(paste="logits")
    with torch.no_grad():
        prediction = network.predict(images(1), torch.tensor([CROP_16]), quantize=False)
        row, column = prediction.corners[0].tolist()
        there = (..., slice(row, row + 16), slice(column, column + 16))
        torch.testing.assert_close(prediction.logits[there], network.static(CROP_16)(images(1)[there]))
    prediction.logits[there] = torch.tensor([10.0, 0, 0, 0]).view(1, 4, 1, 1)
    assert (prediction.logits.softmax(dim=1)[:, 0] > 0.999).all(), "nothing but background outside"


@pytest.mark.parametrize("paste", ["features", "logits"])
@pytest.mark.parametrize("way", ["paste", "both"])
def test_the_position_learns_through_the_paste_and_through_the_cut_if_wanted(way: str, paste: str) -> None:
    network = a_network(position_gradient=way, paste=paste)
    image = images(2).requires_grad_()
    corner = torch.tensor([[3.3, 5.6], [2.2, 7.9]], requires_grad=True)
    crop = network.crop(image, corner, 8)
    assert crop.requires_grad == (way == "both")
    if way == "both":
        seen, where = torch.autograd.grad(crop.square().sum(), (image, corner))
        assert seen.any() and where.abs().min() > 0
    branch = network.crop_branch(image, corner, 8, quantize=False)
    seen, where = torch.autograd.grad(branch.logits.square().sum(), (image, corner), allow_unused=True)
    assert where.abs().min() > 0
    assert (seen is not None) == (way == "both"), "a detached crop passes nothing to the image"
    network.branches(image.detach(), quantize=False)[0].logits.square().sum().backward()
    assert network.position.linear.weight.grad.any() and network.position.stem[0][0].weight.grad.any()


# ── bits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_samples_of_a_batch_may_have_different_bits(network: MedDANetV2) -> None:
    rough = images(3) * torch.tensor([0.01, 3.0, 0.5]).view(3, 1, 1, 1)
    with torch.no_grad():
        for selector in network.selectors:  # 8 bits below a complexity, 16 above
            selector.linear.weight[0] = 0
            selector.linear.bias.copy_(torch.tensor([0.6, 0.0]))
        together = network.predict(rough, torch.tensor([WHOLE, WHOLE, CROP_16]))
        assert set(together.bits.flatten().tolist()) == {8, 16}
        assert together.bits[0].tolist() != together.bits[1].tolist()
        for n, choice in enumerate([WHOLE, WHOLE, CROP_16]):
            alone = network.predict(rough[n : n + 1], torch.tensor([choice]))
            assert torch.equal(together.bits[n : n + 1], alone.bits)
            torch.testing.assert_close(together.logits[n : n + 1], alone.logits, rtol=1e-4, atol=1e-5)


def test_the_cost_pushes_every_selector_towards_8_bits(network: MedDANetV2) -> None:
    for choice, branch in enumerate(network.branches(images(2), quantize=True), start=1):
        assert set(branch.bits.flatten().tolist()) <= {8, 16}
        network.zero_grad()
        network.branch_macs(choice, branch.bits, HEIGHT, WIDTH).sum().backward(retain_graph=True)
        for selector in network.selectors:
            low, high = selector.linear.bias.grad.tolist()
            assert low < 0 < high, "descent raises the logit of 8 bits"
            assert selector.linear.weight.grad.any()


def test_without_candidates_nothing_is_quantized() -> None:
    network = a_network(bits=())
    assert len(network.selectors) == 0
    with torch.no_grad():
        quantized = network.predict(images(1), torch.tensor([WHOLE]), quantize=True)
        assert torch.equal(quantized.logits, network.static()(images(1)))
    assert quantized.bits.tolist() == [[32] * 4] and quantized.cost.macs == quantized.cost.bit_weighted_macs


# ── decisions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_skipped_slice_runs_the_decision_network_alone_and_is_background(network: MedDANetV2) -> None:
    ran: Counter[str] = Counter()
    for name, child in network.named_children():
        child.register_forward_hook(lambda *_, name=name: ran.update([name]))
    said = torch.tensor([[1.0, 0, 0, 0]])
    network.decision.register_forward_hook(lambda *_: said.expand(3, 4))
    prediction = network.predict(images(3))
    assert ran == {"decision": 1}
    probabilities = prediction.logits.softmax(dim=1)
    assert (probabilities[:, 0] == 1).all() and (probabilities[:, 1:] == 0).all()
    assert prediction.cost.macs == 3 * network.decision.macs(HEIGHT, WIDTH) and prediction.cost.histogram[SKIP] == 3
    assert not prediction.bits.any()


def test_only_what_was_chosen_runs(network: MedDANetV2) -> None:
    sizes: list[tuple[int, ...]] = []
    network.body.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape)))
    heads: Counter[str] = Counter()
    for name in ("crop_head", "whole_head"):
        head = network.get_submodule(name)
        head.register_forward_hook(lambda module, inputs, output, name=name: heads.update({name: len(output)}))
    with torch.no_grad():
        network.predict(images(5), torch.tensor([WHOLE, SKIP, CROP_8, WHOLE, CROP_16]))
    assert sizes == [(1, 4, 8, 8), (1, 4, 16, 16), (2, 4, HEIGHT, WIDTH)]
    assert heads == {"crop_head": 2, "whole_head": 2}


def test_inference_has_no_noise_and_no_dropout(network: MedDANetV2) -> None:
    with torch.no_grad():
        runs = [network.predict(images(4)) for _ in range(2)]
        given = [network.predict(images(4), torch.tensor([0, 1, 2, 3])).logits for _ in range(2)]
    assert torch.equal(*(run.logits for run in runs)) and torch.equal(*(run.decisions for run in runs))
    assert torch.equal(runs[0].decisions, network.decision(images(4)).argmax(dim=1))
    assert torch.equal(*given)


# ── wrong use ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_slice_smaller_than_a_crop_is_refused(network: MedDANetV2) -> None:
    with pytest.raises(ValueError, match=r"at least 16, its largest crop; got \(8, 32\)"):
        network(torch.rand(1, 4, 8, 32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_sizes": ()}, "at least one size"),
        ({"crop_sizes": (96, 100)}, r"multiples of 8; got \(96, 100\)"),
        ({"bits": (16, 8)}, "bits must ascend"),
        ({"bits": (1, 8)}, "between 2 and 32"),
        ({"width": 0}, "width must be positive"),
    ],
)
def test_refused_configs_say_what_fits(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MedDANetV2Config(**options)


def test_an_option_that_does_not_exist_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"paste named 'logit'\. Did you mean 'logits'"):
        MedDANetV2Config(paste="logit")
