"""`suggest_cases` on small pictures and models that can be predicted by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

import leanseg
from leanseg.errors import InferenceCancelled, LeanSegError, UnknownNameError
from leanseg.pictures import write_png
from leanseg.suggest import images_in, suggest_cases
from leanseg.volume import Volume, VolumeGeometry
from leanseg.weights.bundle import Bundle
from Testing.engine.tiny import dark_is_lesion, dark_on_bright, ellipse, write_tiny_bundle


def picture(path: Path, center: tuple[float, float], dark: int, shape: tuple[int, int] = (64, 64)) -> Path:
    """A disc on white. `dark` is near the level at which the tiny models change their mind, or far from it."""
    gray = np.where(ellipse(shape, (0.25, 0.25), center), dark, 255).astype(np.uint8)
    gray[0] = 0  # so that intensities are not stretched
    write_png(np.repeat(gray[..., np.newaxis], 3, axis=2), path)
    return path


@pytest.fixture
def pool(tmp_path: Path) -> list[Path]:
    """Six pictures; `unsure` ones have discs about as dark as the level, `sure` ones black discs; one is a copy."""
    folder = tmp_path / "pool"
    folder.mkdir()
    names = {
        "unsure_left": ((0.5, 0.3), 88),
        "unsure_right": ((0.5, 0.7), 90),
        "sure_left": ((0.5, 0.3), 0),
        "sure_right": ((0.5, 0.7), 0),
        "copy_of_unsure_left": ((0.5, 0.3), 88),
    }
    pictures = [picture(folder / f"{name}.png", *values) for name, values in names.items()]
    return [*pictures, picture(folder / "wide.png", (0.3, 0.5), 10, (40, 90))]


def with_descriptor(graph: bytes, numbers: int = 4) -> bytes:
    """The graph with another output: means over quarters of the image (or halves: 2 numbers)."""
    model = onnx.load_from_string(graph)
    width = 32 if numbers == 4 else 64
    model.graph.node.extend(
        [
            helper.make_node("AveragePool", ["image"], ["parts"], kernel_shape=[32, width], strides=[32, width]),
            helper.make_node("Flatten", ["parts"], ["descriptor"]),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("descriptor", TensorProto.FLOAT, [1, numbers]))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture
def ensemble(models_folder: Path) -> list[str]:
    """Two bundles that differ in their weights."""
    for name, gain in (("soft", 10.0), ("hard", 60.0)):
        write_tiny_bundle(models_folder / name, {"fp32": dark_is_lesion(gain=gain)}, id=name)
    return ["soft", "hard"]


def names(cases: tuple[leanseg.suggest.SuggestedCase, ...]) -> list[str]:
    return [case.path.stem for case in cases if case.path is not None]


@pytest.mark.usefixtures("models_folder")
def test_one_model_suggests_what_it_is_unsure_of_and_says_how(pool: list[Path]) -> None:
    result = suggest_cases(pool, "tiny", k=2, candidates=2)
    assert set(names(result.suggested)) == {"unsure_left", "unsure_right"}
    assert result.measure == "entropy" and result.models == ("tiny",) and result.skipped == ()
    assert "One model: uncertainty is the mean entropy" in result.note
    assert [case.rank for case in result.cases] == [1, 2, 3, 4, 5, 6]
    assert [case.is_suggested for case in result.cases] == [True] * 2 + [False] * 4
    assert all(case.coverage == case.covered == 0 for case in result.cases[2:])


def test_images_that_the_model_did_not_learn_from_are_counted(models_folder: Path) -> None:
    """The card says US; noise is the same along rows and columns, in echoes it is not."""
    noise = np.random.default_rng(0).random((2, 64, 64), dtype=np.float32)
    echoes = np.repeat(noise[:, :, ::4], 4, axis=2)
    volumes = [Volume(array[np.newaxis, np.newaxis], VolumeGeometry((1, 64, 64))) for array in (*noise, *echoes)]
    note = suggest_cases(volumes, "tiny").note
    assert "2 of 4 images do not look like ultrasound: tiny learned from US alone and knows little of them." in note
    assert "do not look" not in suggest_cases(volumes[2:], "tiny").note


def test_several_models_are_an_ensemble(pool: list[Path], ensemble: list[str]) -> None:
    result = suggest_cases(pool, ensemble, k=3, candidates=6)
    assert result.measure == "ensemble standard deviation" and "of 2 models" in result.note
    assert result.models == ("soft", "hard")
    by_name = {case.path.stem: case.uncertainty for case in result.cases if case.path}
    assert by_name["unsure_left"] == by_name["copy_of_unsure_left"] > 0.01


def test_members_that_are_equal_are_certain(pool: list[Path], models_folder: Path) -> None:
    assert models_folder.is_dir()
    result = suggest_cases(pool[:2], ["tiny", "tiny"])
    assert [case.uncertainty for case in result.cases] == [0, 0]


@pytest.mark.usefixtures("models_folder")
def test_a_copy_is_not_suggested_beside_its_original(pool: list[Path]) -> None:
    result = suggest_cases(pool, "tiny")
    chosen = names(result.suggested)
    assert len(chosen) == 5 and len({"unsure_left", "copy_of_unsure_left"} & set(chosen)) == 1
    (other,) = (case for case in result.cases if not case.is_suggested)
    assert other.reason.startswith("Looks the same as suggestion")
    assert result.suggested[-1].covered == pytest.approx(1)


def test_bundles_without_features_are_compared_by_pictures_and_it_is_said(
    pool: list[Path], models_folder: Path
) -> None:
    plain = suggest_cases(pool, "tiny")
    assert plain.descriptor == "image" and "The models give no features" in plain.note
    write_tiny_bundle(models_folder / "new", {"fp32": with_descriptor(dark_is_lesion())}, id="new")
    described = suggest_cases(pool, "new")
    assert described.descriptor == "features" and "deepest features" in described.note
    mixed = suggest_cases(pool, ["tiny", "new"])
    assert mixed.descriptor == "image" and "Not all models give the same kind of features" in mixed.note


def test_features_decide_what_is_alike(pool: list[Path], models_folder: Path) -> None:
    """Two halves, upper and lower, cannot tell left from right."""
    graph = with_descriptor(dark_is_lesion(), numbers=2)
    write_tiny_bundle(models_folder / "halves", {"fp32": graph}, id="halves")
    pair = [path for path in pool if path.stem.startswith("sure")]
    assert len(suggest_cases(pair, "halves").suggested) == 1
    assert len(suggest_cases(pair, "tiny").suggested) == 2


@pytest.mark.usefixtures("models_folder")
def test_a_volume_is_represented_by_its_most_uncertain_slice() -> None:
    array = np.full((1, 3, 64, 64), 255, np.uint8)
    for k, dark in enumerate((0, 88, 0)):
        array[0, k][ellipse((64, 64), (0.25, 0.25))] = dark
    volume = Volume(array, VolumeGeometry((3, 64, 64)))
    flat = dark_on_bright(ellipse((64, 64))[np.newaxis])
    result = suggest_cases([flat, volume], "tiny")
    first = result.cases[0]
    assert (first.id, first.path, first.slice_k, first.slices) == ("volume 2", None, 1, 3)
    assert first.thumbnail.dtype == np.uint8 and first.thumbnail.shape == (64, 64)
    assert first.thumbnail[32, 32] == pytest.approx(88, abs=2) and first.thumbnail[2, 2] == 255


@pytest.mark.usefixtures("models_folder")
def test_thumbnails_show_the_image_without_padding(pool: list[Path]) -> None:
    (case,) = suggest_cases(pool[-1], "tiny").cases
    height, width = case.thumbnail.shape
    assert height / width == pytest.approx(40 / 90, abs=0.03) and max(height, width) <= 96
    assert case.thumbnail[-1].min() > 200, "padding is black"


@pytest.mark.usefixtures("models_folder")
def test_padding_is_not_counted_as_certain(tmp_path: Path) -> None:
    """The same stripes, once in a picture that is padded to the model's grid."""
    stripes = np.tile(np.repeat(np.array([88, 255, 0, 255], np.uint8), 8), (64, 2))
    flat = suggest_cases([Volume(stripes[None, None], VolumeGeometry((1, 64, 64)))], "tiny").cases[0]
    half = suggest_cases([Volume(stripes[None, None, :32], VolumeGeometry((1, 32, 64)))], "tiny").cases[0]
    assert half.uncertainty == pytest.approx(flat.uncertainty, rel=0.1)


@pytest.mark.usefixtures("models_folder")
def test_what_cannot_be_used_is_skipped_with_the_reason(pool: list[Path], tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("no picture")
    tiny = picture(tmp_path / "small.png", (0.5, 0.5), 0, (10, 10))
    colored: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    write_png(colored, tmp_path / "color.png")
    result = suggest_cases([text, tiny, tmp_path / "color.png", tmp_path / "gone.png", *pool[:2], pool[0]], "tiny")
    assert len(result.cases) == 2
    reasons = {Path(one.id).name: one.reason for one in result.skipped}
    assert set(reasons) == {"notes.png", "small.png", "color.png", "gone.png", pool[0].name}
    assert "10 x 10 pixels" in reasons["small.png"] and "color" in reasons["color.png"]
    assert "There is no file" in reasons["gone.png"] and "given twice" in reasons[pool[0].name]


@pytest.mark.usefixtures("models_folder")
def test_what_is_annotated_is_left_out(pool: list[Path]) -> None:
    result = suggest_cases(pool, "tiny", labelled=[pool[0], pool[1].as_posix()])
    assert set(names(result.cases)) == {path.stem for path in pool[2:]}
    with pytest.raises(LeanSegError, match="All of 6 images are annotated"):
        suggest_cases(pool, "tiny", labelled=pool)


@pytest.mark.usefixtures("models_folder")
def test_a_folder_and_a_pool_of_one_will_do(pool: list[Path]) -> None:
    assert len(suggest_cases(pool[0].parent, "tiny").cases) == 6
    (case,) = suggest_cases([pool[0]], "tiny").cases
    assert case.is_suggested and case.covered == 1 and case.id == pool[0].as_posix()


@pytest.mark.usefixtures("models_folder")
def test_the_same_pool_gives_the_same_suggestions(pool: list[Path]) -> None:
    first, again = (suggest_cases(pool, "tiny", k=3) for _ in range(2))
    assert [(c.id, c.uncertainty, c.coverage) for c in first.cases] == [
        (c.id, c.uncertainty, c.coverage) for c in again.cases
    ]


def _other_size(folder: Path) -> None:
    write_tiny_bundle(folder / "b", id="b", preprocessing={"size_ji": [32, 64], "percentiles": [0.5, 99.5]})


def _other_system(folder: Path) -> None:
    write_tiny_bundle(folder / "b", id="b", system="agln")


def _other_inputs(folder: Path) -> None:
    write_tiny_bundle(folder / "b", id="b", inputs=("mammogram",))


@pytest.mark.parametrize(
    ("make", "what"), [(_other_size, "preprocessing"), (_other_system, "system"), (_other_inputs, "inputs")]
)
def test_models_that_do_not_fit_together_are_refused(
    models_folder: Path, pool: list[Path], make: Callable[[Path], Bundle], what: str
) -> None:
    make(models_folder)
    with pytest.raises(LeanSegError, match=rf"tiny and b differ in {what} \(.*\)\. Choose models of one kind\.$"):
        suggest_cases(pool, ["tiny", "b"])


@pytest.mark.usefixtures("models_folder")
def test_bad_questions_get_one_clear_line(pool: list[Path], tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match="There is no image to choose from"):
        suggest_cases([], "tiny")
    with pytest.raises(LeanSegError, match="There is no model to ask"):
        suggest_cases(pool, [])
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        suggest_cases(pool, "tinny")
    with pytest.raises(LeanSegError, match=r"k 9 and candidates 4\. Choose 8 and 16"):
        suggest_cases(pool, "tiny", k=9, candidates=4)
    with pytest.raises(LeanSegError, match=r"None of 1 images can be used\. The first: There is no file"):
        suggest_cases([tmp_path / "gone.png"], "tiny")


def test_a_model_that_is_not_slice_wise_is_refused(
    models_folder: Path, pool: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models_folder.is_dir()
    model = leanseg.load_engine("tiny")
    object.__setattr__(model, "engine", object())
    with pytest.raises(LeanSegError, match=r"every slice of one image \(slicewise\) is needed"):
        suggest_cases(pool, model)


@pytest.mark.usefixtures("models_folder")
def test_progress_is_told_and_can_cancel(pool: list[Path]) -> None:
    told: list[tuple[int, int]] = []
    suggest_cases(pool, "tiny", progress=lambda done, total, what: told.append((done, total)))
    assert told == [(n, 6) for n in range(7)]
    with pytest.raises(InferenceCancelled):
        suggest_cases(pool, "tiny", progress=lambda done, total, what: done < 2)


def test_images_of_a_folder_are_found_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.nii.gz", "c.seg.nrrd", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sub.png").mkdir()
    assert [path.name for path in images_in(tmp_path)] == ["a.nii.gz", "b.PNG"]
    with pytest.raises(LeanSegError, match="There is no folder"):
        images_in(tmp_path / "gone")
    with pytest.raises(LeanSegError, match="holds no image"):
        images_in(tmp_path / "sub.png")
