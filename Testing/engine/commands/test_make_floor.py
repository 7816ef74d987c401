"""`leanseg evaluate`, `train` and `export`."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leanseg.files.images import read_image
from leanseg.inference.slicewise import SlicewiseEngine
from leanseg.weights.bundle import Bundle, read_bundle
from Testing.engine.answer_tiny import write_answer_bundle
from Testing.engine.commands.command_line import (
    REPORT_KEYS,
    Captured,
    contents,
    leanseg_main,
    one_line,
    python,
    written,
)
from Testing.engine.referring_tiny import write_referring_bundle
from Testing.engine.tiny import dark_on_bright, ellipse


@pytest.fixture
def data(models_folder: Path, tmp_path: Path) -> Path:
    """A folder with a BUSI of six images, two in each split."""
    busi = tmp_path / "data" / "busi"
    rows = ["file,cls,dup_group,split"]
    for n, split in enumerate(["train", "train", "val", "val", "test", "test"]):
        kind = ("benign", "malignant")[n % 2]
        truth = ellipse((40 + n, 48), (0.3, 0.25 + 0.01 * n))
        image = dark_on_bright(truth[np.newaxis]).array[0, 0]
        for part, array in (("images", image), ("masks", truth * np.uint8(255))):
            (busi / part).mkdir(parents=True, exist_ok=True)
            written(array, busi / part / f"{kind}_{n}.png")
        rows.append(f"{kind}_{n}.png,{kind},,{split}")
    (busi / "index.csv").write_text("\n".join(rows))
    return busi.parent


def evaluate(data: Path, *options: object) -> list[object]:
    return ["evaluate", "tiny", "--dataset", "busi", "--root", data / "busi", *options]


def test_evaluate_prints_means_and_writes_the_fixed_keys(data: Path, tmp_path: Path, capfd: Captured) -> None:
    assert leanseg_main(*evaluate(data, "--json", tmp_path / "r.json")) == 0
    out, err = capfd.readouterr()
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert list(report) == REPORT_KEYS and err == ""
    assert [case["id"] for case in report["cases"]] == ["benign_4", "malignant_5"]
    for key in ("dice", "iou", "hd95_px", "recall", "precision"):
        assert list(report["mean"][key]) == ["mean", "n"]
    dices = [case["dice"] for case in report["cases"]]
    assert min(dices) > 0.9 and report["mean"]["dice"] == {"mean": pytest.approx(np.mean(dices)), "n": 2}
    assert re.search(rf"^dice +{np.mean(dices):.4f} +2$", out, re.MULTILINE)
    assert re.search(r"^tiny fp32: \d+\.\d ms a slice, load \d+\.\d\d s$", out, re.MULTILINE)


def test_evaluate_takes_every_split(data: Path, tmp_path: Path) -> None:
    assert leanseg_main(*evaluate(data, "--split", "all", "--json", tmp_path / "r.json")) == 0
    assert len(json.loads((tmp_path / "r.json").read_text())["cases"]) == 6


def test_evaluate_records_into_the_card(data: Path, tiny_bundle: Bundle) -> None:
    assert leanseg_main(*evaluate(data, "--record")) == 0
    recorded = read_bundle(tiny_bundle.folder).card.metrics["busi:test:fp32"]
    assert recorded["command"] == (
        'leanseg evaluate tiny --dataset busi --root "$LEANSEG_DATA/busi" --split test --precision fp32 --device cpu'
    )
    assert recorded["dice"]["n"] == 2 and recorded["dice"]["mean"] > 0.9


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shell")
def test_the_recorded_command_runs_as_it_is_and_gives_the_same(
    data: Path, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my models" / "tiny"
    folder.parent.mkdir()
    tiny_bundle.folder.rename(folder)
    arguments = ["--dataset", "busi", "--root", data / "busi", "--split", "val", "--record"]
    assert leanseg_main("evaluate", folder, *arguments) == 0
    recorded = read_bundle(folder).card.metrics["busi:val:fp32"]
    monkeypatch.setenv("LEANSEG_DATA", str(data))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    # The script `leanseg` is not on the path of every test.
    script = f'leanseg() {{ "{sys.executable}" -m leanseg "$@"; }}; {recorded["command"]}'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"^dice +{recorded['dice']['mean']:.4f} +2$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--dataset", "bussi", "no data set named 'bussi'. Did you mean 'busi'"),
        ("--split", "tset", "no split of busi named 'tset'. Did you mean 'test'"),
        ("--root", "nowhere", "nowhere has no index.csv. Give the folder of the data set"),
        ("--json", "nowhere/r.json", "The folder nowhere does not exist"),
        ("--json", "r.txt", "does not end with .json"),
    ],
)
def test_evaluate_with_what_does_not_exist_is_one_line(
    data: Path, capfd: Captured, option: str, value: str, message: str
) -> None:
    assert message in one_line(capfd, *evaluate(data, option, value))


@pytest.mark.parametrize(
    ("write", "script"), [(write_answer_bundle, "questions.py"), (write_referring_bundle, "referring.py")]
)
def test_evaluate_names_the_command_that_measures_other_kinds_of_models(
    data: Path, tmp_path: Path, capfd: Captured, write: Callable[[Path], Bundle], script: str
) -> None:
    folder = write(tmp_path / "other").folder
    line = one_line(capfd, "evaluate", folder, "--dataset", "busi", "--root", data / "busi")
    assert f"is measured by: python benchmarks/{script} model {folder}" in line


def test_a_results_file_that_cannot_be_written_is_told_before_the_work(
    data: Path, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlicewiseEngine, "predict", lambda *arguments: pytest.fail("it began to work"))
    assert "does not exist" in one_line(capfd, *evaluate(data, "--json", tmp_path / "nowhere" / "r.json"))


@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own, in torch.onnx
def test_train_export_and_segment_follow_each_other(data: Path, image: Path, tmp_path: Path, capfd: Captured) -> None:
    run, bundle = tmp_path / "runs" / "one epoch", tmp_path / "exported" / "model"
    settings = ("config.widths=[4,8]", "preprocessing.size_ji=[32,32]", "optimizer.epochs=1", "optimizer.batch_size=2")
    options = [word for setting in settings for word in ("--set", setting)]
    assert leanseg_main("train", "t2kd_student_alone", "--data", data, "--out", run, *options) == 0
    assert capfd.readouterr().out == f"Trained: {run}. Next: leanseg export '{run}' -o BUNDLE\n"
    assert leanseg_main("export", run, "-o", bundle, "--data", data) == 0
    out = capfd.readouterr().out
    assert re.search(r"^fp32: model_fp32.onnx, 0\.\d\d MB$", out, re.MULTILINE)
    assert re.search(r"^int8: model_int8.onnx, 0\.\d\d MB$", out, re.MULTILINE)
    assert out.endswith(f"Bundle: {bundle}\n")
    assert leanseg_main("segment", bundle, image, "-o", tmp_path / "mask.seg.nrrd") == 0
    assert read_image(tmp_path / "mask.seg.nrrd").geometry.shape == (1, 48, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "t2kd_studnet"], "no recipe named 't2kd_studnet'. Did you mean 't2kd_student'"),
        (["train", "t2kd_student_alone"], "Set LEANSEG_DATA to it, or give --data DIR"),
        (["train", "t2kd_student_alone", "--data", "nowhere"], "nowhere.busi has no index.csv"),
        (["train", "t2kd_student_alone", "--set", "optimizer.epoch=3"], "Did you mean 'epochs'"),
        (["train", "t2kd_student_alone", "--set", "quantization.bits=0"], "a whole number from 1 to 8; got 0. Choose"),
        (["train", "t2kd_student_alone", "--set", "quantization.bits=9"], "a whole number from 1 to 8; got 9. Choose"),
        (["train", "t2kd_student_alone", "--set", "quantization.bits=3.5"], "quantization.bits must be int; got 3.5"),
        (["train", "t2kd_student_alone", "--set", "optimizer.epochs=many"], "must be int; got 'many'"),
        (["train", "t2kd_student_alone", "--set", "epochs"], "--set needs key=value; got 'epochs'"),
        (["export", "nowhere", "-o", "bundle", "--data", "."], "nowhere"),
    ],
)
def test_train_and_export_with_what_does_not_exist_are_one_line(
    models_folder: Path,
    tmp_path: Path,
    capfd: Captured,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    assert re.search(message, one_line(capfd, *arguments))
    assert contents(tmp_path) == before


WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from leanseg.__main__ import main; sys.exit(main())"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "t2kd_student"],
        ["export", "run", "-o", "bundle"],
        ["evaluate", "tiny", "--dataset", "busi", "--root", "."],
    ],
)
def test_without_torch_the_make_floor_says_what_to_install(models_folder: Path, arguments: list[str]) -> None:
    with python("-c", WITHOUT_TORCH, *arguments) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    verb = arguments[0]
    told = f"leanseg: `leanseg {verb}` needs torch, which is not installed. In a checkout of LeanSeg, run: "
    assert err == told + 'pip install -e ".[train]"\n'


def test_without_torch_an_image_is_segmented(image: Path, tmp_path: Path) -> None:
    with python("-c", WITHOUT_TORCH, "segment", "tiny", image, "-o", tmp_path / "mask.seg.nrrd") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "") and out.startswith("Lesion: area")
