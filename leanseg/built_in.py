"""One simulated case for each kind of model: what `leanseg bench` times, and what the demo writes as files."""

from __future__ import annotations

from dataclasses import dataclass

from leanseg.brain_phantom import brain_phantom
from leanseg.demo_references import SENTENCES, scene
from leanseg.demo_texts import PROMPT, story_phantom
from leanseg.phantom import ultrasound_phantom
from leanseg.volume import Volume
from leanseg.weights.card import ModelCard

QUESTION = "Is the mass benign or malignant?"
_ALONE = "image"


@dataclass(frozen=True, eq=False)
class BuiltIn:
    """What a model is given."""

    name: str
    volumes: dict[str, Volume]
    """By sequence, or one alone under `image`"""
    said: str | None = None
    """To a model that is told or asked something"""

    @property
    def image(self) -> Volume | dict[str, Volume]:
        """As `leanseg.segment` takes it."""
        return self.volumes.get(_ALONE, self.volumes)


def built_in(card: ModelCard) -> BuiltIn | None:
    """The case for a model; None where there is none for its kind or its inputs."""
    if card.engine == "text_prompted":
        return BuiltIn("breasts", {_ALONE: story_phantom().image}, PROMPT)
    if card.engine == "referring":
        return BuiltIn("lesions", {_ALONE: scene()[0].image}, SENTENCES[0])
    if card.engine in ("dynamic_slicewise", "sliding_window"):
        sequences = brain_phantom().volumes
        if set(card.inputs) <= set(sequences):
            return BuiltIn("brain", {name: sequences[name] for name in card.inputs})
        return None
    if card.engine == "question_answering" or card.inputs == ("ultrasound",):
        said = QUESTION if card.engine == "question_answering" else None
        return BuiltIn("ultrasound", {_ALONE: ultrasound_phantom("malignant", seed=1).image}, said)
    return None
