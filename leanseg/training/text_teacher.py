"""Pretrained text encoders by the package transformers: for training, for a GPU, and as teachers of the small one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leanseg.errors import LeanSegError, MissingDependencyError, UnreadableFileError
from leanseg.prompts.encoder import TextEmbedding

REMEMBERED_PROMPTS = 4096


class TransformersEncoder:
    """Any encoder of the BERT kind, or the text half of a CLIP: the last hidden state, frozen.

    Remembers up to REMEMBERED_PROMPTS embeddings in the object (150 MB at 24 x 384) and then starts anew.
    """

    def __init__(self, folder_or_id: str, length: int = 24, allow_download: bool = False, device: str = "cpu") -> None:
        """`folder_or_id`: a folder with config, tokenizer and safetensors weights, or the id of a repository, which is
        looked for among what was downloaded before; the network is asked only with `allow_download`.

        Raises:
            MissingDependencyError: `transformers` is not installed.
            UnreadableFileError: no such encoder, or one without safetensors weights.
            LeanSegError: a model that has no text encoder.
        """
        folder = Path(folder_or_id)
        self.id = folder.name if folder.is_dir() else folder_or_id
        self.length = length
        self._device = device
        self._tokenizer, model = _load(folder_or_id, local_only=folder.is_dir() or not allow_download)
        self._network: nn.Module = getattr(model, "text_model", model).eval().requires_grad_(False).to(device)
        config = getattr(model.config, "text_config", model.config)
        if not hasattr(config, "hidden_size"):
            raise LeanSegError(f"{self.id} is no text encoder. Give one of the BERT kind, or a CLIP.")
        self.width: int = config.hidden_size
        self._known: dict[str, TextEmbedding] = {}

    def embed(self, text: str) -> TextEmbedding:
        """See `leanseg.prompts.encoder.TextEncoder`."""
        if text not in self._known:
            if len(self._known) >= REMEMBERED_PROMPTS:
                self._known.clear()
            self._known[text] = self._embed(text)
        known = self._known[text]
        return TextEmbedding(known.tokens.copy(), known.padding.copy())

    def _embed(self, text: str) -> TextEmbedding:
        clean = text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair
        encoded = self._tokenizer([clean], truncation=True, max_length=self.length, return_tensors="pt")
        ids = encoded["input_ids"]
        count = ids.shape[1]  # padding is added afterwards: it changes nothing, and is not worth computing
        tokens, padding = np.zeros((1, self.length, self.width), np.float32), np.ones((1, self.length), np.float32)
        tokens[:, :count] = self.hidden(ids, torch.zeros_like(ids, dtype=torch.bool)).cpu().numpy()
        padding[:, :count] = 0
        return TextEmbedding(tokens, padding)

    def hidden(self, ids: Tensor, padding: Tensor) -> Tensor:
        """(batch, piece) numbers of its own vocabulary, and True where padded -> (batch, piece, width), 0 there."""
        with torch.inference_mode():
            ids, padding = ids.to(self._device), padding.to(self._device)
            output = self._network(input_ids=ids, attention_mask=(~padding).long())
            tokens: Tensor = output.last_hidden_state * ~padding[:, :, None]
        return tokens.clone()

    @property
    def tokenizer_json(self) -> str:
        """Its tokenizer as the content of a `tokenizer.json`.

        Raises:
            LeanSegError: it is of a kind that has none.
        """
        fast = getattr(self._tokenizer, "backend_tokenizer", None)
        if fast is None:
            raise LeanSegError(f"The tokenizer of {self.id} is not a fast one. Save it with a tokenizer.json.")
        text: str = fast.to_str()
        return text

    @property
    def piece_vectors(self) -> Tensor:
        """(piece, width): the vectors with which it begins, one for each piece of its vocabulary."""
        embedding: Any = self._network.get_input_embeddings()  # type: ignore[operator]
        weight: Tensor = embedding.weight
        return weight.detach().float().cpu()


def _load(folder_or_id: str, local_only: bool) -> tuple[Any, Any]:
    """Tokenizer and model."""
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise MissingDependencyError("transformers is not installed. Run: pip install transformers.") from error
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder_or_id, local_files_only=local_only)
            model = AutoModel.from_pretrained(folder_or_id, local_files_only=local_only, use_safetensors=True)
    except (OSError, ValueError) as error:
        what = "needs config.json, tokenizer.json and model.safetensors"
        if local_only and not Path(folder_or_id).is_dir():
            what = "is neither a folder nor downloaded. Give a folder, or allow the download"
        raise UnreadableFileError(f"The text encoder {folder_or_id} {what} ({_first_line(error)}).") from error
    return tokenizer, model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and reports about weights that are not used."""
    from transformers.utils import logging

    level, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bars:
            logging.enable_progress_bar()
