"""Every published system as data: what the command line, the modules and the tests read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from leanseg.errors import UnknownNameError
from leanseg.published import PUBLISHED, Published


@dataclass(frozen=True)
class System:
    """One published system and where it lives here."""

    id: str
    title: str
    paper: str
    """DOI or arXiv id."""
    home: tuple[str, ...]
    """Home file(s), relative to the repository."""
    module: str
    """Slicer module(s) that show it."""
    state: Literal["works", "planned"] = "planned"
    engine: str = ""
    recipes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def published(self) -> Published:
        """What the paper reports, and how this one differs."""
        return PUBLISHED[self.id]

    @property
    def bundle(self) -> str:
        """Ids of its models, or why there is none."""
        return ", ".join(self.models) or ("recipe only" if self.recipes else "none yet")

    def to_json(self) -> dict[str, Any]:
        """A row of `leanseg systems --json`; scripts depend on the keys, and new ones go to the end."""
        return {
            "id": self.id,
            "title": self.title,
            "paper": self.paper,
            "home": list(self.home),
            "tests": list(self.tests),
            "recipe": list(self.recipes),
            "models": list(self.models),
            "module": self.module,
            "state": self.state,
            "published": [figure._asdict() for figure in self.published.figures],
            "differs": self.published.differs,
        }


_ALL = "UltrasoundKD, DynamicBrainSeg, TextGuidedSeg"

SYSTEMS: tuple[System, ...] = (
    System(
        id="t2kd_attention_unet",
        title="T2KD Attention U-Net: dual-teacher distillation for breast ultrasound",
        paper="doi:10.7507/1001-5515.202311054",
        home=("leanseg/training/t2kd.py", "leanseg/networks/attention_unet.py"),
        module="UltrasoundKD",
        state="works",
        engine="slicewise",
        recipes=(
            "t2kd_teacher",
            "t2kd_teacher_benign",
            "t2kd_teacher_malignant",
            "t2kd_student",
            "t2kd_student_alone",
            "t2kd_student_both_sets",
            "t2kd_student_joint",
            "t2kd_student_fine",
            "t2kd_busi",
            "t2kd_student_low_bits",
        ),
        models=("t2kd_busi",),
        tests=("Testing/engine/training/test_t2kd.py", "Testing/engine/networks/test_attention_unet.py"),
        aliases=("T2KD", "T²KD", "LightBTSeg"),
    ),
    System(
        "med_danet",
        "Med-DANet",
        "arXiv:2206.06575",
        ("leanseg/networks/med_danet.py", "leanseg/training/med_danet.py"),
        "DynamicBrainSeg",
        state="works",
        engine="dynamic_slicewise",
        recipes=("med_danet_bank", "med_danet"),
        models=("med_danet",),
        tests=("Testing/engine/networks/test_med_danet.py", "Testing/engine/training/test_med_danet.py"),
    ),
    System(
        "med_danet_v2",
        "Med-DANet V2",
        "arXiv:2310.18656",
        ("leanseg/networks/med_danet_v2.py", "leanseg/training/med_danet_v2.py"),
        "DynamicBrainSeg",
        state="works",
        engine="dynamic_slicewise",
        recipes=("med_danet_v2",),
        models=("med_danet_v2",),
        tests=("Testing/engine/networks/test_med_danet_v2.py", "Testing/engine/training/test_med_danet_v2.py"),
    ),
    System(
        "segresnet",
        "SegResNet of MONAI",
        "arXiv:1810.11654",
        ("leanseg/networks/segresnet.py", "leanseg/training/volumes.py"),
        "DynamicBrainSeg",
        state="works",
        engine="sliding_window",
        recipes=("segresnet",),
        tests=("Testing/engine/networks/test_segresnet.py", "Testing/engine/training/test_volumes.py"),
    ),
    System(
        "trans_bts",
        "TransBTS",
        "arXiv:2103.04430",
        ("leanseg/networks/trans_bts.py", "leanseg/training/volumes.py"),
        "DynamicBrainSeg",
        state="works",
        engine="sliding_window",
        recipes=("trans_bts",),
        tests=("Testing/engine/networks/test_trans_bts.py", "Testing/engine/training/test_volumes.py"),
    ),
    System(
        "trans_bts_v2",
        "TransBTSV2",
        "arXiv:2201.12785",
        ("leanseg/networks/trans_bts_v2.py", "leanseg/training/volumes.py"),
        "DynamicBrainSeg",
        state="works",
        engine="sliding_window",
        recipes=("trans_bts_v2",),
        tests=("Testing/engine/networks/test_trans_bts_v2.py", "Testing/engine/training/test_volumes.py"),
    ),
    System(
        "cga_unet",
        "CGA U-Net",
        "arXiv:2203.15383",
        ("leanseg/networks/cga_unet.py", "leanseg/losses/class_centers.py", "leanseg/training/class_guided.py"),
        "DynamicBrainSeg",
        state="works",
        engine="sliding_window",
        recipes=("cga_unet",),
        tests=("Testing/engine/networks/test_cga_unet.py", "Testing/engine/training/test_class_guided.py"),
    ),
    System(
        "med_tuning",
        "Med-Tuning, also to adapt shipped models",
        "arXiv:2304.10880",
        ("leanseg/networks/med_tuning.py", "leanseg/training/adapt.py"),
        "DynamicBrainSeg, UltrasoundKD",
        state="works",
        engine="sliding_window",
        recipes=("adapt", "med_tuning"),
        tests=("Testing/engine/networks/test_med_tuning.py", "Testing/engine/training/test_adapt.py"),
        aliases=("Med-Tuning",),
    ),
    System(
        "fremae",
        "FreMAE: pre-training without labels",
        "arXiv:2304.10864",
        ("leanseg/training/fremae.py", "leanseg/losses/frequency.py"),
        _ALL,
        state="works",
        recipes=("fremae_busi", "fremae_brats"),
        tests=("Testing/engine/training/test_fremae.py", "Testing/engine/training/test_fremae_runs.py"),
        aliases=("FreMIM",),
    ),
    System(
        "pne",
        "PNE loss",
        "arXiv:2207.01417",
        ("leanseg/losses/pne.py", "leanseg/training/pixel_contrast.py"),
        "UltrasoundKD",
        state="works",
        engine="slicewise",
        recipes=("pne_busi",),
        tests=("Testing/engine/losses/test_pne.py", "Testing/engine/training/test_pixel_contrast.py"),
    ),
    System(
        "agln",
        "AGLN",
        "arXiv:2204.04363",
        ("leanseg/networks/agln.py",),
        _ALL,
        state="works",
        engine="slicewise",
        recipes=("agln_busi",),
        tests=("Testing/engine/networks/test_agln.py",),
    ),
    System(
        "text_bcs",
        "TextBCS",
        "arXiv:2603.11206",
        ("leanseg/networks/text_bcs.py", "leanseg/losses/evidential.py", "leanseg/training/text_guided.py"),
        "TextGuidedSeg",
        state="works",
        engine="text_prompted",
        recipes=("text_bcs_words", "text_bcs", "text_bcs_ablation"),
        models=("text_bcs",),
        tests=("Testing/engine/networks/test_text_bcs.py", "Testing/engine/training/test_text_guided.py"),
    ),
    System(
        "cm_mask_sd",
        "CM-MaskSD",
        "arXiv:2305.11481",
        ("leanseg/networks/cm_mask_sd.py", "leanseg/losses/masked_distillation.py", "leanseg/prompts/referring.py"),
        "TextGuidedSeg",
        state="works",
        engine="referring",
        recipes=("cm_mask_sd", "cm_mask_sd_ablation"),
        models=("cm_mask_sd",),
        tests=(
            "Testing/engine/networks/test_cm_mask_sd.py",
            "Testing/engine/losses/test_masked_distillation.py",
            "Testing/engine/training/test_referring.py",
        ),
    ),
    System(
        "mf2_mvqa",
        "MF2-MVQA",
        "arXiv:2211.05991",
        ("leanseg/networks/mf2_mvqa.py", "leanseg/training/question_answering.py"),
        "TextGuidedSeg",
        state="works",
        engine="question_answering",
        recipes=("mf2_mvqa", "mf2_mvqa_ablation"),
        models=("mf2_mvqa",),
        tests=("Testing/engine/networks/test_mf2_mvqa.py", "Testing/engine/training/test_question_answering.py"),
        aliases=("MF²-MVQA",),
    ),
    System(
        "dsq",
        "DSQ: differentiable soft quantization",
        "arXiv:1908.05033",
        ("leanseg/quantization/dsq.py",),
        _ALL,
        state="works",
        engine="slicewise",
        recipes=("t2kd_student_low_bits",),
        tests=("Testing/engine/quantization/test_dsq.py", "Testing/engine/training/test_export_packed.py"),
    ),
    System(
        "inq",
        "INQ with suggestive annotation",
        "arXiv:1803.04907",
        (
            "leanseg/quantization/inq.py",
            "leanseg/inference/suggestive_annotation.py",
            "leanseg/training/suggestive.py",
        ),
        "UltrasoundKD",
        state="works",
        engine="slicewise",
        recipes=("glas_attention_unet",),
        tests=(
            "Testing/engine/quantization/test_inq.py",
            "Testing/engine/inference/test_suggestive_annotation.py",
            "Testing/engine/training/test_suggestive.py",
        ),
    ),
)


def find_system(name: str) -> System:
    """A system by id or alias, whatever the case.

    Raises:
        UnknownNameError: no such system.
    """
    for system in SYSTEMS:
        if name.casefold() in {system.id.casefold(), *(alias.casefold() for alias in system.aliases)}:
            return system
    raise UnknownNameError("system", name, (system.id for system in SYSTEMS))
