"""What the papers report of each system, and how ours differs. `docs/systems.py` sets it beside our own figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

Source: TypeAlias = Literal["known", "second-hand", "recalled", "inferred"]
SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "known": "read in the paper's abstract, figures or tables, or counted in the authors' code",
        "second-hand": "reported by others, who read the paper",
        "recalled": "from memory, not compared with the paper: check it before you quote it",
        "inferred": "deduced from other published facts",
    }
)
"""How a figure is known."""


class Figure(NamedTuple):
    what: str
    value: str
    source: Source


@dataclass(frozen=True)
class Published:
    figures: tuple[Figure, ...]
    """None: what is published could not be read."""
    differs: str
    """What is not the paper's here, in a sentence or two; the header of the home file has all of it."""


_19 = "BraTS 2019 validation, Dice ET / WT / TC, percent"
_20 = "BraTS 2020 validation, Dice ET / WT / TC, percent"
_COST = "GMACs of a case of 128 x 128 x 128"
_SIZE = "parameters, millions"

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "t2kd_attention_unet": Published(
            (
                Figure("BUSI: Dice / mIoU / recall / precision, percent", "83.59 / 77.78 / 86.23 / 85.09", "known"),
                Figure("Dataset B: Dice / mIoU, percent", "88.40 / 82.42", "known"),
                Figure("student: parameters / cost", "2.2 million / 16.59 GFLOPs", "known"),
                Figure("teacher: parameters / cost", "106.1 million / 205.98 GFLOPs", "known"),
            ),
            "All formulas of the distillation, and the widths, are inferred. BUSI is cleared of near-duplicates and "
            "normal images take part, so that the test differs from the paper's.",
        ),
        "med_danet": Published(
            (
                Figure(_19, "79.99 / 90.13 / 80.83", "known"),
                Figure(_20, "80.57 / 90.28 / 81.34", "known"),
                Figure(_COST, "77.78", "known"),
            ),
            "The members of the bank and the labels of the decision network are inferred. Whole slices are decided "
            "about, and there are 16 cases to train on, not 335.",
        ),
        "med_danet_v2": Published(
            (
                Figure(_19, "80.08 / 90.27 / 81.28", "known"),
                Figure(_20, "80.38 / 90.14 / 81.16", "known"),
                Figure(_COST + ", weighted by bits", "19.36", "known"),
                Figure(_SIZE, "1.751", "known"),
            ),
            "A crop is pasted where it was cut, what is frozen rests, skipped slices are background, and the cost "
            "counts the decisions. Whole slices are decided about, and there are 16 cases to train on, not 335.",
        ),
        "segresnet": Published(
            (Figure(_19 + ", in the table of TransBTS", "80.0 / 89.4 / 83.4", "known"),),
            "MONAI's network, without the autoencoder of the paper; a yardstick for the 2-D networks.",
        ),
        "trans_bts": Published(
            (
                Figure(_19 + ", without flips", "78.36 / 88.89 / 81.41", "known"),
                Figure(_20 + ", without flips", "78.50 / 89.00 / 81.36", "known"),
                Figure(_COST, "333.09", "known"),
                Figure(_SIZE, "32.99", "recalled"),
            ),
            "Logits in place of a double softmax, no dropout in use, any grid in multiples of 8, and windows that fit "
            "together; layers whose output nobody sees are left out.",
        ),
        "trans_bts_v2": Published(
            (
                Figure(_19, "80.24 / 90.42 / 84.87", "recalled"),
                Figure(_20, "79.63 / 90.56 / 84.50", "recalled"),
                Figure(_COST, "240.66", "recalled"),
                Figure(_SIZE, "15.30", "recalled"),
            ),
            "No code was released: widths were chosen so that size and cost fit the published ones.",
        ),
        "cga_unet": Published(
            (
                Figure(_SIZE, "4.769", "known"),
                Figure(_COST, "151.5", "known"),
                Figure("of it attention: parameters / GMACs", "10,404 / 0.687", "known"),
            ),
            "Classes that an image lacks do not count in the distance between classes, and that loss does not grow "
            "with the batch. The Dice of the paper could not be read.",
        ),
        "med_tuning": Published(
            (
                Figure(_19 + ", Swin-UNet", "78.51 / 89.68 / 80.44", "known"),
                Figure(_20 + ", Swin-UNet", "79.25 / 90.06 / 80.79", "known"),
                Figure("parameters tuned / inserted, millions, Swin-UNet", "7.489 / 0.738", "known"),
            ),
            "The patch embedding is inflated to the number of sequences, and adapters start as the identity. No "
            "weights of natural images are shipped. Folders of timm are not read, only those that transformers saves.",
        ),
        "fremae": Published(
            (
                Figure(_19 + ", TransBTSV2 in 2-D: from scratch", "78.63 / 90.09 / 80.23", "known"),
                Figure("the same, pre-trained", "79.74 / 90.23 / 81.25", "known"),
                Figure("ISIC 2018, Dice: from scratch / pre-trained, percent", "92.56 / 93.39", "known"),
            ),
            "The encoders of eight networks are pre-trained, also where sequences are missing: in 2-D attention_unet, "
            "text_bcs, residual_unet and med_danet_v2, in 3-D segresnet, trans_bts, trans_bts_v2 (all before its "
            "Transformer) and cga_unet.",
        ),
        "pne": Published(
            (),
            "The paper has no code, and its figures could not be read: formula and values are inferred from the "
            "abstract. The projection sees drawn pixels alone. It goes beside the loss of recipes that train a 2-D "
            "network by nothing else; those with a method of their own, such as text or decisions, and 3-D networks "
            "refuse it.",
        ),
        "agln": Published(
            (
                Figure("PASCAL Context, mIoU with ResNet-101, percent", "56.23", "known"),
                Figure("decoder for 60 classes: parameters", "15.98 million", "known"),
                Figure("decoder for 60 classes at 480 x 480: GMACs", "124.7", "known"),
            ),
            "The encoder is exchangeable: what is trained here has a small one of ours and a decoder of 48 channels, "
            "for one gray channel and a CPU.",
        ),
        "text_bcs": Published(
            (
                Figure("Duke breast MRI, slices: Dice / mIoU, percent", "85.33 / 76.08", "second-hand"),
                Figure("its U-Net alone: Dice / mIoU, percent", "81.54 / 73.22", "second-hand"),
                Figure("parameters / cost", "32.5 million / 52.3 GFLOPs", "second-hand"),
            ),
            "Trained on other data, with sentences that are made from masks. Clicks, a box, the answer that nothing is "
            "there, and features that do not depend on the text are ours.",
        ),
        "cm_mask_sd": Published(
            (
                Figure("RefCOCO val / testA / testB, IoU, percent", "74.89 / 77.54 / 71.28", "second-hand"),
                Figure("G-Ref val / test, IoU, percent", "66.53 / 66.63", "second-hand"),
            ),
            "The released repository is empty: mask ratios, selection and weights of the losses are inferred.",
        ),
        "mf2_mvqa": Published(
            (
                Figure(
                    "MMBERT, which it improves on: VQA-RAD open / closed / overall, percent",
                    "63.1 / 77.9 / 72.0",
                    "known",
                ),
            ),
            "Layers, pooling and classifier are inferred, and the encoder is a small U-Net's in place of ResNet-152. "
            "The accuracy of the paper could not be read.",
        ),
        "dsq": Published(
            (
                Figure("ImageNet, ResNet-18, top-1 with 2 / 3 / 4 bits, percent", "65.17 / 68.66 / 69.56", "recalled"),
                Figure("the same without quantization", "69.90", "recalled"),
                Figure("speed of 2 bits against NCNN's 8 on a Raspberry Pi, at most", "1.7 times", "known"),
            ),
            "Applied to segmentation. The ceiling of alpha falls in the course of training (inferred); the kernels for "
            "ARM are not reproduced.",
        ),
        "inq": Published(
            (
                Figure("GlaS, F1 of part A / B", "0.930 / 0.862", "recalled"),
                Figure("GlaS, object Dice of part A / B", "0.914 / 0.859", "recalled"),
                Figure("memory with 5 / 7 bits", "6.4 / 4.6 times less", "known"),
            ),
            "Networks are our U-Nets, not the paper's FCN, and GlaS is read as gray.",
        ),
    }
)
"""By id of the system."""
