from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from leanseg.errors import LeanSegError, UnreadableFileError
from leanseg.training.data.referring_pairs import (
    Picture,
    composed,
    draw_pair,
    drawn_scene,
    read_pictures,
    referring_pairs,
    with_objects,
)


def disk(row: int, column: int, radius: int, gray: int) -> Picture:
    """One disk of this gray value on a gradient, 64 x 80."""
    j, i = np.indices((64, 80))
    mask = (j - row) ** 2 + (i - column) ** 2 <= radius**2
    return with_objects(np.where(mask, gray, 80 + i / 2), mask)


DISKS = [disk(15, 15, 9, 200), disk(40, 60, 5, 20), disk(30, 40, 7, 180), disk(45, 20, 11, 40)]


def test_components_are_objects_and_specks_are_none() -> None:
    mask = np.zeros((20, 30), bool)
    mask[2:6, 2:6], mask[6:9, 6:9], mask[15:18, 20:23], mask[10:14, 15:19] = True, True, True, True
    picture = with_objects(np.arange(600.0).reshape(20, 30), mask)
    assert picture.number == 2, "two that touch at a corner are one, and nine pixels are none"
    assert picture.image.min() == 0 and picture.image.max() == 1


def test_copied_lesions_touch_no_other_and_keep_their_shape() -> None:
    for seed in range(10):
        scene = composed(DISKS, np.random.default_rng(seed))
        assert 2 <= scene.number <= 4
        assert ndimage.label(scene.labels > 0, structure=np.ones((3, 3)))[1] == scene.number
        areas = set(np.bincount(scene.labels.ravel())[1:])
        assert areas <= {int((one.labels > 0).sum()) for one in DISKS}
        assert scene.image.dtype == np.float32 and 0 <= scene.image.min() <= scene.image.max() <= 1
    assert DISKS[0].number == 1, "the pictures it was made of stay as they are"


def test_a_lesion_without_room_is_left_out() -> None:
    full = Picture(np.zeros((64, 80), np.float32), np.ones((64, 80), np.uint8))
    assert composed([full, DISKS[0]], np.random.default_rng(0)).number == 1
    small = Picture(np.zeros((8, 8), np.float32), np.zeros((8, 8), np.uint8))
    assert composed([small, DISKS[0]], np.random.default_rng(0)).number == 0


def test_a_pair_shows_one_whole_object_or_none() -> None:
    scene = composed(DISKS, np.random.default_rng(3))
    objects = {(scene.labels == n).tobytes() for n in range(1, scene.number + 1)}
    rng = np.random.default_rng(0)
    present = [draw_pair(scene, rng, absent_fraction=0.0) for _ in range(20)]
    assert {pair.mask.tobytes() for pair in present if pair} <= objects
    absent = [draw_pair(scene, rng, absent_fraction=1.0) for _ in range(20)]
    assert all(pair is not None and not pair.mask.any() for pair in absent)
    empty = Picture(DISKS[0].image, np.zeros((64, 80), np.uint8))
    assert draw_pair(empty, rng, absent_fraction=0.0) is None
    nothing = draw_pair(empty, rng, absent_fraction=1.0)
    assert nothing is not None and not nothing.mask.any(), "a picture without objects is a negative example"


def scenes_of(pictures: list[Picture]) -> Callable[[np.random.Generator], Picture]:
    return lambda rng: drawn_scene(pictures, int(rng.integers(len(pictures))), rng)


def test_the_same_seed_gives_the_same_pairs() -> None:
    first, again, other = (list(referring_pairs(scenes_of(DISKS), 12, seed)) for seed in (1, 1, 2))
    assert [one.text for one in first] == [one.text for one in again] != [one.text for one in other]
    assert all(np.array_equal(one.mask, two.mask) for one, two in zip(first, again, strict=True))
    assert any(one.mask.any() for one in first)


def test_pictures_of_which_nothing_can_be_said_are_refused() -> None:
    empty = Picture(np.zeros((16, 16), np.float32), np.zeros((16, 16), np.uint8))
    with pytest.raises(LeanSegError, match=r"Nothing clear can be said .* Give some with objects"):
        list(referring_pairs(scenes_of([empty]), 1, 0, absent_fraction=0.0))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"has no text\.csv"):
        read_pictures("monuseg_text:train", tmp_path)


@pytest.mark.data
@pytest.mark.parametrize("part", ["glas:testB", "monuseg_text:val"])
def test_real_pictures_become_pairs(part: str, data_root: Path) -> None:
    pictures = read_pictures(part, data_root)
    assert all(0 <= one.image.min() <= one.image.max() <= 1 for one in pictures)
    pairs = list(referring_pairs(scenes_of(pictures), 5, 0))
    assert len({pair.text for pair in pairs}) > 1 and any(pair.mask.any() for pair in pairs)
    with pytest.raises(LeanSegError):
        read_pictures(f"{part.partition(':')[0]}:nowhere", data_root)
