"""The texts and word pieces from which the small text encoder learns.

Texts: wordings of the grammar, the radiologists' reports of the training cases of `brats18` sentence by sentence, the
published prompts of the training images of `busi`, and variations of all these with words in them that none has.
Pieces: the teacher's own, reduced to those that the texts need and the most frequent others, so that teacher and small
encoder read a prompt piece by piece alike.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leanseg.errors import LeanSegError, UnreadableFileError
from leanseg.prompts import words
from leanseg.prompts.paraphrase import corpus
from leanseg.prompts.word_pieces import WordPieces

_RADIOLOGY = """
    abscess adenoma arterial artifact astrocytoma asymmetry axial axilla background basal between birads brainstem
    capsule cavity cerebellum complex compression contrast core coronal corpus cortex cortical cyst deformation
    degree density diameter diffusion ductal each echo effusion enhanced enlarged entire extent external fat fatty
    fibroid fissure fluid focus ganglia gland gray halo hemisphere hilum hypothalamus increased infiltrating
    infiltration inflammation insula insular intensity internal interval layer ligament lipoma macrolobulated
    mammary marked mediolateral metastatic microcalcification midline mild mixed nearby nodular nonenhancing
    papilloma parenchyma pathologic periventricular pleural primary prominent rim ring sagittal scar secondary
    section sequence severe shadow signal slight speckle speckled spot surrounding swelling symmetric thalamus
    thickened tissue uniform unilateral venous ventricular vessel weighted white whole wide width
"""
WORDS = tuple(dict.fromkeys([*words.LEXICON, *_RADIOLOGY.split()]))
"""What the parser knows, and what else reports say."""
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_WORD = re.compile(r"[^\W\d_]{3,}")


def training_texts(data: Path, count: int, seed: int, others: Sequence[str] = ()) -> list[str]:
    """`count` different texts: half by the grammar, then reports, prompts, single words, and variations of all these
    with words of WORDS and `others`.

    Raises:
        UnreadableFileError: `brats18` or `busi` is not below `data`.
    """
    rng = np.random.default_rng([seed, 1])
    wordings = corpus(rng, count // 2)
    collected = [*report_texts(data, "train"), *busi_prompts(data, "train")]
    texts = dict.fromkeys([*wordings, *collected, *WORDS])
    pool = (*WORDS, *others)
    while len(texts) < count:
        source = collected if rng.random() < 0.3 else wordings
        texts[_varied(source[int(rng.integers(len(source)))], pool, rng)] = None
    return list(texts)[:count]


def _varied(text: str, pool: Sequence[str], rng: np.random.Generator) -> str:
    """A part of a text in which some words are replaced."""
    parts = text.split(" ")
    if len(parts) > 8:
        start = int(rng.integers(len(parts) - 5))
        parts = parts[start : start + int(rng.integers(5, 22))]
    other = lambda match: pool[int(rng.integers(len(pool)))] if rng.random() < 0.15 else match[0]  # noqa: E731
    return _WORD.sub(other, " ".join(parts))


def report_texts(data: Path, split: str) -> list[str]:
    """Reports of the `brats18` cases of a split, whole and by sentences.

    Raises:
        UnreadableFileError: there are none.
    """
    cases = _read_json(data / "brats18" / "cases.json")
    reports = [case["report"] for case in cases.values() if case["split"] == split and case.get("report")]
    sentences = [sentence for report in reports for sentence in re.split(r"(?<=[.;])\s+", report)]
    return list(dict.fromkeys([*reports, *sentences]))


def busi_prompts(data: Path, split: str) -> list[str]:
    """The different published prompts of the `busi` images of a split.

    Raises:
        UnreadableFileError: there are none.
    """
    prompts = _read_json(data / "busi" / "text_prompts.json")
    with (data / "busi" / "index.csv").open(newline="", encoding="utf-8") as file:
        images = [row["file"] for row in csv.DictReader(file) if row["split"] == split]
    texts: list[str] = []
    for image in images:
        for wording in prompts.get(Path(image).name, {}).values():
            texts += [wording] if isinstance(wording, str) else wording
    return list(dict.fromkeys(texts))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"{path} cannot be read ({error}). Give the folder of the data sets.") from error
    return values


def common_words(tokenizer_json: str, count: int) -> list[str]:
    """The first whole words of a vocabulary: in those of the BERT family the most frequent ones."""
    known: dict[str, int] = json.loads(tokenizer_json)["model"]["vocab"]
    words_only = (piece for piece in known if piece.isascii() and piece.isalpha() and len(piece) > 1)
    return sorted(words_only, key=known.__getitem__)[:count]


def reduced_tokenizer(tokenizer_json: str, texts: Iterable[str], pieces: int) -> tuple[str, list[int]]:
    """The teacher's tokenizer with `pieces` of its pieces, and the number that each of them has with the teacher.

    Kept are all single ASCII characters, what the texts need, and the most frequent other words.

    Raises:
        LeanSegError: not a WordPiece tokenizer of lower case, or the texts alone need more pieces.
    """
    config = json.loads(tokenizer_json)
    if "vocab" not in config["model"] or not (config.get("normalizer") or {}).get("lowercase"):
        raise LeanSegError("The teacher's tokenizer is not WordPiece of lower case. Give an uncased BERT or MiniLM.")
    known: dict[str, int] = config["model"]["vocab"]
    names = {number: piece for piece, number in known.items()}
    read = WordPieces(tokenizer_json, length=10_000)
    needed = {names[number] for text in texts for number in read(text)}
    kept = sorted((piece for piece in known if piece in needed or _is_character(piece)), key=known.__getitem__)
    order = list(dict.fromkeys([*_SPECIAL, *kept]))
    if len(order) > pieces:
        raise LeanSegError(f"The texts need {len(order)} pieces; {pieces} are allowed. Allow more.")
    order = list(dict.fromkeys([*order, *common_words(tokenizer_json, pieces)]))[:pieces]
    return _with_vocabulary(config, order), [known[piece] for piece in order]


def _is_character(piece: str) -> bool:
    bare = piece.removeprefix("##")
    return len(bare) == 1 and bare.isascii()


def _with_vocabulary(config: dict[str, Any], order: Sequence[str]) -> str:
    """A `tokenizer.json` that is like `config` but for the numbers of its pieces."""
    numbers = {piece: number for number, piece in enumerate(order)}
    ends = {name: [piece, numbers[piece]] for name, piece in (("cls", "[CLS]"), ("sep", "[SEP]"))}
    added = [
        token | {"id": numbers[token["content"]]} for token in config["added_tokens"] if token["content"] in numbers
    ]
    reduced = config | {
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added, key=lambda token: int(token["id"])),
        "post_processor": {"type": "BertProcessing", **ends},
        "model": config["model"] | {"vocab": numbers},
    }
    return json.dumps(reduced, ensure_ascii=False, separators=(",", ":"))
