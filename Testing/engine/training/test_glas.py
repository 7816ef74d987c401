from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from leanseg.errors import UnreadableFileError
from leanseg.training.data import DATASETS, LICENSES, select_cases
from leanseg.training.data.case import LESION_CLASSES, read_pair


def write_glas(root: Path, names: tuple[str, ...]) -> Path:
    """Purple glands on pink."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    mask = np.zeros((20, 30), np.uint8)
    mask[5:12, 5:15] = 255
    image = np.where(mask[..., None] > 0, (120, 60, 160), (240, 180, 210)).astype(np.uint8)
    for name in names:
        sitk.WriteImage(sitk.GetImageFromArray(image, isVector=True), root / "images" / f"{name}.png")
        sitk.WriteImage(sitk.GetImageFromArray(mask), root / "masks" / f"{name}.png")
    return root


def test_splits_and_numbers_are_in_the_names(tmp_path: Path) -> None:
    folder = write_glas(tmp_path / "glas", ("train_2", "train_10", "testA_1", "testB_3"))
    (folder / "images" / "Thumbs.db").touch()
    cases = DATASETS["glas"](folder)
    assert [case.id for case in cases] == ["train_2", "train_10", "testA_1", "testB_3"]
    assert [case.id for case in select_cases(["glas:testB"], tmp_path, LESION_CLASSES)] == ["testB_3"]
    assert "research only" in LICENSES["glas"]


def test_stained_sections_are_read_as_their_luminance(tmp_path: Path) -> None:
    (case,) = DATASETS["glas"](write_glas(tmp_path, ("train_1",)))
    image, mask = read_pair(case)
    assert image.array.shape == mask.array.shape == (1, 1, 20, 30)
    assert image.array[0, 0, 0, 0] == pytest.approx(0.299 * 240 + 0.587 * 180 + 0.114 * 210)
    assert image.array[0, 0, 8, 8] == pytest.approx(0.299 * 120 + 0.587 * 60 + 0.114 * 160)
    assert mask.array.sum() == 7 * 10


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"has no images named train_1, .*Give the folder of GlaS"):
        DATASETS["glas"](tmp_path)


def test_an_image_without_its_mask_is_named(tmp_path: Path) -> None:
    folder = write_glas(tmp_path, ("train_1", "train_2"))
    (folder / "masks" / "train_2.png").unlink()
    with pytest.raises(UnreadableFileError, match=r"no mask .*train_2\.png of train_2\.png"):
        DATASETS["glas"](folder)


@pytest.mark.data
def test_the_real_folder_has_85_60_and_20_images(data_root: Path) -> None:
    splits = [case.split for case in DATASETS["glas"](data_root / "glas")]
    assert [splits.count(split) for split in ("train", "testA", "testB")] == [85, 60, 20]
