"""A CLIP from a folder, with its tokenizer: for CM-MaskSD. It is never fetched.

The folder is one that the package transformers writes: CLIP of OpenAI, or PubMedCLIP. BiomedCLIP is of another form
(open_clip), which is not read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from leanseg.errors import MissingDependencyError, UnreadableFileError
from leanseg.networks.blocks.dual_encoders import CLIPDualEncoder

_NEEDED = ("config.json", "model.safetensors", "tokenizer.json")


class CLIPFolder:
    """`encoder`, to be passed to `CMMaskSD`, and what makes pieces of sentences for it."""

    def __init__(self, folder: Path, length: int = 17) -> None:
        """`length`: pieces that are read, with beginning and end.

        Raises:
            MissingDependencyError: `transformers` is not installed.
            UnreadableFileError: no such folder, or what is in it is no CLIP.
        """
        try:
            from transformers import CLIPModel, PreTrainedTokenizerFast
        except ImportError as error:
            raise MissingDependencyError("transformers is not installed. Run: pip install transformers.") from error
        missing = [name for name in _NEEDED if not (folder / name).is_file()]
        if missing:
            raise UnreadableFileError(
                f"{folder} has no {missing[0]}. Give a folder of a CLIP with {', '.join(_NEEDED)}."
            )
        try:
            loaded: Any = CLIPModel.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
            )
            clip, report = loaded
            self._tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UnreadableFileError(f"{folder} holds no CLIP that can be read ({reason}). Restore it.") from error
        if report["missing_keys"]:
            raise UnreadableFileError(f"{folder} holds another network than a CLIP. Give a folder of a CLIP.")
        self.encoder = CLIPDualEncoder(clip)
        self.length = min(length, int(clip.config.text_config.max_position_embeddings))
        self._end = int(clip.config.text_config.eos_token_id)

    def pieces(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Numbers (text, length) and padding (text, length), True where there is no piece."""
        ids = torch.full((len(texts), self.length), self._end)
        padding = torch.ones(len(texts), self.length, dtype=torch.bool)
        for n, text in enumerate(texts):
            read = self._tokenizer(text.lower(), truncation=True, max_length=self.length)["input_ids"]
            ids[n, : len(read)], padding[n, : len(read)] = torch.tensor(read), False
        return ids, padding
