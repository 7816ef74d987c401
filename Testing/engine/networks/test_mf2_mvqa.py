import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from torch import Tensor, nn

from leanseg.networks import build_network
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.networks.mf2_mvqa import FUSIONS, MF2MVQA, AnswerOutput, MF2MVQAConfig, SmallBackbone
from leanseg.schema import parse
from Testing.engine.networks.contract import NetworkContract, count_parameters

SMALL: dict[str, Any] = {
    **{"stage_widths": (4, 6, 8, 10, 12), "vocabulary": 20, "length": 9, "answers": 7, "types": 3},
    **{"width": 16, "heads": 2, "ratio": 2, "grid": 2},
}
PAPER = MF2MVQAConfig()


def small(**changes: Any) -> MF2MVQA:
    torch.manual_seed(0)
    network = build_network("mf2_mvqa", {**SMALL, **changes})
    assert isinstance(network, MF2MVQA)
    return network.eval()


def question(number: int = 2, pieces: int = 6, words: int = 4) -> tuple[Tensor, Tensor]:
    """`words` pieces, then padding up to `pieces`."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(4, 20, (number, pieces), generator=generator)
    padding = (torch.arange(pieces) >= words).repeat(number, 1)
    return ids.masked_fill(padding, 0), padding


def same_question(number: int) -> tuple[Tensor, Tensor]:
    """One question, asked of so many images."""
    ids, padding = question(1)
    return ids.repeat(number, 1), padding.repeat(number, 1)


def visual(network: MF2MVQA, seed: int = 3) -> Tensor:
    config = network.config
    return torch.randn(2, 5, config.grid**2, config.width, generator=torch.Generator().manual_seed(seed))


def with_other(network: MF2MVQA, stage: int) -> tuple[Tensor, Tensor]:
    """What was seen, and the same with another stage, unlike it also after normalization."""
    before = visual(network)
    after = before.clone()
    after[:, stage] = visual(network, seed=4)[:, stage]
    return before, after


class TestMF2MVQA(NetworkContract):
    """What is asked of every network, with a question for each image."""

    name = "mf2_mvqa"
    small = SMALL
    input_shape = (1, 32, 48)
    refused_shape = None
    # Word vectors, places, six layers of 12 width^2 + 13 width, the 1x1 convolutions with their norms, the heads, and
    # the encoder of the student: by hand from the widths.
    paper_parameters = 23_440_896 + 21_504 + 6 * 7_087_872 + 5 * 2_304 + 496 * 768 + 16_128
    paper_parameters += 590_592 + 1_536 + 557 * 769 + 12 * 769 + 1_180_464
    parameter_tolerance = 0

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():
            output: AnswerOutput = network.eval()(images, *same_question(len(images)))
        return output.logits

    def test_output_lies_on_the_grid_of_the_input(self, network: nn.Module, images: Tensor) -> None:
        assert self.logits(network, images).shape == (2, 7), "an answer has no grid"

    def test_every_parameter_gets_a_gradient(self, network: nn.Module, images: Tensor) -> None:
        output = network.eval()(images, *question(words=6))
        (output.logits.square().mean() + output.types.square().mean()).backward()
        assert [k for k, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []

    def test_gradients_are_finite_in_train_mode(self, network: nn.Module, images: Tensor) -> None:
        network.train()(images, *question()).logits.square().mean().backward()
        found = [p.grad for p in network.parameters() if p.grad is not None]
        assert found and all(gradient.isfinite().all() for gradient in found)

    @pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own, in torch.onnx
    def test_the_exported_graph_agrees(self, network: nn.Module, images: Tensor, tmp_path: Path) -> None:
        inputs = (images, *same_question(len(images)))
        expected = self.logits(network, images)
        file = tmp_path / "network.onnx"
        torch.onnx.export(network.eval(), inputs, file, dynamo=True, verbose=False)
        graph = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        result = graph([np.asarray(part.numpy()) for part in inputs])[0]
        torch.testing.assert_close(torch.from_numpy(result), expected, rtol=0, atol=1e-4)
        assert expected.abs().max() > 1e-2, "logits this small agree with anything"


@pytest.mark.parametrize("changed", range(5))
def test_a_fusion_step_sees_no_later_stage(changed: int) -> None:
    network = small()
    streams = [network.streams(v, *question())[0] for v in with_other(network, changed)]
    same = [torch.equal(one, other) for one, other in zip(*streams, strict=True)]
    assert same == [stage < changed for stage in range(5)]


def test_earlier_stages_reach_later_ones_through_the_text_stream_alone() -> None:
    network = small()
    _, attention = network.streams(visual(network), *question())
    assert [one.shape[1] for one in attention] == [4] * 5, "one stage of 2 x 2 places at each step"


def test_joint_sees_all_stages_at_once() -> None:
    network = small(fusion="joint")
    first = [network.streams(v, *question())[0][0] for v in with_other(network, 4)]
    assert not torch.allclose(first[0], first[1])


def test_joint_of_one_place_a_stage_puts_five_tokens_after_cls(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small(fusion="joint", grid=1)
    sequences: list[Tensor] = []
    block = network.blocks[0][0]  # type: ignore[index]
    original = block.forward
    monkeypatch.setattr(block, "forward", lambda z, padding: sequences.append(z) or original(z, padding))
    seen, (ids, padding) = visual(network), question()
    network.streams(seen, ids, padding)
    words = network.piece(ids) + network.position[:6]
    expected = torch.cat([words[:, :1], seen[:, :, 0], words[:, 1:]], dim=1)
    torch.testing.assert_close(sequences[0], expected)


def test_last_sees_the_fifth_stage_alone_and_none_nothing() -> None:
    for fusion, seen in (("last", [4]), ("none", [])):
        network = small(fusion=fusion)
        changed = []
        for stage in range(5):
            before, after = (network.reply(v, *question()).logits for v in with_other(network, stage))
            changed += [] if torch.equal(before, after) else [stage]
        assert changed == seen


def test_a_picture_is_looked_at_once_for_all_its_questions() -> None:
    network, calls = small(), []
    network.backbone.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    images = torch.rand(2, 1, 32, 32)
    network(images, *question(number=5), torch.tensor([0, 0, 1, 1, 1]))
    assert calls == [2]


def test_any_encoder_of_five_stages_can_be_passed_in() -> None:
    class Strided(nn.Module):
        """Channels and strides as of a ResNet, in small."""

        def __init__(self) -> None:
            super().__init__()
            widths = (3, 4, 8, 16, 32, 64)
            self.steps = nn.ModuleList(nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in pairwise(widths))

        def forward(self, image: Tensor) -> list[Tensor]:
            maps = [image]
            for one in self.steps:
                maps.append(one(maps[-1]))
            return maps[1:]

    config = parse(MF2MVQAConfig, {**SMALL, "stage_widths": [4, 8, 16, 32, 64], "in_channels": 3}, "config")
    network = MF2MVQA(config, Strided()).eval()
    assert network(torch.rand(2, 3, 64, 64), *question()).logits.shape == (2, 7)


def test_the_small_backbone_takes_the_encoder_of_the_student() -> None:
    student = AttentionUNet(AttentionUNetConfig(widths=(4, 6, 8, 10, 12))).eval()
    backbone = SmallBackbone(1, (4, 6, 8, 10, 12)).eval()
    state = {key: value for key, value in student.state_dict().items() if key.startswith("encoder.")}
    backbone.load_state_dict(state)
    image = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(backbone(image)[-1], student.features(image).bottleneck)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_probabilities_sum_to_1_and_what_is_not_admitted_has_0(fusion: str) -> None:
    network = small(fusion=fusion, type_margin=1.0)
    network.get_buffer("admissible").copy_(
        torch.tensor([[1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0], [0.0] * 5 + [1, 1]])
    )
    with torch.no_grad():
        output = network(torch.rand(2, 1, 32, 32), *question())
        for kind in range(3):
            types = torch.full((2, 3), -3.0)
            types[:, kind] = 3.0
            p = network.probabilities(output._replace(types=types))
            torch.testing.assert_close(p.sum(dim=1), torch.ones(2))
            assert (p[:, network.get_buffer("admissible")[kind] == 0] == 0).all()


def test_a_type_that_is_nearly_as_probable_admits_its_answers() -> None:
    network = small(type_margin=0.5)
    network.get_buffer("admissible").copy_(
        torch.tensor([[1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0], [0.0] * 6 + [1]])
    )
    output = AnswerOutput(torch.zeros(1, 7), torch.log(torch.tensor([[0.5, 0.3, 0.2]])), torch.zeros(1, 5, 4))
    torch.testing.assert_close(network.probabilities(output), torch.tensor([[0.5, 0.5, 0, 0, 0, 0, 0]]))


def test_padding_changes_nothing() -> None:
    network = small()
    images = torch.rand(2, 1, 32, 32)
    short, long = question(pieces=4), question(pieces=9)
    long = (torch.cat([short[0], long[0][:, 4:] + 1], dim=1), long[1])
    with torch.no_grad():
        torch.testing.assert_close(network(images, *short).logits, network(images, *long).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fusion", ["stagewise", "joint", "last", "none"])
def test_attention_of_each_stage_that_is_seen_sums_to_1(fusion: str) -> None:
    network = small(fusion=fusion)
    attention = network(torch.rand(2, 1, 32, 32), *question()).attention
    seen = {"stagewise": [1.0] * 5, "joint": [1.0] * 5, "last": [0.0] * 4 + [1.0], "none": [0.0] * 5}[fusion]
    torch.testing.assert_close(attention.sum(dim=2), torch.tensor([seen, seen]))


def test_a_question_that_is_too_long_is_refused_with_both_lengths() -> None:
    with pytest.raises(ValueError, match="has 12 pieces; this network reads 9"):
        small()(torch.rand(1, 1, 32, 32), *question(1, 12))


@pytest.mark.parametrize(
    "wrong",
    [{"fusion": "all"}, {"stage_widths": (4, 8)}, {"width": 15}, {"type_margin": 0.0}, {"layers": (1, 1, 1, 1)}],
)
def test_a_config_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|needed|lies"):
        MF2MVQAConfig(**{**SMALL, **wrong})


def test_the_paper_has_five_stages_of_768_numbers_in_six_layers() -> None:
    assert (PAPER.width, PAPER.heads, PAPER.ratio * PAPER.width, PAPER.layers) == (768, 12, 3072, (1, 1, 1, 1, 2))
    assert json.loads(json.dumps(PAPER.to_json()))["fusion"] == "stagewise"
    assert count_parameters(small()) < 60_000
