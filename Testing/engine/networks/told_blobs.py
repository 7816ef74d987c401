"""Pictures of blobs, prompts that name some of them, and a tiny TextBCS that learned to do as it is told."""

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from leanseg.losses.evidential import EvidentialLoss
from leanseg.losses.places import places_loss
from leanseg.losses.text_alignment import NOTHING_SAID, StageAlignmentLoss
from leanseg.networks.text_bcs import TextBCS, TextBCSConfig

SIDE = 32
LENGTH = 4
WORDS = ("tumor", "upper", "lower", "left", "right", "no")
PLACES = tuple(f"{row} {column}" for row, column in itertools.product(("upper", "lower"), ("left", "right")))
PROMPTS = (*PLACES, "tumor", "no tumor", "")
_NAMED = torch.tensor([[n == m for m in range(4)] for n in range(4)] + [[True] * 4, [False] * 4, [True] * 4])
_SHARES = torch.tensor([2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0])
"""How often each prompt is drawn."""

CONFIG = TextBCSConfig(
    widths=(8, 16, 24),
    stem_convs=2,
    in_channels=1,
    stages=(1, 2),
    attention_widths=(32, 32),
    text_width=len(WORDS),
    text_length=LENGTH,
    grid=8,
    heads=2,
    dropout=0.0,
    feeds="skips",
    existence=True,
    locates=True,
)


def say(*prompts: str) -> tuple[Tensor, Tensor]:
    """Tokens (batch, LENGTH, word) and padding: a unit vector for each word."""
    tokens, padding = torch.zeros(len(prompts), LENGTH, len(WORDS)), torch.ones(len(prompts), LENGTH) > 0
    for n, prompt in enumerate(prompts):
        for m, word in enumerate(prompt.split()):
            tokens[n, m, WORDS.index(word)], padding[n, m] = 1.0, False
    return tokens, padding


def draw(present: Tensor, generator: torch.Generator, noise: float = 0.1, doubt: float = 0.0) -> tuple[Tensor, Tensor]:
    """Images (batch, 1, SIDE, SIDE) with a disc in each quarter that has one, and the masks (batch, 4, SIDE, SIDE).

    `present` (batch, 4) in the order of PLACES. `doubt` in pixels: who draws a mask may draw it so much too large or
    too small.
    """
    shifts = torch.randint(-2, 3, (2, *present.shape), generator=generator)
    radii = 3 + 2 * torch.rand(present.shape, generator=generator)
    rows = torch.tensor([8, 8, 24, 24]) + shifts[0]
    columns = torch.tensor([8, 24, 8, 24]) + shifts[1]
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    distances = ((y - rows[..., None, None]) ** 2 + (x - columns[..., None, None]) ** 2).sqrt()
    depths = radii[..., None, None] - distances
    image = (present[..., None, None] * torch.sigmoid(2 * depths)).amax(dim=1, keepdim=True)
    drawn = depths + doubt * (2 * torch.rand(present.shape, generator=generator) - 1)[..., None, None]
    masks = present[..., None, None] & (drawn > 0)
    return image + noise * torch.randn(image.shape, generator=generator), masks


def taught(steps: int = 160, batch: int = 16) -> TextBCS:
    """The network after some training on one thread, whatever the computer has: the same every time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TextBCS(CONFIG).train()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps, pct_start=0.2)
    mask_loss, alignment = EvidentialLoss(ramp_epochs=steps // 4), StageAlignmentLoss()
    for step in range(steps):
        chosen = torch.multinomial(_SHARES, batch, replacement=True, generator=generator)
        images, masks = draw(torch.rand(batch, 4, generator=generator) < 0.6, generator, doubt=0.3)
        target = (masks & _NAMED[chosen][..., None, None]).any(dim=1, keepdim=True).float()
        output = network(images, *say(*(PROMPTS[n] for n in chosen)))
        numbers = chosen.masked_fill(chosen == len(PROMPTS) - 1, NOTHING_SAID)
        there = target.flatten(1).amax(dim=1)
        loss = mask_loss(output.logits, target, step) + 1e-2 * alignment(output.vision, output.language, numbers)
        loss = loss + places_loss(output.places, target)
        loss = loss + F.binary_cross_entropy_with_logits(output.existence, there)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    torch.set_num_threads(threads)
    return network.eval()
