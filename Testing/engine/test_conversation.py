import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanseg.conversation import Accept, Conversation, Prompt, Reject, Step
from leanseg.errors import LeanSegError
from leanseg.inference.hints import NO_HINTS, Box, Click, Hints, Scribble

CLICK, NO_CLICK, BOX = Click((1, 2.5, 3)), Click((1, 9, 9), positive=False), Box(1, 0, 0, 5, 6)
STROKE = Scribble(((1, 2, 3), (1, 4, 5)))
EVERYTHING: tuple[Step, ...] = (
    Prompt("large irregular mass, right", 0, 154),
    *(CLICK, NO_CLICK, BOX, STROKE),
    Accept("Segment_1"),
    Prompt("größer, 左 🙂"),
    Reject(),
)
SMALL = st.floats(-50, 50)
POINTS = st.tuples(SMALL, SMALL, SMALL)
STEPS = st.lists(
    st.one_of(
        st.builds(Prompt, st.text(), st.integers(0, 3), st.integers(3, 9)),
        st.builds(Click, POINTS, st.booleans()),
        st.builds(Box, st.integers(0, 9), SMALL, SMALL, SMALL, SMALL),
        st.builds(Scribble, st.lists(POINTS).map(tuple), st.booleans()),
        st.builds(Accept, st.text()),
        st.just(Reject()),
    ),
    max_size=8,
)


def test_hints_are_those_since_the_last_proposal_was_accepted_or_rejected() -> None:
    talk = Conversation()
    seen = []
    for step in EVERYTHING:
        talk.add(step)
        seen.append(talk.hints)
    assert seen[:3] == [NO_HINTS, Hints((CLICK,)), Hints((CLICK, NO_CLICK))]
    assert seen[4] == Hints((CLICK, NO_CLICK), (BOX,), (STROKE,))
    assert seen[5] == NO_HINTS == seen[7]
    assert talk.accepted == ("Segment_1",) and talk.text == "größer, 左 🙂"


def test_a_new_prompt_keeps_the_clicks() -> None:
    assert Conversation([Prompt("one"), CLICK, Prompt("two")]).hints == Hints((CLICK,))


def test_undo_and_redo_walk_through_every_step() -> None:
    talk = Conversation(EVERYTHING)
    undone = [talk.undo() for _ in EVERYTHING]
    assert undone == list(reversed(EVERYTHING)) and talk.steps == () and not talk.can_undo
    assert talk.undo() is None and talk.text == "" and talk.prompt is None and talk.undone == EVERYTHING
    assert [talk.redo() for _ in EVERYTHING] == list(EVERYTHING)
    assert talk.redo() is None and not talk.can_redo and talk.position == len(EVERYTHING)


def test_a_new_step_forgets_what_was_undone() -> None:
    talk = Conversation([Prompt("one"), CLICK])
    talk.undo()
    talk.add(NO_CLICK)
    assert talk.steps == (Prompt("one"), NO_CLICK) and not talk.can_redo


def test_the_history_has_each_text_once_the_newest_first() -> None:
    talk = Conversation([Prompt("a"), Prompt("b"), Prompt(" "), Prompt("a"), Prompt("c")])
    talk.undo()
    assert talk.history == ("c", "a", "b")
    assert (talk.recall(0), talk.recall(2), talk.text) == ("c", "b", "a")
    for number in (-1, 3):
        with pytest.raises(LeanSegError, match=f"no prompt {number}; 3 were tried"):
            talk.recall(number)


@given(STEPS, st.data())
def test_json_brings_everything_back(steps: list[Step], data: st.DataObject) -> None:
    talk = Conversation(steps, data.draw(st.integers(0, len(steps))))
    back = Conversation.from_json(talk.to_json())
    assert (back.steps, back.undone) == (talk.steps, talk.undone)


def test_the_json_is_what_a_script_can_read() -> None:
    values = json.loads(Conversation([Prompt("left", 2, 4), CLICK]).to_json())
    assert values == {
        "format": 1,
        "position": 2,
        "steps": [
            {"kind": "prompt", "text": "left", "first_k": 2, "last_k": 4},
            {"kind": "click", "kji": [1, 2.5, 3], "positive": True},
        ],
    }


def test_an_acceptance_without_its_segmentation_is_still_read() -> None:
    assert Conversation.from_json(with_step(kind="accept", segment_id="tumor")).steps == (Accept("tumor", ""),)


def with_step(**values: Any) -> str:
    return json.dumps({"format": 1, "steps": [values]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no list of steps"),
        ('{"format": 1}', "no list of steps"),
        ('{"format": 2, "steps": []}', "format 2; 1 is read here"),
        ('{"steps": []}', "format None"),
        ('{"format": 1, "position": 3, "steps": []}', "0 steps, of which 3 cannot count"),
        ('{"format": 1, "position": "x", "steps": []}', "position must be int; got 'x'"),
        (with_step(kind="shout"), "step 1 of the conversation is of kind 'shout'; known: prompt, click"),
        (with_step(text="left"), "of kind None"),
        ('{"format": 1, "steps": [7]}', "of kind None"),
        (with_step(kind="click"), "step 1 lacks kji"),
        (with_step(kind="click", kji=[1, 2]), "step 1.kji must be"),
        (with_step(kind="prompt", text="x", first_k=3, last_k=2), "got 3 to 2"),
        (json.dumps({"format": 1, "steps": [{"kind": "reject"}] * 10_001}), "10001 steps; at most 10000"),
    ],
)
def test_what_is_no_conversation_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(LeanSegError, match=message) as caught:
        Conversation.from_json(text)
    assert "\n" not in str(caught.value)
