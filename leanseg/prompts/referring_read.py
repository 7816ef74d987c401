"""Which object a person's sentence refers to: free text -> `Expression`, and whether it tells one object from others.

Tolerant as `parse` is, but more careful: what would lead to another object than the one that is meant (a negation, two
ranks, an anchor that no network knows) is a problem with a line of its own, and nothing is read. Left and right are the
patient's where the frame of the picture says so; the expression is in the frame of the picture.

Two kinds of expression are also plain descriptions and stay with the models that read those: `only` (`The lesion.`) and
a side without a rank (`The lesion on the left.`). They are read, but `is_relational` is false.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from leanseg.prompts.directions import PictureFrame, edge_of
from leanseg.prompts.picture_sides import in_words_of_the_patient
from leanseg.prompts.referring import EXPRESSIONS, MOST_RANK, RELATIONS, Expression, Pick
from leanseg.prompts.referring_phrases import Part, parts_of, spelled
from leanseg.prompts.referring_words import NOUNS
from leanseg.prompts.words import FOREIGN

MOST_CHARACTERS = 300
MOST_QUOTED = 60
EXAMPLES = 'e.g. "the second lesion from the left", or "the smallest one below the brightest one"'
_MOST = {"left": "leftmost", "right": "rightmost", "upper": "uppermost", "lower": "lowermost"}
_BESIDE = {"left": "left of", "right": "right of", "upper": "above", "lower": "below"}
_OPPOSITE = {"left": "right", "right": "left", "upper": "lower", "lower": "upper"}


@dataclass(frozen=True)
class Reading:
    """What was read of a sentence."""

    expression: Expression | None
    """In the frame of the picture; None where none could be read"""
    noun: str = NOUNS[0]
    """What the person calls the object, if the grammar has the word"""
    is_relational: bool = False
    """Whether it tells one object from others: by rank, order, or relation"""
    is_attribute_too: bool = False
    """Whether a model that reads descriptions understands it too: the largest or smallest, perhaps on a side"""
    remarks: tuple[str, ...] = ()
    """What a person should know about how it was read, one line each"""
    problem: str = ""
    """Why there is no expression, and what to say instead, one line"""


_NO_ATTRIBUTE = {"most", "rank", "relation", "not", "converse", "far", "unread", "rank word"}
"""Kinds of words that a description drops, so that it means another object."""


class _Unreadable(Exception):
    """Its text is the problem."""


def read_reference(text: str, frame: PictureFrame = PictureFrame()) -> Reading:  # noqa: B008 - frozen
    """Read a sentence about one object; never raises for any text."""
    if len(text) > MOST_CHARACTERS:
        return Reading(
            None,
            problem=f"The sentence has {len(text)} characters; at most {MOST_CHARACTERS} are read. Say it briefly.",
        )
    text, sides = in_words_of_the_patient(text, frame)
    words, misspelled = spelled(text)
    remarks = [*misspelled, *sides]
    parts = parts_of(" ".join(words))
    kinds = {part.kind for part in parts}
    is_relational = bool(kinds & {"quality", "most", "rank", "relation"})
    is_relational |= any(part.kind == "far" and part.text.startswith("from") for part in parts)  # `from the largest`
    qualities = {part.value for part in parts if part.kind == "quality"}
    is_attribute_too = qualities in ({"largest"}, {"smallest"}) and not kinds & _NO_ATTRIBUTE and not _uncounted(parts)
    try:
        if not words:
            raise _Unreadable(f"Nothing is said. Say which object is meant, {EXAMPLES}.")
        _check_words(parts, is_relational)
        expression, more = _expression(parts, frame)
    except _Unreadable as problem:
        return Reading(None, NOUNS[0], is_relational, is_attribute_too, tuple(remarks), str(problem))
    return Reading(expression, _noun(parts), is_relational, is_attribute_too, (*remarks, *more))


def _check_words(parts: list[Part], is_relational: bool) -> None:
    """Raises _Unreadable for what turns the meaning round, and where too little is understood."""
    unknown = [part.text for part in parts if part.kind == "unknown"]
    named = [part for part in parts if part.kind in ("noun", "side")]
    if not is_relational and (not named or len(unknown) > len(parts) / 2):
        raise _Unreadable(f"{_foreign(unknown)}Say in English which object is meant, {EXAMPLES}.")
    for kind, line in _NEVER_READ.items():
        if said := next((part.text for part in parts if part.kind == kind), ""):
            raise _Unreadable(line.format(f'"{said}"'))
    if (uncounted := _uncounted(parts)) and is_relational:
        raise _Unreadable(f'"{uncounted[0]}" of what? Say what is counted, {EXAMPLES}.')


def _uncounted(parts: list[Part]) -> list[str]:
    """Ordinals of nothing. `First, the largest lesion` and `the largest lesion first` are about the order of work."""
    asides = [n for n in (0, len(parts) - 1) if parts and parts[n].value == "1"]
    return [part.text for n, part in enumerate(parts) if part.kind == "ordinal" and n not in asides]


_NEVER_READ = {
    "not": "Negation ({}) is not read. Say which object is meant, not which one is not.",
    "converse": "{} makes the other object the one that is meant. Say the lesion first and then where it is, e.g. "
    '"the lesion left of the brightest one".',
    "far": '{} is not read. Far from another object has no word; say e.g. "the lesion left of the largest one".',
    "several": "A sentence refers to one object; it says {}. Ask for one after the other.",
    "unread": "{} is not read. Relations are: left of, right of, above, below, next to.",
    "rank word": '{} is not read. Count from the first, e.g. "the second largest lesion", or say "the darkest lesion".',
    "middle": "{} is not read. Sides are: left, right, upper, lower.",
}


def _noun(parts: list[Part]) -> str:
    said = [part.text.replace("tumour", "tumor") for part in parts if part.kind == "noun"]
    return next((noun for word in said for noun in NOUNS if word.startswith(noun)), NOUNS[0])


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f'"{word[:30]}"' for word in dict.fromkeys(words))


def _foreign(unknown: list[str]) -> str:
    languages = [name for name, known in FOREIGN.items() if any(word in known for word in unknown)]
    said = _quoted(unknown[:4])
    return f"It looks {languages[0]}. " if languages else f"Not understood: {said}. " if said else ""


# ── Expressions ───────────────────────────────────────────────────────────────────────────────────────────────────


def _expression(parts: list[Part], frame: PictureFrame) -> tuple[Expression, list[str]]:
    """And remarks. Raises _Unreadable."""
    relations = [n for n, part in enumerate(parts) if part.kind == "relation"]
    if lost := next((part.text for part in parts if part.kind == "lost"), ""):
        raise _Unreadable(f'"{lost}": the model does not know that object. Say by what it stands out, {EXAMPLES}.')
    if len(relations) > 1:
        said = _quoted(parts[n].text for n in relations)
        raise _Unreadable(f"One relation is read, it has {said}. Say one of them.")
    head = parts[: relations[0]] if relations else parts
    tail = parts[relations[0] + 1 :] if relations else []
    relation = _relation(parts[relations[0]], frame) if relations else ""
    remarks: list[str] = []
    takes_positive = bool(relations) and relation != "next to"
    pick = _pick(head, frame, takes_positive, remarks)
    anchor = _pick(tail, frame, True, remarks) if relations else None
    sides = {_edge(part, frame): part.text for part in parts if part.kind == "side"}
    if len(sides) > 1:
        said = " and ".join(f'"{text}"' for text in sides.values())
        raise _Unreadable(f"One side is read, it says {said}. Say one of them.")
    if anchor == Pick():
        raise _Unreadable(f'"{parts[relations[0]].text}" which one? Say by what it stands out, {EXAMPLES}.')
    unused = [part.text for part in parts if part.kind in ("attribute", "unknown")]
    if unused:
        remarks.append(f"Not used: {_quoted(unused)}.")
    try:
        expression = Expression(pick, next(iter(sides), ""), relation, anchor)
    except ValueError:
        expression = None
    if expression not in EXPRESSIONS:
        raise _Unreadable(f"It says more at once than the model has learned. Say less, {EXAMPLES}.")
    return expression, remarks


def _edge(part: Part, frame: PictureFrame) -> str:
    edge = edge_of(part.value, frame)
    if not edge:
        raise _Unreadable(f'These slices cannot show "{part.value}". Say it in directions that they show.')
    return edge


def _relation(part: Part, frame: PictureFrame) -> str:
    return part.value if part.value in RELATIONS else _BESIDE[_edge(part, frame)]


def _pick(parts: list[Part], frame: PictureFrame, takes_positive: bool, remarks: list[str]) -> Pick:
    said = {part.value: part.text for part in parts if part.kind == "quality"}
    said |= {_MOST[_edge(part, frame)]: part.text for part in parts if part.kind == "most"}
    ranks = {part.value: part.text for part in parts if part.kind == "rank"}
    origins = {_edge(part, frame): part.text for part in parts if part.kind == "from"}
    if origins and not ranks:
        raise _Unreadable(f'Which one {next(iter(origins.values()))}? Say e.g. "the second lesion from the left".')
    rank = int(next(iter(ranks), 1))
    if rank < 0 and origins:
        said |= {_MOST[_OPPOSITE[edge]]: text for edge, text in origins.items()}
        rank = 1
    elif origins:
        said |= {_MOST[edge]: text for edge, text in origins.items()}
    positives = {part.value: part.text for part in parts if part.kind == "positive"}
    if takes_positive and not said and len(positives) == 1 and not ranks:
        quality, text = next(iter(positives.items()))
        remarks.append(f'"{text}" is read as "{quality}".')
        said = positives
    elif positives:
        remarks.append(f"Not used: {_quoted(positives.values())}.")
    if max(len(said), len(ranks)) > 1:
        contrary = " and ".join(f'"{text}"' for text in (said if len(said) > 1 else ranks).values())
        raise _Unreadable(f"One of these counts, it says {contrary}. Say one of them.")
    if ranks and not said:
        raise _Unreadable(f'"{next(iter(ranks.values()))}" counted from where? Say {EXAMPLES}.')
    if not 1 <= rank <= MOST_RANK:
        raise _Unreadable(f'"{next(iter(ranks.values()))}" is not read; the model counts to {MOST_RANK}.')
    return Pick(next(iter(said), ""), rank)


def no_description(text: str, frame: PictureFrame) -> str:
    """Why a model that reads descriptions alone cannot answer a text, one line; nothing where it can."""
    reading = read_reference(text, frame)
    if not reading.is_relational or reading.is_attribute_too:
        return ""
    said = " ".join(text.split())
    said = said if len(said) <= MOST_QUOTED else f"{said[:MOST_QUOTED]}…"
    return (
        f'"{said}" tells one object from others by rank, order or relation. This model reads descriptions alone: say '
        f'e.g. "large mass, upper left". Such sentences are read by cm_mask_sd, {EXAMPLES}.'
    )
