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
SEQUENCES = ("flair", "t1ce", "t1", "t2")


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
        return self.volumes.get("image", self.volumes)


def built_in(card: ModelCard) -> BuiltIn | None:
    """The case for a model; None where there is none for its kind."""
    if set(card.inputs) <= set(SEQUENCES):
        return BuiltIn("brain", brain_phantom().volumes)
    if card.engine == "text_prompted":
        return BuiltIn("breasts", {"image": story_phantom().image}, PROMPT)
    if card.engine == "referring":
        return BuiltIn("lesions", {"image": scene()[0].image}, SENTENCES[0])
    ultrasound = {"image": ultrasound_phantom("malignant", seed=1).image}
    if card.engine == "question_answering":
        return BuiltIn("ultrasound", ultrasound, QUESTION)
    return BuiltIn("ultrasound", ultrasound) if card.inputs == ("ultrasound",) else None
