"""A 3-D network from files to a bundle, and what a user may give it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from leanseg.api import Model, load_engine, measure_regions, segment
from leanseg.errors import IncompatibleInputError, LeanSegError, UnknownNameError
from leanseg.inference.sliding_window import SlidingWindowEngine
from leanseg.training.export import export
from leanseg.training.run import train
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.training.test_volumes import recipe_of, silent

WINDOW = (8, 16, 16)


@pytest.fixture(scope="module")
def model(brains: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("models")
    train(recipe_of("segresnet", "optimizer.epochs=1"), brains, folder / "run", resume=False, report=silent)
    export(folder / "run", folder / "in_3d", brains)
    return load_engine(str(folder / "in_3d"))


def brain(depth: int, height: int = 30, width: int = 28) -> dict[str, Volume]:
    inside = np.zeros((depth, height, width), bool)
    inside[:, 3:-3, 3:-3] = True
    geometry = VolumeGeometry(inside.shape, np.diag([-1.0, -1.0, 1.0, 1.0]))
    return {
        name: Volume((np.random.default_rng(n).integers(1, 200, inside.shape) * inside)[None], geometry)
        for n, name in enumerate(("flair", "t1ce", "t1", "t2"))
    }


def test_the_card_says_what_a_window_costs(model: Model) -> None:
    """Of the process that runs the graph, not of the one that exports, which has torch loaded."""
    cost = model.card.metrics["window"]
    assert cost["precision"] == "int8" and 0 <= cost["seconds"] < 30
    assert 30 < cost["peak_mb"] < 600
    assert isinstance(model.engine, SlidingWindowEngine) and model.engine.config.window_kji == WINDOW


@pytest.mark.parametrize("depth", [16, 24, 155])
def test_other_depths_than_the_trained_one_go_through_windows(model: Model, depth: int) -> None:
    images = brain(depth)
    result = segment(images, model)
    assert result.labelmap.shape == images["flair"].geometry.shape
    assert set(np.unique(result.labelmap)) <= {0, 1, 2, 3} and result.notes["windows"] >= 2
    assert set(measure_regions(result, model)) == {"WT", "TC", "ET"}


def test_a_single_ct_image_is_refused_in_one_line(model: Model) -> None:
    ct = brain(20)["flair"]
    with pytest.raises(IncompatibleInputError, match="takes sequences by name") as a:
        segment(ct, model)
    with pytest.raises(UnknownNameError, match="ct") as b:
        segment({"ct": ct}, model)
    assert "\n" not in str(a.value) + str(b.value)


def test_one_sequence_of_four_is_taken_and_the_others_are_told_missing(model: Model) -> None:
    assert segment({"t1": brain(20)["t1"]}, model).notes["missing"] == ["flair", "t1ce", "t2"]


def test_it_runs_without_torch(model: Model) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import json, numpy as np\nfrom leanseg.api import load_engine\n"
        "m = load_engine(sys.argv[1])\n"
        "p = m.engine.graph({'image': np.ones((1, 4, 8, 16, 16), np.float32)})['probabilities']\n"
        "print(json.dumps(float(p.mean())))"
    )
    out = subprocess.run([sys.executable, "-c", code, str(model.bundle.folder)], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert 0 < json.loads(out.stdout) < 1


@pytest.mark.parametrize("network", ["trans_bts", "trans_bts_v2", "cga_unet"])
def test_patches_that_are_not_multiples_of_the_stride_are_refused(network: str, brains: Path, tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match=r"multiples of 8; got \(8, 12, 16\).*Pad the volume to 8 x 16 x 16") as e:
        train(recipe_of(network, "patches.size_kji=[8,12,16]"), brains, tmp_path / "run", resume=False, report=silent)
    assert "\n" not in str(e.value)
