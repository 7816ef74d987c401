import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from torch import Tensor, nn

from leanseg.losses.evidential import EvidentialLoss
from leanseg.networks import build_network
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.networks.blocks.vision_language import TokenScale
from leanseg.networks.text_bcs import TextBCS, TextBCSConfig, TextBCSOutput
from leanseg.schema import parse
from Testing.engine.networks.contract import NetworkContract, count_parameters

LIGHT = TextBCSConfig(
    widths=(16, 32, 64, 128, 256),
    stem_convs=2,
    in_channels=1,
    stages=(1, 2, 3, 4),
    attention_widths=(64, 64, 96, 128),
    text_width=384,
    grid=12,
    feeds="skips",
    hints=4,
    existence=True,
    locates=True,
)
SMALL: dict[str, Any] = {
    "widths": (4, 6, 8),
    "stages": (0, 1),
    "attention_widths": (16, 16),
    "text_width": 5,
    "text_length": 4,
    "grid": 4,
}


def opened(network: nn.Module) -> TextBCS:
    """With gates as after training; closed ones let nothing through."""
    assert isinstance(network, TextBCS)
    for stage in network.interactions.values():
        nn.init.constant_(stage.gate, 0.5)
    return network


def prompt(number: int = 2, length: int = 4, width: int = 5) -> tuple[Tensor, Tensor]:
    tokens = torch.randn(number, length, width, generator=torch.Generator().manual_seed(5))
    return tokens, torch.arange(length)[None].repeat(number, 1) > 2


def clicks(number: int = 2, side: tuple[int, int] = (16, 24)) -> Tensor:
    hints = torch.zeros(number, 4, *side)
    hints[:, 0, 4:7, 4:7], hints[:, 1, 10, 3], hints[:, 2, :8], hints[:, 3, :, 12:] = 1.0, 1.0, 1.0, 1.0
    return hints


class Everything:
    """The network with the same prompt and hints for each image."""

    def __init__(self, network: nn.Module) -> None:
        self.network = opened(network)
        self.config = self.network.config

    def __call__(self, images: Tensor) -> TextBCSOutput:
        hints = clicks(len(images)) if self.config.hints else None
        tokens, padding = (part[:1].expand(len(images), *part.shape[1:]) for part in prompt())
        output: TextBCSOutput = self.network(images, tokens, padding, hints)
        return output


def everything(output: TextBCSOutput) -> Tensor:
    parts = [output.logits, *output.vision, *output.language, *output.places]
    return torch.cat([part.flatten() for part in (*parts, *([] if output.existence is None else [output.existence]))])


class _TextContract(NetworkContract):
    """What is asked of every network, with a prompt for each image."""

    name = "text_bcs"
    refused_shape = (3, 16, 26)
    paper_parameters = 32.2e6
    parameter_tolerance = 0.5e6

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        network.eval()
        with torch.no_grad():
            return Everything(network)(images).logits

    def test_every_parameter_gets_a_gradient(self, network: nn.Module, images: Tensor) -> None:
        values = everything(Everything(network.eval())(images))
        (values * torch.linspace(0.5, 1.5, len(values))).square().mean().backward()
        assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    def test_gradients_are_finite_in_train_mode(self, network: nn.Module, images: Tensor) -> None:
        everything(Everything(network.train())(images)).square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    @pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own, in torch.onnx
    def test_the_exported_graph_agrees(self, network: nn.Module, images: Tensor, tmp_path: Path) -> None:
        opened(network).eval()
        tokens, padding = prompt()
        inputs = (images, tokens, padding, *([clicks()] if self.small.get("hints") else []))
        with torch.no_grad():
            expected = network(*inputs).logits
        file = tmp_path / "network.onnx"
        torch.onnx.export(network, inputs, file, dynamo=True, verbose=False)
        graph = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        result = graph([np.asarray(part.numpy()) for part in inputs])[0]
        torch.testing.assert_close(torch.from_numpy(result), expected, rtol=0, atol=1e-4)
        assert expected.abs().max() > 1e-2, "logits this small agree with anything"


class TestPaperForm(_TextContract):
    small = MappingProxyType(SMALL)
    input_shape = (3, 16, 24)


class TestLightForm(_TextContract):
    small = MappingProxyType(
        SMALL | {"in_channels": 1, "feeds": "skips", "hints": 4, "existence": True, "stem_convs": 2, "locates": True}
    )
    input_shape = (1, 16, 24)
    refused_shape = (1, 16, 26)


@pytest.fixture(params=["encoder", "skips"])
def small(request: pytest.FixtureRequest) -> TextBCS:
    torch.manual_seed(0)
    return opened(build_network("text_bcs", SMALL | {"feeds": request.param, "hints": 4, "existence": True})).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


# ── sizes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_unet_has_the_papers_14_75_million_parameters() -> None:
    with torch.device("meta"):
        network = TextBCS(TextBCSConfig(text=False))
    assert count_parameters(network) == pytest.approx(14.752e6, abs=0.01e6)


def test_the_light_form_has_at_most_6_million_parameters_and_a_cheap_decoder() -> None:
    with torch.device("meta"):
        network = TextBCS(LIGHT)
    assert count_parameters(network) <= 6e6
    assert count_parameters(network) - count_parameters(network.encoder) < 2.6e6


def test_the_light_encoder_takes_the_weights_of_the_shipped_student() -> None:
    with torch.device("meta"):
        student, network = AttentionUNet(AttentionUNetConfig()), TextBCS(LIGHT)
    assert {key: value.shape for key, value in student.encoder.state_dict().items()} == {
        key: value.shape for key, value in network.encoder.state_dict().items()
    }


# ── where a prompt and hints reach ──────────────────────────────────────────────────────────────────────────────────


def test_with_closed_gates_the_output_is_the_unets_bit_for_bit(small: TextBCS, images: Tensor) -> None:
    unet = TextBCS(replace(small.config, text=False, existence=False)).eval()
    unet.load_state_dict({key: value for key, value in small.state_dict().items() if key in unet.state_dict()})
    said = small(images, *prompt()).logits
    assert not torch.equal(said, unet(images).logits)
    for stage in small.interactions.values():
        nn.init.zeros_(stage.gate)
    assert torch.equal(small(images, *prompt()).logits, unet(images).logits)


def test_the_mask_loss_alone_reaches_every_stage(small: TextBCS, images: Tensor) -> None:
    target = torch.ones(2, 1, 16, 24)
    EvidentialLoss()(small(images, *prompt()).logits, target, 10).backward()
    for stage in small.interactions.values():
        for part in (stage.listen.weight, stage.positions, stage.tell.weight, stage.vision_query[0].key.weight):
            assert part.grad is not None and part.grad.abs().max() > 0


def test_a_place_is_answered_on_the_grid_of_each_stage(images: Tensor) -> None:
    network = opened(build_network("text_bcs", SMALL | {"locates": True})).eval()
    with torch.no_grad():
        output, silent = network(images, *prompt()), network(images)
        assert [tuple(places.shape) for places in output.places] == [(2, 4, 4), (2, 4, 4)] and silent.places == []
        for stage in network.interactions.values():
            nn.init.constant_(stage.where.bias, 7.0)
        assert torch.equal(network(images, *prompt()).logits, output.logits), "the mask needs it not"


def test_the_scale_of_the_tokens_does_not_matter(small: TextBCS, images: Tensor) -> None:
    (tokens, padding), scale = prompt(length=3), small.token_scale
    assert isinstance(scale, TokenScale) and not padding.any()
    with torch.no_grad():
        untouched = small(images, tokens, padding).logits
        scale.learn(tokens.flatten(0, 1))
        seen = scale(tokens).flatten(0, 1)
        torch.testing.assert_close(seen.mean(dim=0), torch.zeros(5), rtol=0, atol=1e-5)
        torch.testing.assert_close(seen.std(dim=0), torch.ones(5), rtol=0, atol=1e-5)
        expected = small(images, tokens, padding).logits
        assert not torch.allclose(expected, untouched, atol=1e-4)
        others = 3.0 * tokens + torch.tensor([5.0, 0.0, -2.0, 1.0, 9.0])
        scale.learn(others.flatten(0, 1))
        torch.testing.assert_close(small(images, others, padding).logits, expected, rtol=0, atol=1e-4)


def test_the_papers_form_starts_as_its_unet_and_the_light_one_listens() -> None:
    for feeds, start in (("encoder", 0.0), ("skips", 0.5)):
        network = TextBCS(TextBCSConfig(**(SMALL | {"feeds": feeds})))
        assert all((stage.gate == start).all() for stage in network.interactions.values())


def test_the_mask_loss_opens_closed_gates(images: Tensor) -> None:
    torch.manual_seed(0)
    network = TextBCS(parse(TextBCSConfig, SMALL, "config"))
    EvidentialLoss()(network(images, *prompt()).logits, torch.ones(2, 1, 16, 24), 0).backward()
    assert all(stage.gate.grad.abs().max() > 0 for stage in network.interactions.values())


def test_no_prompt_and_a_prompt_of_padding_are_the_same(small: TextBCS, images: Tensor) -> None:
    tokens, padding = prompt()
    silent, absent = small(images, tokens, torch.ones_like(padding)), small(images)
    torch.testing.assert_close(silent.logits, absent.logits, rtol=0, atol=0)
    torch.testing.assert_close(silent.existence, absent.existence, rtol=0, atol=1e-6)
    mixed = padding.clone()
    mixed[1] = True
    output = small(images, tokens, mixed)
    torch.testing.assert_close(output.logits[1], absent.logits[1], rtol=0, atol=1e-5)
    assert (output.logits[0] - absent.logits[0]).abs().max() > 1e-3


def test_appended_padding_has_no_effect(small: TextBCS, images: Tensor) -> None:
    tokens, padding = prompt()
    more = (torch.cat([tokens, 9 * torch.ones(2, 3, 5)], dim=1), torch.cat([padding, torch.ones(2, 3) > 0], dim=1))
    with torch.no_grad():
        expected, result = small(images, tokens, padding), small(images, *more)
    torch.testing.assert_close(result.logits, expected.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(result.existence, expected.existence, rtol=0, atol=1e-5)


def test_hints_of_0_are_no_hints(small: TextBCS, images: Tensor) -> None:
    with torch.no_grad():
        without, zeros, some = (small(images, *prompt(), h) for h in (None, 0 * clicks(), clicks()))
    assert torch.equal(without.logits, zeros.logits) and torch.equal(without.existence, zeros.existence)
    assert (some.logits - without.logits).abs().max() > 1e-4


def test_one_hint_of_one_pixel_is_seen_at_every_level(small: TextBCS, images: Tensor) -> None:
    hints = torch.zeros(2, 4, 16, 24)
    hints[:, 1, 9, 13] = 1.0
    for level, stage in enumerate(small.hints):
        x = torch.zeros(2, small.config.widths[level], 16 >> level, 24 >> level)
        changed = stage(x, hints).abs().amax(dim=(0, 1))
        assert changed[9 >> level, 13 >> level] > 0 and changed[0, 0] == 0


def test_cached_features_give_what_the_whole_network_gives(images: Tensor) -> None:
    torch.manual_seed(0)
    network = opened(build_network("text_bcs", SMALL | {"feeds": "skips", "hints": 4})).eval()
    with torch.no_grad():
        features = network.encode(images)
        expected = network(images, *prompt(), clicks()).logits
        assert [tuple(f.shape[1:]) for f in features] == [(4, 16, 24), (6, 8, 12), (8, 4, 6)]
        kept = [f.clone() for f in features]
        assert torch.equal(network.decode(features, *prompt(), clicks()).logits, expected)
        assert all(torch.equal(f, k) for f, k in zip(features, kept, strict=True)), "the cache must stay as it is"


def test_features_that_depend_on_the_prompt_cannot_be_cached(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r'depends on the prompt\. Call forward, or .*feeds="skips"'):
        TextBCS(parse(TextBCSConfig, SMALL, "config")).encode(images)


def test_in_the_papers_form_the_prompt_changes_the_next_level_too(images: Tensor) -> None:
    torch.manual_seed(0)
    network = opened(build_network("text_bcs", SMALL)).eval()
    seen: list[Tensor] = []
    network.encoder[2].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network(images, *prompt())
    network(images)
    assert (seen[0] - seen[1]).abs().max() > 1e-4


# ── how it is trained ───────────────────────────────────────────────────────────────────────────────────────────────


def test_bf16_autocast_and_channels_last_train(small: TextBCS, images: Tensor) -> None:
    network = small.to(memory_format=torch.channels_last).train()
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(images, *prompt(), clicks())
        assert output.existence is not None
        loss = EvidentialLoss()(output.logits, torch.ones(2, 1, 16, 24), 10) + output.existence.float().square().mean()
    loss.backward()
    assert output.logits.dtype == torch.bfloat16 and output.vision[0].dtype == torch.float32
    grads = [p.grad for name, p in network.named_parameters() if "log_tau" not in name and p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    with torch.no_grad():
        precise = network.eval()(images, *prompt(), clicks()).logits
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(images, *prompt(), clicks()).logits.float()
    assert (rough - precise).abs().max() < 0.1 * precise.abs().max()


# ── configs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_config_survives_json() -> None:
    for config in (TextBCSConfig(), LIGHT):
        assert parse(TextBCSConfig, json.loads(json.dumps(config.to_json())), "config") == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feeds": "decoder"}, r"one of encoder, skips; got 'decoder'"),
        ({"stages": (1, 0)}, r"levels 0 to 2, ascending; got \(1, 0\)"),
        ({"stages": (0, 3)}, r"levels 0 to 2, ascending; got \(0, 3\)"),
        ({"stages": ()}, r"levels 0 to 2, ascending; got \(\)"),
        ({"attention_widths": (16,)}, r"one width a stage; got \(16,\) for \(0, 1\)"),
        ({"widths": (4,)}, r"at least two levels"),
        ({"dropout": 1.0}, r"dropout below 1"),
        ({"grid": 0}, r"sizes must be positive"),
    ],
)
def test_a_config_that_fits_nothing_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextBCSConfig(**(SMALL | change))
