"""What a recipe says about a network that is guided by text: who reads, what is said, what is shown."""

from __future__ import annotations

from dataclasses import dataclass

ENCODER_KINDS = ("small", "transformers")
DICE_OF = ("softmax", "belief", "probability")


@dataclass(frozen=True)
class TextConfig:
    """Section [text] of a recipe; fractions are of the images of a batch."""

    encoder: str = ""
    """Folder of the text encoder, frozen: a run of the small one, or for `transformers` a folder or id. Empty: nothing
    is said in training, for a network without text."""
    encoder_kind: str = "small"
    start: str = ""
    """Id of a bundle, or safetensors file, of an `attention_unet` whose encoder is the start; empty: random."""
    per_part: int = 600
    """Images that are drawn of each part of the data in an epoch, others each time, all where there are fewer."""
    describe_px: int = 96
    """Side on which masks are described."""
    generic: float = 0.25
    """Prompts that say no more than that a tumor is looked for."""
    wrong: float = 0.1
    """Prompts that are clearly wrong, or say that there is no tumor: the target is empty."""
    report: float = 0.4
    """Of the images with a report, that it is the prompt."""
    named: float = 0.6
    """Of the images with several lesions and a prompt that describes, that it names some of them."""
    insist: float = 0.3
    """Of wrong prompts where the person clicks: on the tumor, which then is the target."""
    click_rounds: tuple[float, ...] = (0.4, 0.25, 0.2, 0.15)
    """Probability of 0, 1, 2, ... clicks by the simulated person in a batch; (1,) is none."""
    box: float = 0.08
    earlier: float = 0.7
    """That the mask of the round before is shown with a click, as an earlier mask."""
    hint_radius_px: float = 5.0
    existence_weight: float = 0.2
    alignment_weight: float = 1e-3
    place_weight: float = 1.0
    """Of what the stages say about places, where the network has `locates`."""
    kl_weight: float = 0.2
    """Of evidence for the wrong class. Where both classes are as probable, it holds each alpha near 1 + 1 / (4 weight):
    the mean over pixels with the paper's 0.025 leaves edges as sure as everything else (vacuity 0.09), this 0.44."""
    kl_ramp_epochs: int = 10
    dice_of: str = "softmax"
    """What Dice is computed on: the expected `probability`, as in the paper, the `belief`, or the `softmax` of the same
    logits. All are decided alike. Every pixel of background has an expected probability of at least 1 / W, and there
    are many: for a small lesion, Dice of it says little before the evidence is large, which takes many epochs."""

    def __post_init__(self) -> None:
        if self.encoder_kind not in ENCODER_KINDS:
            raise ValueError(f"encoder_kind must be one of {', '.join(ENCODER_KINDS)}; got {self.encoder_kind!r}.")
        if self.dice_of not in DICE_OF:
            raise ValueError(f"dice_of must be one of {', '.join(DICE_OF)}; got {self.dice_of!r}.")
        shares = (self.generic, self.wrong, self.report, self.named, self.insist, self.box, self.earlier)
        if min(shares) < 0 or max(shares) > 1 or self.generic + self.wrong > 1:
            raise ValueError(
                f"generic, wrong, report, named, insist, box and earlier lie between 0 and 1; got {shares}."
            )
        if not self.click_rounds or min(self.click_rounds) < 0 or abs(sum(self.click_rounds) - 1) > 1e-6:
            raise ValueError(f"click_rounds must be 0 or more and sum to 1; got {self.click_rounds}.")
        if min(self.per_part, self.describe_px) < 1 or self.hint_radius_px <= 0:
            raise ValueError("per_part, describe_px and hint_radius_px must be positive.")
