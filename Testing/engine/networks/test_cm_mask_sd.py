from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from torch import Tensor, nn

from leanseg.losses.masked_distillation import MaskedDistillationLoss
from leanseg.networks import build_network
from leanseg.networks.blocks.correlation_masks import hidden_tokens
from leanseg.networks.blocks.dual_encoders import CLIPDualEncoder, DualEncoding, words_of
from leanseg.networks.cm_mask_sd import CMMaskSD, CMMaskSDConfig, CMMaskSDOutput, both
from leanseg.schema import parse
from Testing.engine.networks.contract import NetworkContract, count_parameters

SMALL: dict[str, Any] = {
    **{"width": 16, "layers": 1, "neck_width": 8, "encoder_widths": (4, 6, 8), "dropout": 0.0},
    **{"vocabulary": 20, "length": 8, "text_width": 16, "text_layers": 1},
}
PAPER = CMMaskSDConfig()


def sentence(number: int = 2) -> tuple[Tensor, Tensor]:
    """[CLS], words, [SEP], padding: four words in the first sentence, two in the second, and so on in turns."""
    words = torch.tensor([4, 2])[torch.arange(number) % 2]
    place = torch.arange(8)
    ids = torch.randint(4, 20, (number, 8), generator=torch.Generator().manual_seed(5))
    padding = place[None] > words[:, None] + 1
    ids = torch.where(place[None] == words[:, None] + 1, 3, ids).masked_fill(padding, 0)
    ids[:, 0] = 2
    return ids, padding


def small(**changes: Any) -> CMMaskSD:
    torch.manual_seed(0)
    network = build_network("cm_mask_sd", {**SMALL, **changes})
    assert isinstance(network, CMMaskSD)
    return network


def seeded(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 1, 16, 24, generator=seeded(1))


class TestCMMaskSD(NetworkContract):
    """What is asked of every network, with a sentence for each picture."""

    name = "cm_mask_sd"
    small = SMALL
    input_shape = (1, 16, 24)
    refused_shape = (1, 16, 26)
    # By hand from the widths: the encoder of the student and its projection; the text network; the two coordinating
    # layers; null and mask tokens; three decoder layers of 16 width^2 + 21 width; norm; neck; kernel; existence.
    paper_parameters = 1_180_464 + 257 * 512 + (3_072 + 24 + 2) * 128 + 3 * (12 * 128**2 + 13 * 128) + 129 * 512
    paper_parameters += 2 * (1_024 + 513 * 512) + 3 * 512 + 3 * (16 * 512**2 + 21 * 512) + 1_024
    paper_parameters += 9 * 512 * 768 + 2 * 768 + 257 * 256 + 513 * (9 * 256 + 1) + 513
    parameter_tolerance = 0

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():
            ids, padding = sentence(1)
            output = network.eval()(images, ids.expand(len(images), -1), padding.expand(len(images), -1))
        logits: Tensor = output.logits
        return logits

    def test_a_grid_it_cannot_take_is_refused_with_what_came_and_what_fits(self, network: nn.Module) -> None:
        with pytest.raises(ValueError, match=r"needs .*multiples of 4; got \(16, 26\)"):
            network(torch.rand(1, 1, 16, 26), *sentence(1))

    def test_every_parameter_gets_a_gradient(self, network: nn.Module, images: Tensor) -> None:
        output = network.train()(images, *sentence(), seeded())
        parts = [output.logits, *output.masked]
        (sum(part.square().mean() for part in parts) + output.existence.square().mean()).backward()
        assert [k for k, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []

    def test_gradients_are_finite_in_train_mode(self, network: nn.Module, images: Tensor) -> None:
        output = network.train()(images, *sentence(), seeded())
        MaskedDistillationLoss()(output.logits, output.masked, torch.ones(2, 1, 16, 24), output.existence).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    @pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own, in torch.onnx
    def test_the_exported_graph_agrees(self, network: nn.Module, images: Tensor, tmp_path: Path) -> None:
        with torch.no_grad():
            expected = network.eval()(images, *sentence())
        file = tmp_path / "network.onnx"
        torch.onnx.export(network, (images, *sentence()), file, dynamo=True, verbose=False)
        graph = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        result = graph([np.asarray(part.numpy()) for part in (images, *sentence())])
        for n in range(2):
            torch.testing.assert_close(torch.from_numpy(result[n]), expected[n], rtol=0, atol=1e-4)
        assert expected.logits.abs().max() > 1e-2, "logits this small agree with anything"


# ── the masked branches ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_masked_branches_add_two_tokens_and_no_other_parameter() -> None:
    with torch.device("meta"):
        both, main_only = CMMaskSD(PAPER), CMMaskSD(replace(PAPER, masked=False))
    assert set(both.state_dict()) - set(main_only.state_dict()) == {"mask_patch", "mask_word"}
    assert set(main_only.state_dict()) < set(both.state_dict())
    assert count_parameters(both) - count_parameters(main_only) == 2 * 512 < 0.01 * count_parameters(both)
    coordination = count_parameters(both.coordinate_vision) + count_parameters(both.coordinate_words)
    assert 2 * 512 + coordination < 1.1e6


def test_use_has_the_main_branch_alone(images: Tensor) -> None:
    both, main_only = small().eval(), small(masked=False).eval()
    main_only.load_state_dict(both.state_dict(), strict=False)
    decoded: list[nn.Module] = []
    both.decoder[0].register_forward_hook(lambda module, inputs, output: decoded.append(module))
    with torch.no_grad():
        output, alone = both(images, *sentence()), main_only(images, *sentence())
    assert torch.equal(output.logits, alone.logits) and torch.equal(output.existence, alone.existence)
    assert output.masked == () and len(decoded) == 1
    both.train()(images, *sentence(), seeded())
    assert len(decoded) == 1 + 3
    assert main_only.train()(images, *sentence()).masked == ()


def test_where_nothing_is_hidden_all_branches_agree(images: Tensor) -> None:
    output = small(patch_ratio=0.0, word_ratio=0.0).train()(images, *sentence(), seeded())
    for branch in output.masked:
        torch.testing.assert_close(branch, output.logits, rtol=0, atol=1e-5)
    masked = small().train()(images, *sentence(), seeded()).masked
    assert all((branch - output.logits).abs().max() > 1e-3 for branch in masked)


def test_each_masked_branch_hides_of_one_modality(images: Tensor) -> None:
    all_patches, all_words = (small(patch_ratio=p, word_ratio=w).train() for p, w in ((1.0, 0.0), (0.0, 1.0)))
    for network, hides in ((all_patches, 0), (all_words, 1)):
        output = network(images, *sentence(), seeded())
        same = [torch.allclose(branch, output.logits, atol=1e-5) for branch in output.masked]
        assert same == [hides != 0, hides != 1]
    seen: list[Tensor] = []
    all_patches.decoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    all_patches(images, *sentence(), seeded())
    others = all_patches(torch.rand(2, 1, 16, 24, generator=seeded(9)), *sentence(), seeded())
    assert torch.equal(seen[1], seen[4]), "with every patch hidden nothing of the picture is left"
    assert others.masked[0].isfinite().all()


def test_the_masked_branches_ask_for_a_generator(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Give a generator, or use masked=False"):
        small().train()(images, *sentence())


def test_masked_branches_can_wait(images: Tensor) -> None:
    network = small().train()
    output = network(images, *sentence(), hides=False)
    assert output.masked == ()
    torch.testing.assert_close(output.logits, network(images, *sentence(), seeded()).logits, rtol=0, atol=1e-6)


def test_the_same_generator_hides_the_same(images: Tensor) -> None:
    network = small().train()
    first, again, other = (network(images, *sentence(), seeded(n)).masked for n in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


# ── what is hidden ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("ratio", "patches", "words"), [(0.5, 12, (2, 1)), (0.25, 6, (1, 1)), (0.3, 8, (2, 1))])
def test_as_many_are_hidden_as_the_ratio_says_and_never_the_ends(
    ratio: float, patches: int, words: tuple[int, int], images: Tensor
) -> None:
    network, (ids, padding) = small(patch_ratio=ratio, word_ratio=ratio), sentence()
    encoded = network.encoder(images, ids, padding)
    for seed in range(5):
        hidden_patches, hidden_words = network.hidden(encoded, padding, seeded(seed))
        assert hidden_patches.shape == (2, 4, 6) and hidden_patches.flatten(1).sum(dim=1).tolist() == [patches] * 2
        assert hidden_words.sum(dim=1).tolist() == list(words)
        assert not hidden_words[:, 0].any() and not (hidden_words & padding).any()
        assert not hidden_words[0, 5] and not hidden_words[1, 3], "the piece that ends a sentence"


def test_a_sentence_without_words_has_none_hidden() -> None:
    padding = torch.tensor([[False, False, True], [False, True, True]])
    assert not words_of(padding).any()
    assert not hidden_tokens(torch.ones(2, 3), words_of(padding), 1.0, "high", seeded()).any()


@pytest.mark.parametrize(("selection", "sign"), [("high", 1), ("low", -1), ("random", 0)])
def test_the_selection_follows_the_correlation(selection: str, sign: int) -> None:
    correlations = torch.linspace(-0.5, 0.5, 40)[torch.randperm(40, generator=seeded())].expand(50, 40)
    hidden = hidden_tokens(correlations, torch.ones(50, 40) > 0, 0.5, selection, seeded())
    means = torch.stack([row[chosen].mean() for row, chosen in zip(correlations, hidden, strict=True)])
    if sign:
        assert (sign * means > 0.1).all(), "on the side of the mean, 0, in every draw"
        assert hidden.any(dim=0).sum() > 25, "but not always the same ones"
    else:
        assert abs(means.mean().item()) < 0.03


def test_ratios_that_floating_point_rounds_up_hide_no_more() -> None:
    hidden = hidden_tokens(torch.zeros(1, 30), torch.ones(1, 30) > 0, 0.1, "random", seeded())
    assert hidden.sum() == 3, "0.1 * 30 is 3.0000000000000004"


# ── what the sentence does ──────────────────────────────────────────────────────────────────────────────────────────


def test_appended_padding_has_no_effect(images: Tensor) -> None:
    network, (ids, padding) = small().eval(), sentence()
    with torch.no_grad():
        expected, shorter = network(images, ids, padding), network(images, ids[:, :6], padding[:, :6])
    torch.testing.assert_close(shorter.logits, expected.logits, rtol=0, atol=1e-5)


def test_several_sentences_about_one_picture_look_at_it_once(images: Tensor) -> None:
    network, (ids, padding) = small().eval(), sentence(4)
    owners, looked = torch.tensor([0, 1, 1, 0]), []
    network.encoder.backbone.register_forward_hook(lambda module, inputs, output: looked.append(len(inputs[0])))
    with torch.no_grad():
        found, expected = network(images, ids, padding, owners=owners), network(images[owners], ids, padding)
    assert looked == [2, 4]
    for one, other in zip(found[:3], expected[:3], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_the_main_branch_alone_answers_alike(images: Tensor) -> None:
    network, (ids, padding) = small().eval(), sentence()
    with torch.no_grad():
        output = network(images, ids, padding)
        logits, existence, _ = network.answer(network.encoder(images, ids, padding), padding, [16, 24])
    assert torch.equal(logits, output.logits) and torch.equal(existence, output.existence)


def test_what_is_chosen_is_an_object(images: Tensor) -> None:
    network, (ids, padding) = small(finds_objects=True).eval(), sentence()
    with torch.no_grad():
        output = network(images, ids, padding)
        assert output.objects is not None and output.objects.shape == output.logits.shape
        network.objects.bias.fill_(-30.0)  # nothing is an object
        assert network(images, ids, padding).logits.max() < -20
    assert small()(images, ids, padding, torch.Generator()).objects is None


def test_both_is_the_logit_of_the_product() -> None:
    one, other = torch.tensor([-60.0, -2.0, 0.0, 3.0, 60.0]), torch.tensor([1.0, -1.0, 0.5, 60.0, 60.0])
    found = both(one, other)
    torch.testing.assert_close(found.sigmoid(), one.sigmoid() * other.sigmoid(), rtol=1e-5, atol=1e-12)
    assert found.isfinite().all()


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (12, 1), (24, 3), (64, 8), (256, 32), (512, 32)])
def test_groups_of_the_neck_have_several_channels(channels: int, groups: int) -> None:
    network = small(neck_width=channels)
    norms = [module for module in network.neck.modules() if isinstance(module, nn.GroupNorm)]
    assert norms[-1].num_groups == groups


def test_what_does_not_exist_has_no_mask() -> None:
    logits = torch.full((2, 1, 4, 4), 6.0)
    output = CMMaskSDOutput(logits, torch.tensor([8.0, -8.0]), torch.zeros(2, 1, 1), ())
    kept = output.probabilities() > 0.5
    assert kept[0].all() and not kept[1].any()


def test_the_kernel_is_a_convolution_of_its_own_for_each_sentence() -> None:
    network = small()
    features, said = torch.rand(2, 8, 5, 7, generator=seeded()), torch.rand(2, 16, generator=seeded())
    projected = network.kernel.project(said)
    kernels = projected[:, 1:].view(2, 3, 3, 8).permute(0, 3, 1, 2)[:, None] / 72**0.5
    expected = [
        nn.functional.conv2d(x[None], k, b[:1], padding=1) for x, k, b in zip(features, kernels, projected, strict=True)
    ]
    torch.testing.assert_close(network.kernel(features, said), torch.cat(expected), rtol=0, atol=1e-5)


def two_objects(number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A bright and a dark square in each picture, one in each half; (picture, 1, 16, 16), (picture, object, 16, 16)."""
    images, masks = torch.full((number, 1, 16, 16), 0.5), torch.zeros(number, 2, 16, 16)
    rows = torch.randint(0, 12, (number, 2), generator=generator).tolist()
    columns = torch.randint(0, 4, (number, 2), generator=generator).tolist()
    for n, bright_is_left in enumerate((torch.rand(number, generator=generator) < 0.5).tolist()):
        for which in range(2):
            j, i = rows[n][which], columns[n][which] + (0 if bright_is_left == (which == 0) else 8)
            masks[n, which, j : j + 5, i : i + 5] = 1.0
            images[n, 0][masks[n, which] > 0] = (1.0, 0.0)[which]
    return images + 0.02 * torch.randn(images.shape, generator=generator), masks


def test_captions_learn_to_mean_different_objects_and_one_that_is_absent_none() -> None:
    network, generator = small(width=32, encoder_widths=(8, 16, 24), neck_width=16, length=3).train(), seeded()
    optimizer, loss = torch.optim.AdamW(network.parameters(), lr=3e-3), MaskedDistillationLoss(correlation_weight=0.5)
    bright_dark_striped, padding = torch.tensor([[2, 5, 3], [2, 6, 3], [2, 7, 3]]), torch.zeros(16, 3) > 0
    for _ in range(60):
        images, masks = two_objects(16, generator)
        which = torch.randint(0, 3, (16,), generator=generator)
        target = torch.cat([masks, torch.zeros(16, 1, 16, 16)], dim=1)[torch.arange(16), which][:, None]
        output = network(images, bright_dark_striped[which], padding, generator)
        optimizer.zero_grad()
        loss(output.logits, output.masked, target, output.existence, output.correlation).backward()
        optimizer.step()
    images, masks = two_objects(16, seeded(99))
    with torch.no_grad():
        network.eval()
        bright, dark, striped = (
            network(images, ids.expand(16, -1), padding).probabilities()[:, 0] > 0.5 for ids in bright_dark_striped
        )
    truth = masks[:, 0] > 0
    assert (bright & dark).sum() < 0.2 * (bright | dark).sum(), "IoU of what two captions mean"
    assert (bright & truth).sum() > 0.5 * (bright | truth).sum()
    assert not striped.any()


# ── other encoders ──────────────────────────────────────────────────────────────────────────────────────────────────


def tiny_clip() -> CLIPDualEncoder:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = sizes | {"vocab_size": 20, "max_position_embeddings": 8, "bos_token_id": 2, "eos_token_id": 3}
    vision = sizes | {"image_size": 16, "patch_size": 4}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    return CLIPDualEncoder(transformers.CLIPModel(config).eval())


def test_a_clip_can_be_passed_in_and_its_projections_are_those_of_the_package(images: Tensor) -> None:
    encoder, (ids, padding) = tiny_clip(), sentence()
    square = images[:, :, :, :16].expand(-1, 3, -1, -1)
    encoded: DualEncoding = encoder(square, ids, padding)
    assert encoded.patches.shape == (2, 4, 4, 12) and encoded.words.shape == (2, 8, 12)
    standardized = (square - encoder.mean) / encoder.deviation
    picture = encoder.project_vision(encoder.vision(standardized).pooler_output)
    said = encoder.project_text(encoder.text(input_ids=ids, attention_mask=(~padding).long()).pooler_output)
    torch.testing.assert_close(encoded.picture, picture, rtol=0, atol=1e-5)
    torch.testing.assert_close(encoded.sentence, said, rtol=0, atol=1e-5)

    network = CMMaskSD(parse(CMMaskSDConfig, SMALL, "config"), encoder).train()
    output = network(images, ids, padding, seeded())  # gray, and not the grid of its positions
    assert output.logits.shape == (2, 1, 16, 24) and len(output.masked) == 2
    output.masked[0].square().mean().backward()
    assert encoder.project_text.weight.grad is not None, "the encoders are fine-tuned too"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"selection": "best"}, r"one of high, low, random; got 'best'"),
        ({"patch_ratio": 1.5}, r"lie from 0 to 1"),
        ({"dropout": 1.0}, r"to below 1"),
        ({"layers": 0}, r"sizes must be positive"),
        ({"spread": 0.0}, r"spread must be positive"),
        ({"encoder_widths": []}, r"at least one level"),
    ],
)
def test_a_config_that_fits_nothing_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        build_network("cm_mask_sd", {**SMALL, **change})
