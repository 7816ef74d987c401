"""Which images to annotate next: the facade of `inference/suggestive_annotation.py`. It wires; no mathematics here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leanseg.api import Model, load_engine
from leanseg.errors import IncompatibleInputError, LeanSegError, UnreadableFileError
from leanseg.files.images import read_image
from leanseg.inference.picture_slices import looks_like, of_another_kind
from leanseg.inference.slicewise import SlicewiseEngine
from leanseg.inference.suggestive_annotation import (
    CANDIDATES,
    SUGGESTIONS,
    Choice,
    Ranking,
    image_uncertainty,
    picture_descriptor,
    resized,
    suggest,
)
from leanseg.processing.intensity import to_gray
from leanseg.processing.preprocess import ModelInput, preprocess
from leanseg.request import Progress, no_progress, step
from leanseg.volume import Volume

THUMBNAIL_SIDE = 96
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm")
_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_MEASURES = ("entropy", "ensemble standard deviation")
_MEASURE_NOTES = (
    "One model: uncertainty is the mean entropy of its probabilities. Several models say more.",
    "Uncertainty is the mean standard deviation over the probabilities of {n} models.",
)
_DESCRIPTOR_NOTES = {
    "features": "Images are alike where the deepest features are.",
    "image": "{why}, so images are compared as small pictures.",
}
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SuggestedCase:
    """An image that was looked at."""

    id: str
    """The path as it was given, with slashes; of a `Volume` "volume 1", "volume 2", ..., by its place."""
    path: Path | None
    rank: int
    """From 1: the suggestions in the order of choice, then the others by uncertainty."""
    is_suggested: bool
    uncertainty: float
    """0 to 1; of a volume that of its most uncertain slice."""
    coverage: float
    """By how much it adds to what the suggestions before it stand for, as a part of all images; 0: not suggested."""
    covered: float
    """For how much of all images the suggestions up to this one stand; 0: not suggested."""
    slice_k: int
    """The slice that stands for the volume; 0 of an image."""
    slices: int
    thumbnail: NDArray[np.uint8]
    """(j, i) gray, at most 96 x 96: that slice."""
    reason: str


@dataclass(frozen=True)
class SkippedCase:
    """An image that was not looked at, and why."""

    id: str
    path: Path | None
    reason: str


@dataclass(frozen=True, eq=False)
class Suggestions:
    """What `suggest_cases` found."""

    cases: tuple[SuggestedCase, ...]
    """All that were looked at, by rank."""
    skipped: tuple[SkippedCase, ...]
    measure: str
    """`entropy`, of one model, or `ensemble standard deviation`."""
    descriptor: str
    """`features`, or `image` where the models give none."""
    models: tuple[str, ...]
    note: str
    """How uncertainty and likeness were measured."""

    @property
    def suggested(self) -> tuple[SuggestedCase, ...]:
        return tuple(case for case in self.cases if case.is_suggested)


@dataclass(frozen=True)
class _Look:
    """What the models say of the most uncertain slice of an image."""

    id: str
    path: Path | None
    uncertainty: float
    features: tuple[Float32, ...]
    """Of each model that gives some."""
    picture: Float32
    """`picture_descriptor`"""
    k: int
    slices: int
    thumbnail: NDArray[np.uint8]
    kind: str
    """Of `looks_like`"""


def suggest_cases(
    images: Iterable[Path | Volume] | Path,
    models: Sequence[Model | str] | Model | str,
    k: int = SUGGESTIONS,
    candidates: int = CANDIDATES,
    *,
    labelled: Iterable[Path | str] = (),
    progress: Progress = no_progress,
) -> Suggestions:
    """Rank images by what annotating them would teach: uncertain ones that stand for many others.

    Args:
        images: files or volumes, or a folder of files; what cannot be used is skipped, with the reason.
        models: one, or an ensemble of bundles that differ in their weights only.
        k: how many to suggest.
        candidates: among so many of the most uncertain.
        labelled: files, or ids of `SuggestedCase`, that are annotated: they are left out.

    Raises:
        LeanSegError: no image that can be used, no model, models that do not fit together or are not slice-wise, or
            numbers that make no sense.
        UnknownNameError: no such model.
        InferenceCancelled: `progress` returned False.
    """
    if not 1 <= k <= candidates:
        raise LeanSegError(f"1 <= k <= candidates is needed; got k {k} and candidates {candidates}. Choose 8 and 16.")
    pool, skipped = _pool(images, labelled)
    ensemble = _ensemble([models] if isinstance(models, (Model, str)) else list(models))
    looks = []
    for n, (name, image) in enumerate(pool):
        try:
            looks.append(_look(name, image, ensemble, partial(step, progress, n, len(pool), name)))
        except (IncompatibleInputError, UnreadableFileError) as error:
            skipped.append(SkippedCase(name, _path(image), str(error)))
    if not looks:
        raise LeanSegError(f"None of {len(skipped)} images can be used. The first: {skipped[0].reason}")
    lengths = {len(one) for look in looks for one in look.features}
    has_features = len(lengths) == 1 and all(len(look.features) == len(ensemble) for look in looks)
    descriptors = [np.mean(look.features, axis=0) if has_features else look.picture for look in looks]
    ranking = suggest([look.uncertainty for look in looks], np.stack(descriptors), k, candidates)
    step(progress, len(pool), len(pool), "done")
    is_ensemble = len(ensemble) > 1
    why = "Not all models give the same kind of features" if lengths else "The models give no features"
    descriptor = "features" if has_features else "image"
    note = f"{_MEASURE_NOTES[is_ensemble]} {_DESCRIPTOR_NOTES[descriptor]}".format(n=len(ensemble), why=why)
    note = f"{note} {of_another_kind([look.kind for look in looks], ensemble[0].card)}".rstrip()
    names = tuple(model.card.id for model in ensemble)
    return Suggestions(_cases(ranking, looks), tuple(skipped), _MEASURES[is_ensemble], descriptor, names, note)


def images_in(folder: Path) -> list[Path]:
    """Files of a folder, not below it, that look like images, by name; segmentations and hidden files are left out.

    Raises:
        LeanSegError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LeanSegError(f"There is no folder {folder}. Choose the folder of the images.")
    names = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    found = [p for p in names if p.name.lower().endswith(_PICTURES + _VOLUMES) and ".seg." not in p.name.lower()]
    if not found:
        raise LeanSegError(f"{folder} holds no image. Choose a folder of PNG, JPEG, TIFF, NIfTI, NRRD or DICOM files.")
    return found


def _pool(
    images: Iterable[Path | Volume] | Path, labelled: Iterable[Path | str]
) -> tuple[list[tuple[str, Path | Volume]], list[SkippedCase]]:
    """Ids and images that are not annotated, each once, and the copies."""
    if isinstance(images, (str, Path)):
        images = images_in(Path(images)) if Path(images).is_dir() else [Path(images)]
    given = [
        (f"volume {n}", image) if isinstance(image, Volume) else (Path(image).as_posix(), Path(image))
        for n, image in enumerate(images, start=1)
    ]
    if not given:
        raise LeanSegError("There is no image to choose from. Give files, volumes or a folder of images.")
    done = {str(one) for one in labelled}
    done_paths = {Path(one).resolve() for one in done}
    pool: list[tuple[str, Path | Volume]] = []
    copies, seen = [], set()
    for name, image in given:
        where = image.resolve() if isinstance(image, Path) else name
        if name in done or where in done_paths:
            continue
        if where in seen:
            copies.append(SkippedCase(name, _path(image), f"{name} is given twice; it counts once."))
            continue
        seen.add(where)
        pool.append((name, image))
    if not pool:
        raise LeanSegError(f"All of {len(given)} images are annotated. Give others, or mark some as not done.")
    return pool, copies


def _path(image: Path | Volume) -> Path | None:
    return image if isinstance(image, Path) else None


def _ensemble(models: Sequence[Model | str]) -> list[Model]:
    """Models that fit together.

    Raises:
        LeanSegError: there is none, one is not slice-wise, or they differ in more than their weights.
    """
    if not models:
        raise LeanSegError("There is no model to ask. Give one, or several for an ensemble.")
    ensemble = [load_engine(model) if isinstance(model, str) else model for model in models]
    first = ensemble[0].card
    for model in ensemble:
        if not isinstance(model.engine, SlicewiseEngine) or len(model.card.inputs) != 1:
            raise LeanSegError(
                f"{model.card.id} runs on the engine {model.card.engine}; a model that does the same with every slice "
                "of one image (slicewise) is needed. Choose such a one."
            )
        for what in ("system", "inputs", "labels", "preprocessing"):
            ours, its = getattr(first, what), getattr(model.card, what)
            if ours != its:
                ours, its = ([label.name for label in of] if what == "labels" else of for of in (ours, its))
                raise LeanSegError(
                    f"{first.id} and {model.card.id} differ in {what} ({ours} and {its}). Choose models of one kind."
                )
    return ensemble


def _look(name: str, image: Path | Volume, ensemble: Sequence[Model], on_slice: Callable[[], None]) -> _Look:
    """Ask all models about every slice; the most uncertain stands for the image.

    Raises:
        UnreadableFileError, IncompatibleInputError: it cannot be used.
        InferenceCancelled: `on_slice` said so.
    """
    volume = image if isinstance(image, Volume) else read_image(image)
    config = ensemble[0].preprocessing
    model_input = preprocess(volume, config)  # type: ignore[arg-type]  # of slice-wise models
    array, inside = model_input.volume.array, _inside(volume, model_input)
    kind = looks_like(to_gray(volume.array)[0])
    best: _Look | None = None
    for k in range(array.shape[1]):
        on_slice()
        one = np.ascontiguousarray(array[np.newaxis, :, k])
        seen = [model.engine.look(one) for model in ensemble if isinstance(model.engine, SlicewiseEngine)]
        uncertainty = image_uncertainty(np.stack([p for p, _ in seen]), inside)
        if best is None or uncertainty > best.uncertainty:
            features = tuple(described for _, described in seen if described is not None)
            thumbnail = _thumbnail(array[0, k], inside)
            picture = picture_descriptor(array[0, k])
            best = _Look(name, _path(image), uncertainty, features, picture, k, array.shape[1], thumbnail, kind)
    assert best is not None  # a volume has a slice
    return best


def _inside(volume: Volume, model_input: ModelInput) -> NDArray[np.bool_]:
    """(j, i) of the model grid: what is image and not padding."""
    moved = volume.with_array(np.ones((1, *volume.geometry.shape), np.float32))
    for change in model_input.trace.steps:
        moved = change.apply(moved)
    return np.asarray(moved.array[0, 0] > 0.5)


def _thumbnail(image: Float32, inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    part = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(1.0, THUMBNAIL_SIDE / max(part.shape))
    j, i = (max(1, round(scale * n)) for n in part.shape)
    return np.asarray(np.round(255 * np.clip(resized(part, (j, i)), 0, 1)), dtype=np.uint8)


def _cases(ranking: Ranking, looks: Sequence[_Look]) -> tuple[SuggestedCase, ...]:
    def case(rank: int, choice: Choice) -> SuggestedCase:
        look, is_suggested = looks[choice.index], rank <= len(ranking.chosen)
        gained = (choice.gain, choice.covered) if is_suggested else (0.0, 0.0)
        figures = (rank, is_suggested, look.uncertainty, *gained, look.k, look.slices)
        return SuggestedCase(look.id, look.path, *figures, look.thumbnail, choice.reason)

    return tuple(case(n, choice) for n, choice in enumerate((*ranking.chosen, *ranking.others), start=1))
