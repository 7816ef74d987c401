import pytest
import torch
from torch import Tensor

from leanseg.networks.text_encoder import SmallTextNetwork, TextEncoderConfig
from Testing.engine.networks.contract import count_parameters

SMALL = TextEncoderConfig(vocabulary=11, length=9, width=8, layers=2, heads=2, ratio=3, out_width=5)


@pytest.fixture
def network() -> SmallTextNetwork:
    torch.manual_seed(0)
    network = SmallTextNetwork(SMALL)
    for parameter in network.parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape))  # so that nothing is 0 or 1 by construction
    return network.eval()


def text(*pieces: int, pads: int = 0) -> tuple[Tensor, Tensor]:
    ids = torch.tensor([[*pieces, *[0] * pads]])
    return ids, torch.tensor([[False] * len(pieces) + [True] * pads])


def test_padding_has_no_effect(network: SmallTextNetwork) -> None:
    alone = network(*text(2, 5, 7, 3))
    padded = network(*text(2, 5, 7, 3, pads=5))
    torch.testing.assert_close(padded[:, :4], alone, rtol=0, atol=1e-5)
    assert not padded[:, 4:].any()


def test_what_stands_in_a_padded_place_has_no_effect(network: SmallTextNetwork) -> None:
    ids, padding = text(2, 5, 3, pads=3)
    other = ids.clone()
    other[0, 3:] = torch.tensor([9, 8, 7])
    assert torch.equal(network(ids, padding), network(other, padding))


def test_every_piece_sees_every_other_and_their_order(network: SmallTextNetwork) -> None:
    first, changed, exchanged = (network(*text(*pieces)) for pieces in ((2, 5, 7, 3), (2, 5, 6, 3), (2, 7, 5, 3)))
    assert ((first - changed).abs().amax(dim=-1) > 1e-4).all()
    assert ((first - exchanged).abs().amax(dim=-1) > 1e-4).all()


def test_a_batch_of_two_is_two_batches_of_one(network: SmallTextNetwork) -> None:
    (a, a_padding), (b, b_padding) = text(2, 5, 7, 3), text(2, 8, 3, pads=1)
    together = network(torch.cat([a, b]), torch.cat([a_padding, b_padding]))
    apart = torch.cat([network(a, a_padding), network(b, b_padding)])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def test_number_of_parameters_by_hand() -> None:
    # pieces 2048 x 128, places 24 x 128; 3 layers of query-key-value, output, 128 -> 512 -> 128 and two norms
    layer = (128 * 384 + 384) + (128 * 128 + 128) + (128 * 512 + 512) + (512 * 128 + 128) + 4 * 128
    expected = 2048 * 128 + 24 * 128 + 3 * layer + 2 * 128 + (128 * 384 + 384)
    assert count_parameters(SmallTextNetwork(TextEncoderConfig(vocabulary=2048))) == expected == 909_824
    assert expected <= 1.3e6


def test_every_parameter_gets_a_gradient(network: SmallTextNetwork) -> None:
    network(*text(*range(9))).square().sum().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_text_that_is_too_long_is_refused(network: SmallTextNetwork) -> None:
    with pytest.raises(ValueError, match="has 10 pieces; this network reads 9"):
        network(*text(*[2] * 10))


@pytest.mark.parametrize("changes", [{"width": 10, "heads": 4}, {"layers": 0}, {"vocabulary": 0}])
def test_an_impossible_config_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        TextEncoderConfig(**changes)
