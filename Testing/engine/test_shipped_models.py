"""The models that come with LeanSeg: whole, small, and right on the built-in cases, on which nothing is tuned."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.api import Model, load_engine, segment
from leanseg.phantom import Kind, Phantom, ultrasound_phantom
from leanseg.weights.bundle import read_bundle
from leanseg.weights.store import SHIPPED_MODELS
from Testing.engine.tiny import dice

MAX_INT8_BYTES = 2_600_000
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
