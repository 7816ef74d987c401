import csv
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from leanseg.errors import LeanSegError, UnknownNameError, UnreadableFileError
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training.data import DATASETS, select_cases
from leanseg.training.data import data_root as find_data_root
from leanseg.training.data.arrays import load_arrays
from leanseg.training.data.case import LESION_CLASSES, Case, check_groups, read_pair

Rows = list[dict[str, str]]
BUSI: Rows = [
    {"file": "normal_1.png", "cls": "normal", "dup_group": "", "split": "train"},
    {"file": "benign_2.png", "cls": "benign", "dup_group": "twins", "split": "train"},
    {"file": "benign_1.png", "cls": "benign", "dup_group": "twins", "split": "train"},
    {"file": "malignant_1.png", "cls": "malignant", "dup_group": "", "split": "val"},
]
BUS_BRA: Rows = [
    {"file": "bus_0002-l.png", "Case": "2", "Pathology": "malignant", "split": "external_test163"},
    {"file": "bus_0001-l.png", "Case": "1", "Pathology": "benign", "split": "train"},
    {"file": "bus_0001-r.png", "Case": "1", "Pathology": "benign", "split": "train"},
]


def write_dataset(root: Path, rows: Rows) -> Path:
    root.mkdir(parents=True)
    with (root / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for n, row in enumerate(rows):
        image = np.random.default_rng(n).integers(0, 120, size=(40, 60), dtype=np.uint8)
        mask = np.zeros((40, 60), np.uint8)
        if "normal" not in row["file"]:
            mask[10 : 20 + n, 15:40] = 255
            image[mask > 0] = 250
        write_pair(root, row["file"], image, mask)
    return root


def write_pair(root: Path, name: str, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    for folder, array in (("images", image), ("masks", mask)):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(root / folder / name))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a tiny BUSI and a tiny BUS-BRA."""
    write_dataset(tmp_path / "busi", BUSI)
    write_dataset(tmp_path / "bus_bra", BUS_BRA)
    return tmp_path


def test_busi_is_read_in_the_order_of_its_names(data: Path) -> None:
    cases = DATASETS["busi"](data / "busi")
    assert [case.id for case in cases] == ["benign_1", "benign_2", "malignant_1", "normal_1"]
    assert [case.lesion_class for case in cases] == ["benign", "benign", "malignant", "normal"]
    assert [case.group for case in cases] == ["twins", "twins", "malignant_1.png", "normal_1.png"]
    assert [case.split for case in cases] == ["train", "train", "val", "train"]
    assert all(case.dataset == "busi" and case.image.is_file() and case.mask.is_file() for case in cases)


def test_bus_bra_groups_the_images_of_a_patient(data: Path) -> None:
    cases = DATASETS["bus_bra"](data / "bus_bra")
    assert [case.id for case in cases] == ["bus_0001-l", "bus_0001-r", "bus_0002-l"]
    assert [case.group for case in cases] == ["1", "1", "2"]
    assert [case.lesion_class for case in cases] == ["benign", "benign", "malignant"]
    assert all(case.dataset == "bus_bra" and case.image.is_file() and case.mask.is_file() for case in cases)


@pytest.mark.parametrize(("name", "rows"), [("busi", BUSI), ("bus_bra", BUS_BRA)])
def test_a_group_in_two_splits_is_refused(tmp_path: Path, name: str, rows: Rows) -> None:
    leaking = [*rows[:-1], rows[-1]]
    leaking[1] = rows[1] | {"split": "val"}
    with pytest.raises(LeanSegError, match=r"Near-duplicates of group '(twins|1)' are in the splits 'val' and 'train'"):
        DATASETS[name](write_dataset(tmp_path / name, leaking))


def test_groups_within_one_split_pass(data: Path) -> None:
    check_groups(DATASETS["busi"](data / "busi"))


@pytest.mark.parametrize("read", [DATASETS[name] for name in ("busi", "bus_bra")])
def test_a_folder_without_an_index_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(UnreadableFileError, match=r"has no index\.csv\. Give the folder of the data set"):
        read(tmp_path)


def test_the_folder_of_another_data_set_is_refused(data: Path) -> None:
    with pytest.raises(UnreadableFileError, match="lacks the columns cls, dup_group, so it is not of busi"):
        DATASETS["busi"](data / "bus_bra")


def test_a_class_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'benign'"):
        DATASETS["busi"](write_dataset(tmp_path / "busi", [BUSI[0] | {"cls": "bening"}]))


def test_parts_select_data_set_split_and_class(data: Path) -> None:
    cases = select_cases(["busi:train", "bus_bra:train"], data, ["benign", "malignant"])
    assert [case.id for case in cases] == ["benign_1", "benign_2", "bus_0001-l", "bus_0001-r"]


def test_a_part_can_be_one_class_and_can_be_named_twice(data: Path) -> None:
    cases = select_cases(["busi:train:benign", "busi:train:benign"], data, LESION_CLASSES)
    assert [case.id for case in cases] == 2 * ["benign_1", "benign_2"]


@pytest.mark.parametrize("part", ["busi:trian", "busi", "busi:train:normal", "busi:train:odd"])
def test_a_part_that_selects_nothing_is_refused(data: Path, part: str) -> None:
    with pytest.raises(LeanSegError, match=rf"'{part}' with classes \['benign'\] selects no case"):
        select_cases([part], data, ["benign"])


def test_a_data_set_that_does_not_exist_suggests_the_nearest(data: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no data set named 'bus_bar'\. Did you mean 'bus_bra'\?"):
        select_cases(["bus_bar:train"], data, LESION_CLASSES)


def test_the_data_folder_is_the_given_one_else_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEANSEG_DATA", str(tmp_path / "environment"))
    assert find_data_root(tmp_path) == tmp_path
    assert find_data_root() == tmp_path / "environment"
    monkeypatch.delenv("LEANSEG_DATA")
    with pytest.raises(LeanSegError, match=r"Set LEANSEG_DATA to it, or give --data DIR"):
        find_data_root()


# ── pixels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pair_is_an_image_and_a_mask_of_0_and_1(data: Path) -> None:
    image, mask = read_pair(DATASETS["busi"](data / "busi")[0])
    assert image.geometry.shape == mask.geometry.shape == (1, 40, 60)
    assert mask.array.dtype == np.uint8 and np.unique(mask.array).tolist() == [0, 1]
    assert mask.array[0, 0, 10, 15] == 1 and mask.array[0, 0, 9, 15] == 0


def test_a_mask_stored_as_color_counts_as_one_channel(data: Path) -> None:
    color = np.zeros((40, 60, 3), np.uint8)
    color[5:9, 5:9] = 255
    case = DATASETS["busi"](data / "busi")[0]
    sitk.WriteImage(sitk.GetImageFromArray(color, isVector=True), str(case.mask))
    assert read_pair(case)[1].array.shape == (1, 1, 40, 60)
    assert read_pair(case)[1].array.sum() == 16


def test_a_mask_of_another_size_is_refused(data: Path) -> None:
    case = DATASETS["busi"](data / "busi")[0]
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((40, 50), np.uint8)), str(case.mask))
    with pytest.raises(LeanSegError, match=r"benign_1: the image is \(1, 40, 60\), its mask \(1, 40, 50\)"):
        read_pair(case)


def test_arrays_are_letterboxed_and_the_mask_stays_on_its_lesion(data: Path) -> None:
    cases = DATASETS["busi"](data / "busi")
    arrays = load_arrays(cases, PreprocessingConfig(size_ji=(32, 32)))
    assert len(arrays) == 4 and arrays.ids == tuple(case.id for case in cases)
    assert arrays.images.shape == arrays.targets.shape == (4, 1, 32, 32)
    assert arrays.images.dtype == torch.float32 and arrays.targets.dtype == torch.uint8
    assert arrays.classes.tolist() == [LESION_CLASSES.index(case.lesion_class) for case in cases]
    assert arrays.images.min() >= 0 and arrays.images.max() <= 1 + 1e-6  # resampling rounds
    assert arrays.targets.amax(dim=(1, 2, 3)).tolist() == [1, 1, 1, 0]
    band = slice(6, 26)  # 60 x 40 becomes 32 x 21, padded to 32 x 32
    assert arrays.images[..., :5, :].max() == arrays.images[..., 26:, :].max() == 0
    assert arrays.images[..., band, :].amin(dim=(1, 2)).mean() > 0
    bright, lesion = arrays.images > 0.7, arrays.targets > 0  # lesions are brighter than anything else
    assert (bright ^ lesion).float().mean() < 0.02
    assert arrays.targets[0].sum() == pytest.approx(12 * 25 * (32 / 60) ** 2, rel=0.15)


def test_no_case_is_refused() -> None:
    with pytest.raises(LeanSegError, match="No case is left to train on"):
        load_arrays([], PreprocessingConfig())


# ── the real data ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["busi", "bus_bra"])
def real_cases(request: pytest.FixtureRequest, data_root: Path) -> list[Case]:
    return DATASETS[request.param](data_root / request.param)


@pytest.mark.data
def test_the_real_data_sets_are_complete(data_root: Path) -> None:
    busi, bus_bra = (DATASETS[name](data_root / name) for name in ("busi", "bus_bra"))
    assert (len(busi), len(bus_bra)) == (701, 500)
    assert Counter(case.split for case in busi) == {"train": 542, "val": 80, "test": 79}
    assert Counter(case.split for case in bus_bra) == {"train": 337, "external_test163": 163}


@pytest.mark.data
def test_no_group_of_the_real_data_crosses_splits(real_cases: list[Case]) -> None:
    splits = defaultdict(set)
    for case in real_cases:
        splits[case.group].add(case.split)
    assert {group: found for group, found in splits.items() if len(found) > 1} == {}
    assert len({case.id for case in real_cases}) == len(real_cases)


@pytest.mark.data
def test_real_cases_are_of_known_classes_and_their_files_exist(real_cases: list[Case]) -> None:
    assert {case.lesion_class for case in real_cases} <= set(LESION_CLASSES)
    assert [case.id for case in real_cases if not (case.image.is_file() and case.mask.is_file())] == []


@pytest.mark.data
def test_real_lesions_have_a_mask_and_normal_images_none(real_cases: list[Case]) -> None:
    chosen = real_cases[::40]
    arrays = load_arrays(chosen, PreprocessingConfig(size_ji=(64, 64)))
    has_mask = arrays.targets.flatten(1).any(1)
    assert torch.equal(has_mask, arrays.classes != LESION_CLASSES.index("normal"))
