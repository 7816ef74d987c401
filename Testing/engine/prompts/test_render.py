import pytest

from leanseg.prompts.render import render, summary
from leanseg.prompts.structure import NOTHING_SAID, Location, StructuredPrompt

UPPER_LEFT, LOWER_RIGHT, MIDDLE_RIGHT = (
    Location("upper", "left"),
    Location("lower", "right"),
    Location("middle", "right"),
)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (
            StructuredPrompt("one", "irregular", "medium", (UPPER_LEFT,)),
            "One irregular mass, medium size, upper left.",
        ),
        (
            StructuredPrompt("two", "round", "small", (LOWER_RIGHT, MIDDLE_RIGHT)),
            "Two round masses, small size, middle right and lower right.",
        ),
        (StructuredPrompt("no"), "No visible tumor."),
        (StructuredPrompt("no", modality="mri"), "No visible tumor, MRI."),
        (NOTHING_SAID, "Tumor."),
        (
            StructuredPrompt("three", locations=(LOWER_RIGHT, MIDDLE_RIGHT, UPPER_LEFT)),
            "Three masses, upper left, middle right and lower right.",
        ),
        (
            StructuredPrompt(margin="indistinct", modality="ultrasound", locations=(Location("upper"),)),
            "Mass, indistinct margin, upper, ultrasound.",
        ),
        (
            StructuredPrompt("two", locations=(Location("upper"), Location("lower", "left"))),
            "Two masses, lower left and upper.",  # "upper and lower left" would be two places on the left
        ),
    ],
)
def test_the_sentence_of_a_prompt(prompt: StructuredPrompt, sentence: str) -> None:
    assert render(prompt) == sentence


def test_the_summary_names_what_is_said_and_nothing_else() -> None:
    prompt = StructuredPrompt("one", "irregular", "medium", (UPPER_LEFT,))
    assert summary(prompt) == "one · irregular · upper left · medium"
    assert summary(StructuredPrompt(margin="smooth", modality="mri")) == "smooth margin · MRI"
    assert summary(NOTHING_SAID) == ""
