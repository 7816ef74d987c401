import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from leanseg.errors import OutputError, UnreadableFileError
from leanseg.suggest import SuggestedCase, Suggestions
from leanseg.suggestion_state import STATE_FILE, SuggestionState


def suggestions(folder: Path) -> Suggestions:
    """Three files, the first two suggested."""
    thumbnail = np.zeros((2, 2), np.uint8)
    cases = []
    for rank, name in enumerate(("b.png", "a.png", "c.png"), start=1):
        path = folder / name
        path.touch()
        figures = (rank, rank < 3, 0.5 / rank, 0.25, 0.25, 0, 1)
        cases.append(SuggestedCase(path.as_posix(), path, *figures, thumbnail, "because"))
    return Suggestions(tuple(cases), (), "entropy", "image", ("tiny",), "")


@pytest.fixture
def state(tmp_path: Path) -> SuggestionState:
    folder = tmp_path / "images"
    folder.mkdir()
    return SuggestionState(folder).with_suggestions(suggestions(folder))


def test_what_is_saved_is_read_again(state: SuggestionState, tmp_path: Path) -> None:
    done = state.mark_done(state.folder / "b.png")
    for path in (tmp_path / "elsewhere.json", state.folder / STATE_FILE):
        done.save(path)
        assert SuggestionState.load(path) == done


def test_the_next_is_the_first_suggestion_that_is_not_done(state: SuggestionState) -> None:
    assert state.next_id == "b.png" and state.path_of("b.png").is_file()
    state = state.mark_done("b.png").mark_done("b.png")
    assert state.done == ("b.png",) and state.next_id == "a.png"
    assert state.labelled == (state.folder / "b.png",)
    assert state.mark_done(state.folder / "a.png").next_id is None, "c.png is not suggested"


def test_a_new_ranking_keeps_what_is_done(state: SuggestionState) -> None:
    again = state.mark_done("b.png").with_suggestions(suggestions(state.folder))
    assert again.done == ("b.png",) and len(again.ranking) == 3


def test_ids_are_relative_in_the_folder_and_absolute_elsewhere(state: SuggestionState, tmp_path: Path) -> None:
    assert state.id_of(state.folder / "sub" / "x.png") == "sub/x.png"
    assert state.id_of(tmp_path / "x.png") == (tmp_path / "x.png").as_posix()
    assert state.path_of((tmp_path / "x.png").as_posix()) == tmp_path / "x.png"


def test_a_relative_folder_gives_relative_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pool").mkdir()
    state = SuggestionState(Path("pool")).with_suggestions(suggestions(Path("pool")))
    assert [case.id for case in state.ranking] == ["b.png", "a.png", "c.png"]


def test_a_folder_that_was_moved_is_that_of_the_file(state: SuggestionState, tmp_path: Path) -> None:
    state.save(state.folder / STATE_FILE)
    moved = state.folder.rename(tmp_path / "moved")
    loaded = SuggestionState.load(moved / STATE_FILE)
    assert loaded.folder == moved and len(loaded.ranking) == 3


def test_a_copied_folder_speaks_of_its_own_images(state: SuggestionState, tmp_path: Path) -> None:
    state.save(state.folder / STATE_FILE)
    copied = shutil.copytree(state.folder, tmp_path / "copied")
    for image in state.folder.glob("*.png"):
        image.unlink()
    loaded = SuggestionState.load(copied / STATE_FILE)
    assert loaded.folder == copied and len(loaded.ranking) == 3


def test_images_that_are_gone_leave_the_ranking(state: SuggestionState) -> None:
    state.save(state.folder / STATE_FILE)
    (state.folder / "b.png").unlink()
    loaded = SuggestionState.load(state.folder / STATE_FILE)
    assert [case.id for case in loaded.ranking] == ["a.png", "c.png"] and loaded.next_id == "a.png"


def test_what_does_not_fit_is_left_out(state: SuggestionState) -> None:
    file = state.folder / STATE_FILE
    state.save(file)
    values = json.loads(file.read_text(encoding="utf-8"))
    values["ranking"][0]["uncertainty"] = "high"
    values["ranking"][1]["coverage"] = float("nan")
    values["ranking"] += [3, {"id": "a.png"}]
    values |= {"new": 1, "done": ["a.png", 4], "models": None}
    file.write_text(json.dumps(values), encoding="utf-8")
    loaded = SuggestionState.load(file)
    assert [case.id for case in loaded.ranking] == ["c.png"]
    assert loaded.done == ("a.png",) and loaded.models == ()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"folder": 3}', "\x00"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / STATE_FILE
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=r"holds no suggestions .* Remove it, and rank again\."):
        SuggestionState.load(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"cannot be read \(No such file"):
        SuggestionState.load(tmp_path / "nothing.json")
    with pytest.raises(OutputError):
        SuggestionState(tmp_path).save(tmp_path / "no folder" / STATE_FILE)
