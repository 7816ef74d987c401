"""A run becomes a bundle that the USE floor loads; everything in the card is there for a reason."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from leanseg.api import load_engine, segment
from leanseg.errors import LeanSegError
from leanseg.inference.slicewise import SlicewiseEngine
from leanseg.phantom import ultrasound_phantom
from leanseg.pictures import write_png
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.training.data import LICENSES
from leanseg.training.evaluate import evaluate, record
from leanseg.training.export import export
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.run import train
from leanseg.training.trainer import load_run
from leanseg.weights.bundle import Bundle, read_bundle


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small `busi` of phantoms: 12 train, 6 val, 6 test."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "busi"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows = []
    for n in range(24):
        kind = ("benign", "malignant", "normal")[n % 3]
        phantom = ultrasound_phantom(kind, seed=n, shape_ji=(64, 72))
        name = f"{kind}_{n}.png"
        for part, array in (("images", phantom.image.array[0, 0]), ("masks", phantom.truth[0] * np.uint8(255))):
            write_png(np.repeat(array[..., np.newaxis], 3, axis=2), folder / part / name)
        split = "train" if n < 12 else "val" if n < 18 else "test"
        rows.append({"file": name, "cls": kind, "dup_group": "", "split": split})
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    settings = (
        "config.widths=[4,8,16]",
        "preprocessing.size_ji=[64,64]",
        "optimizer.epochs=12",
        "optimizer.batch_size=4",
        "optimizer.learning_rate=1e-2",
    )
    recipe = load_recipe("t2kd_student_alone", settings)
    train(recipe, data, folder, resume=False, report=lambda done, total, what: None)
    return recipe, folder


@pytest.fixture(scope="module")
def bundle(run: tuple[Recipe, Path], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(run[1], tmp_path_factory.mktemp("models") / "tiny", data)


def test_the_card_tells_recipe_versions_and_log(bundle: Bundle, run: tuple[Recipe, Path]) -> None:
    card = read_bundle(bundle.folder).card
    (stage,) = card.training["stages"]
    assert Recipe.from_json(stage["recipe"]) == run[0]
    assert stage["log"]["epochs"] == 12
    assert card.data_licenses == (LICENSES["busi"],)
    assert {"torch", "openvino", "onnxruntime", "python"} <= set(card.training["versions"])
    validation = card.metrics["validation"]
    assert validation["n"] == 6 and validation["command"] == f"leanseg export {run[1]} -o BUNDLE"
    assert 0 <= validation["int8"]["ece"] <= 1
    difference = validation["int8"]["dice"] - validation["fp32"]["dice"]
    assert validation["int8_minus_fp32_dice"] == pytest.approx(difference, abs=1e-3)


def test_the_card_of_a_distilled_model_holds_every_stage(
    run: tuple[Recipe, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (
        "config.widths=[4,8,16]",
        "preprocessing.size_ji=[64,64]",
        "optimizer.epochs=1",
        f"init={run[1]}",
        f"distillation.teachers.benign={run[1]}",
        f"distillation.teachers.malignant={run[1]}",
    )
    recipe = load_recipe("t2kd_student", settings)
    train(recipe, data, tmp_path / "distilled", resume=False, report=lambda done, total, what: None)
    monkeypatch.setattr("leanseg.training.export.choose_postprocessing", lambda cases: PostprocessingConfig())
    card = export(tmp_path / "distilled", tmp_path / "bundle", data).card
    assert [stage["recipe"]["id"] for stage in card.training["stages"]] == ["t2kd_student_alone", "t2kd_student"]


def test_both_precisions_segment_a_phantom_alike(bundle: Bundle) -> None:
    phantom = ultrasound_phantom("benign", seed=90, shape_ji=(64, 72))
    fp32, int8 = (
        segment(phantom.image, load_engine(str(bundle.folder), precision=p)).probabilities.array
        for p in ("fp32", "int8")
    )
    assert np.abs(fp32 - int8).mean() < 0.05
    assert np.abs(fp32 - int8).max() > 0  # INT8 is another graph


def test_36_steps_already_rate_lesions_above_their_surroundings(bundle: Bundle) -> None:
    """On average: sums in another order, as of another number of threads, give another network."""
    contrasts = []
    for seed in range(90, 98):
        phantom = ultrasound_phantom("malignant", seed=seed, shape_ji=(64, 72))
        p = segment(phantom.image, load_engine(str(bundle.folder))).probabilities.array[0]
        contrasts.append(p[phantom.truth].mean() - p[~phantom.truth].mean())
    assert np.mean(contrasts) > 0.03


def test_evaluation_is_recorded_beside_its_command(bundle: Bundle, data: Path) -> None:
    report = evaluate(str(bundle.folder), "busi", data / "busi", split="test")
    assert len(report["cases"]) == 6
    assert report["mean"]["dice"]["n"] == 4 and report["mean"]["normal_empty"]["n"] == 2
    record(report, bundle.folder, "busi:test:int8", "leanseg evaluate ...")
    recorded = read_bundle(bundle.folder).card.metrics["busi:test:int8"]
    assert recorded["command"] == "leanseg evaluate ..."
    assert recorded["dice"]["mean"] == pytest.approx(report["mean"]["dice"]["mean"], abs=1e-4)
    json.loads((bundle.folder / "card.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_a_folder_without_a_run_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(LeanSegError, match="holds no trained run"):
        export(tmp_path, tmp_path / "out", data)


def test_agln_is_exported_slice_by_slice_and_its_graphs_agree(data: Path, tmp_path: Path) -> None:
    settings = (
        "config.encoder_widths=[4,6,8,12]",
        "config.width=8",
        "config.fused_width=12",
        "preprocessing.size_ji=[64,64]",
        "optimizer.epochs=6",
        "optimizer.batch_size=4",
        "optimizer.learning_rate=1e-2",
    )
    train(
        load_recipe("agln_busi", settings), data, tmp_path / "run", resume=False, report=lambda done, total, what: None
    )
    bundle = export(tmp_path / "run", tmp_path / "agln_tiny", data)
    assert (bundle.card.system, bundle.card.engine, bundle.card.network) == ("agln", "slicewise", "agln")
    phantom = ultrasound_phantom("benign", seed=90, shape_ji=(64, 72))
    fp32, int8 = (
        segment(phantom.image, load_engine(str(bundle.folder), precision=p)).probabilities.array
        for p in ("fp32", "int8")
    )
    assert fp32.shape[-2:] == (64, 72)
    assert np.abs(fp32 - int8).max() > 0 and np.abs(fp32 - int8).mean() < 0.05


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_slice_wise_graphs_also_describe_the_image(bundle: Bundle, run: tuple[Recipe, Path], precision: str) -> None:
    """By the mean of the deepest features, for `suggest_cases`."""
    image = np.random.default_rng(0).random((1, 1, 64, 64), dtype=np.float32)
    engine = load_engine(str(bundle.folder), precision=precision).engine  # type: ignore[arg-type]
    assert isinstance(engine, SlicewiseEngine)
    _, described = engine.look(image)
    _, network = load_run(run[1])
    with torch.no_grad():
        expected = network.features(torch.from_numpy(image)).bottleneck.mean(dim=(2, 3))[0].numpy()  # type: ignore[operator]
    assert described is not None and described.shape == (16,)
    np.testing.assert_allclose(described, expected, atol=2e-3 if precision == "fp32" else 0.2 * expected.max())
