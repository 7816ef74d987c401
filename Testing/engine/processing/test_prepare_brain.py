"""What is said of the sequences, apart: what speaks against them, and what was done with them."""

import numpy as np
import pytest

from leanseg.errors import IncompatibleInputError, InferenceCancelled
from leanseg.processing.prepare_brain import prepare_brain
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.processing.brain_phantom import GRID, brain, brains, centered, motion, moved
from Testing.engine.processing.test_brain_extraction import head


def test_sequences_on_one_grid_come_back_as_they_are() -> None:
    sequences = brains()
    prepared = prepare_brain(sequences, "t1")
    assert list(prepared.sequences) == list(sequences)
    assert all(prepared.sequences[name] is volume for name, volume in sequences.items())
    assert (prepared.warnings, prepared.notes) == ((), ())


def test_warnings_are_of_the_images_and_notes_of_what_was_done() -> None:
    other = centered((30, 96, 84), (5, 2, 2))
    prepared = prepare_brain({"flair": brain("t2"), "t2": brain("flair", other)}, "flair")
    (warning,), (note,) = prepared.warnings, prepared.notes
    assert warning.startswith("FLAIR and T2 look exchanged.")
    assert note.startswith("T2 was resampled from 84 x 96 x 30 voxels")
    assert prepared.sequences["t2"].geometry.shape == GRID.shape


def test_a_label_map_is_known_as_such_though_it_is_resampled() -> None:
    grid = centered((30, 96, 84), (5, 2, 2))
    labels = Volume((brain("t1", grid).array > 100).astype(np.uint8), grid)
    assert prepare_brain({"flair": brain("flair"), "t1": labels}, "flair").warnings[0].startswith("T1 has few, whole")


def test_a_stripped_head_is_judged_without_its_skull() -> None:
    with_skull = prepare_brain({"t1": head("t1")}, "t1")
    assert with_skull.warnings[0].startswith("T1: above 0 in more than a brain.") and with_skull.notes == ()
    stripped = prepare_brain({"t1": head("t1")}, "t1", strip_skull=True)
    assert stripped.warnings == () and stripped.notes[0].startswith("The skull was stripped roughly")
    assert np.count_nonzero(stripped.sequences["t1"].array) < np.count_nonzero(with_skull.sequences["t1"].array)


def test_errors_call_sequences_as_a_person_does() -> None:
    far = moved(brain("t1ce"), motion(0, (0, 0, 1), (900, 0, 0)))
    with pytest.raises(IncompatibleInputError, match=r"^T1ce covers 0 % of what FLAIR shows"):
        prepare_brain({"flair": brain("flair"), "t1ce": far}, "flair")
    picture = Volume(brain("t2").array, VolumeGeometry(GRID.shape, GRID.ijk_to_ras, is_calibrated=False))
    with pytest.raises(IncompatibleInputError, match=r"^T2 states no voxel size"):
        prepare_brain({"t2": picture}, "t2")


def test_it_can_be_cancelled() -> None:
    with pytest.raises(InferenceCancelled):
        prepare_brain(brains(), "t1", progress=lambda _done, _total, what: what != "preparing the images")
