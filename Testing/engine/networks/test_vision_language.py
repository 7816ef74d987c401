import math

import pytest
import torch
from torch import Tensor

from leanseg.networks.blocks.vision_language import (
    CrossAttentionLayer,
    Prompt,
    VisionLanguageStage,
    heads_for,
    sine_positions,
)


@pytest.fixture
def stage() -> VisionLanguageStage:
    torch.manual_seed(0)
    stage = VisionLanguageStage(channels=6, width=16, text_width=5, grid=4, heads=8, dropout=0.1).eval()
    torch.nn.init.constant_(stage.gate, 0.5)
    return stage


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 6, 8, 12, generator=torch.Generator().manual_seed(1))


def prompt(padded: tuple[int, int] = (1, 3), length: int = 4) -> Prompt:
    """The last `padded` tokens of each image are padding."""
    tokens = torch.randn(2, length, 5, generator=torch.Generator().manual_seed(2))
    words = length - torch.tensor(padded)
    return Prompt(tokens, torch.arange(length)[None] >= words[:, None])


@pytest.mark.parametrize(("width", "heads"), [(64, 4), (96, 6), (128, 8), (512, 8), (16, 1), (8, 1), (80, 5), (112, 7)])
def test_a_head_has_at_least_16_channels(width: int, heads: int) -> None:
    assert heads_for(width, 8) == heads


def test_attention_by_hand() -> None:
    layer = CrossAttentionLayer(width=2, heads=1, dropout=0.0).eval()
    with torch.no_grad():
        for linear in (layer.query, layer.key, layer.value, layer.out):
            linear.weight.copy_(torch.eye(2))
            linear.bias.zero_()
        layer.ffn[3].weight.zero_()
        layer.ffn[3].bias.zero_()
        query, source = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[4.0, 2.0], [0.0, 6.0]]])
        result = layer(query, source).flatten().tolist()
    # layer norm makes (1, -1) of (3, 1) and (4, 2), and (-1, 1) of (0, 6); scores are 2 and -2 over sqrt(2)
    share = 1 / (1 + math.exp(-4 / math.sqrt(2)))
    assert result == pytest.approx([3 + 2 * share - 1, 1 - (2 * share - 1)], abs=1e-4)


def test_padding_has_no_effect(stage: VisionLanguageStage, features: Tensor) -> None:
    short = prompt()
    long = Prompt(
        torch.cat([short.tokens, torch.full((2, 3, 5), 7.0)], dim=1),
        torch.cat([short.padding, torch.ones(2, 3) > 0], dim=1),
    )
    with torch.no_grad():
        expected, result = stage(features, short), stage(features, long)
    torch.testing.assert_close(result.features, expected.features, rtol=0, atol=1e-5)
    torch.testing.assert_close(result.vision, expected.vision, rtol=0, atol=1e-4)
    torch.testing.assert_close(result.language, expected.language, rtol=0, atol=1e-5)


def test_each_image_hears_its_own_prompt(stage: VisionLanguageStage, features: Tensor) -> None:
    said = prompt()
    with torch.no_grad():
        together = stage(features, said).features
        swapped = stage(features, Prompt(said.tokens[[1, 0]], said.padding[[1, 0]])).features
        for n in range(2):
            alone = stage(features[n : n + 1], Prompt(said.tokens[n : n + 1], said.padding[n : n + 1])).features
            torch.testing.assert_close(together[n : n + 1], alone, rtol=0, atol=1e-5)
    assert (together - swapped).abs().max() > 1e-3


def test_a_prompt_of_padding_alone_says_nothing(stage: VisionLanguageStage, features: Tensor) -> None:
    said = prompt(padded=(0, 4))
    assert said.said.tolist() == [True, False]
    with torch.no_grad():
        result = stage(features, said)
    assert torch.equal(result.features[1], features[1]) and not torch.equal(result.features[0], features[0])
    assert not result.language[1].any() and all(part.isfinite().all() for part in (result.vision, result.prompt.tokens))


def test_a_closed_gate_adds_nothing(stage: VisionLanguageStage, features: Tensor) -> None:
    torch.nn.init.zeros_(stage.gate)
    assert torch.equal(stage(features, prompt()).features, features)


def test_a_new_stage_starts_closed_with_a_tau_of_0_07() -> None:
    stage = VisionLanguageStage(channels=6, width=16, text_width=5, grid=4, heads=8, dropout=0.1)
    assert not stage.gate.any() and stage.log_tau.exp().item() == pytest.approx(0.07)


def test_lengths_of_what_is_aligned(stage: VisionLanguageStage, features: Tensor) -> None:
    result = stage(features, prompt())
    assert result.vision.norm(dim=1).tolist() == pytest.approx([1 / 0.07] * 2, rel=1e-4)
    assert result.language.norm(dim=1).tolist() == pytest.approx([1.0] * 2, rel=1e-4)


def test_the_mean_of_a_prompt_leaves_padding_out() -> None:
    tokens = torch.tensor([[[2.0], [4.0], [9.0]], [[5.0], [5.0], [5.0]]])
    padding = torch.tensor([[False, False, True], [True, True, True]])
    assert Prompt(tokens, padding).mean().tolist() == [[3.0], [0.0]]


def test_what_is_said_lands_where_it_was_seen(stage: VisionLanguageStage) -> None:
    # Row and column must not be exchanged between tokens and picture: a bright corner changes its own surroundings.
    features = torch.zeros(1, 6, 16, 16)
    features[:, :, 12:, :4] = 5.0
    said = Prompt(*(part[:1] for part in prompt()))
    with torch.no_grad():
        for layer in stage.vision_query:
            layer.out.weight.zero_()
        stage.positions.zero_()
        change = (stage(features, said).features - stage(torch.zeros_like(features), said).features - features).abs()
    assert change[:, :, 12:, :4].mean() > 10 * change[:, :, :8, 8:].mean()


@pytest.mark.parametrize(("grid", "width"), [(4, 16), (12, 64), (3, 10)])
def test_positions_differ_between_all_places(grid: int, width: int) -> None:
    positions = sine_positions(grid, width)
    assert positions.shape == (grid * grid, width)
    assert (torch.cdist(positions, positions) + torch.eye(grid * grid)).min() > 0.1
    rows = positions.view(grid, grid, width)
    half = 2 * (width // 4)
    assert torch.equal(rows[:, 0, :half], rows[:, -1, :half]), "the first half is of the row"
    assert torch.equal(rows[0, :, half:], rows[-1, :, half:]), "the second of the column"
