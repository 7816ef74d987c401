"""The benchmark of brains: what it computes from times and decisions, and that its peers give labelmaps."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from leanseg.files.images import read_image
from leanseg.inference.decisions import BranchConfig, DynamicConfig
from leanseg.networks.segresnet import SegResNet, SegResNetConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def brain() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import brain

        return brain
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def network() -> SegResNet:
    torch.manual_seed(0)
    return SegResNet(SegResNetConfig(init_filters=8, blocks_down=(1, 1, 1, 1))).eval()


def test_ratios_are_those_of_each_round(brain: ModuleType) -> None:
    figures = brain.ratios([1.0, 2.0, 4.0], [10.0, 30.0, 8.0])
    assert [figures[f"ratio_{which}"] for which in ("median", "min", "max")] == [10, 2, 15]
    assert figures["seconds"] == 2 and figures["peer_seconds"] == 10 and figures["rounds"] == 3


def test_a_peer_runs_between_two_runs_of_ours(brain: ModuleType) -> None:
    order: list[str] = []
    brain.compare(lambda: order.append("ours"), lambda: order.append("peer"), rounds=2)
    assert order == ["peer", *["ours", "peer", "ours"] * 2]


def test_macs_on_another_basis_by_hand(brain: ModuleType) -> None:
    """Each slice decides for 8; a crop is 3, whole 20. At a quarter of the pixels: 2; 3; 5. 8 bits save 3 / 4."""
    config = DynamicConfig(
        branches=(BranchConfig("crop", "crop", (4, 4), (), 3), BranchConfig("whole", "whole", (8, 8), (12,), 8)),
        regions=("WT",),
        decision_macs=8,
        position_macs=2,
        outside=(0.0,),
    )
    chosen = ["skip", "crop", "whole", "skip"]
    assert brain.gmacs_of(chosen, config, (8, 8), 1.0) * 1e9 == pytest.approx(4 * 8 + 3 + 20)
    assert brain.gmacs_of(chosen, config, (8, 8), 0.25) * 1e9 == pytest.approx(4 * 2 + 3 + 5)
    assert brain.gmacs_saved([[], [], [8], []], chosen, config, (8, 8), 0.25) * 1e9 == pytest.approx(0.25 * 12 * 0.75)


def test_a_process_tells_time_and_memory_or_why_it_failed(brain: ModuleType) -> None:
    wall, peak = brain.process([sys.executable, "-c", "import time; x = b'1' * 80_000_000; time.sleep(0.2)"])
    assert 0.2 < wall < 30 and 80 < peak < 200
    with pytest.raises(SystemExit, match=r"A process failed: .*no such thing"):
        brain.process([sys.executable, "-c", "raise ValueError('no such thing')"])


def test_the_phantom_is_a_brain_with_a_tumor_of_three_shells(brain: ModuleType, tmp_path: Path) -> None:
    from brain_case import files_of, phantom_arrays

    arrays = phantom_arrays(shape_kji=(31, 48, 40))
    inside = arrays["flair"] > 0
    assert 0.2 < inside.mean() < 0.6 and all(np.array_equal(array > 0, inside) for array in arrays.values())
    assert (arrays["t1ce"] > 200).sum() > 20, "an enhancing rim"
    with pytest.raises(SystemExit, match="lacks flair, t1ce, t1, t2"):
        files_of(tmp_path)


def test_peers_give_a_labelmap_of_the_whole_volume(brain: ModuleType, network: SegResNet) -> None:
    """In one pass and in one window the same labels; cropped in INT8 mostly, as group norm sees another volume."""
    from brain_case import phantom_arrays
    from brain_peers import openvino_cropped_int8, torch_whole, torch_windows

    arrays = list(phantom_arrays(shape_kji=(16, 32, 24)).values())
    whole = torch_whole(network)(arrays)
    assert whole.shape == (16, 32, 24) and whole.dtype == np.uint8 and len(np.unique(whole)) > 1
    assert np.array_equal(torch_windows(network, (16, 32, 24), 0.5)(arrays), whole)
    cropped = openvino_cropped_int8(network, arrays, threads=1)(arrays)
    assert cropped.shape == whole.shape and not cropped[0].any(), "outside the box there is background"
    inside = arrays[0] > 0
    assert len(np.unique(cropped)) > 1 and (cropped == whole)[inside].mean() > 0.5, "by chance a quarter"


def test_zscores_are_of_the_brain(brain: ModuleType) -> None:
    from brain_peers import zscores

    array = np.array([[[0, 2, 4, 6]]], np.uint8)
    assert zscores([array])[0, 0, 0].tolist() == pytest.approx([0, -(1.5**0.5), 0, 1.5**0.5])


def test_files_of_a_folder_are_found_by_name(brain: ModuleType, tmp_path: Path) -> None:
    import SimpleITK as sitk
    from brain_case import files_of

    case = tmp_path / "Brats18_t1_odd"
    case.mkdir()
    for n, name in enumerate(("t1", "t1ce", "t2", "flair", "seg")):
        image = sitk.GetImageFromArray(np.full((2, 3, 4), n, np.uint8))
        sitk.WriteImage(image, str(case / f"{case.name}_{name}.nii.gz"))
    found = files_of(case)
    assert list(found) == ["flair", "t1ce", "t1", "t2"]
    assert [int(read_image(path).array.max()) for path in found.values()] == [3, 1, 0, 2]
