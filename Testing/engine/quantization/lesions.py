"""A small network, a task that it learns in seconds, and a plain training loop."""

import copy
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from leanseg.losses.overlap import DiceBCELoss
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.quantization.layers import quantizer_parameters

SIDE = 24
CONFIG = AttentionUNetConfig(widths=(6, 12))


def lesions(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Dark discs in speckle, and their masks."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    row, column = (torch.rand(2, number, 1, 1, generator=generator) * 10 + 7).unbind()
    radius = torch.rand(number, 1, 1, generator=generator) * 4 + 2
    masks = ((y - row).square() + (x - column).square() < radius.square()).float()[:, None]
    speckle = torch.rand(number, 1, SIDE, SIDE, generator=generator)
    return (0.7 - 0.35 * masks) * (0.5 + speckle), masks


def points_of_dice(network: nn.Module) -> float:
    """Mean Dice in percent on images that are never trained on."""
    images, truth = lesions(48, seed=99)
    network.eval()
    with torch.no_grad():
        masks = (network(images) > 0).float()
    overlap, total = (masks * truth).sum((1, 2, 3)), (masks + truth).sum((1, 2, 3))
    return float((200 * overlap / total).mean())


def fit(
    network: nn.Module,
    seed: int,
    epochs: int,
    learning_rate: float,
    begin_epoch: Callable[[int], object] = lambda epoch: None,
) -> nn.Module:
    """Adam; what quantizers learn gets a tenth of the rate."""
    images, masks = lesions(48, seed)
    slow = quantizer_parameters(network)
    others = [p for p in network.parameters() if not any(p is q for q in slow)]
    optimizer = torch.optim.Adam([{"params": others}, {"params": slow, "lr": learning_rate / 10}], learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=epochs)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        begin_epoch(epoch)
        network.train()
        for indices in torch.randperm(len(images), generator=generator).split(8):
            loss = DiceBCELoss()(network(images[indices]), masks[indices])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        schedule.step()
    return network.eval()


def new_network(seed: int = 0) -> AttentionUNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AttentionUNet(CONFIG)


@cache
def _trained(seed: int) -> nn.Module:
    return fit(new_network(seed), seed, epochs=24, learning_rate=1e-2)


def trained_network(seed: int = 0) -> nn.Module:
    """A float network that knows the task; trained once, copied for each caller."""
    return copy.deepcopy(_trained(seed))
