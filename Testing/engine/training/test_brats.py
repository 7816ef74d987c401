import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from leanseg.errors import LeanSegError, UnknownNameError, UnreadableFileError
from leanseg.processing.brain import SEQUENCES, BrainPreprocessingConfig
from leanseg.training.data.brats import (
    FOLDS,
    REGIONS,
    BratsCase,
    assign_folds,
    load_pair,
    read_cases,
    read_regions,
    read_sequences,
    regions_of,
    select,
)

SHAPE = (6, 30, 24)
OLD = {"flair": "_flair", "t1ce": "_t1ce", "t1": "_t1", "t2": "_t2", "seg": "_seg"}
NEW = {"flair": "-t2f", "t1ce": "-t1c", "t1": "-t1n", "t2": "-t2w", "seg": "-seg"}


def labels(enhancing: int = 4) -> NDArray[np.uint8]:
    """A box of edema 6 x 6 x 2 around necrosis 4 x 4 x 2 around enhancing tumor 2 x 2 x 2."""
    array = np.zeros(SHAPE, np.uint8)
    array[2:4, 10:16, 8:14] = 2
    array[2:4, 11:15, 9:13] = 1
    array[2:4, 12:14, 10:12] = enhancing
    return array


def write_case(folder: Path, names: dict[str, str] = OLD, enhancing: int = 4, ending: str = ".nii.gz") -> Path:
    """`folder` is called like the case."""
    folder.mkdir(parents=True)
    inside = np.zeros(SHAPE, bool)
    inside[1:5, 3:27, 2:22] = True
    for n, (what, suffix) in enumerate(names.items()):
        gray = np.random.default_rng(n).integers(1, 200, SHAPE) * inside
        image = sitk.GetImageFromArray(labels(enhancing) if what == "seg" else gray.astype(np.int16))
        image.SetOrigin((0, -239, 0))
        sitk.WriteImage(image, str(folder / f"{folder.name}{suffix}{ending}"))
    return folder


# ── which cases there are ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("case", "names", "ending"),
    [
        ("Brats18_TCIA01_201_1", OLD, ".nii.gz"),
        ("BraTS20_Training_001", OLD, ".nii"),
        ("BraTS2021_00000", OLD, ".nii.gz"),
        ("BraTS-GLI-00000-000", NEW, ".nii.gz"),
    ],
)
def test_every_year_is_found_by_its_file_names(tmp_path: Path, case: str, names: dict[str, str], ending: str) -> None:
    write_case(tmp_path / "MICCAI" / case, names, ending=ending)
    (tmp_path / "MICCAI" / "name_mapping.csv").touch()
    (found,) = read_cases(tmp_path)
    assert found.id == case and found.split == "train" and tuple(found.sequences) == SEQUENCES
    for name in SEQUENCES:
        assert found.sequences[name].name == f"{case}{names[name]}{ending}"
    assert found.truth is not None and found.truth.name == f"{case}{names['seg']}{ending}"


def test_the_grade_is_that_of_the_folder_above(tmp_path: Path) -> None:
    write_case(tmp_path / "LGG" / "a")
    write_case(tmp_path / "HGG" / "b")
    write_case(tmp_path / "c")
    assert [case.grade for case in read_cases(tmp_path)] == ["LGG", "HGG", ""]


def test_a_case_without_truth_is_unlabeled_and_one_without_a_sequence_passes(tmp_path: Path) -> None:
    write_case(tmp_path / "a", {name: OLD[name] for name in ("t1", "t2")})
    (found,) = read_cases(tmp_path)
    assert found.split == "unlabeled" and found.truth is None and tuple(found.sequences) == ("t1", "t2")
    with pytest.raises(LeanSegError, match="a has no <case>_seg file"):
        read_regions(found)


def test_time_points_of_a_patient_share_group_and_fold(tmp_path: Path) -> None:
    for case in ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000"):
        write_case(tmp_path / case, {"t1": NEW["t1"], "seg": NEW["seg"]})
    cases = read_cases(tmp_path)
    assert [case.group for case in cases] == ["BraTS-GLI-00001", "BraTS-GLI-00001", "BraTS-GLI-00002"]
    assert [case.fold for case in cases] == [0, 0, 1]


def test_the_index_gives_split_grade_and_report(tmp_path: Path) -> None:
    write_case(tmp_path / "a")
    write_case(tmp_path / "b")
    facts = {"grade": "HGG", "split": "val", "report": "Left parietal.", "brats20_id": "x"}
    (tmp_path / "cases.json").write_text(json.dumps({"a": facts, "b": {"grade": "LGG", "split": "train"}}))
    a, b = read_cases(tmp_path)
    assert (a.split, a.grade, a.report) == ("val", "HGG", "Left parietal.")
    assert (b.split, b.grade, b.report) == ("train", "LGG", "")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"a": {}, "b": {}}, "1 case.* b is only in cases.json. Complete them"),
        ({}, "1 case.* a is only in the folder. Complete them"),
        (["a"], "must hold {case: {grade, split, report}}"),
        ({"a": "HGG"}, "must hold {case: {grade, split, report}}"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(tmp_path: Path, index: object, message: str) -> None:
    write_case(tmp_path / "a")
    (tmp_path / "cases.json").write_text(json.dumps(index))
    with pytest.raises(UnreadableFileError, match=message):
        read_cases(tmp_path)


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    write_case(tmp_path / "a")
    (tmp_path / "cases.json").write_text("{")
    with pytest.raises(UnreadableFileError, match=r"cases\.json is not JSON"):
        read_cases(tmp_path)


def test_a_folder_without_cases_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"holds no file named as <case>_flair\.nii\.gz"):
        read_cases(tmp_path)


def test_one_case_in_two_folders_is_refused(tmp_path: Path) -> None:
    write_case(tmp_path / "one" / "a")
    write_case(tmp_path / "two" / "a")
    with pytest.raises(LeanSegError, match=r"are the same sequence of one case\. Remove or rename one"):
        read_cases(tmp_path)


# ── folds and parts ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_folds_follow_from_grade_and_name_alone() -> None:
    cases = {f"h{n}": ("HGG", f"h{n}") for n in range(5)} | {f"l{n}": ("LGG", f"l{n}") for n in range(3)}
    expected = {"h0": 0, "h1": 1, "h2": 2, "h3": 3, "h4": 0, "l0": 1, "l1": 2, "l2": 3}
    assert assign_folds(cases) == assign_folds(dict(reversed(cases.items()))) == expected


def cases_of_folds() -> list[BratsCase]:
    cases = [BratsCase(f"c{n}", {}, Path("seg"), "val" if n == 7 else "train", f"c{n}", n % FOLDS) for n in range(8)]
    return [*cases, BratsCase("new", {}, None, "unlabeled", "new", 0)]


def test_a_fold_and_the_rest_are_all_that_has_a_truth() -> None:
    cases = cases_of_folds()
    for fold in range(FOLDS):
        tested, trained = select(cases, f"fold{fold}"), select(cases, f"without_fold{fold}")
        assert [case.id for case in tested] == [f"c{fold}", f"c{fold + 4}"]
        assert sorted(case.id for case in tested + trained) == [f"c{n}" for n in range(8)]


def test_parts_by_split() -> None:
    cases = cases_of_folds()
    assert [case.id for case in select(cases, "val")] == ["c7"]
    assert [case.id for case in select(cases, "unlabeled")] == ["new"]
    assert len(select(cases, "train")) == 7 and len(select(cases, "all")) == 9


def test_a_part_that_does_not_exist_or_is_empty_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no part of brats named 'fold4'\. Did you mean 'fold"):
        select(cases_of_folds(), "fold4")
    with pytest.raises(LeanSegError, match="'val' of brats selects no case"):
        select(cases_of_folds()[:3], "val")


# ── voxels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("enhancing", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_regions_are_nested_and_the_same_in_both_codings(enhancing: int, dtype: str) -> None:
    regions = regions_of(labels(enhancing)[np.newaxis].astype(dtype))
    assert REGIONS == ("WT", "TC", "ET") and regions.dtype == np.uint8
    assert regions.sum(axis=(1, 2, 3)).tolist() == [72, 32, 8]
    assert (regions[0] >= regions[1]).all() and (regions[1] >= regions[2]).all()
    np.testing.assert_array_equal(regions[0], labels() > 0)
    np.testing.assert_array_equal(regions[1], np.isin(labels(), (1, 4)))
    np.testing.assert_array_equal(regions[2], labels() == 4)


def test_edema_alone_is_whole_tumor_only() -> None:
    regions = regions_of(np.full((1, 1, 2, 2), 2, np.uint8))
    assert regions.sum(axis=(1, 2, 3)).tolist() == [4, 0, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 3, 4], "labels 3 and 4, as BraTS 2013 and 2024"),
        ([0, 5], r"labels \[0\.0, 5\.0\]; BraTS has 0, 1, 2 and 4"),
    ],
)
def test_labels_of_another_coding_are_refused(values: list[int], message: str) -> None:
    with pytest.raises(LeanSegError, match=message):
        regions_of(np.array(values, np.uint8).reshape(1, 1, 1, -1))


@pytest.mark.parametrize(("names", "enhancing"), [(OLD, 4), (NEW, 3)])
def test_a_case_is_read_as_named_sequences_and_regions_on_one_grid(
    tmp_path: Path, names: dict[str, str], enhancing: int
) -> None:
    write_case(tmp_path / "a", names, enhancing)
    (case,) = read_cases(tmp_path)
    sequences, regions = read_sequences(case), read_regions(case)
    assert tuple(sequences) == SEQUENCES
    for n, name in enumerate(names):
        if name != "seg":
            np.testing.assert_array_equal(
                sequences[name].array[0, 1:5, 3:27, 2:22],
                np.random.default_rng(n).integers(1, 200, SHAPE)[1:5, 3:27, 2:22],
            )
    np.testing.assert_array_equal(regions.array, regions_of(labels()[np.newaxis]))
    assert regions.geometry.is_close_to(sequences["t1"].geometry)


def test_the_regions_follow_the_images_to_the_model_grid(tmp_path: Path) -> None:
    write_case(tmp_path / "a")
    (case,) = read_cases(tmp_path)
    model_input, regions = load_pair(case, BrainPreprocessingConfig(size_ji=(32, 32)))
    assert model_input.volume.array.shape == (4, 4, 32, 32) and regions.shape == (3, 4, 32, 32)
    assert regions.dtype == np.uint8 and regions.sum(axis=(1, 2, 3)).tolist() == [72, 32, 8]
    back = model_input.trace.restore(model_input.volume.with_array(regions))
    np.testing.assert_array_equal(back.array, read_regions(case).array)


def test_a_truth_on_another_grid_is_refused(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "a")
    sitk.WriteImage(sitk.GetImageFromArray(labels()), str(folder / "a_seg.nii.gz"))  # at another origin
    (case,) = read_cases(tmp_path)
    with pytest.raises(LeanSegError, match="a: the truth lies on another grid than the images"):
        load_pair(case, BrainPreprocessingConfig(size_ji=(32, 32)))


def test_the_reader_does_without_torch() -> None:
    code = "import sys, leanseg.training.data.brats; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=120, check=False).returncode == 0


# ── the real data ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def real_cases(data_root: Path) -> list[BratsCase]:
    if not (data_root / "brats18").is_dir():
        pytest.skip(f"no BraTS: {data_root / 'brats18'} does not exist; set LEANSEG_DATA")
    return read_cases(data_root / "brats18")


@pytest.mark.data
def test_the_real_cases_are_complete(real_cases: list[BratsCase]) -> None:
    assert Counter(case.split for case in real_cases) == {"train": 14, "val": 2}
    assert Counter(case.grade for case in real_cases) == {"HGG": 13, "LGG": 3}
    assert all(tuple(case.sequences) == SEQUENCES and case.truth and case.report for case in real_cases)
    assert len({case.group for case in real_cases}) == 16


@pytest.mark.data
def test_real_folds_are_of_four_cases_and_share_out_low_grades(real_cases: list[BratsCase]) -> None:
    folds = [select(real_cases, f"fold{n}") for n in range(FOLDS)]
    assert [len(fold) for fold in folds] == [4, 4, 4, 4]
    assert [sum(case.grade == "LGG" for case in fold) for fold in folds] == [0, 1, 1, 1]
    assert [case.id for case in folds[0]] == [
        "Brats18_2013_11_1",
        "Brats18_CBICA_ABM_1",
        "Brats18_TCIA01_425_1",
        "Brats18_TCIA03_265_1",
    ]


@pytest.mark.data
def test_a_real_tumor_lies_in_the_brain_and_comes_back_voxel_by_voxel(real_cases: list[BratsCase]) -> None:
    case = real_cases[0]
    model_input, regions = load_pair(case, BrainPreprocessingConfig())
    assert model_input.volume.array.shape[2:] == (192, 160) and model_input.presence == (True,) * 4
    assert 1000 < model_input.brain_ml < 1900 and model_input.looks_skull_stripped
    whole = regions[0] > 0
    assert (model_input.volume.array[:, whole] != 0).any(axis=0).mean() > 0.999  # a tumor voxel may be black
    flair, _, t1, _ = (channel[whole].mean() for channel in model_input.volume.array)
    assert flair > 0.5 > t1  # edema is bright in FLAIR and dark in T1
    back = model_input.trace.restore(model_input.volume.with_array(regions))
    np.testing.assert_array_equal(back.array, read_regions(case).array)
    assert back.array.sum(axis=(1, 2, 3)).tolist() == [139257, 65516, 19677]
