import pytest
import torch
from torch import Tensor, nn

from leanseg.errors import UnknownNameError
from leanseg.networks.blocks.med_adapter import (
    AdapterConfig,
    ConvMedAdapter,
    FourierBranch,
    InterStageInteraction,
    IntraStageEnhancement,
    MedAdapter,
    at_frequencies,
)

EIGHT = AdapterConfig(ratio=2, depth=8)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(branch: FourierBranch) -> FourierBranch:
    assert branch.bias is not None
    branch.weight.data, branch.bias.data = noise(len(branch.weight), seed=1), noise(len(branch.weight), seed=2)
    return branch


def alive(adapter: MedAdapter | ConvMedAdapter) -> MedAdapter | ConvMedAdapter:
    adapter.up.weight.data = noise(*adapter.up.weight.shape, seed=3)
    return adapter.eval()


# ── Fourier branch ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_fourier_branch_is_the_papers_transform_over_all_three_axes() -> None:
    """|IFFT3(w FFT3(x) + b)|, w and b of shape 1 x 1 x T x 1 x 1, with torch's own transforms."""
    branch, x = drawn(FourierBranch(EIGHT)), noise(2, 3, 8, 5, 6)
    shape, axes = (1, 1, 8, 1, 1), (2, 3, 4)
    assert branch.bias is not None
    y = torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * branch.weight.view(shape) + branch.bias.view(shape), dim=axes)
    torch.testing.assert_close(branch(x.flatten(3)).view_as(x), y.abs())
    branch.output = "real"
    torch.testing.assert_close(branch(x.flatten(3)).view_as(x), y.real)


def test_with_w_1_and_b_0_it_is_the_magnitude() -> None:
    x = noise(1, 2, 8, 9)
    torch.testing.assert_close(FourierBranch(AdapterConfig(depth=8, fourier_bias=0.0))(x), x.abs())
    torch.testing.assert_close(FourierBranch(AdapterConfig(depth=8, fourier_bias=None, fourier_output="real"))(x), x)


def test_b_of_1_adds_an_impulse_at_the_first_voxel() -> None:
    x = torch.ones(1, 1, 8, 9)
    changed = (FourierBranch(EIGHT)(x) - x).detach()
    assert changed[0, 0, 0, 0] == pytest.approx(1)
    changed[0, 0, 0, 0] = 0
    assert changed.abs().max() < 1e-5


def test_it_sees_all_of_the_depth_and_no_further() -> None:
    """Every slice is seen from every other. Within the plane w is the same for all frequencies, and cancels."""
    branch, x = drawn(FourierBranch(EIGHT)), noise(1, 1, 8, 6)
    for t in range(8):
        other = x.clone()
        other[0, 0, t, 2] += 1
        seen = (branch(other) - branch(x))[0, 0].abs() > 1e-6
        assert seen[:, 2].all() and not seen[:, [0, 1, 3, 4, 5]].any()


def test_its_gradient_is_finite_at_0() -> None:
    branch = FourierBranch(AdapterConfig(depth=4, fourier_bias=0.0))
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    branch(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_other_depths_interpolate_along_the_frequency() -> None:
    values = torch.tensor([4.0, 2.0, 0.0, 2.0])
    assert torch.equal(at_frequencies(values, 4), values)
    assert at_frequencies(values, 8).tolist() == [4, 3, 2, 1, 0, 1, 2, 3], "the last wraps around"
    assert at_frequencies(values, 2).tolist() == [4, 0]
    ones = FourierBranch(AdapterConfig(depth=8, fourier_bias=0.0))
    x = noise(1, 1, 11, 3)
    torch.testing.assert_close(ones(x), x.abs())


# ── the adapter of tokens ───────────────────────────────────────────────────────────────────────────────────────────


def test_branches_are_summed_and_mixed() -> None:
    intra, x = IntraStageEnhancement(4, EIGHT).eval(), noise(1, 4, 8, 4, 4)
    with torch.no_grad():
        parts = intra.small(x) + intra.large(x) + intra.fourier(x.flatten(3)).view_as(x)
        torch.testing.assert_close(intra(x), intra.mix(parts))


def test_an_adapter_starts_as_the_identity_and_then_is_none() -> None:
    adapter, tokens = MedAdapter(12, EIGHT), noise(8, 16, 12)
    with torch.no_grad():
        assert torch.equal(adapter(tokens, (4, 4, 4))[0], tokens)
        assert not torch.allclose(alive(adapter)(tokens, (4, 4, 4))[0], tokens, atol=1e-2)


def test_slices_of_a_volume_see_each_other_and_volumes_do_not() -> None:
    adapter, tokens = alive(MedAdapter(12, EIGHT)), noise(8, 16, 12)
    other = tokens.clone()
    other[1] += 1
    with torch.no_grad():
        changed = (adapter(other, (4, 4, 4))[0] - adapter(tokens, (4, 4, 4))[0]).abs().flatten(1).amax(dim=1) > 1e-6
    assert changed.tolist() == [True] * 4 + [False] * 4


@pytest.mark.parametrize(("halves", "channels"), [(True, 3), (False, 6)])
def test_a_stage_hears_the_one_before_and_the_first_hears_zeros(halves: bool, channels: int) -> None:
    inter, x = InterStageInteraction(6, halves), noise(1, 6, 2, 4, 4)
    grid = (8, 8) if halves else (4, 4)
    with torch.no_grad():
        silence = inter(x, torch.zeros(1, channels, 2, *grid))
        torch.testing.assert_close(inter(x, None), silence)
        assert not torch.allclose(inter(x, noise(1, channels, 2, *grid)), silence, atol=1e-2)


def test_what_was_found_is_handed_on_by_blocks_that_do_not_interact() -> None:
    tokens, before = noise(2, 16, 12), noise(1, 3, 2, 8, 8)
    with torch.no_grad():
        assert MedAdapter(12, EIGHT)(tokens, (2, 4, 4), before)[1] is before
        handed_on = MedAdapter(12, EIGHT, interacts=True, halves_grid=True)(tokens, (2, 4, 4), before)[1]
    assert handed_on is not None and handed_on.shape == (1, 6, 2, 4, 4)


# ── the adapter of convolutional networks ───────────────────────────────────────────────────────────────────────────


def test_the_convolutional_form_starts_as_the_identity_and_sees_its_row_and_column() -> None:
    config = AdapterConfig(ratio=2, depth=8, fourier_output="real")
    adapter, x = ConvMedAdapter(12, config).double().eval(), noise(1, 12, 15, 22).double()
    with torch.no_grad():
        assert torch.equal(adapter(x), x)
        alive(adapter).double()
        for branch in (adapter.rows, adapter.columns):
            branch.weight.data = noise(8, seed=4).double()
        other = x.clone()
        other[..., 3, 5] += 1
        seen = (adapter(other) - adapter(x)).abs().amax(dim=1)[0] > 1e-9
    assert seen[3].all() and seen[:, 5].all() and not seen[8:, 10:].any()


def test_every_parameter_of_it_gets_a_gradient() -> None:
    adapter = alive(ConvMedAdapter(12, AdapterConfig(ratio=2, depth=8)))
    adapter(noise(2, 12, 16, 16)).square().sum().backward()
    assert [name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no fourier_output named 'imaginary'"):
        AdapterConfig(fourier_output="imaginary")
    with pytest.raises(ValueError, match=r"must be positive; got 0 and 128"):
        AdapterConfig(ratio=0)
    with pytest.raises(ValueError, match=r"4 channels are too few for adapters of ratio 6\. Lower the ratio"):
        MedAdapter(4, AdapterConfig())


def test_the_up_projection_moves_first() -> None:
    """At the start only it has a gradient; GELU'(0) = 1/2 lets it through."""
    adapter = MedAdapter(12, EIGHT)
    adapter(noise(4, 16, 12), (4, 4, 4))[0].square().sum().backward()
    assert adapter.up.weight.grad is not None and adapter.up.weight.grad.any()
    assert adapter.down.weight.grad is not None and not adapter.down.weight.grad.any()
    assert isinstance(adapter.down, nn.Linear)
