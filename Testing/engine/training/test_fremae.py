"""Pre-training without labels: what is hidden, what is learned, and what a segmentation network takes over."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.networks import build_network
from leanseg.networks.encoders import encoder_keys, encoder_shape
from leanseg.training.fremae import FreMAE, changed_columns, foreground, random_mask
from leanseg.training.fremae_recipe import FreMAEConfig
from leanseg.training.objectives import Batch
from leanseg.training.recipe import Recipe
from Testing.engine.training.conftest import synthetic_ultrasound


def brain_image(*shape: int, seed: int = 0) -> Tensor:
    """Two images of four sequences, with a border of background."""
    image = torch.rand(2, 4, *shape, generator=torch.Generator().manual_seed(seed)) + 0.5
    for axis in range(2, image.ndim):
        image.index_fill_(axis, torch.tensor([0, 1]), 0)
    return image


def objective_of(
    network: str, config: dict[str, Any], size: tuple[int, ...], channels: int
) -> tuple[FreMAE, nn.Module]:
    torch.manual_seed(0)
    built = build_network(network, config)
    objective = FreMAE(FreMAEConfig(half_width=3), encoder_shape(built, channels, size).channels, channels, size)
    objective.begin_epoch(built, 0, 1)
    return objective, built


def batch_of(images: Tensor) -> Batch:
    n = len(images)
    return Batch(images, torch.zeros(n, 1), torch.zeros(n), torch.arange(n), torch.zeros(n, 1, 1, 2))


# ── masking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", [(16, 24), (8, 12, 8)])
def test_a_quarter_of_the_foreground_is_masked_and_no_background(shape: tuple[int, ...]) -> None:
    pixels = foreground(brain_image(*shape))
    mask = random_mask(pixels, 0.25, torch.Generator().manual_seed(0))
    assert pixels.sum() == 2 * math.prod(n - 2 for n in shape)
    assert not (mask & ~pixels).any()
    assert abs(int(mask.sum()) - 0.25 * int(pixels.sum())) <= 1


def test_pixels_are_masked_at_random_over_the_batch_not_in_patches() -> None:
    pixels = torch.ones(2, 64, 64, dtype=torch.bool)
    mask = random_mask(pixels, 0.25, torch.Generator().manual_seed(0))
    beside = (mask[:, :, 1:] & mask[:, :, :-1]).float().mean()
    assert beside == pytest.approx(0.25**2, abs=0.01)
    assert mask[0].sum() != mask[1].sum()


def test_foreground_is_where_all_sequences_are_that_the_image_has() -> None:
    image = brain_image(8, 8)
    image[0, 2, 4, 4] = 0
    image[1, 3] = 0
    pixels = foreground(image)
    assert not pixels[0, 4, 4] and pixels[0].sum() == 35
    assert pixels[1].sum() == 36, "a sequence that is missing altogether does not count"
    ultrasound = torch.tensor([0.0, 0.1]).view(1, 1, 1, 2)
    assert foreground(ultrasound).tolist() == [[[False, True]]]


def test_the_encoder_sees_the_token_where_it_is_masked_and_other_intensities_everywhere() -> None:
    objective, _ = objective_of("residual_unet", {"width": 4}, (16, 24), 4)
    images = brain_image(16, 24)
    objective.config = FreMAEConfig(gain=0.0, offset=0.0)
    objective.token.data = torch.tensor([5.0, 6.0, 7.0, 8.0]).view(4, 1, 1)
    hidden = objective.hidden(images)
    masked = (hidden != images).any(dim=1)
    assert masked.sum() > 0 and torch.equal(hidden[0, :, masked[0]][:, 0].detach(), torch.tensor([5.0, 6.0, 7.0, 8.0]))
    assert torch.equal(hidden.movedim(1, -1)[~masked], images.movedim(1, -1)[~masked])


def test_columns_are_scaled_and_shifted_alike_and_each_by_itself() -> None:
    changed = changed_columns(torch.ones(3, 2, 5, 40), 0.1, 0.1, torch.Generator().manual_seed(0))
    assert torch.equal(changed, changed[:, :, :1].expand_as(changed))
    columns = changed[:, :, 0]
    assert len(columns.unique()) == columns.numel() and columns.min() >= 0.8 and columns.max() <= 1.2
    assert columns.std() > 0.05


def test_without_any_foreground_there_is_one_clear_line(small_recipe: Recipe) -> None:
    recipe = replace(small_recipe, fremae=FreMAEConfig())
    blank = synthetic_ultrasound(2)
    blank.images.zero_()
    with pytest.raises(
        LeanSegError, match=r"^No pixel of the images can be masked: .* Check that the images are not blank"
    ):
        FreMAE.of(recipe, blank)


def test_a_blank_image_in_a_batch_is_not_masked_and_its_loss_is_right() -> None:
    objective, network = objective_of("attention_unet", {"widths": [4, 8]}, (16, 16), 1)
    objective.config = FreMAEConfig(gain=0.0, offset=0.0, half_width=3)
    blank = torch.zeros(2, 1, 16, 16)
    assert torch.equal(objective.hidden(blank), blank)
    loss, _ = objective(network, batch_of(blank))
    loss.backward()
    assert loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


# ── losses ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "config", "channels", "size"),
    [
        ("attention_unet", {"widths": [4, 8, 8]}, 1, (32, 64)),
        ("residual_unet", {"width": 4, "dropout": 0.0}, 4, (32, 32)),
        (
            "segresnet",
            {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1], "dropout": 0.0},
            4,
            (8, 16, 8),
        ),
    ],
)
@pytest.mark.parametrize("which", [0, 1], ids=["high", "low"])
def test_each_loss_reaches_every_stage_of_the_encoder_and_the_token(
    name: str, config: dict[str, Any], channels: int, size: tuple[int, ...], which: int
) -> None:
    objective, network = objective_of(name, config, size, channels)
    network.eval()  # in training, batch norm cancels the bias before it
    objective.losses(network, brain_image(*size)[:, :channels])[which].backward()
    keys = set(encoder_keys(network))
    without = [key for key, p in network.named_parameters() if key in keys and (p.grad is None or not p.grad.any())]
    assert without == []
    assert objective.token.grad is not None and objective.token.grad.all()
    assert all(p.grad is None for key, p in network.named_parameters() if key not in keys)


def test_the_loss_weighs_both_as_published() -> None:
    objective, network = objective_of("attention_unet", {"widths": [4, 8]}, (16, 16), 1)
    total, parts = objective(network, batch_of(torch.rand(2, 1, 16, 16)))
    assert total.item() == pytest.approx(parts["high"].item() + 1.3 * parts["low"].item(), rel=1e-6)


def test_targets_are_the_clean_image_high_at_full_size_and_low_at_a_quarter() -> None:
    """A decoder that gives them back pays nothing, whatever the encoder saw."""
    objective, network = objective_of("attention_unet", {"widths": [4, 8]}, (32, 32), 1)
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    small = nn.functional.avg_pool2d(images, 4)
    object.__setattr__(objective, "_modules", {**objective._modules, "decoder": None})
    for given, expected in (((images, small), (True, True)), ((0 * images, small), (False, True))):
        objective.decoder = _Gives(*given)  # type: ignore[assignment]
        losses = objective.losses(network, images)
        assert tuple(loss.item() < 1e-10 for loss in losses) == expected


class _Gives(nn.Module):
    def __init__(self, details: Tensor, rest: Tensor) -> None:
        super().__init__()
        self.given = details, rest

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.given


def test_a_size_without_a_quarter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"FreMAE needs sizes in multiples of 4; got \(30, 32\)"):
        FreMAE(FreMAEConfig(), (4, 8), 1, (30, 32))


@pytest.mark.parametrize("values", [{"mask_ratio": 0.0}, {"mask_ratio": 1.0}, {"half_width": 0}, {"high_weight": -1.0}])
def test_values_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="got"):
        FreMAEConfig(**values)
