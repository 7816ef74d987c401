from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.networks import build_network
from leanseg.networks.med_tuning import (
    MedTuning,
    MedTuningConfig,
    fitted,
    inflated,
    load_backbone,
    random_backbone,
    resized_positions,
)
from Testing.engine.networks.contract import NetworkContract, count_parameters

SMALL: Mapping[str, Any] = MappingProxyType(
    {
        **{"random_backbone": True, "width": 12, "depths": (1, 1), "heads": (1, 2), "window": 2},
        **{"ratio": 3, "depth": 4, "out_channels": 3},
    }
)
SMALL_VIT = MappingProxyType({**SMALL, "backbone": "vit", "depths": (4,), "heads": (2,)})
BACKBONES = pytest.mark.parametrize("config", [SMALL, SMALL_VIT], ids=["swin", "vit"])


def small(config: Mapping[str, Any], alive: bool = True, **changes: object) -> MedTuning:
    """With adapters that are no longer the identity, if `alive`."""
    torch.manual_seed(0)
    network = MedTuning(MedTuningConfig(**{**config, **changes}))
    for name, parameter in network.adapters.named_parameters():
        if alive and (".up." in name or ".fourier." in name):
            nn.init.normal_(parameter, std=0.5)
    return network.eval()


def image(depth: int = 3, side: int = 32, seed: int = 1) -> Tensor:
    return torch.rand(1, 4, depth, side, side, generator=torch.Generator().manual_seed(seed))


class TestMedTuning(NetworkContract):
    name = "med_tuning"
    small = SMALL
    input_shape = (4, 3, 16, 24)
    refused_shape = (4, 3, 16, 20)
    paper_parameters = 27_154_116 + 737_568  # published: 27.154 M and 0.738 M
    parameter_tolerance = 0

    @pytest.fixture
    def network(self) -> nn.Module:
        return small(SMALL)

    def test_every_parameter_gets_a_gradient(self, network: nn.Module, images: Tensor) -> None:
        """But those of the backbone, which is frozen, and what the first stage would be told."""
        network.eval()(images).square().mean().backward()
        tuned = {key: p for key, p in network.named_parameters() if p.requires_grad}
        assert [key for key, p in tuned.items() if p.grad is None or not p.grad.any()] == [
            "adapters.0.inter.bring.weight"
        ]
        assert len(tuned) > 60 and not any("encoder" in key or "embeddings" in key for key in tuned)

    def test_gradients_are_finite_in_train_mode(self, network: nn.Module, images: Tensor) -> None:
        network.train()(images).square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)

    def test_number_of_parameters_is_the_papers(self) -> None:
        with torch.device("meta"):
            network = build_network(self.name, {"random_backbone": True})  # a config alone names no weights
        assert count_parameters(network) == self.paper_parameters


# ── published numbers, on the meta device ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("backbone", "inserted", "largest"), [("swin", 737_568, 0.28), ("vit", 2_845_696, 0.18)], ids=["swin", "vit"]
)
def test_inserted_parameters_and_the_tuned_part_are_the_papers(backbone: str, inserted: int, largest: float) -> None:
    with torch.device("meta"):
        network = MedTuning(MedTuningConfig(backbone, random_backbone=True))
    assert count_parameters(network.adapters) == inserted
    tuned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert tuned / (count_parameters(network) - inserted) <= largest
    if backbone == "swin":  # published: 7.489 M tuned, 27.58 % of 27.154 M; 6.752 M without adapters
        assert tuned == 7_489_098 and tuned - inserted == 6_751_530
        assert tuned / (count_parameters(network) - inserted) == pytest.approx(0.2758, abs=5e-5)


def test_the_last_adapter_of_each_stage_interacts() -> None:
    with torch.device("meta"):
        swin, vit = (MedTuning(MedTuningConfig(name, random_backbone=True)) for name in ("swin", "vit"))
    assert [n for n, adapter in enumerate(vit.adapters) if adapter.inter is not None] == [2, 5, 8, 11]
    assert [n for n, adapter in enumerate(swin.adapters) if adapter.inter is not None] == [1, 3, 5, 7]


# ── faithful behavior, on tiny ones ─────────────────────────────────────────────────────────────────────────────────


@BACKBONES
def test_an_optimizer_step_leaves_the_backbone_as_it_was(config: Mapping[str, Any]) -> None:
    network = small(config).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    network(image()).square().mean().backward()
    optimizer.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    norm = {"backbone.layernorm.weight", "backbone.layernorm.bias"} if config is SMALL else set()
    assert {key for key in changed if key.startswith("backbone.")} == norm
    assert {key.split(".")[0] for key in changed} == {"adapters", "decoder"} | ({"backbone"} if norm else set())


@BACKBONES
def test_the_backbone_stays_in_evaluation(config: Mapping[str, Any]) -> None:
    network = small(config).train()
    assert network.adapters.training and not any(module.training for module in network.backbone.modules())


@BACKBONES
def test_with_zero_up_projections_it_is_the_frozen_backbone(config: Mapping[str, Any]) -> None:
    """The last map is what `transformers` itself gives."""
    network, slices = small(config, alive=False), image()[0].transpose(0, 1)
    with torch.no_grad():
        last = network.features(slices, depth=3)[-1].flatten(1, 2)
        if config is SMALL:
            theirs = network.backbone(slices).last_hidden_state
        else:  # its last layer norm is not used by the decoder
            last = network.backbone.layernorm(last)
            theirs = network.backbone(slices, interpolate_pos_encoding=True).last_hidden_state[:, 1:]
    torch.testing.assert_close(last, theirs, rtol=1e-4, atol=1e-5)


@BACKBONES
def test_a_slice_depends_on_the_next_one_by_the_adapters_alone(config: Mapping[str, Any]) -> None:
    one = image()
    other = one.clone()
    other[:, :, 1] += 1
    for alive, depends in ((True, True), (False, False)):
        network = small(config, alive)
        with torch.no_grad():
            changed = (network(one) - network(other)).abs().amax(dim=(0, 1, 3, 4)) > 1e-6
        assert changed.tolist() == [depends, True, depends]


@BACKBONES
def test_a_stage_influences_the_next_through_what_it_hands_on(config: Mapping[str, Any]) -> None:
    network, heard = small(config), []
    ends = [adapter for adapter in network.adapters if adapter.inter is not None]
    for adapter in ends:
        adapter.register_forward_hook(lambda module, args, output: heard.append((args[2], output[1])))
    with torch.no_grad():
        network(image())
    assert heard[0][0] is None, "the first stage hears zeros"
    for (_, handed_on), (previous, _) in pairwise(heard):
        assert previous is handed_on and handed_on.any()


@BACKBONES
def test_other_depths_and_grids_are_taken(config: Mapping[str, Any]) -> None:
    network = small(config)
    with torch.no_grad():
        for depth, side in ((1, 32), (4, 32), (7, 64)):
            assert network(image(depth, side)).shape == (1, 3, depth, side, side)


# ── where the backbone comes from ───────────────────────────────────────────────────────────────────────────────────


def test_random_frozen_weights_are_refused_unless_asked_for() -> None:
    with pytest.raises(
        LeanSegError, match=r"^Med-Tuning needs a trained swin: .* Set config\.folder .*random_backbone"
    ):
        build_network("med_tuning", {})


def test_a_folder_without_a_backbone_is_named(tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match=r"holds no config\.json of a vit\. Give the folder of one"):
        load_backbone(MedTuningConfig("vit", folder=str(tmp_path)))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(LeanSegError, match=r"cannot be read as a swin"):
        load_backbone(MedTuningConfig(folder=str(tmp_path)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_backbone_of_3_channels_another_window_and_more_blocks_is_read_from_its_folder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = MedTuningConfig(**{**SMALL, "random_backbone": False, "folder": str(tmp_path)})
    source = random_backbone(config, num_channels=3, window_size=4, depths=[1, 3])
    source.save_pretrained(tmp_path)  # type: ignore[operator]
    network = MedTuning(config)
    ours, theirs = network.backbone.state_dict(), source.state_dict()
    assert set(ours) < set(theirs), "of the second stage the first block is taken"
    others = [key.split(".")[-1] for key in ours if not torch.equal(ours[key], theirs[key])]
    assert [key for key in ours if "projection.weight" in key and not torch.equal(ours[key], theirs[key])]
    assert sorted(others) == ["relative_position_bias_table"] * 2 + ["weight"]
    gray = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            network.backbone.embeddings(gray.expand(-1, 4, -1, -1))[0], source.embeddings(gray.expand(-1, 3, -1, -1))[0]
        )
    assert network(image(side=16)).shape == (1, 3, 3, 16, 16)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_vit_of_other_images_needs_their_size_in_its_config(tmp_path: Path) -> None:
    config = {**SMALL_VIT, "random_backbone": False, "folder": str(tmp_path)}
    source = random_backbone(MedTuningConfig(**config), image_size=32)
    source.save_pretrained(tmp_path)  # type: ignore[operator]
    with pytest.raises(LeanSegError, match=r"position_embeddings is \(1, 5, 12\), .*Set width, depths, .* image_px"):
        MedTuning(MedTuningConfig(**config))
    network = MedTuning(MedTuningConfig(**config, image_px=32))
    assert torch.equal(
        network.backbone.state_dict()["embeddings.position_embeddings"],
        source.state_dict()["embeddings.position_embeddings"],
    )


def test_a_backbone_of_another_width_says_which_tensor_does_not_fit(tmp_path: Path) -> None:
    wide = random_backbone(MedTuningConfig(**{**SMALL, "width": 24}))
    narrow = random_backbone(MedTuningConfig(**SMALL))
    with pytest.raises(LeanSegError, match=r"The backbone in there does not fit: .* is \(.*\), not \(.*\)\. Set width"):
        fitted(wide.state_dict(), narrow.state_dict(), "there")


def test_channels_are_inflated_to_the_same_sum() -> None:
    weight = torch.arange(6.0).view(1, 3, 1, 2)
    torch.testing.assert_close(inflated(weight, 4), torch.tensor([[[[1.5, 2.25]]]]).expand(1, 4, 1, 2))


def test_relative_positions_keep_their_center() -> None:
    table = torch.zeros(49, 2)
    table[24] = 1  # of a window of 4: no offset
    smaller = resized_positions(table, 9)
    assert smaller.shape == (9, 2) and smaller[:, 0].argmax() == 4
    torch.testing.assert_close(resized_positions(table, 49), table)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"out_channels": 1}, "labels at least 2; got"),
        ({"depths": (1, 1, 1)}, "one number a stage; got"),
        ({"backbone": "vit", "depths": (6,)}, "a multiple of 4; got"),
        ({"ratio": 0}, "must be positive; got 0"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MedTuningConfig(**values)


def test_an_unknown_backbone_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'swin'"):
        MedTuningConfig("swim")
