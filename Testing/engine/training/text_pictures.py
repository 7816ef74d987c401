"""Pictures with one or two squares, and a reader that gives each of a few words a vector."""

from collections.abc import Sequence

import torch

from leanseg.training.data.text_pairs import ORGAN_PX, TextPairs
from leanseg.training.text_reading import Heard, Reader

SIDE, WIDTH = 32, 6
WORDS = ("upper", "lower", "left", "right", "no", "tumor")


def square_pairs(number: int = 12, seed: int = 0) -> TextPairs:
    """Bright squares upper left, lower right, both, or none, in turn, on noise."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(number, 1, SIDE, SIDE, dtype=torch.uint8)
    for n in range(number):
        if n % 4 in (0, 2):
            masks[n, 0, 4:11, 4:11] = 1
        if n % 4 in (1, 2):
            masks[n, 0, 21:28, 21:28] = 1
    images = (0.3 + 0.4 * masks + 0.1 * torch.randn(masks.shape, generator=generator)).clamp(0, 1).half()
    return TextPairs(
        images,
        masks,
        masks.flatten(1).any(dim=1).long(),
        torch.arange(number),
        tuple(str(n) for n in range(number)),
        torch.ones(number, 1, ORGAN_PX, ORGAN_PX, dtype=torch.uint8),
        torch.arange(number) % 2,
        ("mri",) * number,
        ("",) * number,
        per_part=number,
    )


def word_reader() -> Reader:
    """Four pieces: a unit vector where one of WORDS is said, in the order in which they are said."""

    def read(texts: Sequence[str]) -> Heard:
        tokens, padding = torch.zeros(len(texts), 4, WIDTH), torch.ones(len(texts), 4) > 0
        for n, text in enumerate(texts):
            words = [word for word in text.lower().replace(",", " ").replace(".", " ").split() if word in WORDS]
            for m, word in enumerate(words[:4] or ["tumor"]):
                tokens[n, m, WORDS.index(word)], padding[n, m] = 1.0, False
        return tokens, padding

    return Reader(read, WIDTH)
