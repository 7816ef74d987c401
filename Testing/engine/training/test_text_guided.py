from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from leanseg.errors import LeanSegError
from leanseg.networks import build_network
from leanseg.networks.attention_unet import AttentionUNet
from leanseg.networks.blocks.vision_language import VisionLanguageStage
from leanseg.networks.text_bcs import TextBCS
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training.augment import AugmentConfig
from leanseg.training.objectives import Batch, PhasedObjective
from leanseg.training.recipe import OptimizerConfig, Recipe
from leanseg.training.text_guided import Shown, TextGuided
from leanseg.training.text_recipe import TextConfig
from leanseg.training.trainer import Trainer
from Testing.engine.training.text_pictures import SIDE, WIDTH, square_pairs, word_reader

CONFIG = {
    **{"widths": [4, 8], "stem_convs": 2, "in_channels": 1, "stages": [0, 1], "attention_widths": [16, 16]},
    **{"text_width": WIDTH, "text_length": 4, "grid": 4, "heads": 1, "dropout": 0.0},
    **{"feeds": "skips", "hints": 4, "existence": True, "locates": True},
}
TALK = TextConfig(describe_px=SIDE, hint_radius_px=2.0, encoder="given")


def batch_of(indices: list[int] | None = None) -> Batch:
    """Un-augmented pictures of square_pairs()."""
    pairs = square_pairs()
    chosen = torch.arange(len(pairs)) if indices is None else torch.tensor(indices)
    x = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    grid = torch.stack(torch.meshgrid(x, x, indexing="xy"), dim=-1).expand(len(chosen), -1, -1, -1)
    return Batch(
        pairs.images[chosen].float(), pairs.targets[chosen].float(), pairs.classes[chosen], chosen, grid.contiguous()
    )


def network_of(**changes: Any) -> TextBCS:
    torch.manual_seed(0)
    network = build_network("text_bcs", CONFIG | changes)
    assert isinstance(network, TextBCS)
    return network.train()


def objective(**changes: Any) -> TextGuided:
    return TextGuided(square_pairs(), replace(TALK, **changes), word_reader(), seed=0)


@pytest.mark.parametrize(
    "changes", [{}, {"evidential": False}, {"feeds": "encoder"}, {"hints": 0}, {"existence": False}, {"locates": False}]
)
def test_the_loss_is_finite_and_every_parameter_learns(changes: dict[str, Any]) -> None:
    network, guided = network_of(**changes), objective(click_rounds=(0.0, 1.0), box=1.0, earlier=1.0)
    for stage in network.interactions.values():
        assert isinstance(stage, VisionLanguageStage)
        torch.nn.init.constant_(stage.gate, 0.5)  # as after the first step
    loss, parts = guided(network, batch_of())
    loss.backward()
    assert torch.isfinite(loss) and ("exist" in parts) == network.config.existence
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    assert not silent


def test_without_text_nothing_is_heard() -> None:
    guided = TextGuided(square_pairs(), replace(TALK, encoder=""), None, seed=0)
    loss, parts = guided(network_of(text=False), batch_of())
    assert torch.isfinite(loss) and "align" not in parts


def test_named_lesions_are_the_target_and_wrong_prompts_have_none() -> None:
    batch = batch_of([2, 2, 2, 2, 2, 2])  # two squares of 49 pixels
    named = objective(generic=0.0, wrong=0.0, named=1.0)
    assert (named.targets(batch, named.say(batch), insists=False).sum(dim=(1, 2, 3)) == 49).all()
    wrong = objective(generic=0.0, wrong=1.0, insist=0.0)
    assert not wrong.targets(batch, wrong.say(batch), insists=True).any()
    stubborn = objective(generic=0.0, wrong=1.0, insist=1.0)
    said = stubborn.say(batch)
    assert not stubborn.targets(batch, said, insists=False).any()
    assert (stubborn.targets(batch, said, insists=True).sum(dim=(1, 2, 3)) == 98).all()


def test_reports_are_mirrored_with_the_picture() -> None:
    guided = objective(generic=0.0, report=1.0)
    guided.pairs = replace(guided.pairs, reports=("Tumor in the left lobe.",) * 12)
    batch = batch_of()
    flipped = replace(batch, grid=batch.grid.flip(2))
    assert {one.text for one in guided.say(batch) if one.kind == "report"} == {"Tumor in the left lobe."}
    assert {one.text for one in guided.say(flipped) if one.kind == "report"} == {"Tumor in the right lobe."}


def test_a_click_is_drawn_where_it_was_made() -> None:
    shown = Shown(2, (SIDE, SIDE), 2.0)
    shown.click(1, (5, 9), is_positive=True)
    shown.click(1, (20, 3), is_positive=False)
    assert not shown.channels[0].any()
    assert shown.channels[1, 0].argmax() == 5 * SIDE + 9 and shown.channels[1, 1].argmax() == 20 * SIDE + 3
    assert shown.channels[1, 0, 5, 11] == pytest.approx(0.6065, abs=1e-4), "exp(-1/2) at a distance of the radius"


def test_the_simulated_person_clicks_on_what_is_wrong_and_shows_the_earlier_mask() -> None:
    guided, targets = objective(earlier=1.0, box=0.0), batch_of([0, 1, 3]).targets
    nothing = torch.cat([torch.full((3, 1, SIDE, SIDE), 9.0), torch.full((3, 1, SIDE, SIDE), -9.0)], dim=1)
    outputs = [nothing, torch.cat([1 - targets, targets], dim=1) * 18 - 9]  # misses all, then finds all

    class Output:
        def __init__(self, logits: Tensor) -> None:
            self.logits = logits

    channels = guided._show(lambda hints, frozen: Output(outputs.pop(0)), targets, rounds=2)
    assert (channels[:2, 0].flatten(1).amax(dim=1) == 1).all() and not channels[2].any(), (
        "nothing is missed in the third"
    )
    for n in range(2):
        best = int(channels[n, 0].argmax())
        assert targets[n, 0].flatten()[best] == 1
    assert not channels[:, 1].any() and not channels[:, 3].any(), "the earlier mask was empty"


def test_boxes_lie_around_the_target() -> None:
    guided, targets = objective(box=1.0), batch_of([0, 1, 2, 3]).targets
    channels = guided._show(lambda hints, frozen: None, targets, rounds=0)
    assert (channels[:3, 2] * targets[:3, 0]).sum() > 0.7 * targets[:3].sum()
    assert not channels[3].any() and channels[:3, 2].flatten(1).mean(dim=1).max() < 0.95


def small_recipe() -> Recipe:
    return Recipe(
        id="small",
        system="text_bcs",
        network="text_bcs",
        config=CONFIG,
        preprocessing=PreprocessingConfig(size_ji=(SIDE, SIDE)),
        optimizer=OptimizerConfig(learning_rate=1e-2, epochs=3, batch_size=4, bf16=False),
        augment=AugmentConfig(elastic=0.0, shadow_probability=0.0),
        text=TALK,
    )


def test_a_resumed_run_repeats_the_uninterrupted_one_exactly(tmp_path: Path) -> None:
    def trainer(folder: str) -> Trainer:
        recipe = small_recipe()
        assert recipe.text is not None
        guided = TextGuided(square_pairs(), recipe.text, word_reader(), seed=0)
        assert isinstance(guided, PhasedObjective)
        return Trainer(recipe, square_pairs(), square_pairs(4, seed=1), guided, tmp_path / folder)

    trainer("at once").fit()
    trainer("in two").fit(stop_after=1)
    trainer("in two").fit(resume=True)
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("at once", "in two"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_encoder_starts_as_that_of_a_model(tmp_path: Path) -> None:
    student = build_network("attention_unet", {"widths": [4, 8]})
    assert isinstance(student, AttentionUNet)
    path = tmp_path / "student.safetensors"
    save_file(student.state_dict(), path)
    network = network_of()
    TextGuided(square_pairs(), TextConfig(start=str(path)), None, 0).start(network, new=True)
    its, own = student.encoder.state_dict(), network.encoder.state_dict()
    assert its and all(torch.equal(own[key], value) for key, value in its.items())
    with pytest.raises(LeanSegError, match=r"text\.start, cannot be read"):
        TextGuided(square_pairs(), TextConfig(start="gone.safetensors"), None, 0).start(network, new=True)


def test_another_network_is_refused() -> None:
    with pytest.raises(LeanSegError, match="needs a text_bcs; got Identity"):
        objective()(torch.nn.Identity(), batch_of())
