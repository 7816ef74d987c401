"""The slicewise engine: a 2-D network on every slice (k) of a volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leanseg.inference.uncertainty import flip_variance, predictive_entropy
from leanseg.prediction import Prediction
from leanseg.processing.preprocess import ModelInput
from leanseg.request import Progress, UncertaintyKind, no_progress, step
from leanseg.runtime.graph import Graph, checked


class SlicewiseEngine:
    """Runs slice after slice, so that memory stays that of one slice and Cancel takes effect between two."""

    def __init__(self, graph: Graph, gmacs_per_slice: float, labels: int = 1) -> None:
        self.graph = graph
        self._gmacs = gmacs_per_slice
        self._labels = labels

    def predict(
        self,
        model_input: ModelInput,
        progress: Progress = no_progress,
        uncertainty: UncertaintyKind = "entropy",
    ) -> Prediction:
        """Probabilities and uncertainty of every slice.

        `flip_variance` also sees every slice mirrored left to right, and returns the mean probability of
        the two; it costs twice the time.

        Raises:
            InferenceCancelled: `progress` returned False.
            BundleError: the graph does not do what its card says.
        """
        image = model_input.volume.array
        slices = image.shape[1]
        probabilities, spread = [], []
        for k in range(slices):
            step(progress, k, slices, f"slice {k + 1} of {slices}")
            one = np.ascontiguousarray(image[np.newaxis, :, k])
            p = self._probabilities(one)
            if uncertainty == "flip_variance":
                mirrored = self._probabilities(np.ascontiguousarray(one[..., ::-1]))[..., ::-1]
                spread.append(flip_variance(p, mirrored))
                p = 0.5 * (p + mirrored)
            else:
                spread.append(predictive_entropy(p))
            probabilities.append(p)
        step(progress, slices, slices, "done")
        passes = 2 if uncertainty == "flip_variance" else 1
        return Prediction(
            model_input.volume.with_array(np.stack(probabilities, axis=1)),
            model_input.volume.with_array(np.stack(spread, axis=1)),
            {"slices": slices, "gmacs": passes * slices * self._gmacs},
        )

    def look(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """One slice (1, channel, j, i) -> probabilities (label, j, i), and the mean (d,) of the deepest features.

        The latter is None where the graph does not give it: those of older bundles, and torch, do not.

        Raises:
            BundleError: the graph does not do what its card says.
        """
        results = self.graph({"image": image})
        p = checked(results, "probabilities", (1, self._labels, *image.shape[2:]))
        if "descriptor" not in results:
            return np.asarray(p[0]), None
        return np.asarray(p[0]), checked(results, "descriptor", (1, results["descriptor"].size))[0]

    def _probabilities(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1, channel, j, i) -> (label, j, i)."""
        return self.look(image)[0]
