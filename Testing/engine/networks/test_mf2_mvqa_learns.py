"""Learning on pictures whose answers need different stages: fine stripes, where a blob is, and how many there are."""

from functools import cache

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from leanseg.networks.mf2_mvqa import MF2MVQA, MF2MVQAConfig

SIDE, STEPS, BATCH = 32, 90, 24
ANSWERS = ("left", "right", "across", "down", "one", "two", "dark", "bright")
QUESTIONS = ((4, 5), (6, 7), (8, 9), (10, 11))
"""Two pieces each: where is it, how do the stripes run, how many, what color."""


def pictures(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images, and the right answer to each of QUESTIONS (image, question); no answer follows from another."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(2, (number, 4), generator=generator)
    image = torch.full((number, 1, SIDE, SIDE), 0.4)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    for n, (is_right, runs_down, are_two, is_bright) in enumerate(bits.tolist()):
        image[n, 0] += 0.15 * ((x if runs_down else y) % 2 * 2 - 1)
        jitter = torch.randint(-2, 3, (2, 2), generator=generator)
        for row, shift in zip((8, 23) if are_two else (15,), jitter.tolist(), strict=False):
            column = (23 if is_right else 8) + shift[1]
            blob = (y - row - shift[0]) ** 2 + (x - column) ** 2 < 16
            image[n, 0][blob] = 0.95 if is_bright else 0.0
    image += 0.03 * torch.randn(image.shape, generator=generator)
    return image, bits + torch.tensor([0, 2, 4, 6])


def asked(number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every question about every image: ids, padding, owners."""
    ids = torch.tensor([[2, *pieces, 3] for pieces in QUESTIONS]).repeat(number, 1)
    return ids, torch.zeros_like(ids, dtype=torch.bool), torch.arange(number).repeat_interleave(len(QUESTIONS))


@cache
def accuracy(fusion: str) -> tuple[float, ...]:
    """By question, on other pictures than it learned from."""
    torch.manual_seed(0)
    config = MF2MVQAConfig(
        (8, 12, 16, 16, 24), 1, 12, 4, len(ANSWERS), 4, width=32, heads=2, ratio=2, grid=2, fusion=fusion, dropout=0.0
    )
    network = MF2MVQA(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    images, right = pictures(BATCH * STEPS // 4, seed=1)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, (step + 1) / 10) * (1 - step / STEPS)
        chosen = torch.randint(len(images), (BATCH,), generator=torch.Generator().manual_seed(step))
        output = network(images[chosen], *asked(BATCH))
        loss = F.cross_entropy(output.logits, right[chosen].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    images, right = pictures(100, seed=2)
    with torch.no_grad():
        found = network.eval()(images, *asked(100)).logits.argmax(dim=1).view(100, -1)
    return tuple((found == right).float().mean(dim=0).tolist())


@pytest.mark.parametrize("question", range(4))
def test_what_is_asked_decides_what_is_answered(question: int) -> None:
    assert accuracy("stagewise")[question] >= 0.95, accuracy("stagewise")


def test_the_question_alone_does_not_tell() -> None:
    assert all(0.3 < one < 0.7 for one in accuracy("none"))


def test_stagewise_is_no_worse_than_joint_where_fine_and_coarse_stages_are_needed() -> None:
    stagewise, joint = (sum(accuracy(fusion)) / 4 for fusion in ("stagewise", "joint"))
    assert stagewise >= joint - 0.01, (stagewise, joint)
