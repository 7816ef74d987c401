"""A teacher that can be predicted by hand, and its tokenizer."""

import json
import string

import torch
from torch import Tensor

CHARACTERS = [*string.ascii_lowercase, *string.digits, ".", ",", "-"]
WORDS = ["the", "mass", "left", "right", "upper", "tumor", "lesion", "small", "one", "lower"]
PIECES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", *CHARACTERS, *WORDS, *(f"##{c}" for c in CHARACTERS), "##es"]


def tokenizer_json(lowercase: bool = True) -> str:
    added = [
        {"id": PIECES.index(piece), "content": piece, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    ]
    return json.dumps(
        {
            "version": "1.0",
            "truncation": {"max_length": 128, "strategy": "LongestFirst", "stride": 0},
            "padding": None,
            "added_tokens": added,
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": lowercase,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 4], "cls": ["[CLS]", 3]},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {piece: n for n, piece in enumerate(PIECES)},
            },
        }
    )


class StubTeacher:
    """The vector of a piece is that of its number plus a fifth of the mean of the text; it counts what it reads."""

    id = "stub"
    width = 6
    length = 10

    def __init__(self) -> None:
        self.tokenizer_json = tokenizer_json()
        self.piece_vectors = torch.randn(len(PIECES), self.width, generator=torch.Generator().manual_seed(5))
        self.texts_read = 0

    def hidden(self, ids: Tensor, padding: Tensor) -> Tensor:
        self.texts_read += len(ids)
        vectors = self.piece_vectors[ids] * ~padding[:, :, None]
        mean = vectors.sum(dim=1, keepdim=True) / (~padding).sum(dim=1)[:, None, None]
        return (vectors + 0.2 * mean) * ~padding[:, :, None]
