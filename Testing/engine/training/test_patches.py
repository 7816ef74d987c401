"""Where patches of volumes come from."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from leanseg.training.data.patches import PatchesConfig, cut_patches, patch_box

CONFIG = PatchesConfig(size_kji=(2, 4, 4), per_volume=1, tumor_fraction=1.0)


def volume_with(*voxels: tuple[int, int, int, int]) -> Tensor:
    """Regions (3, 4, 12, 10) that are 1 in these (region, k, j, i)."""
    target = torch.zeros(3, 4, 12, 10, dtype=torch.uint8)
    for voxel in voxels:
        target[voxel] = 1
    return target


def starts(target: Tensor, config: PatchesConfig, number: int) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(0)
    return [tuple(side.start for side in patch_box(target, config, generator)) for _ in range(number)]


def test_a_patch_lies_around_the_tumor() -> None:
    assert set(starts(volume_with((0, 2, 6, 5)), CONFIG, 5)) == {(1, 4, 3)}


@pytest.mark.parametrize(("voxel", "start"), [((0, 0, 0, 0), (0, 0, 0)), ((0, 3, 11, 9), (2, 8, 6))])
def test_a_patch_stays_inside_the_volume(voxel: tuple[int, int, int, int], start: tuple[int, int, int]) -> None:
    assert set(starts(volume_with(voxel), CONFIG, 5)) == {start}


def test_every_region_that_there_is_counts_the_same() -> None:
    """WT has 40 voxels with i = 2 or 3, ET one with i = 8; TC is absent. Patches around ET begin at i = 6."""
    target = volume_with((2, 2, 6, 8))
    target[0, :, 2:7, 2:4] = 1
    around_et = [i == 6 for _, _, i in starts(target, CONFIG, 400)]
    assert 0.43 < sum(around_et) / 400 < 0.57


def test_the_other_patches_lie_anywhere() -> None:
    """3 x 9 x 7 places for a patch; the tumor sees every one of them without pulling."""
    places = starts(volume_with((0, 2, 6, 5)), replace(CONFIG, tumor_fraction=0.0), 4000)
    assert len(set(places)) == 3 * 9 * 7
    mixed = starts(volume_with((0, 2, 6, 5)), replace(CONFIG, tumor_fraction=0.5), 1000)
    assert 0.44 < mixed.count((1, 4, 3)) / 1000 < 0.56
    assert len(set(starts(volume_with(), CONFIG, 100))) > 50, "a volume without tumor has patches too"


def test_a_patch_is_cut_from_images_and_truth_at_one_place() -> None:
    images = torch.arange(2 * 4 * 4 * 12 * 10).view(2, 4, 4, 12, 10).to(torch.float16)
    targets = torch.stack([volume_with((0, 2, 6, 5)), volume_with((0, 0, 0, 0), (1, 0, 0, 0))])
    patches, masks = cut_patches(images, targets, torch.tensor([1, 0, 1]), CONFIG, torch.Generator())
    assert patches.shape == (3, 4, 2, 4, 4) and masks.shape == (3, 3, 2, 4, 4)
    assert patches.dtype == masks.dtype == torch.float32
    assert torch.equal(patches[1], images[0, :, 1:3, 4:8, 3:7].float())
    assert torch.equal(patches[0], patches[2]) and torch.equal(patches[0], images[1, :, :2, :4, :4].float())
    assert masks.flatten(2).sum(dim=2).tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size_kji": (0, 8, 8)}, "at least 1 voxel a side"),
        ({"per_volume": 0}, "at least 1 patch"),
        ({"tumor_fraction": 1.5}, "tumor_fraction lies between 0 and 1"),
        ({"overlap": 1.0}, "overlap from 0 to below 1"),
    ],
)
def test_patches_that_make_no_sense_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **values)
