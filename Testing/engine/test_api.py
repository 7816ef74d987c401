import dataclasses
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import leanseg
from leanseg.api import Model, list_models, load_engine, measure, segment
from leanseg.errors import (
    BundleError,
    IncompatibleInputError,
    InferenceCancelled,
    LeanSegError,
    MissingDependencyError,
    UnknownNameError,
    UnreadableFileError,
)
from leanseg.files.images import read_image
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.volume import Volume, VolumeGeometry
from leanseg.weights.bundle import Bundle
from Testing.engine.tiny import dark_is_lesion, dark_on_bright, dice, ellipse, write_tiny_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_engine(str(write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny").folder))


@settings(max_examples=25)
@given(
    st.integers(24, 300),
    st.floats(0.4, 2.5),
    st.tuples(st.floats(0.25, 0.4), st.floats(0.25, 0.4)),
    st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"]),
)
def test_a_dark_ellipse_comes_back_on_its_own_grid_whatever_its_size_and_type(
    model: Model, height: int, aspect: float, radii: tuple[float, float], dtype: str
) -> None:
    truth = ellipse((height, max(24, round(height * aspect))), radii)[np.newaxis]
    image = dark_on_bright(truth, dtype)
    result = segment(image, model)
    assert result.geometry is image.geometry or result.geometry.is_close_to(image.geometry)
    assert dice(truth, result.mask("lesion")) > 0.9


@settings(max_examples=15)
@given(st.tuples(*[st.floats(0.05, 5)] * 3), st.tuples(*[st.floats(-300, 300)] * 3))
def test_spacing_and_place_change_nothing_but_the_sizes(
    model: Model, spacing: tuple[float, float, float], origin: tuple[float, float, float]
) -> None:
    truth = ellipse((60, 80))[np.newaxis]
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = origin
    plain = dark_on_bright(truth)
    moved = Volume(plain.array, VolumeGeometry(truth.shape, matrix))
    result = segment(moved, model)
    np.testing.assert_array_equal(result.labelmap, segment(plain, model).labelmap)
    np.testing.assert_allclose(result.geometry.ijk_to_ras, matrix)
    area = measure(result, "lesion")[0].area
    assert area == pytest.approx(result.labelmap.sum() * spacing[0] * spacing[1], rel=1e-6)


def test_every_slice_of_a_volume_has_its_own_mask(model: Model) -> None:
    truth = np.stack([ellipse((50, 70), center=(0.5, x)) for x in (0.4, 0.5, 0.6)] + [np.zeros((50, 70), bool)])
    steps: list[int] = []
    result = segment(dark_on_bright(truth), model, progress=lambda done, total, what: steps.append(done))
    for k in range(3):
        assert dice(truth[k], result.mask("lesion")[k]) > 0.9
    assert not result.labelmap[3].any()
    assert steps == [0, 1, 2, 3, 4]
    assert [m.slice for m in measure(result, "lesion")] == [0, 1, 2]


def test_color_that_is_gray_is_taken_as_gray(model: Model) -> None:
    image = dark_on_bright(ellipse((50, 70))[np.newaxis])
    rgb = image.with_array(np.repeat(image.array, 3, axis=0))
    np.testing.assert_array_equal(segment(rgb, model).labelmap, segment(image, model).labelmap)


def test_probabilities_are_those_of_the_ellipse(model: Model) -> None:
    truth = ellipse((64, 64))[np.newaxis]
    result = segment(dark_on_bright(truth), model)
    assert result.probabilities.array[0, 0, 32, 32] == pytest.approx(1 / (1 + math.exp(-0.35 * 30)), abs=1e-4)
    assert result.probabilities.array[0, 0, 5, 5] < 0.01
    assert result.uncertainty.array[0, 0, 32, 32] < 0.01 < result.uncertainty.array.max()


def test_flip_variance_of_a_symmetric_image_is_0(model: Model) -> None:
    result = segment(dark_on_bright(ellipse((64, 64))[np.newaxis]), model, uncertainty="flip_variance")
    assert result.uncertainty.array.max() < 1e-6 and result.labelmap.any()


def test_the_postprocessing_of_a_call_replaces_the_cards(models_folder: Path) -> None:
    write_tiny_bundle(
        models_folder / "strict",
        id="strict",
        postprocessing=dataclasses.asdict(PostprocessingConfig(min_area_fraction=0.9)),
    )
    image = dark_on_bright(ellipse((64, 64))[np.newaxis])
    assert not segment(image, "strict").labelmap.any()
    assert segment(image, "strict", postprocessing=PostprocessingConfig()).labelmap.any()


def test_cancelling_raises(model: Model) -> None:
    image = dark_on_bright(np.stack([ellipse((32, 32))] * 3))
    with pytest.raises(InferenceCancelled):
        segment(image, model, progress=lambda done, total, what: done < 2)


def test_sizes_are_in_mm_or_in_pixels_when_the_file_states_no_spacing(model: Model) -> None:
    truth = ellipse((64, 64))[np.newaxis]
    calibrated = dark_on_bright(truth)
    geometry = dataclasses.replace(calibrated.geometry, is_calibrated=False)
    for volume, unit, scale in ((calibrated, "mm", 0.125), (Volume(calibrated.array, geometry), "px", 1.0)):
        result = segment(volume, model)
        (measured,) = measure(result, "lesion")
        assert measured.unit == unit and measured.area == pytest.approx(result.labelmap.sum() * scale)
        assert measured.depth_width_ratio == pytest.approx(2.0 if unit == "mm" else 1.0)


def test_the_facade_takes_a_path_and_a_model_by_name(models_folder: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    truth = ellipse((48, 64))
    sitk.WriteImage(sitk.GetImageFromArray(dark_on_bright(truth[np.newaxis]).array[0, 0]), str(tmp_path / "image.png"))
    result = leanseg.segment(tmp_path / "image.png", "tiny")
    assert dice(truth, result.mask("lesion")[0]) > 0.9
    assert read_image(tmp_path / "image.png").geometry.is_close_to(result.geometry)
    assert [card.id for card in leanseg.list_models()] == ["tiny"]


def test_images_that_do_not_fit_say_why(model: Model) -> None:
    small, large = dark_on_bright(np.ones((1, 15, 99), bool)), dark_on_bright(np.zeros((1, 20, 20), bool))
    with pytest.raises(IncompatibleInputError, match="99 x 15 pixels; at least 16 x 16"):
        segment(small, model)
    with pytest.raises(IncompatibleInputError, match="every value is 200"):
        segment(large, model)


def test_a_file_that_is_missing_is_named(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"nowhere\.png"):
        segment(tmp_path / "nowhere.png", model)


def test_auto_takes_int8_where_there_is_one(models_folder: Path) -> None:
    assert (load_engine("tiny").precision, load_engine("tiny").device) == ("fp32", "cpu")
    write_tiny_bundle(models_folder / "both", {"fp32": dark_is_lesion(), "int8": dark_is_lesion(gain=5)}, id="both")
    assert load_engine("both").precision == "int8" and load_engine("both", precision="fp32").precision == "fp32"
    image = dark_on_bright(ellipse((64, 64))[np.newaxis])
    soft, hard = (segment(image, load_engine("both", precision=p)) for p in ("int8", "fp32"))
    assert soft.uncertainty.array.mean() > 2 * hard.uncertainty.array.mean(), "each precision has its own graph"


def test_a_precision_that_is_not_there_is_refused(models_folder: Path) -> None:
    with pytest.raises(BundleError, match="tiny has no int8 graph"):
        load_engine("tiny", precision="int8")


def test_int8_on_cuda_is_refused_because_the_report_would_lie(models_folder: Path) -> None:
    with pytest.raises(LeanSegError, match="INT8 runs on the CPU only"):
        load_engine("tiny", "cuda", "int8")


def test_cuda_without_torch_says_what_to_do(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "leanseg.runtime.torch_graph", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        MissingDependencyError, match=r"--device cuda needs torch\. Install the `train` extra, or use the CPU"
    ):
        load_engine("tiny", "cuda")


def test_without_openvino_onnx_runtime_does_the_same(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = dark_on_bright(ellipse((64, 64))[np.newaxis])
    with_openvino = load_engine("tiny")
    monkeypatch.setitem(sys.modules, "openvino", None)
    without = load_engine("tiny")
    assert with_openvino.engine.graph.runtime.startswith("openvino")
    assert without.engine.graph.runtime.startswith("onnxruntime")
    one, other = segment(image, with_openvino), segment(image, without)
    np.testing.assert_allclose(one.probabilities.array, other.probabilities.array, atol=1e-5)
    np.testing.assert_array_equal(one.labelmap, other.labelmap)


def test_without_any_runtime_the_message_names_openvino(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps openvino"):
        load_engine("tiny")


def test_an_unknown_model_suggests_the_nearest(models_folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        load_engine("tinny")


def edit_card(bundle: Bundle, **changes: Any) -> None:
    path = bundle.folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "text_guided"}, "needs the engine 'text_guided', which is not here. Update LeanSeg"),
        ({"preprocessing": {"zoom": 2}}, "no key in card.preprocessing named 'zoom'"),
        ({"preprocessing": {"size_ji": [64, 64]}}, "card.preprocessing lacks percentiles"),
        (
            {"preprocessing": {"size_ji": 64, "percentiles": [1, 99]}},
            r"card.preprocessing.size_ji must be tuple\[int, int\]; got 64",
        ),
        ({"postprocessing": {}}, "card.postprocessing lacks threshold"),
        (
            {"postprocessing": dataclasses.asdict(PostprocessingConfig()) | {"threshold": 7.0}},
            "thresholds and fractions lie between 0 and 1",
        ),
    ],
)
def test_a_card_that_this_leanseg_cannot_follow_is_refused_on_loading(
    tiny_bundle: Bundle, models_folder: Path, changes: dict[str, Any], message: str
) -> None:
    edit_card(tiny_bundle, **changes)
    with pytest.raises(BundleError, match=message):
        load_engine("tiny")


def test_a_graph_of_another_size_than_the_card_says_is_told_when_it_runs(
    tiny_bundle: Bundle, models_folder: Path
) -> None:
    edit_card(tiny_bundle, preprocessing={"size_ji": [32, 32], "percentiles": [0.5, 99.5]})
    with pytest.raises(BundleError, match=r"does not take image \(1, 1, 32, 32\)"):
        segment(dark_on_bright(ellipse((64, 64))[np.newaxis]), "tiny")


def test_a_graph_with_more_labels_than_the_card_is_told_when_it_runs(models_folder: Path) -> None:
    write_tiny_bundle(models_folder / "two", {"fp32": dark_is_lesion(channels=2)}, id="two")
    with pytest.raises(BundleError, match=r"gives probabilities of \(1, 2, 64, 64\); \(1, 1, 64, 64\) is needed"):
        segment(dark_on_bright(ellipse((64, 64))[np.newaxis]), "two")


def test_models_are_listed_without_reading_their_graphs(tiny_bundle: Bundle, models_folder: Path) -> None:
    (tiny_bundle.folder / "tiny_fp32.onnx").write_bytes(b"damaged")
    assert [card.id for card in list_models()] == ["tiny"]
    with pytest.raises(BundleError, match="damaged"):
        load_engine("tiny")
    shutil.rmtree(models_folder)
    assert list_models() == []
