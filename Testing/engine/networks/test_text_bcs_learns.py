"""What a small TextBCS learns from pictures of blobs and words about them (`told_blobs`)."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from leanseg.losses.evidential import dirichlet
from leanseg.networks.text_bcs import TextBCSOutput
from Testing.engine.networks.told_blobs import PLACES, draw, say, taught

Ask = Callable[[Tensor, str], TextBCSOutput]


@pytest.fixture(scope="module")
def ask() -> Ask:
    """A network that learned from pictures of blobs: the same prompt for a batch of images."""
    network = taught()

    def answer(images: Tensor, words: str) -> TextBCSOutput:
        with torch.no_grad():
            output: TextBCSOutput = network(images, *say(*[words] * len(images)))
        return output

    return answer


def blobs(places: tuple[int, ...], number: int = 40, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    present = torch.zeros(number, 4, dtype=torch.bool)
    present[:, list(places)] = True
    return draw(present, torch.Generator().manual_seed(11), noise)


def mask_of(output: TextBCSOutput) -> Tensor:
    return dirichlet(output.logits).probability[:, 1] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("places", [(0, 3), (1, 2), (0, 1), (1, 3)])
def test_the_mask_goes_to_the_blob_that_is_named(ask: Ask, places: tuple[int, int]) -> None:
    images, masks = blobs(places)
    for named in places:
        mask = mask_of(ask(images, PLACES[named]))
        near = F.max_pool2d(masks[:, named].float()[:, None], 5, 1, 2)[:, 0] > 0
        assert (mask & near).sum() > 0.8 * mask.sum(), "on the named one"
        assert (mask & masks[:, named]).sum() > 0.8 * masks[:, named].sum(), "and on most of it"


@pytest.mark.slow
def test_what_is_not_there_gives_an_empty_mask(ask: Ask) -> None:
    images, _ = blobs((1, 2, 3), number=100)
    for words in ("no tumor", PLACES[0]):
        output = ask(images, words)
        assert output.existence is not None
        assert (~mask_of(output).flatten(1).any(dim=1)).float().mean() > 0.9
        assert (output.existence < 0).float().mean() > 0.9
    there = ask(images, PLACES[1]).existence
    assert there is not None and (there > 0).float().mean() > 0.9


@pytest.mark.slow
def test_an_empty_or_contradictory_prompt_changes_the_mask(ask: Ask) -> None:
    images, masks = blobs((0, 3))
    one = mask_of(ask(images, PLACES[0]))
    assert (one != mask_of(ask(images, "upper lower left right"))).any()
    silent = mask_of(ask(images, ""))
    assert (silent & masks[:, 3]).sum() > 0.8 * masks[:, 3].sum(), "without a prompt it finds both"


@pytest.mark.slow
def test_without_a_prompt_it_is_as_good_as_with_the_word_tumor(ask: Ask) -> None:
    images, masks = blobs((0, 1, 3))
    truth = masks.any(dim=1)
    silent, said = (
        2 * (mask & truth).sum() / (mask.sum() + truth.sum())
        for mask in (mask_of(ask(images, w)) for w in ("", "tumor"))
    )
    assert silent > said - 0.02
