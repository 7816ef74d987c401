"""The words of prompts: what each means, or that it means something the grammar has no field for; misspellings."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from typing import NamedTuple

KNOWN_IMAGES = "ultrasound and MRI of the breast, and MRI of the brain"
"""What the shipped model was trained on, for warnings about anything else."""

_WORDS: dict[tuple[str, str], str] = {
    # (kind, value): words and phrases of up to three words, in lower case, without hyphens
    ("mass", ""): """
        mass, masses, tumor, tumors, tumour, tumours, lesion, lesions, nodule, nodules, nodes, cancer, cancers,
        carcinoma, carcinomas, neoplasm, neoplasms, growth, lump, lumps, finding, abnormality, abnormalities,
        glioma, gliomas, glioblastoma, meningioma, fibroadenoma, fibroadenomas, metastasis, metastases, cyst,
        cysts""",
    ("number", "one"): "one, 1, single, solitary, sole, unifocal, 1x, only one, a single, just one",
    ("number", "two"): "two, 2, pair, couple, both, 2x, a pair, a couple",
    ("number", "three"): "three, 3, 3x",
    ("number", "several"): """
        several, multiple, many, numerous, few, a few, various, multifocal, four, five, six, seven, eight, nine,
        ten, dozens""",
    ("article", "one"): "a, an",
    ("no", ""): "no, without, absence, zero, 0, free of, negative for, not any, neither",
    ("nothing", ""): "nothing, none, absent, tumor free, tumour free, lesion free, no abnormality, not present",
    ("normal", ""): "normal, healthy, unremarkable",
    ("not", ""): "not, non, isn't, aren't, doesn't, don't, never, nor",
    ("except", ""): """
        except, excluding, everything but, all but, anything but, any but, but the, but for, other than, apart from,
        aside from""",
    ("shape", "round"): "round, roundish, rounded, circular, spherical, ball, globular",
    ("shape", "oval"): "oval, ovoid, ellipse, elliptic, elliptical, ellipsoid, egg, elongated, oblong",
    ("shape", "irregular"): """
        irregular, irregularly, lobulated, lobular, microlobulated, angular, jagged, ragged, misshapen""",
    ("shape", "spiculated"): "spiculated, spiculate, spiculation, spiculations, spiky, stellate, star",
    ("size", "small"): "small, tiny, little, minute, minor, mini, smaller",
    ("size", "medium"): "medium, moderate, intermediate, mid sized, middle sized, average",
    ("size", "large"): "large, big, huge, sizable, sizeable, bulky, giant, great, extensive, massive, larger, bigger",
    ("superlative", "small"): "smallest, tiniest, smaller of, smaller one",
    ("superlative", "large"): "largest, biggest, main, dominant, larger of, bigger of, larger one, bigger one",
    ("vertical", "upper"): """
        upper, top, up, superior, cranial, above, upward, uppermost, topmost, superficial, shallow, anterior,
        ventral, superiorly, anteriorly""",
    ("vertical", "lower"): """
        lower, bottom, down, inferior, caudal, below, lowermost, deep, posterior, dorsal, inferiorly,
        posteriorly""",
    ("vertical", "middle"): "middle, mid, midway",
    ("horizontal", "left"): "left, lt, leftmost, lefthand, leftward, leftwards",
    ("horizontal", "central"): "central, centrally",
    ("horizontal", "right"): "right, rt, rightmost, righthand, rightward, rightwards",
    ("center", ""): "center, centre, centered, centred, in the middle",
    ("both sides", ""): "bilateral, bilaterally, both sides, both breasts",
    ("edge", ""): "margin, margins, border, borders, edge, edges, boundary, boundaries",
    ("margin", "smooth"): """
        smooth, well defined, well circumscribed, circumscribed, sharp, distinct, well demarcated, sharply
        defined, clearly defined, clear cut, encapsulated""",
    ("margin", "indistinct"): """
        indistinct, ill defined, poorly defined, blurred, blurry, fuzzy, unsharp, vague, not circumscribed, non
        circumscribed, noncircumscribed, poorly circumscribed, infiltrative, not well defined, unclear""",
    ("modality", "ultrasound"): """
        ultrasound, sonography, sonogram, ultrasonography, us, sonographic, echography, b mode""",
    ("modality", "mri"): "mri, mr, magnetic resonance, dce, flair, t1, t2, t1ce, t1w, t2w",
    ("join", ""): "and, plus, or, as well as, another, other",
    ("filler", ""): """
        the, this, that, these, those, of, in, on, at, with, is, are, was, be, there, here, it, its, to, by,
        for, from, as, has, have, please, can, could, you, i, me, we, my, our, see, look, looking, segment,
        segmentation, find, show, show us, outline, mark, delineate, contour, detect, locate, highlight, draw,
        give, give us, get, want, need, shows, noted, seen, visible, located, lying, situated, found, any, some,
        which, who, image, images, picture, slice, scan, volume, side, sided, sides, part, parts, area, areas,
        region, regions, quadrant, quadrants, corner, half, third, hand, zone, portion, position, location,
        place, size, sized, sizes, shape, shaped, shapes, form, breast, breasts, brain, cerebral, patient,
        evidence, suspicious, suspected, focal, obvious, only, about, around, towards, toward, near, very,
        quite, rather, slightly, mostly, mainly, somewhat, more, less, most, all, every, appears, looks, like,
        type, kind, let, number, count, mask, where, what, also, then, just, within, inside, over, into,
        findings, x, s, well, defined, cut, let us, same, time, hello, thanks, thank, maybe, probably, possible,
        possibly, but, nothing but, everything, anything""",
    ("no field", ""): """
        outer, inner, lateral, medial, retroareolar, subareolar, periareolar, axillary, hypoechoic, hyperechoic,
        anechoic, isoechoic, echogenic, heterogeneous, homogeneous, cystic, solid, calcified, calcification,
        calcifications, microcalcifications, shadow, shadowing, enhancement, enhancing, necrotic, necrosis,
        edema, hemorrhage, vascular, benign, malignant, taller, wider, parallel, vertical, horizontal, dark,
        bright, dense, frontal, parietal, temporal, occipital, cerebellar, ventricle, lobe, nipple, duct, chest
        wall, hyperintense, hypointense, isointense, architectural distortion, thickening, invasive, nearest,
        second, first, next, adjacent, septated, diffuse, peripheral, high, low, signal, signals, ring,
        asymmetric, texture, unilateral, clear""",
    ("organ", ""): """
        liver, hepatic, lung, lungs, pulmonary, kidney, renal, prostate, thyroid, pancreas, pancreatic, spleen,
        heart, cardiac, colon, bladder, bone, ovary, ovarian, uterus, uterine, stomach, gastric, esophagus,
        skin, muscle, spine, vertebra, femur, knee, abdomen, abdominal, testis, lymph node, lymph nodes, eye,
        retina, tooth, polyp""",
    ("image", ""): """
        ct, mammography, mammogram, x ray, xray, radiograph, pet, spect, tomosynthesis, histology, fundus""",
}


def _phrases(listed: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in listed.split(",")]


LEXICON = {phrase: meaning for meaning, phrases in _WORDS.items() for phrase in _phrases(phrases)}
"""Phrase -> kind, value."""

WITHOUT_FIELD = tuple(_phrases(_WORDS["no field", ""]))
"""Words that mean something, but that no field of the grammar can hold."""
OTHER_ORGANS = tuple(_phrases(_WORDS["organ", ""]))

_FOREIGN: dict[str, str] = {
    "German": """
        links, rechts, oben, unten, mitte, groß, gross, große, klein, kleine, kleiner, ein, eine, kein, keine,
        und, der, die, das, mit, tumoren, knoten, herd, unregelmäßig, zwei, drei, großer, rechte, im,
        oberer, unterer""",
    "French": """
        gauche, droite, haut, bas, en, supérieur, inférieur, tumeur, masse, petite, grande, grosse, petit, gros,
        grand, une, un, deux, trois, aucune, sans, avec, et, sein, dans, le, la, à""",
    "Spanish": """
        izquierda, derecha, arriba, abajo, izquierdo, derecho, pequeño, pequeña, grande, masa, nódulo, sin, con,
        y, dos, tres, una, uno, redondo, redonda, el, la, mama, centro""",
    "Italian": "sinistra, destra, alto, basso, piccolo, piccola, massa, nodulo, senza, due, il, seno, rotondo",
}
_SPELLINGS = {word: None for phrase in LEXICON for word in phrase.split()}
FOREIGN = {language: frozenset(_phrases(words)) for language, words in _FOREIGN.items()}
_FOREIGN_WORDS = frozenset().union(*FOREIGN.values())

_MEASURE = re.compile(
    r"""\d+(?:[.,]\d+)?(?:\s*(?:x|×|by)\s*\d+(?:[.,]\d+)?)*\s*(?:(?:mm|cm|ml|cc|percent|o['’]?\s?clock|h)\b|%|°)
    |\b(?:bi-?rads|birads|grade|stage|slice|level|phase|series|case)\s*[:#]?\s*\d+\w?\b|\b\d+[.,]\d+\b""",
    re.IGNORECASE | re.VERBOSE,
)
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


@dataclass(frozen=True)
class Word:
    """A word or phrase of a prompt."""

    kind: str
    """One of the kinds of LEXICON, `measure` or `unknown`"""
    value: str
    start: int
    end: int
    text: str
    """As it was typed"""
    gap: str
    """What was typed between the word before and this one"""
    corrected: str = ""
    """As the lexicon spells it, where it was misspelled"""


def recognize(text: str) -> list[Word]:
    """All words of a prompt in their order: each in its nearest spelling, then the longest phrase that they make."""
    measures = list(_MEASURE.finditer(text))
    measured = {n for match in measures for n in range(*match.span())}
    tokens = [_Token.of(match) for match in _TOKEN.finditer(text) if match.start() not in measured]
    found = [Word("measure", "", match.start(), match.end(), match.group(), "") for match in measures]
    at = 0
    while at < len(tokens):
        length, (kind, value) = _longest(text, tokens[at : at + 3])
        taken = tokens[at : at + length]
        start, end = taken[0].start, taken[-1].end
        spelled = " ".join(token.spelled for token in taken) if any(token.corrected for token in taken) else ""
        found.append(Word(kind, value, start, end, text[start:end], "", spelled))
        at += length
    found.sort(key=lambda word: word.start)
    ends = [0, *(word.end for word in found[:-1])]
    return [replace(word, gap=text[end : word.start]) for word, end in zip(found, ends, strict=False)]


class _Token(NamedTuple):
    start: int
    end: int
    spelled: str
    """In lower case, and as the lexicon spells it if it is near enough"""
    corrected: bool

    @classmethod
    def of(cls, match: re.Match[str]) -> _Token:
        typed = match.group().lower().replace("’", "'")
        nearest = "" if typed in _SPELLINGS or typed in _FOREIGN_WORDS else _nearest(typed)
        return cls(match.start(), match.end(), nearest or typed, bool(nearest))


def _longest(text: str, tokens: list[_Token]) -> tuple[int, tuple[str, str]]:
    """How many of the tokens make a phrase of the lexicon, and what it means."""
    for length in range(len(tokens), 0, -1):
        gaps = [text[one.end : other.start] for one, other in itertools.pairwise(tokens[:length])]
        phrase = " ".join(token.spelled for token in tokens[:length])
        if phrase in LEXICON and not any(gap.strip(" \t\n-‐‑") for gap in gaps):
            return length, LEXICON[phrase]
    spelled = tokens[0].spelled
    return 1, ("number", "several") if spelled.isdecimal() and 4 <= int(spelled) <= 99 else ("unknown", "")


def _nearest(word: str) -> str:
    """The word of the lexicon that this is a misspelling of; "" if there is none, or several of different meaning.

    One edit for words of four letters and more, two for eight and more; the first letter is always right.
    """
    best, near = 3.0, [""]
    for known in _SPELLINGS:
        allowed = 2 if len(known) >= 8 else 1 if len(known) >= 4 else 0
        if known[0] != word[0] or abs(len(known) - len(word)) > allowed:
            continue
        edits = _edits(word, known)
        if int(edits) <= allowed and edits <= best:
            near = [*near, known] if edits == best else [known]
            best = edits
    return near[0] if len({LEXICON.get(known, known) for known in near}) == 1 else ""


def _edits(one: str, other: str) -> float:
    """Letters to insert, leave out, exchange with their neighbor, or replace: a rarer slip, which counts 1.25."""
    before: list[float] = []
    last = [float(column) for column in range(len(other) + 1)]
    for row, a in enumerate(one, start=1):
        now = [float(row)]
        for column, b in enumerate(other, start=1):
            cost = min(last[column] + 1, now[-1] + 1, last[column - 1] + 1.25 * (a != b))
            if row > 1 and column > 1 and a == other[column - 2] and one[row - 2] == b:
                cost = min(cost, before[column - 2] + 1)
            now.append(cost)
        before, last = last, now
    return last[-1]
