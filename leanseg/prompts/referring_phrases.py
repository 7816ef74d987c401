"""The words of sentences that refer to one object: what each word or phrase is, in its context; misspellings."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from leanseg.prompts.directions import DIRECTION_WORDS
from leanseg.prompts.misspelled import meant_by
from leanseg.prompts.referring_words import NOUNS
from leanseg.prompts.words import LEXICON

_QUALITIES = {
    **dict.fromkeys(("largest", "biggest"), "largest"),
    **dict.fromkeys(("smallest", "tiniest", "littlest"), "smallest"),
    **dict.fromkeys(("brightest", "lightest", "whitest"), "brightest"),
    **dict.fromkeys(("darkest", "blackest"), "darkest"),
}
_COMPARED = {
    **dict.fromkeys(("larger", "bigger", "greater"), "largest"),
    **dict.fromkeys(("smaller", "tinier"), "smallest"),
    **dict.fromkeys(("brighter", "lighter", "whiter"), "brightest"),
    **dict.fromkeys(("darker", "blacker"), "darkest"),
}
_POSITIVE = {
    **dict.fromkeys(("large", "big", "huge"), "largest"),
    **dict.fromkeys(("small", "tiny", "little"), "smallest"),
    **dict.fromkeys(("bright", "light", "white"), "brightest"),
    **dict.fromkeys(("dark", "black"), "darkest"),
}
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "last": -1}
_ORDINALS |= {"seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12}
_ORDINALS |= {"1st": 1, "2nd": 2, "3rd": 3, **{f"{n}th": n for n in range(4, 21)}}
_NOUN_WORDS = "lesions? mass(?:es)? tumou?rs? objects? ones? nodules? spots? blobs? cysts? findings? areas?"
_NOUN = rf"(?:{_NOUN_WORDS.replace(' ', '|')})"
_LIGHT = r"(?:signal|intensity|brightness|echogenicity|enhancement|contrast)"
_OF_LIGHT = re.compile(
    rf"(?:(?:with|of) the )?\b(highest|lowest)[- ](?:\w+[- ]){{0,2}}?{_LIGHT}(?: {_LIGHT})?\b", re.IGNORECASE
)
_OF_PLACE = re.compile(rf"\b(highest|lowest)(?=\s*(?:$|[.,;:!?])|\s+(?:{_NOUN}|of|among|in|on)\b)", re.IGNORECASE)
_HIGH_AND_LOW = (
    (_OF_LIGHT, {"highest": "brightest", "lowest": "darkest"}),
    (_OF_PLACE, {"highest": "uppermost", "lowest": "lowermost"}),
)
_DIRECTION = f"({'|'.join(DIRECTION_WORDS)})"
_COUNT = r"(?:two|three|four|five|several|both|all|pair|couple|[2-9])"
_PATTERNS = {
    # in this order; the group, if there is one, is a word of direction
    "most": rf"(?:the )?(?:most|furthest|farthest)(?: to)?(?: the)? {_DIRECTION}|{_DIRECTION} ?most",
    "most of": rf"{_DIRECTION}(?: {_NOUN})? of (?:the |these |those |them )?{_COUNT}(?: of them)?(?: {_NOUN})?",
    "of them": rf"(?:of|among|out of) (?:all |the |these |those )*(?:{_COUNT}|them)(?: {_NOUN})?|"
    r"(?:of|among) (?:all |the |these |those )*(?:lesions|masses|tumou?rs|objects)",
    "from": rf"(?:(?:counted|counting|seen|starting) )?from (?:the )?{_DIRECTION}(?: side| edge| border)?(?! of)",
    "relation": rf"(?:(?:to|on|at|in) the )?{_DIRECTION}(?:[- ]hand)?(?: side)? of|{_DIRECTION} (?:to|from|than)",
    "above": r"above|over|on top of|higher than",
    "below": r"below|under|underneath|beneath|lower than",
    "next to": r"(?:nearest|closest|nearer|closer|near)(?: to)?|(?:next|close|adjacent) to|beside|neighbou?ring",
    "filler": r"by far",
    "far": r"far|farther|farthest|further|furthest|away|apart|distant|remote|"
    rf"from (?:the )?(?:{'|'.join(_QUALITIES)})",
    "rank word": r"least|less|lesser|after|before|following|penultimate|next(?! to)",
    "converse": r"its|whose|neighbor|neighbors|neighbour|neighbours",
    "unread": r"than|between|behind|inside|surrounded by|surrounding|touching|opposite",
    "not": r"not|no|isn't|aren't|never|except|excluding|without|nor|but",
    "several": rf"{_COUNT}|many|multiple|pair of|every|each",
    "side": rf"(?:(?:on|in|at|to) the )?{_DIRECTION}(?:[- ](?:hand|sided))?(?: (?:half|side|part|portion))?",
    "middle": r"(?:in the )?(?:middle|center|centre|central)",
    "noun": _NOUN,
    "the": r"the",
}
_SCANNERS = {kind: re.compile(rf"(?:{pattern})(?= |$)") for kind, pattern in _PATTERNS.items()}
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_PLAIN = "picture image slice scan view breast brain organ patient frame"
"""What everything lies in: left of it is left in it."""
_OWNERS = ("with", "has", "have", "had", "having", "by")
_RELATIVES = ("that", "which", "where", "who", "whom")
_PRONOUNS = ("it", "this", "that", "these", "those", "them", "which", "whom", "what", "its", "whose")
_PLACES = ("side", "above", "below", "relation", "next to")
_RANKING = {**_QUALITIES, **_COMPARED, **_POSITIVE}


class Part(NamedTuple):
    """A word or phrase, and what it is."""

    kind: str
    value: str
    text: str


_THE = Part("the", "", "the")


@cache
def _known_words() -> frozenset[str]:
    written = " ".join(_PATTERNS.values())
    own = {
        *_RANKING,
        *_ORDINALS,
        *DIRECTION_WORDS,
        *re.findall(r"[a-z']+", re.sub(r"\?:", "", written)),
        *_PLAIN.split(),
        *_OWNERS,
        *_RELATIVES,
        "nearest",
    }
    return frozenset(own | {f"{word}most" for word in DIRECTION_WORDS} | set(NOUNS))


def spelled(text: str) -> tuple[list[str], list[str]]:
    """Words in lower case, misspelled ones as the known word that they are one slip away from; and remarks."""
    words, remarks = [], []
    lexicon = {word for phrase in LEXICON for word in phrase.split()}
    for pattern, ranks in _HIGH_AND_LOW:
        text = pattern.sub(lambda found: ranks[found.group(1).lower()], text)  # noqa: B023 - called at once
    for match in _WORD.finditer(text):
        word = match.group().lower().replace("’", "'")
        if len(word) > 3 and word not in _known_words() and word not in lexicon:
            meant = meant_by(word, sorted(_known_words(), key=lambda known: (-len(known), known)))
            if meant is not None and len(meant) > 3:
                remarks.append(f'"{match.group()}" is read as "{meant}".')
                word = meant
        words.append(word)
    return words, remarks


def parts_of(text: str) -> list[Part]:
    parts: list[Part] = []
    at = 0
    while at < len(text):
        part, at = _next(text, at)
        parts.append(part)
        at += 1
    return [_in_context(parts, n) for n in range(len(parts))]


def _next(text: str, at: int) -> tuple[Part, int]:
    end = text.find(" ", at) % (len(text) + 1)
    word = text[at:end]
    if word in _RANKING:
        kind = "quality" if word in _QUALITIES else "compared" if word in _COMPARED else "positive"
        return Part(kind, _RANKING[word], word), end
    if word in _ORDINALS:
        return Part("ordinal", str(_ORDINALS[word]), word), end
    for kind, scanner in _SCANNERS.items():
        if match := scanner.match(text, at):
            value = next((group for group in match.groups() if group), "")
            return Part(kind, value, match.group()), match.end()
    known = LEXICON.get(word, ("unknown", ""))[0]
    kind = "place" if word in _PLAIN.split() else "filler" if known in ("filler", "article", "join") else "attribute"
    return Part("unknown" if known == "unknown" and kind != "place" else kind, "", word), end


def _in_context(parts: list[Part], n: int) -> Part:
    """A part as its neighbors make it: `the larger one` ranks, `a larger one` describes; `below` alone is a side."""
    part = parts[n]
    after = [other.kind for other in parts[n + 1 :]]
    if part.kind == "most of":
        return part._replace(kind="most")
    if part.kind == "compared":
        before = [other.kind for other in parts[:n] if other.kind != "attribute"]
        return part._replace(kind="quality" if before[-1:] in (["the"], ["ordinal"]) else "positive")
    if part.kind == "ordinal":
        return part._replace(kind="rank" if _counts(part, parts[n + 1 :]) else "ordinal")
    if part.kind == "rank word" and part.text == "next":  # `the next largest`
        return part._replace(kind="rank", value="2") if after[:1] == ["quality"] else part
    if part.text.startswith("next to") and _may_be_a_rank(parts, n):
        return part._replace(kind="rank word")
    if _is_converse(parts, n):
        return part._replace(kind="converse")
    if part.kind in ("above", "below", "relation", "next to"):
        return _related(part, parts[n + 1 :])
    if part.text in _OWNERS:
        return part._replace(kind="filler")
    if part.kind == "unknown" and not part.text.endswith("'s") and after[:2] == ["the", "quality"]:
        is_verb = any(other.kind == "noun" for other in parts[:n])  # `the lesion overlapping the largest`
        return part._replace(kind="unread") if is_verb else part
    return part


def _counts(part: Part, rest: list[Part]) -> bool:
    """Whether something that can be counted comes after an ordinal; `second to the largest` is the second largest."""
    kinds = [other.kind for other in rest]
    if part.value == "2" and rest[:1] and rest[0].text == "to":
        return [kind for kind in kinds[1:] if kind != "the"][:1] in (["quality"], ["most"])
    return kinds[:1] in (["noun"], ["quality"], ["compared"], ["from"], ["most"]) or "from" in kinds[:3]


def _may_be_a_rank(parts: list[Part], n: int) -> bool:
    """`The next to largest lesion` is the second largest to some; `the lesion next to the largest` is clear."""
    if all(other.kind != "noun" for other in parts[:n]) and parts[n + 1 : n + 2] != [_THE]:
        return True
    return n > 0 and parts[n - 1] == _THE


def _is_converse(parts: list[Part], n: int) -> bool:
    """Whether this word makes the object that comes first the anchor: `the lesion with the largest one to the left`."""
    part, before, rest = parts[n], parts[:n], parts[n + 1 :]
    nouns = sum(other.kind == "noun" for other in before)
    told = [other.kind for other in rest if other.kind not in ("the", "filler")]
    if part.text in _OWNERS:
        is_described = told[:1] in (["attribute"], ["positive"], ["compared"])
        is_second = not is_described or bool({"quality", "most", "noun", "ordinal"} & set(told))
        return nouns > 0 and is_second and any(other.kind in _PLACES for other in parts)
    if part.text in _RELATIVES:  # `that is the largest` describes, `that the largest is above` has a second object
        starts = ("the", "noun", "quality", "compared", "positive", "most", "most of", "ordinal")
        return nouns > 0 and any(other.kind in starts or other.text in ("a", "an", "another") for other in rest[:1])
    if part.text == "it":
        return any(other.kind == "side" or other.text in ("of", "to", "from") for other in before[-1:])
    if part.kind not in ("above", "below", "relation"):
        return False
    if rest:
        return rest[0].text in _PRONOUNS
    return part.kind == "relation" or nouns > 1 or before.count(_THE) > 1  # `the mass the brightest is above`


def _related(part: Part, rest: list[Part]) -> Part:
    """A relation to what comes after it; or a side, where that is the picture or nothing; else nothing known."""
    following = [other for other in rest if other.kind not in ("the", "filler")][:1]
    name = part.value or {"above": "upper", "below": "lower"}.get(part.kind, part.kind)
    is_anchor = ("quality", "compared", "positive", "ordinal", "noun", "most", "most of", "side")
    if any(other.kind in is_anchor for other in following) and any(
        other.kind in (*is_anchor[:-1], "unknown") for other in rest
    ):
        return part._replace(kind="relation", value=name)
    if name != "next to" and all(other.kind == "place" for other in following):
        return part._replace(kind="side", value=name)
    return part._replace(kind="lost", value=name, text=" ".join([part.text, *(other.text for other in rest[:2])]))
