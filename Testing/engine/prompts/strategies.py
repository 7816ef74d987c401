"""Any structured prompt, for tests by hypothesis."""

from hypothesis import strategies as st

from leanseg.prompts.structure import (
    HORIZONTALS,
    MARGINS,
    MODALITIES,
    NUMBERS,
    SHAPES,
    SIZES,
    VERTICALS,
    Location,
    StructuredPrompt,
)


def _word_or_nothing(words: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from(("", *words))


LOCATIONS = st.builds(Location, _word_or_nothing(VERTICALS), _word_or_nothing(HORIZONTALS))
PROMPTS = st.builds(
    StructuredPrompt,
    number=_word_or_nothing(NUMBERS),
    shape=_word_or_nothing(SHAPES),
    size=_word_or_nothing(SIZES),
    locations=st.lists(LOCATIONS, max_size=4).map(tuple),
    modality=_word_or_nothing(MODALITIES),
    margin=_word_or_nothing(MARGINS),
)
