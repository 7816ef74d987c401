import torch

from leanseg.training.simulated_user import next_clicks


def blank(side: int = 64) -> torch.Tensor:
    return torch.zeros(1, 1, side, side, dtype=torch.bool)


def test_the_first_click_lies_in_the_middle_of_the_lesion_that_was_missed() -> None:
    target = blank()
    target[..., 20:41, 30:51] = True
    click = next_clicks(blank(), target, torch.ones(1, 1, 64, 64))
    assert bool(click.is_made[0]) and bool(click.is_positive[0])
    j, i = click.places[0].tolist()
    assert abs(j - 30) <= 3 and abs(i - 40) <= 3


def test_what_is_too_much_gets_a_negative_click() -> None:
    mask, target = blank(), blank()
    target[..., 5:15, 5:15] = True
    mask[..., 5:15, 5:15] = True
    mask[..., 40:60, 40:60] = True
    click = next_clicks(mask, target, torch.zeros(1, 1, 64, 64))
    assert not bool(click.is_positive[0]) and click.places[0].min() >= 40


def test_the_larger_of_two_errors_comes_first_and_of_equal_ones_that_where_the_network_is_unsure() -> None:
    target, vacuity = blank(), torch.full((1, 1, 64, 64), 0.2)
    target[..., 4:10, 4:10] = True
    target[..., 30:50, 30:50] = True
    assert next_clicks(blank(), target, vacuity).places[0].min() >= 30
    target[..., 30:50, 30:50] = False
    target[..., 30:36, 30:36] = True
    for place, is_first in ((slice(0, 20), True), (slice(20, 64), False)):
        unsure = vacuity.clone()
        unsure[..., place, place] = 0.9
        assert bool(next_clicks(blank(), target, unsure).places[0].max() < 12) == is_first


def test_whoever_sees_nothing_wrong_does_not_click() -> None:
    target = blank()
    target[..., 20:40, 20:40] = True
    assert not bool(next_clicks(target, target, torch.ones(1, 1, 64, 64)).is_made[0])
    almost = target.clone()
    almost[..., 20, 20:22] = False  # 2 of 4096 pixels are 0.0005
    assert not bool(next_clicks(almost, target, torch.ones(1, 1, 64, 64)).is_made[0])


def test_with_a_generator_places_vary_but_stay_on_the_error() -> None:
    target = blank()
    target[..., 10:50, 10:50] = True
    places = set()
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        j, i = next_clicks(blank(), target, torch.ones(1, 1, 64, 64), generator).places[0].tolist()
        assert bool(target[0, 0, j, i])
        places.add((j, i))
    assert len(places) > 3
