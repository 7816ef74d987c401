"""torch on a CUDA device (or the CPU, to compare): runs the bundle's own weights. Optional, never required."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load

from leanseg.errors import LeanSegError, MissingDependencyError
from leanseg.networks import build_network
from leanseg.quantization.layers import load_packed_
from leanseg.runtime.graph import Arrays, misfit, unreadable
from leanseg.runtime.packed_graph import packed_tensors, quantization_of
from leanseg.weights.bundle import Bundle


class TorchGraph:
    """Network and weights of a bundle with the sigmoid that its exported graphs end with."""

    def __init__(self, bundle: Bundle, device: str) -> None:
        """Raises:
        MissingDependencyError: `device` is cuda and torch sees no such device.
        BundleError: the weights are missing or damaged, or do not fit the card.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise MissingDependencyError("torch sees no CUDA device. Use --device cpu, which needs no torch.")
        weights = bundle.weights()
        try:
            network = build_network(bundle.card.network, bundle.card.config)
            if bundle.card.quantization is None:
                network.load_state_dict({key: value.float() for key, value in load(weights).items()})
            else:
                load_packed_(network, quantization_of(bundle.card), packed_tensors(bundle))
        except (SafetensorError, LeanSegError, RuntimeError) as error:
            raise unreadable("torch", error) from error
        self._network = network.eval().to(device)
        self._temperature = bundle.card.temperature
        self._device = device

    @property
    def runtime(self) -> str:
        return f"torch {torch.__version__}"

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        try:
            with torch.inference_mode():
                logits = self._network(torch.from_numpy(inputs["image"]).to(self._device))
                return {"probabilities": torch.sigmoid(logits / self._temperature).cpu().numpy()}
        except torch.OutOfMemoryError as error:
            raise LeanSegError("The CUDA device is out of memory. Free it, or use --device cpu.") from error
        except (KeyError, RuntimeError, ValueError) as error:
            raise misfit(inputs, error) from error
