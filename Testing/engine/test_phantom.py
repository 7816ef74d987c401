import numpy as np
import pytest

from leanseg.phantom import SPACING_MM, Kind, ultrasound_phantom

KINDS: tuple[Kind, ...] = ("benign", "malignant", "normal")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_image_and_another_one_another(kind: Kind) -> None:
    one, again, other = (ultrasound_phantom(kind, seed, shape_ji=(64, 80)) for seed in (3, 3, 4))
    assert np.array_equal(one.image.array, again.image.array) and np.array_equal(one.truth, again.truth)
    assert not np.array_equal(one.image.array, other.image.array)


def test_the_kinds_differ_at_the_same_seed() -> None:
    images = [ultrasound_phantom(kind, 0, shape_ji=(64, 80)).image.array for kind in KINDS]
    assert not np.array_equal(images[0], images[2]) and not np.array_equal(images[1], images[2])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_an_8_bit_image_with_spacing(kind: Kind) -> None:
    phantom = ultrasound_phantom(kind)
    assert phantom.image.array.shape == (1, 1, 256, 300) and phantom.truth.shape == (1, 256, 300)
    assert phantom.image.array.dtype == np.uint8 and phantom.truth.dtype == bool
    assert phantom.image.array.min() < 30 and phantom.image.array.max() == 255, "it uses the whole range"
    assert phantom.image.geometry.is_calibrated
    assert phantom.image.geometry.spacing_kji_mm == pytest.approx((1, SPACING_MM, SPACING_MM))
    assert kind in phantom.name


@pytest.mark.parametrize("kind", ["benign", "malignant"])
@pytest.mark.parametrize("seed", range(3))
def test_the_lesion_is_darker_than_its_surroundings(kind: Kind, seed: int) -> None:
    phantom = ultrasound_phantom(kind, seed)
    truth, image = phantom.truth[0], phantom.image.array[0, 0]
    j, i = np.nonzero(truth)
    beside = np.zeros_like(truth)
    beside[j.min() : j.max() + 1, max(i.min() - 30, 0) : i.max() + 31] = True
    assert image[truth].mean() < 0.7 * image[beside & ~truth].mean()
    assert 0.01 < truth.mean() < 0.2
    assert i.min() > 0 and i.max() < truth.shape[1] - 1 and j.min() > 0 and j.max() < truth.shape[0] - 1


@pytest.mark.parametrize("seed", range(3))
def test_benign_is_wide_with_enhancement_and_malignant_is_taller_with_shadow(seed: int) -> None:
    depth_over_width, behind_over_beside = [], []
    for kind in KINDS[:2]:
        phantom = ultrasound_phantom(kind, seed)
        truth, image = phantom.truth[0], phantom.image.array[0, 0].astype(float)
        j, i = np.nonzero(truth)
        depth_over_width.append(np.ptp(j) / np.ptp(i))
        rows = slice(j.max() + 5, j.max() + 35)
        middle = (i.min() + i.max()) // 2
        behind_over_beside.append(image[rows, middle - 8 : middle + 9].mean() / image[rows, :40].mean())
    benign, malignant = depth_over_width
    assert benign < 0.65 < malignant
    benign, malignant = behind_over_beside
    assert benign > 1 > 0.9 > malignant


def test_normal_has_no_lesion() -> None:
    assert not ultrasound_phantom("normal").truth.any()
    assert not ultrasound_phantom("normal", frames=2, shape_ji=(64, 80)).truth.any()


def test_the_lesion_of_a_clip_moves_a_little_and_keeps_its_size() -> None:
    clip = ultrasound_phantom("benign", seed=2, frames=4)
    assert clip.image.array.shape == (1, 4, 256, 300) and clip.image.geometry.shape == (4, 256, 300)
    centers = np.array([np.argwhere(frame).mean(axis=0) for frame in clip.truth])
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    assert steps.max() < 4 and np.ptp(centers[:, 1]) > 1
    areas = clip.truth.sum(axis=(1, 2))
    assert np.ptp(areas) < 0.05 * areas.mean()
    assert not np.array_equal(clip.image.array[0, 0], clip.image.array[0, 1])
