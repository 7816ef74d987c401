"""Which MRI sequence a file name or a series description speaks of."""

from __future__ import annotations

import re

_WORDS = {
    "flair": ("flair", "t2f", "t2flair", "t2wflair"),
    "t1ce": ("t1ce", "t1c", "t1gd", "t1gad", "t1post", "t1wce", "t1wc", "ce", "gd", "gad", "post", "contrast"),
    "t1": ("t1", "t1n", "t1w", "t1pre", "mprage"),
    "t2": ("t2", "t2w"),
}
"""In the order in which they are tried: `t1 post gd` is t1ce, `t2 flair` is flair."""


def sequence_of(text: str) -> str | None:
    """`flair`, `t1ce`, `t1` or `t2`, or None where no word of the text is known.

    BraTS names of all years (`..._t1ce.nii.gz`, `...-t1c.nii.gz`) and common descriptions are understood. It is a
    guess: show it to a person where there is one. Contrast words alone count only beside a T1.
    """
    words = re.findall(r"[a-z0-9]+", text.lower())
    has_t1 = any(word.startswith("t1") or word == "mprage" for word in words)
    for name, known in _WORDS.items():
        sure = [word for word in words if word in known and (name != "t1ce" or word.startswith("t1") or has_t1)]
        if sure:
            return name
    return None
