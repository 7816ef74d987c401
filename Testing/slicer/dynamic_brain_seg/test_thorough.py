"""A model that computes all of a brain in 3-D, beside the one that decides: its cost, its result, what it cannot do."""

import os
import threading
from types import SimpleNamespace
from unittest import mock

import numpy as np
import qt
from DynamicBrainSegLib.inputs import readNodes
from DynamicBrainSegLib.result import BrainOptions
from DynamicBrainSegLib.thorough import costText

import leanseg
from leanseg.errors import InferenceCancelled, LeanSegError
from Testing.slicer import gestures
from Testing.slicer.dynamic_brain_seg import brain_model
from Testing.slicer.dynamic_brain_seg.panel_test import SLICES, PanelTest, card, truth

WINDOW, OVERLAP, WINDOW_GMACS = (16, 48, 56), 0.25, 2.5
WINDOWS = 6  # of a brain of usual height: 35 slices of 4 mm, 64 x 56 pixels: 3 x 2 x 1
DIGEST = "of what was made by hand"
ON_THIS_COMPUTER = "LeanSeg/SecondsPerWindow"


class InWindows:
    """The tumor by hand, of a window; counts them."""

    runtime = "by hand"

    def __init__(self):
        self.windows = 0

    def __call__(self, inputs):
        self.windows += 1
        slices = np.moveaxis(inputs["image"][0], 1, 0)
        found = np.where(brain_model.tumor(slices), brain_model.YES, brain_model.NO).astype(np.float32)
        return {"probabilities": np.moveaxis(found, 0, 1)[None]}


def thoroughCard(**metrics):
    found = SimpleNamespace(
        id="in_3d",
        system="trans_bts_v2",
        title="TransBTSV2: a 3-D network",
        inputs=brain_model.SEQUENCES,
        labels=brain_model.LABELS,
        engine="sliding_window",
        engine_config={"window_kji": list(WINDOW), "overlap": OVERLAP, "blending": "gaussian"},
        preprocessing={"size_ji": list(brain_model.SIZE), "spacing_k_mm": 4.0},
        precisions=("fp32",),
        gmacs=WINDOW_GMACS,
        metrics=metrics,
    )
    found.bytes_of = lambda _precision: 2000
    found.checksum = lambda _precision: DIGEST
    return found


def forgetTimes(model, digest):
    """As if nothing had run on this computer."""
    for setting in (f"LeanSeg/SecondsPerBrain/{model}", f"{ON_THIS_COMPUTER}/{digest}"):
        qt.QSettings().remove(setting)


def thoroughModel(deciding):
    from leanseg.api import Model
    from leanseg.inference.sliding_window import SlidingWindowConfig, SlidingWindowEngine

    engine = SlidingWindowEngine(InWindows(), SlidingWindowConfig(WINDOW, OVERLAP), WINDOW_GMACS, 3)
    bundle = SimpleNamespace(card=thoroughCard())
    return Model(bundle, engine, "cpu", "fp32", deciding.preprocessing, deciding.postprocessing)


class TestThorough(PanelTest):
    def useModel(self):
        """Both are there; the thorough one is listed first, as by its name. Neither was run here yet."""
        super().useModel()
        forgetTimes("in_3d", DIGEST)
        self.thorough = thoroughModel(self.model)
        deciding = SimpleNamespace(**vars(card()), system="by_hand")
        measured = {"window": {"seconds": 2.0, "peak_mb": 1234.0}}

        def load(name, **_options):
            return self.thorough if name == "in_3d" else self.model

        for patch in (
            mock.patch("leanseg.list_models", return_value=[thoroughCard(**measured), deciding], create=True),
            mock.patch.object(leanseg, "load_engine", load, create=True),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def chooseThorough(self):
        self.pick(self.ui.modelSelector, "TransBTSV2 (in_3d), thorough")

    def testItIsOfferedAfterTheOneThatDecidesWithItsCost(self):
        selector = self.ui.modelSelector
        self.assertEqual([selector.itemText(n) for n in range(selector.count)],
                         ["By hand (by_hand)", "TransBTSV2 (in_3d), thorough"])  # fmt: skip
        self.assertEqual(selector.toolTip, "By hand")
        cost = "Thorough: all of the brain in 3-D; 15 GMACs a brain, about 12 s where it was made, 1.2 GB of memory."
        self.assertEqual(selector.itemData(1, qt.Qt.ToolTipRole), f"TransBTSV2: a 3-D network\n{cost}")

    def testChosenItIsTimedInTheBackgroundAndTheTimeIsRemembered(self):
        self.chooseThorough()
        self.assertEqual(self.thorough.engine.graph.windows, 1)
        seconds = float(qt.QSettings().value(f"{ON_THIS_COMPUTER}/{DIGEST}/{os.cpu_count()}"))
        self.assertGreater(seconds, 0)
        self.assertAlmostEqual(self.widget.panel.timing.seconds(thoroughCard()), WINDOWS * seconds)
        for text in (self.ui.modelSelector.toolTip, self.ui.modelSelector.itemData(1, qt.Qt.ToolTipRole)):
            self.assertIn("15 GMACs a brain, below 1 s on this computer, 1.2 GB of memory.", text)
        self.pick(self.ui.modelSelector, "By hand (by_hand)")
        self.chooseThorough()
        self.assertEqual(self.thorough.engine.graph.windows, 1, "it is known")

    def testTheTimeOfAnOwnRunCountsMore(self):
        qt.QSettings().setValue("LeanSeg/SecondsPerBrain/in_3d/fp32", 42.25)
        self.chooseThorough()
        self.assertEqual(self.thorough.engine.graph.windows, 0)
        self.assertIn("about 42 s on this computer", self.ui.modelSelector.toolTip)

    def testSegmentEndsTheTiming(self):
        """What is heard of the window then would be of two that share the processor."""
        self.load()
        begun, mayEnd = threading.Event(), threading.Event()

        def slow(*_arguments):
            begun.set()
            mayEnd.wait(10)
            return 5.0

        with mock.patch.object(self.widget.logic, "timeWindow", slow):
            wanted = self.ui.modelSelector.findText("TransBTSV2 (in_3d), thorough")
            self.ui.modelSelector.setCurrentIndex(wanted)
            self.assertTrue(gestures.waitFor(begun.is_set, 10))
            self.assertTrue(self.ui.segmentButton.enabled, "the panel is not blocked")
            self.segment()
            mayEnd.set()
            self.finish()
        self.assertIsNone(qt.QSettings().value(f"{ON_THIS_COMPUTER}/{DIGEST}/{os.cpu_count()}"))
        self.assertEqual(self.decisions(), ["volume"] * SLICES)

    def testAModelThatCannotBeTimedIsTriedOnce(self):
        with mock.patch.object(self.widget.logic, "timeWindow", side_effect=LeanSegError("damaged")) as timed:
            self.chooseThorough()
            self.widget.panel.onChanged()
            self.finish()
        self.assertEqual(timed.call_count, 1)
        self.assertIn("about 12 s where it was made", self.ui.modelSelector.toolTip)

    def testWhatWasNotMeasuredIsNotSaid(self):
        self.assertEqual(costText(thoroughCard()), "Thorough: all of the brain in 3-D; 15 GMACs a brain.")
        self.assertEqual(costText(card()), "")

    def testItFindsTheTumorAndEverySliceCostsTheSame(self):
        self.chooseThorough()
        self.thorough.engine.graph.windows = 0
        nodes = self.loadAndSegment()
        for region, name in (("WT", "Whole tumor (WT)"), ("ET", "Enhancing tumor (ET)")):
            np.testing.assert_array_equal(self.mask(name, nodes["flair"]), truth(region))
        result, windows = self.widget.panel.session.result, self.thorough.engine.graph.windows
        self.assertEqual(self.decisions(), ["volume"] * SLICES)
        self.assertAlmostEqual(result.totalGmacs, windows * WINDOW_GMACS)
        self.assertAlmostEqual(result.wholeGmacs, result.totalGmacs, places=5)
        self.assertIn(f"in 3-D: {SLICES}", self.ui.legendLabel.text.replace("&nbsp;", " "))
        self.assertIn("(100 %)", self.ui.costLabel.text)
        self.assertIn("s a brain", self.ui.modelInfoLabel.text)

    def testNothingCanBeOverruled(self):
        self.chooseThorough()
        self.loadAndSegment()
        buttons = (self.ui.computeSliceButton, self.ui.skipSliceButton, self.ui.modelSliceButton, self.ui.refineButton)
        for index in (3, 13):
            self.clickBar(index)
            self.assertEqual([button.enabled for button in buttons], [False] * 4)
        self.assertFalse(self.ui.qualitySlider.enabled)
        with self.assertRaisesRegex(LeanSegError, "in_3d computes all of a brain at once"):
            self.widget.logic.refine(self.widget.panel.session.result, {3: 1})

    def testTheOtherModelDecidesAgain(self):
        """What a person has decided for it does not stand in the way of the thorough one."""
        self.loadAndSegment()
        self.clickBar(3)
        self.pressAndFinish(self.ui.computeSliceButton)
        self.chooseThorough()
        self.segment()
        self.assertEqual(self.decisions(), ["volume"] * SLICES)
        self.pick(self.ui.modelSelector, "By hand (by_hand)")
        self.assertTrue(self.ui.qualitySlider.enabled)
        self.segment()
        self.assertEqual(self.decisions().count("whole"), 6)
        self.assertTrue(self.ui.refineButton.enabled)

    def testItCanBeCancelledBetweenTwoWindows(self):
        images = readNodes(self.load(), "flair")

        def stop(_done, _total, what):
            return not what.startswith("window 3 ")

        with self.assertRaises(InferenceCancelled):
            self.widget.logic.segment(images, BrainOptions(model="in_3d"), stop)
        self.assertEqual(self.thorough.engine.graph.windows, 2)
