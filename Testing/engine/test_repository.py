"""What holds for the repository as a whole: packaging, sizes, names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import leanseg

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "leanseg"
SCRIPTS = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
MODULES = sorted(
    path.parent for path in ROOT.glob("*/CMakeLists.txt") if path.parent.name not in ("leanseg", "Testing")
)
"""The extension's Slicer modules."""
MAX_LINES = 500
MAX_BYTES = 3_000_000
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "misc", "base"}


def cmake_list(name: str, folder: Path = PACKAGE) -> list[str]:
    """Words of `set(NAME ...)` in a CMakeLists.txt, comments left away and ${MODULE_NAME} filled in."""
    text = re.sub(r"#.*", "", (folder / "CMakeLists.txt").read_text(encoding="utf-8"))
    found = re.search(rf"set\({name}\s+(.*?)\)", text, flags=re.DOTALL)
    assert found is not None, f"{folder.name}/CMakeLists.txt sets no {name}"
    return found.group(1).replace("${MODULE_NAME}", folder.name).split()


def files_below(folder: Path) -> set[str]:
    """Relative paths of the files that a module installs."""
    files = {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    return {path.relative_to(folder).as_posix() for path in files} - {"CMakeLists.txt"}


@pytest.mark.parametrize(
    ("name", "on_disk"),
    [
        ("LEANSEG_SCRIPTS", SCRIPTS),
        ("LEANSEG_RESOURCES", {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.toml")}),
    ],
)
def test_cmake_lists_every_file(name: str, on_disk: set[str]) -> None:
    """Slicer's macro refuses a listed file that is missing, but silently drops a file that is not listed."""
    listed = cmake_list(name)
    assert sorted(on_disk - set(listed)) == [], f"add these to {name} in leanseg/CMakeLists.txt"
    assert sorted(set(listed) - on_disk) == [], f"take these out of {name} in leanseg/CMakeLists.txt"
    assert listed == sorted(listed), f"{name}: sorted, each file once"
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("module", MODULES, ids=lambda folder: folder.name)
def test_cmake_lists_every_file_of_a_module(module: Path) -> None:
    listed = cmake_list("MODULE_PYTHON_SCRIPTS", module) + cmake_list("MODULE_PYTHON_RESOURCES", module)
    assert sorted(listed) == sorted(files_below(module))
    text = (module / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f"set(MODULE_NAME {module.name})" in text
    for words in ("slicerMacroBuildScriptedModule", "WITH_GENERIC_TESTS", "slicer_add_python_unittest"):
        assert words in text


def test_ctest_runs_the_scenarios_and_every_module_is_built() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for folder in (PACKAGE, ROOT / "Testing", *MODULES):
        assert f"add_subdirectory({folder.name})" in text
    registered = re.findall(r"SCRIPT (\S+)\)", (ROOT / "Testing" / "CMakeLists.txt").read_text(encoding="utf-8"))
    assert registered == ["slicer/run_in_slicer.py"] and (ROOT / "Testing" / registered[0]).is_file()


def test_no_two_modules_install_a_file_of_one_name() -> None:
    """All modules of an extension are installed into one folder; the later one would overwrite the earlier."""
    installed = [name for module in MODULES for name in files_below(module)]
    assert sorted(installed) == sorted(set(installed))


def test_extension_and_package_agree() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"^project\(LeanSeg\)$", text, flags=re.MULTILINE)
    assert "add_subdirectory(leanseg)" in text
    for module in ROOT.glob("*/CMakeLists.txt"):
        assert f"add_subdirectory({module.parent.name})" in text
    order = ["project(", "set(EXTENSION_HOMEPAGE", "find_package(Slicer", "Slicer_USE_FILE", "NEXT_MODULE"]
    order += ["Slicer_EXTENSION_GENERATE_CONFIG", "Slicer_EXTENSION_CPACK"]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_files_are_short_and_named_after_what_they_hold(script: str) -> None:
    lines = (PACKAGE / script).read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, f"leanseg/{script} has {lines} lines; split it"
    assert EMPTY_NAMES.isdisjoint(Path(script).with_suffix("").parts)


def test_no_large_file_is_tracked() -> None:
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout")
    files = [ROOT / name for name in done.stdout.decode("utf-8").split("\0") if name]
    models = ROOT / "Resources" / "Models"
    large = [
        str(file.relative_to(ROOT))
        for file in files
        if file.is_file() and models not in file.parents and file.stat().st_size > MAX_BYTES
    ]
    assert large == []


def requirement_names(lines: list[str]) -> set[str]:
    return {found.group().lower() for line in lines if (found := re.match(r"[A-Za-z0-9._-]+", line))}


def test_nothing_that_reports_usage_is_asked_for() -> None:
    """docs/adr/0002-openvino-without-telemetry.md"""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    asked = requirement_names([*project["dependencies"], *extras])
    pinned = requirement_names((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    assert not [name for name in asked | pinned if "telemetry" in name]
    assert "openvino" not in asked
    assert "openvino" in pinned


def test_the_use_floor_asks_for_no_torch() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        dependencies = tomllib.load(file)["project"]["dependencies"]
    assert requirement_names(dependencies) == {"numpy", "pydicom", "rich", "simpleitk"}


def test_citation_names_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {leanseg.__version__}\n" in text
