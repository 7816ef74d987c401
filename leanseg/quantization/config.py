"""How a network is quantized, as data: a section of recipes, and a value in cards."""

from dataclasses import asdict, dataclass
from typing import Any

from leanseg.errors import UnknownNameError

METHODS = ("uniform", "dsq", "inq")
GRANULARITIES = ("tensor", "channel")
FEWEST_BITS = {"uniform": 2, "dsq": 1, "inq": 2}
"""One bit has no zero: a symmetric grid would be zero alone, and a code book of powers of two has nothing else."""
MOST_BITS = 8
MAX_ALPHA = 0.5
PAPER_PORTIONS = (0.5, 0.75, 0.875, 1.0)


def check_bits(what: str, bits: object, fewest: int = 1) -> int:
    """`bits`, if it is a whole number that codes can have.

    Raises:
        ValueError: anything else.
    """
    if type(bits) is not int or not fewest <= bits <= MOST_BITS:
        raise ValueError(f"{what} must be a whole number from {fewest} to {MOST_BITS}; got {bits!r}. Choose, say, 4.")
    return bits


@dataclass(frozen=True)
class QuantizationConfig:
    """What `quantize_` does to a network."""

    method: str = "dsq"
    """`uniform`: rounding with a straight-through gradient, as Med-DANet V2 does. `dsq`: Differentiable Soft
    Quantization. `inq`: Incremental Network Quantization, of weights alone."""
    bits: int = 4
    """Of each weight."""
    activation_bits: int | None = None
    """Of the input of each quantized layer, always per tensor; None: it stays as it is."""
    granularity: str = "tensor"
    """One range of weights for each `tensor` or for each output `channel`."""
    skip: tuple[str, ...] = ("first", "last")
    """Layers that keep all their bits, by name or pattern (`decoder.*.gate.*`); `first` and `last` stand for the first
    and the last layer in the order of definition."""
    clip_sigmas: float | None = None
    """Weights further from their mean than so many standard deviations are clipped at the start. None: 2.6 for `dsq`,
    and nothing is clipped by `uniform`. The squared error for normal weights is least at 0.8, 1.5, 2.1, 2.5 for 1, 2,
    3, 4 bits (Max 1960)."""
    alpha: float = 0.2
    """Of `dsq`: distance of the soft step from the hard level at the start, as a part of half a step."""
    alpha_pull: float = 1e-4
    """Of `dsq`: weight of the sum of alpha^2 over the layers in the loss."""
    portions: tuple[float, ...] = PAPER_PORTIONS
    """Of `inq`: parts of the weights that are quantized after each round; the last is 1."""
    symmetric: bool = False
    """Of `dsq`: ranges of weights begin and stay symmetric about 0, which runs faster in INT8. The other methods are
    symmetric in any case."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownNameError("quantization method", self.method, METHODS)
        if self.granularity not in GRANULARITIES:
            raise UnknownNameError("granularity", self.granularity, GRANULARITIES)
        fewest = FEWEST_BITS[self.method]
        check_bits(f"bits of {self.method}", self.bits, fewest)
        if self.activation_bits is not None:
            check_bits("activation_bits", self.activation_bits)
            if self.method == "inq":
                raise ValueError("inq quantizes weights alone. Leave activation_bits out, or choose dsq or uniform.")
        if self.clip_sigmas is not None and not self.clip_sigmas > 0:
            raise ValueError(f"clip_sigmas must be positive; got {self.clip_sigmas}.")
        if not 0 < self.alpha < MAX_ALPHA or not self.alpha_pull >= 0:
            raise ValueError(
                f"alpha lies between 0 and {MAX_ALPHA}, alpha_pull is 0 or more; got {self.alpha}, {self.alpha_pull}."
            )
        rising = sorted(set(self.portions))
        if not rising or list(self.portions) != rising or rising[0] <= 0 or rising[-1] != 1:
            raise ValueError(f"portions must rise from above 0 to 1; got {self.portions}.")

    def continues(self, earlier: "QuantizationConfig") -> bool:
        """Whether a run with this config can go on from what was trained with `earlier`: the same but for its bits.

        A code book of powers of two is read from float weights, so `inq` goes on from nothing that is quantized.
        """
        names = ("method", "granularity", "skip", "symmetric")
        same = all(getattr(self, name) == getattr(earlier, name) for name in names)
        return same and self.method != "inq" and (self.activation_bits is None) == (earlier.activation_bits is None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"skip": list(self.skip), "portions": list(self.portions)}
