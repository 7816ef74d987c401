"""Figures of a text-guided model, through the path of use (bundle, engine, session), on each image's own grid.

Every picture is asked several things. `generic` says only that a tumor is looked for: the honest figure for text. The
structured prompt is made from the ground truth, so `dice_structured_leaks` knows the answer and says only that words
are followed. `true_prompt_empty`: how often nothing is outlined where number and places that the truth has are said.
A wrong place and "no tumor" must leave the picture empty (`..._empty`: as in use, where the words alone
can empty it; `..._by_network`: what the network itself says). Then a simulated person corrects the answer to
the generic prompt with up to five clicks. On phantoms, one of several lesions is named by its place alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from leanseg.api import Model, load_engine
from leanseg.errors import LeanSegError
from leanseg.inference.hints import NO_HINTS, Click
from leanseg.inference.picture_slices import PictureSlices
from leanseg.inference.prompt_heard import ANY_TUMOR
from leanseg.inference.text_prompted import TextPromptedEngine
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.prompts.describe import components_named, describe, fits
from leanseg.prompts.directions import named
from leanseg.prompts.render import render
from leanseg.prompts.structure import HORIZONTALS, VERTICALS, Location, StructuredPrompt
from leanseg.report import Stopwatch, run_report
from leanseg.request import Device, Precision, Progress, no_progress, step
from leanseg.text_session import SliceProposal, TextSession
from leanseg.training.data.text_pairs import TextCase, cases_of
from leanseg.training.pixel_statistics import PixelStatistics
from leanseg.training.simulated_user import next_clicks

ABSENT = render(StructuredPrompt(number="no"))
CLICKS = 5
REPORTED_CLICKS = (1, 3, 5)
NOISE_VARIANCES = (0.5, 1.0, 1.5, 2.0)
"""Of noise that is added to the z-scored image (protocol of TBraTS, arXiv 2206.09309)."""
NOISY_PICTURES = 24
_MIN_TUMOR_PX = 30
_BRAIN_STEP = 4
"""Of the slices of a volume with tumor."""
Mask = NDArray[np.bool_]


def evaluate_text(
    model_id: str,
    dataset: str,
    folder: Path,
    *,
    split: str = "test",
    device: Device = "auto",
    precision: Precision = "auto",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """The run report of a text-guided model on busi, bus_bra, brats, breastdm or text_phantom.

    `folder` is that of the data set; phantoms are made and need none. `split` as in a recipe: `test`, `val:flair`.

    Raises:
        UnknownNameError: no such data set, split or sequence.
        LeanSegError: the model takes no text.
    """
    cases = list(cases_of(f"{dataset}:{split}", folder))
    watch = Stopwatch()
    model = load_engine(model_id, device, precision)
    watch.loaded()
    pixels = PixelStatistics()
    rows: list[dict[str, Any]] = []
    for n, case in enumerate(cases):
        step(progress, n, len(cases), case.id)
        rows += _Examination(model, case, watch, pixels, is_noisy=n % max(len(cases) // NOISY_PICTURES, 1) == 0).rows()
    step(progress, len(cases), len(cases), "done")
    return run_report(model, watch, rows, summarize_text(rows) | pixels.summary())


def summarize_text(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means of all figures, each over the pictures that have it: `{name: {"mean": mean, "n": pictures}}`."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            if isinstance(value, float) and not math.isnan(value):
                columns.setdefault(key, []).append(value)
    return {key: {"mean": math.fsum(values) / len(values), "n": len(values)} for key, values in columns.items()}


@dataclass
class _Examination:
    """One image or volume, and all that is asked of it."""

    model: Model
    case: TextCase
    watch: Stopwatch
    pixels: PixelStatistics
    is_noisy: bool
    session: TextSession = field(init=False)
    slices: PictureSlices = field(init=False)
    threshold: float = field(init=False)
    """Of the existence"""

    def __post_init__(self) -> None:
        engine, preprocessing = self.model.engine, self.model.preprocessing
        if not isinstance(engine, TextPromptedEngine) or not isinstance(preprocessing, PreprocessingConfig):
            raise LeanSegError(f"{self.model.card.id} takes no text. Choose a model that is guided by text.")
        self.threshold = engine.config.existence_threshold
        self.session = TextSession(self.model, self.case.image, self.case.modality)
        self.slices = PictureSlices(self.case.image, preprocessing, self.case.modality)

    def rows(self) -> Iterator[dict[str, Any]]:
        depth, pixels = len(self.case.truth), self.case.truth.sum(axis=(1, 2))
        chosen = [0] if depth == 1 else [k for k in range(depth) if pixels[k] >= _MIN_TUMOR_PX][::_BRAIN_STEP]
        for k in chosen:
            yield {"id": self.case.id, "slice": k} | self._picture(k)

    def _ask(self, k: int, text: str, **options: Any) -> SliceProposal:
        return self.session.propose([k], text, **options)[k]

    def _picture(self, k: int) -> dict[str, float]:
        truth = self.case.truth[k]
        self.watch.begin_image()
        generic = self._ask(k, ANY_TUMOR)
        self.watch.image_done(1)
        self.pixels.add(generic.probability, generic.uncertainty, truth)
        if not truth.any():
            return {"normal_empty": float(generic.is_absent)}
        figures = {"dice_generic": _dice(generic.mask, truth)} | self._words(k, truth) | self._clicks(k, generic)
        figures |= _near_and_far(generic.uncertainty, truth)
        if self.case.lesions is not None:
            figures |= self._named_one(k, self.case.lesions[k])
        if self.is_noisy:
            figures |= self._noise(k, generic)
        return figures

    # ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _seen(self, k: int, mask: Mask) -> tuple[Mask, Mask]:
        """A mask, and the organ, in the picture that the network sees."""
        return self.slices.onto_grid(mask), self.slices.picture(k).organ

    def _in_words(self, prompt: StructuredPrompt) -> str:
        """About the picture -> as the person would say it about the patient."""
        return render(named(prompt, self.slices.frame))

    def _words(self, k: int, truth: Mask) -> dict[str, float]:
        mask, organ = self._seen(k, truth)
        true = describe(mask, organ, self.case.modality)
        absent = self._ask(k, ABSENT)
        figures = {"absent_empty": float(absent.is_absent), "absent_by_network": self._denies(absent)}
        if true.number == "no":  # too small on the model grid for words
            return figures
        figures["dice_structured_leaks"] = _dice(self._ask(k, self._in_words(true)).mask, truth)
        counted = self._ask(k, self._in_words(StructuredPrompt(number=true.number, locations=true.locations)))
        figures["true_prompt_empty"] = float(counted.is_absent)
        wrong = [
            place
            for place in (Location(v, h) for v in VERTICALS for h in HORIZONTALS)
            if not fits(mask, StructuredPrompt(locations=(place,)), organ)
        ]
        if wrong:  # one for each picture, always the same, and all of them in turn
            place = wrong[(len(self.case.id) + k) % len(wrong)]
            said = replace(true, number="one", locations=(place,))
            elsewhere = self._ask(k, self._in_words(said))
            figures["wrong_place_empty"] = float(elsewhere.is_absent)
            figures["wrong_place_by_network"] = self._denies(elsewhere)
        return figures

    def _denies(self, proposal: SliceProposal) -> float:
        """1 where the network itself outlines nothing; a mask may be empty because of the words alone."""
        is_outlined = (proposal.probability > 0.5).any()
        return float(not is_outlined or proposal.existence < self.threshold)

    def _named_one(self, k: int, lesions: NDArray[np.uint8]) -> dict[str, float]:
        """How much of the mask lies on the lesion that was named, of those that their place singles out."""
        numbers = [int(n) for n in np.unique(lesions) if n]
        mask, organ = self._seen(k, lesions > 0)
        shares, dice = [], []
        for n in numbers if len(numbers) > 1 else ():
            one = self.slices.onto_grid(lesions == n)
            places = describe(one, organ).locations
            if len(places) != 1:
                continue
            prompt = StructuredPrompt(number="one", locations=places)
            if (components_named(mask, prompt, organ) & ~one).any():
                continue
            found = self._ask(k, self._in_words(prompt)).mask
            shares.append(float((found & (lesions == n)).sum() / max((found & (lesions > 0)).sum(), 1)))
            dice.append(_dice(found, lesions == n))
        return {"named_share": float(np.mean(shares)), "named_dice": float(np.mean(dice))} if shares else {}

    # ── clicks ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _clicks(self, k: int, proposal: SliceProposal) -> dict[str, float]:
        """Dice after clicks; a person who sees nothing wrong stops clicking."""
        truth, hints, figures = self.case.truth[k], NO_HINTS, {}
        for number in range(1, CLICKS + 1):
            arrays = (proposal.mask, truth, proposal.uncertainty)
            mask, target, vacuity = (torch.from_numpy(np.ascontiguousarray(a))[None, None] for a in arrays)
            click = next_clicks(mask, target, vacuity)
            if bool(click.is_made[0]):
                j, i = (float(x) for x in click.places[0])
                hints = hints.with_hint(Click((float(k), j, i), bool(click.is_positive[0])))
                proposal = self._ask(k, ANY_TUMOR, hints=hints, earlier={k: proposal.mask})
            if number in REPORTED_CLICKS:
                figures[f"dice_{number}_click{'s' * (number > 1)}"] = _dice(proposal.mask, truth)
        return figures

    # ── uncertainty ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _noise(self, k: int, clean: SliceProposal) -> dict[str, float]:
        """Mean vacuity under noise of growing variance, as a multiple of that of the clean picture."""
        image = self.case.image.array[:, k : k + 1].astype(np.float32)
        noise = np.random.default_rng(k).standard_normal(image.shape[1:]).astype(np.float32)
        slab = self.case.image.geometry
        geometry = type(slab)((1, *slab.shape[1:]), slab.ijk_to_ras, slab.is_calibrated)
        figures = {}
        for variance in NOISE_VARIANCES:
            noisy = np.clip(image + math.sqrt(variance) * image.std() * noise, 0, None)
            session = TextSession(self.model, type(self.case.image)(noisy, geometry), self.case.modality)
            vacuity = session.propose([0], ANY_TUMOR)[0].uncertainty
            figures[f"noise_{variance}_vacuity_rise"] = float(vacuity.mean() / max(clean.uncertainty.mean(), 1e-6))
        return figures


def _near_and_far(uncertainty: NDArray[np.float32], truth: Mask) -> dict[str, float]:
    """Mean vacuity within 3 pixels of the true boundary, and elsewhere."""
    image = sitk.GetImageFromArray(truth.astype(np.uint8))
    distance = np.abs(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, squaredDistance=False)))
    near = distance <= 3
    return {
        "vacuity_near_boundary": float(uncertainty[near].mean()),
        "vacuity_elsewhere": float(uncertainty[~near].mean()),
    }


def _dice(predicted: Mask, truth: Mask) -> float:
    both = int((predicted & truth).sum())
    return 2 * both / max(int(predicted.sum() + truth.sum()), 1)
