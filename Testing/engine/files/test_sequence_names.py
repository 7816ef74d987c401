import pytest

from leanseg.files.sequence_names import sequence_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Brats18_TCIA01_201_1_flair.nii.gz", "flair"),
        ("Brats18_TCIA01_201_1_t1ce.nii.gz", "t1ce"),
        ("BraTS-GLI-00000-000-t1c.nii.gz", "t1ce"),
        ("BraTS-GLI-00000-000-t1n.nii.gz", "t1"),
        ("BraTS-GLI-00000-000-t2w.nii.gz", "t2"),
        ("BraTS-GLI-00000-000-t2f.nii.gz", "flair"),
        ("AX T2 FLAIR FS", "flair"),
        ("Ax T1 +Gd", "t1ce"),
        ("t1_mprage_sag_post", "t1ce"),
        ("SAG MPRAGE", "t1"),
        ("MPRAGE post contrast", "t1ce"),
        ("T1.nrrd", "t1"),
        ("AX T2 TSE", "t2"),
        ("patient_post_op.nii.gz", None),
        ("scan.nii.gz", None),
        ("", None),
        ("cat1.nii.gz", None),
    ],
)
def test_names_and_descriptions_say_which_sequence_it_is(text: str, name: str | None) -> None:
    assert sequence_of(text) == name
