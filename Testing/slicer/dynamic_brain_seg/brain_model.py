"""A model whose every answer can be computed by hand, in the engine that runs the real ones.

Of the phantom, it finds the whole tumor where FLAIR is bright, the core where T1 is dark there, and what enhances where
T1ce is bright. Slices without tumor are skipped, those with less than SMALL pixels of it are cropped.

The limits are half way between the two tissues, so that an edge stays in its place where images are resampled; the
z-scores vary, because a resampled image may hold zeros at the rim of what counts as brain.
"""

from types import SimpleNamespace
from unittest import mock

import numpy as np

import leanseg
from leanseg.processing.brain import SEQUENCES, BrainPreprocessingConfig
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.segmentation import Segment

SIZE, CROP = (64, 56), (24, 24)
BRIGHT = 2.4  # z-score of FLAIR: 4.8 to 5.4 in the tumor, 0 around it
DARK = -1.1  # of T1: -2.2 to -2.8 in the core, 0.1 around it
ENHANCING = 3.1  # of T1ce: 7.9 to 10 in what enhances, -2.1 to -2.8 around it
SMALL = 60  # pixels
YES, NO = 0.95, 0.02
DECISION_GMACS, POSITION_GMACS, CROP_GMACS, WHOLE_GMACS = 0.001, 0.002, 0.1, 0.7
LABELS = (
    Segment("ED", "Edema (ED)", 2, (0.9, 0.8, 0.3), "category~SCT^79654002^Edema"),
    Segment("NCR", "Necrosis (NCR)", 1, (0.8, 0.3, 0.3), "category~SCT^6574001^Necrosis"),
    Segment("ET", "Enhancing tumor (ET)", 3, (0.4, 0.6, 0.9), "category~NCIt^C113842^Enhancing Lesion"),
)


def tumor(image):
    """(n, 4, j, i) z-scores -> (n, 3, j, i) bool: WT, TC, ET."""
    flair, t1ce, t1, _t2 = np.moveaxis(image, 1, 0)
    return np.stack([flair > BRIGHT, (flair > BRIGHT) & (t1 < DARK), t1ce > ENHANCING], axis=1)


class Decide:
    """Skip, crop or whole, by the number of pixels in the tumor."""

    runtime = "by hand"

    def __call__(self, inputs):
        count = tumor(inputs["image"]).any(axis=1).sum(axis=(1, 2))
        wanted = np.where(count == 0, 0, np.where(count < SMALL, 1, 2))
        return {"decision_logits": 10 * np.eye(3, dtype=np.float32)[wanted]}


class Locate:
    """The crop has the tumor in its middle."""

    runtime = "by hand"

    def __call__(self, inputs):
        position = np.full((len(inputs["image"]), 1, 2), 0.5, np.float32)
        for n, mask in enumerate(tumor(inputs["image"]).any(axis=1)):
            if mask.any():
                corner = np.argwhere(mask).mean(axis=0) - np.array(CROP) / 2
                position[n, 0] = np.clip(corner / np.subtract(SIZE, CROP), 0, 1)
        return {"position": position}


class Segmenter:
    """Counts the slices that it is given, the filling of a batch not."""

    runtime = "by hand"

    def __init__(self):
        self.slices = 0

    def __call__(self, inputs):
        image = inputs["image"]
        self.slices += int(image.any(axis=(1, 2, 3)).sum())
        return {
            "probabilities": np.where(tumor(image), YES, NO).astype(np.float32),
            "bits": np.full((len(image), 1), 8, np.int64),
        }


def model():
    """Ready to run; `engine.graphs["whole"].slices` counts."""
    from leanseg.api import Model
    from leanseg.inference.decisions import BranchConfig, DynamicConfig
    from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine

    config = DynamicConfig(
        branches=(
            BranchConfig("crop_24", "crop", CROP, (40_000_000,), 60_000_000),
            BranchConfig("whole", "whole", SIZE, (300_000_000,), 400_000_000),
        ),
        regions=("WT", "TC", "ET"),
        decision_macs=1_000_000,
        position_macs=2_000_000,
        outside=(0.001, 0.001, 0.001),
    )
    graphs = {"decision": Decide(), "position": Locate(), "crop_24": Segmenter(), "whole": Segmenter()}
    card = SimpleNamespace(
        id="by_hand", inputs=SEQUENCES, labels=LABELS, engine="dynamic_slicewise", precisions=("fp32",), gmacs=0.7
    )
    return Model(
        SimpleNamespace(card=card),
        DynamicSlicewiseEngine(graphs, config),
        "cpu",
        "fp32",
        BrainPreprocessingConfig(size_ji=SIZE, spacing_ji_mm=(2.0, 2.0)),
        PostprocessingConfig(),
    )


def loaded(made=None):
    """While this is active, the only model there is, whatever its name."""
    return mock.patch.object(leanseg, "load_engine", return_value=made or model(), create=True)
