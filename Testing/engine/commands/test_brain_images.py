"""`--align` and `--strip-skull` of `leanseg segment`, and what it says about the images."""

from pathlib import Path

import pytest
import SimpleITK as sitk

from leanseg.files.itk import to_image
from leanseg.request import ALIGNMENTS
from leanseg.volume import Volume
from leanseg.weights.bundle import Bundle
from Testing.engine.commands.command_line import Captured, leanseg_main, one_line
from Testing.engine.dynamic_networks import write_dynamic_bundle
from Testing.engine.processing.brain_phantom import brain, centered, motion, moved
from Testing.engine.processing.test_brain_extraction import head


@pytest.fixture
def brain_model(models_folder: Path) -> Bundle:
    """`brains` on LEANSEG_MODELS, beside `tiny`."""
    return write_dynamic_bundle(models_folder / "brains")


def saved(volume: Volume, path: Path) -> Path:
    sitk.WriteImage(to_image(volume.array, volume.geometry), str(path))
    return path


def test_another_grid_is_resampled_to_that_of_the_first_input_and_told(
    brain_model: Bundle, tmp_path: Path, capfd: Captured
) -> None:
    flair = saved(brain("flair"), tmp_path / "flair.nii.gz")
    t2 = saved(brain("t2", centered((30, 96, 84), (5, 2, 2))), tmp_path / "t2.nii.gz")
    output = tmp_path / "out.seg.nrrd"
    assert leanseg_main("segment", "brains", flair, t2, "-o", output) == 0
    notes = capfd.readouterr().err.splitlines()
    assert "leanseg: note: T2 was resampled from 84 x 96 x 30 voxels of 2 x 2 x 5 mm to the 56 x 64 x 50" in notes[0]
    assert len(notes) == 2 and "without t1ce, t1" in notes[1]
    assert sitk.ReadImage(str(output)).GetSize() == (56, 64, 50)


def test_align_rigid_corrects_a_movement_and_tells_how_far(
    brain_model: Bundle, tmp_path: Path, capfd: Captured
) -> None:
    t1 = saved(brain("t1"), tmp_path / "t1.nii.gz")
    t2 = saved(moved(brain("t2"), motion(0, (0, 0, 1), (6, 0, 8))), tmp_path / "t2.nii.gz")
    assert leanseg_main("segment", "brains", t1, t2, "-o", tmp_path / "o.seg.nrrd", "--align", "rigid") == 0
    note = capfd.readouterr().err.splitlines()[0]
    assert note.startswith("leanseg: note: T2 was moved ") and float(note.split()[5]) == pytest.approx(10, abs=0.5)


def test_a_skull_is_told_and_stripped_on_wish(brain_model: Bundle, tmp_path: Path, capfd: Captured) -> None:
    t1 = saved(head("t1"), tmp_path / "t1.nii.gz")
    assert leanseg_main("segment", "brains", t1, "-o", tmp_path / "o.seg.nrrd") == 0
    assert "T1: above 0 in more than a brain." in capfd.readouterr().err
    assert leanseg_main("segment", "brains", t1, "-o", tmp_path / "o.seg.nrrd", "--strip-skull") == 0
    told = capfd.readouterr().err
    assert "above 0 in more" not in told and "The skull was stripped roughly" in told


def test_exchanged_sequences_are_told_and_segmented_all_the_same(
    brain_model: Bundle, tmp_path: Path, capfd: Captured
) -> None:
    flair, t2 = (saved(brain(name), tmp_path / f"{name}.nii.gz") for name in ("flair", "t2"))
    output = tmp_path / "o.seg.nrrd"
    assert leanseg_main("segment", "brains", f"flair={t2}", f"t2={flair}", "-o", output) == 0
    assert "leanseg: note: FLAIR and T2 look exchanged." in capfd.readouterr().err and output.exists()


@pytest.mark.parametrize("option", [["--align", "rigid"], ["--strip-skull"]])
def test_a_model_of_one_image_takes_neither_option(image: Path, out: Path, capfd: Captured, option: list[str]) -> None:
    line = one_line(capfd, "segment", "tiny", image, "-o", out / "o.seg.nrrd", *option)
    assert line == "tiny takes one image, no brain. Leave --align and --strip-skull away."


def test_nothing_is_written_where_the_images_do_not_overlap(
    brain_model: Bundle, tmp_path: Path, capfd: Captured
) -> None:
    t1 = saved(brain("t1"), tmp_path / "t1.nii.gz")
    t2 = saved(moved(brain("t2"), motion(0, (0, 0, 1), (900, 0, 0))), tmp_path / "t2.nii.gz")
    assert "T2 covers 0 % of what T1 shows" in one_line(
        capfd, "segment", "brains", t1, t2, "-o", tmp_path / "o.seg.nrrd"
    )
    assert not (tmp_path / "o.seg.nrrd").exists()


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_the_options_are_those_of_the_engine(name: str, capfd: Captured) -> None:
    with pytest.raises(SystemExit):
        leanseg_main("segment", "--help")
    assert name in capfd.readouterr().out
