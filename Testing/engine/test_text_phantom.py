import numpy as np
import pytest

from leanseg.text_phantom import KINDS, SLICE_MM, TextPhantomKind, text_phantom

SIZE = (96, 96)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(4))
def test_there_are_as_many_lesions_as_asked_for_and_none_touches_another(kind: TextPhantomKind, number: int) -> None:
    for seed in range(4):
        lesions = text_phantom(kind, seed, number, SIZE).lesions[0]
        assert sorted(np.unique(lesions)) == list(range(number + 1))
        right, below = ((a != b) & (a > 0) & (b > 0) for a, b in _neighbors(lesions))
        assert not right.any() and not below.any()


def _neighbors(labels: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return (labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_image_and_another_one_another(kind: TextPhantomKind) -> None:
    one, again, other = (text_phantom(kind, seed, 2, SIZE) for seed in (3, 3, 4))
    assert np.array_equal(one.image.array, again.image.array) and np.array_equal(one.lesions, again.lesions)
    assert not np.array_equal(one.image.array, other.image.array)


def test_numbers_of_lesions_are_drawn_from_none_to_three() -> None:
    found = [int(text_phantom("mri", seed, shape_ji=SIZE).lesions.max()) for seed in range(40)]
    assert set(found) == {0, 1, 2, 3}


@pytest.mark.parametrize(("kind", "sign"), [("ultrasound", -1), ("mri", 1)])
def test_lesions_are_dark_in_ultrasound_and_bright_in_mri(kind: TextPhantomKind, sign: int) -> None:
    for seed in range(5):
        phantom = text_phantom(kind, seed, 1, SIZE)
        lesion, image = phantom.lesions[0] > 0, phantom.image.array[0, 0].astype(float)
        j, i = np.nonzero(lesion)
        around = np.zeros_like(lesion)
        around[max(j.min() - 4, 0) : j.max() + 5, max(i.min() - 4, 0) : i.max() + 5] = True
        assert sign * (image[lesion].mean() - image[around & ~lesion].mean()) > 10


def test_mri_lies_in_the_patient_as_slicer_shows_it() -> None:
    geometry = text_phantom("mri", shape_ji=SIZE, slices=3).image.geometry
    right_front = geometry.ras_of(np.array([0, 0, 0]))
    left, back, up = (geometry.ras_of(np.eye(3)[axis]) - right_front for axis in range(3))
    assert left[0] < 0 and back[1] < 0 and up[2] == SLICE_MM, "R and A fall along i and j"


def test_a_lesion_of_a_slab_is_smaller_away_from_its_middle() -> None:
    areas = (text_phantom("mri", 1, 1, SIZE, slices=9).lesions > 0).sum(axis=(1, 2))
    largest = int(areas.argmax())
    assert areas[0] < areas[largest] > areas[-1]
    assert (np.diff(areas[: largest + 1]) >= 0).all() and (np.diff(areas[largest:]) <= 0).all()


@pytest.mark.parametrize("number", [-1, 4])
def test_another_number_of_lesions_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"0 to 3; got {number}"):
        text_phantom("mri", lesions=number)
