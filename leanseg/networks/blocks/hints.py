"""Clicks, boxes and earlier masks on their way into the features of a network. Not of the papers; sizes are ours."""

from jaxtyping import Float
from torch import Tensor, nn

_HINT_CHANNELS = 8


class HintStage(nn.Module):
    """Adds hints to the features of a level; where all hints are 0 it adds 0, so it has no bias."""

    def __init__(self, hints: int, channels: int, factor: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(factor) if factor > 1 else nn.Identity()  # a mean would wash a click out
        self.convs = nn.Sequential(
            nn.Conv2d(hints, _HINT_CHANNELS, kernel_size=3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(_HINT_CHANNELS, channels, kernel_size=1, bias=False),
        )

    def forward(
        self, x: Float[Tensor, "batch channel h w"], hints: Float[Tensor, "batch hint height width"]
    ) -> Float[Tensor, "batch channel h w"]:
        result: Tensor = x + self.convs(self.pool(hints))
        return result
