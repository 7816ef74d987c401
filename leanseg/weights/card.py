"""ModelCard: the schema of `card.json`, the hinge between training and use."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from leanseg.errors import BundleError, LeanSegError
from leanseg.schema import parse
from leanseg.segmentation import Segment

CARD_FORMAT = 3
"""2 has `engine_config`, which is empty for what format 1 can describe; 3 has `quantization`, None for what 2 can."""


@dataclass(frozen=True)
class FileCard:
    """A file of the bundle."""

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
    labels: tuple[Segment, ...]
    engine: str
    network: str
    config: dict[str, Any]
    """Constructor values of the network."""
    preprocessing: dict[str, Any]
    """Values of `processing.preprocess.PreprocessingConfig`, or of `processing.brain.BrainPreprocessingConfig`."""
    postprocessing: dict[str, Any]
    """Values of `processing.postprocess.PostprocessingConfig`, chosen on the validation split."""
    graphs: dict[str, FileCard]
    """By precision (fp32, int8): `image` (1, c, height, width) -> `probabilities` (1, label, height, width), and of
    newer slice-wise ones `descriptor` (1, d), the mean of the deepest features. Of an engine that runs several graphs
    by `<part>_<precision>`; a part without INT8 runs in fp32 beside the rest."""
    weights: FileCard
    """The safetensors file to train on; of a packed model the codes that its graphs need too."""
    parameters: int
    gmacs: float
    """Multiply-accumulates of one slice, in 10^9; of a network that decides, when it does the most."""
    temperature: float
    """The logits are divided by this inside the graphs, which calibrates them on the validation split."""
    training: dict[str, Any]
    """Recipe, data, splits, seeds, versions, summary of the log."""
    metrics: dict[str, Any]
    """Measured figures, each group with the command that printed it."""
    license: str
    data_licenses: tuple[str, ...]
    intended_use: str
    format: int
    engine_config: dict[str, Any] = field(default_factory=dict)
    """What only this engine needs, e.g. the values of `inference.decisions.DynamicConfig`."""
    quantization: dict[str, Any] | None = None
    """Values of `quantization.config.QuantizationConfig` where the weights are packed: then the graphs are skeletons
    (`runtime/packed_graph.py`). None: the graphs hold their weights."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """In which the model can run."""
        parts, kinds = ({key.rpartition("_")[n] for key in self.graphs} for n in (0, 2))
        fits = [p for p in kinds if all(self._graph_of(part, p) for part in parts)]
        return tuple(sorted(fits))

    def _graph_of(self, part: str, precision: str) -> str:
        """Its key: in this precision, else in fp32, as of the small networks; nothing if there is neither."""
        names = (f"{part}_{p}".lstrip("_") for p in (precision, "fp32"))
        return next((name for name in names if name in self.graphs), "")

    @property
    def tokenizer(self) -> FileCard | None:
        """The file of words of a model that reads text, as its engine names it; None: it reads none.

        Raises:
            BundleError: the entry is not one of a file.
        """
        entry = self.engine_config.get("tokenizer")
        return None if entry is None else parse_section(FileCard, entry, self.id, "card.engine_config.tokenizer")

    def files(self, precision: str) -> dict[str, FileCard]:
        """The graphs that run in a precision, by part; a model of one graph has the part "".

        Raises:
            BundleError: no such precision.
        """
        if precision not in self.precisions:
            raise BundleError(
                f"The model {self.id} has no {precision} graph. Choose one of: {', '.join(self.precisions)}."
            )
        parts = {key.rpartition("_")[0] for key in self.graphs}
        return {part: self.graphs[self._graph_of(part, precision)] for part in sorted(parts)}

    def running_files(self, precision: str) -> list[FileCard]:
        """All files that are needed to run in a precision; raises like `files`."""
        graphs = [*self.files(precision).values()]
        others = (None if self.quantization is None else self.weights, self.tokenizer)
        return [*graphs, *(file for file in others if file is not None)]

    def bytes_of(self, precision: str) -> int:
        """Size of `running_files`; raises like `files`."""
        return sum(file.bytes for file in self.running_files(precision))

    def checksum(self, precision: str) -> str:
        """SHA-256 of the file that runs; of several, that of their checksums in the order of the parts."""
        sums = [file.sha256 for file in self.running_files(precision)]
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"the temperature must be positive; got {self.temperature}.")
        if len({label.value for label in self.labels}) < len(self.labels):
            raise ValueError(f"labels must differ in value; got {[label.value for label in self.labels]}.")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelCard:
        """`where` names the bundle in errors.

        Raises:
            BundleError: not JSON, a newer format, a missing key (there are no defaults) or an unknown one, or a value
                that does not fit.
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
        if version == 1:
            values = {**values, "engine_config": {}}
        if version in (1, 2):
            values = {**values, "format": CARD_FORMAT, "quantization": None}
        card: ModelCard = parse_section(cls, values, where)
        outlines = card.engine != "question_answering"
        if not card.graphs or (outlines and not card.labels):
            raise BundleError(f"The card of {where} names no graph or no label. Restore the bundle.")
        _ = card.tokenizer  # the only file that an engine names: refused here if damaged
        return card


def parse_section(kind: Any, values: Any, model: str, where: str = "card") -> Any:
    """`values` of a model's card, or of its section `where`, as the dataclass `kind`.

    Raises:
        BundleError: a missing or unknown key (there are no defaults), or a value that does not fit.
    """
    try:
        return parse(kind, values, where, complete=True)
    except LeanSegError as error:
        raise BundleError(f"The card of {model} cannot be used: {error} Restore the bundle.") from error
