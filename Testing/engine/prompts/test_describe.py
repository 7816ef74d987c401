import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.prompts.describe import components_named, describe, fits
from leanseg.prompts.structure import NOTHING_SAID, Location, StructuredPrompt

Mask = NDArray[np.bool_]


def ellipse(center_ji: tuple[float, float], half_ji: tuple[float, float], size: int = 180) -> Mask:
    j, i = np.mgrid[:size, :size]
    return np.asarray(((j - center_ji[0]) / half_ji[0]) ** 2 + ((i - center_ji[1]) / half_ji[1]) ** 2 <= 1)


def disk(j: float, i: float, radius: float) -> Mask:
    return ellipse((j, i), (radius, radius))


def cross(j: int, i: int, arm: int) -> Mask:
    mask = np.zeros((180, 180), bool)
    mask[j - arm : j + arm + 1, i - 2 : i + 3] = True
    mask[j - 2 : j + 3, i - arm : i + arm + 1] = True
    return mask


SMALL_LEFT, BIG_RIGHT, MIDDLE = disk(30, 30, 6), disk(150, 150, 20), disk(90, 90, 6)


def test_an_empty_mask_has_no_mass_and_specks_do_not_count() -> None:
    speck = np.zeros((180, 180), bool)
    speck[:3, :3] = True  # 9 pixels
    assert describe(speck) == describe(np.zeros_like(speck)) == StructuredPrompt("no")
    speck[3, 3] = True  # the tenth, at a corner
    assert describe(speck).number == "one"


@pytest.mark.parametrize(("count", "number"), [(1, "one"), (2, "two"), (3, "three"), (4, "several"), (6, "several")])
def test_masses_are_counted(count: int, number: str) -> None:
    masks = [disk(25 + 60 * (n // 3), 25 + 60 * (n % 3), 8) for n in range(count)]
    described = describe(np.logical_or.reduce(masks))
    assert described.number == number
    assert len(described.locations) == (count if count <= 3 else 0)


@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        (disk(90, 90, 30), "round"),
        (disk(90, 90, 5), "round"),
        (ellipse((90, 90), (20, 24)), "round"),  # 1.2 : 1
        (ellipse((90, 90), (20, 40)), "oval"),  # 2 : 1 has circularity 0.84, but is not round
        (ellipse((90, 90), (12, 36)), "oval"),  # 3 : 1 has 0.66
        (ellipse((90, 90), (10, 50)), "irregular"),  # 5 : 1 has 0.45
        (cross(90, 90, 30), "irregular"),
    ],
)
def test_shape_is_by_circularity_and_elongation(mask: Mask, shape: str) -> None:
    assert describe(mask).shape == shape


def test_shape_is_that_of_the_largest_mass() -> None:
    assert describe(disk(30, 30, 20) | cross(140, 140, 12)).shape == "round"


def test_size_is_the_area_of_all_masses_in_the_organ() -> None:
    mask = np.zeros((100, 100), bool)
    mask[:9, :11] = True  # 99 of 10 000 pixels
    assert describe(mask).size == "small"
    mask[50, 50:60] = True  # 109
    assert describe(mask).size == "medium"
    organ = np.zeros_like(mask)
    organ[:60, :40] = True  # 109 of 2 400 are 4.5 %
    assert describe(mask, organ).size == "large"


def test_places_are_those_of_the_grid_over_the_organ() -> None:
    assert describe(SMALL_LEFT | BIG_RIGHT).locations == (Location("upper", "left"), Location("lower", "right"))
    organ = np.zeros_like(MIDDLE)
    organ[80:180, 0:100] = True  # in it, row 90 is the first tenth and column 90 the last
    assert describe(MIDDLE, organ).locations == (Location("upper", "right"),)
    assert describe(MIDDLE, modality="mri") == StructuredPrompt(
        "one", "round", "small", (Location("middle", "central"),), "mri"
    )


def test_the_named_component_is_kept() -> None:
    both = SMALL_LEFT | BIG_RIGHT
    left, right = (StructuredPrompt(locations=(Location("", side),)) for side in ("left", "right"))
    assert (components_named(both, left) == SMALL_LEFT).all()
    assert (components_named(both, right) == BIG_RIGHT).all()
    assert (components_named(both, NOTHING_SAID) == both).all()
    assert not components_named(both, StructuredPrompt("no")).any()
    assert not components_named(both, StructuredPrompt(locations=(Location("upper", "right"),))).any()
    assert not components_named(np.zeros_like(both), left).any()


def test_a_place_means_its_cell_before_its_half() -> None:
    near_left, far_left = disk(90, 80, 8), disk(90, 20, 8)  # at 0.45 and 0.11 of the width
    left = StructuredPrompt(locations=(Location("", "left"),))
    assert (components_named(near_left | far_left, left) == far_left).all()
    assert (components_named(near_left | BIG_RIGHT, left) == near_left).all()


@pytest.mark.parametrize(
    ("prompt", "kept"),
    [
        (StructuredPrompt("one", size="large"), BIG_RIGHT),
        (StructuredPrompt("one", size="small"), SMALL_LEFT),
        (StructuredPrompt("one", size="medium"), SMALL_LEFT | BIG_RIGHT),
        (StructuredPrompt(size="large"), SMALL_LEFT | BIG_RIGHT),  # says how large they are, not which one
        (StructuredPrompt("two", size="large"), SMALL_LEFT | BIG_RIGHT),
    ],
)
def test_one_large_mass_singles_out_the_largest(prompt: StructuredPrompt, kept: Mask) -> None:
    assert (components_named(SMALL_LEFT | BIG_RIGHT, prompt) == kept).all()


def test_nothing_is_singled_out_of_equal_masses_but_by_shape() -> None:
    round_one, jagged = disk(30, 30, 14), cross(140, 140, 26)
    assert (components_named(disk(30, 30, 9) | disk(150, 150, 10), StructuredPrompt("one", size="large"))).sum() == (
        disk(30, 30, 9) | disk(150, 150, 10)
    ).sum()
    assert (components_named(round_one | jagged, StructuredPrompt("one", "irregular")) == jagged).all()


@pytest.mark.parametrize(
    ("prompt", "true"),
    [
        (StructuredPrompt("no"), False),
        (NOTHING_SAID, True),
        (StructuredPrompt("one", locations=(Location("upper", "left"),)), True),
        (StructuredPrompt("one", locations=(Location("upper", "right"),)), False),
        (StructuredPrompt("two", locations=(Location("upper", "left"),)), False),
        (StructuredPrompt("two", locations=(Location("upper", "left"), Location("lower", "right"))), True),
        (StructuredPrompt("three"), False),
        (StructuredPrompt("one", size="large", locations=(Location("upper", "left"),)), False),
        (StructuredPrompt("one", size="medium", locations=(Location("upper", "left"),)), True),  # not clearly wrong
        (StructuredPrompt(shape="spiculated"), False),
        (StructuredPrompt(shape="oval"), True),
    ],
)
def test_only_what_is_clearly_wrong_does_not_fit(prompt: StructuredPrompt, true: bool) -> None:
    assert fits(SMALL_LEFT | BIG_RIGHT, prompt) is true


def test_of_an_empty_mask_only_no_is_true() -> None:
    empty = np.zeros((20, 20), bool)
    assert fits(empty, StructuredPrompt("no")) and not fits(empty, NOTHING_SAID)


def test_the_description_of_a_mask_fits_it_and_names_all_of_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(15):
        mask = np.zeros((180, 180), bool)
        for _ in range(rng.integers(1, 5)):
            mask |= ellipse(tuple(rng.uniform(20, 160, 2)), tuple(rng.uniform(4, 20, 2)))
        prompt = describe(mask)
        assert fits(mask, prompt)
        assert (components_named(mask, prompt) == mask).all()
