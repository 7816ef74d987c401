"""The modules in the test host, for README and `make demo`: `.venv-test/bin/python docs/screenshots.py`.

Real MRML, rendering and model; the main window around them is the host's (Testing/host/README.md).
"""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.pop("DISPLAY", None)
ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "Resources" / "Screenshots"
sys.path[:0] = [str(ROOT / "Testing" / "host"), str(ROOT)]

import slicer_host  # noqa: E402

APP = slicer_host.start(size=(1500, 1000))

import slicer  # noqa: E402

from leanseg.slicer_bridge import environment  # noqa: E402
from Testing.slicer import gestures  # noqa: E402


def main() -> None:
    for name in ("UltrasoundKD", "DynamicBrainSeg", "TextGuidedSeg"):
        APP.loadModule(ROOT / name / f"{name}.py")
    APP.startupCompleted.emit()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    slicer.util.selectModule("UltrasoundKD")
    ui = slicer.util.getModuleWidget("UltrasoundKD").ui
    APP.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    proposal(ui)
    corrected(ui)
    environment_panel(ui)
    slicer.mrmlScene.Clear(0)
    quantize_and_look(slicer.util.getModuleWidget("UltrasoundKD"))
    slicer.mrmlScene.Clear(0)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # a picture shall show no path of this computer
        which_case_next(slicer.util.getModuleWidget("UltrasoundKD"), Path("breast_ultrasound"))
        slicer.mrmlScene.Clear(0)
        os.chdir(ROOT)
    slicer.util.selectModule("DynamicBrainSeg")
    APP.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    decisions(slicer.util.getModuleWidget("DynamicBrainSeg"))
    slicer.mrmlScene.Clear(0)
    slicer.util.selectModule("TextGuidedSeg")
    APP.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    conversation(slicer.util.getModuleWidget("TextGuidedSeg"))
    slicer.mrmlScene.Clear(0)
    ask_about_the_view(slicer.util.getModuleWidget("TextGuidedSeg"))
    slicer.mrmlScene.Clear(0)
    one_of_several(slicer.util.getModuleWidget("TextGuidedSeg"))


def proposal(ui) -> None:
    [volume] = load_sample("BreastUltrasoundPhantom")
    ui.inputSelector.setCurrentNode(volume)
    gestures.settle(100)
    ui.uncertaintyCheckBox.checked = True
    apply(ui)
    save("ultrasound_kd_proposal")


def corrected(ui) -> None:
    """Accepted, and the eraser drawn along an edge that lies outside the lesion."""
    gestures.click(ui.acceptButton)
    ui.uncertaintyCheckBox.checked = False
    show_only(ui, "correct", "measurements")
    red = APP.layoutManager().sliceWidget("Red")
    gestures.click(slicer.util.findChild(ui.segmentEditorWidget, "Erase"))
    start = gestures.pointInView(red, (-27.0, -12.0, 0.0))
    gestures.drag(red, [(start[0] + x, start[1] - x // 4) for x in range(-56, 24, 8)])
    gestures.settle(300)
    save("ultrasound_kd_corrected")


def environment_panel(ui) -> None:
    """As on a Slicer in which no runtime is installed yet."""
    examine = environment.examinePackage

    def without_runtime(name, *arguments, **options):
        found = examine(name, *arguments, **options)
        return replace(found, state="missing", version="") if name in ("openvino", "onnxruntime") else found

    with mock.patch.object(environment, "examinePackage", without_runtime):
        slicer.util.getModuleWidget("UltrasoundKD").panel.environment.refresh()
        show_only(ui, "environment")
        save("ultrasound_kd_environment")


def quantize_and_look(widget) -> None:
    """Two precisions on the sample, and the pixels that only one of them outlines."""
    ui, section = widget.ui, widget.precisions
    [volume] = load_sample("BreastUltrasoundPhantom")
    ui.inputSelector.setCurrentNode(volume)
    show_only(ui, "input", "model", "precisions")
    gestures.click(section.form.measureButton)
    if not gestures.waitFor(lambda: section.form.differenceLabel.text, 60):
        raise SystemExit(f"Nothing was compared: {section.form.messageLabel.text}")
    gestures.settle(300)
    save("ultrasound_kd_quantize")


def which_case_next(widget, folder) -> None:
    """Simulated images, ranked; the first is done, the second is loaded."""
    import SimpleITK as sitk

    from leanseg.phantom import ultrasound_phantom

    folder.mkdir()
    for seed in range(12):
        picture = ultrasound_phantom("malignant" if seed % 2 else "benign", seed).image.array[0, 0]
        sitk.WriteImage(sitk.GetImageFromArray(picture), str(folder / f"case_{seed + 1:02}.png"))
    (folder / "damaged.png").write_bytes(b"")
    ui, section = widget.ui, widget.cases
    show_only(ui, "caseSuggestions")
    section.form.folderEdit.text = str(folder)
    section.form.countSpinBox.value = 4
    gestures.click(section.form.rankButton)
    if not gestures.waitFor(lambda: section.form.nextButton.enabled, 60):
        raise SystemExit(f"Nothing was ranked: {section.form.messageLabel.text}")
    for button in (section.form.nextButton, section.form.doneButton, section.form.nextButton):
        gestures.click(button)
        gestures.settle(100)
    gestures.settle(300)
    save("ultrasound_kd_next_case")


def decisions(widget) -> None:
    """The simulated brain, segmented; one slice beside the tumor computed fully by a person's decision."""
    from leanseg.brain_phantom import TUMOR_MM

    ui, session = widget.ui, widget.panel.session
    load_sample("BrainTumorPhantom")
    if not gestures.waitFor(lambda: len(widget.panel.sequences.nodes()) == 4, 10):
        raise SystemExit("The four sequences of the simulated brain were not found.")
    gestures.click(ui.segmentButton)
    wait_for_run(widget)
    tumor = [one.index for one in session.result.decisions if one.tumorMm2]
    for index, button in ((tumor[-1] + 1, ui.computeSliceButton), ((tumor[0] + tumor[-1]) // 2, None)):
        left, right = widget.panel.decisions.strip.span(index)
        gestures.click(ui.stripLabel, ((left + right) // 2, 30))
        if button is not None:
            gestures.click(button)
            wait_for_run(widget)
    for name in ("Yellow", "Green"):
        APP.layoutManager().sliceWidget(name).mrmlSliceNode().JumpSliceByOffsetting(*TUMOR_MM)
    save("dynamic_brain_seg_decisions")


def conversation(widget) -> None:
    """Two tumors, of which the sentence names one; then the first question."""
    from TextGuidedSegLib import sample_data

    ui, panel = widget.ui, widget.panel
    sample = sample_data.addPhantom()
    ui.inputSelector.setCurrentNode(sample.node)
    wait_for_answer(panel)
    panel.dialog.frames.select(sample.slice)
    ui.promptEdit.setPlainText(sample_data.PROMPT)
    ui.uncertaintyCheckBox.checked = True
    gestures.click(ui.applyButton)
    wait_for_answer(panel)
    save("text_guided_seg_proposal")
    gestures.click(ui.questionButton)
    wait_for_answer(panel)
    save("text_guided_seg_question")


def ask_about_the_view(widget) -> None:
    """Questions about a simulated ultrasound, and where the network looked for the last.

    No picture is made where there is no model for questions.
    """
    from leanseg.phantom import ultrasound_phantom
    from leanseg.slicer_bridge.nodes import scalarVolumeNode

    ui, panel, asking = widget.ui, widget.panel, widget.asking
    if not widget.logic.answeringModels():
        sys.stderr.write("No model answers questions, so text_guided_seg_ask.png was not made.\n")
        return
    form = asking.form
    phantom = ultrasound_phantom("benign", seed=4)
    node = scalarVolumeNode("BreastUltrasoundPhantom", phantom.image.array[0], phantom.image.geometry)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    ui.inputSelector.setCurrentNode(node)
    wait_for_answer(panel)
    for name in ("prompt", "refine", "result", "correct", "caseSuggestions", "precisions", "environment"):
        getattr(ui, f"{name}CollapsibleButton").collapsed = True
    ui.askCollapsibleButton.collapsed = False
    form.heatCheckBox.checked = True
    for question in ("What imaging modality is this?", "Which organ is shown?", "How many masses are there?"):
        form.questionEdit.text = question
        gestures.click(form.askButton)
        gestures.settle(50)
        if not gestures.waitFor(lambda: form.askButton.text == "Ask", 60) or asking.answers.entry is None:
            raise SystemExit(f"No answer to {question!r}: {form.messageLabel.text}")
        gestures.settle(300)
    save("text_guided_seg_ask")


def one_of_several(widget) -> None:
    """A sentence that tells one of three simulated tumors from the others, and what a word of it points at.

    No picture is made where there is no model for such sentences.
    """
    from leanseg.demo_references import SENTENCES, scene
    from leanseg.slicer_bridge.nodes import scalarVolumeNode

    ui, panel = widget.ui, widget.panel
    if widget.logic.referringModel() is None:
        sys.stderr.write("No model reads such sentences, so text_guided_seg_sentence.png was not made.\n")
        return
    phantom, k = scene()
    node = scalarVolumeNode("BreastUltrasoundPhantom", phantom.image.array[0], phantom.image.geometry)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    ui.inputSelector.setCurrentNode(node)
    wait_for_answer(panel)
    panel.dialog.frames.select(k)
    for name in ("prompt", "result"):
        getattr(ui, f"{name}CollapsibleButton").collapsed = False
    ui.promptEdit.setPlainText(SENTENCES[1])
    gestures.click(ui.applyButton)
    wait_for_answer(panel)
    gestures.click(ui.pointingCheckBox)
    gestures.settle(300)
    save("text_guided_seg_sentence")


def wait_for_answer(panel) -> None:
    gestures.settle(50)
    if not gestures.waitFor(lambda: not panel.runner.busy and not panel.dialog.isRunning, 60):
        raise SystemExit(f"No answer: {panel.ui.messageLabel.text}")
    gestures.settle(300)


def wait_for_run(widget) -> None:
    if not gestures.waitFor(lambda: not widget.panel.session.isRunning, 60) or widget.panel.session.result is None:
        raise SystemExit(f"No result: {widget.ui.messageLabel.text}")
    gestures.settle(300)


def load_sample(name: str) -> list:
    """As the module Sample Data does."""
    import SampleData

    source = SampleData.SampleDataLogic().sourceForSampleName(name)
    return source.customDownloader(source)


def show_only(ui, *names: str) -> None:
    """Open these sections of the panel and close the others."""
    sections = ("input", "model", "proposal", "correct", "measurements", "caseSuggestions", "precisions", "environment")
    for name in sections:
        getattr(ui, f"{name}CollapsibleButton").collapsed = name not in names
    gestures.settle(200)


def apply(ui) -> None:
    gestures.click(ui.applyButton)
    if not gestures.waitFor(lambda: ui.applyButton.text == "Apply" and ui.acceptButton.enabled, 30):
        raise SystemExit(f"No proposal: {ui.messageLabel.text}")
    gestures.settle(300)


def save(name: str) -> None:
    gestures.screenshot(slicer.util.mainWindow(), SCREENSHOTS / f"{name}.png")


if __name__ == "__main__":
    main()
