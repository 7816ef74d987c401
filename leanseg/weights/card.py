"""ModelCard: the schema of `card.json`, the hinge between training and use."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from leanseg.errors import BundleError, LeanSegError
from leanseg.schema import parse

CARD_FORMAT = 1


@dataclass(frozen=True)
class LabelCard:
    """One label that the model draws."""

    id: str
    name: str
    value: int
    color_rgb: tuple[float, float, float]
    terminology: str


@dataclass(frozen=True)
class PostprocessingCard:
    """How probabilities become labels; chosen on the validation split."""

    threshold: float = 0.5
    min_peak_probability: float = 0.0
    """A component is dropped unless its most probable voxel reaches this."""
    min_area_fraction: float = 0.0
    """A component is dropped unless it covers this fraction of its slice."""
    largest_component: bool = False


@dataclass(frozen=True)
class GraphCard:
    """One exported graph. Input `image` (n, c, height, width), output `probabilities` (n, label, height, width)."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class ModelCard:
    """Everything that use needs to know about a model, and where it comes from."""

    id: str
    system: str
    """Id of the published system in `leanseg.catalog`."""
    title: str
    task: str
    modality: str
    inputs: tuple[str, ...]
    """Names of the images it takes, e.g. `ultrasound`."""
    labels: tuple[LabelCard, ...]
    engine: str
    network: str
    config: dict[str, Any]
    """Constructor values of the network."""
    preprocessing: dict[str, Any]
    """Values of `processing.preprocess.PreprocessingConfig`."""
    postprocessing: PostprocessingCard
    graphs: dict[str, GraphCard]
    """By precision: fp32, int8."""
    weights: GraphCard
    """The safetensors file to train on."""
    parameters: int
    gmacs: float
    """Multiply-accumulates of one slice, in 10^9."""
    temperature: float
    """The logits are divided by this inside the graphs, which calibrates them on the validation split."""
    training: dict[str, Any] = field(default_factory=dict)
    """Recipe, data, splits, seeds, versions, summary of the log."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Measured figures, each group with the command that printed it."""
    license: str = "Apache-2.0"
    data_licenses: tuple[str, ...] = ()
    intended_use: str = "Research only; not for clinical use."
    format: int = CARD_FORMAT

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelCard:
        """`where` names the bundle in errors.

        Raises:
            BundleError: not JSON, a newer format, a missing or unknown key, or a value of the wrong type.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise BundleError(f"The card of {where} is damaged ({error}). Restore the bundle.") from error
        if not isinstance(values, dict):
            raise BundleError(f"The card of {where} is not a JSON object. Restore the bundle.")
        version = values.get("format")
        if isinstance(version, int) and version > CARD_FORMAT:
            raise BundleError(
                f"The bundle {where} has card format {version}; this LeanSeg reads up to {CARD_FORMAT}. Update LeanSeg."
            )
        card: ModelCard = parse_section(cls, values, where)
        if not card.graphs or not card.labels:
            raise BundleError(f"The card of {where} names no graph or no label. Restore the bundle.")
        return card


def parse_section(kind: Any, values: Any, model: str, where: str = "card") -> Any:
    """`values` of a model's card, or of its section `where`, as the dataclass `kind`.

    Raises:
        BundleError: a missing or unknown key, or a value of the wrong type.
    """
    try:
        return parse(kind, values, where)
    except LeanSegError as error:
        raise BundleError(f"The card of {model} cannot be used: {error} Restore the bundle.") from error
