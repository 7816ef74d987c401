"""The models that come with LeanSeg: whole, small, and right on the built-in cases, on which nothing is tuned."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.api import Model, load_engine, segment
from leanseg.brain_phantom import BrainPhantom, brain_phantom
from leanseg.phantom import Kind, Phantom, ultrasound_phantom
from leanseg.volume import Volume, VolumeGeometry
from leanseg.weights.bundle import read_bundle
from leanseg.weights.store import SHIPPED_MODELS
from Testing.engine.tiny import dice

MAX_INT8_BYTES = 2_600_000
WELL_OUTLINED = 0.85
SEEDS = range(1, 6)
NORMAL_SEEDS = range(1, 21)

pytestmark = pytest.mark.skipif(not SHIPPED_MODELS.is_dir(), reason=f"{SHIPPED_MODELS} does not exist")

FOLDERS = sorted(card.parent for card in SHIPPED_MODELS.glob("*/card.json"))
Outlined = tuple[Phantom, NDArray[np.bool_]]


@pytest.fixture(scope="module")
def ultrasound_model() -> Model:
    return load_engine(str(SHIPPED_MODELS / "t2kd_busi"))


@pytest.fixture(scope="module")
def outlined(ultrasound_model: Model) -> dict[str, dict[Kind, list[Outlined]]]:
    """By precision and kind: phantoms with their masks (k, j, i)."""
    seeds: dict[Kind, range] = {"benign": SEEDS, "malignant": SEEDS, "normal": NORMAL_SEEDS}
    phantoms = {kind: [ultrasound_phantom(kind, seed=seed) for seed in seeds[kind]] for kind in seeds}
    fp32 = load_engine(str(ultrasound_model.bundle.folder), precision="fp32")
    return {
        model.precision: {kind: [(p, segment(p.image, model).mask("lesion")) for p in phantoms[kind]] for kind in seeds}
        for model in (ultrasound_model, fp32)
    }


def test_the_folder_holds_a_model() -> None:
    assert "t2kd_busi" in [folder.name for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_has_the_checksum_and_the_size_of_its_card(folder: Path) -> None:
    bundle = read_bundle(folder)
    for precision, entry in bundle.card.graphs.items():
        assert len(bundle.graph(precision)) == entry.bytes
    assert len(bundle.weights()) == bundle.card.weights.bytes
    assert json.loads((folder / "card.json").read_text(encoding="utf-8"))["id"] == folder.name


def test_the_ultrasound_model_is_small(ultrasound_model: Model) -> None:
    assert sorted(ultrasound_model.card.graphs) == ["fp32", "int8"] and ultrasound_model.precision == "int8"
    assert len(ultrasound_model.bundle.graph("int8")) <= MAX_INT8_BYTES


@pytest.mark.parametrize("kind", ["benign", "malignant"])
def test_the_lesion_of_a_phantom_is_outlined(outlined: dict[str, dict[Kind, list[Outlined]]], kind: Kind) -> None:
    dices = [dice(mask, phantom.truth) for phantom, mask in outlined["int8"][kind]]
    assert sum(d > 0.7 for d in dices) >= 4, [round(d, 3) for d in dices]


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_phantom_without_a_lesion_stays_empty(
    outlined: dict[str, dict[Kind, list[Outlined]]], precision: str
) -> None:
    pixels = [int(mask.sum()) for _, mask in outlined[precision]["normal"]]
    assert sum(n == 0 for n in pixels) >= 0.9 * len(pixels), pixels


@pytest.mark.parametrize("kind", ["benign", "malignant"])
def test_int8_and_fp32_outline_a_lesion_alike(outlined: dict[str, dict[Kind, list[Outlined]]], kind: Kind) -> None:
    pairs = zip(outlined["int8"][kind], outlined["fp32"][kind], strict=True)
    dices = [dice(int8_mask, fp32_mask) for (_, int8_mask), (_, fp32_mask) in pairs]
    assert min(dices) > 0.97, [round(d, 4) for d in dices]


# ── brains ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["med_danet_v2", "med_danet"])
def brain_model(request: pytest.FixtureRequest) -> Model:
    return load_engine(str(SHIPPED_MODELS / request.param))


def thick(phantom: BrainPhantom) -> BrainPhantom:
    """The same voxels, each cut into 3 x 3: as many columns and rows as a scanner may interpolate."""

    def cut(volume: Volume) -> Volume:
        small = volume.array.repeat(3, axis=2).repeat(3, axis=3)
        to_whole = np.diag([1 / 3, 1 / 3, 1, 1])
        to_whole[:2, 3] = -1 / 3  # the middle of the first of three lies a third of a voxel before that of all
        return Volume(small, VolumeGeometry(small.shape[1:], volume.geometry.ijk_to_ras @ to_whole))

    truth = {name: mask.repeat(3, axis=1).repeat(3, axis=2) for name, mask in phantom.truth.items()}
    return BrainPhantom({name: cut(volume) for name, volume in phantom.volumes.items()}, truth)


def oblique(phantom: BrainPhantom) -> BrainPhantom:
    """Sagittal slices of a head that is turned by 15 degrees in the scanner."""
    cos, sin = math.cos(math.radians(15)), math.sin(math.radians(15))
    turned = np.array([[cos, 0, sin, 0], [0, 1, 0, 0], [-sin, 0, cos, 0], [0, 0, 0, 1]])
    to_axial = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # i, j, k are j, k, i there

    def sagittal(volume: Volume) -> Volume:
        array = np.ascontiguousarray(volume.array.transpose(0, 3, 1, 2))
        return Volume(array, VolumeGeometry(array.shape[1:], turned @ volume.geometry.ijk_to_ras @ to_axial))

    truth = {name: mask.transpose(2, 0, 1) for name, mask in phantom.truth.items()}
    return BrainPhantom({name: sagittal(volume) for name, volume in phantom.volumes.items()}, truth)


@pytest.mark.parametrize(
    ("spacing_kji_mm", "scanned"),
    [((1.5, 1.5, 1.5), None), ((5.0, 1.0, 1.0), thick), ((3.0, 1.5, 1.5), oblique)],
    ids=["isotropic", "thick slices", "oblique"],
)
def test_the_tumor_of_a_brain_is_outlined(
    brain_model: Model,
    spacing_kji_mm: tuple[float, float, float],
    scanned: Callable[[BrainPhantom], BrainPhantom] | None,
) -> None:
    phantom = brain_phantom(spacing_kji_mm)
    phantom = phantom if scanned is None else scanned(phantom)
    whole = segment(phantom.volumes, brain_model).nested_masks()[0]
    assert dice(whole, phantom.truth["WT"]) >= WELL_OUTLINED
