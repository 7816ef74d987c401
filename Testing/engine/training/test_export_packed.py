"""A quantized network becomes a packed bundle that computes what the hardened network does (DSQ, behavior 11)."""

import copy
import platform
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leanseg.api import load_engine, segment
from leanseg.errors import LeanSegError
from leanseg.files.images import read_image
from leanseg.networks import build_network
from leanseg.phantom import ultrasound_phantom
from leanseg.quantization.config import QuantizationConfig
from leanseg.quantization.layers import fix_portion_, harden_, load_packed_, packed_state, quantize_, quantized_layers
from leanseg.quantization.packing import QuantizedTensor, packed_bytes, read_packed
from leanseg.runtime.onnxruntime_graph import ONNXRuntimeGraph
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.runtime.torch_graph import TorchGraph
from leanseg.training.calibrate import calibrate_inputs_
from leanseg.training.export import export
from leanseg.training.export_packed import completed, number_of_weights, pack
from leanseg.training.recipe import load_recipe
from leanseg.training.run import train
from leanseg.weights.bundle import Bundle, write_bundle
from Testing.engine.quantization.lesions import lesions, trained_network
from Testing.engine.test_imports import WITHOUT_REFUSED, fresh_python
from Testing.engine.tiny import CARD
from Testing.engine.training.test_data import BUSI, write_dataset

GREY_LEVEL = 1 / 255
DSQ = QuantizationConfig("dsq", 4, 4)
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own, in torch.onnx


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ready(config: QuantizationConfig) -> nn.Module:
    """A network that knows its task, rounded."""
    network = quantize_(trained_network(), config)
    fix_portion_(network, 1.0)
    return calibrate_inputs_(network, lesions(16, seed=0)[0])


def probabilities(graph: OpenVINOGraph | ONNXRuntimeGraph, images: Tensor) -> np.ndarray[Any, Any]:
    return np.concatenate([graph({"image": image[np.newaxis]})["probabilities"] for image in images.numpy()])


def convolutions(onnx: bytes) -> Counter[str]:
    """How many run in which precision, as OpenVINO says of what it runs."""
    found: Counter[str] = Counter()
    for operation in OpenVINOGraph(onnx)._compiled.get_runtime_model().get_ordered_ops():
        info = operation.get_rt_info()
        if info["layerType"].astype(str) == "Convolution":
            kind = "int8" if info["primitiveType"].astype(str).lower().endswith("i8") else "float"
            found[f"{kind} of {info['runtimePrecision'].astype(str)}"] += 1
    return found


# ── the graphs ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("config", "int8_a_layer"),
    [
        (DSQ, 2),  # what all weights of a learned range have in common is a convolution of one channel
        (QuantizationConfig("dsq", 3, 4, "channel", symmetric=True), 1),
        (QuantizationConfig("uniform", 4, 4), 1),
        (QuantizationConfig("inq", 5), 0),
    ],
    ids=["dsq", "symmetric", "uniform", "inq"],
)
def test_a_graph_computes_what_the_hardened_network_does(config: QuantizationConfig, int8_a_layer: int) -> None:
    images, network = lesions(24, seed=99)[0], ready(config)
    with torch.no_grad():
        expected = torch.sigmoid(harden_(copy.deepcopy(network)).eval()(images) / 1.5).numpy()
    graphs, weights = pack(network, 1.5, images)
    assert set(graphs) == ({"int8"} if config.activation_bits else {"fp32", "int8"})
    whole = completed(graphs, weights, "tiny")
    exact = whole["int8" if config.activation_bits else "fp32"]
    for runtime in (OpenVINOGraph, ONNXRuntimeGraph):
        computed = probabilities(runtime(exact), images)
        assert ((computed > 0.5) == (expected > 0.5)).mean() > 0.999
        assert (np.abs(computed - expected) <= GREY_LEVEL).mean() > 0.999
    assert np.ptp(expected) > 0.9, "a constant agrees with anything"
    if "fp32" in whole:  # activations got 8 bits that it was not trained with
        assert ((probabilities(OpenVINOGraph(whole["int8"]), images) > 0.5) == (expected > 0.5)).mean() > 0.98
    if platform.machine() in ("x86_64", "AMD64"):  # other kernels have other names
        layers = len(list(quantized_layers(network)))
        ends = {"float of f32": 2 if int8_a_layer else layers + 2}
        assert convolutions(exact) == Counter({"int8 of u8": int8_a_layer * layers} | ends)


def test_inputs_without_a_level_at_0_run_in_floating_point_and_agree() -> None:
    network = ready(DSQ)
    _, layer = next(iter(quantized_layers(network)))
    with torch.no_grad():
        layer.inputs.has_negative.fill_(True)  # type: ignore[operator, union-attr]
        layer.inputs.lower.fill_(-0.37 * float(layer.inputs.upper))  # type: ignore[operator, union-attr]
        images = lesions(8, seed=99)[0]
        expected = torch.sigmoid(harden_(copy.deepcopy(network)).eval()(images)).numpy()
    graphs, weights = pack(network, 1.0, images)
    computed = probabilities(OpenVINOGraph(completed(graphs, weights, "tiny")["int8"]), images)
    assert (np.abs(computed - expected) <= GREY_LEVEL).mean() > 0.999


# ── sizes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_bundle_of_the_student_is_small(tmp_path: Path) -> None:
    """Of weights alone, which has two skeletons; these do not depend on the bits."""
    graphs: dict[str, bytes] = {}
    for bits, largest_mb in ((4, 1.2), (2, 0.7)):
        torch.manual_seed(0)
        plain = build_network("attention_unet", {}).eval()
        number = sum(parameter.numel() for parameter in plain.parameters())
        config = QuantizationConfig("dsq", bits)
        student = quantize_(plain, config)
        assert number_of_weights(student) == number == pytest.approx(2.185e6, rel=1e-3)
        if not graphs:
            graphs, _ = pack(student, 1.0, torch.rand(1, 1, 64, 64))
        weights = packed_bytes(packed_state(student))
        bundle = write_bundle(replace(CARD, quantization=config.to_json()), graphs, weights, tmp_path / f"{bits}")
        size = sum(path.stat().st_size for path in bundle.folder.iterdir())
        assert bits * number / 8 < size < largest_mb * 1e6


def test_5_bits_of_inq_are_6_4_times_smaller() -> None:
    torch.manual_seed(0)
    student = quantize_(build_network("attention_unet", {}), QuantizationConfig("inq", 5))
    codes = {name: t for name, t in packed_state(student).items() if isinstance(t, QuantizedTensor)}
    whole = 4 * sum(tensor.codes.size for tensor in codes.values())
    assert whole / len(packed_bytes(codes)) == pytest.approx(6.4, rel=0.005)


# ── from a run to a user ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_dataset(root / "busi", BUSI)
    return root


def trained(data: Path, folder: Path, *settings: str) -> Path:
    more = ("config.widths=[4,8]", "preprocessing.size_ji=[32,32]", "optimizer.epochs=2", "optimizer.batch_size=2")
    train(load_recipe("t2kd_student_alone", (*more, *settings)), data, folder, False, lambda *_: None)
    return folder


@pytest.fixture(scope="module")
def float_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(data, tmp_path_factory.mktemp("runs") / "float")


@pytest.fixture(scope="module")
def bundle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("learned")
    run = trained(data, folder / "run", "quantization.bits=4", "quantization.activation_bits=4")
    return export(run, folder / "four_bits", data)


def test_a_quantized_run_becomes_a_packed_bundle(bundle: Bundle) -> None:
    card = bundle.card
    assert card.quantization == DSQ.to_json() and card.precisions == ("int8",)
    assert sorted(path.name for path in bundle.folder.iterdir()) == [
        *("card.json", "four_bits.lsq", "four_bits_int8.onnx"),
    ]
    plain = build_network("attention_unet", card.config)
    assert card.parameters == sum(parameter.numel() for parameter in plain.parameters())
    tensors = read_packed(bundle.folder / card.weights.file, bits=4)
    load_packed_(plain, DSQ, tensors)  # to train on
    assert {name for name, t in tensors.items() if isinstance(t, QuantizedTensor)} == {
        f"{name}.weight" for name, _ in quantized_layers(plain)
    }
    assert set(card.metrics["validation"]) == {"command", "n", "int8"}


def test_torch_runs_the_same_weights(bundle: Bundle) -> None:
    image = np.random.default_rng(0).random((1, 1, 32, 32), dtype=np.float32)
    ours = load_engine(str(bundle.folder)).engine.graph({"image": image})  # type: ignore[union-attr]
    assert ours["descriptor"].shape == (1, 8), "what images are compared by"
    theirs = TorchGraph(bundle, "cpu")({"image": image})
    assert np.abs(ours["probabilities"] - theirs["probabilities"]).max() <= GREY_LEVEL


def test_a_user_segments_without_torch_or_onnx(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.seg.nrrd"
    arguments = ["segment", str(bundle.folder), str(data / "busi" / "images" / "malignant_1.png"), "-o", str(output)]
    code = WITHOUT_REFUSED.replace("sys.argv[1:]", "()") + (
        f"from leanseg.__main__ import main\ncode = main({arguments!r})\n"
        "sys.exit(code or any(name in sys.modules for name in ('torch', 'onnx', 'numba', 'safetensors')))"
    )
    done = fresh_python(code)
    assert (done.returncode, done.stderr) == (0, ""), sys.path
    assert read_image(output).geometry.shape == (1, 40, 60)


def test_a_float_run_is_rounded_as_it_is(float_run: Path, data: Path, tmp_path: Path) -> None:
    settings = ("quantization.method=inq", "quantization.bits=5")
    bundle = export(float_run, tmp_path / "rounded", data, settings)
    assert bundle.card.quantization == QuantizationConfig("inq", 5).to_json()
    validation = bundle.card.metrics["validation"]
    assert validation["command"].endswith("--set quantization.method=inq --set quantization.bits=5")
    assert {"fp32", "int8", "float", "int8_minus_float_dice", "int8_minus_fp32_dice"} < set(validation)
    image = ultrasound_phantom("benign", seed=90, shape_ji=(40, 60)).image
    fp32, int8 = (
        segment(image, load_engine(str(bundle.folder), precision=p)).probabilities.array for p in ("fp32", "int8")
    )
    assert 0 < np.abs(fp32 - int8).max() < 0.1


def test_activations_of_a_float_run_are_calibrated_on_images() -> None:
    network = quantize_(trained_network(), DSQ)
    before = {name: value.clone() for name, value in network.state_dict().items() if ".inputs." not in name}
    calibrate_inputs_(network, lesions(16, seed=0)[0])
    assert not network.training and all(not module.training for module in network.modules())
    for _, layer in quantized_layers(network):
        assert layer.inputs.seen == 4 and layer.inputs.upper != 1  # type: ignore[union-attr]
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("quantization.bits=0", r"^quantization: bits of dsq must be a whole number from 1 to 8; got 0\. Choose"),
        ("quantization.bits=9", r"^quantization: bits of dsq must be a whole number from 1 to 8; got 9\. Choose"),
        ("quantization.bits=3.5", r"^quantization\.bits must be int; got 3\.5\."),
        ("quantization.bit=4", r"no key in quantization named 'bit'. Did you mean 'bits'"),
        ("quantization.method=dqs", r"no quantization method named 'dqs'. Did you mean 'dsq'"),
        ('quantization.skip=["*"]', r"^AttentionUNet has no layer to quantize: .*Shorten skip"),
        ("optimizer.epochs=3", r"^An export sets values of quantization alone; got optimizer\. Give, say"),
        ("quantization", r"^--set needs key=value; got 'quantization'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    float_run: Path, data: Path, tmp_path: Path, setting: str, message: str
) -> None:
    with pytest.raises(LeanSegError, match=message):
        export(float_run, tmp_path / "no", data, [setting])
    assert not (tmp_path / "no").exists()


def test_what_learned_its_bits_is_not_rounded_again(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    run = bundle.folder.parent / "run"
    with pytest.raises(LeanSegError, match=r"learned to be quantized \(dsq, 4 bits\)\. Leave --set away\.$"):
        export(run, tmp_path / "no", data, ["quantization.bits=2"])
