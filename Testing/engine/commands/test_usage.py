"""Exit codes, usage, and what watches the command line."""

import io
import re
import sys
from pathlib import Path

import pytest

import leanseg
from leanseg import commands
from leanseg.__main__ import main
from leanseg.console import progress_bar
from Testing.engine.commands.command_line import (
    VERBS,
    Captured,
    python,
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: VERB"),
        (["segmant"], "invalid choice: 'segmant'"),
        (["segment", "tiny", "image.png"], "required: -o/--output"),
        (["segment", "tiny", "-o", "mask.seg.nrrd"], "required: INPUT"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--device", "gpu"], "invalid choice: 'gpu'"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--precision", "int4"], "invalid choice: 'int4'"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--threshold", "1"], "below 1 is needed; got '1'"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--threshold", "nan"], "above 0 and below 1 is needed"),
        (["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--threshold", "half"], "is needed; got 'half'"),
        (
            ["segment", "tiny", "a.png", "-o", "m.seg.nrrd", "--uncertainty-kind", "flip_variance"],
            "--uncertainty-kind needs --uncertainty U.nrrd",
        ),
        (["evaluate", "tiny", "--dataset", "busi"], "required: --root"),
        (["export", "run"], "required: -o/--output"),
        (["models", "--yaml"], "unrecognized arguments: --yaml"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(arguments: list[str], message: str, capfd: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capfd.readouterr()
    assert (caught.value.code, out) == (2, "") and message in err and err.startswith("usage: leanseg")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capfd: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0 and f"usage: leanseg {verb}" in capfd.readouterr().out
    assert callable(getattr(commands, verb))


def test_the_help_says_that_flip_variance_changes_the_mask(capfd: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    assert "makes the mask that of the mean of the two passes" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "aftermath"),
    [
        (["demo"], "Nothing half-written was left."),
        (["evaluate", "tiny", "--dataset", "busi", "--root", "."], "Nothing half-written was left."),
        (["train", "t2kd_student"], "What finished epochs left in the run folder goes on with --resume."),
        (["export", "run", "-o", "bundle"], "Export again."),
    ],
)
@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interruption_says_what_is_left(
    arguments: list[str], aftermath: str, problem: BaseException, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(parsed: object) -> None:
        raise problem

    monkeypatch.setattr(commands, arguments[0], interrupted)
    assert main(arguments) == 1
    reason = (
        "Interrupted. " if isinstance(problem, KeyboardInterrupt) else "OSError: [Errno 28] No space left on device. "
    )
    assert capfd.readouterr() == ("", f"leanseg: {reason}{aftermath}\n")


def test_it_runs_as_a_module_and_knows_its_version() -> None:
    with python("-m", "leanseg", "--version") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, f"leanseg {leanseg.__version__}\n", "")


def test_the_module_returns_the_code_of_an_error(models_folder: Path, tmp_path: Path) -> None:
    with python("-m", "leanseg", "segment", "tiny", tmp_path / "nowhere.png", "-o", tmp_path / "m.seg.nrrd") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(r"leanseg: There is no file [^\n]+nowhere.png[^\n]+\n", err)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize("verb", ["systems", "models"])  # more and less than Python buffers
def test_a_reader_that_goes_away_is_no_traceback(models_folder: Path, verb: str) -> None:
    with python("-m", "leanseg", verb, "--json") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `| head` does
        err = process.stderr.read()
    assert (process.returncode, err) == (1, "")


def test_the_progress_bar_shows_names_with_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("demo") as progress:
        assert progress(1, 2, "case [/b] of [red]") is not False
    assert "case [/b] of [red]" in terminal.getvalue()
