"""A Med-DANet becomes a bundle that the USE floor loads, and both say the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from leanseg.api import load_engine, segment
from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.networks.med_danet_v2 import MedDANetV2
from leanseg.processing.brain import preprocess_brain
from leanseg.training.calibrate import fit_class_temperature
from leanseg.training.data.arrays import BRATS_FOLDER, TrainingArrays
from leanseg.training.data.brats import LICENSE, read_cases, read_sequences
from leanseg.training.deployment import DeploymentConfig
from leanseg.training.dynamic_graphs import branches_of, dynamic_config
from leanseg.training.evaluate_brains import evaluate_brains
from leanseg.training.export import export
from leanseg.training.export_dynamic import calibration_slices, export_dynamic
from leanseg.training.recipe import Recipe, load_recipe
from leanseg.training.run import train
from leanseg.training.trainer import load_run
from leanseg.weights.bundle import Bundle, read_bundle
from Testing.engine.dynamic_networks import SIZE, V2, region_probabilities
from Testing.engine.training.brain_slices import brain_slices
from Testing.engine.training.test_run_dynamic import THIRDS, TINY, silent
from Testing.engine.training.test_run_dynamic import V2 as TINY_V2


@pytest.fixture(scope="module")
def run(brains: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    recipe = load_recipe("med_danet_v2", (*TINY_V2, *THIRDS))
    train(recipe, brains, folder, resume=False, report=silent)
    return recipe, folder


@pytest.fixture(scope="module")
def bundle(run: tuple[Recipe, Path], brains: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(run[1], tmp_path_factory.mktemp("models") / "tiny", brains)


def test_crop_sizes_share_a_graph_and_the_small_networks_have_no_int8(bundle: Bundle) -> None:
    names = ["crop_fp32", "crop_int8", "decision_fp32", "position_fp32", "whole_fp32", "whole_int8"]
    assert sorted(bundle.card.graphs) == names and bundle.card.precisions == ("fp32", "int8")
    assert read_bundle(bundle.folder) == bundle


def test_a_bundle_may_leave_the_fp32_graphs_out(
    run: tuple[Recipe, Path], bundle: Bundle, brains: Path, tmp_path: Path
) -> None:
    deployment = DeploymentConfig(neighbor_mm=3.0, skip_bias=0.5, keep_fp32=False)
    small = export_dynamic(
        replace(run[0], deployment=deployment), load_run(run[1])[1], *run[1:], tmp_path / "s", brains
    )
    names = ["crop_int8", "decision_fp32", "position_fp32", "whole_int8"]
    assert sorted(small.card.graphs) == names and small.card.precisions == ("int8",)
    assert sorted(path.name for path in small.folder.glob("*.onnx")) == [f"s_{name}.onnx" for name in names]
    assert {"int8", "fp32", "int8_minus_fp32_dice_WT"} <= set(small.card.metrics["validation"])
    config = small.card.engine_config
    assert (config["neighbor_mm"], config["skip_bias"]) == (3.0, 0.5)
    assert (bundle.card.engine_config["neighbor_mm"], bundle.card.engine_config["skip_bias"]) == (0.0, 0.0)
    load_engine(str(small.folder))


def test_the_card_holds_what_use_needs_and_where_it_comes_from(bundle: Bundle, run: tuple[Recipe, Path]) -> None:
    card = bundle.card
    assert (card.engine, card.modality, card.inputs) == ("dynamic_slicewise", "MR", ("flair", "t1ce", "t1", "t2"))
    assert [(label.id, label.value) for label in card.labels] == [("ED", 2), ("NCR", 1), ("ET", 3)]
    codes = ("SCT^79654002^Edema", "SCT^6574001^Necrosis", "NCIt^C113842^Enhancing Lesion")
    assert all(code in label.terminology for code, label in zip(codes, card.labels, strict=True))
    (stage,) = card.training["stages"]
    assert Recipe.from_json(stage["recipe"]) == run[0] and stage["log"]["epochs"] == 3
    assert card.data_licenses == (LICENSE,)
    validation = card.metrics["validation"]
    assert validation["n"] == 2 and validation["command"] == f"leanseg export {run[1]} -o BUNDLE"
    assert {"dice_WT", "dice_TC", "dice_ET", "gmacs"} <= set(validation["int8"]) == set(validation["fp32"])


def test_the_macs_of_the_card_are_those_of_the_network(bundle: Bundle, run: tuple[Recipe, Path]) -> None:
    network = load_run(run[1])[1]
    assert isinstance(network, MedDANetV2)
    most = network.static().macs(32, 32) + network.decision.macs(32, 32)
    assert bundle.card.gmacs == round(most / 1e9, 3)


def test_the_bundle_says_what_the_trained_network_says(bundle: Bundle, run: tuple[Recipe, Path], brains: Path) -> None:
    """To within the rounding of the weights to 16 bits."""
    sequences = read_sequences(read_cases(brains / BRATS_FOLDER)[0])
    recipe, network = run[0], load_run(run[1])[1]
    assert recipe.brain is not None and isinstance(network, MedDANetV2)
    images = torch.from_numpy(preprocess_brain(sequences, recipe.brain).volume.array).transpose(0, 1)
    model = load_engine(str(bundle.folder), precision="fp32")
    result = segment(sequences, model, overrides={0: 3, 1: 2, 2: 1, 3: 0})
    assert [one["decision"] for one in result.notes["slice_decisions"]] == ["whole", "crop_24", "crop_16", "skip"]
    with torch.no_grad():
        logits = network.predict(images, torch.tensor([3, 2, 1, 0]), quantize=False).logits
    p = region_probabilities(logits, bundle.card.temperature)
    box = result.probabilities.array[:, 1:5, 3:27, 2:22]
    inside = p[:, :, 4:28, 6:26][..., ::-1, ::-1]  # the middle of 32 x 32; the file counts towards left and back
    assert np.abs(box - inside).max() < 2e-2
    assert p.std() > 0.01


def test_both_precisions_load_and_int8_is_the_default(bundle: Bundle, brains: Path) -> None:
    sequences = read_sequences(read_cases(brains / BRATS_FOLDER)[0])
    everything = dict.fromkeys(range(4), 3)
    auto = load_engine(str(bundle.folder))
    assert auto.precision == "int8" and auto.checksum == bundle.card.checksum("int8")
    fp32, int8 = (
        segment(sequences, load_engine(str(bundle.folder), precision=p), overrides=everything).probabilities.array
        for p in ("fp32", "int8")
    )
    assert np.abs(fp32 - int8).max() > 0 and np.abs(fp32 - int8).mean() < 0.05


def test_labels_are_nested_regions_without_the_next_smaller_one(bundle: Bundle, brains: Path) -> None:
    sequences = read_sequences(read_cases(brains / BRATS_FOLDER)[0])
    result = segment(sequences, load_engine(str(bundle.folder)), overrides=dict.fromkeys(range(4), 3))
    whole, core, enhancing = (channel >= 0.5 for channel in result.probabilities.array)
    np.testing.assert_array_equal(result.mask("ED"), whole & ~core)
    np.testing.assert_array_equal(result.mask("ET"), enhancing)
    for mask, region in zip(result.nested_masks(), (whole, core, enhancing), strict=True):
        np.testing.assert_array_equal(mask, region | enhancing)


def test_any_sequence_alone_is_enough(bundle: Bundle, brains: Path) -> None:
    sequences = read_sequences(read_cases(brains / BRATS_FOLDER)[0])
    model = load_engine(str(bundle.folder))
    for name, volume in sequences.items():
        assert segment({name: volume}, model).geometry.is_close_to(volume.geometry)


def test_evaluation_counts_regions_and_decisions(bundle: Bundle, brains: Path) -> None:
    cases = read_cases(brains / BRATS_FOLDER)
    rows, mean, gmacs = evaluate_brains(load_engine(str(bundle.folder)), cases)
    assert [row["id"] for row in rows] == ["a", "b"] and mean["dice_WT"]["n"] == 2
    assert all(sum(row["decisions"].values()) == 4 for row in rows) and gmacs == mean["gmacs"]["mean"] > 0
    with pytest.raises(LeanSegError, match="No sequence came"):
        evaluate_brains(load_engine(str(bundle.folder)), cases, sequences=())


def test_med_danet_becomes_a_bundle_with_a_graph_for_each_member(brains: Path, tmp_path: Path) -> None:
    member = load_recipe("med_danet_bank", (*TINY, "config.width=2", "optimizer.epochs=1"))
    train(member, brains, tmp_path / "member", resume=False, report=silent)
    bank = ("config.bank_widths=[2]", f"decisions.bank={[str(tmp_path / 'member')]}", "optimizer.epochs=1")
    train(load_recipe("med_danet", (*TINY, *bank)), brains, tmp_path / "run", resume=False, report=silent)
    card = export(tmp_path / "run", tmp_path / "v1", brains).card
    assert sorted(card.graphs) == ["decision_fp32", "width_2_fp32", "width_2_int8"]
    assert [stage["recipe"]["id"] for stage in card.training["stages"]] == ["med_danet_bank", "med_danet"]
    sequences = read_sequences(read_cases(brains / BRATS_FOLDER)[0])
    notes = segment(sequences, load_engine(str(tmp_path / "v1")), overrides={0: 1, 1: 0, 2: 1, 3: 0}).notes
    assert notes["decisions"] == {"skip": 2, "width_2": 2}


def test_windows_as_published_are_a_way_to_export(
    run: tuple[Recipe, Path], brains: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LeanSegError, match="with windows each decides alone"):
        load_recipe("med_danet_v2", ("deployment.windows=true", "deployment.follow=true"))
    for name, value in (("export_dynamic.GRID_JI", (40, 48)), ("export_dynamic.WINDOW_JI", (32, 32))):
        monkeypatch.setattr(f"leanseg.training.{name}", value)
    monkeypatch.setattr("leanseg.training.dynamic_graphs.STEP_PX", 8)
    recipe = replace(run[0], deployment=DeploymentConfig(windows=True, keep_fp32=False))
    card = export_dynamic(recipe, load_run(run[1])[1], *run[1:], tmp_path / "windows", brains).card
    assert card.preprocessing["size_ji"] == [40, 48] and card.engine_config["window_step"] == 8
    sequences = read_sequences(read_cases(brains / BRATS_FOLDER)[0])
    notes = segment(sequences, load_engine(str(tmp_path / "windows"))).notes
    assert notes["windows"] == 2 * 3 and sum(notes["decisions"].values()) == 6 * notes["slices"]


# ── what there are no graphs of ─────────────────────────────────────────────────────────────────────────────────────


def test_crops_whose_head_sees_the_whole_slice_are_refused() -> None:
    network = MedDANetV2(type(V2)(width=4, crop_sizes=(16,), paste="features"))
    with pytest.raises(LeanSegError, match=r'a graph of the crop alone needs config\.paste = "logits"'):
        branches_of(network, SIZE)


def test_a_network_of_another_kind_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no exporter for network named 'Identity'"):
        branches_of(nn.Identity(), SIZE)


def test_without_bit_candidates_all_macs_are_full_precision() -> None:
    network = MedDANetV2(type(V2)(width=4, crop_sizes=(16,), paste="logits", bits=()))
    branch = dynamic_config(network, SIZE, 1.0).branches[-1]
    assert branch.stage_macs == () and branch.other_macs == network.static().macs(*SIZE)


# ── choices ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def some_arrays(number: int = 12) -> TrainingArrays:
    images, targets = brain_slices(number)
    has_tumor = targets.flatten(1).any(dim=1).long()
    return TrainingArrays(images.half(), targets.to(torch.uint8), has_tumor, torch.zeros(number).long(), ("a",))


def test_calibration_looks_at_slices_with_tumor() -> None:
    """5 of 12 have one."""
    arrays = some_arrays()
    chosen = calibration_slices(arrays, seed=0)
    assert len(chosen) == 5 and chosen.dtype == torch.float32
    tumor = arrays.images[arrays.classes == 1].float()
    assert all((image == tumor).flatten(1).all(dim=1).any() for image in chosen)
    without = TrainingArrays(arrays.images, arrays.targets * 0, arrays.classes * 0, arrays.cases, arrays.ids)
    assert len(calibration_slices(without, seed=0)) == 12


class Certain(nn.Module):
    """Logits that are right in 3 of 4 pixels, and by a factor too sure of it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        classes = images[:, :1].round().long().clamp(0, 3)
        one_hot = torch.zeros(len(images), 4, *images.shape[2:]).scatter_(1, classes, 1.0)
        return self.factor * one_hot * float(np.log(9.0))


def test_the_temperature_undoes_what_is_too_sure() -> None:
    """Right with probability 9 / 12 in 4 classes means logits of ln 9 against 0."""
    generator = torch.Generator().manual_seed(0)
    said = torch.randint(0, 4, (8, 1, 32, 32), generator=generator)
    wrong = torch.rand(said.shape, generator=generator) < 0.25
    truth = torch.where(wrong, (said + torch.randint(1, 4, said.shape, generator=generator)) % 4, said)
    whole, core, enhancing = truth > 0, (truth == 1) | (truth == 3), truth == 3
    targets = torch.cat([whole, core, enhancing], dim=1).to(torch.uint8)
    arrays = TrainingArrays(said.expand(-1, 4, -1, -1).half(), targets, torch.ones(8).long(), torch.zeros(8), ("a",))
    assert fit_class_temperature(Certain(2.0), arrays) == pytest.approx(2.0, rel=0.06)
    assert fit_class_temperature(Certain(1.0), arrays) == pytest.approx(1.0, rel=0.06)
