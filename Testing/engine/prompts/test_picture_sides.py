import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanseg.prompts.directions import PictureFrame
from leanseg.prompts.picture_sides import in_words_of_the_patient
from leanseg.prompts.referring_read import read_reference

ULTRASOUND, AXIAL, SAGITTAL = PictureFrame(), PictureFrame("R", "A", "I"), PictureFrame("A", "S", "R")
LEFT_IS_RIGHT = "Left of the picture is the patient's right here, and is read so."


@pytest.mark.parametrize(
    ("text", "of_the_patient"),
    [
        ("mass on the left side of the image", "mass on the right side"),
        ("image left", "right"),
        ("mass, image-left", "mass, right"),
        ("left of the picture", "right"),
        ("viewer's left", "right"),
        ("mass on the viewer’s LEFT", "mass on the right"),
        ("radiological left", "right"),
        ("leftmost lesion in the image", "rightmost lesion"),
        ("upper left quadrant of this picture", "upper right quadrant"),
        ("left upper mass on the screen, small", "right upper mass, small"),
        ("left-hand side of the display", "right-hand side"),
    ],
)
def test_a_side_of_the_picture_becomes_the_patients(text: str, of_the_patient: str) -> None:
    assert in_words_of_the_patient(text, AXIAL) == (of_the_patient, (LEFT_IS_RIGHT,))


def test_both_sides_are_turned_and_told() -> None:
    said, remarks = in_words_of_the_patient("masses left and right in the image", AXIAL)
    assert said == "masses right and left" and len(remarks) == 2


@pytest.mark.parametrize("text", ["left breast mass", "mass, left", "tumor in the image", "large mass upper right"])
def test_words_of_the_patient_stay(text: str) -> None:
    assert in_words_of_the_patient(text, AXIAL) == (text, ())


@pytest.mark.parametrize("text", ["in this image, a mass in the left breast", "left as seen on the screen"])
def test_where_it_is_not_clear_the_reading_is_told(text: str) -> None:
    said, remarks = in_words_of_the_patient(text, AXIAL)
    assert said == text
    assert remarks == ('"left" is read as the patient\'s left, which is right in the picture.',)


def test_in_a_picture_without_a_patient_words_are_the_pictures() -> None:
    assert in_words_of_the_patient("image left", ULTRASOUND) == ("image left", ())


def test_in_a_sagittal_picture_left_is_anterior() -> None:
    said, remarks = in_words_of_the_patient("leftmost lesion in the image", SAGITTAL)
    assert said == "anteriormost lesion" and remarks == ("Left of the picture is anterior here, and is read so.",)


@given(
    st.lists(st.sampled_from([*"lr'-,. ", " left", " right", " image", "viewer's ", " of the ", "most "]), max_size=12)
)
def test_any_text_is_read_and_what_names_no_picture_stays(pieces: list[str]) -> None:
    said, remarks = in_words_of_the_patient("".join(pieces), AXIAL)
    if "image" not in said and "viewer" not in said:
        assert in_words_of_the_patient(said, AXIAL) == (said, ())
    assert remarks or said == "".join(pieces)


@pytest.mark.parametrize("text", ["leftmost lesion in the image", "the lesion furthest to the viewer's left"])
def test_a_sentence_about_one_of_several_means_the_side_of_the_picture(text: str) -> None:
    reading = read_reference(text, AXIAL)
    assert reading.expression is not None and reading.expression.pick.quality == "leftmost"
    assert LEFT_IS_RIGHT in reading.remarks
