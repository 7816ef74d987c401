from pathlib import Path

import pytest

from leanseg.beside import written_beside
from leanseg.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_beside(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and path.read_text() == "old"
    assert path.read_text() == "new" and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "end"),
    [("u.nii.gz", ".nii.gz"), ("A.SEG.NRRD", ".seg.nrrd"), ("of 1.5 mm.b.json", ".b.json"), ("weights", "")],
)
def test_the_temporary_file_has_the_suffixes_and_is_hidden(tmp_path: Path, name: str, end: str) -> None:
    with written_beside(tmp_path / name) as temporary:
        temporary.touch()
        assert temporary.name.startswith(".") and "".join(temporary.suffixes) == end
    assert names(tmp_path) == [name]


def write(path: Path, problem: BaseException | None = None) -> None:
    with written_beside(path) as temporary:
        temporary.write_text("new")
        if problem is not None:
            raise problem


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), MemoryError(), ValueError("no"), OutputError("mine")])
def test_whatever_ends_the_block_early_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, problem: BaseException
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(problem)) as caught:
        write(path, problem)
    assert caught.value is problem
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_what_the_system_refuses_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "missing" / "a.txt", tmp_path / "file" / "a.txt"):
        with pytest.raises(OutputError, match=r"cannot be written: .+\. Free space or choose another") as caught:
            write(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(OutputError, match=r"a\.txt cannot be written: No space left"):
        write(tmp_path / "a.txt", OSError(28, "No space left on device"))
    assert names(tmp_path) == ["file", "folder"]


def test_a_block_that_writes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), written_beside(tmp_path / "a.txt"):
        pass
