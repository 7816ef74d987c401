from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.losses.distillation import attention_map_loss, bottleneck_loss, softened_output_loss
from leanseg.losses.weight_balance import WeightBalanceLoss
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.training.augment import AugmentConfig, random_grid
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.data.case import LESION_CLASSES
from leanseg.training.metrics import dice_of_masks
from leanseg.training.objectives import Batch, Supervised
from leanseg.training.recipe import DistillationConfig, Recipe
from leanseg.training.t2kd import JointDistillation, routing_weights
from leanseg.training.trainer import Trainer

NORMAL, BENIGN, MALIGNANT = range(3)
AUGMENTED = DistillationConfig(teachers_see="augmented")
HARD = DistillationConfig(teachers_see="augmented", true_class_weight=1.0)
Teachers = dict[str, AttentionUNet]


def a_network(seed: int, *widths: int) -> AttentionUNet:
    """Random weights with an opinion: logits and gates that vary over the image, batch-norm statistics of noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AttentionUNet(AttentionUNetConfig(widths))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            network.train()(torch.rand(8, 1, 32, 32))
            network.head.weight.mul_(5)
            for stage in network.decoder:
                stage.gate.psi[1].weight.mul_(2)
    return network


@pytest.fixture
def teachers() -> Teachers:
    return {"benign": a_network(1, 6, 12), "malignant": a_network(2, 6, 12)}


@pytest.fixture
def student() -> AttentionUNet:
    return a_network(3, 4, 8)


@pytest.fixture
def forward_passes(teachers: Teachers) -> Counter[str]:
    """How often each teacher was asked."""
    count: Counter[str] = Counter()
    for name, teacher in teachers.items():
        teacher.head.register_forward_hook(lambda *_, name=name: count.update([name]))
    return count


@pytest.fixture
def identity(no_augmentation: AugmentConfig) -> Tensor:
    """The sampling grid of four images that leaves them where they are."""
    return random_grid(4, 32, 32, no_augmentation, torch.Generator())


def a_batch(arrays: TrainingArrays, grid: Tensor, classes: list[int]) -> Batch:
    """Un-augmented images 3, 0, 6, 5, said to be of these classes."""
    indices = torch.tensor([3, 0, 6, 5])
    return Batch(
        arrays.images[indices], arrays.targets[indices].float(), torch.tensor(classes), indices, grid[: len(indices)]
    )


def joint(teachers: Teachers, config: DistillationConfig) -> JointDistillation:
    return JointDistillation(teachers, WeightBalanceLoss(), config, (32, 32))


# ── routing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_image_weighs_its_own_class_teacher_most() -> None:
    weights = routing_weights(torch.tensor([NORMAL, BENIGN, MALIGNANT]), ("benign", "malignant"), 0.9)
    torch.testing.assert_close(weights, torch.tensor([[0, 0.9, 0.1], [0, 0.1, 0.9]]))


def test_hard_routing_leaves_the_other_teacher_nothing() -> None:
    weights = routing_weights(torch.tensor([BENIGN, MALIGNANT]), ("benign", "malignant"), 1.0)
    assert torch.equal(weights, torch.eye(2))


def test_the_weights_of_an_image_with_a_teacher_sum_to_one() -> None:
    weights = routing_weights(torch.tensor([0, 1, 2]), LESION_CLASSES, 0.7)
    torch.testing.assert_close(weights.sum(0), torch.ones(3))
    torch.testing.assert_close(weights.diagonal(), torch.full((3,), 0.7))


@pytest.mark.parametrize(("label", "asked"), [(BENIGN, "benign"), (MALIGNANT, "malignant")])
def test_with_hard_routing_only_the_teacher_of_the_class_is_asked(
    teachers: Teachers,
    student: AttentionUNet,
    forward_passes: Counter[str],
    sixteen_images: TrainingArrays,
    identity: Tensor,
    label: int,
    asked: str,
) -> None:
    joint(teachers, HARD)(student, a_batch(sixteen_images, identity, [label] * 4))
    assert forward_passes == {asked: 1}


@pytest.mark.parametrize("classes", [[BENIGN] * 4, [BENIGN, MALIGNANT, NORMAL, NORMAL]])
def test_with_soft_routing_or_both_classes_each_teacher_is_asked_once(
    teachers: Teachers,
    student: AttentionUNet,
    forward_passes: Counter[str],
    sixteen_images: TrainingArrays,
    identity: Tensor,
    classes: list[int],
) -> None:
    joint(teachers, AUGMENTED)(student, a_batch(sixteen_images, identity, classes))
    assert forward_passes == {"benign": 1, "malignant": 1}


def test_swapping_the_class_label_swaps_the_teachers(
    teachers: Teachers, student: AttentionUNet, sixteen_images: TrainingArrays, identity: Tensor
) -> None:
    student.eval()
    swapped = {"benign": teachers["malignant"], "malignant": teachers["benign"]}
    benign, malignant = (a_batch(sixteen_images, identity, [label] * 4) for label in (BENIGN, MALIGNANT))
    plain = joint(teachers, AUGMENTED)(student, benign)[0]
    torch.testing.assert_close(joint(swapped, AUGMENTED)(student, malignant)[0], plain)
    assert not torch.allclose(joint(teachers, AUGMENTED)(student, malignant)[0], plain, rtol=1e-4)


def test_normal_images_have_no_teacher(
    teachers: Teachers,
    student: AttentionUNet,
    forward_passes: Counter[str],
    sixteen_images: TrainingArrays,
    identity: Tensor,
) -> None:
    batch = a_batch(sixteen_images, identity, [NORMAL] * 4)
    loss, parts = joint(teachers, AUGMENTED)(student.eval(), batch)
    assert forward_passes == {}
    assert parts["out"] == parts["att"] == parts["feat"] == 0
    torch.testing.assert_close(loss, Supervised(WeightBalanceLoss())(student, batch)[0])


# ── the loss ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_loss_is_the_sum_of_the_paper_with_both_teachers_weighed(
    teachers: Teachers, student: AttentionUNet, sixteen_images: TrainingArrays, identity: Tensor
) -> None:
    batch = a_batch(sixteen_images, identity, [BENIGN, BENIGN, MALIGNANT, NORMAL])
    objective = joint(teachers, AUGMENTED)
    loss, parts = objective(student.eval(), batch)
    mine = student.features(batch.images)
    out, att, feat = torch.zeros(()), torch.zeros(()), torch.zeros(())
    for teacher, weights in [(teachers["benign"], [0.9, 0.9, 0.1, 0]), (teachers["malignant"], [0.1, 0.1, 0.9, 0])]:
        theirs, w = teacher.features(batch.images), torch.tensor(weights)
        out = out + softened_output_loss(mine.logits, theirs.logits, w, temperature=4.0)
        att = att + attention_map_loss(mine.gates, theirs.gates, w)
        feat = feat + bottleneck_loss(mine.bottleneck, theirs.bottleneck, w)
    seg = WeightBalanceLoss()(mine.logits, batch.targets)
    for name, expected in {"seg": seg, "out": out, "att": att, "feat": feat}.items():
        torch.testing.assert_close(parts[name], expected, msg=name)
        assert expected > 1e-4, name
    torch.testing.assert_close(loss, seg + 0.5 * out + 0.1 * att + 0.1 * feat)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn_from_it(
    teachers: Teachers, sixteen_images: TrainingArrays, identity: Tensor
) -> None:
    student = a_network(1, 6, 12).eval()  # the benign teacher's seed
    _, parts = joint(teachers, HARD)(student, a_batch(sixteen_images, identity, [BENIGN] * 4))
    assert [parts[key].item() for key in ("out", "att", "feat")] == pytest.approx([0, 0, 0], abs=1e-5)
    _, parts = joint(teachers, HARD)(student, a_batch(sixteen_images, identity, [MALIGNANT] * 4))
    assert min(parts[key].item() for key in ("out", "att", "feat")) > 1e-4


# ── what the teachers see ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_clean_maps_equal_augmented_maps_where_the_geometry_is_exact(
    teachers: Teachers,
    student: AttentionUNet,
    sixteen_images: TrainingArrays,
    identity: Tensor,
    no_augmentation: AugmentConfig,
    flip: float,
) -> None:
    # A flip is exact for a teacher that cannot tell left from right.
    for teacher in teachers.values():
        for module in teacher.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = (module.weight.data + module.weight.data.flip(-1)) / 2
    grid = random_grid(4, 32, 32, replace(no_augmentation, flip_probability=flip), torch.Generator().manual_seed(0))
    batch = a_batch(sixteen_images, grid, [BENIGN, MALIGNANT, BENIGN, NORMAL])
    if flip:
        batch = replace(batch, images=batch.images.flip(-1), targets=batch.targets.flip(-1))
    clean = joint(teachers, DistillationConfig(teachers_see="clean"))
    clean.look_at(sixteen_images.images, batch_size=5)
    expected, expected_parts = joint(teachers, AUGMENTED)(student.eval(), batch)
    loss, parts = clean(student, batch)
    for key, value in expected_parts.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-3, atol=1e-5, msg=key)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    # and the maps are those of these very images
    wrong = replace(batch, indices=batch.indices.roll(1))
    assert not torch.allclose(clean(student, wrong)[1]["out"], expected_parts["out"], rtol=1e-3)


def test_clean_teachers_look_once_and_are_not_asked_again(
    teachers: Teachers,
    student: AttentionUNet,
    forward_passes: Counter[str],
    sixteen_images: TrainingArrays,
    identity: Tensor,
) -> None:
    objective = joint(teachers, DistillationConfig())
    objective.look_at(sixteen_images.images)
    assert forward_passes == {"benign": 1, "malignant": 1}
    for _ in range(3):
        objective(student, a_batch(sixteen_images, identity, [BENIGN] * 4))
    assert forward_passes == {"benign": 1, "malignant": 1}


def test_a_clean_teacher_sees_no_lesion_in_what_moved_in_from_outside(
    teachers: Teachers, student: AttentionUNet, sixteen_images: TrainingArrays, identity: Tensor
) -> None:
    with torch.no_grad():
        student.eval().head.weight.zero_()
        assert student.head.bias is not None
        student.head.bias.fill_(-8.0)
    objective = joint(teachers, DistillationConfig())
    objective.look_at(sixteen_images.images)
    far_away = a_batch(sixteen_images, identity + 10, [BENIGN] * 4)
    assert objective(student, far_away)[1]["out"].item() == pytest.approx(0, abs=1e-6)
    assert objective(student, replace(far_away, grid=identity))[1]["out"].item() > 0.1


@pytest.mark.parametrize("teachers_see", ["clean", "augmented"])
def test_teachers_of_half_the_size_look_at_half_the_image(
    teachers: Teachers,
    student: AttentionUNet,
    sixteen_images: TrainingArrays,
    identity: Tensor,
    teachers_see: str,
) -> None:
    sizes = []
    for teacher in teachers.values():
        teacher.head.register_forward_hook(lambda head, inputs, output: sizes.append(tuple(output.shape[-2:])))
    objective = JointDistillation(
        teachers, WeightBalanceLoss(), DistillationConfig(teachers_see=teachers_see), (16, 16)
    )
    objective.look_at(sixteen_images.images)
    batch = a_batch(sixteen_images, identity, [BENIGN] * 4)
    _, parts = objective(student.eval(), batch)
    assert set(sizes) == {(16, 16)}
    mine, half = student.features(batch.images), F.avg_pool2d(batch.images, 2)
    expected = torch.zeros(())
    for name, weight in (("benign", 0.9), ("malignant", 0.1)):
        theirs = F.interpolate(teachers[name](half), scale_factor=2, mode="bilinear")
        expected = expected + softened_output_loss(mine.logits, theirs, torch.full((4,), weight))
    torch.testing.assert_close(parts["out"], expected, rtol=1e-3, atol=1e-5)


# ── teachers are frozen ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("teachers_see", ["clean", "augmented"])
def test_teachers_are_unchanged_after_training(
    teachers: Teachers,
    small_recipe: Recipe,
    sixteen_images: TrainingArrays,
    eight_others: TrainingArrays,
    tmp_path: Path,
    teachers_see: str,
) -> None:
    before = {name: {k: v.clone() for k, v in t.state_dict().items()} for name, t in teachers.items()}
    assert all(teacher.training for teacher in teachers.values()), "as they come: not yet frozen"
    objective = joint(teachers, DistillationConfig(teachers_see=teachers_see))
    objective.look_at(sixteen_images.images)
    trainer = Trainer(small_recipe, sixteen_images, eight_others, objective, tmp_path)
    start = trainer.network.state_dict()["head.weight"].clone()
    trainer.fit(stop_after=2)
    assert not torch.equal(trainer.network.state_dict()["head.weight"], start), "the student learned"
    for name, teacher in teachers.items():
        after = teacher.state_dict()  # with batch norm's running statistics and its count of batches
        assert [key for key in after if not torch.equal(after[key], before[name][key])] == []
        assert not any(module.training for module in teacher.modules())
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert {"out", "att", "feat", "seg"} < trainer.log[0].keys()


def test_a_student_learns_from_its_teachers_what_no_label_tells_it(
    small_recipe: Recipe, ultrasound: Callable[..., TrainingArrays], no_augmentation: AugmentConfig, tmp_path: Path
) -> None:
    """A small stand-in for behavior 7: knowledge passes through L_out alone, as the labels are withheld.

    The full comparison, three seeds with and without teachers on BUSI, is the pair of recipes `t2kd_student` and
    `t2kd_student_alone`.
    """
    images, others = ultrasound(48, classes=("benign", "malignant")), ultrasound(16, 1, ("benign", "malignant"))
    options = replace(small_recipe.optimizer, epochs=10, batch_size=8, ema_decay=0.9)
    recipe = replace(small_recipe, config={"widths": [8, 16]}, optimizer=options, augment=no_augmentation)
    teacher = Trainer(recipe, images, others, Supervised(WeightBalanceLoss()), tmp_path / "teacher").fit()
    assert isinstance(teacher, AttentionUNet)

    def no_label(logits: Tensor, target: Tensor) -> Tensor:
        return logits.sum() * 0

    config = DistillationConfig(output_weight=1.0, attention_weight=0.0, feature_weight=0.0)
    objective = JointDistillation({"benign": teacher, "malignant": teacher}, no_label, config, (32, 32))
    objective.look_at(images.images)
    unlabeled = replace(images, targets=torch.zeros_like(images.targets))
    recipe = replace(recipe, config={"widths": [4, 8]}, seed=1)
    trainer = Trainer(recipe, unlabeled, others, objective, tmp_path / "student")
    before = _distance_and_dice(trainer.network, teacher, others)
    trainer.fit()
    after = _distance_and_dice(trainer.network, teacher, others)
    assert after[0] < 0.5 * before[0], "L_out on images that neither saw"
    assert after[1] > before[1] + 0.3, "Dice against labels that the student never saw"


def _distance_and_dice(student: nn.Module, teacher: nn.Module, arrays: TrainingArrays) -> tuple[float, float]:
    with torch.no_grad():
        mine, theirs = student.eval()(arrays.images), teacher.eval()(arrays.images)
    distance = softened_output_loss(mine, theirs, torch.ones(len(mine)))
    return float(distance), float(dice_of_masks(mine > 0, arrays.targets > 0).mean())


# ── wrong use ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_distillation_without_teachers_is_refused() -> None:
    with pytest.raises(LeanSegError, match=r"Distillation needs teachers: set distillation\.teachers"):
        joint({}, DistillationConfig())


def test_clean_teachers_that_have_not_looked_say_so(
    teachers: Teachers, student: AttentionUNet, sixteen_images: TrainingArrays, identity: Tensor
) -> None:
    with pytest.raises(LeanSegError, match=r"Call look_at\(images\) first"):
        joint(teachers, DistillationConfig())(student, a_batch(sixteen_images, identity, [BENIGN] * 4))


def test_a_student_of_another_kind_is_refused(
    teachers: Teachers, sixteen_images: TrainingArrays, identity: Tensor
) -> None:
    with pytest.raises(LeanSegError, match="needs an AttentionUNet student; got Conv2d"):
        joint(teachers, AUGMENTED)(nn.Conv2d(1, 1, 1), a_batch(sixteen_images, identity, [BENIGN] * 4))
