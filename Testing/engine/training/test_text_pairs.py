import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training.data.arrays import BRATS_FOLDER
from leanseg.training.data.text_pairs import TextPairs, load_text_pairs, read_text_cases
from leanseg.training.recipe import Recipe
from leanseg.training.text_recipe import TextConfig
from Testing.engine.training.test_brats import write_case
from Testing.engine.training.test_data import BUSI, write_dataset
from Testing.engine.training.text_pictures import square_pairs

RECIPE = Recipe(
    id="small",
    system="text_bcs",
    network="text_bcs",
    preprocessing=PreprocessingConfig(size_ji=(48, 48)),
    text=TextConfig(per_part=5),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder / "busi", BUSI)
    write_case(folder / BRATS_FOLDER / "a")
    facts = {"a": {"grade": "HGG", "split": "train", "report": "Mass in the left frontal lobe, anterior."}}
    (folder / BRATS_FOLDER / "cases.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def test_ultrasound_is_letterboxed_and_words_refer_to_the_picture_without_padding(data: Path) -> None:
    pairs = load_text_pairs(("busi:train",), data, RECIPE)
    assert pairs.images.shape == (3, 1, 48, 48) and pairs.images.dtype == torch.float16
    assert (
        pairs.classes.tolist().count(0) == 1 and set(pairs.modalities) == {"ultrasound"} and set(pairs.reports) == {""}
    )
    # 40 x 60 pixels become 32 x 48: 8 rows of padding above and below.
    organ = pairs.organs[0, 0]
    assert organ[8:40].all() and not organ[:8].any() and not organ[40:].any()
    assert not pairs.targets[:, 0, :8].any()


def test_reports_of_brains_are_put_into_words_of_the_picture(data: Path) -> None:
    pairs = load_text_pairs(("brats:train",), data, RECIPE)
    assert set(pairs.reports) == {"Mass in the right frontal lobe, upper."}
    assert set(pairs.modalities) == {"mri"} and {name.split("/")[2] for name in pairs.ids} == {"flair", "t2", "t1ce"}
    flair = load_text_pairs(("brats:train:flair",), data, RECIPE)
    assert flair.ids == ("brats/a/flair",) and 3 * len(flair) == len(pairs)
    assert (flair.targets.flatten(1).any(dim=1).long() == flair.classes).all()


def test_phantoms_are_as_large_as_the_network_sees_them(data: Path) -> None:
    cases = list(itertools.islice(read_text_cases("text_phantom:val", data, phantom_size_ji=(48, 64)), 4))
    assert [case.modality for case in cases] == ["ultrasound", "mri"] * 2
    assert all(case.image.geometry.shape == (1, 48, 64) for case in cases)
    assert all(np.array_equal(case.truth, case.lesions > 0) for case in cases if case.lesions is not None)


def test_an_epoch_draws_at_most_so_many_of_each_part_and_others_each_time() -> None:
    pairs: TextPairs = replace(square_pairs(40), per_part=8)
    assert pairs.drawn(1.0) == 16
    orders = [pairs.order(1.0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1]) and set(orders[0].tolist()) != set(orders[2].tolist())
    assert all(len(set(order.tolist())) == 16 and (pairs.parts[order] == 0).sum() == 8 for order in orders)
    empty = pairs.classes[replace(pairs, per_part=40).order(0.0, torch.Generator().manual_seed(0))] == 0
    assert not empty.any() and len(empty) == 30


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("bussi:train", "data set"),
        ("brats:train:flare", "sequence"),
        ("text_phantom:trian", "split of text_phantom"),
        ("text_phantom:val:ct", "kind of text_phantom"),
    ],
)
def test_unknown_names_are_named(data: Path, part: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        load_text_pairs((part,), data, RECIPE)


def test_breastdm_is_refused_for_training(data: Path) -> None:
    with pytest.raises(LeanSegError, match="for evaluation only; got 'breastdm:train'"):
        load_text_pairs(("breastdm:train",), data, RECIPE)


def test_a_recipe_without_text_is_refused(data: Path) -> None:
    recipe = Recipe(id="none", system="t2kd_attention_unet", network="attention_unet")
    with pytest.raises(LeanSegError, match=r"none has no section \[text\]"):
        load_text_pairs(("busi:train",), data, recipe)


def test_of_phantoms_with_several_lesions_each_has_two_or_three(data: Path) -> None:
    cases = itertools.islice(read_text_cases("text_phantom:val:mri+several", data, phantom_size_ji=(96, 96)), 6)
    numbers = [len(np.unique(case.lesions)) - 1 for case in cases if case.lesions is not None]
    assert numbers == [2, 3] * 3
